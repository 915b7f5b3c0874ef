//! The same computation with other types, names and borders.

mod border;
mod casts;
pub mod dtype;
pub mod extract;
pub mod float16;
mod halves;
pub mod io;
pub mod io_qdq;
pub mod layout;
mod pixels;
pub mod preprocessing;
