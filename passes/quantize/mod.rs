//! From floats to integers.

mod codes;
mod place;
mod plan;
pub mod r#static;
