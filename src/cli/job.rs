//! What every command does that turns models into models: read, run a recipe, prove, write, report.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use onnxpress::recipe::MEASURE;
use onnxpress::{
    DEFAULT_ENGINE, EXTERNAL_THRESHOLD, Engine, ExternalData, Model, OnnxError, Optimizer, Outcome, Recipe,
    Report, SaveOptions, encoded_size, load, save,
};

use super::beside::Beside;
use super::failure::names;
use super::progress::Bars;
use super::samples::Data;
use super::targets::{Places, is_stream};
use super::{Failure, binding, complain, engine_of, on_terminal, print, say};

/// Which models, where the results go, and how they are proved.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // switches of a command line
pub struct Job {
    /// Models; `-` reads standard input
    #[arg(required = true, value_name = "IN")]
    pub inputs: Vec<PathBuf>,
    /// Where to write the result; `-` is standard output. Without -o and -d nothing is written
    #[arg(short, long, value_name = "OUT", conflicts_with_all = ["dir", "in_place"])]
    output: Option<PathBuf>,
    /// Directory to write the results to, under the names of the inputs
    #[arg(short, long, conflicts_with = "in_place")]
    dir: Option<PathBuf>,
    /// Replace the models by their results
    #[arg(long)]
    in_place: bool,
    /// Bind a symbolic dim
    #[arg(long, value_name = "DIM=SIZE", value_parser = binding)]
    bind: Vec<(String, u64)>,
    /// Write this opset of ai.onnx instead of the model's own
    #[arg(long)]
    pub opset: Option<i64>,
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
    /// The libonnxruntime of `--engine ort` [env: `ORT_DYLIB_PATH`]
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,
    /// Calibrate and verify on these samples instead of the recipe's `data.calib`: .npz, .npy, PNG, JPEG or raw files,
    /// a folder, a glob in quotes, a .txt list, or INPUT=FILE for each input; without any, verification draws random
    /// inputs
    #[arg(long, value_name = "PATH")]
    data: Vec<String>,
    /// Write the weights to a file beside the model (automatic above 2 GiB)
    #[arg(long)]
    external_data: bool,
    /// Return only when the result is on the disk
    #[arg(long)]
    durable: bool,
}

/// Runs a recipe over the models.
pub fn run(args: &Job, recipe: &Recipe, beside: &Beside) -> Result<(), Failure> {
    let places = Places {
        inputs: &args.inputs,
        output: args.output.as_deref(),
        dir: args.dir.as_deref(),
        in_place: args.in_place,
        report: args.report.as_deref(),
    };
    let targets = places.targets()?;
    let written: Vec<&Path> =
        targets.iter().flatten().map(PathBuf::as_path).chain(args.report.as_deref()).collect();
    beside.check(recipe, &args.inputs, &written)?;
    let given = !args.data.is_empty() || recipe.data.contains_key(MEASURE);
    let measures = recipe.steps.iter().any(|step| step.needs_samples() || (given && step.uses_samples()))
        || recipe.budget.needs_loss();
    if args.no_verify && !args.data.is_empty() && !measures {
        return Err(Failure::usage(
            "`--data` has no use with `--no-verify`: nothing in the recipe measures on samples",
        ));
    }
    let runs = !args.no_verify || measures;
    let engine = runs.then(|| engine_of(&args.engine, args.ort_lib.as_deref())).transpose()?;
    let mut reports = Vec::new();
    let mut worst: Option<Failure> = None;
    for (input, target) in args.inputs.iter().zip(&targets) {
        let done = one(args, (recipe, beside), engine.as_deref(), (input, target.as_deref()), &mut reports);
        if let Err(failure) = done {
            // The other models may be fine.
            worst = Some(failure.told().graver(worst.take()));
        }
    }
    tell(args, &reports)?;
    worst.map_or(Ok(()), Err)
}

