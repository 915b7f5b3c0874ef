//! Axes and other lists of integers that operators take.

use crate::prelude::*;

/// The integers in an input of an operator, where all are known.
pub(super) fn integers(m: &Match<'_>, id: NodeId, slot: usize) -> Option<Vec<i64>> {
    let value = m.graph().node_input(id, slot)?;
    m.facts().value_i64s(value).or_else(|| m.constant_of(value)?.to_i64s())
}

/// The axes that `Squeeze`, `Unsqueeze` or a reduction names in its second input, for a tensor of this rank; of `Unsqueeze`
/// that of its result.
pub(super) fn constant_axes(m: &Match<'_>, id: NodeId, rank: usize) -> Option<Vec<usize>> {
    axes_of(&integers(m, id, 1)?, rank)
}

/// The axes over which a reduction goes: as they are written, and counted from the front where the rank is known.
pub(super) struct Axes {
    pub(super) written: Vec<i64>,
    pub(super) from_front: Option<Vec<usize>>,
}

impl Axes {
    /// Those of a reduction of a value.
    pub(super) fn of(m: &Match<'_>, id: NodeId, x: ValueId) -> Result<Self, Skip> {
        let node = m.graph().node(id);
        let rank = m.facts().rank(x);
        let from = |first: i64| {
            let rank = rank.ok_or_else(|| Skip::because("the rank is not known"))?;
            Ok((first..rank as i64).collect::<Vec<i64>>())
        };
        let written = match &*node.op.name {
            "GlobalAveragePool" | "GlobalMaxPool" => from(2)?,
            "ArgMax" | "ArgMin" => vec![node.attrs.int("axis").unwrap_or(0)],
            _ => match m.graph().node_input(id, 1) {
                Some(_) => integers(m, id, 1).ok_or_else(|| Skip::because("the axes are not constant"))?,
                None => Vec::new(),
            },
        };
        let all = written.is_empty() && node.attrs.int("noop_with_empty_axes").unwrap_or(0) == 0;
        let written = if all { from(0)? } else { written };
        let from_front = rank.and_then(|rank| axes_of(&written, rank));
        Ok(Self { written, from_front })
    }
}
