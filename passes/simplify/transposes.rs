//! Merge transpositions.

use super::axes::constant_axes;
use crate::prelude::*;

/// Merge `Transpose` after `Transpose` into one, or into none where the second leads back; and `Unsqueeze`, `Transpose`
/// and `Squeeze`, where the axes that the first adds are those that the last takes away.
///
/// The first operators stay where others read them.
///
/// *Left alone:* a rank that is not known.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MergeTransposes {}

impl Rule for MergeTransposes {
    const META: PassMeta = PassMeta::exact("merge-transposes", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let outer = p.op_with_any_inputs(&["Transpose", "Squeeze"]);
        rule_fn(move |m, rw| {
            let (graph, output) = (m.graph(), m.output(outer, 0)?);
            let above = |value: ValueId, op: &str| {
                let node = graph.producer(value).map(|(node, _)| node).filter(|&n| graph.node(n).is(op));
                node.and_then(|node| Some((node, graph.node_input(node, 0)?))).ok_or_else(Skip::no_concern)
            };
            let perm = |id: NodeId, rank: usize| perm_of(graph.node(id), rank).ok_or_else(Skip::no_concern);
            let is_squeeze = m.node(outer).is("Squeeze");
            let (middle, from) = above(m.input(outer, 0)?, "Transpose")?;
            let (x, perm) = if is_squeeze {
                let (first, x) = above(from, "Unsqueeze")?;
                let rank = m.facts().rank(from).ok_or_else(no_rank)?;
                let added = constant_axes(m, first, rank).ok_or_else(Skip::no_concern)?;
                let removed = constant_axes(m, m.id(outer), rank).ok_or_else(Skip::no_concern)?;
                (x, between(&perm(middle, rank)?, &added, &removed).ok_or_else(Skip::no_concern)?)
            } else {
                let rank = m.facts().rank(from).ok_or_else(no_rank)?;
                let (first, second) = (perm(middle, rank)?, perm(m.id(outer), rank)?);
                (from, second.iter().map(|&axis| first[axis]).collect())
            };
            if perm.is_sorted() {
                rw.replace(output, x);
            } else {
                let perm: Vec<i64> = perm.iter().map(|&axis| axis as i64).collect();
                rw.emit("Transpose", Attrs::new().with("perm", perm), [x.into()], output);
            }
            Ok(())
        })
    }
}

fn no_rank() -> Skip {
    Skip::because("the rank is not known")
}

/// The permutation of the axes that are neither added before nor removed after another one; `None` where others are
/// removed than were added.
fn between(perm: &[usize], added: &[usize], removed: &[usize]) -> Option<Vec<usize>> {
    let gone = removed.iter().filter(|&&axis| perm.get(axis).is_some_and(|from| added.contains(from)));
    if gone.count() != added.len() || removed.len() != added.len() {
        return None;
    }
    let shift = |axis: usize| axis - added.iter().filter(|&&a| a < axis).count();
    Some(perm.iter().filter(|axis| !added.contains(axis)).map(|&axis| shift(axis)).collect())
}
