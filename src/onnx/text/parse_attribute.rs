//! Attributes.

use super::lex::{Cursor, Result, Token};
use super::names;
use super::parse_graph::parse_graph_named;
use super::parse_tensor::parse_tensor;
use super::parse_type::{parse_type, type_is_next};
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::tensor_shape_proto::dimension;
use crate::onnx::proto::type_proto::{SparseTensor, Value};
use crate::onnx::proto::{AttributeProto, GraphProto, SparseTensorProto, TensorProto, TypeProto};

/// One value, before it is known whether it stands alone or in a list.
enum Single {
    Float(f32),
    Int(i64),
    String(String),
    Tensor(Box<TensorProto>),
    Sparse(Box<SparseTensorProto>),
    Graph(Box<GraphProto>),
    Type(Box<TypeProto>),
    Reference(String),
}

impl Single {
    /// `None` for a reference, which may be of any kind.
    fn kind(&self) -> Option<AttributeType> {
        Some(match self {
            Single::Float(_) => AttributeType::Float,
            Single::Int(_) => AttributeType::Int,
            Single::String(_) => AttributeType::String,
            Single::Tensor(_) => AttributeType::Tensor,
            Single::Sparse(_) => AttributeType::SparseTensor,
            Single::Graph(_) => AttributeType::Graph,
            Single::Type(_) => AttributeType::TypeProto,
            Single::Reference(_) => return None,
        })
    }
}

/// `<` attributes `>`, if there are any.
pub(super) fn parse_attributes(cursor: &mut Cursor<'_>) -> Result<Vec<AttributeProto>> {
    let mut attributes = Vec::new();
    if cursor.eat('<')? {
        cursor.filled_list('>', |cursor| {
            let name = cursor.name("the name of an attribute")?;
            attributes.push(parse_attribute(cursor, name)?);
            Ok(())
        })?;
    }
    Ok(attributes)
}

/// An attribute whose name has been taken.
pub(super) fn parse_attribute(cursor: &mut Cursor<'_>, name: String) -> Result<AttributeProto> {
    let mut attribute = AttributeProto { name: Some(name), ..AttributeProto::default() };
    let declared = if cursor.eat(':')? { Some(parse_kind(cursor)?) } else { None };
    cursor.expect('=')?;
    let at = cursor.offset();
    if cursor.eat('[')? {
        let list = parse_list(cursor, &mut attribute, declared, at)?;
        attribute.r#type = Some(list as i32);
        return Ok(attribute);
    }
    let single = parse_single(cursor, declared)?;
    check_kind(cursor, at, declared, single.kind())?;
    attribute.r#type = single.kind().or(declared).map(|kind| kind as i32);
    match single {
        Single::Float(f) => attribute.f = Some(f),
        Single::Int(i) => attribute.i = Some(i),
        Single::String(s) => attribute.s = Some(s.into_bytes()),
        Single::Tensor(t) => attribute.t = Some(*t),
        Single::Sparse(t) => attribute.sparse_tensor = Some(*t),
        Single::Graph(g) => attribute.g = Some(*g),
        Single::Type(tp) => attribute.tp = Some(*tp),
        Single::Reference(name) => attribute.ref_attr_name = Some(name),
    }
    Ok(attribute)
}

fn parse_kind(cursor: &mut Cursor<'_>) -> Result<AttributeType> {
    const KIND: &str = "the type of an attribute, such as int, floats or graph";
    let Token::Id(word) = *cursor.peek() else { return Err(cursor.unexpected(KIND)) };
    let kind = names::kind(word).ok_or_else(|| cursor.unexpected(KIND))?;
    cursor.bump()?;
    Ok(kind)
}

fn check_kind(
    cursor: &Cursor<'_>,
    at: usize,
    expected: Option<AttributeType>,
    found: Option<AttributeType>,
) -> Result<()> {
    match (expected, found) {
        (Some(expected), Some(found)) if expected != found => {
            let (expected, found) = (names::kind_word(expected), names::kind_word(found));
            Err(cursor
                .error_at(at, format!("expected a value of type {expected}, found one of type {found}")))
        }
        _ => Ok(()),
    }
}

