//! Matching a pattern at a node, and reading the match.

use smallvec::SmallVec;

use super::pattern::{OpPart, Part, PatternBuilder};
use super::{AnyVar, ConstVar, OpVar, OptVar, Skip, Token};
use crate::analysis::Facts;
use crate::ir::{DType, Graph, Node, NodeId, TensorData, ValueId};
use crate::schema::Target;

/// What one part of a pattern stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Value(ValueId),
    Absent,
    Op(NodeId, Option<ValueId>),
}

type Bindings = SmallVec<[Option<Bound>; 12]>;

/// A place where a pattern matched. It reads the graph; it cannot change it.
pub struct Match<'a> {
    graph: &'a Graph,
    facts: &'a Facts,
    target: &'a Target,
    bindings: Bindings,
    root: NodeId,
}

/// Tries the pattern with its root at a node.
pub(super) fn match_at(pattern: &PatternBuilder, graph: &Graph, node: NodeId) -> Option<Found> {
    let (root, part) = pattern.root()?;
    let mut bindings: Bindings = SmallVec::from_elem(None, pattern.parts.len());
    bind_op(pattern, graph, &mut bindings, root, part, node, None).then_some(Found { bindings, root: node })
}

/// A match that does not borrow the graph.
pub(super) struct Found {
    bindings: Bindings,
    pub(super) root: NodeId,
}

impl Found {
    /// The matched operators, the root included; `true` for those that stay because the pattern shares them.
    pub(super) fn ops(&self, pattern: &PatternBuilder) -> SmallVec<[(NodeId, bool); 6]> {
        let mut ops: SmallVec<[(NodeId, bool); 6]> = SmallVec::new();
        for (part, bound) in pattern.parts.iter().zip(&self.bindings) {
            if let (Part::Op(part), Some(Bound::Op(node, _))) = (part, bound)
                && !ops.iter().any(|(n, _)| n == node)
            {
                ops.push((*node, part.shared));
            }
        }
        ops
    }

    pub(super) fn read<'a>(&self, graph: &'a Graph, facts: &'a Facts, target: &'a Target) -> Match<'a> {
        Match { graph, facts, target, bindings: self.bindings.clone(), root: self.root }
    }
}

fn bind(p: &PatternBuilder, graph: &Graph, to: &mut Bindings, at: usize, value: Option<ValueId>) -> bool {
    let bound = value.map_or(Bound::Absent, Bound::Value);
    match &p.parts[at] {
        Part::Optional => bind_once(to, at, bound),
        Part::Any => value.is_some() && bind_once(to, at, bound),
        Part::Constant => value.is_some_and(|v| graph.constant(v).is_some()) && bind_once(to, at, bound),
        Part::Either(first, second) => {
            let (first, second) = (*first, *second);
            let saved = to.clone();
            if bind(p, graph, to, first, value) {
                return true;
            }
            *to = saved;
            bind(p, graph, to, second, value)
        }
        Part::Op(op) => {
            let Some(value) = value else { return false };
            match graph.producer(value) {
                Some((node, 0)) => bind_op(p, graph, to, at, op, node, Some(value)),
                _ => false,
            }
        }
    }
}

fn bind_once(to: &mut Bindings, at: usize, bound: Bound) -> bool {
    if let Some(old) = to[at] {
        old == bound
    } else {
        to[at] = Some(bound);
        true
    }
}

#[allow(clippy::too_many_arguments)] // one step of a recursion, called from two places of this file
fn bind_op(
    p: &PatternBuilder,
    graph: &Graph,
    to: &mut Bindings,
    at: usize,
    part: &OpPart,
    id: NodeId,
    value: Option<ValueId>,
) -> bool {
    let node = graph.node(id);
    if !part.names.iter().any(|name| node.is(name)) {
        return false;
    }
    if let Some(Bound::Op(old, _)) = to[at] {
        return old == id;
    }
    to[at] = Some(Bound::Op(id, value));
    let Some(inputs) = &part.inputs else { return true };
    let slots = graph.node_inputs(id);
    if slots.iter().skip(inputs.len()).any(Option::is_some) {
        return false;
    }
    let saved = to.clone();
    let straight = (inputs.iter().enumerate())
        .all(|(slot, &i)| bind(p, graph, to, i, slots.get(slot).copied().flatten()));
    if straight || !part.commutative {
        return straight;
    }
    *to = saved;
    (inputs.iter().rev().enumerate())
        .all(|(slot, &i)| bind(p, graph, to, i, slots.get(slot).copied().flatten()))
}

impl<'a> Match<'a> {
    fn bound(&self, token: impl Token) -> Option<Bound> {
        self.bindings.get(token.index()).copied().flatten()
    }

