//! Heavy operators that stay float, and why: entries for the report.

use crate::prelude::*;

use super::layer::LAYERS;

/// Operators besides layers that multiply and add much; passes here have no integer form of them.
const OTHERS: &[&str] = &["Attention", "DeformConv", "Einsum", "GRU", "LSTM", "RNN"];

/// Whether an operator multiplies and adds much, but is none of the layers that are known here.
pub(super) fn is_other(node: &Node) -> bool {
    OTHERS.iter().any(|op| node.is(op))
}

/// The entry of a layer in the report, with what its weights take.
pub(super) fn entry(graph: &Graph, node: NodeId) -> LayerReport {
    let constants = graph.node_inputs(node).into_iter().flatten().filter_map(|v| graph.constant(v));
    let bytes = constants.map(TensorData::byte_len).sum();
    let named = graph.node(node);
    let output = graph.node_output(node, 0).map(|v| graph.value(v).name.clone());
    LayerReport {
        layer: if named.name.is_empty() { output.unwrap_or_default() } else { named.name.clone() },
        op: named.op.to_string(),
        depthwise: is_depthwise(graph, node),
        bytes_before: bytes,
        bytes_after: bytes,
        ..LayerReport::default()
    }
}

/// Whether each channel of a convolution reads one channel of several.
fn is_depthwise(graph: &Graph, node: NodeId) -> bool {
    let groups = graph.node(node).attrs.int("group").unwrap_or(1);
    let weight = graph.constant_input(node, 1);
    graph.node(node).is("Conv") && groups > 1 && weight.and_then(|w| w.dims().get(1)) == Some(&1)
}

/// A layer that stays as it is: its entry, and the count of its reason.
pub(super) fn stays(summary: &mut Summary, graph: &Graph, node: NodeId, why: &str) {
    let line = LayerReport { form: "float".to_owned(), note: Some(why.to_owned()), ..entry(graph, node) };
    summary.layers.push(line);
}

/// Says so where a pass has quantized nothing.
pub(super) fn warn_of_nothing(pass: &str, summary: &Summary, cx: &mut PassContext<'_>) {
    if summary.applied > 0 {
        return;
    }
    let why = match summary.layers.len() {
        0 => format!("the model has no {} on floats", LAYERS.join(", ")),
        count => format!("all {count} layers stay as they are (`layers` of the JSON report says why)"),
    };
    cx.warnings.push(format!("`{pass}` has quantized nothing: {why}"));
}

/// The heavy operators in the bodies of a node, and in theirs, all of which stay.
pub(super) fn in_bodies(summary: &mut Summary, node: &Node) {
    for body in node.attrs.graphs() {
        for id in body.nodes() {
            let inner = body.node(id);
            in_bodies(summary, inner);
            let result = body.node_output(id, 0).and_then(|v| body.value(v).ty.dtype());
            let heavy = LAYERS.iter().any(|op| inner.is(op)) || is_other(inner);
            if heavy && result.is_none_or(DType::is_float) {
                let skip = Skip::because("it is in a body of control flow");
                stays(summary, body, id, &skip.0);
                summary.skip(skip.0);
            }
        }
    }
}
