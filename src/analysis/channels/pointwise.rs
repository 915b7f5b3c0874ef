//! Operators that treat elements one by one.

use super::Axis;
use super::ties::{Site, Ties};

/// All inputs have the dims of the output.
pub(super) fn each(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    broadcast(site, ties)
}

/// The output has the dims of the first input; the other inputs hold one number.
pub(super) fn first(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let input = site.input(0)?;
    for output in site.outputs.iter().flatten() {
        for axis in 0..site.rank(input)? {
            ties.whole(Axis { value: input, axis }, Axis { value: *output, axis });
        }
    }
    (1..site.inputs.len()).for_each(|slot| ties.parameter(site, slot));
    Some(())
}

/// Inputs are stretched to the dims of the output, aligned at the last axis.
pub(super) fn broadcast(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let output = site.output(0)?;
    let rank = site.rank(output)?;
    for input in site.inputs.iter().flatten() {
        stretch(site, ties, (*input, 0), (output, 0), (site.rank(*input)?, rank))?;
    }
    Some(())
}

/// Ties the axes of an input to those of an output into which it is stretched: so many of each, from those on.
pub(super) fn stretch(
    site: &Site<'_>,
    ties: &mut Ties,
    (input, from): (crate::ir::ValueId, usize),
    (output, to): (crate::ir::ValueId, usize),
    (count, rank): (usize, usize),
) -> Option<()> {
    let shift = rank.checked_sub(count)?;
    for axis in 0..count {
        let a = Axis { value: input, axis: from + axis };
        let b = Axis { value: output, axis: to + shift + axis };
        match (site.size(a.value, a.axis), site.size(b.value, b.axis)) {
            (Some(1), _) => ties.free(a),
            (a_size, b_size) if a_size == b_size => ties.whole(a, b),
            _ => {
                ties.freeze(site, a, "one of two sizes is not known here");
                ties.freeze(site, b, "one of two sizes is not known here");
            }
        }
        ties.free(b);
    }
    // What no input fills is of size 1 in all of them, or filled by another.
    (0..rank).for_each(|axis| ties.free(Axis { value: output, axis: to + axis }));
    Some(())
}
