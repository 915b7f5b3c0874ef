//! Which layers can be taken apart.

use std::collections::BTreeSet;

use crate::prelude::*;

use super::coded::{CODED, IN_BODY, is_coded, layers_in_bodies};
use super::layers::{Layer, layers};

const LAYERS: &[&str] = &["Conv", "Gemm", "MatMul"];

/// The layers of a graph that may be taken apart. Of the others, the reason.
pub(super) fn divisible(
    scope: &Scope<'_>,
    cx: &PassContext<'_>,
    summary: &mut Summary,
) -> anyhow::Result<Vec<Layer>> {
    let graph = &*scope.graph;
    let mut found = layers(graph)?;
    let known: BTreeSet<NodeId> = found.iter().map(|layer| layer.node).collect();
    found.retain(|layer| match stays(graph, cx, layer) {
        Err(skip) => {
            leave(summary, graph, layer.node, &skip.0);
            false
        }
        Ok(()) => true,
    });
    for id in graph.order()? {
        if let Some(why) = why_not(graph, id).filter(|_| !known.contains(&id)) {
            leave(summary, graph, id, why);
        }
        (0..layers_in_bodies(graph.node(id))).for_each(|_| summary.skip(IN_BODY));
    }
    Ok(found)
}

/// A layer that stays as it is: its entry in the report, and the count of its reason.
pub(super) fn leave(summary: &mut Summary, graph: &Graph, node: NodeId, why: &str) {
    summary.skip(why);
    let note = Some(why.to_owned());
    summary.layers.push(LayerReport { form: "float".to_owned(), note, ..entry(graph, node) });
}

/// The entry of a layer in the report, with what its weight takes.
pub(super) fn entry(graph: &Graph, node: NodeId) -> LayerReport {
    let bytes = graph.constant_input(node, 1).map_or(0, TensorData::byte_len);
    let name = graph.node(node).name.clone();
    let output = graph.node_output(node, 0).map(|v| graph.value(v).name.clone());
    LayerReport {
        layer: if name.is_empty() { output.unwrap_or_default() } else { name },
        op: graph.node(node).op.to_string(),
        bytes_before: bytes,
        bytes_after: bytes,
        ..LayerReport::default()
    }
}

/// Why a layer with a constant weight stays.
fn stays(graph: &Graph, cx: &PassContext<'_>, layer: &Layer) -> Result<(), Skip> {
    let dims = graph.constant(layer.weight).map(TensorData::dims).unwrap_or_default();
    let groups = graph.node(layer.node).attrs.int("group").unwrap_or(1);
    let grouped = layer.is_conv() && groups > 1;
    Skip::unless(!grouped || dims.get(1) != Some(&1), "a depthwise convolution mixes no channels")?;
    Skip::unless(!grouped, "it is a convolution in groups")?;
    let free = graph.use_count(layer.weight) == 1 && !graph.is_pinned(layer.weight);
    Skip::unless(free, "its weight is read by something else too")?;
    Skip::unless(cx.may_change(graph, &[layer.node]), "the step does not select it")
}

/// Why a node that is no layer with a float matrix is left alone, where one could ask.
fn why_not(graph: &Graph, id: NodeId) -> Option<&'static str> {
    let node = graph.node(id);
    if is_coded(graph, id) {
        return Some(CODED);
    }
    if !LAYERS.iter().any(|op| node.is(op)) {
        return None;
    }
    let weight = graph.node_input(id, 1)?;
    if graph.constant(weight).is_none() {
        let product = node.is("MatMul") && graph.constant_input(id, 0).is_none();
        return if product { None } else { Some("its weight is not constant, or its first operand") };
    }
    Some("its weight is no matrix that plainly multiplies rows")
}
