//! `onnxpress optimize`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use onnxpress::recipe::Loader;
use onnxpress::{
    Bindings, DEFAULT_ENGINE, Dataset, EXTERNAL_THRESHOLD, Engine, ExternalData, Model, Optimizer, Recipe,
    Report, SaveOptions, load, save,
};

use super::{Failure, binding, complain, engine_of, on_terminal, pair, say};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  onnxpress optimize model.onnx -o small.onnx
  onnxpress optimize model.onnx -o small.onnx -r recipe.yaml --set image=320 --report report.json
  onnxpress optimize model.onnx -o small.onnx --data samples.npz --engine ort
  onnxpress optimize - -o - --no-verify < model.onnx > small.onnx")]
#[allow(clippy::struct_excessive_bools)] // switches of a command line
pub struct Args {
    /// Models to optimize; `-` reads standard input
    #[arg(required = true, value_name = "IN")]
    inputs: Vec<PathBuf>,
    /// Where to write the result; `-` is standard output. Without -o and -d nothing is written
    #[arg(short, long, value_name = "OUT", conflicts_with_all = ["dir", "in_place"])]
    output: Option<PathBuf>,
    /// Directory to write the results to, under the names of the inputs
    #[arg(short, long, conflicts_with = "in_place")]
    dir: Option<PathBuf>,
    /// Replace the models by their results
    #[arg(long)]
    in_place: bool,
    /// A built-in recipe or a YAML file
    #[arg(short, long, default_value = "simplify")]
    recipe: String,
    /// Set a variable of the recipe
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    vars: Vec<(String, String)>,
    /// Bind a symbolic dim
    #[arg(long, value_name = "DIM=SIZE", value_parser = binding)]
    bind: Vec<(String, u64)>,
    /// Write this opset of ai.onnx instead of the model's own
    #[arg(long)]
    opset: Option<i64>,
    /// Write the report as JSON to a file
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
    /// Print the report as JSON instead of the table
    #[arg(long)]
    json: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
    /// Do not run the models to compare their answers
    #[arg(long)]
    no_verify: bool,
    /// Fail (exit code 3) where the models could not be run
    #[arg(long, conflicts_with = "no_verify")]
    require_verified: bool,
    /// The engine that verifies: tract, ort, or reference (slow, exact)
    #[arg(long, default_value = DEFAULT_ENGINE)]
    engine: String,
    /// The libonnxruntime of `--engine ort` [env: ORT_DYLIB_PATH]
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,
    /// Verify on these samples (.npz, .npy) instead of random inputs
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Write the weights to a file beside the model (automatic above 2 GiB)
    #[arg(long)]
    external_data: bool,
    /// Return only when the result is on the disk
    #[arg(long)]
    durable: bool,
}

pub fn main(args: &Args) -> Result<(), Failure> {
    let recipe = recipe_of(args)?;
    if args.inputs.len() > 1 && args.output.is_some() {
        return Err(Failure::usage("several models need -d DIR or --in-place, not -o"));
    }
    let outputs = args.inputs.iter().map(|input| output_of(args, input)).collect::<Result<Vec<_>, _>>()?;
    for (at, output) in outputs.iter().enumerate() {
        if let Some(path) = output.as_deref().filter(|_| outputs[..at].contains(output)) {
            return Err(Failure::usage(format!("two models would both be written to {}", path.display())));
        }
    }
    let engine = if args.no_verify { None } else { Some(engine_of(&args.engine, args.ort_lib.as_deref())?) };
    let mut unequal = false;
    for (input, output) in args.inputs.iter().zip(&outputs) {
        match one(args, &recipe, engine.as_deref(), input, output.as_deref()) {
            Err(Failure::NotEqual) => unequal = true,
            other => other?,
        }
    }
    if unequal { Err(Failure::NotEqual) } else { Ok(()) }
}

/// The recipe, with the variables of the command line, and those of the environment that it asks for by name.
fn recipe_of(args: &Args) -> Result<Recipe, Failure> {
    let environment = |name: &str| std::env::var(name).ok();
    let loader = Loader::new().env(&environment);
    let loader = args.vars.iter().fold(loader, |loader, (name, value)| loader.set(name, value));
    loader.load(&args.recipe).map_err(Failure::usage)
}

