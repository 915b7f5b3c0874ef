//! Operators.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Attrs, Metadata, ValueId};

/// The values in a node's slots, in order; `None` for an absent optional one.
pub type Slots = SmallVec<[Option<ValueId>; 4]>;

/// The name of an operator or function: its domain (empty for the standard's own, `ai.onnx`) and its type.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpName {
    /// Empty for `ai.onnx`.
    pub domain: Arc<str>,
    /// `NodeProto.op_type`.
    pub name: Arc<str>,
}

impl OpName {
    /// An operator; the domain `ai.onnx` is the empty one.
    pub fn new(domain: &str, name: &str) -> Self {
        let domain = if domain == "ai.onnx" { "" } else { domain };
        Self { domain: domain.into(), name: name.into() }
    }

    /// An operator of the standard.
    pub fn onnx(name: &str) -> Self {
        Self::new("", name)
    }

    /// Whether this is the standard's operator of that name.
    pub fn is(&self, name: &str) -> bool {
        self.domain.is_empty() && &*self.name == name
    }
}

impl fmt::Display for OpName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.domain.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}.{}", self.domain, self.name)
        }
    }
}

impl fmt::Debug for OpName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One operator of a graph. Its inputs and outputs are edges of the graph.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it computes.
    pub op: OpName,
    /// `NodeProto.name`; often empty or not unique.
    pub name: String,
    /// Attributes in the newest form of the operator, or in the form of [`Node::opaque`].
    pub attrs: Attrs,
    /// `Some(opset)`: the node has no exact newer form and stays as that opset defines it. Passes do not match it.
    pub opaque: Option<i64>,
    /// The opset that the file asked for where it has the node; `None` for a node that a pass made, and for operators
    /// outside the standard.
    pub read_at: Option<i64>,
    /// The form in the file, where the newest form differs. Written until the node is replaced.
    pub as_read: Option<Box<AsRead>>,
    /// Which pass made the node, and from what; `None` for a node of the file.
    pub made_by: Option<Arc<Provenance>>,
    /// What reports and selectors call it where it was given another name, or none: its name before, or that of its first
    /// output.
    pub formerly: Option<Arc<str>>,
    /// `NodeProto` fields that no pass looks at; `None` for almost every node.
    pub extra: Option<Box<NodeExtra>>,
    /// Place in the file: ties in the topological order go by it, so that a diff of two models stays small.
    pub position: u64,
    pub(super) inputs: u16,
    pub(super) outputs: u16,
}

/// The form in which the file had a node.
#[derive(Debug, Clone)]
pub struct AsRead {
    /// Operator in the file.
    pub op: OpName,
    /// Attributes in the file.
    pub attrs: Attrs,
    /// For each input slot of the file's form, the slot of the newest form that holds the value; `None` if absent.
    pub inputs: SmallVec<[Option<u16>; 4]>,
    /// The same for the outputs.
    pub outputs: SmallVec<[Option<u16>; 2]>,
}

/// Where a node that a pass made came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The pass.
    pub pass: &'static str,
    /// Names of nodes of the file that it stands for, in order, without repeats.
    pub from: Vec<Arc<str>>,
}

/// `NodeProto` fields that are only carried along.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeExtra {
    /// `overload`.
    pub overload: Option<String>,
    /// `doc_string`.
    pub doc: Option<String>,
    /// `metadata_props`.
    pub metadata: Metadata,
    /// Encoded `NodeDeviceConfigurationProto`s.
    pub device: Vec<Bytes>,
}

impl Node {
    /// A node of the standard in its newest form.
    pub fn new(op: OpName, name: impl Into<String>, attrs: Attrs) -> Self {
        Self {
            op,
            name: name.into(),
            attrs,
            opaque: None,
            read_at: None,
            as_read: None,
            made_by: None,
            formerly: None,
            extra: None,
            position: 0,
            inputs: 0,
            outputs: 0,
        }
    }

    /// Forgets how the file had the node: from now on it is written as it is.
    pub(crate) fn touch(&mut self) {
        self.as_read = None;
        self.read_at = None;
    }

    /// The same node with a number of output slots; for a node that is in no graph.
    #[must_use]
    pub(crate) fn with_outputs(mut self, count: usize) -> Self {
        self.outputs = u16::try_from(count).unwrap_or(u16::MAX);
        self
    }

    /// Number of input slots, absent ones before the last present one included.
    pub fn input_count(&self) -> usize {
        usize::from(self.inputs)
    }

    /// Number of output slots, unused ones included.
    pub fn output_count(&self) -> usize {
        usize::from(self.outputs)
    }

    /// Whether this is the standard's operator of that name, in the form that passes understand: with attributes whose
    /// values are known.
    pub fn is(&self, name: &str) -> bool {
        self.op.is(name) && self.opaque.is_none() && !self.attrs.has_refs()
    }

    /// `NodeProto.overload`, empty where there is none.
    pub fn overload(&self) -> &str {
        self.extra.as_ref().and_then(|e| e.overload.as_deref()).unwrap_or("")
    }

    /// How messages call the node: its operator and, where it has one, its name.
    pub fn label(&self) -> String {
        if self.name.is_empty() {
            format!("a {} node", self.op)
        } else {
            format!("{} node `{}`", self.op, self.name)
        }
    }
}
