//! Graphs, bodies, and the bodies of functions.

use std::collections::HashSet;

use super::form::{Argument, Form, Target, form_of};
use super::{attr, carried, entries, tensor, types};
use crate::ir::{
    Attr, AttrValue, Graph, ListedConstants, Node, NodeExtra, NodeId, Origin, QuantAnnotation, TensorData,
    Value, ValueId, ValueType,
};
use crate::onnx::dialect::{Facts, facts_for};
use crate::onnx::error::OnnxError;
use crate::onnx::proto::{
    FunctionProto, GraphProto, NodeProto, TensorAnnotation, TensorProto, ValueInfoProto,
};

/// The graph of the model.
pub(super) fn main(graph: &Graph, ir_version: i64, target: Target<'_>) -> Result<GraphProto, OnnxError> {
    write(graph, ir_version < 4, true, target)
}

/// The body of a node.
pub(super) fn body(graph: &Graph, target: Target<'_>) -> Result<GraphProto, OnnxError> {
    write(graph, false, target.body_initializers, target)
}

fn write(
    graph: &Graph,
    lists_constants: bool,
    has_initializers: bool,
    target: Target<'_>,
) -> Result<GraphProto, OnnxError> {
    let forms = forms(graph, target)?;
    let constants = Constants::of(graph, &forms.nodes);
    let is_listed = |id: &ValueId| lists_constants && graph.is_listed(*id);
    let listed: Vec<_> = constants.all().filter(is_listed).filter(|&v| !graph.is_input(v)).collect();
    let inputs = merged(graph.inputs(), &listed);
    let declared: HashSet<_> = inputs.iter().chain(graph.outputs()).copied().collect();
    let info = |id: &ValueId| types::value_info(graph.value(*id));
    let mut input: Vec<_> = inputs.iter().map(info).collect();
    let (mut initializer, mut sparse_initializer) = (Vec::new(), Vec::new());
    let mut node = nodes(graph, &forms, target)?;
    if has_initializers {
        for value in constants.all().map(|id| graph.value(id)) {
            if let Some(data) = &value.data {
                initializer.push(TensorProto { name: Some(value.name.clone()), ..tensor::tensor(data) });
            } else if let Some(data) = &value.sparse {
                sparse_initializer.push(tensor::sparse(data, Some(&value.name)));
            }
        }
        for (name, data) in forms.nodes.iter().flat_map(|(_, form)| form.made()) {
            initializer.push(TensorProto { name: Some(name.to_owned()), ..tensor::tensor(data) });
            if lists_constants && graph.listed == ListedConstants::All {
                input.push(types::value_info(&made(name, data)));
            }
        }
    } else {
        node = with_constants(graph, &constants, &forms, node, target);
    }
    Ok(GraphProto {
        node,
        name: Some(graph.name.clone()),
        initializer,
        sparse_initializer,
        doc_string: graph.doc.clone(),
        input,
        output: graph.outputs().iter().map(info).collect(),
        value_info: infos(graph, &forms, &constants, &declared),
        quantization_annotation: graph.annotations.iter().map(annotation).collect(),
        metadata_props: entries(&graph.metadata),
    })
}

/// Fills in what the graph of a function holds.
pub(super) fn function_body(
    graph: &Graph,
    proto: &mut FunctionProto,
    target: Target<'_>,
) -> Result<(), OnnxError> {
    let name = |id: &ValueId| graph.value(*id).name.clone();
    proto.input = graph.inputs().iter().map(name).collect();
    proto.output = graph.outputs().iter().map(name).collect();
    let forms = forms(graph, target)?;
    let constants = Constants::of(graph, &forms.nodes);
    proto.node = with_constants(graph, &constants, &forms, nodes(graph, &forms, target)?, target);
    proto.value_info = infos(graph, &forms, &constants, &HashSet::new());
    Ok(())
}

/// The operators, after what a pass made constant: as operators too, where there can be no initializers.
fn with_constants(
    graph: &Graph,
    constants: &Constants,
    forms: &Forms<'_>,
    nodes: Vec<NodeProto>,
    target: Target<'_>,
) -> Vec<NodeProto> {
    let made = forms.nodes.iter().flat_map(|(_, form)| form.made()).map(|(name, data)| made(name, data));
    let made: Vec<_> = made.filter_map(|value| constant_node(&value, target)).collect();
    let constants = constants.all().filter_map(|id| constant_node(graph.value(id), target));
    constants.chain(made).chain(nodes).collect()
}

/// The forms of all nodes, in order.
struct Forms<'a> {
    nodes: Vec<(NodeId, Form<'a>)>,
    /// What lowering knows of the values.
    facts: Facts,
}

fn forms<'a>(graph: &'a Graph, target: Target<'_>) -> Result<Forms<'a>, OnnxError> {
    let facts = facts_for(graph, target.captured, target.opset)?;
    let form = |id| Ok((id, form_of(graph, id, &facts, target)?));
    let nodes = graph.order()?.into_iter().map(form).collect::<Result<_, OnnxError>>()?;
    Ok(Forms { nodes, facts })
}

/// A constant that only the file has, as a value.
fn made(name: &str, data: &TensorData) -> Value {
    Value { ty: ValueType::of(data), data: Some(data.clone()), ..Value::named(name) }
}

