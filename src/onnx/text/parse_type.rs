//! Types of values.

use super::lex::{Cursor, Result, Token};
use super::names;
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::tensor_shape_proto::{Dimension, dimension};
use crate::onnx::proto::type_proto::{Map, Opaque, Optional, Sequence, SparseTensor, Tensor, Value};
use crate::onnx::proto::{TensorShapeProto, TypeProto};

const TYPE: &str = "a type";

/// Whether a type stands here, not a name.
pub(super) fn type_is_next(cursor: &Cursor<'_>) -> bool {
    matches!(cursor.peek(), Token::Id(word) if names::is_type_word(word))
}

pub(super) fn parse_type(cursor: &mut Cursor<'_>) -> Result<TypeProto> {
    let Token::Id(word) = *cursor.peek() else { return Err(cursor.unexpected(TYPE)) };
    let value = match word {
        "seq" => {
            let elem_type = in_parentheses(cursor, parse_type)?;
            Value::SequenceType(Box::new(Sequence { elem_type: Some(Box::new(elem_type)) }))
        }
        "optional" => {
            let elem_type = in_parentheses(cursor, parse_type)?;
            Value::OptionalType(Box::new(Optional { elem_type: Some(Box::new(elem_type)) }))
        }
        "map" => Value::MapType(Box::new(in_parentheses(cursor, parse_map)?)),
        "sparse_tensor" => {
            let (elem_type, shape) = in_parentheses(cursor, parse_tensor_type)?;
            Value::SparseTensorType(SparseTensor { elem_type: Some(elem_type), shape })
        }
        "opaque" => Value::OpaqueType(parse_opaque(cursor)?),
        _ => {
            let (elem_type, shape) = parse_tensor_type(cursor)?;
            Value::TensorType(Tensor { elem_type: Some(elem_type), shape })
        }
    };
    Ok(TypeProto { denotation: None, value: Some(value) })
}

fn in_parentheses<T>(cursor: &mut Cursor<'_>, parse: impl FnOnce(&mut Cursor<'_>) -> Result<T>) -> Result<T> {
    cursor.bump()?;
    cursor.expect('(')?;
    let parsed = cursor.nested(parse)?;
    cursor.expect(')')?;
    Ok(parsed)
}

fn parse_element(cursor: &mut Cursor<'_>, what: &str) -> Result<DataType> {
    let Token::Id(word) = *cursor.peek() else { return Err(cursor.unexpected(what)) };
    let element = names::element(word).ok_or_else(|| cursor.unexpected(what))?;
    cursor.bump()?;
    Ok(element)
}

fn parse_map(cursor: &mut Cursor<'_>) -> Result<Map> {
    let key_type = Some(parse_element(cursor, "the element type of the keys")? as i32);
    cursor.expect(',')?;
    let value_type = Some(Box::new(parse_type(cursor)?));
    Ok(Map { key_type, value_type })
}

fn parse_opaque(cursor: &mut Cursor<'_>) -> Result<Opaque> {
    const NAME: &str = "the name of the opaque type";
    cursor.bump()?;
    cursor.expect('(')?;
    if cursor.eat(')')? {
        return Ok(Opaque::default());
    }
    let mut first = cursor.id(NAME)?.to_owned();
    while cursor.eat('.')? {
        first.push('.');
        first.push_str(cursor.id(NAME)?);
    }
    let opaque = if cursor.eat(',')? {
        Opaque { domain: Some(first), name: Some(cursor.id(NAME)?.to_owned()) }
    } else {
        Opaque { domain: None, name: Some(first) }
    };
    cursor.expect(')')?;
    Ok(opaque)
}

/// No brackets: a scalar. Empty brackets: the rank is unknown.
fn parse_tensor_type(cursor: &mut Cursor<'_>) -> Result<(i32, Option<TensorShapeProto>)> {
    let element = parse_element(cursor, TYPE)? as i32;
    let mut dim = Vec::new();
    if cursor.eat('[')? {
        if cursor.eat(']')? {
            return Ok((element, None));
        }
        cursor.filled_list(']', |cursor| {
            dim.push(parse_dim(cursor)?);
            Ok(())
        })?;
    }
    Ok((element, Some(TensorShapeProto { dim })))
}

fn parse_dim(cursor: &mut Cursor<'_>) -> Result<Dimension> {
    let value = if cursor.eat('?')? {
        None
    } else if let Some(symbol) = cursor.optional_name()? {
        Some(dimension::Value::DimParam(symbol))
    } else {
        Some(dimension::Value::DimValue(cursor.int64("a dimension: a number, a name or `?`")?))
    };
    Ok(Dimension { denotation: None, value })
}
