//! Which operators compute in integers, and which values have to be quantized for that.

use std::collections::{BTreeMap, BTreeSet};

use crate::prelude::*;

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
}

/// A value that is quantized, and who reads it so.
#[derive(Default)]
pub(super) struct Point {
    /// Every reader gets what was quantized, because the producer gives integers.
    pub from_layer: bool,
    /// The readers that compute in integers: node and slot.
    pub readers: Vec<(NodeId, usize)>,
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
        for layer in &plan.layers {
            for &(slot, value) in &layer.activations {
                plan.points.entry(value).or_default().readers.push((layer.node, slot));
            }
            if layer.gives_integers {
                plan.points.entry(layer.result).or_default().from_layer = true;
            }
        }
        if between {
            plan.extend(scope, cx, &order);
        }
        plan.tie(graph, &order);
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
            let result = after_activation(graph, output);
            for (slot, value) in read {
                self.points.entry(value).or_default().readers.push((node, slot));
            }
            self.points.entry(result).or_default().from_layer = true;
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
        Some(data) => Some(Weight { slot: 1, value: b, axis: channel_axis(kind, node, data)? }),
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
    let result = after_activation(graph, output);
    Ok(Layer { node: id, activations, weight, bias, result, gives_integers: kind == "Conv" })
}

/// The axis of the output channels of a weight.
fn channel_axis(kind: &str, node: &Node, weight: &TensorData) -> Result<usize, Skip> {
    Skip::unless(weight.len() > 0, "its weight is empty")?;
    match kind {
        "Conv" => Skip::unless(weight.rank() >= 3, "its weight has fewer than three dims").map(|()| 0),
        "Gemm" => {
            Skip::unless(weight.rank() == 2, "its weight is no matrix")?;
            Ok(usize::from(node.attrs.int("transB").unwrap_or(0) == 0))
        }
        _ => {
            Skip::unless(weight.rank() >= 2, "its weight is no matrix")?;
            Ok(weight.rank() - 1)
        }
    }
}

/// Whether a value comes out of a `DequantizeLinear`.
fn is_dequantized(graph: &Graph, value: ValueId) -> bool {
    graph.producer(value).is_some_and(|(n, _)| graph.node(n).is("DequantizeLinear"))
}

/// The value behind the `Relu` or `Clip` that reads a result alone: integer kernels do both by saturating.
fn after_activation(graph: &Graph, value: ValueId) -> ValueId {
    let [(reader, Some(0))] = graph.uses(value)[..] else { return value };
    let node = graph.node(reader);
    let bounded = |slot: usize| graph.node_input(reader, slot).is_none_or(|v| graph.constant(v).is_some());
    let absorbed = node.is("Relu") || (node.is("Clip") && bounded(1) && bounded(2));
    match graph.node_output(reader, 0) {
        Some(output) if absorbed && !graph.is_pinned(value) => output,
        _ => value,
    }
}
