//! From floats to integers.

mod codes;
mod place;
mod plan;
mod scales;
pub mod r#static;
