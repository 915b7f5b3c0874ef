//! Element types and ranks that follow from one node to the next, as far as upgrades need them.
//!
//! Files of old opsets seldom declare the types of inner values, and some upgrades depend on an element type or a rank.

use std::collections::HashMap;

use crate::ir::{Attrs, DType, Graph, NodeId, ValueId};
use crate::schema;

use super::draft::Fact;

/// What is known of the values of one graph.
#[derive(Debug, Default)]
pub(super) struct Facts(HashMap<ValueId, Fact>);

impl Facts {
    /// What is known of a value: what the graph says, and where it says less, what followed.
    pub(super) fn get(&self, graph: &Graph, id: ValueId) -> Fact {
        let mut fact = Fact::of_value(graph, id);
        if let Some(found) = self.0.get(&id) {
            fact.dtype = fact.dtype.or(found.dtype);
            if fact.dims.is_none() {
                fact.dims.clone_from(&found.dims);
            }
        }
        fact
    }

    /// What the bodies of a node learn of the values that they capture, by name.
    pub(super) fn for_bodies(&self, graph: &Graph, id: NodeId) -> HashMap<String, Fact> {
        if graph.node(id).attrs.graphs().next().is_none() {
            return HashMap::new();
        }
        let captures = graph.captures(id).into_iter();
        captures.map(|v| (graph.value(v).name.clone(), self.get(graph, v))).collect()
    }

    /// The facts at the start of a body.
    pub(super) fn of_body(body: &Graph, outer: &HashMap<String, Fact>) -> Self {
        let captured = body.captured_values();
        Self(captured.filter_map(|v| Some((v, outer.get(&body.value(v).name)?.clone()))).collect())
    }

    /// Notes what follows for the outputs of a node in the form that `opset` defines.
    pub(super) fn follow(&mut self, graph: &Graph, id: NodeId, opset: i64) {
        let node = graph.node(id);
        let Some(schema) = schema::lookup(&node.op.domain, &node.op.name, opset) else { return };
        let wanting = |v: ValueId| {
            let ty = &graph.value(v).ty;
            ty.dtype().is_none() || ty.rank().is_none()
        };
        let outputs = graph.node_outputs(id);
        if !outputs.iter().flatten().any(|&v| wanting(v)) {
            return;
        }
        let inputs: Vec<_> =
            graph.node_inputs(id).iter().map(|v| v.map(|v| self.get(graph, v)).unwrap_or_default()).collect();
        let dtypes: Vec<_> = inputs.iter().map(|f| f.dtype.map(DType::code)).collect();
        let rank = output_rank(&node.op.name, &node.attrs, &inputs);
        for (slot, value) in outputs.iter().enumerate() {
            let Some(value) = value.filter(|&v| wanting(v)) else { continue };
            let dtype = output_dtype(&node.op.name, &node.attrs)
                .or_else(|| schema.output_dtype(slot, &dtypes).and_then(DType::from_code));
            let dims = rank.map(|r| vec![None; r]);
            if dtype.is_some() || dims.is_some() {
                self.0.insert(value, Fact { dtype, dims, data: None });
            }
        }
    }
}

/// The element type, where an attribute decides it.
fn output_dtype(op: &str, attrs: &Attrs) -> Option<DType> {
    match op {
        "Cast" => DType::from_code(i32::try_from(attrs.int("to")?).ok()?),
        "Constant" => attrs.tensor("value").map(crate::ir::TensorData::dtype),
        "ConstantOfShape" => Some(attrs.tensor("value").map_or(DType::Float, crate::ir::TensorData::dtype)),
        _ => None,
    }
}

/// The rank of every output.
fn output_rank(op: &str, attrs: &Attrs, inputs: &[Fact]) -> Option<usize> {
    let rank = |slot: usize| inputs.get(slot).and_then(Fact::rank);
    match op {
        "Flatten" | "Gemm" => Some(2),
        "Shape" | "Range" => Some(1),
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Sum" | "Max" | "Min" | "Mean" | "Where" | "Equal"
        | "Greater" | "Less" | "And" | "Or" => {
            let ranks: Option<Vec<_>> = inputs.iter().map(Fact::rank).collect();
            ranks?.into_iter().max()
        }
        "MatMul" => rank(0).zip(rank(1)).filter(|&(a, b)| a >= 2 && b >= 2).map(|(a, b)| a.max(b)),
        "Constant" => attrs.tensor("value").map(crate::ir::TensorData::rank),
        "Reshape" => match attrs.ints("shape") {
            Some(shape) => Some(shape.len()),
            None => inputs.get(1)?.data.as_ref().map(crate::ir::TensorData::len),
        },
        "Unsqueeze" | "Squeeze" => {
            let axes = match attrs.ints("axes") {
                Some(axes) => axes.len(),
                None => inputs.get(1)?.data.as_ref()?.len(),
            };
            if op == "Squeeze" { rank(0)?.checked_sub(axes) } else { rank(0)?.checked_add(axes) }
        }
        _ if op.starts_with("Reduce") => rank(0).filter(|_| attrs.int("keepdims").unwrap_or(1) != 0),
        "Abs"
        | "AveragePool"
        | "BatchNormalization"
        | "Cast"
        | "Ceil"
        | "Clip"
        | "Concat"
        | "Conv"
        | "ConvTranspose"
        | "Dropout"
        | "Elu"
        | "Erf"
        | "Exp"
        | "Floor"
        | "GlobalAveragePool"
        | "GlobalMaxPool"
        | "HardSigmoid"
        | "Hardmax"
        | "Identity"
        | "InstanceNormalization"
        | "LRN"
        | "LeakyRelu"
        | "Log"
        | "LogSoftmax"
        | "MaxPool"
        | "Neg"
        | "PRelu"
        | "Pad"
        | "Reciprocal"
        | "Relu"
        | "Resize"
        | "Selu"
        | "Sigmoid"
        | "Slice"
        | "Softmax"
        | "Softplus"
        | "Split"
        | "Sqrt"
        | "Tanh"
        | "Tile"
        | "TopK"
        | "Transpose"
        | "Upsample" => rank(0),
        _ => None,
    }
}
