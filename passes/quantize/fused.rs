//! Operators that onnxruntime computes on codes wherever they stand between quantized values, whether a plan wants that
//! or not.

use std::collections::{BTreeMap, BTreeSet};

use crate::prelude::*;

use super::layer::LAYERS;
use super::plan::{Point, has_float_reader};

/// Those that it replaces by a kernel on codes where every activation comes from `DequantizeLinear`, and every reader is
/// `QuantizeLinear`. (Operators that only move elements are replaced where scales are single numbers.)
const FUSED: &[&str] =
    &["Add", "AveragePool", "Concat", "GlobalAveragePool", "LeakyRelu", "Mul", "Sigmoid", "Softmax", "Where"];

/// Values that such operators read and make, and those that layers read which stay float (their weights it quantizes by
/// itself): the kernels have one scale for all channels, and a model with more of them does not load. Some operators need not be
/// minded.
pub(super) fn one_scale(
    graph: &Graph,
    points: &BTreeMap<ValueId, Point>,
    layers: &BTreeSet<NodeId>,
    but: &BTreeSet<NodeId>,
) -> BTreeSet<ValueId> {
    let mut found = BTreeSet::new();
    for id in graph.nodes().filter(|id| !but.contains(id)) {
        let node = graph.node(id);
        let skipped = usize::from(node.is("Where"));
        let read: Vec<ValueId> = graph.node_inputs(id).into_iter().skip(skipped).flatten().collect();
        let dequantized = |v: &ValueId| points.get(v).is_some_and(|point| point.from_layer);
        if FUSED.iter().any(|op| node.is(op)) && read.iter().all(dequantized) {
            let result = graph.node_output(id, 0);
            let quantized = |v: &ValueId| points.get(v).is_some_and(|p| !has_float_reader(graph, *v, p));
            if let Some(result) = result.filter(quantized) {
                found.extend(read);
                found.insert(result);
            }
        } else if LAYERS.iter().any(|op| node.is(op)) && !layers.contains(&id) {
            found.extend(read.into_iter().filter(dequantized));
        }
    }
    found
}
