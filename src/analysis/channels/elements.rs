//! Indices as elements of a union-find, and what hangs together in the end.

use std::collections::BTreeMap;

use super::monomial::elements;
use super::ties::{Digits, Frozen, Tie, Ties};
use super::{Atom, Axis, Group, Reason};
use crate::analysis::Facts;
use crate::ir::{DType, Graph};

/// Not frozen.
const FREE: u32 = u32::MAX;

/// The indices of all axes that something was said of.
pub(super) struct Elements {
    /// Where the elements of an axis begin, and how many there are.
    places: BTreeMap<Axis, (u32, u32)>,
    /// The axes in the order in which they were met.
    axes: Vec<Axis>,
    parent: Vec<u32>,
    /// The first reason that froze a root.
    frozen: Vec<u32>,
}

impl Elements {
    /// What was said, carried out.
    pub fn of(facts: &Facts, ties: &Ties) -> Self {
        let mut all =
            Self { places: BTreeMap::new(), axes: Vec::new(), parent: Vec::new(), frozen: Vec::new() };
        for tie in &ties.said {
            let (a, b) = match tie {
                Tie::Whole(a, b) | Tie::Part(a, b, _) | Tie::List(a, b, _) => (*a, *b),
                Tie::Digits(a, b) => (a.axis, b.axis),
            };
            all.add(facts, a);
            all.add(facts, b);
        }
        for (axis, which, reason) in &ties.frozen {
            let Some(&(first, count)) = all.places.get(axis) else { continue };
            match which {
                Frozen::All => (0..count).for_each(|i| all.freeze(first + i, *reason as u32)),
                Frozen::These(list) => {
                    list.iter().filter(|&&i| i < count).for_each(|&i| all.freeze(first + i, *reason as u32));
                }
            }
        }
        for tie in &ties.said {
            all.tie(facts, tie);
        }
        all
    }

    /// Makes room for an axis.
    fn add(&mut self, facts: &Facts, axis: Axis) {
        if self.places.contains_key(&axis) {
            return;
        }
        let Some(size) = facts.dim(axis.value, axis.axis).and_then(elements) else { return };
        let Some(end) = u32::try_from(self.parent.len()).ok().and_then(|n| n.checked_add(size)) else {
            return;
        };
        let first = end - size;
        self.places.insert(axis, (first, size));
        self.axes.push(axis);
        self.parent.extend(first..end);
        self.frozen.resize(self.parent.len(), FREE);
    }

    fn tie(&mut self, facts: &Facts, tie: &Tie) {
        let place = |axis: &Axis| self.places.get(axis).copied();
        let dim = |axis: &Axis| facts.dim(axis.value, axis.axis);
        let is_open = |axis: &Axis| dim(axis).is_none_or(|dim| dim.known().is_none());
        match tie {
            // A number of elements that is no size says nothing of places.
            Tie::Whole(a, b) if (is_open(a) || is_open(b)) && dim(a) != dim(b) => {
                self.freeze_ends(place(a), place(b));
            }
            Tie::Part(a, b, _) | Tie::List(a, b, _) if is_open(a) || is_open(b) => {
                self.freeze_ends(place(a), place(b));
            }
            Tie::Whole(a, b) => match (place(a), place(b)) {
                (Some(a), Some(b)) if a.1 == b.1 => (0..a.1).for_each(|i| self.unite(a.0 + i, b.0 + i)),
                (a, b) => self.freeze_ends(a, b),
            },
            Tie::Part(a, b, start) => match (place(a), place(b)) {
                (Some(a), Some(b)) => {
                    for i in 0..a.1 {
                        let at = u32::try_from(i64::from(i) + start).ok().filter(|&at| at < b.1);
                        at.into_iter().for_each(|at| self.unite(a.0 + i, b.0 + at));
                    }
                }
                (None, Some(b)) => {
                    // One index that cannot go alone.
                    let at = u32::try_from(*start).ok().filter(|&at| at < b.1);
                    at.into_iter().for_each(|at| self.freeze(b.0 + at, LONE));
                }
                (a, b) => self.freeze_ends(a, b),
            },
            Tie::List(a, b, list) => match (place(a), place(b)) {
                (Some(a), Some(b)) if b.1 as usize == list.len() => {
                    for (j, &i) in (0..).zip(list) {
                        if i < a.1 {
                            self.unite(a.0 + i, b.0 + j);
                        }
                    }
                }
                (Some(a), None) => {
                    list.iter().filter(|&&i| i < a.1).for_each(|&i| self.freeze(a.0 + i, LONE));
                }
                (a, b) => self.freeze_ends(a, b),
            },
            Tie::Digits(a, b) => self.tie_digits(*a, *b),
        }
    }

