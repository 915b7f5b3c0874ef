//! A part of a model as a model of its own.

use std::collections::BTreeSet;

use crate::ir::{Graph, IrError, Model, NodeId, ValueId, ValueType};

/// Some nodes of the main graph alone. What they read of others becomes an input, with its type. Ids stay.
///
/// # Errors
/// Where they read something else too.
pub fn excerpt(
    model: &Model,
    nodes: &BTreeSet<NodeId>,
    inputs: &[(ValueId, ValueType)],
    outputs: &[ValueId],
) -> Result<Model, IrError> {
    let mut part = model.clone();
    part.meta.training.clear();
    let graph = &mut part.graph;
    graph.annotations.clear();
    let others: Vec<NodeId> = graph.nodes().filter(|node| !nodes.contains(node)).collect();
    others.into_iter().for_each(|node| drop(graph.remove_node(node)));
    for (value, ty) in inputs {
        graph.edit_value(*value, |v| {
            v.ty = ty.clone();
            (v.data, v.sparse, v.declared) = (None, None, true);
        });
    }
    graph.set_inputs(inputs.iter().map(|(value, _)| *value).collect());
    graph.set_outputs(outputs.to_vec());
    let idle =
        |graph: &Graph, v: ValueId| graph.use_count(v) == 0 && !graph.is_pinned(v) && !graph.is_input(v);
    let idle: Vec<ValueId> = graph.values().filter(|&v| idle(graph, v)).collect();
    idle.into_iter().for_each(|value| drop(graph.remove_value(value)));
    part.check()?;
    Ok(part)
}
