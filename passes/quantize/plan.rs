//! Which values have to be quantized, and who reads them.

use std::collections::{BTreeMap, BTreeSet};

use crate::prelude::*;

use super::codes::Rows;
use super::fused::one_scale;
use super::layer::{Layer, Weight, after_activation, layer};
use super::stays::{in_bodies, stays};
use super::stream::Stream;

/// A value that is quantized, and who reads it so.
#[derive(Default)]
pub(super) struct Point {
    /// Every reader gets what was quantized, because the producer gives integers.
    pub from_layer: bool,
    /// The readers that compute in integers: node and slot.
    pub readers: Vec<(NodeId, usize)>,
    /// The layers among them.
    pub layers: Vec<usize>,
    /// The axis of channels that may have a scale each: all integer readers are layers with constant weights, which
    /// take the differences between the channels over.
    pub axis: Option<usize>,
    /// Whether channels may also have a zero of their own: what makes the value can shift it (floats, or a layer without
    /// an activation function), and the layers that read it can shift it back.
    pub shifts: bool,
    /// Where it is part of a stream, the additions that take it in floats as it is stored: node and slot.
    pub sums: Option<Vec<(NodeId, usize)>>,
}

impl Point {
    /// Everything that reads what comes back on the grid: node and slot.
    pub fn on_grid(&self) -> impl Iterator<Item = (NodeId, usize)> + '_ {
        self.readers.iter().chain(self.sums.iter().flatten()).copied()
    }
}

/// Whether anything reads a value that does not compute in integers.
pub(super) fn has_float_reader(graph: &Graph, value: ValueId, point: &Point) -> bool {
    graph.is_pinned(value) || graph.use_count(value) > point.on_grid().count()
}

/// The range in which the readers of a value tell numbers apart, where all of them say so: what lies outside gives
/// the same result as the nearest end.
pub(super) fn told_apart(graph: &Graph, value: ValueId, point: &Point) -> Option<(f64, f64)> {
    if graph.is_pinned(value) || !point.readers.is_empty() {
        return None;
    }
    let ranges = graph.uses(value).into_iter().map(|(node, slot)| {
        if slot != Some(0) {
            return None;
        }
        let bound = |slot: usize| graph.constant_input(node, slot)?.to_f64s()?.first().copied();
        let node = graph.node(node);
        let attr = |name: &str, default: f32| f64::from(node.attrs.float(name).unwrap_or(default));
        match &*node.op.name {
            "Relu" => Some((0.0, f64::INFINITY)),
            "HardSwish" => Some((-3.0, f64::INFINITY)),
            "HardSigmoid" if attr("alpha", 0.2) > 0.0 => {
                let (alpha, beta) = (attr("alpha", 0.2), attr("beta", 0.5));
                Some((-beta / alpha, (1.0 - beta) / alpha))
            }
            "Clip" => Some((bound(1).unwrap_or(f64::NEG_INFINITY), bound(2).unwrap_or(f64::INFINITY))),
            _ => None,
        }
    });
    let widest = |a: (f64, f64), b: (f64, f64)| (a.0.min(b.0), a.1.max(b.1));
    let all = ranges.reduce(|a, b| a.zip(b).map(|(a, b)| widest(a, b)))?;
    all.map(|(low, high)| (low.min(0.0), high.max(0.0)))
}

/// The activations that an operator reads, by slot, and how many it should.
fn activations(graph: &Graph, node: NodeId, slots: Activations) -> (Vec<(usize, ValueId)>, usize) {
    let inputs = graph.node_inputs(node);
    let count = match slots {
        Activations::First => 1,
        Activations::Both => 2,
        Activations::All => inputs.len(),
    };
    let read = inputs.iter().take(count).enumerate().filter_map(|(slot, v)| Some((slot, (*v)?)));
    (read.collect(), count)
}

/// What is to be quantized.
#[derive(Default)]
pub(super) struct Plan {
    /// The operators, in topological order.
    pub layers: Vec<Layer>,
    /// The values, in order of creation.
    pub points: BTreeMap<ValueId, Point>,
    /// The operators between layers.
    pub between: Vec<NodeId>,
    /// Pairs of values of one scale: the second has no element that the first lacks.
    pub ties: Vec<(ValueId, ValueId)>,
    /// Values whose channels share factors.
    pub streams: Vec<Stream>,
}

/// Operators besides layers that may compute in integers: the slots of their activations.
const BETWEEN: &[(&str, Activations)] = &[
    ("Add", Activations::Both),
    ("AveragePool", Activations::First),
    ("Concat", Activations::All),
    ("GlobalAveragePool", Activations::First),
    ("LeakyRelu", Activations::First),
    ("MaxPool", Activations::First),
    ("Mul", Activations::Both),
    ("Resize", Activations::First),
    ("Sigmoid", Activations::First),
    ("Softmax", Activations::First),
];