/// One model: read, optimized, proved, and written where nothing speaks against it.
fn one(
    args: &Job,
    (recipe, beside): (&Recipe, &Beside),
    engine: Option<&dyn Engine>,
    (input, target): (&Path, Option<&Path>),
    reports: &mut Vec<Report>,
) -> Result<(), Failure> {
    let loaded = load(input).map_err(|e| Failure::about(input, e))?;
    let bars = (on_terminal() && !args.quiet && !args.json).then(|| Bars::new(recipe.steps.len()));
    let made = optimized(args, (recipe, beside), engine, &loaded.model, bars.as_ref());
    if let Some(bars) = bars {
        bars.clear();
    }
    let (model, mut report) = made.map_err(|error| Failure::about(input, error))?;
    report.run.warnings.splice(0..0, loaded.warnings.iter().map(ToString::to_string));
    let objection = objection(&report, args.require_verified);
    if objection.is_none() && !report.run.is_plan() {
        beside.write(input, &loaded.model, &model, &report)?;
    }
    let written = target.filter(|_| objection.is_none() && !report.run.is_plan());
    let bytes = match written {
        Some(target) => write(args, &model, (input, target))?,
        None => size(&model).map_err(|e| Failure::about(input, e))?,
    };
    report.set_files((input, loaded.bytes), (written, bytes));
    let shown = if args.quiet || args.json { Ok(()) } else { show(&report.to_table(), target) };
    reports.push(report);
    shown?;
    objection.map_or(Ok(()), |why| Err(Failure::unproved(input, why)))
}

/// What keeps a result from being written.
fn objection(report: &Report, require_verified: bool) -> Option<String> {
    let found = report.run.verification.as_ref();
    let why = match found.map(|v| &v.outcome) {
        Some(Outcome::NotEqual { why }) => {
            let culprit = report.run.culprit.as_ref();
            let culprit = culprit.map_or_else(String::new, |pass| format!(" (they change with {pass})"));
            format!("the answers are not equal: {why}{culprit}")
        }
        Some(Outcome::CouldNotRun { why }) if require_verified => format!("not verified: {why}"),
        None if require_verified => "not verified: the recipe turns verification off".to_owned(),
        _ if !report.run.unmet.is_empty() => {
            format!("the budget of the recipe is not met: {}", report.run.unmet.join("; "))
        }
        _ => return None,
    };
    Some(format!("{why}; nothing is written"))
}

/// How many bytes a result would take that is not written; an error where it could not be.
fn size(model: &Model) -> Result<u64, OnnxError> {
    encoded_size(model.check()?)
}

/// Writes the result. Returns how many bytes it takes.
fn write(args: &Job, model: &Model, (input, target): (&Path, &Path)) -> Result<u64, Failure> {
    let at = |error: &dyn Display| {
        let why = error.to_string();
        // What names the target need not name the input.
        if names(&why, target, "standard output") { Failure::failed(why) } else { Failure::about(input, why) }
    };
    if let Some(dir) = &args.dir {
        let cause = |e| Failure::failed(format!("cannot make the directory {}: {e}", dir.display()));
        std::fs::create_dir_all(dir).map_err(cause)?;
    }
    let always = ExternalData::Always { threshold: EXTERNAL_THRESHOLD };
    let external = if args.external_data { always } else { ExternalData::Auto };
    let checked = model.check().map_err(|e| at(&e))?;
    let saved = save(checked, target, &SaveOptions { external, durable: args.durable });
    Ok(saved.map_err(|e| at(&e))?.total())
}

