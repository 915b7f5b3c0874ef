//! Operators that part axes and join them.
//!
//! The dims before and after are products of the same digits, from the outermost to the innermost. An axis of several
//! digits can lose indices in one of them only, for else what is left is no product; that one carries its ties.

use std::collections::{BTreeMap, BTreeSet};

use super::ties::{Digits, Frozen, Site, Tie, Ties};
use super::{Axis, Reason};
use crate::analysis::{Expr, Facts};
use crate::ir::{Graph, ValueId};

/// Notes the node for [`decide`].
pub(super) fn later(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    for value in site.inputs.iter().take(1).chain(&site.outputs).flatten() {
        (0..site.rank(*value)?).for_each(|axis| ties.free(Axis { value: *value, axis }));
    }
    ties.parameter(site, 1);
    ties.reshapes.push(site.id);
    Some(())
}

/// A digit that an axis before and an axis after share: its size, and what each index is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digit {
    pub size: u64,
    pub before: (usize, u64),
    pub after: (usize, u64),
}

/// How the axes before and after hang together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parting {
    /// Axes that stay as they are.
    pub same: Vec<(usize, usize)>,
    /// Digits of the others.
    pub digits: Vec<Digit>,
    /// Axes that share no digits that are known: before and after.
    pub lost: (Vec<usize>, Vec<usize>),
}

impl Parting {
    /// Of dims before and after.
    pub fn of(before: &[Expr], after: &[Expr]) -> Self {
        let long = |dims: &[Expr]| -> Vec<(usize, Expr)> {
            dims.iter().cloned().enumerate().filter(|(_, d)| !d.is(1)).collect()
        };
        let (before, after) = (long(before), long(after));
        let (mut a, mut b) = (&before[..], &after[..]);
        let mut found = Self::default();
        while let (Some((x, more_a)), Some((y, more_b))) = (a.split_first(), b.split_first()) {
            if x.1 != y.1 {
                break;
            }
            found.same.push((x.0, y.0));
            (a, b) = (more_a, more_b);
        }
        while let (Some((x, more_a)), Some((y, more_b))) = (a.split_last(), b.split_last()) {
            if x.1 != y.1 {
                break;
            }
            found.same.push((x.0, y.0));
            (a, b) = (more_a, more_b);
        }
        match digits(a, b) {
            Some(digits) => found.digits = digits,
            None => found.lost = (a.iter().map(|d| d.0).collect(), b.iter().map(|d| d.0).collect()),
        }
        found
    }
}

/// The common digits of two lists of dims with the same product; `None` where there are none.
fn digits(before: &[(usize, Expr)], after: &[(usize, Expr)]) -> Option<Vec<Digit>> {
    let sizes = |dims: &[(usize, Expr)]| -> Option<Vec<(usize, u64)>> {
        dims.iter().map(|(at, d)| Some((*at, u64::try_from(d.known()?).ok().filter(|&n| n > 1)?))).collect()
    };
    let (before, after) = (sizes(before)?, sizes(after)?);
    let mut found: Vec<Digit> = Vec::new();
    // From the innermost on: what is left of the axes at hand, and what their digits so far come to.
    let (mut a, mut b) = (before.iter().rev(), after.iter().rev());
    let (mut x, mut y) = (a.next().map(|d| (*d, 1)), b.next().map(|d| (*d, 1)));
    while let (Some(((at_a, left_a), div_a)), Some(((at_b, left_b), div_b))) = (x, y) {
        let size = left_a.min(left_b);
        if left_a % size != 0 || left_b % size != 0 {
            return None;
        }
        found.push(Digit { size, before: (at_a, div_a), after: (at_b, div_b) });
        x = next(&mut a, (at_a, left_a / size), div_a * size);
        y = next(&mut b, (at_b, left_b / size), div_b * size);
    }
    found.reverse();
    (x.is_none() && y.is_none()).then_some(found)
}

type At = ((usize, u64), u64);

/// The rest of an axis, or the next one.
fn next<'d>(dims: &mut impl Iterator<Item = &'d (usize, u64)>, rest: (usize, u64), div: u64) -> Option<At> {
    if rest.1 > 1 { Some((rest, div)) } else { dims.next().map(|d| (*d, 1)) }
}

/// Decides which digits carry the ties of every node that parts and joins, in the order of the graph.
pub(super) fn decide(graph: &Graph, facts: &Facts, ties: &mut Ties) {
    let mut classes = Classes::of(ties);
    for id in std::mem::take(&mut ties.reshapes) {
        let site = Site::of(graph, facts, id);
        let (Some(x), Some(y)) = (site.input(0), site.output(0)) else { continue };
        let (Some(before), Some(after)) = (facts.shape(x), facts.shape(y)) else {
            [x, y].into_iter().for_each(|value| {
                let why = "the dims around it are not known";
                ties.freeze_value(facts, value, Reason { node: Some(id), why });
            });
            continue;
        };
        let parting = Parting::of(before, after);
        let fixed = site.input(1).is_some() && !can_be_said(&site, x, y);
        one(&site, ties, &mut classes, (x, y), &parting, fixed);
    }
}

