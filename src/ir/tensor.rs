//! Tensors with their data.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use half::{bf16, f16};

use super::deferred::Deferred;
use super::{DType, IrError, Metadata};

/// A constant tensor: element type, dims, and elements in row-major order.
///
/// Cloning counts a reference. The bytes may be a view into a mapped file, so they have no alignment:
/// read elements through [`TensorData::to_vec`] and its siblings.
#[derive(Clone, PartialEq)]
pub struct TensorData {
    dtype: DType,
    dims: Arc<[u64]>,
    pub(super) payload: Payload,
    /// How the file stored the elements; kept so that an untouched tensor is written as it was read.
    encoding: Encoding,
    /// Name (in attributes), documentation and metadata of the file; `None` for almost every tensor.
    label: Option<Arc<TensorLabel>>,
}

#[derive(Clone)]
pub(super) enum Payload {
    Bytes(Bytes),
    Strings(Arc<[Bytes]>),
    Deferred(Arc<Deferred>),
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Strings(a), Self::Strings(b)) => a == b,
            // Not computed for the sake of a comparison.
            (Self::Deferred(a), Self::Deferred(b)) => a.same(b),
            _ => self.bytes().is_some() && self.bytes() == other.bytes(),
        }
    }
}

impl Payload {
    fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Deferred(deferred) => Some(deferred.bytes()),
            Self::Strings(_) => None,
        }
    }
}

/// The field of `TensorProto` that held the elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// `raw_data`, or external data.
    #[default]
    Raw,
    /// `float_data`, `int32_data`, `int64_data`, `double_data`, `uint64_data`.
    Typed,
}

/// What a file says about a tensor besides its elements.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TensorLabel {
    /// `TensorProto.name` of a tensor inside an attribute (an initializer's name is its value's).
    pub name: Option<String>,
    /// `TensorProto.doc_string`.
    pub doc: Option<String>,
    /// `TensorProto.metadata_props`.
    pub metadata: Metadata,
}

/// A sparse initializer or attribute, kept whole: passes do not compute with it.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseTensor {
    /// The non-default elements.
    pub values: TensorData,
    /// Their positions, as the standard lays them out.
    pub indices: TensorData,
    /// Dims of the dense tensor.
    pub dims: Vec<u64>,
}

/// A Rust type that is the element type of a tensor.
pub trait Element: Copy + 'static {
    /// The element type.
    const DTYPE: DType;
    /// Reads one element from exactly as many bytes as it takes.
    fn read(bytes: &[u8]) -> Self;
    /// Writes one element into exactly as many bytes as it takes.
    fn write(self, out: &mut [u8]);
}

