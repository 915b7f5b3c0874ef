//! What the operators tie together, collected before anything is united.

use crate::analysis::axis_of;
use std::collections::BTreeSet;

use super::{Axis, Heads, Reason};
use crate::analysis::Facts;
use crate::ir::{Graph, Node, NodeId, Slots, ValueId};

/// Indices of two axes that live and die together.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tie {
    /// Every index of one axis with the same index of another.
    Whole(Axis, Axis),
    /// Index `i` of the first with index `start + i` of the second, over all of the first that the second has.
    Part(Axis, Axis, i64),
    /// All indices with a digit, on both sides, with all that have the same one.
    Digits(Digits, Digits),
    /// Index `list[j]` of the first with index `j` of the second.
    List(Axis, Axis, Vec<u32>),
}

/// The digit `index / div % size` of the indices of an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Digits {
    pub axis: Axis,
    pub div: u64,
    pub size: u64,
}

/// Which indices of an axis are frozen.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Frozen {
    All,
    These(Vec<u32>),
}

/// What the operators say, node by node.
#[derive(Default)]
pub(super) struct Ties {
    pub said: Vec<Tie>,
    pub frozen: Vec<(Axis, Frozen, usize)>,
    pub reasons: Vec<Reason>,
    /// Axes over which products of two activations are batched: heads. They are preferred where an axis is parted.
    pub heads: BTreeSet<Axis>,
    /// What such products multiply.
    pub attended: BTreeSet<ValueId>,
    /// Axes over which a node sums.
    pub sums: Vec<(NodeId, Axis)>,
    /// Nodes that part and join dims, in order; decided when all else is known.
    pub reshapes: Vec<NodeId>,
    /// The axes that the formula of the node at hand speaks of.
    touched: BTreeSet<Axis>,
}

impl Ties {
    /// The same index of both.
    pub fn whole(&mut self, a: Axis, b: Axis) {
        self.touch([a, b]);
        self.said.push(Tie::Whole(a, b));
    }

    /// Index `i` of the first with index `start + i` of the second.
    pub fn part(&mut self, a: Axis, b: Axis, start: i64) {
        self.touch([a, b]);
        self.said.push(Tie::Part(a, b, start));
    }

    /// Equal digits of both.
    pub fn digits(&mut self, a: Digits, b: Digits) {
        self.touch([a.axis, b.axis]);
        self.said.push(Tie::Digits(a, b));
    }

    /// Index `list[j]` of the first with index `j` of the second.
    pub fn list(&mut self, a: Axis, b: Axis, list: Vec<u32>) {
        self.touch([a, b]);
        self.said.push(Tie::List(a, b, list));
    }

    /// No index of the axis may go.
    pub fn freeze(&mut self, site: &Site<'_>, axis: Axis, why: &'static str) {
        self.freeze_some(site, axis, Frozen::All, why);
    }

    /// Some indices of the axis may not go.
    pub fn freeze_some(&mut self, site: &Site<'_>, axis: Axis, which: Frozen, why: &'static str) {
        self.touch([axis]);
        let reason = self.reason(Reason { node: Some(site.id), why });
        self.frozen.push((axis, which, reason));
    }

    /// No index of any axis of a value may go.
    pub fn freeze_value(&mut self, facts: &Facts, value: ValueId, reason: Reason) {
        let reason = self.reason(reason);
        for axis in 0..facts.rank(value).unwrap_or(0) {
            self.touch([Axis { value, axis }]);
            self.frozen.push((Axis { value, axis }, Frozen::All, reason));
        }
    }

    /// Freezes what shall stay of heads.
    pub fn keep(&mut self, facts: &Facts, heads: Heads) {
        let reason = Reason { node: None, why: "the option `heads` keeps it" };
        match heads {
            Heads::Whole => {}
            Heads::Width => {
                let at = self.reason(reason);
                self.frozen.extend(self.heads.iter().map(|&axis| (axis, Frozen::All, at)));
                // What else these products have is to be preferred now where an axis is parted.
                let axes = |&value: &ValueId| {
                    (0..facts.rank(value).unwrap_or(0)).map(move |axis| Axis { value, axis })
                };
                self.heads.extend(self.attended.iter().flat_map(axes));
            }
            Heads::Keep => {
                for value in self.attended.clone() {
                    self.freeze_value(facts, value, reason);
                }
            }
        }
    }

