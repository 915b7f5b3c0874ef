//! Attributes of nodes.

use bytes::Bytes;

use super::{Graph, SparseTensor, TensorData, ValueType};

/// One attribute, as the file has it.
#[derive(Debug, Clone)]
pub struct Attr {
    /// The attribute's name.
    pub name: String,
    /// Its value.
    pub value: AttrValue,
    /// `AttributeProto.doc_string`.
    pub doc: Option<String>,
}

/// The value of an attribute.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum AttrValue {
    Float(f32),
    Int(i64),
    String(Bytes),
    Tensor(TensorData),
    Graph(Box<Graph>),
    SparseTensor(Box<SparseTensor>),
    Type(ValueType),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Strings(Vec<Bytes>),
    Tensors(Vec<TensorData>),
    Graphs(Vec<Graph>),
    SparseTensors(Vec<SparseTensor>),
    Types(Vec<ValueType>),
    /// In a function body: the attribute of the call with this name.
    Ref {
        name: String,
        kind: AttrKind,
    },
}

/// The kind of an attribute, with the codes of `AttributeProto.AttributeType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
#[allow(missing_docs)]
pub enum AttrKind {
    Undefined = 0,
    Float = 1,
    Int = 2,
    String = 3,
    Tensor = 4,
    Graph = 5,
    Floats = 6,
    Ints = 7,
    Strings = 8,
    Tensors = 9,
    Graphs = 10,
    SparseTensor = 11,
    SparseTensors = 12,
    Type = 13,
    Types = 14,
}

impl AttrValue {
    /// The kind of this value.
    pub fn kind(&self) -> AttrKind {
        match self {
            Self::Float(_) => AttrKind::Float,
            Self::Int(_) => AttrKind::Int,
            Self::String(_) => AttrKind::String,
            Self::Tensor(_) => AttrKind::Tensor,
            Self::Graph(_) => AttrKind::Graph,
            Self::SparseTensor(_) => AttrKind::SparseTensor,
            Self::Type(_) => AttrKind::Type,
            Self::Floats(_) => AttrKind::Floats,
            Self::Ints(_) => AttrKind::Ints,
            Self::Strings(_) => AttrKind::Strings,
            Self::Tensors(_) => AttrKind::Tensors,
            Self::Graphs(_) => AttrKind::Graphs,
            Self::SparseTensors(_) => AttrKind::SparseTensors,
            Self::Types(_) => AttrKind::Types,
            Self::Ref { kind, .. } => *kind,
        }
    }

