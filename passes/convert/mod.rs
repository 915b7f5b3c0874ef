//! Other types for the same computation.

mod casts;
pub mod float16;
mod halves;
pub mod io;
