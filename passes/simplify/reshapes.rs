//! Merge operators that only give the same elements other dims.

use super::axes::{constant_axes, integers};
use super::no_ops::moves_only_ones;
use crate::prelude::*;

/// Merge two of `Reshape`, `Squeeze`, `Unsqueeze`, `Flatten`, and `Transpose` that moves only axes of size 1, the one after
/// the other, into one of them, or into none where the dims are those of the beginning.
///
/// * What adds axes and what takes them away becomes one `Squeeze` or one `Unsqueeze`, where one will do.
/// * A `Reshape` to dims that do not copy those before it takes the elements from further up; so it may where the dims that
///   it copies are the same there.
/// * Else the dims of the result are written down: numbers, 0 for a dim that stays in its place, and -1 for a single
///   unknown one. A -1 beside a 0 would not do for an empty tensor, so that is not written.
///
/// *Left alone:* dims that one `Reshape` cannot say; a first operator that others read, where new dims would have to be
/// written down.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MergeReshapes {}

const OPS: &[&str] = &["Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"];

impl Rule for MergeReshapes {
    const META: PassMeta = PassMeta::exact("merge-reshapes", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let outer = p.op_with_any_inputs(OPS);
        rule_fn(move |m, rw| {
            let (graph, output) = (m.graph(), m.output(outer, 0)?);
            let middle = m.input(outer, 0)?;
            let inner = graph.producer(middle).map(|(inner, _)| inner).ok_or_else(Skip::no_concern)?;
            if !OPS.iter().any(|op| graph.node(inner).is(op)) {
                return Err(Skip::no_concern());
            }
            let x = graph.node_input(inner, 0).ok_or_else(Skip::no_concern)?;
            let pair = Pair { m, x, inner, middle, outer: m.id(outer), output };
            let both = |op: &str| graph.node(inner).is(op) && m.node(outer).is(op);
            let arranges = |id: NodeId, value: ValueId| {
                graph.node(id).is("Transpose") && !moves_only_ones(m, graph.node(id), value)
            };
            if both("Transpose") || arranges(inner, x) || arranges(m.id(outer), middle) {
                return Err(Skip::no_concern());
            }
            if m.facts().same_shape(x, output) || pair.undoes() {
                rw.replace(output, x);
                return Ok(());
            }
            if pair.reads_further_up() {
                let shape = m.input(outer, 1)?;
                rw.emit("Reshape", m.node(outer).attrs.clone(), [x.into(), shape.into()], output);
                return Ok(());
            }
            let (op, list) = if let Some(found) = pair.one_of_axes() {
                found
            } else {
                let dims = pair.dims().ok_or_else(|| Skip::because("one Reshape cannot say its dims"))?;
                ("Reshape", dims)
            };
            rw.remove(inner);
            let name = if op == "Reshape" { "reshape_dims" } else { "axes" };
            let list = rw.constant(name, TensorData::vector(&list));
            rw.emit(op, Attrs::new(), [x.into(), list], output);
            Ok(())
        })
    }
}

/// `x` through two operators.
struct Pair<'a> {
    m: &'a Match<'a>,
    x: ValueId,
    inner: NodeId,
    middle: ValueId,
    outer: NodeId,
    output: ValueId,
}

impl Pair<'_> {
    fn is(&self, inner: &str, outer: &str) -> bool {
        let graph = self.m.graph();
        graph.node(self.inner).is(inner) && graph.node(self.outer).is(outer)
    }

    /// The same axes, added and taken away: the rank in which they count is the same one.
    fn undoes(&self) -> bool {
        let pair = self.is("Squeeze", "Unsqueeze") || self.is("Unsqueeze", "Squeeze");
        let sorted = |id: NodeId| {
            let mut axes = integers(self.m, id, 1)?;
            axes.sort_unstable();
            Some(axes)
        };
        pair && sorted(self.inner).is_some_and(|axes| Some(axes) == sorted(self.outer))
    }

    /// Whether the second is a `Reshape` that gives the same dims where it reads what the first reads.
    fn reads_further_up(&self) -> bool {
        let (graph, facts) = (self.m.graph(), self.m.facts());
        let node = graph.node(self.outer);
        let copies = node.attrs.int("allowzero").unwrap_or(0) == 0;
        let same = |(axis, &size): (usize, &i64)| {
            size != 0 || !copies || facts.same_dim((self.x, axis), (self.middle, axis))
        };
        node.is("Reshape")
            && integers(self.m, self.outer, 1).is_some_and(|dims| dims.iter().enumerate().all(same))
    }

    /// The one operator that adds axes, or takes them away, as both do together.
    fn one_of_axes(&self) -> Option<(&'static str, Vec<i64>)> {
        let rank = self.m.facts().rank(self.x)?;
        let start: Vec<Option<usize>> = (0..rank).map(Some).collect();
        let end = self.walk(self.outer, &self.walk(self.inner, &start)?)?;
        let added: Vec<i64> =
            (0i64..).zip(&end).filter(|(_, from)| from.is_none()).map(|(at, _)| at).collect();
        let gone: Vec<i64> =
            (0..rank).filter(|&axis| !end.contains(&Some(axis))).map(|axis| axis as i64).collect();
        match (added.is_empty(), gone.is_empty()) {
            (true, false) => Some(("Squeeze", gone)),
            (false, true) => Some(("Unsqueeze", added)),
            _ => None,
        }
    }

    /// Where each axis comes from after an operator that adds axes or takes them away; `None` for one that is new.
    fn walk(&self, id: NodeId, axes: &[Option<usize>]) -> Option<Vec<Option<usize>>> {
        let node = self.m.graph().node(id);
        if node.is("Squeeze") {
            let gone = constant_axes(self.m, id, axes.len())?;
            return Some(
                (0..axes.len()).filter(|axis| !gone.contains(axis)).map(|axis| axes[axis]).collect(),
            );
        }
        let added = integers(self.m, id, 1).filter(|_| node.is("Unsqueeze"))?;
        let rank = axes.len() + added.len();
        let added = axes_of(&added, rank)?;
        let mut old = axes.iter();
        (0..rank).map(|axis| if added.contains(&axis) { Some(None) } else { old.next().copied() }).collect()
    }

    /// The dims of the result, as a `Reshape` of `x` takes them.
    fn dims(&self) -> Option<Vec<i64>> {
        let facts = self.m.facts();
        let dims = facts.shape(self.output)?;
        facts.shape(self.x)?;
        let unknown = dims.iter().filter(|dim| dim.known().is_none()).count();
        let say = |axis: usize| match facts.dim(self.output, axis)?.known() {
            Some(0) => None,
            Some(size) => Some(size),
            None if unknown == 1 => Some(-1),
            None => facts.same_dim((self.x, axis), (self.output, axis)).then_some(0),
        };
        (0..dims.len()).map(say).collect()
    }
}
