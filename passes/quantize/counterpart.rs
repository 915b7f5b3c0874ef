//! Quantized layers, and what they were in the original.

use crate::prelude::*;

use super::codes::Rows;
use super::layer::{Weight, weight_of};
use super::pairs::{Editor, Params, made_by, only_reader};
use super::sites::added;
use super::stored::LAYOUT;

/// A layer whose weight comes out of constant integers.
pub(super) struct Counterpart {
    /// Where a number is added to every output channel: the layer, or the `Add` after it.
    pub bias: (NodeId, usize),
    /// What comes out, the bias included.
    pub result: ValueId,
    /// What came out in the original.
    pub original: ValueId,
    /// What the original multiplied its weight with.
    pub input: ValueId,
    /// The axis of the channels in the result; `None` for the last.
    pub axis: Option<usize>,
    /// Whether the channels that it sums over are axis 1 of its input.
    pub sums_axis_1: bool,
    /// What rounding took from the weight, by output channel.
    pub lost: Rows,
    /// Which input channel every element of that was multiplied with.
    pub weight: Weight,
    /// The float type of the weight.
    pub floats: DType,
}

impl Counterpart {
    /// What a mean for every input channel comes to in every output channel, of what rounding took. `None` where there
    /// are not as many.
    pub fn lost_mean(&self, means: &[f64]) -> Option<Vec<f64>> {
        let inputs = self.weight.inputs(&self.lost);
        let row = |(row, items): (usize, &Vec<f64>)| {
            let product = |(at, x): (usize, &f64)| Some(x * means.get(inputs.channel(row, at))?);
            items.iter().enumerate().map(product).sum::<Option<f64>>()
        };
        let fits = means.len() == inputs.per_group * self.weight.group;
        self.lost.items.iter().enumerate().map(row).collect::<Option<_>>().filter(|_| fits)
    }
}

impl Editor<'_, '_, '_> {
    /// What a quantized layer was in the original; an empty reason where the node is none.
    pub fn counterpart(&self, node: NodeId, original: &Graph) -> Result<Counterpart, Skip> {
        let graph = &*self.scope.graph;
        let kind = ["Conv", "Gemm", "MatMul"].into_iter().find(|op| graph.node(node).is(op));
        let kind = kind.filter(|_| self.may(&[node])).ok_or_else(Skip::no_concern)?;
        let stored = graph.node_input(node, 1).ok_or_else(Skip::no_concern)?;
        let (params, now) = self.dequantized(stored).ok_or_else(Skip::no_concern)?;
        let was = origin(graph, node, original).filter(|&n| original.node(n).is(kind));
        let float = was.and_then(|n| Some((n, original.node_input(n, 1)?, original.constant_input(n, 1)?)));
        let float = float.filter(|(_, _, data)| data.dtype().has_f64s());
        let (was, value, before) = float.ok_or_else(|| Skip::because(NO_LAYER))?;
        let unit =
            |name: &str| graph.node(node).attrs.float(name).is_none_or(|x| x.to_bits() == 1f32.to_bits());
        Skip::unless(unit("alpha") && unit("beta"), "it scales its operands by alpha or beta")?;
        let weight = weight_of(kind, original.node(was), value, before)?;
        let axis = weight_of(kind, graph.node(node), stored, &now)?.axis;
        let lost = Rows::of(before, weight.axis).zip(Rows::of(&now, axis)).and_then(|(a, b)| a.less(&b));
        let lost = lost.filter(|lost| is_rounding(lost, &params));
        let lost = lost.ok_or_else(|| Skip::because("its weight is not that of the original, rounded"))?;
        let bias = self.bias_of(node, kind, lost.items.len())?;
        let source = if bias.0 == node { Some(was) } else { origin(graph, bias.0, original) };
        let made = source.and_then(|n| original.node_output(n, 0)).zip(graph.node_output(bias.0, 0));
        let (made, input) = made.zip(original.node_input(was, 0)).ok_or_else(|| Skip::because(NO_LAYER))?;
        let (floats, axis) = (now.dtype(), (kind == "Conv").then_some(1));
        let read = graph.node_input(node, 0);
        let sums_axis_1 = axis.is_some() || read.is_some_and(|v| self.scope.facts.rank(v) == Some(2));
        Ok(Counterpart {
            bias,
            result: made.1,
            original: made.0,
            input,
            axis,
            sums_axis_1,
            lost,
            weight,
            floats,
        })
    }

    /// Where a number is added to every output channel of a layer.
    fn bias_of(&self, node: NodeId, kind: &str, channels: usize) -> Result<(NodeId, usize), Skip> {
        let graph = &*self.scope.graph;
        if kind != "MatMul" {
            if let Some(bias) = graph.node_input(node, 2) {
                self.bias_items(bias, channels)?;
            }
            return Ok((node, 2));
        }
        let product = graph.node_output(node, 0).ok_or_else(Skip::no_concern)?;
        let product = requantized(graph, product).unwrap_or(product);
        let bias = added(graph, product, channels as u64).and_then(|(bias, _)| bias);
        bias.ok_or_else(|| Skip::because("a MatMul without a constant Add after it has no bias"))
    }

    /// The constant integers behind a weight, and the weight.
    fn dequantized(&self, weight: ValueId) -> Option<(Params, TensorData)> {
        let graph = &*self.scope.graph;
        let mut back = graph.producer(weight)?.0;
        while LAYOUT.iter().any(|op| graph.node(back).is(op)) {
            back = graph.producer(graph.node_input(back, 0)?)?.0;
        }
        let through: Vec<&str> = LAYOUT.iter().copied().chain(["DequantizeLinear"]).collect();
        let params = Params::of(graph, back).filter(|_| graph.node(back).is("DequantizeLinear"))?;
        Some((params, self.behind(weight, &through, usize::MAX)?))
    }
}

/// Why a layer has no counterpart.
const NO_LAYER: &str = "the original has no such layer with a float weight";

/// A node in the original: itself, or the one that made its result.
fn origin(graph: &Graph, node: NodeId, original: &Graph) -> Option<NodeId> {
    if original.contains_node(node) {
        return Some(node);
    }
    let result = graph.node_output(node, 0).filter(|&v| original.contains_value(v))?;
    original.producer(result).map(|(n, _)| n)
}

/// What comes back of a value that is quantized for one reader.
fn requantized(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let quantize = only_reader(graph, value).filter(|&n| graph.node(n).is("QuantizeLinear"))?;
    let codes = graph.node_output(quantize, 0)?;
    let back = only_reader(graph, codes).filter(|&n| graph.node(n).is("DequantizeLinear"))?;
    let result = graph.node_output(back, 0)?;
    made_by(graph, result, "DequantizeLinear").map(|_| result)
}

/// Whether a difference of weights is what rounding takes: less than a step on the mean. Where channels were scaled on
/// the way, it is far more.
fn is_rounding(lost: &Rows, params: &Params) -> bool {
    let count = params.scales.len().max(1) as f64;
    let step: f64 = params.scales.iter().map(|s| s * s).sum::<f64>() / count;
    let (mut power, mut items) = (0.0, 0usize);
    for row in &lost.items {
        power += row.iter().map(|x| x * x).sum::<f64>();
        items += row.len();
    }
    power <= step * items as f64
}
