//! Merge reductions with operators that add or take away the axes over which they go.

use super::axes::{Axes, integers};
use crate::prelude::*;

/// Merge a reduction, `ArgMax` or `ArgMin` with the `Squeeze`, `Unsqueeze`, `Reshape` or `Flatten` after it, where that does
/// no more than take away or add the axes of size 1 that the reduction leaves or does not: `keepdims` says it too.
///
/// `GlobalAveragePool` and `GlobalMaxPool`, which have no such attribute, become `ReduceMean` and `ReduceMax` then.
///
/// *Left alone:* a reduction that others read, axes that are not constant, and dims that are not those of the reduction.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MergeReduces {}

const REDUCTIONS: &[&str] = &[
    "ArgMax",
    "ArgMin",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
];

impl Rule for MergeReduces {
    const META: PassMeta = PassMeta::exact("merge-reduces", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let inner = p.op_with_any_inputs(REDUCTIONS);
        let shape = p.optional();
        let outer = p.one_of(&["Flatten", "Reshape", "Squeeze", "Unsqueeze"], (inner, shape));
        rule_fn(move |m, rw| {
            let (node, output, x) = (m.node(inner), m.output(outer, 0)?, m.input(inner, 0)?);
            let keeps = node.attrs.int("keepdims").unwrap_or(1) != 0;
            let axes = Axes::of(m, m.id(inner), x)?;
            let fits = axes.are_those_of(m, m.id(outer), keeps) || axes.fit(m, x, output, keeps);
            if !fits {
                return Err(Skip::no_concern());
            }
            let attrs = node.attrs.clone().with("keepdims", i64::from(!keeps));
            let inputs = m.graph().node_inputs(m.id(inner));
            let pooled = match &*node.op.name {
                "GlobalAveragePool" => Some("ReduceMean"),
                "GlobalMaxPool" => Some("ReduceMax"),
                _ => None,
            };
            let Some(name) = pooled else {
                rw.emit(&node.op.name, attrs, inputs.into_iter().map(Operand::from), output);
                return Ok(());
            };
            let allowed = m.dtype(x).is_some_and(|dtype| m.target().supports_type(name, dtype));
            if !allowed {
                return Err(Skip::no_concern());
            }
            let list = rw.constant("reduce_axes", TensorData::vector(&axes.written));
            rw.emit(name, attrs, [x.into(), list], output);
            Ok(())
        })
    }
}

impl Axes {
    /// Whether a `Squeeze` or an `Unsqueeze` names the same axes. They count in the rank of the input for all three.
    fn are_those_of(&self, m: &Match<'_>, id: NodeId, keeps: bool) -> bool {
        let wanted = if keeps { "Squeeze" } else { "Unsqueeze" };
        let sorted = |mut axes: Vec<i64>| {
            axes.sort_unstable();
            axes
        };
        m.graph().node(id).is(wanted)
            && integers(m, id, 1).is_some_and(|axes| sorted(axes) == sorted(self.written.clone()))
    }

    /// Whether a result has the dims that the reduction would have if it kept, or did not keep, its axes.
    fn fit(&self, m: &Match<'_>, x: ValueId, output: ValueId, keeps: bool) -> bool {
        let (Some(from), Some(to)) = (m.facts().shape(x), m.facts().shape(output)) else { return false };
        let Some(axes) = &self.from_front else { return false };
        let left = from.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, dim)| dim);
        if keeps {
            return are_as_many(left, to.iter(), |dim| dim.known().is_some_and(|n| n > 0));
        }
        let ones = to.iter().enumerate().all(|(axis, dim)| !axes.contains(&axis) || dim.is(1));
        let rest = to.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, dim)| dim);
        ones && to.len() == from.len() && are_as_many(left, rest, |dim| dim.known().is_some_and(|n| n > 0))
    }
}

/// Whether dims are equal, given that they hold the same number of elements: one of them need not be known to be, where
/// all others are numbers.
fn are_as_many<'d, D: PartialEq + 'd>(
    a: impl Iterator<Item = &'d D>,
    b: impl Iterator<Item = &'d D>,
    is_number: impl Fn(&D) -> bool,
) -> bool {
    let (a, b): (Vec<&D>, Vec<&D>) = (a.collect(), b.collect());
    let differ = a.iter().zip(&b).filter(|(a, b)| a != b).count();
    let numbers = a.iter().zip(&b).filter(|(a, b)| a == b).all(|(dim, _)| is_number(dim));
    a.len() == b.len() && (differ == 0 || differ == 1 && numbers)
}
