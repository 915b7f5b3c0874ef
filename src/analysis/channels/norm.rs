//! Operators that look at whole axes: normalization, reduction, quantization.

use super::Axis;
use super::ties::{Digits, Site, Ties};
use crate::analysis::axis_of;
use crate::ir::ValueId;

const OVER: &str = "it normalizes over this axis";

/// Input and output 0 share all axes but some, which are frozen.
fn keep(site: &Site<'_>, ties: &mut Ties, frozen: impl Fn(usize) -> bool, why: &'static str) -> Option<()> {
    let (x, y) = (site.input(0)?, site.output(0)?);
    for axis in 0..site.rank(x)? {
        let (a, b) = (Axis { value: x, axis }, Axis { value: y, axis });
        if frozen(axis) {
            ties.freeze(site, a, why);
            ties.freeze(site, b, why);
        } else {
            ties.whole(a, b);
        }
    }
    Some(())
}

/// Ties parameters of one number a channel.
fn by_channel(site: &Site<'_>, ties: &mut Ties, slots: std::ops::Range<usize>, channels: Axis) {
    for value in slots.filter_map(|slot| site.input(slot)) {
        ties.whole(Axis { value, axis: 0 }, channels);
    }
}

pub(super) fn batch(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    if site.outputs.iter().skip(1).any(Option::is_some) || site.int("training_mode", 0) != 0 {
        return None;
    }
    keep(site, ties, |_| false, OVER)?;
    by_channel(site, ties, 1..5, Axis { value: site.input(0)?, axis: 1 });
    Some(())
}

pub(super) fn instance(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    keep(site, ties, |axis| axis > 1, OVER)?;
    by_channel(site, ties, 1..3, Axis { value: site.input(0)?, axis: 1 });
    Some(())
}

/// Channels that are normalized together go together.
pub(super) fn group(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let x = site.input(0)?;
    let (channels, groups) = (site.size(x, 1)?, u64::try_from(site.int("num_groups", 0)).ok()?);
    let each = channels.checked_div(groups).filter(|each| each * groups == channels)?;
    keep(site, ties, |axis| axis > 1, OVER)?;
    by_channel(site, ties, 1..3, Axis { value: x, axis: 1 });
    let of_group = Digits { axis: Axis { value: x, axis: 1 }, div: each, size: groups };
    ties.digits(of_group, of_group);
    Some(())
}

/// Normalizes over the axes from one on: what is left of them would have another mean and another deviation.
pub(super) fn layer(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let first = site.axis("axis", -1, site.rank(site.input(0)?)?)?;
    keep(site, ties, |axis| axis >= first, OVER)?;
    for parameter in site.inputs.iter().skip(1).flatten() {
        (0..site.rank(*parameter)?)
            .for_each(|axis| ties.freeze(site, Axis { value: *parameter, axis }, OVER));
    }
    Some(())
}

/// Softmax and its like, over one axis.
pub(super) fn along(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let over = site.axis("axis", -1, site.rank(site.input(0)?)?)?;
    keep(site, ties, |axis| axis == over, OVER)
}

/// A running sum over the axis that an input names.
pub(super) fn along_input(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let rank = site.rank(site.input(0)?)?;
    let over = site.ints(1)?.first().and_then(|&axis| axis_of(axis, rank))?;
    ties.parameter(site, 1);
    keep(site, ties, |axis| axis == over, "it runs along this axis")
}

/// The axes that are reduced: of an attribute, or an input.
fn reduced(site: &Site<'_>, rank: usize) -> Option<Vec<usize>> {
    if site.node.op.is("ArgMax") || site.node.op.is("ArgMin") {
        return Some(vec![site.axis("axis", 0, rank)?]);
    }
    let axes = match site.input(1) {
        Some(_) => site.ints(1)?,
        None => Vec::new(),
    };
    if axes.is_empty() {
        let none = site.int("noop_with_empty_axes", 0) != 0;
        return Some(if none { Vec::new() } else { (0..rank).collect() });
    }
    axes.iter().map(|&axis| axis_of(axis, rank)).collect()
}

/// Reduced axes are frozen, but where they are only summed over.
pub(super) fn reduce(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let rank = site.rank(x)?;
    let gone = reduced(site, rank)?;
    let keeps = site.int("keepdims", 1) != 0;
    let mut to = 0;
    for axis in 0..rank {
        let from = Axis { value: x, axis };
        if !gone.contains(&axis) {
            ties.whole(from, Axis { value: y, axis: to });
        } else if site.node.op.is("ReduceSum") {
            ties.sum(site, from);
        } else {
            ties.freeze(site, from, "it reduces this axis");
        }
        if !gone.contains(&axis) || keeps {
            ties.free(Axis { value: y, axis: to });
            to += 1;
        }
    }
    ties.parameter(site, 1);
    Some(())
}

/// A scale for every index of an axis goes with it.
pub(super) fn quantize(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let x = site.input(0)?;
    let rank = site.rank(x)?;
    keep(site, ties, |_| false, OVER)?;
    let parameters: Vec<ValueId> = [1, 2].into_iter().filter_map(|slot| site.input(slot)).collect();
    for value in parameters {
        match site.rank(value)? {
            0 => {}
            1 if site.size(value, 0) == Some(1) => ties.free(Axis { value, axis: 0 }),
            1 if site.int("block_size", 0) == 0 => {
                let axis = site.axis("axis", 1, rank)?;
                ties.whole(Axis { value, axis: 0 }, Axis { value: x, axis });
            }
            _ => return None,
        }
    }
    Some(())
}