    fn tie_digits(&mut self, a: Digits, b: Digits) {
        let mut first = vec![None; a.size as usize];
        for side in [a, b] {
            let Some(&(start, count)) = self.places.get(&side.axis) else { continue };
            for i in 0..count {
                let digit = (u64::from(i) / side.div.max(1) % side.size.max(1)) as usize;
                match first.get_mut(digit) {
                    Some(Some(other)) => {
                        let other = *other;
                        self.unite(other, start + i);
                    }
                    Some(none) => *none = Some(start + i),
                    None => self.freeze(start + i, LONE),
                }
            }
        }
    }

    /// Two axes that ought to be of one size, and are not known to be.
    fn freeze_ends(&mut self, a: Option<(u32, u32)>, b: Option<(u32, u32)>) {
        for (first, count) in [a, b].into_iter().flatten() {
            (0..count).for_each(|i| self.freeze(first + i, LONE));
        }
    }

    fn root(&mut self, mut at: u32) -> u32 {
        while self.parent[at as usize] != at {
            let up = self.parent[self.parent[at as usize] as usize];
            self.parent[at as usize] = up;
            at = up;
        }
        at
    }

    fn unite(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        let (low, high) = (a.min(b), a.max(b));
        self.parent[high as usize] = low;
        self.frozen[low as usize] = self.frozen[low as usize].min(self.frozen[high as usize]);
    }

    fn freeze(&mut self, at: u32, reason: u32) {
        let root = self.root(at) as usize;
        self.frozen[root] = self.frozen[root].min(reason);
    }

    /// The groups that hold a constant and an activation of floats: atoms with as many indices of the same axes each,
    /// and the same fate.
    pub fn groups(mut self, graph: &Graph, facts: &Facts, reasons: &[Reason]) -> Vec<Group> {
        let mut atoms: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
        for at in 0..self.axes.len() {
            let (first, count) = self.places[&self.axes[at]];
            for i in 0..count {
                let root = self.root(first + i);
                atoms.entry(root).or_default().push((at as u32, i));
            }
        }
        let kinds: Vec<Kind> = self.axes.iter().map(|axis| Kind::of(graph, facts, *axis)).collect();
        let mut groups: BTreeMap<Likeness, Vec<Atom>> = BTreeMap::new();
        for (root, members) in atoms {
            let parts: Vec<&[(u32, u32)]> = members.chunk_by(|a, b| a.0 == b.0).collect();
            let has = |kind| parts.iter().any(|part| kinds[part[0].0 as usize] == kind);
            if !has(Kind::Weight) || !has(Kind::Activation) {
                continue;
            }
            let axes = parts.iter().map(|part| (part[0].0, part.len())).collect();
            let atom = Atom(parts.iter().map(|part| part.iter().map(|m| m.1).collect()).collect());
            groups.entry((axes, self.frozen[root as usize])).or_default().push(atom);
        }
        let group = |((axes, frozen), atoms): (Likeness, Vec<Atom>)| Group {
            axes: axes.iter().map(|&(at, _)| self.axes[at as usize]).collect(),
            atoms,
            frozen: (frozen != FREE).then(|| reasons.get(frozen as usize).copied().unwrap_or(UNKNOWN)),
        };
        groups.into_iter().map(group).collect()
    }
}

/// What the atoms of a group have in common: axes with how many indices they take of each, and a reason.
type Likeness = (Vec<(u32, usize)>, u32);

/// What an axis belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A constant of floats, or of the integers that stand for them.
    Weight,
    /// Floats that are computed.
    Activation,
    /// Numbers about sizes and places.
    Other,
}

impl Kind {
    fn of(graph: &Graph, facts: &Facts, axis: Axis) -> Self {
        let dtype = facts.dtype(axis.value);
        match &graph.value(axis.value).data {
            Some(_) if dtype.is_some_and(|d| d.is_float() || d.bits() <= 8) => Self::Weight,
            None if dtype.is_some_and(DType::is_float) => Self::Activation,
            _ => Self::Other,
        }
    }
}

/// The number of a reason that is in no list.
const LONE: u32 = FREE - 1;

/// That reason.
const UNKNOWN: Reason = Reason { node: None, why: "its partner's size is not known" };
