//! Operators that join, part and pick.

use super::Axis;
use super::ties::{Frozen, Site, Ties};
use crate::analysis::axis_of;
use crate::ir::ValueId;

/// Ties all axes of two values of the same rank but one.
fn others(site: &Site<'_>, ties: &mut Ties, a: ValueId, b: ValueId, but: usize) -> Option<()> {
    for axis in (0..site.rank(a)?).filter(|&axis| axis != but) {
        ties.whole(Axis { value: a, axis }, Axis { value: b, axis });
    }
    Some(())
}

/// The parts, in order, of the value that holds them all.
fn parts(site: &Site<'_>, ties: &mut Ties, all: ValueId, parts: &[ValueId], axis: usize) -> Option<()> {
    let mut start = Some(0);
    for &value in parts {
        others(site, ties, value, all, axis)?;
        let part = Axis { value, axis };
        let size = site.size(value, axis);
        match start {
            Some(first) => ties.part(part, Axis { value: all, axis }, first),
            None => ties.freeze(site, part, "where it begins is not known"),
        }
        start = start.zip(size).map(|(first, size)| first + size as i64);
    }
    if start.is_none() {
        ties.freeze(site, Axis { value: all, axis }, "the sizes of its parts are not known");
    }
    Some(())
}

pub(super) fn concat(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let y = site.output(0)?;
    let axis = site.axis("axis", 0, site.rank(y)?)?;
    let inputs: Vec<ValueId> = site.inputs.iter().copied().collect::<Option<_>>()?;
    parts(site, ties, y, &inputs, axis)
}

pub(super) fn split(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let x = site.input(0)?;
    let axis = site.axis("axis", 0, site.rank(x)?)?;
    // Without given sizes the parts are equal, and would have to stay so.
    site.ints(1)?;
    let outputs: Vec<ValueId> = site.outputs.iter().copied().collect::<Option<_>>()?;
    ties.parameter(site, 1);
    parts(site, ties, x, &outputs, axis)
}

/// Contiguous slices between constant bounds; the axes that are left whole stay tied in any case.
pub(super) fn slice(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let rank = site.rank(x)?;
    let (starts, ends) = (site.ints(1)?, site.ints(2)?);
    let axes = match site.input(3) {
        Some(_) => site.ints(3)?,
        None => (0..starts.len() as i64).collect(),
    };
    let steps = match site.input(4) {
        Some(_) => site.ints(4)?,
        None => vec![1; starts.len()],
    };
    (1..site.inputs.len()).for_each(|slot| ties.parameter(site, slot));
    for axis in 0..rank {
        let (from, to) = (Axis { value: x, axis }, Axis { value: y, axis });
        let at = axes.iter().position(|&a| axis_of(a, rank) == Some(axis));
        let Some(at) = at else {
            ties.whole(from, to);
            continue;
        };
        let (&start, &step) = (starts.get(at)?, steps.get(at)?);
        let size = site.size(x, axis).map(|n| n as i64);
        if let Some(size) = size.filter(|_| step == 1 && ends.len() == starts.len()) {
            let first = if start < 0 { start + size } else { start }.clamp(0, size);
            ties.part(to, from, first);
        } else {
            ties.freeze(site, from, "it is sliced in steps, or its size is not known");
            ties.freeze(site, to, "it is sliced in steps, or its size is not known");
        }
    }
    Some(())
}

/// `y = x[indices]` along an axis.
pub(super) fn gather(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let (x, indices, y) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let (rank, depth) = (site.rank(x)?, site.rank(indices)?);
    let axis = site.axis("axis", 0, rank)?;
    for from in (0..rank).filter(|&from| from != axis) {
        let to = if from < axis { from } else { from + depth - 1 };
        ties.whole(Axis { value: x, axis: from }, Axis { value: y, axis: to });
    }
    let picked = Axis { value: x, axis };
    let size = site.size(x, axis);
    let known = site.is_constant(indices).then(|| site.ints(1)).flatten();
    let list = known.zip(size).and_then(|(list, size)| {
        let at = |&i: &i64| axis_of(i, usize::try_from(size).ok()?).map(|i| i as u32);
        list.iter().map(at).collect::<Option<Vec<u32>>>()
    });
    match list {
        Some(list) if depth == 1 => {
            ties.list(picked, Axis { value: y, axis }, list);
            ties.parameter(site, 1);
        }
        Some(list) => {
            ties.freeze_some(site, picked, Frozen::These(list), "it is picked by number");
            ties.parameter(site, 1);
        }
        None => {
            ties.freeze(site, picked, "what is picked depends on the input");
            for at in 0..depth {
                ties.whole(Axis { value: indices, axis: at }, Axis { value: y, axis: axis + at });
            }
        }
    }
    Some(())
}

/// What is made from nothing has the dims that were asked for.
#[allow(clippy::unnecessary_wraps, reason = "every formula has the same signature")]
pub(super) fn made(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    ties.parameter(site, 0);
    Some(())
}
