//! Axes and other lists of integers that operators take.

use crate::prelude::*;

/// The integers in an input of an operator, where all are known.
pub(super) fn integers(m: &Match<'_>, id: NodeId, slot: usize) -> Option<Vec<i64>> {
    let value = m.graph().node_input(id, slot)?;
    m.facts().value_i64s(value).or_else(|| m.constant_of(value)?.to_i64s())
}

/// Axes counted from the front, in their order, each once.
pub(super) fn axes_of(axes: &[i64], rank: usize) -> Option<Vec<usize>> {
    let mut found: Vec<usize> = Vec::with_capacity(axes.len());
    for &axis in axes {
        let axis = if axis < 0 { axis.checked_add(i64::try_from(rank).ok()?)? } else { axis };
        let axis = usize::try_from(axis).ok().filter(|axis| *axis < rank && !found.contains(axis))?;
        found.push(axis);
    }
    Some(found)
}

/// The axes that `Squeeze`, `Unsqueeze` or a reduction names in its second input, for a tensor of this rank; of `Unsqueeze`
/// that of its result.
pub(super) fn constant_axes(m: &Match<'_>, id: NodeId, rank: usize) -> Option<Vec<usize>> {
    axes_of(&integers(m, id, 1)?, rank)
}
