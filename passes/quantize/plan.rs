//! Which operators compute in integers, and which values have to be quantized for that.

use std::collections::{BTreeMap, BTreeSet};

use crate::prelude::*;

use super::codes::Rows;
use super::scales::Inputs;

/// An operator that multiplies by weights, or two activations.
pub(super) struct Layer {
    /// The operator.
    pub node: NodeId,
    /// The slots of its activations.
    pub activations: Vec<(usize, ValueId)>,
    /// Its constant weight.
    pub weight: Option<Weight>,
    /// The slot of its constant bias.
    pub bias: Option<(usize, ValueId)>,
    /// What it makes, after the activation function that its kernel absorbs.
    pub result: ValueId,
    /// That function's node.
    pub activation: Option<NodeId>,
    /// Whether its integer kernel gives integers, so that the result has to be quantized.
    pub gives_integers: bool,
}

/// The constant weight of a layer.
#[derive(Clone, Copy)]
pub(super) struct Weight {
    /// Its slot.
    pub slot: usize,
    /// Its value.
    pub value: ValueId,
    /// The axis of its output channels.
    pub axis: usize,
    /// The axis of its input channels; `None` where they are not to be told apart.
    pub inputs: Option<usize>,
    /// Groups of channels.
    pub group: usize,
    /// Whether it is the weight of a convolution.
    pub conv: bool,
}

impl Weight {
    /// Which input channel every element of a row is multiplied with.
    pub fn inputs(self, rows: &Rows) -> Inputs {
        let width = rows.rows.first().map_or(0, Vec::len);
        let count = rows.rows.len();
        let Some(axis) = self.inputs else {
            return Inputs { each: width, per_group: 0, rows_per_group: count };
        };
        let per_group = rows.dims.get(axis).map_or(1, |&d| d as usize).max(1);
        Inputs { each: width / per_group, per_group, rows_per_group: count / self.group.max(1) }
    }
}

impl Layer {
    /// Whether the channels of the result may be scaled before the activation function as well as after it: there is
    /// none, or it only cuts at zero and where the quantized range ends anyway.
    fn scales_freely(&self, graph: &Graph) -> bool {
        let Some(node) = self.activation else { return true };
        let zero = |slot: usize| {
            graph.constant_input(node, slot).and_then(TensorData::to_f64s).is_some_and(|x| x == [0.0])
        };
        graph.node(node).is("Relu") || (graph.node(node).is("Clip") && zero(1))
    }
}

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
    /// Whether channels may also have a zero of their own: a layer makes the value, without an activation function, and
    /// none reads it.
    pub shifts: bool,
}

/// What is to be quantized.
#[derive(Default)]
pub(super) struct Plan {
    /// The operators, in topological order.
    pub layers: Vec<Layer>,
    /// The values, in order of creation.
    pub points: BTreeMap<ValueId, Point>,
    /// Pairs of values of one scale: the second has no element that the first lacks.
    pub ties: Vec<(ValueId, ValueId)>,
}

