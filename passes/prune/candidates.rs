//! Which layers may get zeros in their weights, and why others may not.

use crate::prelude::*;

use super::coded::{CODED, IN_BODY, LAYERS, is_coded, layers_in_bodies};
use super::layers::Layer;

/// Why a weight stays that is sparse.
pub(super) const SPARSE: &str = "its weight is stored sparsely already";

/// The layers whose weights may get zeros, in the order of the graph; the others are counted in the summary. `least`: how
/// many inputs a row has at least.
pub(super) fn candidates(
    scope: &Scope<'_>,
    cx: &PassContext<'_>,
    least: usize,
    summary: &mut Summary,
) -> anyhow::Result<Vec<Layer>> {
    let graph = &*scope.graph;
    let mut found = Vec::new();
    for id in graph.order()? {
        (0..layers_in_bodies(graph.node(id))).for_each(|_| summary.skip(IN_BODY));
        let layer = look(graph, id, least).and_then(|layer| {
            Skip::unless(cx.may_change(graph, &[id]), "the step does not select it")?;
            Ok(layer)
        });
        match layer {
            Ok(layer) => found.push(layer),
            Err(skip) if skip == Skip::no_concern() => {}
            Err(skip) => {
                let line = LayerReport {
                    form: "dense".to_owned(),
                    note: Some(skip.0.to_string()),
                    ..line(graph, id)
                };
                summary.layers.push(line);
                summary.skip(skip.0);
            }
        }
    }
    Ok(found)
}

/// The entry of a layer in the report.
pub(super) fn line(graph: &Graph, id: NodeId) -> LayerReport {
    let node = graph.node(id);
    let output = graph.node_output(id, 0).map(|v| graph.value(v).name.clone());
    let bytes = graph.constant_input(id, 1).map_or(0, TensorData::byte_len);
    LayerReport {
        layer: if node.name.is_empty() { output.unwrap_or_default() } else { node.name.clone() },
        op: node.op.to_string(),
        bytes_before: bytes,
        bytes_after: bytes,
        ..LayerReport::default()
    }
}

fn look(graph: &Graph, id: NodeId, least: usize) -> Result<Layer, Skip> {
    let node = graph.node(id);
    Skip::unless(!is_coded(graph, id), CODED)?;
    let known = LAYERS.iter().any(|op| node.is(op));
    let weight = graph.node_input(id, 1).filter(|_| known).ok_or_else(Skip::no_concern)?;
    Skip::unless(graph.value(weight).sparse.is_none(), SPARSE)?;
    let data = graph.constant(weight).ok_or_else(|| Skip::because("its weight is not constant"))?;
    Skip::unless(data.dtype().has_f64s(), "its weight is no float")?;
    let layer = Layer::of(graph, id).ok_or_else(|| Skip::because("the pass does not know how it sums"))?;
    let alone = graph.use_count(weight) == 1 && !graph.is_pinned(weight);
    Skip::unless(alone, "its weight is read by something else too")?;
    let (group, inputs) = (node.attrs.int("group").unwrap_or(1), data.dims()[layer.sums]);
    Skip::unless(group == 1 || inputs > 1, "it is depthwise: its few weights are all needed")?;
    let parts = u64::try_from(group).is_ok_and(|n| n > 0 && data.dims()[layer.makes.0].is_multiple_of(n));
    Skip::unless(parts, "its group does not divide the channels")?;
    let finite = data.to_f64s().is_some_and(|items| items.iter().all(|x| x.is_finite()));
    Skip::unless(finite, "its weight is not finite")?;
    Skip::unless(inputs >= least as u64, "its rows are shorter than a group of the pattern")?;
    Ok(layer)
}