macro_rules! elements {
    ($($ty:ty => $dtype:ident),*) => {$(
        impl Element for $ty {
            const DTYPE: DType = DType::$dtype;
            fn read(bytes: &[u8]) -> Self {
                let mut le = [0; size_of::<$ty>()];
                le.copy_from_slice(bytes);
                <$ty>::from_le_bytes(le)
            }
            fn write(self, out: &mut [u8]) {
                out.copy_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
elements! { f32 => Float, f64 => Double, f16 => Float16, bf16 => Bfloat16, u8 => Uint8, i8 => Int8, u16 => Uint16,
i16 => Int16, u32 => Uint32, i32 => Int32, u64 => Uint64, i64 => Int64 }

impl Element for bool {
    const DTYPE: DType = DType::Bool;
    fn read(bytes: &[u8]) -> Self {
        bytes.first().is_some_and(|&b| b != 0)
    }
    fn write(self, out: &mut [u8]) {
        out.fill(u8::from(self));
    }
}

fn bytes_of<T: Element>(items: &[T]) -> Vec<u8> {
    let mut bytes = vec![0; size_of_val(items)];
    bytes.chunks_exact_mut(size_of::<T>()).zip(items).for_each(|(out, &item)| item.write(out));
    bytes
}

impl TensorData {
    /// A tensor over bytes laid out as `raw_data`.
    ///
    /// # Errors
    /// [`IrError::WrongLength`] where the bytes are not exactly what `dims` ask for, [`IrError::Overflow`] where that
    /// number overflows. Strings have no raw form: use [`TensorData::strings`].
    pub fn new(dtype: DType, dims: &[u64], bytes: impl Into<Bytes>) -> Result<Self, IrError> {
        let bytes = bytes.into();
        let overflow = || IrError::Overflow { dtype, dims: dims.to_vec() };
        let needed = element_count(dims).and_then(|n| dtype.byte_len(n)).ok_or_else(overflow)?;
        if dtype == DType::String || needed != bytes.len() as u64 {
            return Err(IrError::WrongLength {
                dtype,
                dims: dims.to_vec(),
                needed,
                found: bytes.len() as u64,
            });
        }
        Ok(Self {
            dtype,
            dims: dims.into(),
            payload: Payload::Bytes(bytes),
            encoding: Encoding::Raw,
            label: None,
        })
    }

    pub(super) fn from_payload(dtype: DType, dims: &[u64], payload: Payload) -> Self {
        Self { dtype, dims: dims.into(), payload, encoding: Encoding::Raw, label: None }
    }

    /// A tensor of strings.
    ///
    /// # Errors
    /// [`IrError::WrongLength`] where the number of strings is not what `dims` ask for.
    pub fn strings(dims: &[u64], items: Vec<Bytes>) -> Result<Self, IrError> {
        let dtype = DType::String;
        let needed = element_count(dims).ok_or_else(|| IrError::Overflow { dtype, dims: dims.to_vec() })?;
        if needed != items.len() as u64 {
            return Err(IrError::WrongLength {
                dtype,
                dims: dims.to_vec(),
                needed,
                found: items.len() as u64,
            });
        }
        Ok(Self::from_payload(dtype, dims, Payload::Strings(items.into())))
    }

    /// A tensor over Rust elements.
    ///
    /// # Errors
    /// As [`TensorData::new`].
    pub fn from_slice<T: Element>(dims: &[u64], items: &[T]) -> Result<Self, IrError> {
        Self::new(T::DTYPE, dims, bytes_of(items))
    }

    /// A tensor of rank 1.
    pub fn vector<T: Element>(items: &[T]) -> Self {
        let payload = Payload::Bytes(bytes_of(items).into());
        Self {
            dtype: T::DTYPE,
            dims: [items.len() as u64].into(),
            payload,
            encoding: Encoding::Raw,
            label: None,
        }
    }

    /// A tensor of rank 0.
    pub fn scalar<T: Element>(item: T) -> Self {
        let mut tensor = Self::vector(&[item]);
        tensor.dims = [].into();
        tensor
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Dims; empty for a scalar.
    pub fn dims(&self) -> &[u64] {
        &self.dims
    }

    /// Number of dims.
    pub fn rank(&self) -> usize {
        self.dims.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        element_count(&self.dims).unwrap_or(0) as usize
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.dims.contains(&0)
    }

    /// Bytes that the elements take in a file.
    pub fn byte_len(&self) -> u64 {
        match &self.payload {
            Payload::Bytes(bytes) => bytes.len() as u64,
            Payload::Deferred(deferred) => deferred.len(),
            Payload::Strings(items) => items.iter().map(|s| s.len() as u64 + 2).sum(),
        }
    }

    /// The elements as `raw_data` lays them out; `None` for strings.
    pub fn bytes(&self) -> Option<&Bytes> {
        self.payload.bytes()
    }

    /// The elements of a tensor of strings.
    pub fn string_items(&self) -> Option<&[Bytes]> {
        match &self.payload {
            Payload::Strings(items) => Some(items),
            _ => None,
        }
    }

    /// The elements, where `T` is exactly the element type.
    pub fn to_vec<T: Element>(&self) -> Option<Vec<T>> {
        let bytes = self.bytes().filter(|_| self.dtype == T::DTYPE)?;
        Some(bytes.chunks_exact(size_of::<T>()).map(T::read).collect())
    }

    /// The same elements under other dims of the same count.
    pub fn with_dims(&self, dims: &[u64]) -> Option<Self> {
        (element_count(dims)? == self.len() as u64).then(|| Self {
            dims: dims.into(),
            label: None,
            ..self.clone()
        })
    }

    /// How the file stored the elements.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The same tensor, to be written in another field.
    #[must_use]
    pub fn with_encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Name, documentation and metadata of the file.
    pub fn label(&self) -> Option<&TensorLabel> {
        self.label.as_deref()
    }

    /// The same tensor with what a file says about it.
    #[must_use]
    pub fn with_label(mut self, label: TensorLabel) -> Self {
        self.label = (label != TensorLabel::default()).then(|| Arc::new(label));
        self
    }

    /// Whether two tensors have the same type, dims and bits; what the file says about them does not count.
    pub fn same_data(&self, other: &Self) -> bool {
        self.dtype == other.dtype && self.dims == other.dims && self.payload == other.payload
    }
}

impl fmt::Debug for TensorData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.dtype, self.dims)
    }
}

/// The number of elements; `None` where it overflows.
pub(crate) fn element_count(dims: &[u64]) -> Option<u64> {
    if dims.contains(&0) {
        return Some(0);
    }
    dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d)).filter(|&n| isize::try_from(n).is_ok())
}