fn output_of(args: &Args, input: &Path) -> Result<Option<PathBuf>, Failure> {
    if args.in_place {
        return Ok(Some(input.to_owned()));
    }
    let output = match (&args.output, &args.dir) {
        (Some(output), _) => output.clone(),
        (None, Some(dir)) => {
            let name = input.file_name().filter(|_| input != Path::new("-"));
            dir.join(name.ok_or_else(|| Failure::usage("standard input needs -o, not -d"))?)
        }
        (None, None) => return Ok(None),
    };
    let same =
        |a: &Path, b: &Path| a.canonicalize().ok().zip(b.canonicalize().ok()).is_some_and(|(a, b)| a == b);
    if output != Path::new("-") && (output == input || same(&output, input)) {
        return Err(Failure::usage(format!(
            "{} would be replaced; say --in-place if that is wanted",
            input.display()
        )));
    }
    Ok(Some(output))
}

fn one(
    args: &Args,
    recipe: &Recipe,
    engine: Option<&dyn Engine>,
    input: &Path,
    output: Option<&Path>,
) -> Result<(), Failure> {
    let at = |error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", input.display()));
    let loaded = load(input).map_err(Failure::failed)?;
    let bar = (on_terminal() && !args.quiet && !args.json).then(|| progress(recipe));
    let made = run(args, recipe, engine, &loaded.model, bar.as_ref());
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let (model, mut report) = made.map_err(|error| at(&error))?;
    report.run.warnings.splice(0..0, loaded.warnings.iter().map(ToString::to_string));
    let written = match output {
        Some(path) if !report.differs() => {
            let always = ExternalData::Always { threshold: EXTERNAL_THRESHOLD };
            let external = if args.external_data { always } else { ExternalData::Auto };
            let checked = model.check().map_err(|e| at(&e))?;
            let saved = save(checked, path, &SaveOptions { external, durable: args.durable });
            Some((path, saved.map_err(|e| at(&e))?.total()))
        }
        _ => None,
    };
    report.set_files((input, Some(loaded.bytes)), written);
    if let Some(path) = &args.report {
        let unwritable = |e| Failure::failed(format!("cannot write {}: {e}", path.display()));
        std::fs::write(path, report.to_json()).map_err(unwritable)?;
    }
    print(args, &report, output);
    let unproved = args.require_verified && !report.is_equal();
    if report.differs() || unproved { Err(Failure::NotEqual) } else { Ok(()) }
}

fn run(
    args: &Args,
    recipe: &Recipe,
    engine: Option<&dyn Engine>,
    model: &Model,
    bar: Option<&ProgressBar>,
) -> Result<(Model, Report), String> {
    let mut tell = |step: &str| {
        if let Some(bar) = bar {
            bar.set_message(step.to_owned());
            bar.inc(1);
        }
    };
    let mut optimizer = Optimizer::new(recipe.clone()).progress(&mut tell);
    for (symbol, size) in &args.bind {
        optimizer = optimizer.bind(symbol, *size);
    }
    if let Some(opset) = args.opset {
        optimizer = optimizer.opset(opset);
    }
    if let Some(engine) = engine {
        optimizer = optimizer.verify_with(engine);
        if let Some(path) = &args.data {
            let dims: Bindings = args.bind.iter().cloned().collect();
            let data = Dataset::load(path, model, &dims).map_err(|e| e.to_string())?;
            optimizer = optimizer.data(data.batches(u64::from(recipe.verify.runs), 1));
        }
    }
    optimizer.run(model).map_err(|e| e.to_string())
}

fn progress(recipe: &Recipe) -> ProgressBar {
    let bar = ProgressBar::new(recipe.steps.len() as u64 + 1);
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// The table, or the JSON; on standard error where the model itself goes to standard output.
fn print(args: &Args, report: &Report, output: Option<&Path>) {
    if args.quiet {
        if report.differs() {
            complain(&report.to_table());
        }
        return;
    }
    let text = if args.json { report.to_json() } else { report.to_table() };
    if output == Some(Path::new("-")) { complain(&text) } else { say(&text) }
}
