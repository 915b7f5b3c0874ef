//! From floats to integers.

mod adjust;
mod affine;
mod arrange;
mod assignment;
mod bias;
mod blocks;
mod codes;
mod fidelity;
mod layer;
mod measure;
mod moments;
mod packed;
mod pairs;
mod place;
mod plan;
pub mod precision;
pub mod qat;
mod quantized;
mod rounding;
mod scales;
mod sensitivity;
mod shift;
mod sites;
pub mod r#static;
mod store;
mod stored;
pub mod weights;