/// Operators whose result holds no number that their input lacks, so that both have one scale.
const KEEPING: &[&str] = &[
    "DepthToSpace",
    "Flatten",
    "Gather",
    "MaxPool",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

#[derive(Clone, Copy)]
enum Activations {
    First,
    Both,
    All,
}

/// What the runtime computes in integers.
pub(super) struct Wanted<'w> {
    /// Layers that have an integer kernel.
    pub layers: &'w [String],
    /// Layers whose kernel gives integers.
    pub integer_results: &'w [String],
    /// Operators between layers.
    pub between: &'w [String],
    /// How many elements these have to make for a batch of one.
    pub between_from: u64,
    /// The same of additions in a stream.
    pub sums_from: u64,
    /// Operators between layers that stay float all the same.
    pub barred: BTreeSet<NodeId>,
    /// The layers to quantize; `None` for all.
    pub only: Option<&'w BTreeSet<NodeId>>,
}

impl Wanted<'_> {
    /// The names of the operators between layers that are known.
    pub fn known() -> impl Iterator<Item = &'static str> {
        BETWEEN.iter().map(|&(op, _)| op)
    }
}

/// Ranges that differ by more than this share no scale.
const APART: f64 = 8.0;

impl Plan {
    /// What can be quantized of a graph, of the operators that the step may change. The summary says what stays float.
    pub fn of(
        scope: &Scope<'_>,
        cx: &PassContext<'_>,
        wanted: &Wanted<'_>,
        summary: &mut Summary,
    ) -> anyhow::Result<Self> {
        let mut plan = Self::default();
        let graph = &*scope.graph;
        let order = graph.order()?;
        for &node in order.iter().filter(|n| wanted.only.is_none_or(|only| only.contains(n))) {
            in_bodies(summary, graph.node(node));
            match layer(scope, node, wanted.layers) {
                Ok(mut layer) if cx.may_change(graph, &[node]) => {
                    layer.gives_integers = wanted.integer_results.iter().any(|op| graph.node(node).is(op));
                    plan.layers.push(layer);
                }
                Ok(_) => stays(summary, graph, node, "the step does not select it"),
                Err(skip) if skip == Skip::no_concern() => {}
                Err(skip) => {
                    stays(summary, graph, node, &skip.0);
                    summary.skip(skip.0);
                }
            }
        }
        for (at, layer) in plan.layers.iter().enumerate() {
            for &(slot, value) in &layer.activations {
                let point = plan.points.entry(value).or_default();
                point.readers.push((layer.node, slot));
                point.layers.push(at);
            }
            if layer.gives_integers {
                plan.points.entry(layer.result).or_default().from_layer = true;
            }
        }
        let shared = plan.shared_weights();
        plan.streams = Stream::all(scope, &order, &plan.layers, &|layer| own(layer, &shared));
        plan.extend(scope, cx, wanted, &order);
        plan.tie(graph, &order);
        plan.find_channels(scope, &shared);
        Ok(plan)
    }

    /// Adds the operators between layers whose inputs are quantized already.
    fn extend(&mut self, scope: &Scope<'_>, cx: &PassContext<'_>, wanted: &Wanted<'_>, order: &[NodeId]) {
        let graph = &*scope.graph;
        let absorbed: BTreeSet<ValueId> = self.layers.iter().map(|l| l.result).collect();
        let sizes = Sizes::batch_of_one(graph, scope.facts, BTreeMap::new());
        let sums: BTreeSet<NodeId> = self.streams.iter().flat_map(|s| &s.sums).copied().collect();
        let elements = |value: ValueId| {
            let shape = scope.facts.shape(value)?;
            shape.iter().try_fold(1, |n: u64, d| n.checked_mul(sizes.eval(d)?))
        };
        let large = |node: NodeId, output: ValueId, read: &[(usize, ValueId)]| {
            let least = if sums.contains(&node) { wanted.sums_from } else { wanted.between_from };
            least == 0 || read.iter().map(|r| r.1).chain([output]).filter_map(elements).any(|n| n >= least)
        };
        for &node in order {
            let known = BETWEEN.iter().find(|(op, _)| graph.node(node).is(op));
            let Some((op, slots)) = known.filter(|_| !wanted.barred.contains(&node)) else { continue };
            let Some(output) = graph.node_output(node, 0) else { continue };
            let (read, count) = activations(graph, node, *slots);
            let float =
                |v: ValueId| scope.facts.dtype(v) == Some(DType::Float) && graph.constant(v).is_none();
            let ready = wanted.between.iter().any(|wanted| wanted == op)
                && read.len() == count
                && read.iter().all(|&(_, v)| float(v) && self.points.contains_key(&v))
                && graph.node_outputs(node).iter().skip(1).all(Option::is_none)
                && large(node, output, &read);
            if !ready || absorbed.contains(&output) || !cx.may_change(graph, &[node]) {
                continue;
            }
            let (result, _) = after_activation(graph, output);
            for (slot, value) in read {
                self.points.entry(value).or_default().readers.push((node, slot));
            }
            self.points.entry(result).or_default().from_layer = true;
            self.between.push(node);
        }
    }

