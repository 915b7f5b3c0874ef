//! onnxpress: turn an exported ONNX model into the smallest, fastest model that still gives the same answers.

pub mod analysis;
pub mod engine;
pub mod ir;
pub mod onnx;
pub mod pass;
#[path = "../passes/mod.rs"]
pub mod passes;
pub mod prelude;
pub mod recipe;
pub mod rewrite;
pub mod schema;
pub mod scratch;
