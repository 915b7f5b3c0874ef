//! A part of a model as a model of its own.

use crate::ir::{DType, Dim, Graph, IrError, Model, NodeId, ValueId, ValueType};

/// Some nodes of the main graph alone, which make one output. What they read of others becomes an input, with an element
/// type and dims. Ids stay.
///
/// # Errors
/// Where they read something else too.
pub fn excerpt(
    model: &Model,
    nodes: &[NodeId],
    inputs: &[(ValueId, DType, Vec<u64>)],
    output: ValueId,
) -> Result<Model, IrError> {
    let mut part = Model { functions: Vec::new(), ..model.clone() };
    part.meta.training.clear();
    let graph = &mut part.graph;
    graph.annotations.clear();
    let others: Vec<NodeId> = graph.nodes().filter(|node| !nodes.contains(node)).collect();
    others.into_iter().for_each(|node| drop(graph.remove_node(node)));
    for (value, dtype, dims) in inputs {
        graph.edit_value(*value, |v| {
            v.ty = ValueType::tensor(*dtype, dims.iter().map(|&d| Dim::Known(d)));
            (v.data, v.sparse, v.declared) = (None, None, true);
        });
    }
    graph.set_inputs(inputs.iter().map(|(value, ..)| *value).collect());
    graph.set_outputs(vec![output]);
    let idle = |graph: &Graph, v: ValueId| graph.use_count(v) == 0 && v != output;
    let idle: Vec<ValueId> = graph.values().filter(|&v| idle(graph, v)).collect();
    idle.into_iter().for_each(|value| drop(graph.remove_value(value)));
    part.check()?;
    Ok(part)
}
