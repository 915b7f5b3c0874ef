//! Operators that move, repeat or pool elements.

use super::Axis;
use super::ties::{Digits, Frozen, Site, Ties};
use crate::analysis::{axis_of, perm_of};

const SPACE: &str = "it runs over space";

/// Pooling: batch and channels stay, and space is frozen.
pub(super) fn pool(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let x = site.input(0)?;
    for y in site.outputs.iter().flatten() {
        for axis in 0..2 {
            ties.whole(Axis { value: x, axis }, Axis { value: *y, axis });
        }
    }
    ties.finish(site, SPACE);
    Some(())
}

pub(super) fn transpose(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let rank = site.rank(x)?;
    for (to, from) in perm_of(site.node, rank)?.into_iter().enumerate() {
        ties.whole(Axis { value: x, axis: from }, Axis { value: y, axis: to });
    }
    Some(())
}

/// What is not stretched stays; what is gets its size from the shape that is asked for.
pub(super) fn expand(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let (ranks, rank) = (site.rank(x)?, site.rank(y)?);
    let shape = site.ints(1);
    ties.parameter(site, 1);
    for axis in 0..rank {
        let to = Axis { value: y, axis };
        let from = (axis + ranks).checked_sub(rank).map(|axis| Axis { value: x, axis });
        let known = shape.is_some();
        match from.map(|from| (from, site.size(x, from.axis))) {
            Some((from, size)) if known && size != Some(1) && size == site.size(y, axis) => {
                ties.whole(from, to);
            }
            Some((from, Some(1))) if known => {
                ties.free(from);
                ties.free(to);
            }
            None if known => ties.free(to),
            from => {
                from.into_iter().for_each(|(from, _)| ties.freeze(site, from, "its shape is not constant"));
                ties.freeze(site, to, "its shape is not constant");
            }
        }
    }
    Some(())
}

/// Index `j` of a repeated axis is index `j % size`.
pub(super) fn tile(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let repeats = site.ints(1)?;
    ties.parameter(site, 1);
    for (axis, &times) in repeats.iter().enumerate() {
        let (from, to) = (Axis { value: x, axis }, Axis { value: y, axis });
        match site.size(x, axis) {
            _ if times == 1 => ties.whole(from, to),
            Some(size) if size > 1 => {
                let digits = |axis| Digits { axis, div: 1, size };
                ties.digits(digits(from), digits(to));
            }
            _ => {
                ties.freeze(site, from, "it repeats this axis");
                ties.freeze(site, to, "it repeats this axis");
            }
        }
    }
    Some(())
}

/// What is padded on keeps its place; the padding itself may not go.
pub(super) fn pad(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let rank = site.rank(x)?;
    let pads = site.ints(1).filter(|pads| pads.len() == 2 * rank && site.input(3).is_none())?;
    let constant = site.node.attrs.str("mode").is_none_or(|mode| mode == "constant");
    (1..site.inputs.len()).for_each(|slot| ties.parameter(site, slot));
    for axis in 0..rank {
        let (from, to) = (Axis { value: x, axis }, Axis { value: y, axis });
        let (before, after) = (pads[axis], pads[rank + axis]);
        let sizes = site.size(x, axis).zip(site.size(y, axis));
        match sizes {
            _ if before == 0 && after == 0 => ties.whole(from, to),
            Some((inner, outer)) if constant && before >= 0 && after >= 0 => {
                ties.part(from, to, before);
                let kept = before as u64..before as u64 + inner;
                let padding = (0..outer).filter(|at| !kept.contains(at)).map(|at| at as u32);
                ties.freeze_some(site, to, Frozen::These(padding.collect()), "it is padding");
            }
            _ => {
                ties.freeze(site, from, "it is padded");
                ties.freeze(site, to, "it is padded");
            }
        }
    }
    Some(())
}

/// Axes of the same size before and after are taken as they are.
pub(super) fn resize(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let rank = site.rank(x)?;
    let axes = match site.node.attrs.ints("axes") {
        Some(axes) => axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Option<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    let cropped = site.node.attrs.str("coordinate_transformation_mode") == Some("tf_crop_and_resize");
    let scales = site.input(2).and_then(|v| site.graph.constant(v)).and_then(crate::ir::TensorData::to_f64s);
    for axis in 0..rank {
        let (from, to) = (Axis { value: x, axis }, Axis { value: y, axis });
        let place = axes.iter().position(|&a| a == axis);
        let by_one = |at: usize| match (&scales, site.input(3)) {
            (Some(scales), _) if !scales.is_empty() => scales.get(at).copied() == Some(1.0),
            (_, Some(_)) => site.ints(3).is_some() && site.size(x, axis) == site.size(y, axis),
            _ => false,
        };
        if !cropped && place.is_none_or(by_one) {
            ties.whole(from, to);
        } else {
            ties.freeze(site, from, SPACE);
            ties.freeze(site, to, SPACE);
        }
    }
    (1..site.inputs.len()).for_each(|slot| ties.parameter(site, slot));
    Some(())
}

/// Channels of the regions are those of the map.
pub(super) fn roi_align(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    ties.whole(Axis { value: site.input(0)?, axis: 1 }, Axis { value: site.output(0)?, axis: 1 });
    ties.finish(site, SPACE);
    Some(())
}

/// Blocks of channels become blocks of space: channel `c` is `c % rest` in the order DCR, `c / block²` in the order CRD.
pub(super) fn depth_to_space(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let block = u64::try_from(site.int("blocksize", 0)).ok()?;
    let rest = site.size(y, 1)?;
    let by_row = site.node.attrs.str("mode") == Some("CRD");
    let div = if by_row { block.checked_mul(block)? } else { 1 };
    blocks(site, ties, Digits { axis: Axis { value: x, axis: 1 }, div, size: rest }, (y, rest))
}

/// Blocks of space become blocks of channels: channel `c` was `c % depth`.
pub(super) fn space_to_depth(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let depth = site.size(x, 1)?;
    blocks(site, ties, Digits { axis: Axis { value: y, axis: 1 }, div: 1, size: depth }, (x, depth))
}

fn blocks(
    site: &Site<'_>,
    ties: &mut Ties,
    many: Digits,
    (few, size): (crate::ir::ValueId, u64),
) -> Option<()> {
    ties.digits(many, Digits { axis: Axis { value: few, axis: 1 }, div: 1, size });
    ties.whole(Axis { value: site.input(0)?, axis: 0 }, Axis { value: site.output(0)?, axis: 0 });
    ties.finish(site, SPACE);
    Some(())
}
