//! Operators that sum over channels: convolutions and products.

use super::Axis;
use super::pointwise::stretch;
use super::ties::{Digits, Site, Ties};
use crate::ir::ValueId;

const SPACE: &str = "it runs over space";

fn freeze_from(site: &Site<'_>, ties: &mut Ties, value: ValueId, first: usize) {
    let rank = site.rank(value).unwrap_or(0);
    (first..rank).for_each(|axis| ties.freeze(site, Axis { value, axis }, SPACE));
}

fn group(site: &Site<'_>) -> Option<u64> {
    u64::try_from(site.int("group", 1)).ok().filter(|&g| g > 0)
}

/// `y[o] = b[o] + Σ w[o, i]·x[i]`. With groups, either whole groups go, or the same places in each: whichever are more.
pub(super) fn conv(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let (x, w, y) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let groups = group(site)?;
    let of = |value, axis| Axis { value, axis };
    ties.whole(of(x, 0), of(y, 0));
    [x, w, y].into_iter().for_each(|value| freeze_from(site, ties, value, 2));
    if groups == 1 {
        ties.whole(of(x, 1), of(w, 1));
        ties.sum(site, of(x, 1));
        ties.sum(site, of(w, 1));
    }
    ties.whole(of(w, 0), of(y, 1));
    if let Some(bias) = site.input(2) {
        ties.whole(of(bias, 0), of(y, 1));
    }
    if groups == 1 {
        return Some(());
    }
    let (per_in, outs) = (site.size(w, 1)?, site.size(w, 0)?);
    let per_out = outs.checked_div(groups).filter(|n| n * groups == outs)?;
    if goes_by_group(groups, per_in) {
        ties.digits(by_group(of(x, 1), per_in, groups), by_group(of(w, 0), per_out, groups));
        ties.freeze(site, of(w, 1), "whole groups of channels go");
    } else {
        ties.digits(within(of(x, 1), per_in), within(of(w, 1), per_in));
        ties.digits(within(of(w, 0), per_out), within(of(y, 1), per_out));
        ties.sum(site, of(x, 1));
        ties.sum(site, of(w, 1));
    }
    Some(())
}

/// Whether whole groups go, or else the same places of all groups: whichever are more.
pub fn goes_by_group(groups: u64, inputs_of_a_group: u64) -> bool {
    groups >= inputs_of_a_group
}

/// The group of a channel.
fn by_group(axis: Axis, per_group: u64, groups: u64) -> Digits {
    Digits { axis, div: per_group, size: groups }
}

/// The place of a channel in its group.
fn within(axis: Axis, per_group: u64) -> Digits {
    Digits { axis, div: 1, size: per_group }
}

/// As [`conv`], with a weight of `[inputs, outputs of a group, …]`.
pub(super) fn conv_transpose(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let (x, w, y) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let groups = group(site)?;
    let of = |value, axis| Axis { value, axis };
    ties.whole(of(x, 0), of(y, 0));
    [x, w, y].into_iter().for_each(|value| freeze_from(site, ties, value, 2));
    if let Some(bias) = site.input(2) {
        ties.whole(of(bias, 0), of(y, 1));
    }
    ties.whole(of(x, 1), of(w, 0));
    let (ins, per_out) = (site.size(w, 0)?, site.size(w, 1)?);
    let per_in = ins.checked_div(groups).filter(|n| n * groups == ins)?;
    if groups > 1 && goes_by_group(groups, per_in) {
        ties.digits(by_group(of(w, 0), per_in, groups), by_group(of(y, 1), per_out, groups));
        ties.freeze(site, of(w, 1), "whole groups of channels go");
        return Some(());
    }
    ties.digits(within(of(w, 1), per_out), within(of(y, 1), per_out));
    ties.digits(within(of(x, 1), per_in), within(of(w, 0), per_in));
    ties.sum(site, of(x, 1));
    ties.sum(site, of(w, 0));
    Some(())
}

/// `y = a·b + c`, either of them transposed.
pub(super) fn gemm(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let (a, b, y) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let turned = |name: &str| usize::from(site.int(name, 0) != 0);
    let (rows, columns) = (turned("transA"), 1 - turned("transB"));
    let of = |value, axis| Axis { value, axis };
    ties.whole(of(a, 1 - rows), of(b, 1 - columns));
    ties.sum(site, of(a, 1 - rows));
    ties.sum(site, of(b, 1 - columns));
    ties.whole(of(a, rows), of(y, 0));
    ties.whole(of(b, columns), of(y, 1));
    match site.input(2) {
        Some(c) => stretch(site, ties, (c, 0), (y, 0), (site.rank(c)?, 2)),
        None => Some(()),
    }
}