/// Whether the dims that are asked for can follow what is removed: as a constant, with 0 for dims that are copied and one −1.
fn can_be_said(site: &Site<'_>, x: ValueId, y: ValueId) -> bool {
    if site.is_constant(site.input(1).unwrap_or(x)) || !site.node.op.is("Reshape") {
        return true;
    }
    let (Some(before), Some(after)) = (site.facts.shape(x), site.facts.shape(y)) else { return false };
    let open = |(at, dim): (usize, &Expr)| dim.known().is_none() && before.get(at) != Some(dim);
    after.iter().enumerate().filter(|&dim| open(dim)).count() <= 1
}

fn one(
    site: &Site<'_>,
    ties: &mut Ties,
    classes: &mut Classes,
    (x, y): (ValueId, ValueId),
    parting: &Parting,
    fixed: bool,
) {
    let (before, after) = (|axis| Axis { value: x, axis }, |axis| Axis { value: y, axis });
    if fixed {
        let why = "its shape is computed while the model runs";
        [x, y].into_iter().for_each(|value| {
            ties.freeze_value(site.facts, value, Reason { node: Some(site.id), why });
        });
        return;
    }
    for &(a, b) in &parting.same {
        ties.whole(before(a), after(b));
        classes.unite(before(a), after(b));
    }
    let mut order: Vec<&Digit> = parting.digits.iter().collect();
    let rank = |digit: &Digit| {
        let pair = [before(digit.before.0), after(digit.after.0)];
        (classes.any_frozen(pair), !classes.any_head(pair), std::cmp::Reverse(digit.size))
    };
    // Stable: of equals the outermost.
    order.sort_by_key(|digit| rank(digit));
    let (mut from, mut to) = (BTreeSet::new(), BTreeSet::new());
    for digit in order {
        if from.contains(&digit.before.0) || to.contains(&digit.after.0) {
            continue;
        }
        from.insert(digit.before.0);
        to.insert(digit.after.0);
        let of = |axis, div| Digits { axis, div, size: digit.size };
        let (a, b) = (of(before(digit.before.0), digit.before.1), of(after(digit.after.0), digit.after.1));
        ties.digits(a, b);
        if classes.any_frozen([a.axis, b.axis]) {
            [a.axis, b.axis].into_iter().for_each(|axis| classes.freeze(axis));
        }
    }
    let why = "it parts or joins this axis, and another part of it goes";
    let lost = |axis: Axis, ties: &mut Ties, classes: &mut Classes| {
        ties.freeze(site, axis, why);
        classes.freeze(axis);
    };
    for digit in &parting.digits {
        if !from.contains(&digit.before.0) {
            lost(before(digit.before.0), ties, classes);
        }
        if !to.contains(&digit.after.0) {
            lost(after(digit.after.0), ties, classes);
        }
    }
    parting.lost.0.iter().for_each(|&axis| lost(before(axis), ties, classes));
    parting.lost.1.iter().for_each(|&axis| lost(after(axis), ties, classes));
}

/// Axes that are tied as wholes: which are frozen, and which are heads.
struct Classes {
    parent: BTreeMap<Axis, Axis>,
    frozen: BTreeSet<Axis>,
    heads: BTreeSet<Axis>,
}

impl Classes {
    fn of(ties: &Ties) -> Self {
        let mut classes =
            Self { parent: BTreeMap::new(), frozen: BTreeSet::new(), heads: ties.heads.clone() };
        for tie in &ties.ties {
            if let Tie::Whole(a, b) = tie {
                classes.unite(*a, *b);
            }
        }
        for (axis, which, _) in &ties.frozen {
            if *which == Frozen::All {
                classes.freeze(*axis);
            }
        }
        classes
    }

    fn root(&self, mut axis: Axis) -> Axis {
        while let Some(&up) = self.parent.get(&axis) {
            axis = up;
        }
        axis
    }

    fn unite(&mut self, a: Axis, b: Axis) {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return;
        }
        let (low, high) = (a.min(b), a.max(b));
        self.parent.insert(high, low);
        for marks in [&mut self.frozen, &mut self.heads] {
            if marks.contains(&high) {
                marks.insert(low);
            }
        }
    }

    fn freeze(&mut self, axis: Axis) {
        let root = self.root(axis);
        self.frozen.insert(root);
    }

    fn any_frozen(&self, axes: [Axis; 2]) -> bool {
        axes.iter().any(|&axis| self.frozen.contains(&self.root(axis)))
    }

    fn any_head(&self, axes: [Axis; 2]) -> bool {
        axes.iter().any(|&axis| self.heads.contains(&self.root(axis)))
    }
}
