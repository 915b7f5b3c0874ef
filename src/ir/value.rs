//! Values: what operators read and write.

use std::fmt;
use std::sync::Arc;

use super::{DType, Metadata, SparseTensor, TensorData};

/// A value of a graph.
#[derive(Debug, Clone)]
pub struct Value {
    /// Unique in the graph.
    pub name: String,
    /// The declared type; [`ValueType::Unknown`] where the file says nothing.
    pub ty: ValueType,
    /// The elements, where they are known before the model runs. For a captured value: what the graph outside knows.
    pub data: Option<TensorData>,
    /// A sparse initializer. Passes do not look inside.
    pub sparse: Option<Arc<SparseTensor>>,
    /// Where the value comes from, if no node of the graph produces it.
    pub origin: Origin,
    /// Whether a `value_info` (or input, or output) of the file declared the type: only then is one written.
    pub declared: bool,
    /// What the file says besides; `None` for almost every value.
    pub info: Option<Box<ValueInfo>>,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// A node of this graph, an input, or an initializer.
    #[default]
    Local,
    /// The graph around this body. Its `data` and `ty` are copies of what is known there, and are not written.
    Captured,
    /// A constant that the opset dialect made (an attribute that became an input): in no count, never shared, and not
    /// written while its only readers are written in their as-read form.
    Synthetic,
}

/// Documentation, metadata and denotations of a `ValueInfoProto`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValueInfo {
    /// `doc_string`.
    pub doc: Option<String>,
    /// `metadata_props`.
    pub metadata: Metadata,
    /// `TypeProto.denotation`.
    pub denotation: Option<String>,
    /// `Dimension.denotation`, per dim; empty where there are none.
    pub dim_denotations: Vec<Option<String>>,
}

impl Value {
    /// A value that only has a name.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ty: ValueType::Unknown,
            data: None,
            sparse: None,
            origin: Origin::Local,
            declared: false,
            info: None,
        }
    }
}

/// The type of a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ValueType {
    /// Nothing is known.
    #[default]
    Unknown,
    /// A dense tensor. `None`: that fact is not known.
    Tensor {
        /// Element type.
        dtype: Option<DType>,
        /// Dims; `None` where not even the rank is known.
        shape: Option<Shape>,
    },
    /// A sparse tensor.
    SparseTensor {
        /// Element type.
        dtype: Option<DType>,
        /// Dims.
        shape: Option<Shape>,
    },
    /// A sequence of values of one type.
    Sequence(Box<ValueType>),
    /// A value that may be absent.
    Optional(Box<ValueType>),
    /// A map from keys to values of one type.
    Map {
        /// Type of the keys; `None` where the file gives a code outside the standard.
        key: Option<DType>,
        /// Type of the values.
        value: Box<ValueType>,
    },
    /// An opaque type of an extension.
    Opaque {
        /// `TypeProto.Opaque.domain`.
        domain: Option<String>,
        /// `TypeProto.Opaque.name`.
        name: Option<String>,
    },
}

/// Dims of a tensor type.
pub type Shape = Vec<Dim>;

/// One dim of a tensor type.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A known size.
    Known(u64),
    /// A named size: equal wherever the name is equal. The text is kept as the file has it.
    Symbol(Arc<str>),
    /// Not known, and equal to nothing. Keeps a text that is no name (empty, `?`, an expression) and negative numbers.
    Unknown(Option<UnknownDim>),
}

/// The text or number with which a file said that a dim is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum UnknownDim {
    /// A `dim_param` that is no identifier.
    Text(Arc<str>),
    /// A negative `dim_value`.
    Negative(i64),
}

impl Dim {
    /// A dim of unknown size, of which the file says nothing.
    pub const UNKNOWN: Dim = Dim::Unknown(None);

    /// The size, if it is known.
    pub fn known(&self) -> Option<u64> {
        if let Dim::Known(n) = self { Some(*n) } else { None }
    }

    /// The symbol, if there is one.
    pub fn symbol(&self) -> Option<&str> {
        if let Dim::Symbol(s) = self { Some(s) } else { None }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Known(n) => write!(f, "{n}"),
            Dim::Symbol(s) => f.write_str(s),
            Dim::Unknown(_) => f.write_str("?"),
        }
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ValueType {
    /// A dense tensor of known element type and dims.
    pub fn tensor(dtype: DType, shape: impl IntoIterator<Item = Dim>) -> Self {
        Self::Tensor { dtype: Some(dtype), shape: Some(shape.into_iter().collect()) }
    }

    /// The type of constant data.
    pub fn of(data: &TensorData) -> Self {
        Self::tensor(data.dtype(), data.dims().iter().map(|&d| Dim::Known(d)))
    }

    /// Element type of a dense tensor.
    pub fn dtype(&self) -> Option<DType> {
        if let Self::Tensor { dtype, .. } = self { *dtype } else { None }
    }

    /// Dims of a dense tensor.
    pub fn shape(&self) -> Option<&[Dim]> {
        if let Self::Tensor { shape, .. } = self { shape.as_deref() } else { None }
    }

    /// Rank of a dense tensor.
    pub fn rank(&self) -> Option<usize> {
        self.shape().map(<[Dim]>::len)
    }

    /// Dims of a dense tensor of which all are known.
    pub fn known_dims(&self) -> Option<Vec<u64>> {
        self.shape()?.iter().map(Dim::known).collect()
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims = |f: &mut fmt::Formatter<'_>, shape: &Option<Shape>| match shape {
            None => f.write_str("[…]"),
            Some(dims) => {
                let dims: Vec<_> = dims.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", dims.join(","))
            }
        };
        match self {
            Self::Unknown => f.write_str("?"),
            Self::Tensor { dtype, shape } => {
                f.write_str(dtype.map_or("?", DType::name))?;
                dims(f, shape)
            }
            Self::SparseTensor { dtype, shape } => {
                write!(f, "sparse {}", dtype.map_or("?", DType::name))?;
                dims(f, shape)
            }
            Self::Sequence(item) => write!(f, "seq({item})"),
            Self::Optional(item) => write!(f, "optional({item})"),
            Self::Map { key, value } => write!(f, "map({}, {value})", key.map_or("?", DType::name)),
            Self::Opaque { domain, name } => {
                write!(f, "opaque({}.{})", domain.as_deref().unwrap_or(""), name.as_deref().unwrap_or(""))
            }
        }
    }
}
