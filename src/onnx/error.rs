//! What can be wrong with a file.

use std::io;

use super::dialect::Unsayable;
use crate::ir::{DType, IrError};

/// Why a model could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages say what the fields are.
pub enum OnnxError {
    /// The operating system refused.
    #[error("cannot read `{path}`: {cause}")]
    Read { path: String, cause: io::Error },
    /// The path names a directory.
    #[error("cannot read `{path}`: it is a directory; name the .onnx file in it")]
    IsDirectory { path: String },
    /// There is not a single byte.
    #[error("`{path}` is empty")]
    Empty { path: String },
    /// A checkout without its large files.
    #[error("`{path}` is a git-lfs pointer, not the model itself; fetch the model with `git lfs pull`")]
    LfsPointer { path: String },
    /// The end is missing.
    #[error("`{path}` is cut off: its `{field}` takes {needed} bytes, of which {found} are there")]
    Truncated { path: String, field: &'static str, needed: u64, found: u64 },
    /// The bytes are no protobuf, or another one.
    #[error("`{path}` is no ONNX model, or a damaged one: {reason}")]
    NotOnnx { path: String, reason: String },
    /// Bodies in bodies, or types in types, beyond what the protobuf format allows.
    #[error("`{path}` nests bodies or types too deep: protobuf messages may nest 100 levels")]
    TooDeep { path: String },
    /// A protobuf that could be an ONNX model, but holds no graph.
    #[error("`{path}` is no ONNX model: it has no graph")]
    NoGraph { path: String },
    /// A tensor whose data is not what its type and dims ask for.
    #[error("{place}: {fault}")]
    Tensor { place: String, fault: TensorFault },
    /// A message that misses what it must have, or has what it must not have.
    #[error("{place}: {what}")]
    Malformed { place: String, what: String },
    /// A text that is no model.
    #[error("text:{0}")]
    Text(#[from] super::text::TextError),
    /// A violated invariant of graphs.
    #[error(transparent)]
    Ir(#[from] IrError),
    /// An opset that has no form for a node.
    #[error(transparent)]
    Unsayable(#[from] Box<Unsayable>),
    /// The operating system refused.
    #[error("cannot write `{path}`: {cause}")]
    Write { path: String, cause: io::Error },
    /// The target cannot be replaced by a file.
    #[error("cannot write `{path}`: {reason}")]
    Target { path: String, reason: &'static str },
    /// Protobuf messages end at 2 GiB.
    #[error("the model takes {bytes} bytes, but a protobuf file holds at most 2147483647; {hint}")]
    TooLarge { bytes: u64, hint: &'static str },
}

/// What is wrong with a tensor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum TensorFault {
    /// Wrong length, or a length beyond all memory.
    #[error(transparent)]
    Ir(#[from] IrError),
    /// A dim below zero.
    #[error("dim {dim} is negative")]
    NegativeDim { dim: i64 },
    /// `UNDEFINED`, or a type of a newer standard.
    #[error("element type {code} is unknown; the newest known is {}", DType::ALL.last().map_or(0, |d| d.code()))]
    UnknownType { code: i32 },
    /// The `segment` field, which no exporter writes.
    #[error("it is one segment of a larger tensor, which is not supported; store the tensor whole")]
    Segment,
    /// More than one place for the elements.
    #[error("its elements are stored twice, in `{first}` and in `{second}`")]
    TwoFields { first: &'static str, second: &'static str },
    /// A field of another element type.
    #[error("elements of {dtype} do not belong in `{field}`")]
    WrongField { dtype: DType, field: &'static str },
    /// An element that its field can hold and the element type cannot.
    #[error("element {at} of `{field}` is {item}, out of range for {dtype}")]
    OutOfRange { dtype: DType, field: &'static str, at: usize, item: i128 },
    /// External data that cannot be had.
    #[error("external data `{}`: {fault}", location.escape_debug())]
    External { location: String, fault: ExternalFault },
}

/// What is wrong with a reference to external data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum ExternalFault {
    /// No `location` key, or an empty one.
    #[error("the location is missing")]
    NoLocation,
    /// A key that stands twice.
    #[error("the key `{key}` is given twice")]
    Repeated { key: &'static str },
    /// Refused: an absolute path.
    #[error("refused: the location must be relative to the model's directory")]
    Absolute,
    /// Refused: `..` beyond the model's directory.
    #[error("refused: the location leaves the model's directory")]
    Leaves,
    /// Refused: a link to somewhere else.
    #[error("refused: a link in the location leads out of the model's directory; put the file itself there")]
    LinkOut,
    /// Bytes without a directory, such as standard input.
    #[error("a model that is not read from a file has no directory to look in; give its path instead")]
    NoDirectory,
    /// Not there, or not readable.
    #[error("{cause}")]
    Read { cause: io::Error },
    /// A directory, a device, a pipe.
    #[error("it is no regular file")]
    NotAFile,
    /// `offset` or `length` that is no number from 0 up.
    #[error("`{key}` is `{text}`, which is no number of bytes")]
    NotANumber { key: &'static str, text: String },
    /// Beyond the end.
    #[error("bytes {offset} to {offset}+{length} are asked for, but the file has {size}")]
    OutOfRange { offset: u64, length: u64, size: u64 },
    /// Strings are not stored outside.
    #[error("a tensor of strings cannot have external data")]
    Strings,
}
