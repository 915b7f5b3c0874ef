//! `onnxpress run`.

use std::path::PathBuf;

use onnxpress::{
    Bindings, DEFAULT_ENGINE, DataSource, Dataset, DefaultDims, EngineError, Graph, InputPlan, TensorData,
    ValueId, fed,
};

use super::{Failure, binding, engine_of, read, say};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  onnxpress run model.onnx
  onnxpress run model.onnx --data samples.npz --bind batch=4")]
pub struct Args {
    /// The model; `-` reads standard input
    model: PathBuf,
    /// Real inputs instead of random ones: a file, folder, glob or list of samples, or INPUT=FILE for each input; the
    /// first sample is run
    #[arg(long, value_name = "PATH")]
    data: Vec<String>,
    /// Bind a symbolic dim
    #[arg(long, value_name = "DIM=SIZE", value_parser = binding)]
    bind: Vec<(String, u64)>,
    /// Seed of the random inputs
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// tract, ort, or reference
    #[arg(long, default_value = DEFAULT_ENGINE)]
    engine: String,
    /// The libonnxruntime of `--engine ort` [env: `ORT_DYLIB_PATH`]
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,
}

pub fn main(args: &Args) -> Result<(), Failure> {
    let loaded = read(&args.model)?;
    let model = &loaded.model;
    let failed = |e: EngineError| Failure::about(&args.model, e);
    let bindings: Bindings = args.bind.iter().cloned().collect();
    let inputs = if args.data.is_empty() {
        let plan = InputPlan::of(model, &bindings, DefaultDims::ATTEMPTS[0]);
        plan.and_then(|plan| plan.sample(args.seed)).map_err(failed)?
    } else {
        let data = DataSource::of_args(&args.data).and_then(|s| Dataset::open(&s, model, &bindings));
        data.and_then(|data| data.batch(0)).map_err(|e| Failure::about(&args.model, e))?
    };
    let engine = engine_of(&args.engine, args.ort_lib.as_deref())?;
    let session = engine.prepare(model, &bindings).map_err(failed)?;
    let outputs = session.run(&inputs).map_err(failed)?;
    let fed: Vec<ValueId> = fed(&model.graph).collect();
    show(&model.graph, &fed, &inputs, "input ")?;
    show(&model.graph, model.graph.outputs(), &outputs, "output")
}

fn show(graph: &Graph, ids: &[ValueId], tensors: &[TensorData], what: &str) -> Result<(), Failure> {
    for (&id, tensor) in ids.iter().zip(tensors) {
        say(&format!("{what} {}: {tensor:?} {}", graph.value(id).name, summary(tensor)))?;
    }
    Ok(())
}

/// Range, mean and first elements.
fn summary(tensor: &TensorData) -> String {
    let as_ints = || Some(tensor.to_i64s()?.into_iter().map(|x| x as f64).collect());
    let Some(items): Option<Vec<f64>> = tensor.to_f64s().or_else(as_ints) else { return String::new() };
    let (low, high) =
        items.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &x| (l.min(x), h.max(x)));
    let mean = items.iter().sum::<f64>() / items.len().max(1) as f64;
    let first: Vec<String> = items.iter().take(6).map(|x| format!("{x:.6}")).collect();
    format!("min {low:.6} max {high:.6} mean {mean:.6} first [{}]", first.join(", "))
}
