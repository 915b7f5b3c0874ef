//! Element types of outputs: the operator table of the standard, and a few attributes that decide.

use crate::ir::{Attr, AttrValue, DType, Node};
use crate::schema;

/// How far the attributes of a node can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Every attribute is one of the newest version of the operator, and has a value.
    Newest,
    /// The same, but some are passed on from the caller of a function.
    Open,
    /// An older version of the operator; `None` where it is not known which.
    Old(Option<i64>),
}

impl Form {
    pub(super) fn of(node: &Node) -> Self {
        if node.opaque.is_some() {
            return Self::Old(node.opaque);
        }
        let Some(schema) = schema::newest(&node.op.domain, &node.op.name) else { return Self::Old(None) };
        let known = |attr: &Attr| {
            schema.attribute(&attr.name).is_some_and(|def| def.kind.code() == attr.value.kind() as i32)
        };
        match node.attrs.iter().all(known) {
            false => Self::Old(None),
            true if node.attrs.iter().any(|a| matches!(a.value, AttrValue::Ref { .. })) => Self::Open,
            true => Self::Newest,
        }
    }
}

/// The element type of an output; `None` where inputs and attributes do not decide it.
pub(super) fn output_dtype(node: &Node, form: Form, slot: usize, inputs: &[Option<DType>]) -> Option<DType> {
    let (domain, name) = (&*node.op.domain, &*node.op.name);
    let schema = match form {
        Form::Old(opset) => schema::lookup(domain, name, opset?)?,
        Form::Newest | Form::Open => schema::newest(domain, name)?,
    };
    if domain.is_empty()
        && let Some(decided) = by_attribute(node, slot, inputs)
    {
        return decided;
    }
    let codes: Vec<_> = inputs.iter().map(|d| d.map(DType::code)).collect();
    schema.output_dtype(slot, &codes).and_then(DType::from_code)
}

/// `Some` where the operator's attributes decide, alone or with the inputs; inside it, what they decide.
#[allow(clippy::option_option, reason = "an attribute may decide on a type that is unknown")]
fn by_attribute(node: &Node, slot: usize, inputs: &[Option<DType>]) -> Option<Option<DType>> {
    let input = |slot: usize| inputs.get(slot).copied().flatten();
    let attr = |name: &str| {
        let code = node.attrs.int(name).filter(|&code| code != 0)?;
        i32::try_from(code).ok().and_then(DType::from_code)
    };
    let absent = |name: &str| matches!(node.attrs.get(name), None | Some(AttrValue::Int(0)));
    let or = |name: &str, default: Option<DType>| if absent(name) { default } else { attr(name) };
    Some(match (&*node.op.name, slot) {
        ("Cast" | "BitCast", 0) => attr("to"),
        ("Constant", 0) => constant(node),
        ("ConstantOfShape", 0) => match node.attrs.tensor("value") {
            Some(data) => Some(data.dtype()),
            None => node.attrs.get("value").is_none().then_some(DType::Float),
        },
        ("EyeLike" | "RandomNormalLike" | "RandomUniformLike" | "Bernoulli", 0) => or("dtype", input(0)),
        ("RandomNormal" | "RandomUniform", 0) => or("dtype", Some(DType::Float)),
        ("Multinomial", 0) => or("dtype", Some(DType::Int32)),
        ("HannWindow" | "HammingWindow" | "BlackmanWindow" | "MelWeightMatrix", 0) => {
            or("output_datatype", Some(DType::Float))
        }
        ("LayerNormalization", 1 | 2) => or("stash_type", Some(DType::Float)),
        ("DequantizeLinear", 0) => or("output_dtype", input(1)),
        ("QuantizeLinear", 0) => match input(2) {
            Some(zero_point) => Some(zero_point),
            None if inputs.len() > 2 => attr("output_dtype"),
            None => or("output_dtype", Some(DType::Uint8)),
        },
        _ => return None,
    })
}

/// The element type of a `Constant`, whichever attribute holds it.
fn constant(node: &Node) -> Option<DType> {
    node.attrs.iter().find_map(|attr| match (&*attr.name, &attr.value) {
        ("value", AttrValue::Tensor(data)) => Some(data.dtype()),
        ("sparse_value", AttrValue::SparseTensor(data)) => Some(data.values.dtype()),
        ("value_int" | "value_ints", _) => Some(DType::Int64),
        ("value_float" | "value_floats", _) => Some(DType::Float),
        ("value_string" | "value_strings", _) => Some(DType::String),
        _ => None,
    })
}
