//! Types of values.

use crate::ir::{DType, Dim, Shape, UnknownDim, ValueInfo, ValueType};
use crate::onnx::proto::{TensorShapeProto, TypeProto, tensor_shape_proto, type_proto};

/// A type with what the file says besides.
#[derive(Default)]
pub(super) struct ReadType {
    pub ty: ValueType,
    pub denotation: Option<String>,
    pub dim_denotations: Vec<Option<String>>,
    /// What the type has that [`ValueType`] has no place for.
    pub lost: Option<&'static str>,
}

impl ReadType {
    pub(super) fn of(proto: TypeProto) -> Self {
        let mut read = Self { denotation: proto.denotation.filter(|d| !d.is_empty()), ..Self::default() };
        read.ty = read.value(proto.value, true);
        read
    }

    /// Denotations, if there are any, as the information of a value.
    pub(super) fn info(&mut self) -> ValueInfo {
        ValueInfo {
            denotation: self.denotation.take(),
            dim_denotations: std::mem::take(&mut self.dim_denotations),
            ..ValueInfo::default()
        }
    }

    fn value(&mut self, value: Option<type_proto::Value>, outermost: bool) -> ValueType {
        use type_proto::Value;
        match value {
            None => ValueType::Unknown,
            Some(Value::TensorType(t)) => {
                ValueType::Tensor { dtype: self.dtype(t.elem_type), shape: self.shape(t.shape, outermost) }
            }
            Some(Value::SparseTensorType(t)) => ValueType::SparseTensor {
                dtype: self.dtype(t.elem_type),
                shape: self.shape(t.shape, outermost),
            },
            Some(Value::SequenceType(s)) => ValueType::Sequence(self.item(s.elem_type).into()),
            Some(Value::OptionalType(o)) => ValueType::Optional(self.item(o.elem_type).into()),
            Some(Value::MapType(m)) => {
                ValueType::Map { key: self.dtype(m.key_type), value: self.item(m.value_type).into() }
            }
            Some(Value::OpaqueType(o)) => ValueType::Opaque { domain: o.domain, name: o.name },
        }
    }

    fn item(&mut self, proto: Option<Box<TypeProto>>) -> ValueType {
        let Some(proto) = proto else { return ValueType::Unknown };
        if proto.denotation.is_some_and(|d| !d.is_empty()) {
            self.lost = Some("a denotation inside its type");
        }
        self.value(proto.value, false)
    }

    fn dtype(&mut self, code: Option<i32>) -> Option<DType> {
        let code = code.filter(|&c| c != 0)?;
        let dtype = DType::from_code(code);
        if dtype.is_none() {
            self.lost = Some("an element type that is newer than this program");
        }
        dtype
    }

    fn shape(&mut self, proto: Option<TensorShapeProto>, outermost: bool) -> Option<Shape> {
        let mut dims = proto?.dim;
        let denotations: Vec<_> =
            dims.iter_mut().map(|d| d.denotation.take().filter(|d| !d.is_empty())).collect();
        if denotations.iter().any(Option::is_some) {
            if outermost {
                self.dim_denotations = denotations;
            } else {
                self.lost = Some("a denotation inside its type");
            }
        }
        Some(dims.into_iter().map(|d| dim(d.value)).collect())
    }
}

fn dim(value: Option<tensor_shape_proto::dimension::Value>) -> Dim {
    use tensor_shape_proto::dimension::Value;
    match value {
        None => Dim::UNKNOWN,
        Some(Value::DimValue(n)) => {
            u64::try_from(n).map_or(Dim::Unknown(Some(UnknownDim::Negative(n))), Dim::Known)
        }
        Some(Value::DimParam(text)) if is_identifier(&text) => Dim::Symbol(text.into()),
        Some(Value::DimParam(text)) => Dim::Unknown(Some(UnknownDim::Text(text.into()))),
    }
}

/// Whether a text is an identifier as C has them: only then do equal texts mean equal dims.
fn is_identifier(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_identifiers_are_symbols() {
        for good in ["N", "batch_size", "_x9"] {
            assert!(is_identifier(good), "{good}");
        }
        for bad in ["", "?", "9a", "a-b", "h/2", "größe", "a b"] {
            assert!(!is_identifier(bad), "{bad}");
        }
    }
}
