//! Whole models.

use std::collections::HashSet;

use bytes::Bytes;

use super::{Attrs, Checked, Graph, IrError, Metadata, OpName};

/// A model: the main graph, its functions, and what the file says about both.
#[derive(Debug, Clone)]
pub struct Model {
    /// The main graph.
    pub graph: Graph,
    /// The opsets that the file asked for, in file order; the domain `ai.onnx` is the empty one.
    pub opsets: Vec<OpsetId>,
    /// Model-local functions, in file order.
    pub functions: Vec<Function>,
    /// Everything else.
    pub meta: ModelMeta,
}

/// A domain and the version of its operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpsetId {
    /// Empty for `ai.onnx`.
    pub domain: String,
    /// The opset.
    pub version: i64,
}

/// What a file says about the model as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelMeta {
    /// `ir_version`.
    pub ir_version: i64,
    /// `producer_name`.
    pub producer_name: Option<String>,
    /// `producer_version`.
    pub producer_version: Option<String>,
    /// `domain`.
    pub domain: Option<String>,
    /// `model_version`.
    pub model_version: Option<i64>,
    /// `doc_string`.
    pub doc: Option<String>,
    /// `metadata_props`.
    pub metadata: Metadata,
    /// Encoded `TrainingInfoProto`s, carried along.
    pub training: Vec<Bytes>,
    /// Encoded `DeviceConfigurationProto`s, carried along.
    pub configuration: Vec<Bytes>,
}

/// A function that the model defines.
#[derive(Debug, Clone)]
pub struct Function {
    /// Domain and name.
    pub op: OpName,
    /// `overload`; empty where there is none.
    pub overload: String,
    /// The body. Its inputs and outputs have names and no types.
    pub graph: Graph,
    /// Attributes without a default.
    pub attributes: Vec<String>,
    /// Attributes with their defaults.
    pub defaults: Attrs,
    /// The function's own opsets.
    pub opsets: Vec<OpsetId>,
    /// `doc_string`.
    pub doc: Option<String>,
    /// `metadata_props`.
    pub metadata: Metadata,
}

/// What identifies a function: domain and name, and the overload.
pub type FunctionKey = (OpName, String);

impl Function {
    /// What identifies the function.
    pub fn key(&self) -> FunctionKey {
        (self.op.clone(), self.overload.clone())
    }
}

/// The version of a domain among imported opsets.
pub(crate) fn opset_of(opsets: &[OpsetId], domain: &str) -> Option<i64> {
    opsets.iter().find(|o| o.domain == domain).map(|o| o.version)
}

impl Model {
    /// The imported version of a domain (empty for `ai.onnx`).
    pub fn opset(&self, domain: &str) -> Option<i64> {
        opset_of(&self.opsets, domain)
    }

    /// The function that a node of this operator and overload calls.
    pub fn function(&self, op: &OpName, overload: &str) -> Option<&Function> {
        self.functions.iter().find(|f| f.op == *op && f.overload == overload)
    }

    /// Proves the invariants of every graph, body and function.
    ///
    /// # Errors
    /// The first invariant that does not hold, with its place.
    pub fn check(&self) -> Result<Checked<'_>, IrError> {
        Checked::of(self)
    }

    /// Whether a caller may override the initializers that are also graph inputs: from IR 4 on.
    pub fn inputs_are_overridable(&self) -> bool {
        self.meta.ir_version >= 4
    }

    /// Every value name of every graph, body and function.
    pub(crate) fn value_names(&self) -> HashSet<String> {
        let mut names = HashSet::new();
        self.graph.collect_names(&mut names);
        self.functions.iter().for_each(|f| f.graph.collect_names(&mut names));
        names
    }
}
