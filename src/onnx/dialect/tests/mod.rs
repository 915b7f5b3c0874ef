//! Tests over single nodes, written as text: `Op{attributes}(inputs)`, where an input is a letter (a value), `-` (absent)
//! or the dtype and elements of a constant.

mod later;
mod models;
mod steps;
mod written;

use super::*;
use crate::ir::{
    AttrValue, Attrs, DType, Dim, Graph, Model, Node, NodeId, OpName, TensorData, Value, ValueType,
};

/// An input of a test node.
pub(super) enum In {
    /// A value of this type.
    Of(DType, &'static [u64]),
    /// A value of which nothing is known.
    Unknown,
    /// A constant.
    Const(TensorData),
    /// Nothing.
    None,
}

pub(super) fn dims(dims: &[u64]) -> impl Iterator<Item = Dim> {
    dims.iter().map(|&d| Dim::Known(d))
}

pub(super) fn model_of(graph: Graph, opset: i64) -> Model {
    let opsets = vec![OpsetId { domain: String::new(), version: opset }];
    Model { graph, opsets, functions: Vec::new(), meta: crate::ir::ModelMeta::default() }
}

/// A model of one node with the given number of outputs, all of them outputs of the graph.
pub(super) fn one_node(opset: i64, op: &str, attrs: Attrs, inputs: Vec<In>, outputs: usize) -> Model {
    let mut graph = Graph::named("g");
    let mut slots = Vec::new();
    for (name, input) in ('a'..).zip(inputs) {
        let mut value = Value::named(name.to_string());
        match input {
            In::Of(dtype, shape) => value.ty = ValueType::tensor(dtype, dims(shape)),
            In::Unknown => {}
            In::Const(data) => {
                value.ty = ValueType::of(&data);
                value.data = Some(data);
            }
            In::None => {
                slots.push(None);
                continue;
            }
        }
        slots.push(Some(graph.add_value(value).unwrap()));
    }
    let free = slots.iter().flatten().copied().filter(|&v| graph.value(v).data.is_none()).collect();
    graph.set_inputs(free);
    let outs: Vec<_> =
        (0..outputs).map(|i| graph.add_value(Value::named(format!("y{i}"))).unwrap()).collect();
    let node = Node::new(OpName::onnx(op), "n", attrs);
    let filled: Vec<_> = outs.iter().copied().map(Some).collect();
    graph.add_node(node, &slots, &filled).unwrap();
    graph.set_outputs(outs);
    model_of(graph, opset)
}

pub(super) fn only_node(graph: &Graph) -> NodeId {
    graph.nodes().next().unwrap()
}

fn attr_text(value: &AttrValue) -> String {
    match value {
        AttrValue::Int(x) => x.to_string(),
        AttrValue::Float(x) => format!("{x:?}"),
        AttrValue::String(x) => String::from_utf8_lossy(x).into_owned(),
        AttrValue::Ints(x) => format!("{x:?}"),
        AttrValue::Floats(x) => format!("{x:?}"),
        AttrValue::Tensor(x) => data_text(x),
        other => format!("{:?}", other.kind()),
    }
}

fn data_text(data: &TensorData) -> String {
    let items = match (data.to_i64s(), data.to_f64s()) {
        (Some(ints), _) => format!("{ints:?}"),
        (None, Some(floats)) => format!("{floats:?}"),
        _ => "?".to_owned(),
    };
    if data.rank() == 0 { format!("{}:{items}.", data.dtype()) } else { format!("{}:{items}", data.dtype()) }
}

fn text(op: &OpName, attrs: &Attrs, inputs: &[String]) -> String {
    let mut attrs: Vec<_> = attrs.iter().map(|a| format!("{}={}", a.name, attr_text(&a.value))).collect();
    attrs.sort();
    format!("{op}{{{}}}({})", attrs.join(","), inputs.join(", "))
}

fn value_text(graph: &Graph, id: Option<crate::ir::ValueId>) -> String {
    let Some(id) = id else { return "-".to_owned() };
    let value = graph.value(id);
    value.data.as_ref().map_or_else(|| value.name.clone(), data_text)
}

/// The node in the form that the graph holds.
pub(super) fn node_text(graph: &Graph, id: NodeId) -> String {
    let node = graph.node(id);
    let mut inputs: Vec<_> = graph.node_inputs(id).iter().map(|&v| value_text(graph, v)).collect();
    while inputs.last().is_some_and(|i| i == "-") {
        inputs.pop();
    }
    text(&node.op, &node.attrs, &inputs)
}

/// The node in the form that is written at an opset, or why there is none.
pub(super) fn written_text(graph: &Graph, id: NodeId, opset: i64) -> Result<String, Unsayable> {
    let facts = facts_for(graph, &Captured::default(), opset).unwrap();
    let form = form_of(graph, id, &facts, opset).map_err(|e| *e)?;
    let slots = graph.node_inputs(id);
    let input = |input: &FormInput| match input {
        FormInput::Absent => "-".to_owned(),
        FormInput::Slot(slot) => value_text(graph, slots[usize::from(*slot)]),
        FormInput::New(_, data) => data_text(data),
    };
    let inputs: Vec<_> = form.inputs.iter().map(input).collect();
    Ok(text(&form.op, &form.attrs, &inputs))
}
