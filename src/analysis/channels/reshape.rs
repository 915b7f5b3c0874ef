//! Operators that part axes and join them.
//!
//! The dims before and after are products of the same digits, from the outermost to the innermost. An axis of several
//! digits can lose indices in one of them only, for else what is left is no product; that one carries its ties.

use std::collections::{BTreeMap, BTreeSet};

use super::monomial::Monomial;
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
    let parts = |dims: &[(usize, Expr)]| -> Option<Vec<(usize, Monomial)>> {
        dims.iter().map(|(at, dim)| Some((*at, Monomial::of(dim)?))).collect()
    };
    let (before, after) = (parts(before)?, parts(after)?);
    let mut found: Vec<Digit> = Vec::new();
    // From the innermost on.
    let (mut a, mut b) = (before.iter().rev(), after.iter().rev());
    let (mut x, mut y) = (a.next().map(Rest::of), b.next().map(Rest::of));
    while let (Some(one), Some(other)) = (&mut x, &mut y) {
        match one.take(other)? {
            Taken::Known(digit) => found.push(digit),
            Taken::Symbols => {}
        }
        if one.left.is_one() {
            x = a.next().map(Rest::of);
        }
        if other.left.is_one() {
            y = b.next().map(Rest::of);
        }
    }
    found.reverse();
    (x.is_none() && y.is_none()).then_some(found)
}

/// What is left of an axis, after its inner digits were taken.
struct Rest {
    axis: usize,
    left: Monomial,
    /// What an index is divided by; `None` behind a symbol, where no number says it.
    div: Option<u64>,
}

/// What two axes had in common.
enum Taken {
    Known(Digit),
    Symbols,
}

impl Rest {
    fn of((axis, dim): &(usize, Monomial)) -> Self {
        Self { axis: *axis, left: dim.clone(), div: Some(1) }
    }

    /// Takes the innermost digit of two axes: numbers, where one of them is a number, else symbols.
    fn take(&mut self, other: &mut Self) -> Option<Taken> {
        let plain = self.left.symbols.is_empty() || other.left.symbols.is_empty();
        if plain && self.left.number > 1 && other.left.number > 1 {
            let size = self.left.number.min(other.left.number);
            if !self.left.number.is_multiple_of(size) || !other.left.number.is_multiple_of(size) {
                return None;
            }
            let digit = Digit { size, before: (self.axis, self.div?), after: (other.axis, other.div?) };
            for side in [self, other] {
                side.left.number /= size;
                side.div = side.div.map(|div| div * size);
            }
            return Some(Taken::Known(digit));
        }
        // Symbols that are alone on one side.
        let (few, many) = if self.left.number == 1 { (self, other) } else { (other, self) };
        if few.left.number != 1 || few.left.symbols.is_empty() {
            return None;
        }
        let taken = std::mem::replace(&mut few.left, Monomial { number: 1, symbols: Vec::new() });
        for symbol in taken.symbols {
            let at = many.left.symbols.iter().position(|s| *s == symbol)?;
            many.left.symbols.swap_remove(at);
        }
        (few.div, many.div) = (None, None);
        Some(Taken::Symbols)
    }
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

/// Whether the dims that are asked for can follow what is removed: in a constant, with 0 for dims that are copied and one
/// −1, or in the constants that they are joined from.
pub(super) fn can_be_said(site: &Site<'_>, x: ValueId, y: ValueId) -> bool {
    let Some(shape) = site.input(1).filter(|_| site.node.op.is("Reshape")) else { return true };
    if site.is_constant(shape) {
        return true;
    }
    let (Some(before), Some(after)) = (site.facts.shape(x), site.facts.shape(y)) else { return false };
    let open = |(at, dim): (usize, &Expr)| dim.known().is_none() && before.get(at) != Some(dim);
    after.iter().enumerate().filter(|&dim| open(dim)).count() <= 1
        || joined_shape(site.graph, site.facts, shape).is_some_and(|parts| {
            let entries = parts.iter().flat_map(|(value, count)| vec![site.is_constant(*value); *count]);
            let entries: Vec<bool> = entries.collect();
            let said = |(at, dim): (usize, &Expr)| {
                dim.known().is_none_or(|n| n <= 1) || entries.get(at) == Some(&true)
            };
            entries.len() == after.len() && after.iter().enumerate().all(said)
        })
}

/// The parts that a shape is joined from, in order, and how many entries each has; `None` where it is not joined.
pub fn joined_shape(graph: &Graph, facts: &Facts, shape: ValueId) -> Option<Vec<(ValueId, usize)>> {
    let (node, _) = graph.producer(shape)?;
    if !graph.node(node).is("Concat") {
        return None;
    }
    let part = |value: Option<ValueId>| {
        let value = value?;
        let [count] = facts.shape(value)? else { return None };
        Some((value, usize::try_from(count.known()?).ok()?))
    };
    graph.node_inputs(node).into_iter().map(part).collect()
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
        for tie in &ties.said {
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
