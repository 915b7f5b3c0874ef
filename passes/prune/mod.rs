//! Smaller tensors: channels taken out for good.

mod adjust;
pub mod channels;
mod clusters;
mod cut;
mod expected;
mod layers;
mod merge;
mod plan;
mod price;
mod refit;
mod scores;
mod seen;
mod sensitivity;
mod shared;
mod surgeon;
#[cfg(test)]
mod tests;
mod widths;
