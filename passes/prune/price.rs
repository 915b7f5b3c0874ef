//! What a model costs, as a function of how many channels its groups keep.

use std::collections::BTreeMap;

use crate::prelude::*;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Multiply-accumulates of a batch of one.
    Macs,
    /// Elements of weights.
    Params,
    /// Bytes of weights.
    Bytes,
    /// Channels of the groups.
    Channels,
}

impl Unit {
    /// As the option is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Macs => "macs",
            Self::Params => "params",
            Self::Bytes => "bytes",
            Self::Channels => "channels",
        }
    }
}

/// A product of sizes, some of which follow the groups.
struct Term {
    /// What does not change.
    times: f64,
    /// For each axis that does: its size, and what an atom of a group takes of it.
    axes: Vec<(f64, Vec<(usize, f64)>)>,
}

/// The cost of a graph.
pub(super) struct Price {
    terms: Vec<Term>,
    /// Sizes that were made up for open dims.
    pub assumed: bool,
}

/// The size of an open dim that is no batch: only ratios count.
pub(super) const OPEN: u64 = 64;

impl Price {
    /// In some unit.
    pub fn of(graph: &Graph, facts: &Facts, groups: &[Group], unit: Unit) -> Self {
        let sizes = Open::of(graph, facts);
        let mut shares: BTreeMap<Axis, Vec<(usize, f64)>> = BTreeMap::new();
        for (at, group) in groups.iter().enumerate() {
            let Some(atom) = group.atoms.first() else { continue };
            for (axis, indices) in group.axes.iter().zip(&atom.0) {
                // Of an open size only a factor is counted in elements.
                let elements = channels::elements(facts, *axis).map_or(1.0, f64::from);
                let each = sizes.size(facts, *axis) / elements;
                shares.entry(*axis).or_default().push((at, indices.len() as f64 * each));
            }
        }
        let term = |times: f64, axes: &[Axis]| {
            let mut term = Term { times, axes: Vec::new() };
            for axis in axes {
                let size = sizes.size(facts, *axis);
                match shares.get(axis) {
                    Some(shares) => term.axes.push((size, shares.clone())),
                    None => term.times *= size,
                }
            }
            term
        };
        let mut terms = Vec::new();
        match unit {
            Unit::Macs => {
                for product in graph.nodes().filter_map(|n| node_products(graph, facts, n)).flatten() {
                    terms.push(term(product.times.0 as f64 / product.times.1 as f64, &product.axes));
                }
            }
            Unit::Params | Unit::Bytes => {
                for value in graph.values() {
                    let Some(data) = graph.constant(value).filter(|d| d.dtype().is_float()) else { continue };
                    let axes: Vec<Axis> = (0..data.rank()).map(|axis| Axis { value, axis }).collect();
                    let each = if unit == Unit::Bytes { data.dtype().bits() as f64 / 8.0 } else { 1.0 };
                    terms.push(term(each, &axes));
                }
            }
            Unit::Channels => {
                for (at, group) in groups.iter().enumerate() {
                    let width = group.atoms.len() as f64;
                    terms.push(Term { times: 1.0, axes: vec![(width, vec![(at, 1.0)])] });
                }
            }
        }
        Self { terms, assumed: sizes.assumed }
    }

    /// The same, and something that stays.
    pub fn and(mut self, more: f64) -> Self {
        self.terms.push(Term { times: more, axes: Vec::new() });
        self
    }

    /// With so many atoms of every group gone.
    pub fn with(&self, gone: &[usize]) -> f64 {
        let size = |(size, shares): &(f64, Vec<(usize, f64)>)| {
            size - shares.iter().map(|&(group, each)| gone[group] as f64 * each).sum::<f64>()
        };
        self.terms.iter().map(|term| term.times * term.axes.iter().map(size).product::<f64>()).sum()
    }
}

/// Sizes for open dims: 1 for batches.
pub(super) struct Open {
    sizes: Sizes,
    /// Whether any that is no batch was made up.
    pub assumed: bool,
}

impl Open {
    /// Those of a graph.
    pub fn of(graph: &Graph, facts: &Facts) -> Self {
        let mut bindings = BTreeMap::new();
        for value in graph.values() {
            for dim in facts.shape(value).unwrap_or_default() {
                bindings.extend(dim.symbols().into_iter().map(|symbol| (symbol.to_owned(), OPEN)));
            }
        }
        let batches = graph.inputs().iter().filter_map(|&v| facts.dim(v, 0));
        let ones: Vec<String> = batches.flat_map(|dim| dim.symbols()).map(str::to_owned).collect();
        bindings.extend(ones.into_iter().map(|symbol| (symbol, 1)));
        let assumed = bindings.values().any(|&size| size == OPEN);
        Self { sizes: Sizes::of(bindings), assumed }
    }

    /// The size of an axis; 1 where nothing is known of it.
    pub fn size(&self, facts: &Facts, axis: Axis) -> f64 {
        let dim = facts.dim(axis.value, axis.axis);
        dim.and_then(|dim| self.sizes.eval(dim)).map_or(1.0, |size| size as f64)
    }
}
