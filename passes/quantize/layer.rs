//! The operators that compute in integers: which they are, and where their weights are.

use crate::prelude::*;

use super::codes::Rows;
use super::seen::Inputs;
use super::stays::is_other;

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
    /// Whether it is a stack of matrices. Runtimes take one scale for it, or one for every column of each matrix, which
    /// `DequantizeLinear` cannot say.
    pub stack: bool,
}

impl Weight {
    /// Which input channel every element of a row is multiplied with.
    pub fn inputs(self, rows: &Rows) -> Inputs {
        let width = rows.items.first().map_or(0, Vec::len);
        let count = rows.items.len();
        let Some(axis) = self.inputs else {
            return Inputs { each: width, per_group: 0, rows_per_group: count };
        };
        let per_group = rows.dims.get(axis).map_or(1, |&d| d as usize).max(1);
        Inputs { each: width / per_group, per_group, rows_per_group: count / self.group.max(1) }
    }
}

impl Layer {
    /// A layer of which only its operator and its result count.
    pub fn bare(node: NodeId, result: ValueId) -> Self {
        let (activations, activation, gives_integers) = (Vec::new(), None, false);
        Self { node, activations, weight: None, bias: None, result, activation, gives_integers }
    }

    /// Whether a shift of its input by channel is one of its bias: it has one, and pads nothing.
    pub fn takes_shifts(&self, graph: &Graph) -> bool {
        let node = graph.node(self.node);
        let pads = node.attrs.ints("pads").is_some_and(|pads| pads.iter().any(|&p| p != 0));
        let same = node.attrs.str("auto_pad").is_some_and(|pad| pad.starts_with("SAME"));
        !node.is("MatMul") && !pads && !same
    }

    /// Whether the channels of the result may be scaled before the activation function as well as after it: there is
    /// none, or it only cuts at zero and where the quantized range ends anyway.
    pub fn scales_freely(&self, graph: &Graph) -> bool {
        let Some(node) = self.activation else { return true };
        let zero = |slot: usize| {
            graph.constant_input(node, slot).and_then(TensorData::to_f64s).is_some_and(|x| x == [0.0])
        };
        graph.node(node).is("Relu") || (graph.node(node).is("Clip") && zero(1))
    }
}

/// The operators that may be layers.
pub(super) const LAYERS: &[&str] = &["Conv", "ConvTranspose", "Gemm", "MatMul"];

/// What an operator is as a layer; an empty reason where it is none. `known` are the layers that the runtime computes in
/// integers.
pub(super) fn layer(scope: &Scope<'_>, id: NodeId, known: &[String]) -> Result<Layer, Skip> {
    let graph = &*scope.graph;
    let node = graph.node(id);
    Skip::unless(!is_other(node), "it has no integer form here")?;
    let kind = LAYERS.iter().copied().find(|op| node.is(op)).ok_or_else(Skip::no_concern)?;
    let inputs = graph.node_inputs(id);
    let output = graph.node_output(id, 0).ok_or_else(Skip::no_concern)?;
    let get = |slot: usize| inputs.get(slot).copied().flatten();
    let (Some(a), Some(b)) = (get(0), get(1)) else { return Err(Skip::no_concern()) };
    float32([a, b].map(|v| scope.facts.dtype(v)))?;
    Skip::unless(known.iter().any(|op| op == kind), "the profile names no integer kernel for it")?;
    Skip::unless(graph.constant(a).is_none(), "its first input is constant")?;
    let mut activations = vec![(0, a)];
    let weight = if let Some(data) = graph.constant(b) {
        Some(weight_of(kind, node, b, data)?)
    } else {
        Skip::unless(kind == "MatMul", "its weight is not constant")?;
        activations.push((1, b));
        None
    };
    let bias = get(2).map(|v| (2, v));
    if kind == "Gemm" {
        let unit = |name: &str| node.attrs.float(name).is_none_or(|x| x.to_bits() == 1f32.to_bits());
        Skip::unless(node.attrs.int("transA").unwrap_or(0) == 0, "its first input is transposed")?;
        Skip::unless(unit("alpha") && unit("beta"), "it scales its operands by alpha or beta")?;
    }
    if let (Some((_, bias)), Some(weight)) = (bias, weight) {
        let channels = graph.constant(weight.value).and_then(|d| d.dims().get(weight.axis).copied());
        let row = |d: &TensorData| d.dims().last().copied() == channels && Some(d.len() as u64) == channels;
        let fits = graph.constant(bias).is_some_and(row);
        Skip::unless(fits, "its bias is not a constant of one number a channel")?;
        let finite = graph.constant(bias).and_then(TensorData::to_f64s);
        Skip::unless(finite.is_some_and(|b| b.iter().all(|x| x.is_finite())), "its bias is not finite")?;
    }
    let (result, activation) = after_activation(graph, output);
    Ok(Layer { node: id, activations, weight, bias, result, activation, gives_integers: false })
}

