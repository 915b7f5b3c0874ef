//! Sizes of channels as numbers: `Shape` and `Size` make them, and whoever reads them sees others after channels are gone.
//!
//! That is right where a number says the dims of an operation, for there it can be said anew. Wherever else it arrives,
//! the model computes with it, and the axis it is the size of stays as it is.

use crate::analysis::axis_of;
use std::collections::BTreeSet;

use super::Axis;
use super::reshape::can_be_said;
use super::ties::{Site, Ties};
use crate::analysis::Facts;
use crate::ir::{Graph, Node, NodeId, TensorData, ValueId};

/// Operators and the slots in which dims, places and numbers of axes are said.
const SAID: &[(&str, &[usize])] = &[
    ("ConstantOfShape", &[0]),
    ("CumSum", &[1]),
    ("Expand", &[1]),
    ("Gather", &[1]),
    ("Pad", &[1]),
    ("Reshape", &[1]),
    ("Resize", &[3]),
    ("Slice", &[1, 2, 3, 4]),
    ("Split", &[1]),
    ("Tile", &[1]),
];

/// The slots in which a node is told dims, places and numbers of axes: what is known of them can be said anew.
pub fn said_in(node: &Node) -> &'static [usize] {
    let standard = node.op.domain.is_empty() && node.opaque.is_none();
    SAID.iter().find(|(op, _)| standard && node.is(op)).map_or(&[], |(_, slots)| *slots)
}

/// The dims of a value follow what becomes of it, where nothing computes with them.
pub(super) fn dims(site: &Site<'_>, ties: &mut Ties) -> Option<()> {
    let (x, y) = (site.input(0)?, site.output(0)?);
    let rank = site.rank(x)?;
    (0..rank).for_each(|axis| ties.free(Axis { value: x, axis }));
    (0..site.rank(y)?).for_each(|axis| ties.free(Axis { value: y, axis }));
    let bound = |name: &str, default: usize| match site.node.attrs.int(name) {
        Some(at) => (if at < 0 { at + rank as i64 } else { at }).clamp(0, rank as i64) as usize,
        None => default,
    };
    let shape = site.node.is("Shape");
    let told = if shape { bound("start", 0)..bound("end", rank) } else { 0..rank };
    let told = Told { value: y, axes: told.collect(), is_list: shape };
    for axis in counted(site.graph, site.facts, told) {
        ties.freeze(site, Axis { value: x, axis }, "its size is computed with");
    }
    Some(())
}

/// A value that depends on the sizes of some axes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    value: ValueId,
    axes: Vec<usize>,
    /// Whether its entries are these sizes, one each.
    is_list: bool,
}

/// The axes whose sizes arrive where they cannot be said anew.
fn counted(graph: &Graph, facts: &Facts, first: Told) -> BTreeSet<usize> {
    let (mut open, mut seen, mut found) = (vec![first], BTreeSet::new(), BTreeSet::new());
    while let Some(told) = open.pop() {
        if !seen.insert(told.clone()) {
            continue;
        }
        if graph.is_pinned(told.value) {
            found.extend(&told.axes);
        }
        for (id, slot) in graph.uses(told.value) {
            let node = graph.node(id);
            if slot.is_some_and(|slot| said_in(node).contains(&slot) && is_said(graph, facts, id, slot)) {
                continue;
            }
            let Some(slot) = slot else {
                found.extend(&told.axes);
                continue;
            };
            for output in graph.node_outputs(id).into_iter().flatten() {
                let next = told.after(graph, (id, slot), output);
                if facts.value(output).is_some() {
                    open.push(next);
                } else {
                    found.extend(next.axes);
                }
            }
        }
    }
    found
}

/// Whether what is read in a slot can be said anew.
fn is_said(graph: &Graph, facts: &Facts, id: NodeId, slot: usize) -> bool {
    let site = Site::of(graph, facts, id);
    let known = site.input(slot).is_some_and(|value| facts.value_i64s(value).is_some());
    let values = site.input(0).zip(site.output(0));
    known || site.node.is("Reshape") && values.is_some_and(|(x, y)| can_be_said(&site, x, y))
}

impl Told {
    /// What a node makes of it: a list of sizes may lose some.
    fn after(&self, graph: &Graph, (id, slot): (NodeId, usize), output: ValueId) -> Self {
        let node = graph.node(id);
        let ints = |slot: usize| graph.constant_input(id, slot).and_then(TensorData::to_i64s);
        let all = Self { value: output, ..self.clone() };
        let lost = Self { is_list: false, ..all.clone() };
        if !self.is_list || slot != 0 {
            return lost;
        }
        let count = self.axes.len();
        let place = |at: i64| axis_of(at, count).and_then(|at| self.axes.get(at).copied());
        match &*node.op.name {
            "Cast" | "Identity" | "Squeeze" | "Unsqueeze" => all,
            "Gather" => match ints(1).map(|list| list.into_iter().map(place).collect::<Option<Vec<_>>>()) {
                Some(Some(axes)) => Self { axes, ..all },
                _ => lost,
            },
            "Slice" => match (ints(1).as_deref(), ints(2).as_deref(), ints(4).as_deref()) {
                (Some(&[start]), Some(&[end]), None | Some([1])) => {
                    let bound = |at: i64| {
                        (if at < 0 { at.saturating_add(count as i64) } else { at }).clamp(0, count as i64)
                    };
                    let (start, end) = (bound(start) as usize, bound(end) as usize);
                    Self { axes: self.axes[start..end.max(start)].to_vec(), ..all }
                }
                _ => lost,
            },
            _ => lost,
        }
    }
}