    /// Operators between layers whose result would put numbers of very different sizes on one scale: a `Concat` of boxes
    /// and scores would leave nothing of the scores.
    pub fn mixed(&self, graph: &Graph, ranges: &BTreeMap<ValueId, (f64, f64)>) -> BTreeSet<NodeId> {
        let size = |value: &ValueId| ranges.get(value).map(|(low, high)| high - low).filter(|&s| s > 0.0);
        let mixed = |node: &&NodeId| {
            let sizes: Vec<f64> = graph.node_inputs(**node).iter().flatten().filter_map(size).collect();
            let (least, most) = (
                sizes.iter().copied().fold(f64::INFINITY, f64::min),
                sizes.iter().copied().fold(0.0, f64::max),
            );
            graph.node(**node).is("Concat") && most > APART * least
        };
        self.between.iter().filter(mixed).copied().collect()
    }

    /// The weights of the layers, by output channel.
    pub fn rows(&self, graph: &Graph) -> Vec<Option<Rows>> {
        let rows = |layer: &Layer| layer.weight.and_then(|w| Rows::of(graph.constant(w.value)?, w.axis));
        self.layers.iter().map(rows).collect()
    }

    /// The weights that several layers read.
    fn shared_weights(&self) -> BTreeSet<ValueId> {
        let mut once = BTreeSet::new();
        let weights = self.layers.iter().filter_map(|layer| layer.weight);
        weights.map(|weight| weight.value).filter(|&value| !once.insert(value)).collect()
    }

    /// Finds the values whose channels may have a scale each.
    fn find_channels(&mut self, scope: &Scope<'_>, shared: &BTreeSet<ValueId>) {
        let tied: BTreeSet<ValueId> = self.ties.iter().flat_map(|&(a, b)| [a, b]).collect();
        let layers: BTreeSet<NodeId> = self.layers.iter().map(|layer| layer.node).collect();
        let sums = |streams: &[Stream]| streams.iter().flat_map(|s| &s.sums).copied().collect();
        let one = one_scale(scope.graph, &self.points, &layers, &sums(&self.streams));
        self.streams.retain(|stream| stream.is_free(&self.points, &tied, &one));
        let one = one_scale(scope.graph, &self.points, &layers, &sums(&self.streams));
        self.streams.iter().for_each(|stream| stream.mark(scope.graph, &mut self.points));
        let makers: BTreeMap<ValueId, &Layer> =
            self.layers.iter().filter(|l| l.gives_integers).map(|l| (l.result, l)).collect();
        let is_conv = |layer: &Layer| own(layer, shared).is_some_and(|w| w.conv);
        for (value, point) in self.points.iter_mut().filter(|(_, point)| point.sums.is_none()) {
            let Some(rank) = scope.facts.rank(*value) else { continue };
            let maker = makers.get(value);
            let mut axes = point.layers.iter().map(|&at| {
                let layer = &self.layers[at];
                let weight = own(layer, shared)?;
                Some(if weight.axis == 0 && weight.inputs == Some(1) && weight.conv {
                    1
                } else {
                    rank.checked_sub(1)?
                })
            });
            let first = match maker {
                Some(_) => Some(Some(1)),
                None => axes.next(),
            };
            let scales = !tied.contains(value)
                && !one.contains(value)
                && point.layers.len() == point.readers.len()
                && point.from_layer == maker.is_some()
                && maker.is_none_or(|maker| is_conv(maker) && maker.scales_freely(scope.graph));
            if let Some(Some(axis)) = first
                && scales
                && axes.all(|a| a == Some(axis))
            {
                point.axis = Some(axis);
                point.shifts = maker.is_none_or(|m| m.activation.is_none())
                    && point.layers.iter().all(|&at| self.layers[at].takes_shifts(scope.graph));
            }
        }
    }

    /// Lets values of the same numbers have one scale.
    fn tie(&mut self, graph: &Graph, order: &[NodeId]) {
        for &node in order {
            if !KEEPING.iter().any(|op| graph.node(node).is(op)) {
                continue;
            }
            let (Some(from), Some(to)) = (graph.node_input(node, 0), graph.node_output(node, 0)) else {
                continue;
            };
            if self.points.contains_key(&from) && self.points.contains_key(&to) {
                self.ties.push((from, to));
            }
        }
    }
}

/// The weight of a layer that takes factors of channels over. One that several layers read is stored once, so it takes
/// no layer's factors.
fn own(layer: &Layer, shared: &BTreeSet<ValueId>) -> Option<Weight> {
    layer.weight.filter(|weight| weight.inputs.is_some() && !shared.contains(&weight.value))
}
