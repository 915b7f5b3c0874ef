//! Every tensor of a protobuf graph.

use crate::onnx::error::OnnxError;
use crate::onnx::proto::{FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto};

/// Where a tensor stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    /// An initializer of a graph or body.
    Initializer,
    /// In an attribute of a node, or part of a sparse tensor.
    Elsewhere,
}

/// What to do with each tensor.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&mut TensorProto, Stand) -> Result<(), OnnxError>;

/// Visits the tensors of a model, its functions included.
pub(crate) fn model(model: &mut ModelProto, visit: Visit<'_>) -> Result<(), OnnxError> {
    if let Some(graph) = &mut model.graph {
        tensors(graph, visit)?;
    }
    model.functions.iter_mut().try_for_each(|f| function(f, visit))
}

/// Visits the tensors of a graph and of its bodies, in file order.
pub(crate) fn tensors(graph: &mut GraphProto, visit: Visit<'_>) -> Result<(), OnnxError> {
    for tensor in &mut graph.initializer {
        visit(tensor, Stand::Initializer)?;
    }
    for sparse in &mut graph.sparse_initializer {
        for tensor in [&mut sparse.values, &mut sparse.indices].into_iter().flatten() {
            visit(tensor, Stand::Elsewhere)?;
        }
    }
    nodes(&mut graph.node, visit)
}

/// Visits the tensors of a function.
fn function(function: &mut FunctionProto, visit: Visit<'_>) -> Result<(), OnnxError> {
    nodes(&mut function.node, visit)
}

fn nodes(nodes: &mut [NodeProto], visit: Visit<'_>) -> Result<(), OnnxError> {
    for attr in nodes.iter_mut().flat_map(|n| &mut n.attribute) {
        for tensor in attr.t.iter_mut().chain(&mut attr.tensors) {
            visit(tensor, Stand::Elsewhere)?;
        }
        for sparse in attr.sparse_tensor.iter_mut().chain(&mut attr.sparse_tensors) {
            for tensor in [&mut sparse.values, &mut sparse.indices].into_iter().flatten() {
                visit(tensor, Stand::Elsewhere)?;
            }
        }
        for graph in attr.g.iter_mut().chain(&mut attr.graphs) {
            tensors(graph, visit)?;
        }
    }
    Ok(())
}
