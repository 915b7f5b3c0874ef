//! Computing before the model runs what does not depend on its inputs.

pub mod constants;
pub mod gather_layout;
mod region;
