//! Layers that pruning leaves alone wherever it looks: those whose weights are quantized, and those in bodies.

use crate::prelude::*;

/// Operators with a weight.
pub(super) const LAYERS: &[&str] = &["Conv", "ConvTranspose", "Gemm", "MatMul"];

/// Operators whose weights are integers.
const ON_CODES: &[&str] = &[
    "ConvInteger",
    "DynamicQuantizeMatMul",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "MatMulNBits",
    "QGemm",
    "QLinearConv",
    "QLinearMatMul",
];

/// Why a layer stays whose weight is no float any more.
pub(super) const CODED: &str = "its weight is quantized";

/// Why a layer stays that does not always run.
pub(super) const IN_BODY: &str = "it is in a body of control flow";

/// Whether a node is a layer whose weight is quantized: it multiplies integers, or reads what comes of them.
pub(super) fn is_coded(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    ON_CODES.contains(&&*node.op.name)
        || LAYERS.iter().any(|op| node.is(op))
            && graph.node_input(id, 1).is_some_and(|weight| comes_from_codes(graph, weight))
}

/// Whether a value comes from a `DequantizeLinear` of what is stored, through what arranges elements.
fn comes_from_codes(graph: &Graph, value: ValueId) -> bool {
    let Some((node, _)) = graph.producer(value) else { return false };
    let Some(from) = graph.node_input(node, 0) else { return false };
    if graph.node(node).is("DequantizeLinear") {
        return is_stored(graph, from);
    }
    ["Reshape", "Transpose"].iter().any(|op| graph.node(node).is(op)) && comes_from_codes(graph, from)
}

/// Whether a value is a constant, or codes that are made of one while the model runs, as training leaves them.
fn is_stored(graph: &Graph, value: ValueId) -> bool {
    let maker =
        || graph.producer(value).map(|(node, _)| node).filter(|&n| graph.node(n).is("QuantizeLinear"));
    graph.constant(value).is_some()
        || maker().is_some_and(|node| graph.node_input(node, 0).is_some_and(|v| graph.constant(v).is_some()))
}

/// How many layers the bodies of a node have, and the bodies in them.
pub(super) fn layers_in_bodies(node: &Node) -> usize {
    let within = |body: &Graph| -> usize {
        let one = |id: NodeId| {
            let node = body.node(id);
            usize::from(LAYERS.iter().any(|op| node.is(op))) + layers_in_bodies(node)
        };
        body.nodes().map(one).sum()
    };
    node.attrs.graphs().map(within).sum()
}
