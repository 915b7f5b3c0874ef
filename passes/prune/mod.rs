//! Less of a model: channels taken out for good, weights that become zero.

mod adjust;
mod candidates;
pub mod channels;
mod clusters;
mod coded;
mod cut;
pub mod dead_channels;
mod divisible;
mod expected;
pub mod factorize;
mod factors;
#[cfg(test)]
mod factors_tests;
mod forms;
mod layers;
#[cfg(test)]
mod masking_tests;
mod merge;
mod plan;
mod price;
mod ranks;
mod refit;
mod scores;
mod seen;
mod sensitivity;
mod shared;
mod shares;
mod sparse;
mod splits;
mod steady;
mod stopwatch;
#[cfg(test)]
mod stopwatch_tests;
mod surgeon;
mod target;
#[cfg(test)]
mod tests;
mod thin;
pub mod weights;
#[cfg(test)]
mod weights_tests;
mod widths;
