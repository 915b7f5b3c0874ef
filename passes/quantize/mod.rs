//! From floats to integers.

mod affine;
mod arrange;
mod bias;
mod codes;
mod moments;
mod pairs;
mod place;
mod plan;
pub mod qat;
mod scales;
pub mod r#static;
mod stored;
