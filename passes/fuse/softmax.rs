//! Recognize `Softmax`.

use crate::prelude::*;

/// Fuse the operators of a softmax over one axis into `Softmax`.
///
/// With `e = Exp(x - ReduceMax(x))`, `e / ReduceSum(e)`, and `x - ReduceLogSumExp(x)`, which is `LogSoftmax`.
///
/// *Left alone:* `Exp(x) / ReduceSum(Exp(x))`, which overflows where `Softmax` does not; several axes; an axis that is not
/// the last, or is not known to be, before opset 13, where `Softmax` meant something else; and parts that something else
/// reads.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FuseSoftmax {}

impl Rule for FuseSoftmax {
    const META: PassMeta = PassMeta::exact("fuse-softmax", Family::Fuse);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let root = p.op_with_any_inputs(&["Div", "Sub"]);

        rule_fn(move |m, rw| {
            let (above, below) = (m.input(root, 0)?, m.input(root, 1)?);
            let (op, x, axis, inner) = if m.node(root).is("Div") {
                let (sum, of, axis) = reduced(m, below, "ReduceSum").ok_or_else(Skip::no_concern)?;
                let exp = m.made_by(above, &["Exp"]).filter(|_| of == above).ok_or_else(Skip::no_concern)?;
                let shifted = m.graph().node_input(exp, 0).ok_or_else(Skip::no_concern)?;
                let sub = m.made_by(shifted, &["Sub"]).ok_or_else(Skip::no_concern)?;
                let slot = |slot: usize| m.graph().node_input(sub, slot).ok_or_else(Skip::no_concern);
                let (max, from, other) = reduced(m, slot(1)?, "ReduceMax").ok_or_else(Skip::no_concern)?;
                if from != slot(0)? || other != axis {
                    return Err(Skip::no_concern());
                }
                ("Softmax", from, axis, vec![sum, exp, sub, max])
            } else {
                let (sum, of, axis) = reduced(m, below, "ReduceLogSumExp").ok_or_else(Skip::no_concern)?;
                if of != above {
                    return Err(Skip::no_concern());
                }
                ("LogSoftmax", of, axis, vec![sum])
            };
            let dtype = m.dtype(x).ok_or_else(Skip::no_concern)?;
            if !m.target().supports_type(op, dtype) {
                return Err(Skip::no_concern());
            }
            let last = m.facts().rank(x).is_some_and(|rank| axis == rank as i64 - 1);
            let modern = m.target().opset("").is_some_and(|opset| opset >= 13);
            Skip::unless(
                modern || last || axis == -1,
                "the axis is not the last, and the opset is older than 13",
            )?;
            inner.into_iter().for_each(|node| rw.remove(node));
            rw.emit(op, Attrs::new().with("axis", axis), [x.into()], m.output(root, 0)?);
            Ok(())
        })
    }
}

/// The node, the operand and the only axis of a reduction that keeps its dims.
fn reduced(m: &Match<'_>, value: ValueId, op: &str) -> Option<(NodeId, ValueId, i64)> {
    let node = m.made_by(value, &[op])?;
    let axes = m.graph().constant_input(node, 1)?.to_i64s()?;
    let &[axis] = axes.as_slice() else { return None };
    let keeps = m.graph().node(node).attrs.int("keepdims").unwrap_or(1) == 1;
    keeps.then_some((node, m.graph().node_input(node, 0)?, axis))
}
