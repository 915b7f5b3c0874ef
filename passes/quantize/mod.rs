//! From floats to integers.

mod affine;
mod arrange;
mod bias;
mod codes;
mod fidelity;
mod layer;
mod measure;
mod moments;
mod pairs;
mod place;
mod plan;
pub mod qat;
mod quantized;
mod rounding;
mod scales;
mod shift;
pub mod r#static;
mod store;
mod stored;
