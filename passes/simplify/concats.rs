//! Merge nested concatenations.

use crate::prelude::*;

/// Merge a `Concat` among the inputs of a `Concat` along the same axis into it; likewise `Sum` into `Sum`, `Max` into `Max` and
/// `Min` into `Min`.
///
/// Axes count as the same where they are so from the front or from the back, which is the same place as both tensors have
/// one rank.
///
/// *Left alone:* an inner operator that others read, or that is read twice.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MergeConcats {}

impl Rule for MergeConcats {
    const META: PassMeta = PassMeta::exact("merge-concats", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let outer = p.op_with_any_inputs(&["Concat", "Max", "Min", "Sum"]);
        rule_fn(move |m, rw| {
            let (graph, node, output) = (m.graph(), m.node(outer), m.output(outer, 0)?);
            let axis = |node: &Node, value: ValueId| {
                let axis = node.attrs.int("axis")?;
                let rank = || m.facts().rank(value).and_then(|rank| i64::try_from(rank).ok());
                if axis < 0 { Some(axis + rank()?) } else { Some(axis) }
            };
            let mut inputs: Vec<Operand> = Vec::new();
            let mut merged = false;
            let mut read_elsewhere = false;
            for value in graph.node_inputs(m.id(outer)).into_iter().flatten() {
                let inner = graph.producer(value).map(|(inner, _)| inner);
                let same = |inner: &NodeId| {
                    let inner = graph.node(*inner);
                    let alike = node.attrs.int("axis") == inner.attrs.int("axis");
                    inner.is(&node.op.name) && (alike || axis(node, output) == axis(inner, value))
                };
                let alone = graph.use_count(value) == 1 && !graph.is_pinned(value);
                match inner.filter(same) {
                    Some(inner) if alone => {
                        rw.remove(inner);
                        inputs.extend(graph.node_inputs(inner).into_iter().flatten().map(Operand::Old));
                        merged = true;
                    }
                    inner => {
                        read_elsewhere |= inner.is_some();
                        inputs.push(value.into());
                    }
                }
            }
            if merged {
                rw.emit(&node.op.name, node.attrs.clone(), inputs, output);
                return Ok(());
            }
            Skip::unless(!read_elsewhere, "others read the operator before")?;
            Err(Skip::no_concern())
        })
    }
}
