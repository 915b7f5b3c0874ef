//! Values that additions join. Their channels share factors, so that the additions take them as they are stored, in
//! integers or in floats: with factors of its own, each of them would have to be multiplied back first.

use std::collections::{BTreeMap, BTreeSet};

use crate::prelude::*;

use super::layer::{Layer, Weight, after_activation};
use super::plan::Point;
use super::seen::{Reader, SHARES, Scale, Seen};

/// The axis of the channels of what convolutions make.
const CHANNELS: usize = 1;

/// What additions join: results of convolutions, and their sums.
pub(super) struct Stream {
    /// The additions.
    pub sums: BTreeSet<NodeId>,
    /// What they read and make.
    pub values: BTreeSet<ValueId>,
}

impl Stream {
    /// The streams of a graph. Every convolution that reads one of its values takes the factors over; `own` is the weight
    /// that does so.
    pub fn all(
        scope: &Scope<'_>,
        order: &[NodeId],
        layers: &[Layer],
        own: &dyn Fn(&Layer) -> Option<Weight>,
    ) -> Vec<Self> {
        let conv = |layer: &Layer| own(layer).is_some_and(|weight| weight.conv);
        let linear = |layer: &&Layer| layer.gives_integers && layer.activation.is_none() && conv(layer);
        let mut part_of: BTreeMap<ValueId, Option<usize>> =
            layers.iter().filter(linear).map(|layer| (layer.result, None)).collect();
        let mut streams: Vec<Self> = Vec::new();
        for &node in order {
            let Some((operands, result)) = linear_sum(scope, node) else { continue };
            let [Some(&a), Some(&b)] = operands.map(|v| part_of.get(&v)) else { continue };
            let mut joined = Self { sums: [node].into(), values: [operands[0], operands[1], result].into() };
            for at in [a, b].into_iter().flatten() {
                joined.sums.append(&mut streams[at].sums);
                joined.values.append(&mut streams[at].values);
            }
            part_of.extend(joined.values.iter().map(|&value| (value, Some(streams.len()))));
            streams.push(joined);
        }
        let readers = |value: ValueId| {
            layers.iter().filter(move |layer| layer.activations.iter().any(|&(_, read)| read == value))
        };
        let made: BTreeSet<ValueId> = layers.iter().map(|layer| layer.result).collect();
        let fits = |&value: &ValueId| {
            readers(value).all(conv) && (made.contains(&value) || readers(value).next().is_some())
        };
        streams.retain(|stream| !stream.sums.is_empty() && stream.values.iter().all(fits));
        streams
    }

    /// Whether nothing but its additions and the layers reads its values in integers, and no kernel needs one scale for
    /// them.
    pub fn is_free(
        &self,
        points: &BTreeMap<ValueId, Point>,
        tied: &BTreeSet<ValueId>,
        one: &BTreeSet<ValueId>,
    ) -> bool {
        self.values.iter().all(|value| {
            let own = |point: &Point| {
                let sums = point.readers.iter().filter(|(node, _)| self.sums.contains(node)).count();
                sums + point.layers.len() == point.readers.len()
            };
            points.get(value).is_some_and(own) && !tied.contains(value) && !one.contains(value)
        })
    }

    /// Notes at its values that they belong together, and which of its additions read them in floats.
    pub fn mark(&self, graph: &Graph, points: &mut BTreeMap<ValueId, Point>) {
        for value in &self.values {
            let Some(point) = points.get_mut(value) else { continue };
            let in_floats = |&(node, slot): &(NodeId, Option<usize>)| {
                let place = (node, slot?);
                (self.sums.contains(&node) && !point.readers.contains(&place)).then_some(place)
            };
            let sums = graph.uses(*value).iter().filter_map(in_floats).collect();
            (point.axis, point.sums) = (Some(CHANNELS), Some(sums));
        }
    }
}

/// The operands and the result of an `Add` whose operands have the same channels, and which no activation function
/// follows.
fn linear_sum(scope: &Scope<'_>, node: NodeId) -> Option<([ValueId; 2], ValueId)> {
    let graph = &*scope.graph;
    let result = graph.node_output(node, 0).filter(|_| graph.node(node).is("Add"))?;
    let operands = [graph.node_input(node, 0)?, graph.node_input(node, 1)?];
    let layout = |value: ValueId| {
        let shape = scope.facts.shape(value)?;
        Some((shape.len(), shape.get(CHANNELS)?.clone()))
    };
    let layouts = [operands[0], operands[1], result].map(layout);
    let same = layouts[0].is_some() && layouts.iter().all(|layout| *layout == layouts[0]);
    let linear = after_activation(graph, result).1.is_none();
    (same && linear).then_some((operands, result))
}

/// A value of a stream: what the samples show of it, and who reads it besides the additions.
pub(super) struct Member<'m> {
    pub seen: &'m Seen,
    pub readers: Vec<Reader<'m>>,
}

/// The scales of the values of a stream: one grid each, and the factors that cost all readers least. What rounding adds
/// to one value reaches the readers of all, through the sums.
pub(super) fn shared(members: &[Member<'_>], dtype: DType, symmetric: bool) -> Vec<Scale> {
    let widest = |mut all: Vec<f64>, ratios: Vec<f64>| {
        all.resize(ratios.len(), 0.0);
        all.iter_mut().zip(ratios).for_each(|(most, ratio)| *most = most.max(ratio));
        all
    };
    let ratios = members.iter().map(|m| m.seen.ratios(symmetric)).fold(Vec::new(), widest);
    let mut best: (f64, Vec<Scale>) = (f64::INFINITY, Vec::new());
    for share in SHARES {
        let factors: Vec<f64> = ratios.iter().map(|ratio| ratio.powf(share)).collect();
        let grids = members.iter().map(|m| m.seen.divided(&factors, dtype, symmetric));
        let scale = |grid| Scale { grid, factors: (share > 0.0).then(|| factors.clone()), zeros: None };
        let scales: Vec<Scale> = grids.map(scale).collect();
        let step = scales.iter().map(|s| f64::from(s.grid.scale).powi(2)).sum::<f64>().sqrt();
        let cost = |member: &Member<'_>| {
            let powers = member.seen.powers();
            member.readers.iter().map(|reader| reader.noise(&factors, &powers, step)).sum::<f64>()
        };
        let cost = members.iter().map(cost).sum();
        if cost < best.0 {
            best = (cost, scales);
        }
    }
    best.1
}
