//! Cancel splitting and joining.

use crate::prelude::*;

/// Let what reads the `Concat` of all parts of a `Split` read the whole instead, and what reads the parts of a `Split` of a
/// `Concat` read the inputs of that, where both cut in the same places.
///
/// The first operator stays where others read it.
///
/// *Left alone:* parts that are missing, in another order or of other sizes, and another axis.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CancelSplitConcat {}

impl Rule for CancelSplitConcat {
    const META: PassMeta = PassMeta::exact("cancel-split-concat", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let outer = p.op_with_any_inputs(&["Concat", "Split"]);
        rule_fn(move |m, rw| {
            let graph = m.graph();
            let whole = m.node(outer).is("Split");
            let (read, other) = (m.input(outer, 0)?, if whole { "Concat" } else { "Split" });
            let inner = graph.producer(read).map(|(inner, _)| inner).filter(|&id| graph.node(id).is(other));
            let inner = inner.ok_or_else(Skip::no_concern)?;
            let axis = |id: NodeId, value: ValueId| {
                let axis = graph.node(id).attrs.int("axis").unwrap_or(0);
                if axis >= 0 { Some(axis) } else { Some(axis + m.facts().rank(value)? as i64) }
            };
            let one = graph.node_output(m.id(outer), 0).or(Some(read)).ok_or_else(Skip::no_concern)?;
            let (first, second) = (axis(inner, read), axis(m.id(outer), one));
            let same_axis = first.is_some() && first == second;
            Skip::unless(same_axis, "the axes differ, or are not known to be the same")?;
            if !whole {
                let same = graph.node_inputs(m.id(outer)) == graph.node_outputs(inner);
                Skip::unless(same, "the parts are not those of the Split in its order")?;
                rw.replace(m.output(outer, 0)?, graph.node_input(inner, 0).ok_or_else(Skip::no_concern)?);
                return Ok(());
            }
            let (parts, pieces) = (graph.node_outputs(m.id(outer)), graph.node_inputs(inner));
            let axis = first.and_then(|axis| usize::try_from(axis).ok()).ok_or_else(Skip::no_concern)?;
            let fits = |(part, piece): (&Option<ValueId>, &Option<ValueId>)| match (part, piece) {
                (Some(part), Some(piece)) => m.facts().same_dim((*part, axis), (*piece, axis)),
                _ => false,
            };
            let same = parts.len() == pieces.len() && parts.iter().zip(&pieces).all(fits);
            Skip::unless(same, "the parts are not known to be as long as the inputs of the Concat")?;
            for (part, piece) in parts.into_iter().flatten().zip(pieces.into_iter().flatten()) {
                rw.replace(part, piece);
            }
            Ok(())
        })
    }
}