fn optimized(
    args: &Job,
    (recipe, beside): (&Recipe, &Beside),
    engine: Option<&dyn Engine>,
    model: &Model,
    bars: Option<&Bars>,
) -> Result<(Model, Report), String> {
    let mut tell = |step: &str| {
        if let Some(bars) = bars {
            bars.step(step);
        }
    };
    let mut keeper = beside.keeper();
    let mut optimizer = Optimizer::new(recipe.clone()).progress(&mut tell);
    if let Some(keeper) = &mut keeper {
        optimizer = optimizer.stages(keeper);
    }
    for (symbol, size) in &args.bind {
        optimizer = optimizer.bind(symbol, *size);
    }
    if let Some(opset) = args.opset {
        optimizer = optimizer.opset(opset);
    }
    let Some(engine) = engine else { return optimizer.run(model).map_err(|e| e.to_string()) };
    let (bound, dims) = optimizer.bound(model).map_err(|e| e.to_string())?;
    let data = Data::open(&args.data, recipe, &bound, &dims).map_err(|e| e.to_string())?;
    if !args.no_verify {
        optimizer = optimizer.verify_with(engine);
        if let Some(calib) = data.calib.as_ref().filter(|data| !data.is_random()) {
            let runs = calib.first(u64::from(recipe.verify.runs)).map_err(|e| e.to_string())?;
            optimizer = optimizer.data(runs);
        }
    }
    let told = |done, all| bars.into_iter().for_each(|bars| bars.batch(done, all));
    let samples = data.samples(engine, dims).map(|samples| samples.telling(&told));
    if let Some(samples) = &samples {
        optimizer = optimizer.samples(samples);
    }
    optimizer.run(model).map_err(|e| e.to_string())
}

/// The reports as JSON, to a file and to standard output, as far as they are asked for: that of one model, or a list.
fn tell(args: &Job, reports: &[Report]) -> Result<(), Failure> {
    let json = match reports {
        [] => return Ok(()),
        [report] if args.inputs.len() == 1 => report.to_json(),
        _ => serde_json::to_string_pretty(reports).map_err(Failure::failed)?,
    };
    if let Some(path) = &args.report {
        let unwritable = |e| Failure::failed(format!("cannot write `{}`: {e}", path.display()));
        std::fs::write(path, format!("{json}\n")).map_err(unwritable)?;
    }
    match args.output.as_deref() {
        _ if args.quiet || !args.json => Ok(()),
        Some(output) if is_stream(output) => {
            json.lines().for_each(complain);
            Ok(())
        }
        _ => print(&json),
    }
}

/// Shows the table; on standard error where the model itself goes to standard output.
fn show(table: &str, target: Option<&Path>) -> Result<(), Failure> {
    if target.is_some_and(is_stream) {
        table.lines().for_each(complain);
        return Ok(());
    }
    say(table)
}

#[cfg(test)]
mod tests {
    use onnxpress::{Verification, from_text};

    use super::*;

    fn report(outcome: Option<Outcome>) -> Report {
        let model = from_text(
            "<ir_version: 8, opset_import: [\"\": 17]> g (float[1] x) => (float[1] y) { y = Relu(x) }",
        );
        let recipe = Recipe::builtin("simplify").unwrap();
        let (_, mut report) = Optimizer::new(recipe).run(&model.unwrap().model).unwrap();
        report.run.verification = outcome.map(|outcome| Verification {
            engine: "reference".into(),
            outcome,
            runs: 2,
            seed: Some(0),
            inputs: Vec::new(),
            blind: false,
            outputs: Vec::new(),
        });
        report
    }

    #[test]
    fn only_what_is_proved_or_was_not_to_be_proved_is_written() {
        let why = || "w".to_owned();
        let unequal = report(Some(Outcome::NotEqual { why: why() }));
        assert!(objection(&unequal, false).is_some_and(|o| o.starts_with("the answers are not equal: w")));
        assert!(objection(&unequal, true).is_some());
        let unknown = report(Some(Outcome::CouldNotRun { why: why() }));
        assert_eq!(objection(&unknown, false), None);
        assert_eq!(objection(&unknown, true).unwrap(), "not verified: w; nothing is written");
        assert_eq!(objection(&report(Some(Outcome::Equal)), true), None);
        assert_eq!(objection(&report(None), false), None);
        assert!(objection(&report(None), true).is_some());
    }
}