    fn reason(&mut self, reason: Reason) -> usize {
        if self.reasons.last() != Some(&reason) {
            self.reasons.push(reason);
        }
        self.reasons.len() - 1
    }

    /// The node sums over the axis: what is removed there contributes nothing.
    pub fn sum(&mut self, site: &Site<'_>, axis: Axis) {
        self.touch([axis]);
        self.sums.push((site.id, axis));
    }

    /// Every index of the axis may go without another that the node sees.
    pub fn free(&mut self, axis: Axis) {
        self.touch([axis]);
    }

    /// The input holds numbers about the operation, and no channels.
    pub fn parameter(&mut self, site: &Site<'_>, slot: usize) {
        let Some(value) = site.input(slot) else { return };
        (0..site.facts.rank(value).unwrap_or(0)).for_each(|axis| self.free(Axis { value, axis }));
    }

    fn touch(&mut self, axes: impl IntoIterator<Item = Axis>) {
        self.touched.extend(axes);
    }

    /// Freezes the axes of a node that its formula left out.
    pub fn finish(&mut self, site: &Site<'_>, why: &'static str) {
        for value in site.inputs.iter().chain(&site.outputs).flatten().copied() {
            for axis in 0..site.facts.rank(value).unwrap_or(0) {
                let axis = Axis { value, axis };
                if !self.touched.contains(&axis) {
                    self.freeze(site, axis, why);
                }
            }
        }
    }

    /// Forgets what the formula of a node spoke of.
    pub fn begin(&mut self) -> Mark {
        self.touched.clear();
        Mark(self.said.len(), self.frozen.len(), self.sums.len(), self.reshapes.len())
    }

    /// Takes back what the formula of a node said since then.
    pub fn undo(&mut self, mark: &Mark) {
        self.said.truncate(mark.0);
        self.frozen.truncate(mark.1);
        self.sums.truncate(mark.2);
        self.reshapes.truncate(mark.3);
        self.touched.clear();
    }
}

/// How much was said at some time.
pub(super) struct Mark(usize, usize, usize, usize);

/// A node in its graph.
pub(super) struct Site<'a> {
    pub graph: &'a Graph,
    pub facts: &'a Facts,
    pub id: NodeId,
    pub node: &'a Node,
    pub inputs: Slots,
    pub outputs: Slots,
}

impl<'a> Site<'a> {
    pub fn of(graph: &'a Graph, facts: &'a Facts, id: NodeId) -> Self {
        let (inputs, outputs) = (graph.node_inputs(id), graph.node_outputs(id));
        Self { graph, facts, id, node: graph.node(id), inputs, outputs }
    }

    pub fn input(&self, slot: usize) -> Option<ValueId> {
        self.inputs.get(slot).copied().flatten()
    }

    pub fn output(&self, slot: usize) -> Option<ValueId> {
        self.outputs.get(slot).copied().flatten()
    }

    pub fn rank(&self, value: ValueId) -> Option<usize> {
        self.facts.rank(value)
    }

    /// The size of an axis, where it is known.
    pub fn size(&self, value: ValueId, axis: usize) -> Option<u64> {
        u64::try_from(self.facts.dim(value, axis)?.known()?).ok()
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.node.attrs.int(name).unwrap_or(default)
    }

    /// An axis attribute, counted from the front.
    pub fn axis(&self, name: &str, default: i64, rank: usize) -> Option<usize> {
        axis_of(self.int(name, default), rank)
    }

    /// The integers of a constant input.
    pub fn ints(&self, slot: usize) -> Option<Vec<i64>> {
        let value = self.input(slot)?;
        self.facts.value_i64s(value).or_else(|| self.graph.constant(value)?.to_i64s())
    }

    /// Whether a value is known before the model runs.
    pub fn is_constant(&self, value: ValueId) -> bool {
        self.graph.constant(value).is_some()
    }
}
