//! Element types, dims and constants that follow from one node to the next, as far as changes of form need them.
//!
//! Files seldom declare the types of inner values, and some forms depend on an element type or a rank.

use std::collections::HashMap;

use crate::ir::{Attrs, DType, Graph, IrError, NodeId, TensorData, ValueId};
use crate::schema::{self, NEWEST_OPSET};

use super::dims::output_dims;
use super::draft::Fact;

/// What is known of the values of one graph.
#[derive(Debug, Default)]
pub(crate) struct Facts(HashMap<ValueId, Fact>);

impl Facts {
    /// What is known of the values of a graph whose nodes are in their newest forms. `captured`: what is known of the
    /// values that a body captures.
    pub(crate) fn of_graph(graph: &Graph, captured: &Captured) -> Result<Self, IrError> {
        let mut facts = Self::of_body(graph, captured);
        for id in graph.order()? {
            let opset = graph.node(id).opaque.unwrap_or(NEWEST_OPSET);
            facts.follow(graph, id, opset);
        }
        Ok(facts)
    }

    /// What is known of a value: what the graph says, and where it says less, what followed.
    pub(super) fn get(&self, graph: &Graph, id: ValueId) -> Fact {
        let mut fact = Fact::of_value(graph, id);
        if let Some(found) = self.0.get(&id) {
            fact.dtype = fact.dtype.or(found.dtype);
            fact.data = fact.data.or_else(|| found.data.clone());
            match (&mut fact.dims, &found.dims) {
                (Some(dims), Some(found)) if dims.len() == found.len() => {
                    dims.iter_mut().zip(found).for_each(|(dim, found)| *dim = dim.or(*found));
                }
                (Some(_), _) => {}
                (dims @ None, found) => dims.clone_from(found),
            }
        }
        fact
    }

    /// What the bodies of a node learn of the values that they capture.
    pub(crate) fn for_bodies(&self, graph: &Graph, id: NodeId) -> Captured {
        if graph.node(id).attrs.graphs().next().is_none() {
            return Captured::default();
        }
        let captures = graph.captures(id).into_iter();
        Captured(captures.map(|v| (graph.value(v).name.clone(), self.get(graph, v))).collect())
    }

    /// The facts at the start of a body.
    pub(super) fn of_body(body: &Graph, outer: &Captured) -> Self {
        let captured = body.captured_values();
        Self(captured.filter_map(|v| Some((v, outer.0.get(&body.value(v).name)?.clone()))).collect())
    }

    /// Notes what follows for the outputs of a node in the form that `opset` defines.
    pub(super) fn follow(&mut self, graph: &Graph, id: NodeId, opset: i64) {
        let node = graph.node(id);
        if !node.op.domain.is_empty() {
            return;
        }
        if let Some(data) = constant(&node.op.name, &node.attrs) {
            if let Some(value) = graph.node_output(id, 0) {
                self.0.insert(value, Fact::of_data(&data));
            }
            return;
        }
        let Some(schema) = schema::lookup("", &node.op.name, opset) else { return };
        let inputs: Vec<_> =
            graph.node_inputs(id).iter().map(|v| v.map(|v| self.get(graph, v)).unwrap_or_default()).collect();
        let dtypes: Vec<_> = inputs.iter().map(|f| f.dtype.map(DType::code)).collect();
        let dims = output_dims(&node.op.name, &node.attrs, &inputs);
        for (slot, value) in graph.node_outputs(id).iter().enumerate() {
            let Some(value) = *value else { continue };
            let dtype = output_dtype(&node.op.name, &node.attrs)
                .or_else(|| schema.output_dtype(slot, &dtypes).and_then(DType::from_code));
            let alike = slot == 0 || matches!(&*node.op.name, "Dropout" | "MaxPool" | "Split" | "TopK");
            let dims = dims.clone().filter(|_| alike);
            if dtype.is_some() || dims.is_some() {
                self.0.insert(value, Fact { dtype, dims, data: None });
            }
        }
    }
}

/// What is known of the values that the bodies of a node capture, by name.
#[derive(Debug, Default)]
pub(crate) struct Captured(HashMap<String, Fact>);

/// The elements that a `Constant` node holds.
fn constant(op: &str, attrs: &Attrs) -> Option<TensorData> {
    if op != "Constant" {
        return None;
    }
    (attrs.tensor("value").cloned())
        .or_else(|| attrs.ints("value_ints").map(TensorData::vector))
        .or_else(|| attrs.floats("value_floats").map(TensorData::vector))
        .or_else(|| attrs.int("value_int").map(TensorData::scalar))
        .or_else(|| attrs.float("value_float").map(TensorData::scalar))
}

/// The element type, where an attribute decides it.
fn output_dtype(op: &str, attrs: &Attrs) -> Option<DType> {
    match op {
        "Cast" => DType::from_code(i32::try_from(attrs.int("to")?).ok()?),
        "ConstantOfShape" => Some(attrs.tensor("value").map_or(DType::Float, TensorData::dtype)),
        _ => None,
    }
}
