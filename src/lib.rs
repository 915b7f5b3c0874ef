//! onnxpress: turn an exported ONNX model into the smallest, fastest model that still gives the same answers, and prove
//! it.
//!
//! ```
//! use onnxpress::engine::interpret::Interpreter;
//! use onnxpress::{Optimizer, Recipe, load, save};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = load("fixtures/models/text_direction.onnx")?.model;
//! let engine = Interpreter::default();
//! let (smaller, report) = Optimizer::new(Recipe::load("simplify")?).verify_with(&engine).run(&model)?;
//!
//! assert!(report.after.nodes < report.before.nodes);
//! assert!(report.is_equal());
//! let file = std::env::temp_dir().join(format!("onnxpress-doc-{}.onnx", std::process::id()));
//! save(smaller.check()?, &file, &Default::default())?;
//! # std::fs::remove_file(file)?;
//! # Ok(())
//! # }
//! ```
//!
//! The layers, each of which uses only those before it: [`ir`]; [`schema`]; [`onnx`], [`analysis`], [`rewrite`] and
//! [`engine`]; [`data`] and [`calibrate`]; [`pass`]; [`passes`]; [`recipe`] and [`pipeline`]; [`report`]; this face.
//! `ARCHITECTURE.md` draws them.

pub mod analysis;
pub mod calibrate;
pub mod data;
pub mod engine;
pub mod ir;
pub mod math;
pub mod onnx;
mod optimizer;
pub mod pass;
#[path = "../passes/mod.rs"]
pub mod passes;
pub mod pipeline;
pub mod prelude;
pub mod recipe;
pub mod report;
pub mod rewrite;
pub mod schema;

pub use calibrate::{Loss, Samples};
pub use data::{DataError, DataSource, Dataset};
pub use engine::arithmetic::Arithmetic;
pub use engine::inputs::{DefaultDims, InputPlan, fed};
pub use engine::verify::{Outcome, Verification};
pub use engine::{Bindings, DEFAULT as DEFAULT_ENGINE, Engine, EngineError, by_name as engine_by_name};
pub use ir::{Graph, Model, TensorData, ValueId};
pub use onnx::{
    EXTERNAL_THRESHOLD, ExternalData, Loaded, OnnxError, SaveOptions, check_target, encoded_size, from_text,
    load, load_bytes, save, to_text,
};
pub use optimizer::Optimizer;
pub use pipeline::PipelineError;
pub use recipe::{Recipe, RecipeError};
pub use report::Report;
