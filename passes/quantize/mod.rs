//! From floats to integers.

mod codes;
mod moments;
mod place;
mod plan;
mod scales;
pub mod r#static;