/// The values of a list whose `[` has been taken; `at` is where that was.
fn parse_list(
    cursor: &mut Cursor<'_>,
    attribute: &mut AttributeProto,
    declared: Option<AttributeType>,
    at: usize,
) -> Result<AttributeType> {
    if let Some(kind) = declared.filter(|kind| names::single_of(*kind).is_none()) {
        let message = format!("expected one value of type {}, found a list", names::kind_word(kind));
        return Err(cursor.error_at(at, message));
    }
    let mut kind = declared;
    cursor.list(']', |cursor| {
        let at = cursor.offset();
        let expected = kind.and_then(names::single_of);
        let single = parse_single(cursor, expected)?;
        check_kind(cursor, at, expected, single.kind())?;
        kind = Some(match single {
            Single::Float(f) => push(&mut attribute.floats, f, AttributeType::Floats),
            Single::Int(i) => push(&mut attribute.ints, i, AttributeType::Ints),
            Single::String(s) => push(&mut attribute.strings, s.into_bytes(), AttributeType::Strings),
            Single::Tensor(t) => push(&mut attribute.tensors, *t, AttributeType::Tensors),
            Single::Sparse(t) => push(&mut attribute.sparse_tensors, *t, AttributeType::SparseTensors),
            Single::Graph(g) => push(&mut attribute.graphs, *g, AttributeType::Graphs),
            Single::Type(tp) => push(&mut attribute.type_protos, *tp, AttributeType::TypeProtos),
            Single::Reference(_) => {
                return Err(cursor.error_at(at, "expected a value, found a reference in a list".to_owned()));
            }
        });
        Ok(())
    })?;
    kind.ok_or_else(|| {
        cursor.error_at(
            at,
            "expected the type of an empty list, as in `axes: ints = []`, found none".to_owned(),
        )
    })
}

fn push<T>(list: &mut Vec<T>, value: T, kind: AttributeType) -> AttributeType {
    list.push(value);
    kind
}

fn parse_single(cursor: &mut Cursor<'_>, expected: Option<AttributeType>) -> Result<Single> {
    if type_is_next(cursor) {
        return parse_typed(cursor);
    }
    match cursor.peek() {
        Token::Int(_) if expected == Some(AttributeType::Float) => Ok(Single::Float(cursor.float()?)),
        Token::Int(_) => Ok(Single::Int(cursor.int64("an integer")?)),
        Token::Float(_) => Ok(Single::Float(cursor.float()?)),
        Token::Id(word) if names::is_float_word(word) => Ok(Single::Float(cursor.float()?)),
        Token::Id(_) | Token::Text(_) => {
            let quoted = matches!(cursor.peek(), Token::Text(_));
            let text = cursor.name("the name of a graph")?;
            if quoted && !cursor.peek_is('(') {
                return Ok(Single::String(text));
            }
            Ok(Single::Graph(Box::new(cursor.nested(|cursor| parse_graph_named(cursor, text))?)))
        }
        Token::Punct('@') => {
            cursor.bump()?;
            Ok(Single::Reference(cursor.name("the name of an attribute of the function")?))
        }
        _ => Err(cursor.unexpected("the value of an attribute")),
    }
}

/// A type, or the tensor whose type it is.
fn parse_typed(cursor: &mut Cursor<'_>) -> Result<Single> {
    let at = cursor.offset();
    let ty = parse_type(cursor)?;
    if let (Some(Value::SparseTensorType(sparse)), true) = (&ty.value, cursor.peek_is('{')) {
        return Ok(Single::Sparse(Box::new(parse_sparse(cursor, sparse, at)?)));
    }
    let has_data = matches!(cursor.peek(), Token::Id(_) | Token::Text(_) | Token::Punct('{' | '=' | '['));
    if !has_data {
        return Ok(Single::Type(Box::new(ty)));
    }
    let name = cursor.optional_name()?.and_then(names::non_empty);
    cursor.eat('=')?;
    Ok(Single::Tensor(Box::new(parse_tensor(cursor, &ty, at, name)?)))
}

fn parse_sparse(cursor: &mut Cursor<'_>, ty: &SparseTensor, at: usize) -> Result<SparseTensorProto> {
    let dims: Option<Vec<i64>> = ty.shape.as_ref().and_then(|shape| {
        let dims = shape.dim.iter().map(|dim| match dim.value {
            Some(dimension::Value::DimValue(value)) => Some(value),
            _ => None,
        });
        dims.collect()
    });
    let Some(dims) = dims else {
        return Err(
            cursor.error_at(at, "expected dims that are numbers for a sparse tensor with data".to_owned())
        );
    };
    cursor.expect('{')?;
    let values = parse_part(cursor)?;
    if values.data_type != ty.elem_type {
        return Err(cursor
            .error_at(at, "expected values of the sparse tensor's element type, found others".to_owned()));
    }
    cursor.expect(',')?;
    let indices = parse_part(cursor)?;
    cursor.expect('}')?;
    Ok(SparseTensorProto { values: Some(values), indices: Some(indices), dims })
}

fn parse_part(cursor: &mut Cursor<'_>) -> Result<TensorProto> {
    let at = cursor.offset();
    let ty = parse_type(cursor)?;
    let name = cursor.optional_name()?.and_then(names::non_empty);
    cursor.eat('=')?;
    parse_tensor(cursor, &ty, at, name)
}
