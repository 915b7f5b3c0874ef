//! What the report says of the layers of a model that has its `QuantizeLinear` and `DequantizeLinear`.

use crate::prelude::*;

use super::pairs::{Params, Spread, made_by, range};
use super::stays::entry;
use super::stored::LAYOUT;

/// The layers of the main graph with quantized weights, in the order of the model.
pub(super) fn layers(before: &Graph, after: &Graph) -> Vec<LayerReport> {
    let Ok(order) = after.order() else { return Vec::new() };
    order.into_iter().filter_map(|node| layer(before, after, node)).collect()
}

fn layer(before: &Graph, graph: &Graph, node: NodeId) -> Option<LayerReport> {
    let is = |op: &&str| graph.node(node).is(op);
    ["Conv", "ConvTranspose", "Gemm", "MatMul"].iter().find(|op| is(op))?;
    let weight = Params::of(graph, made_by(graph, graph.node_input(node, 1)?, "DequantizeLinear")?)?;
    let input = graph.node_input(node, 0).and_then(|v| activation(graph, v, true));
    let output = graph.node_output(node, 0).and_then(|v| result(graph, v));
    let short = |codes: DType| format!("{}{}", if codes.is_signed_int() { 's' } else { 'u' }, codes.bits());
    let scales = match weight.spread {
        Spread::Tensor => "per tensor".to_owned(),
        Spread::Axis(_) => "per channel".to_owned(),
        Spread::Blocks { size, .. } => format!("in blocks of {size}"),
    };
    let read = input.as_ref().map_or_else(|| "float".to_owned(), |(codes, _)| short(*codes));
    let old = origin(before, graph, node).map_or_else(|| held(graph, node), |old| held(before, old));
    Some(LayerReport {
        form: format!("{read}×{} {scales}", short(weight.codes)),
        bytes_before: old,
        bytes_after: held(graph, node),
        activations: input.into_iter().chain(output).map(|(_, told)| told).collect(),
        weight: Some(WeightReport::of(weight.scales.iter().copied())),
        ..entry(graph, node)
    })
}

/// The node of the model before that a layer comes from.
fn origin(before: &Graph, after: &Graph, node: NodeId) -> Option<NodeId> {
    let op = &after.node(node).op;
    let names: Vec<&str> = match &after.node(node).made_by {
        Some(made) => made.from.iter().map(|name| &**name).collect(),
        None => vec![&after.node(node).name],
    };
    let output = after.node_output(node, 0).map(|v| after.value(v).name.as_str());
    before.nodes().find(|&old| {
        let made = before.node_output(old, 0).map(|v| before.value(v).name.as_str());
        let called = &*before.node(old).name;
        let known = if called.is_empty() {
            made.is_some_and(|made| names.contains(&made) || output == Some(made))
        } else {
            names.contains(&called)
        };
        known && before.node(old).op == *op
    })
}

/// Bytes of the constants behind the weight and the bias of a layer.
fn held(graph: &Graph, node: NodeId) -> u64 {
    (1..3).filter_map(|slot| graph.node_input(node, slot)).map(|value| behind(graph, value, DEPTH)).sum()
}

/// The longest chain of operators that is followed to a constant.
const DEPTH: usize = 8;

fn behind(graph: &Graph, value: ValueId, depth: usize) -> u64 {
    if let Some(data) = graph.constant(value) {
        return data.byte_len();
    }
    let Some((node, _)) = graph.producer(value).filter(|_| depth > 0) else { return 0 };
    let is = |op: &str| graph.node(node).is(op);
    let stored = is("DequantizeLinear") && graph.constant_input(node, 0).is_some();
    let inputs = graph.node_inputs(node).into_iter().flatten();
    if stored || is("QuantizeLinear") {
        inputs.map(|v| behind(graph, v, depth - 1)).sum()
    } else if is("DequantizeLinear") || LAYOUT.iter().any(|op| is(op)) {
        // Its parameters are those of the QuantizeLinear.
        inputs.take(1).map(|v| behind(graph, v, depth - 1)).sum()
    } else {
        0
    }
}

/// How the result of a layer is quantized, behind its `Relu` or `Clip`.
fn result(graph: &Graph, value: ValueId) -> Option<(DType, ActivationReport)> {
    let reader = |v: ValueId, ops: &[&str]| {
        graph.uses(v).into_iter().map(|(n, _)| n).find(|&n| ops.iter().any(|op| graph.node(n).is(op)))
    };
    let value = match reader(value, &["Relu", "Clip"]) {
        Some(function) if graph.use_count(value) == 1 => graph.node_output(function, 0)?,
        _ => value,
    };
    let quantize = reader(value, &["QuantizeLinear"])?;
    told(graph, quantize, &graph.value(value).name, false)
}

/// How a value that a layer reads is quantized.
fn activation(graph: &Graph, value: ValueId, read: bool) -> Option<(DType, ActivationReport)> {
    let back = made_by(graph, value, "DequantizeLinear")?;
    let quantize = made_by(graph, graph.node_input(back, 0)?, "QuantizeLinear");
    let source = quantize.and_then(|q| graph.node_input(q, 0)).unwrap_or(value);
    told(graph, back, &graph.value(source).name, read)
}

fn told(graph: &Graph, node: NodeId, tensor: &str, read: bool) -> Option<(DType, ActivationReport)> {
    let params = Params::of(graph, node)?;
    let widest = params.scales.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(at, _)| at);
    let (scale, zero) = (*params.scales.get(widest)?, *params.zeros.get(widest)?);
    let (first, last) = range(params.codes);
    let told = ActivationReport {
        tensor: tensor.to_owned(),
        read,
        scale,
        zero_point: zero,
        low: (first - zero) as f64 * scale,
        high: (last - zero) as f64 * scale,
        by_channel: params.spread != Spread::Tensor,
        ..ActivationReport::default()
    };
    Some((params.codes, told))
}