/// What a `Conv`, `Gemm` or `MatMul` is as a layer, whatever the runtime; an empty reason for any other operator.
pub(super) fn plain_layer(scope: &Scope<'_>, id: NodeId) -> Result<Layer, Skip> {
    const PLAIN: [&str; 3] = ["Conv", "Gemm", "MatMul"];
    if !PLAIN.iter().any(|op| scope.graph.node(id).is(op)) {
        return Err(Skip::no_concern());
    }
    layer(scope, id, &PLAIN.map(str::to_owned))
}

/// Whether operands are float32; an empty reason where they are integers.
fn float32(types: [Option<DType>; 2]) -> Result<(), Skip> {
    if types.iter().flatten().any(|t| !t.is_float()) {
        return Err(Skip::no_concern());
    }
    Skip::unless(types.iter().all(Option::is_some), "the type of its operands is not known")?;
    Skip::unless(types == [Some(DType::Float); 2], "it computes in another float type than float32")
}

/// The geometry of a weight.
pub(super) fn weight_of(kind: &str, node: &Node, value: ValueId, data: &TensorData) -> Result<Weight, Skip> {
    Skip::unless(!data.is_empty(), "its weight is empty")?;
    let finite = data.to_f64s().is_some_and(|items| items.iter().all(|x| x.is_finite()));
    Skip::unless(finite, "its weight is not finite")?;
    let group = usize::try_from(node.attrs.int("group").unwrap_or(1)).unwrap_or(0);
    let rank = data.rank();
    let (axis, inputs) = match kind {
        "Conv" => {
            Skip::unless(rank >= 3, "its weight has fewer than three dims")?;
            let channels = data.dims()[0] as usize;
            Skip::unless(group > 0 && channels.is_multiple_of(group), "group does not divide the channels")?;
            (0, Some(1))
        }
        "ConvTranspose" => {
            Skip::unless(rank >= 3, "its weight has fewer than three dims")?;
            Skip::unless(group == 1, "it is a ConvTranspose of several groups")?;
            (1, None)
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
    Ok(Weight {
        slot: 1,
        value,
        axis,
        inputs,
        group,
        conv: kind == "Conv",
        stack: kind == "MatMul" && rank > 2,
    })
}

/// The value behind the `Relu` or `Clip` that reads a result alone, and that node: integer kernels do both by
/// saturating.
pub(super) fn after_activation(graph: &Graph, value: ValueId) -> (ValueId, Option<NodeId>) {
    let [(reader, Some(0))] = graph.uses(value)[..] else { return (value, None) };
    let node = graph.node(reader);
    let bounded = |slot: usize| graph.node_input(reader, slot).is_none_or(|v| graph.constant(v).is_some());
    let absorbed = node.is("Relu") || (node.is("Clip") && bounded(1) && bounded(2));
    match graph.node_output(reader, 0) {
        Some(output) if absorbed && !graph.is_pinned(value) => (output, Some(reader)),
        _ => (value, None),
    }
}
