//! The model, its header and its functions.

use super::lex::{Cursor, Result, Token};
use super::names;
use super::parse_attribute::parse_attribute;
use super::parse_graph::{parse_graph, parse_nodes, parse_value};
use crate::onnx::proto::{
    FunctionProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, ValueInfoProto,
};

const TEXT: &str = "a string";
const INTEGER: &str = "an integer";
const MODEL_PROPERTY: &str = "a property of the model: ir_version, opset_import, producer_name, producer_version, \
                              domain, model_version, doc_string or metadata_props";
const FUNCTION_PROPERTY: &str = "a property of the function: domain, overload, opset_import or doc_string";

pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<ModelProto> {
    let mut model = ModelProto::default();
    if cursor.eat('<')? {
        cursor.list('>', |cursor| parse_model_property(cursor, &mut model))?;
    }
    model.graph = Some(parse_graph(cursor)?);
    while *cursor.peek() != Token::End {
        model.functions.push(parse_function(cursor)?);
    }
    Ok(model)
}

fn parse_model_property(cursor: &mut Cursor<'_>, model: &mut ModelProto) -> Result<()> {
    match parse_key(cursor, MODEL_PROPERTY)? {
        "ir_version" => model.ir_version = Some(parse_value_of(cursor, |c| c.int64(INTEGER))?),
        "model_version" => model.model_version = Some(parse_value_of(cursor, |c| c.int64(INTEGER))?),
        "opset_import" => model.opset_import = parse_value_of(cursor, parse_opsets)?,
        "producer_name" => model.producer_name = parse_text(cursor)?,
        "producer_version" => model.producer_version = parse_text(cursor)?,
        "domain" => model.domain = parse_text(cursor)?,
        "doc_string" => model.doc_string = parse_text(cursor)?,
        "metadata_props" => {
            model.metadata_props = parse_value_of(cursor, |cursor| {
                cursor.expect('[')?;
                let mut entries = Vec::new();
                parse_entries(cursor, &mut entries)?;
                Ok(entries)
            })?;
        }
        _ => return Err(cursor.unexpected(MODEL_PROPERTY)),
    }
    Ok(())
}

fn parse_function_property(cursor: &mut Cursor<'_>, function: &mut FunctionProto) -> Result<()> {
    match parse_key(cursor, FUNCTION_PROPERTY)? {
        "opset_import" => function.opset_import = parse_value_of(cursor, parse_opsets)?,
        "domain" => function.domain = parse_text(cursor)?,
        "overload" => function.overload = parse_text(cursor)?,
        "doc_string" => function.doc_string = parse_text(cursor)?,
        _ => return Err(cursor.unexpected(FUNCTION_PROPERTY)),
    }
    Ok(())
}

/// The key, left in place so that an unknown one can be pointed at.
fn parse_key<'a>(cursor: &Cursor<'a>, what: &str) -> Result<&'a str> {
    match *cursor.peek() {
        Token::Id(key) => Ok(key),
        _ => Err(cursor.unexpected(what)),
    }
}

/// Takes the key, the colon and the value.
fn parse_value_of<T>(cursor: &mut Cursor<'_>, parse: impl FnOnce(&mut Cursor<'_>) -> Result<T>) -> Result<T> {
    cursor.bump()?;
    cursor.expect(':')?;
    parse(cursor)
}

fn parse_text(cursor: &mut Cursor<'_>) -> Result<Option<String>> {
    Ok(names::non_empty(parse_value_of(cursor, |c| c.string(TEXT))?))
}

fn parse_opsets(cursor: &mut Cursor<'_>) -> Result<Vec<OperatorSetIdProto>> {
    let mut opsets = Vec::new();
    cursor.expect('[')?;
    cursor.list(']', |cursor| {
        let domain = Some(cursor.string("the domain of an operator set, as a string")?);
        cursor.expect(':')?;
        opsets.push(OperatorSetIdProto {
            domain,
            version: Some(cursor.int64("the version of the operator set")?),
        });
        Ok(())
    })?;
    Ok(opsets)
}

/// Pairs of strings whose `[` has been taken.
pub(super) fn parse_entries(
    cursor: &mut Cursor<'_>,
    entries: &mut Vec<StringStringEntryProto>,
) -> Result<()> {
    cursor.list(']', |cursor| {
        let key = Some(cursor.string(TEXT)?);
        cursor.expect(':')?;
        entries.push(StringStringEntryProto { key, value: Some(cursor.string(TEXT)?) });
        Ok(())
    })
}

fn parse_function(cursor: &mut Cursor<'_>) -> Result<FunctionProto> {
    let mut function = FunctionProto::default();
    if cursor.eat('<')? {
        cursor.list('>', |cursor| parse_function_property(cursor, &mut function))?;
    }
    function.name = Some(cursor.name("the name of a function")?);
    if cursor.eat('<')? {
        cursor.filled_list('>', |cursor| {
            let name = cursor.name("the name of an attribute")?;
            if matches!(cursor.peek(), Token::Punct(':' | '=')) {
                function.attribute_proto.push(parse_attribute(cursor, name)?);
            } else {
                function.attribute.push(name);
            }
            Ok(())
        })?;
    }
    function.input = parse_parameters(cursor, &mut function.value_info)?;
    cursor.arrow()?;
    function.output = parse_parameters(cursor, &mut function.value_info)?;
    if cursor.eat('<')? {
        cursor.list('>', |cursor| {
            function.value_info.push(parse_value(cursor)?);
            Ok(())
        })?;
    }
    function.node = parse_nodes(cursor)?;
    Ok(function)
}

/// The names of a function's inputs or outputs; the typed ones are also values of the function.
fn parse_parameters(cursor: &mut Cursor<'_>, values: &mut Vec<ValueInfoProto>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    cursor.expect('(')?;
    cursor.list(')', |cursor| {
        let value = parse_value(cursor)?;
        names.extend(value.name.clone());
        if value.r#type.is_some() {
            values.push(value);
        }
        Ok(())
    })?;
    Ok(names)
}
