//! The model, its header and its functions.

use super::PrintOptions;
use super::names;
use super::print_attribute::attribute_text;
use super::print_graph::{graph_text, nodes_text, operands_text, section};
use super::print_tensor::entries_text;
use super::print_type::value_text;
use crate::onnx::proto::{FunctionProto, GraphProto, ModelProto, OperatorSetIdProto};

pub(super) fn print(model: &ModelProto, options: &PrintOptions) -> String {
    let mut out = section(&header(model), 0);
    let empty = GraphProto::default();
    out.push_str(&graph_text(model.graph.as_ref().unwrap_or(&empty), options, 0));
    out.push('\n');
    for function in &model.functions {
        out.push_str(&function_text(function, options));
    }
    out
}

fn header(model: &ModelProto) -> Vec<String> {
    let mut properties = Vec::new();
    properties.extend(model.ir_version.map(|version| format!("ir_version: {version}")));
    if !model.opset_import.is_empty() {
        properties.push(opsets_text(&model.opset_import));
    }
    properties.extend(property("producer_name", model.producer_name.as_deref()));
    properties.extend(property("producer_version", model.producer_version.as_deref()));
    properties.extend(property("domain", model.domain.as_deref()));
    properties.extend(model.model_version.map(|version| format!("model_version: {version}")));
    properties.extend(property("doc_string", model.doc_string.as_deref()));
    if !model.metadata_props.is_empty() {
        properties.push(format!("metadata_props: {}", entries_text(&model.metadata_props)));
    }
    properties
}

fn property(key: &str, value: Option<&str>) -> Option<String> {
    value.filter(|value| !value.is_empty()).map(|value| format!("{key}: {}", names::quoted(value)))
}

fn opsets_text(opsets: &[OperatorSetIdProto]) -> String {
    let opsets: Vec<String> = opsets
        .iter()
        .map(|opset| {
            let domain = names::quoted(opset.domain.as_deref().unwrap_or_default());
            format!("{domain} : {}", opset.version.unwrap_or_default())
        })
        .collect();
    format!("opset_import: [{}]", opsets.join(", "))
}

fn function_text(function: &FunctionProto, options: &PrintOptions) -> String {
    let mut properties = Vec::new();
    properties.extend(property("domain", function.domain.as_deref()));
    properties.extend(property("overload", function.overload.as_deref()));
    if !function.opset_import.is_empty() {
        properties.push(opsets_text(&function.opset_import));
    }
    properties.extend(property("doc_string", function.doc_string.as_deref()));

    let mut attributes: Vec<String> =
        function.attribute.iter().map(|name| names::id_or_quoted(name)).collect();
    attributes.extend(function.attribute_proto.iter().filter_map(|a| attribute_text(a, options, 2)));
    let attributes =
        if attributes.is_empty() { String::new() } else { format!(" <{}>", attributes.join(", ")) };

    let name = names::id_or_quoted(function.name.as_deref().unwrap_or_default());
    let (inputs, outputs) = (operands_text(&function.input), operands_text(&function.output));
    let values: Vec<String> = function.value_info.iter().map(value_text).collect();
    format!(
        "{}{name}{attributes} ({inputs}) => ({outputs})\n{}{}\n",
        section(&properties, 0),
        section(&values, 0),
        nodes_text(&function.node, options, 0)
    )
}