/// The initializers that are written, in order of creation.
struct Constants(Vec<ValueId>);

impl Constants {
    fn of(graph: &Graph, forms: &[(NodeId, Form<'_>)]) -> Self {
        let mut read: HashSet<ValueId> = graph.outputs().iter().copied().collect();
        for (id, form) in forms {
            read.extend(form.reads());
            read.extend(graph.captures(*id));
        }
        // A constant that is an attribute in every form that needs it. One that nothing needs was unused in the file.
        let is_said_otherwise = |id| {
            !read.contains(&id) && graph.use_count(id) > 0 && !graph.is_input(id) && !graph.is_pinned(id)
        };
        let is_written = |&id: &ValueId| {
            let value = graph.value(id);
            (value.data.is_some() || value.sparse.is_some())
                && match value.origin {
                    Origin::Local => graph.producer(id).is_none() && !is_said_otherwise(id),
                    Origin::Captured => false,
                    Origin::Synthetic => read.contains(&id),
                }
        };
        Self(graph.values().filter(is_written).collect())
    }

    fn all(&self) -> impl Iterator<Item = ValueId> {
        self.0.iter().copied()
    }
}

/// The inputs in their order, and each listed constant where it was created: between them, in an untouched graph.
fn merged(inputs: &[ValueId], listed: &[ValueId]) -> Vec<ValueId> {
    let mut all = Vec::with_capacity(inputs.len() + listed.len());
    let mut rest = listed.iter().copied().peekable();
    for &input in inputs {
        while let Some(constant) = rest.next_if(|&c| c < input) {
            all.push(constant);
        }
        all.push(input);
    }
    all.extend(rest);
    all
}

/// Declarations of values that are neither inputs nor outputs, in the order in which reading the file meets the values.
fn infos(
    graph: &Graph,
    forms: &Forms<'_>,
    constants: &Constants,
    elsewhere: &HashSet<ValueId>,
) -> Vec<ValueInfoProto> {
    let is_declared = |id: &ValueId| graph.value(*id).declared && !elsewhere.contains(id);
    let written: HashSet<ValueId> = constants.all().collect();
    // Not so a constant that is an attribute in what is written.
    let is_constant = |value: &Value| value.origin != Origin::Captured && value.data.is_some();
    let is_written = |&id: &ValueId| !is_constant(graph.value(id)) || written.contains(&id);
    let given = graph.values().filter(|&id| graph.producer(id).is_none()).filter(is_written);
    let made = forms.nodes.iter().flat_map(|&(id, _)| graph.node_outputs(id).into_iter().flatten());
    given.chain(made).filter(is_declared).map(|id| types::value_info(graph.value(id))).collect()
}

fn nodes(graph: &Graph, forms: &Forms<'_>, target: Target<'_>) -> Result<Vec<NodeProto>, OnnxError> {
    let written = |(id, form): &(NodeId, Form<'_>)| {
        let captured = forms.facts.for_bodies(graph, *id);
        node(graph, graph.node(*id), form, Target { captured: &captured, ..target })
    };
    forms.nodes.iter().map(written).collect()
}

fn node(graph: &Graph, node: &Node, form: &Form<'_>, target: Target<'_>) -> Result<NodeProto, OnnxError> {
    let name = |id: ValueId| graph.value(id).name.clone();
    let argument = |input: &Argument| match input {
        Argument::Absent => String::new(),
        Argument::Value(id) => name(*id),
        Argument::Made(name, _) => name.clone(),
    };
    let attrs = form.attrs.iter().map(|a| attr::attribute(a, attr::current(a, &node.attrs), target));
    let none = NodeExtra::default();
    let extra = node.extra.as_deref().unwrap_or(&none);
    Ok(NodeProto {
        input: form.inputs.iter().map(argument).collect(),
        output: form.outputs.iter().map(|id| id.map_or_else(String::new, name)).collect(),
        name: Some(node.name.clone()).filter(|n| !n.is_empty()),
        op_type: Some(form.op.name.to_string()),
        domain: Some(form.op.domain.to_string()).filter(|d| !d.is_empty()),
        overload: extra.overload.clone(),
        attribute: attrs.collect::<Result<_, _>>()?,
        doc_string: extra.doc.clone(),
        metadata_props: entries(&extra.metadata),
        device_configurations: carried(&extra.device)?,
    })
}

fn constant_node(value: &Value, target: Target<'_>) -> Option<NodeProto> {
    let (name, content) = match (&value.data, &value.sparse) {
        (Some(data), _) => ("value", AttrValue::Tensor(data.clone())),
        (None, Some(sparse)) => ("sparse_value", AttrValue::SparseTensor(Box::new((**sparse).clone()))),
        (None, None) => return None,
    };
    let attr = Attr { name: name.to_owned(), value: content, doc: None };
    Some(NodeProto {
        output: vec![value.name.clone()],
        op_type: Some("Constant".to_owned()),
        attribute: vec![attr::attribute(&attr, None, target).ok()?],
        ..NodeProto::default()
    })
}

fn annotation(annotation: &QuantAnnotation) -> TensorAnnotation {
    TensorAnnotation {
        tensor_name: annotation.tensor.clone(),
        quant_parameter_tensor_names: entries(&annotation.params),
    }
}
