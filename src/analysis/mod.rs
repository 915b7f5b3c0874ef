//! Facts read off a graph: element types, symbolic dims, elements of shape arithmetic, and costs. Nothing here changes
//! the graph.

mod body;
mod calc;
pub mod channels;
pub mod cost;
mod dtype;
mod expr;
mod fact;
mod facts;
mod infer;
mod products;
pub mod quantized;
mod rules;
mod sequence;
#[cfg(test)]
mod tests;

pub use expr::{Bindings, Expr};
pub(crate) use fact::Fact;
pub use facts::{Facts, InferContext};
pub use products::{Product, node_products};
pub(crate) use rules::{axes_of, axis_of, perm_of};
