//! Less of a model: channels taken out for good, weights that become zero.

mod adjust;
mod candidates;
pub mod channels;
mod clusters;
mod cut;
pub mod dead;
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
mod shares;
mod sparse;
mod steady;
mod surgeon;
#[cfg(test)]
mod tests;
mod thin;
pub mod weights;
mod widths;
