//! The intermediate representation: a model as a bipartite graph of operators and values.
//!
//! ONNX itself is bipartite: names, types, shapes and initializers are facts about *values*, and an operator reads
//! and writes values by slot. So both are vertices of one `petgraph::StableDiGraph`, and the edges carry the slots.
//!
//! Invariants, which [`Model::check`] proves and hands out as a [`Checked`]:
//!
//! * every value has a name that is unique in its graph, and at most one producer;
//! * a value is produced by a node, or is an input of the graph, or has data, or is captured from the graph outside;
//! * input and output slots of a node lie below its arity, each at most once; an absent optional input has no edge;
//! * every value that a body captures is an edge ([`Link::Capture`]) from that value to the node that holds the body;
//! * the graph has no cycle; its outputs are values of the graph.
//!
//! Reading is public. Writing is `pub(crate)`, and called by `onnx::read` and `rewrite` only.

mod attr;
mod check;
mod convert;
mod deferred;
mod dtype;
mod edit;
mod error;
mod graph;
mod model;
mod node;
mod order;
mod round;
mod tensor;
mod value;

pub use attr::{Attr, AttrKind, AttrValue, Attrs};
pub use check::Checked;
pub use dtype::DType;
pub use error::IrError;
pub use graph::{Graph, Link, ListedConstants, NodeId, QuantAnnotation, ValueId, Vertex};
pub(crate) use model::opset_of;
pub use model::{Function, FunctionKey, Model, ModelMeta, OpsetId};
pub use node::{AsRead, Node, NodeExtra, OpName, Provenance, Slots};
pub(crate) use round::{bf16_from, f16_from};
pub use tensor::{Element, Encoding, SparseTensor, TensorData, TensorLabel};
pub use value::{Dim, Origin, Shape, UnknownDim, Value, ValueInfo, ValueType};

/// Key–value pairs of metadata, in file order.
pub type Metadata = Vec<(String, String)>;