    /// Whether two values are equal bit for bit. Bodies never are: their equality is not decided here.
    pub fn same(&self, other: &Self) -> bool {
        use AttrValue::{Float, Floats, Int, Ints, Ref, String, Strings, Tensor, Tensors, Type, Types};
        match (self, other) {
            (Float(a), Float(b)) => a.to_bits() == b.to_bits(),
            (Int(a), Int(b)) => a == b,
            (String(a), String(b)) => a == b,
            (Tensor(a), Tensor(b)) => a.same_data(b),
            (Type(a), Type(b)) => a == b,
            (Floats(a), Floats(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
            }
            (Ints(a), Ints(b)) => a == b,
            (Strings(a), Strings(b)) => a == b,
            (Tensors(a), Tensors(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same_data(b)),
            (Types(a), Types(b)) => a == b,
            (Ref { name: a, kind: k }, Ref { name: b, kind: l }) => a == b && k == l,
            _ => false,
        }
    }

    /// The bodies in this value.
    pub fn graphs(&self) -> &[Graph] {
        match self {
            Self::Graph(graph) => std::slice::from_ref(graph),
            Self::Graphs(graphs) => graphs,
            _ => &[],
        }
    }

    /// The bodies in this value, to be changed.
    pub(crate) fn graphs_mut(&mut self) -> &mut [Graph] {
        match self {
            Self::Graph(graph) => std::slice::from_mut(graph),
            Self::Graphs(graphs) => graphs,
            _ => &mut [],
        }
    }
}

macro_rules! from {
    ($($ty:ty => $variant:ident($conv:expr)),* $(,)?) => {$(
        impl From<$ty> for AttrValue {
            fn from(value: $ty) -> Self { Self::$variant($conv(value)) }
        }
    )*};
}
from! {
    i64 => Int(|x| x), f32 => Float(|x| x), Vec<i64> => Ints(|x| x), Vec<f32> => Floats(|x| x),
    &[i64] => Ints(<[i64]>::to_vec), TensorData => Tensor(|x| x),
    &str => String(|x: &str| Bytes::copy_from_slice(x.as_bytes())), Graph => Graph(Box::new),
}

/// The attributes of a node, in file order.
#[derive(Debug, Clone, Default)]
pub struct Attrs(Vec<Attr>);

impl Attrs {
    /// No attributes.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The same attributes with one set to a value, in its old place or at the end.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<AttrValue>) -> Self {
        self.set(name, value);
        self
    }

    /// Sets an attribute, in its old place or at the end.
    pub fn set(&mut self, name: &str, value: impl Into<AttrValue>) {
        let value = value.into();
        match self.0.iter_mut().find(|a| a.name == name) {
            Some(attr) => attr.value = value,
            None => self.0.push(Attr { name: name.to_owned(), value, doc: None }),
        }
    }

    /// Appends an attribute as read.
    pub fn push(&mut self, attr: Attr) {
        self.0.push(attr);
    }

    /// Removes an attribute and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<AttrValue> {
        let at = self.0.iter().position(|a| a.name == name)?;
        Some(self.0.remove(at).value)
    }

    /// The value of an attribute.
    pub fn get(&self, name: &str) -> Option<&AttrValue> {
        self.0.iter().find(|a| a.name == name).map(|a| &a.value)
    }

    /// An integer attribute.
    pub fn int(&self, name: &str) -> Option<i64> {
        if let AttrValue::Int(x) = self.get(name)? { Some(*x) } else { None }
    }

    /// A float attribute.
    pub fn float(&self, name: &str) -> Option<f32> {
        if let AttrValue::Float(x) = self.get(name)? { Some(*x) } else { None }
    }

    /// A list of integers.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        if let AttrValue::Ints(x) = self.get(name)? { Some(x) } else { None }
    }

    /// A list of floats.
    pub fn floats(&self, name: &str) -> Option<&[f32]> {
        if let AttrValue::Floats(x) = self.get(name)? { Some(x) } else { None }
    }

    /// A string attribute that is UTF-8.
    pub fn str(&self, name: &str) -> Option<&str> {
        if let AttrValue::String(x) = self.get(name)? { std::str::from_utf8(x).ok() } else { None }
    }

    /// A tensor attribute.
    pub fn tensor(&self, name: &str) -> Option<&TensorData> {
        if let AttrValue::Tensor(x) = self.get(name)? { Some(x) } else { None }
    }

    /// A body.
    pub fn graph(&self, name: &str) -> Option<&Graph> {
        if let AttrValue::Graph(x) = self.get(name)? { Some(x) } else { None }
    }

    /// All attributes, in file order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Attr> {
        self.0.iter()
    }

    /// All attributes, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Attr> {
        self.0.iter_mut()
    }

    /// Whether some value is that of an attribute of the call, which is not known in a function.
    pub fn has_refs(&self) -> bool {
        self.0.iter().any(|a| matches!(a.value, AttrValue::Ref { .. }))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bodies of all attributes.
    pub fn graphs(&self) -> impl Iterator<Item = &Graph> {
        self.0.iter().flat_map(|a| a.value.graphs())
    }
}

impl IntoIterator for Attrs {
    type Item = Attr;
    type IntoIter = std::vec::IntoIter<Attr>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
