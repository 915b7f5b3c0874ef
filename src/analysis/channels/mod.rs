//! Which channels live and die together.
//!
//! Every index of every axis whose size is known is an element; operators tie elements by one index formula each (see
//! `formulas`), and what hangs together is an *atom*: to remove one of its elements is to remove all. An operator
//! without a formula, a graph input, an output: these freeze what they touch, and say why. Where a `Reshape` parts an
//! axis into several, one of the parts carries the ties and the others are frozen: the heads of an attention where there
//! are some, else the longest part that nothing else froze.
//!
//! A removed element is gone from every value; where an operator sums over its axis, that is as if it had been zero
//! there. So the model without some atoms computes what the original computes with the matching slices of the weights
//! that sum over them set to zero.

mod elements;
mod formulas;
mod layout;
mod linear;
mod monomial;
mod norm;
mod pointwise;
mod reshape;
mod select;
mod sizes;
#[cfg(test)]
mod tests;
mod ties;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Facts;
use crate::ir::{Graph, NodeId, ValueId};

#[cfg(test)]
pub(crate) use formulas::operators;
pub use linear::goes_by_group;
pub use reshape::joined_shape;
pub use sizes::said_in;

use self::elements::Elements;
use ties::{Site, Ties};

/// An axis of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Axis {
    /// The value.
    pub value: ValueId,
    /// Counted from the front.
    pub axis: usize,
}

/// Why something may not be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// The node that says so.
    pub node: Option<NodeId>,
    /// What it says.
    pub why: &'static str,
}

impl Reason {
    /// As a text with the node's label.
    pub fn label(&self, graph: &Graph) -> String {
        match self.node.filter(|&n| graph.contains_node(n)) {
            Some(node) => format!("{}: {}", graph.node_label(node), self.why),
            None => self.why.to_owned(),
        }
    }
}

/// What may go of products of two activations: of the heads of an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Heads {
    /// Whole heads.
    #[default]
    Whole,
    /// The same channels of every head; all heads stay.
    Width,
    /// Nothing: queries, keys and values stay as they are.
    Keep,
}

/// Channels of some axes that can be removed one by one.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The axes, activations and constants, in the order in which the graph comes to them.
    pub axes: Vec<Axis>,
    /// What goes together.
    pub atoms: Vec<Atom>,
    /// Why none of them may go.
    pub frozen: Option<Reason>,
}

/// Indices that live and die together: for each axis of the group those that belong to the atom, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Atom(pub Vec<Vec<u32>>);

/// The groups of a graph, and which nodes sum over which axes.
#[derive(Debug, Clone, Default)]
pub struct Channels {
    /// Groups with a constant and an activation among their axes, in the order of the graph.
    pub groups: Vec<Group>,
    /// For axes over which nodes sum, those nodes.
    pub sums: BTreeMap<Axis, Vec<NodeId>>,
}

impl Channels {
    /// The channels of a graph.
    pub fn of(graph: &Graph, facts: &Facts, heads: Heads) -> Self {
        let Ok(order) = graph.order() else { return Self::default() };
        let mut ties = Ties::default();
        for &value in graph.inputs() {
            ties.freeze_value(facts, value, Reason { node: None, why: "an input of the model" });
        }
        for &id in &order {
            node(&Site::of(graph, facts, id), &mut ties);
        }
        for value in graph.values().filter(|&v| graph.is_pinned(v)) {
            let why =
                if graph.is_output(value) { "an output of the model" } else { "an annotation names it" };
            ties.freeze_value(facts, value, Reason { node: None, why });
        }
        ties.keep(facts, heads);
        reshape::decide(graph, facts, &mut ties);
        let mut sums: BTreeMap<Axis, Vec<NodeId>> = BTreeMap::new();
        for &(node, axis) in &ties.sums {
            sums.entry(axis).or_default().push(node);
        }
        Self { groups: Elements::of(facts, &ties).groups(graph, facts, &ties.reasons), sums }
    }
}

/// How many elements an axis has: its size where that is known; of an open size the number that is a factor of it.
pub fn elements(facts: &Facts, axis: Axis) -> Option<u32> {
    monomial::elements(facts.dim(axis.value, axis.axis)?)
}

/// Ties what one node ties.
fn node(site: &Site<'_>, ties: &mut Ties) {
    let mark = ties.begin();
    let has_body = site.node.attrs.graphs().next().is_some();
    for value in site.graph.captures(site.id) {
        let reason = Reason { node: Some(site.id), why: "a body reads it" };
        ties.freeze_value(site.facts, value, reason);
    }
    let formula = formulas::formula(&site.node.op.name)
        .filter(|_| site.node.op.domain.is_empty() && site.node.opaque.is_none() && !has_body);
    let Some(formula) = formula else {
        return ties.finish(site, "no formula for its channels");
    };
    if formula(site, ties).is_some() {
        ties.finish(site, "its formula leaves this axis as it is");
    } else {
        ties.undo(&mark);
        ties.finish(site, "its form is not understood");
    }
}