/// `y = a·b` of matrices, stacked. Axes of a stack of two activations are heads.
pub(super) fn matmul(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let (a, b, y) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let (ranks, rank) = ((site.rank(a)?, site.rank(b)?), site.rank(y)?);
    let of = |value, axis| Axis { value, axis };
    let inner =
        (of(a, ranks.0.checked_sub(1)?), of(b, ranks.1.checked_sub(if ranks.1 == 1 { 1 } else { 2 })?));
    ties.whole(inner.0, inner.1);
    ties.sum(site, inner.0);
    ties.sum(site, inner.1);
    let (has_rows, has_columns) = (ranks.0 > 1, ranks.1 > 1);
    let kept = usize::from(has_rows) + usize::from(has_columns);
    if has_rows {
        ties.whole(of(a, ranks.0 - 2), of(y, rank.checked_sub(1 + usize::from(has_columns))?));
    }
    if has_columns {
        ties.whole(of(b, ranks.1 - 1), of(y, rank.checked_sub(1)?));
    }
    let stack = rank.checked_sub(kept)?;
    let activations = !site.is_constant(a) && !site.is_constant(b);
    for (value, rank) in [(a, ranks.0), (b, ranks.1)] {
        let depth = rank.saturating_sub(2);
        stretch(site, ties, (value, 0), (y, 0), (depth, stack))?;
        if activations {
            ties.heads.extend((0..depth).map(|axis| of(value, axis)));
            ties.attended.insert(value);
        }
    }
    Some(())
}

/// Every label ties the axes that have it.
pub(super) fn einsum(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let equation: String = site.node.attrs.str("equation")?.chars().filter(|c| !c.is_whitespace()).collect();
    let (inputs, output) = equation.split_once("->")?;
    let terms: Vec<&str> = inputs.split(',').collect();
    let y = site.output(0)?;
    if equation.contains('.') || terms.len() != site.inputs.len() || site.rank(y)? != output.len() {
        return None;
    }
    let mut seen: Vec<(char, Axis)> = Vec::new();
    let repeated = |term: &str| term.char_indices().any(|(at, c)| term[..at].contains(c));
    for (slot, term) in terms.iter().enumerate() {
        let value = site.input(slot)?;
        if site.rank(value)? != term.len() || repeated(term) {
            return None;
        }
        for (axis, label) in term.chars().enumerate() {
            let axis = Axis { value, axis };
            ties.free(axis);
            match seen.iter().find(|(known, _)| *known == label) {
                Some((_, other)) => ties.whole(*other, axis),
                None => seen.push((label, axis)),
            }
            if !output.contains(label) {
                ties.sum(site, axis);
            } else if terms.len() > 1 && terms.iter().all(|term| term.contains(label)) {
                ties.heads.insert(axis);
                ties.attended.insert(value);
            }
        }
    }
    for (axis, label) in output.chars().enumerate() {
        let (_, other) = seen.iter().find(|(known, _)| *known == label)?;
        ties.whole(*other, Axis { value: y, axis });
    }
    Some(())
}

/// Heads of queries, keys, values and results go together. In the form of three dims they are digits of the last one.
pub(super) fn attention(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let (q, k, v, y) = (site.input(0)?, site.input(1)?, site.input(2)?, site.output(0)?);
    let more = site.inputs.iter().skip(3).chain(site.outputs.iter().skip(1)).any(Option::is_some);
    if more || site.rank(q)? != 3 {
        return None;
    }
    let heads = u64::try_from(site.int("q_num_heads", 0)).ok()?;
    if heads < 2 || site.int("kv_num_heads", 0) != heads as i64 {
        return None;
    }
    let digits = |value: ValueId| {
        let axis = Axis { value, axis: 2 };
        let size = site.size(value, 2).filter(|n| n.is_multiple_of(heads))?;
        Some(Digits { axis, div: size / heads, size: heads })
    };
    let all = [digits(q)?, digits(k)?, digits(v)?, digits(y)?];
    all.windows(2).for_each(|pair| ties.digits(pair[0], pair[1]));
    ties.heads.extend(all.map(|digits| digits.axis));
    ties.attended.extend([q, k, v]);
    Some(())
}
