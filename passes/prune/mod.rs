//! Smaller tensors: channels taken out for good.

mod adjust;
pub mod channels;
mod clusters;
mod cut;
mod price;
mod scores;
mod shared;
#[cfg(test)]
mod tests;
mod widths;