/// Operators besides layers that compute in integers: the slots of their activations.
const BETWEEN: &[(&str, Slots2)] = &[
    ("Add", Slots2::Both),
    ("Mul", Slots2::Both),
    ("AveragePool", Slots2::First),
    ("GlobalAveragePool", Slots2::First),
    ("Concat", Slots2::All),
    ("MaxPool", Slots2::First),
    ("Resize", Slots2::First),
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
enum Slots2 {
    First,
    Both,
    All,
}

impl Plan {
    /// What can be quantized of a graph, of the operators that the step may change. `between`: also the operators
    /// between layers.
    pub fn of(
        scope: &Scope<'_>,
        cx: &PassContext<'_>,
        between: bool,
        summary: &mut Summary,
    ) -> anyhow::Result<Self> {
        let mut plan = Self::default();
        let graph = &*scope.graph;
        let order = graph.order()?;
        for &node in &order {
            match layer(scope, node) {
                Ok(layer) if cx.may_change(graph, &[node]) => plan.layers.push(layer),
                Ok(_) => {}
                Err(skip) if skip == Skip::no_concern() => {}
                Err(skip) => summary.skip(skip.0),
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
        if between {
            plan.extend(scope, cx, &order);
        }
        plan.tie(graph, &order);
        plan.find_channels(scope);
        Ok(plan)
    }

    /// Adds the operators between layers whose inputs are quantized already.
    fn extend(&mut self, scope: &Scope<'_>, cx: &PassContext<'_>, order: &[NodeId]) {
        let graph = &*scope.graph;
        let absorbed: BTreeSet<ValueId> = self.layers.iter().map(|l| l.result).collect();
        for &node in order {
            let Some((_, slots)) = BETWEEN.iter().find(|(op, _)| graph.node(node).is(op)) else { continue };
            let inputs = graph.node_inputs(node);
            let Some(output) = graph.node_output(node, 0) else { continue };
            let count = match slots {
                Slots2::First => 1,
                Slots2::Both => 2,
                Slots2::All => inputs.len(),
            };
            let read: Vec<(usize, ValueId)> =
                inputs.iter().take(count).enumerate().filter_map(|(slot, v)| Some((slot, (*v)?))).collect();
            let float =
                |v: ValueId| scope.facts.dtype(v) == Some(DType::Float) && graph.constant(v).is_none();
            let ready = read.len() == count
                && read.iter().all(|&(_, v)| float(v) && self.points.contains_key(&v))
                && graph.node_outputs(node).iter().skip(1).all(Option::is_none);
            if !ready || absorbed.contains(&output) || !cx.may_change(graph, &[node]) {
                continue;
            }
            let (result, _) = after_activation(graph, output);
            for (slot, value) in read {
                self.points.entry(value).or_default().readers.push((node, slot));
            }
            self.points.entry(result).or_default().from_layer = true;
        }
    }

    /// The weights of the layers, by output channel.
    pub fn rows(&self, graph: &Graph) -> Vec<Option<Rows>> {
        let rows = |layer: &Layer| layer.weight.and_then(|w| Rows::of(graph.constant(w.value)?, w.axis));
        self.layers.iter().map(rows).collect()
    }

    /// Whether anything reads a value that does not compute in integers.
    pub fn has_float_reader(&self, graph: &Graph, value: ValueId, point: &Point) -> bool {
        graph.is_pinned(value) || graph.use_count(value) > point.readers.len()
    }

    /// The range in which the readers of a value tell numbers apart, where all of them say so: what lies outside gives
    /// the same result as the nearest end.
    pub fn told_apart(&self, graph: &Graph, value: ValueId, point: &Point) -> Option<(f64, f64)> {
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

    /// Finds the values whose channels may have a scale each.
    fn find_channels(&mut self, scope: &Scope<'_>) {
        let tied: BTreeSet<ValueId> = self.ties.iter().flat_map(|&(a, b)| [a, b]).collect();
        let makers: BTreeMap<ValueId, &Layer> =
            self.layers.iter().filter(|l| l.gives_integers).map(|l| (l.result, l)).collect();
        for (value, point) in &mut self.points {
            let Some(rank) = scope.facts.rank(*value) else { continue };
            let maker = makers.get(value);
            let mut axes = point.layers.iter().map(|&at| {
                let layer = &self.layers[at];
                let weight = layer.weight.filter(|w| w.inputs.is_some())?;
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
                && point.layers.len() == point.readers.len()
                && point.from_layer == maker.is_some()
                && maker.is_none_or(|maker| maker.scales_freely(scope.graph));
            if let Some(Some(axis)) = first
                && scales
                && axes.all(|a| a == Some(axis))
            {
                point.axis = Some(axis);
                point.shifts = point.layers.is_empty() && maker.is_some_and(|m| m.activation.is_none());
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

/// What an operator is as a layer; an empty reason where it is none.
fn layer(scope: &Scope<'_>, id: NodeId) -> Result<Layer, Skip> {
    let graph = &*scope.graph;
    let node = graph.node(id);
    let kind = ["Conv", "Gemm", "MatMul"].into_iter().find(|op| node.is(op)).ok_or_else(Skip::no_concern)?;
    let inputs = graph.node_inputs(id);
    let output = graph.node_output(id, 0).ok_or_else(Skip::no_concern)?;
    let get = |slot: usize| inputs.get(slot).copied().flatten();
    let (Some(a), Some(b)) = (get(0), get(1)) else { return Err(Skip::no_concern()) };
    let types = [a, b].map(|v| scope.facts.dtype(v));
    if types.contains(&Some(DType::Float16)) || types.contains(&Some(DType::Double)) {
        return Err(Skip::because("it computes in another float type than float32"));
    }
    if types != [Some(DType::Float); 2] {
        return Err(Skip::no_concern());
    }
    Skip::unless(!is_dequantized(graph, a) && !is_dequantized(graph, b), "it is quantized already")?;
    Skip::unless(graph.constant(a).is_none(), "its first input is constant")?;
    let mut activations = vec![(0, a)];
    let weight = match graph.constant(b) {
        Some(data) => Some(weight_of(kind, node, b, data)?),
        None => {
            Skip::unless(kind == "MatMul", "its weight is not constant")?;
            activations.push((1, b));
            None
        }
    };
    let bias = get(2).map(|v| (2, v));
    if kind == "Gemm" {
        let unit = |name: &str| node.attrs.float(name).is_none_or(|x| x.to_bits() == 1f32.to_bits());
        Skip::unless(node.attrs.int("transA").unwrap_or(0) == 0, "its first input is transposed")?;
        Skip::unless(unit("alpha") && unit("beta"), "it scales its operands by alpha or beta")?;
    }
    if let (Some((_, bias)), Some(weight)) = (bias, weight) {
        let channels = graph.constant(weight.value).and_then(|d| d.dims().get(weight.axis).copied());
        let fits =
            graph.constant(bias).is_some_and(|d| d.rank() == 1 && d.dims().first().copied() == channels);
        Skip::unless(fits, "its bias is not a constant of one number a channel")?;
    }
    let (result, activation) = after_activation(graph, output);
    Ok(Layer { node: id, activations, weight, bias, result, activation, gives_integers: kind == "Conv" })
}

/// The geometry of a weight.
fn weight_of(kind: &str, node: &Node, value: ValueId, data: &TensorData) -> Result<Weight, Skip> {
    Skip::unless(data.len() > 0, "its weight is empty")?;
    let group = usize::try_from(node.attrs.int("group").unwrap_or(1)).unwrap_or(0);
    let rank = data.rank();
    let (axis, inputs) = match kind {
        "Conv" => {
            Skip::unless(rank >= 3, "its weight has fewer than three dims")?;
            let channels = data.dims()[0] as usize;
            Skip::unless(group > 0 && channels.is_multiple_of(group), "group does not divide the channels")?;
            (0, Some(1))
        }
        "Gemm" => {
            Skip::unless(rank == 2, "its weight is no matrix")?;
            let axis = usize::from(node.attrs.int("transB").unwrap_or(0) == 0);
            (axis, Some(1 - axis))
        }
        _ => {
            Skip::unless(rank >= 2, "its weight is no matrix")?;
            (rank - 1, (rank == 2).then_some(0))
        }
    };
    Ok(Weight { slot: 1, value, axis, inputs, group, conv: kind == "Conv" })
}

/// Whether a value comes out of a `DequantizeLinear`.
fn is_dequantized(graph: &Graph, value: ValueId) -> bool {
    graph.producer(value).is_some_and(|(n, _)| graph.node(n).is("DequantizeLinear"))
}

/// The value behind the `Relu` or `Clip` that reads a result alone, and that node: integer kernels do both by
/// saturating.
fn after_activation(graph: &Graph, value: ValueId) -> (ValueId, Option<NodeId>) {
    let [(reader, Some(0))] = graph.uses(value)[..] else { return (value, None) };
    let node = graph.node(reader);
    let bounded = |slot: usize| graph.node_input(reader, slot).is_none_or(|v| graph.constant(v).is_some());
    let absorbed = node.is("Relu") || (node.is("Clip") && bounded(1) && bounded(2));
    match graph.node_output(reader, 0) {
        Some(output) if absorbed && !graph.is_pinned(value) => (output, Some(reader)),
        _ => (value, None),
    }
}
