//! Graphs and their nodes.

use std::collections::HashSet;

use super::PrintOptions;
use super::names;
use super::print_attribute::{attribute_text, has_body};
use super::print_tensor::{initializer_text, sparse_initializer_text};
use super::print_type::value_text;
use crate::onnx::proto::{GraphProto, NodeProto, ValueInfoProto};

/// A list that fits this many columns stays on one line.
const WIDTH: usize = 100;

/// A graph whose first line has been indented already; the following ones are indented by `indent`.
pub(super) fn graph_text(graph: &GraphProto, options: &PrintOptions, indent: usize) -> String {
    let name = names::name(graph.name.as_deref().unwrap_or_default());
    let inputs = values_text(&graph.input);
    let outputs = values_text(&graph.output);
    let mut out = format!("{name} ({inputs}) => ({outputs})\n");
    out.push_str(&section(&entries_of(graph, options), indent));
    out.push_str(&nodes_text(&graph.node, options, indent));
    out
}

fn values_text(values: &[ValueInfoProto]) -> String {
    let values: Vec<String> = values.iter().map(value_text).collect();
    values.join(", ")
}

/// Initializers with data, then declarations. A value that was declared as an initializer is not declared again.
fn entries_of(graph: &GraphProto, options: &PrintOptions) -> Vec<String> {
    let initializers = graph.initializer.iter().map(|tensor| initializer_text(tensor, options));
    let (mut entries, mut declarations): (Vec<_>, Vec<_>) = initializers.partition(|entry| entry.has_data);
    declarations.extend(graph.sparse_initializer.iter().map(sparse_initializer_text));
    let declared: HashSet<String> = declarations.iter().map(|entry| entry.text.clone()).collect();
    entries.append(&mut declarations);
    let values = graph.value_info.iter().map(value_text).filter(|value| !declared.contains(value));
    entries.into_iter().map(|entry| entry.text).chain(values).collect()
}

/// `<` entries `>` and a line break; nothing if there are no entries.
pub(super) fn section(entries: &[String], indent: usize) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let pad = " ".repeat(indent);
    let line = entries.join(", ");
    if indent + line.len() + 2 <= WIDTH {
        return format!("{pad}<{line}>\n");
    }
    let separator = format!(",\n{pad}  ");
    format!("{pad}<\n{pad}  {}\n{pad}>\n", entries.join(&separator))
}

/// `{` nodes `}`, a node a line.
pub(super) fn nodes_text(nodes: &[NodeProto], options: &PrintOptions, indent: usize) -> String {
    let pad = " ".repeat(indent);
    let mut out = format!("{pad}{{\n");
    for node in nodes {
        out.push_str(&pad);
        out.push_str("  ");
        out.push_str(&node_text(node, options, indent + 2));
        out.push('\n');
    }
    out.push_str(&pad);
    out.push('}');
    out
}

fn node_text(node: &NodeProto, options: &PrintOptions, indent: usize) -> String {
    let label = match node.name.as_deref() {
        None | Some("") => String::new(),
        Some(name) => format!("[{}] ", names::id_or_quoted(name)),
    };
    let inputs = format!("({})", operands_text(&node.input));
    let outputs = if node.output.is_empty() { String::new() } else { operands_text(&node.output) + " " };
    let call = format!("{label}{outputs}= {}", operator_text(node));
    let attributes: Vec<String> =
        node.attribute.iter().filter_map(|a| attribute_text(a, options, indent + 2)).collect();
    if attributes.is_empty() {
        return format!("{call} {inputs}");
    }
    if node.attribute.iter().any(has_body) {
        let pad = " ".repeat(indent);
        let separator = format!(",\n{pad}  ");
        return format!("{call} {inputs} <\n{pad}  {}\n{pad}>", attributes.join(&separator));
    }
    format!("{call} <{}> {inputs}", attributes.join(", "))
}

pub(super) fn operands_text(operands: &[String]) -> String {
    let operands: Vec<String> = operands.iter().map(|operand| names::name(operand)).collect();
    operands.join(", ")
}

fn operator_text(node: &NodeProto) -> String {
    let mut out = String::new();
    if let Some(domain) = node.domain.as_deref().filter(|domain| !domain.is_empty()) {
        let is_path = domain.split('.').all(names::is_id);
        out.push_str(&if is_path { domain.to_owned() } else { names::quoted(domain) });
        out.push('.');
    }
    out.push_str(&names::id_or_quoted(node.op_type.as_deref().unwrap_or_default()));
    if let Some(overload) = node.overload.as_deref().filter(|overload| !overload.is_empty()) {
        out.push(':');
        out.push_str(&names::id_or_quoted(overload));
    }
    out
}
