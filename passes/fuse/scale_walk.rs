//! Where a factor goes: up from a value, through operators that only move elements, to constants that it can scale.

use super::scale_into::{gemm, norm, product, sum};
use crate::prelude::*;

/// A factor for all elements of a value, or one for every place along an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Factor {
    All(f64),
    Along { axis: usize, values: Vec<f64> },
}

/// A constant input, and what it becomes.
pub(super) type Change = (NodeId, usize, TensorData);

/// The constants that a factor of a value can go into, so that the value comes out scaled; `None` where there are none.
/// Only `readers` may read it.
pub(super) fn above(
    scope: &Scope<'_>,
    value: ValueId,
    readers: &[NodeId],
    factor: Factor,
) -> Result<Option<Vec<Change>>, Skip> {
    let graph = &*scope.graph;
    let Some((id, slot)) = graph.producer(value) else { return Ok(None) };
    let foreign = |&(n, slot): &(NodeId, Option<usize>)| slot.is_none() || !readers.contains(&n);
    let node = graph.node(id);
    let uses = graph.uses(value);
    // An operator that reads it twice would be scaled twice.
    let twice = uses.iter().enumerate().any(|(i, (n, _))| uses.iter().skip(i + 1).any(|(m, _)| n == m));
    if graph.is_pinned(value) || twice || uses.iter().any(foreign) || !node.is(&node.op.name) {
        return Ok(None);
    }
    match &*node.op.name {
        "Add" | "Sub" => sum(scope, id, value, factor),
        "MatMul" => product(scope, id, value, &factor),
        "Gemm" => gemm(scope, id, &factor),
        "LayerNormalization" if slot == 0 => norm(scope, id, value, &factor),
        name => {
            let (Some(input), Some(factor)) = (graph.node_input(id, 0), moved(scope, id, slot, factor))
            else {
                return Ok(None);
            };
            let siblings = if name == "Gather" { other_picks(scope, id, input) } else { Some(vec![id]) };
            siblings.map_or(Ok(None), |readers| above(scope, input, &readers, factor))
        }
    }
}

/// The factor of the input of an operator that moves elements, from that of its output.
fn moved(scope: &Scope<'_>, id: NodeId, slot: usize, factor: Factor) -> Option<Factor> {
    let (graph, facts) = (&*scope.graph, &*scope.facts);
    let (node, input) = (graph.node(id), graph.node_input(id, 0)?);
    let output = graph.node_output(id, slot)?;
    match (&*node.op.name, factor) {
        ("Transpose" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze", Factor::All(k)) => {
            Some(Factor::All(k))
        }
        ("Transpose", Factor::Along { axis, values }) => {
            let rank = facts.rank(input)?;
            let axis = *perm_of(node, rank)?.get(axis)?;
            Some(Factor::Along { axis, values })
        }
        ("Reshape" | "Flatten" | "Squeeze" | "Unsqueeze", Factor::Along { axis, values }) => {
            regrouped(facts.shape(input)?, facts.shape(output)?, axis, values)
        }
        ("Gather", Factor::All(k)) => {
            let (axis, index, count) = pick(scope, id)?;
            let values = (0..count).map(|i| if i == index { k } else { 1.0 }).collect();
            Some(Factor::Along { axis, values })
        }
        ("Split", factor) => {
            let axis = axis_of(node.attrs.int("axis").unwrap_or(0), facts.rank(input)?)?;
            let part = |v: ValueId| facts.dim(v, axis)?.known().and_then(|n| usize::try_from(n).ok());
            let outputs = graph.node_outputs(id);
            // An output that nothing reads may have no value, and no dims.
            let before = outputs.iter().take(slot).map(|v| part((*v)?)).sum::<Option<usize>>()?;
            let (own, whole) = (part(output)?, part(input)?);
            let own = match factor {
                Factor::All(k) => vec![k; own],
                Factor::Along { axis: along, values } if along == axis && values.len() == own => values,
                Factor::Along { .. } => return None,
            };
            let mut values = vec![1.0; whole];
            values.get_mut(before..before + own.len())?.copy_from_slice(&own);
            Some(Factor::Along { axis, values })
        }
        _ => None,
    }
}

/// The axis, the index and the number of places of a `Gather` that picks one place.
fn pick(scope: &Scope<'_>, id: NodeId) -> Option<(usize, usize, usize)> {
    let graph = &*scope.graph;
    let (node, input) = (graph.node(id), graph.node_input(id, 0)?);
    let index = graph.constant_input(id, 1).filter(|data| data.rank() == 0)?.to_i64()?;
    let axis = axis_of(node.attrs.int("axis").unwrap_or(0), scope.facts.rank(input)?)?;
    let count = usize::try_from(scope.facts.dim(input, axis)?.known()?).ok()?;
    Some((axis, axis_of(index, count)?, count))
}

/// The readers of a value, where all are `Gather` that pick one place each along the same axis, and none but this one
/// picks its place.
fn other_picks(scope: &Scope<'_>, id: NodeId, input: ValueId) -> Option<Vec<NodeId>> {
    let (axis, index, _) = pick(scope, id)?;
    let readers: Vec<NodeId> = scope.graph.uses(input).iter().map(|&(n, _)| n).collect();
    let apart = |n: NodeId| {
        n == id
            || scope.graph.node(n).is("Gather")
                && scope.graph.node_input(n, 0) == Some(input)
                && pick(scope, n).is_some_and(|(a, i, _)| a == axis && i != index)
    };
    readers.iter().all(|&n| apart(n)).then_some(readers)
}

/// The factor before a reshape, from the one after it: along an axis that stays, or along one that is parted.
fn regrouped(before: &[Expr], after: &[Expr], axis: usize, values: Vec<f64>) -> Option<Factor> {
    let front = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    if axis < front {
        return Some(Factor::Along { axis, values });
    }
    let back = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
    if let Some(from_back) = after.len().checked_sub(axis + 1).filter(|&n| n < back) {
        return Some(Factor::Along { axis: before.len() - 1 - from_back, values });
    }
    parted(before, after, axis, &values)
}

/// The same along one of the parts that an axis becomes, with all dims from there on known.
fn parted(before: &[Expr], after: &[Expr], axis: usize, values: &[f64]) -> Option<Factor> {
    let count = |dims: &[Expr]| {
        dims.iter()
            .try_fold(1usize, |n, d| n.checked_mul(usize::try_from(d.known()?).ok()?))
            .filter(|&n| n > 0)
    };
    let end_of = |wanted: usize| (0..=after.len()).filter(move |&at| count(&after[at..]) == Some(wanted));
    (0..before.len()).find_map(|whole| {
        let (outer, inner) = (count(&before[whole..])?, count(&before[whole + 1..])?);
        end_of(outer).find(|&at| at <= axis)?;
        let end = end_of(inner).find(|&at| at > axis)?;
        let below = count(&after[axis + 1..end])?;
        let values = (0..outer / inner).map(|i| values[i / below % values.len()]).collect();
        Some(Factor::Along { axis: whole, values })
    })
}
