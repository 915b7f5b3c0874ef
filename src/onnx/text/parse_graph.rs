//! Graphs, their values and their nodes.

use super::lex::{Cursor, Result, Token};
use super::names;
use super::parse_attribute::parse_attributes;
use super::parse_tensor::parse_tensor;
use super::parse_type::{parse_type, type_is_next};
use crate::onnx::proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto};

const VALUE: &str = "the name of a value";

pub(super) fn parse_graph(cursor: &mut Cursor<'_>) -> Result<GraphProto> {
    let name = cursor.name("the name of the graph")?;
    parse_graph_named(cursor, name)
}

/// A graph whose name has been taken.
pub(super) fn parse_graph_named(cursor: &mut Cursor<'_>, name: String) -> Result<GraphProto> {
    let mut graph = GraphProto { name: Some(name), ..GraphProto::default() };
    cursor.expect('(')?;
    cursor.list(')', |cursor| {
        let (value, initializer) = parse_entry(cursor)?;
        graph.input.push(value);
        graph.initializer.extend(initializer);
        Ok(())
    })?;
    cursor.arrow()?;
    cursor.expect('(')?;
    cursor.list(')', |cursor| {
        graph.output.push(parse_value(cursor)?);
        Ok(())
    })?;
    if cursor.eat('<')? {
        cursor.list('>', |cursor| {
            match parse_entry(cursor)? {
                (_, Some(initializer)) => graph.initializer.push(initializer),
                (value, None) => graph.value_info.push(value),
            }
            Ok(())
        })?;
    }
    graph.node = parse_nodes(cursor)?;
    Ok(graph)
}

/// A value with its type, if it has one.
pub(super) fn parse_value(cursor: &mut Cursor<'_>) -> Result<ValueInfoProto> {
    let ty = if type_is_next(cursor) { Some(parse_type(cursor)?) } else { None };
    let name = cursor.name(if ty.is_some() { VALUE } else { "a type or the name of a value" })?;
    Ok(ValueInfoProto { name: Some(name), r#type: ty, ..ValueInfoProto::default() })
}

/// A value and, where data follow, the initializer.
fn parse_entry(cursor: &mut Cursor<'_>) -> Result<(ValueInfoProto, Option<TensorProto>)> {
    let at = cursor.offset();
    let value = parse_value(cursor)?;
    if !cursor.eat('=')? {
        return Ok((value, None));
    }
    let Some(ty) = &value.r#type else {
        let message = "expected the type of an initializer, found only its name".to_owned();
        return Err(cursor.error_at(at, message));
    };
    let initializer = parse_tensor(cursor, ty, at, value.name.clone())?;
    Ok((value, Some(initializer)))
}

/// `{` nodes `}`
pub(super) fn parse_nodes(cursor: &mut Cursor<'_>) -> Result<Vec<NodeProto>> {
    cursor.expect('{')?;
    let mut nodes = Vec::new();
    while !cursor.eat('}')? {
        nodes.push(parse_node(cursor)?);
    }
    Ok(nodes)
}

fn parse_node(cursor: &mut Cursor<'_>) -> Result<NodeProto> {
    if !matches!(cursor.peek(), Token::Id(_) | Token::Text(_) | Token::Punct('[' | ',' | '=')) {
        return Err(cursor.unexpected("a node or `}`"));
    }
    let mut node = NodeProto::default();
    if cursor.eat('[')? {
        node.name = cursor.optional_name()?.and_then(names::non_empty);
        cursor.expect(']')?;
    }
    node.output = parse_operands(cursor)?;
    cursor.expect('=')?;
    let mut domain = Vec::new();
    let mut op_type = cursor.name("an operator")?;
    while cursor.eat('.')? {
        domain.push(std::mem::replace(&mut op_type, cursor.name("an operator")?));
    }
    node.domain = names::non_empty(domain.join("."));
    node.op_type = Some(op_type);
    if cursor.eat(':')? {
        node.overload = names::non_empty(cursor.name("the overload of a function")?);
    }
    node.attribute = parse_attributes(cursor)?;
    if !cursor.eat('(')? {
        let what = if node.attribute.is_empty() { "`<` or `(`" } else { "`(`" };
        return Err(cursor.unexpected(what));
    }
    node.input = parse_operands(cursor)?;
    if !cursor.eat(')')? {
        return Err(cursor.unexpected("`,` or `)`"));
    }
    if node.attribute.is_empty() {
        node.attribute = parse_attributes(cursor)?;
    }
    Ok(node)
}

/// Names between commas. Nothing before a comma is an absent operand; a comma at the end changes nothing.
fn parse_operands(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    let mut operands = Vec::new();
    loop {
        match cursor.optional_name()? {
            Some(name) => operands.push(name),
            None if cursor.peek_is(',') => operands.push(String::new()),
            None => return Ok(operands),
        }
        if !cursor.eat(',')? {
            return Ok(operands);
        }
    }
}
