//! What a pass may know and use besides the model.

use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, Model, OpName, OpsetId, TensorData};
use crate::rewrite::Names;
use crate::schema;

/// Evaluates one node on constants; see [`crate::engine`].
pub type Evaluate<'a> = dyn Fn(&NodeCall<'_>) -> Result<Vec<TensorData>, EngineError> + Sync + 'a;

/// Limits that hold for every pass of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes by which folding may still grow the file.
    pub growth: u64,
    /// Bytes by which folding has grown it.
    pub grown: u64,
    /// The largest tensor that folding may make, in bytes.
    pub tensor: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { growth: 4096, grown: 0, tensor: 1 << 31 }
    }
}

/// What the written model may contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    opsets: Vec<OpsetId>,
}

impl Target {
    /// The opsets that a model asks for.
    pub fn of(model: &Model) -> Self {
        Self { opsets: model.opsets.clone() }
    }

    /// The opset of a domain (empty for `ai.onnx`), where it is imported.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        self.opsets.iter().find(|o| o.domain == domain).map(|o| o.version)
    }

    /// Whether the standard's operator exists, and is not deprecated, at the opset that is written.
    pub fn supports(&self, op: &str) -> bool {
        let opset = self.opset("").unwrap_or(1);
        schema::lookup("", op, opset).is_some_and(|s| !s.deprecated)
    }

    /// Whether the standard's operator takes this element type in its first input, at the opset that is written.
    pub fn supports_type(&self, op: &str, dtype: DType) -> bool {
        let schema = schema::lookup("", op, self.opset("").unwrap_or(1)).filter(|s| !s.deprecated);
        schema.and_then(|s| s.input(0)).is_some_and(|p| p.allows(dtype.code()))
    }
}

/// What a pass may know and use besides the model.
pub struct PassContext<'a> {
    /// What the written model may contain.
    pub target: Target,
    /// Limits of this run. Passes subtract the growth that they used.
    pub limits: Limits,
    /// Things the user should know, a line each.
    pub warnings: Vec<String>,
    pub(crate) names: Names,
    evaluate: &'a Evaluate<'a>,
    can_evaluate: &'a (dyn Fn(&OpName) -> bool + Sync + 'a),
}

impl<'a> PassContext<'a> {
    /// The context of a run over a model.
    pub(crate) fn new(
        model: &Model,
        evaluate: &'a Evaluate<'a>,
        can_evaluate: &'a (dyn Fn(&OpName) -> bool + Sync + 'a),
    ) -> Self {
        Self {
            target: Target::of(model),
            limits: Limits::default(),
            warnings: Vec::new(),
            names: Names::of(model),
            evaluate,
            can_evaluate,
        }
    }

    /// Whether some engine may evaluate this operator on constants.
    pub fn can_evaluate(&self, op: &OpName) -> bool {
        (self.can_evaluate)(op)
    }

    /// Evaluates one node on constants.
    ///
    /// # Errors
    /// Where no engine can, or the node is wrong.
    pub fn evaluate(&self, call: &NodeCall<'_>) -> Result<Vec<TensorData>, EngineError> {
        (self.evaluate)(call)
    }
}
