//! From floats to integers.

mod codes;
mod fidelity;
mod layer;
mod measure;
mod moments;
mod place;
mod plan;
mod quantized;
mod rounding;
mod scales;
pub mod r#static;
mod store;
