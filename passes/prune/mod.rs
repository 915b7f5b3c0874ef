//! Smaller tensors: channels taken out for good.

mod adjust;
mod candidates;
pub mod channels;
mod clusters;
mod cut;
pub mod factorize;
mod factors;
#[cfg(test)]
mod factors_tests;
mod forms;
mod layers;
mod plan;
mod price;
mod ranks;
mod refit;
mod scores;
mod seen;
mod sensitivity;
mod shared;
mod splits;
mod surgeon;
mod target;
#[cfg(test)]
mod tests;
mod widths;
