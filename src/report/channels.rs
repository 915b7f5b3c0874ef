//! The channels of a model, for people and for programs.

use std::fmt::Write;

use serde::Serialize;

use crate::analysis::channels::{Channels, Group, Heads};
use crate::analysis::{Facts, InferContext};
use crate::ir::{Graph, Model};

/// Channels that can be removed one by one, or cannot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelGroup {
    /// How many can go: each is one index, or several that go together.
    pub width: usize,
    /// Indices of the first axis that one of them takes.
    pub each: usize,
    /// The axes of constants.
    pub weights: Vec<ChannelAxis>,
    /// The axes of activations.
    pub activations: Vec<ChannelAxis>,
    /// Why none of them can go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen: Option<String>,
}

/// An axis of a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelAxis {
    /// The value's name.
    pub value: String,
    /// Counted from 0.
    pub axis: usize,
}

impl ChannelGroup {
    /// The channel groups of the main graph, in its order.
    pub fn of(model: &Model) -> Vec<Self> {
        let facts = Facts::of(&model.graph, &InferContext::default());
        let channels = Channels::of(&model.graph, &facts, Heads::default());
        channels.groups.iter().map(|group| Self::told(&model.graph, group)).collect()
    }

    fn told(graph: &Graph, group: &Group) -> Self {
        let axes = |constant: bool| {
            let of_kind = group.axes.iter().filter(|a| graph.constant(a.value).is_some() == constant);
            of_kind.map(|a| ChannelAxis { value: graph.value(a.value).name.clone(), axis: a.axis }).collect()
        };
        Self {
            width: group.atoms.len(),
            each: group.atoms.first().and_then(|atom| atom.0.first()).map_or(0, Vec::len),
            weights: axes(true),
            activations: axes(false),
            frozen: group.frozen.map(|reason| reason.label(graph)),
        }
    }

    /// As lines of a terminal: weights by name, activations by number.
    pub fn to_lines(&self) -> String {
        let mut line = format!("{:>6}", self.width);
        if self.each > 1 {
            let _ = write!(line, " × {}", self.each);
        }
        for axis in &self.weights {
            let _ = write!(line, "  {}[{}]", axis.value, axis.axis);
        }
        let _ = write!(line, "  and {} activations", self.activations.len());
        if let Some(why) = &self.frozen {
            let _ = write!(line, "\n        frozen by {why}");
        }
        line
    }
}