    /// The node where the pattern's root stands.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// The matched operator.
    ///
    /// # Panics
    /// For an operator on the side of an `either` that did not match: ask [`Match::matched`] first.
    pub fn node(&self, op: OpVar) -> &'a Node {
        self.graph.node(self.id(op))
    }

    /// The id of the matched operator.
    ///
    /// # Panics
    /// As [`Match::node`].
    pub fn id(&self, op: OpVar) -> NodeId {
        match self.bound(op) {
            Some(Bound::Op(node, _)) => node,
            other => panic!(
                "an operator of a pattern is bound to {other:?}; ask `matched` before reading a side of `either`"
            ),
        }
    }

    /// Whether the part was used: false on the side of an `either` that did not match.
    pub fn matched(&self, token: impl Token) -> bool {
        self.bound(token).is_some()
    }

    /// The matched value. Panics as [`Match::node`] does.
    pub fn value(&self, var: AnyVar) -> ValueId {
        self.any(var)
    }

    /// The matched constant's value. Panics as [`Match::node`] does.
    pub fn constant(&self, var: ConstVar) -> ValueId {
        self.any(var)
    }

    fn any(&self, token: impl Token) -> ValueId {
        match self.bound(token) {
            Some(Bound::Value(v)) => v,
            other => panic!(
                "a value of a pattern is bound to {other:?}; ask `matched` before reading a side of `either`"
            ),
        }
    }

    /// The optional input, if it is present.
    pub fn optional(&self, var: OptVar) -> Option<ValueId> {
        match self.bound(var) {
            Some(Bound::Value(v)) => Some(v),
            _ => None,
        }
    }

    /// The value in an input slot of a matched operator.
    ///
    /// # Errors
    /// A near miss where it is absent.
    pub fn input(&self, op: OpVar, slot: usize) -> Result<ValueId, Skip> {
        self.graph.node_input(self.id(op), slot).ok_or_else(|| Skip::because("an input is absent"))
    }

    /// The value in an output slot of a matched operator.
    ///
    /// # Errors
    /// A near miss where nothing reads that output.
    pub fn output(&self, op: OpVar, slot: usize) -> Result<ValueId, Skip> {
        self.graph.node_output(self.id(op), slot).ok_or_else(|| Skip::because("its output is unused"))
    }

    /// Whether an output of a matched operator is read by anything, or is an output of the graph.
    pub fn output_is_used(&self, op: OpVar, slot: usize) -> bool {
        self.graph
            .node_output(self.id(op), slot)
            .is_some_and(|v| self.graph.use_count(v) > 0 || self.graph.is_pinned(v))
    }

    /// The name of a value.
    pub fn name(&self, value: ValueId) -> &'a str {
        &self.graph.value(value).name
    }

    /// The elements of a matched constant.
    ///
    /// # Panics
    /// As [`Match::node`].
    pub fn tensor(&self, var: ConstVar) -> &'a TensorData {
        self.graph.constant(self.any(var)).unwrap_or_else(|| panic!("the matcher binds only constants here"))
    }

    /// The elements of a floating-point constant as numbers.
    ///
    /// # Errors
    /// A near miss for another element type.
    pub fn f64s(&self, var: ConstVar) -> Result<Vec<f64>, Skip> {
        self.tensor(var).to_f64s().ok_or_else(|| Skip::because("a parameter is not floating point"))
    }

    /// The constant behind any value.
    pub fn constant_of(&self, value: ValueId) -> Option<&'a TensorData> {
        self.graph.constant(value)
    }

    /// The operator whose first output a value is, where it is one of these.
    pub fn made_by(&self, value: ValueId, ops: &[&str]) -> Option<NodeId> {
        let (node, slot) = self.graph.producer(value)?;
        (slot == 0 && ops.iter().any(|op| self.graph.node(node).is(op))).then_some(node)
    }

    /// Whether one input of one operator reads a value, and nothing else does: it can vanish with its reader.
    pub fn is_private(&self, value: ValueId) -> bool {
        self.graph.use_count(value) == 1 && !self.graph.is_pinned(value)
    }

    /// What shape and type inference knows.
    pub fn facts(&self) -> &'a Facts {
        self.facts
    }

    /// The element type of a value, as far as it is known.
    pub fn dtype(&self, value: ValueId) -> Option<DType> {
        self.facts.dtype(value)
    }

    /// What the result may contain.
    pub fn target(&self) -> &'a Target {
        self.target
    }

    /// The graph, for what the accessors above do not cover. Reading only.
    pub fn graph(&self) -> &'a Graph {
        self.graph
    }
}
