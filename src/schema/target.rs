//! What the written model may contain.

use super::{OpSchema, lookup, newest};
use crate::ir::{DType, Model, OpsetId};

/// What the written model may contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    opsets: Vec<OpsetId>,
    /// Operators of the standard that the runtime does without.
    lacks: Vec<String>,
}

impl Target {
    /// The opsets that a model asks for.
    pub fn of(model: &Model) -> Self {
        Self::asking_for(&model.opsets)
    }

    /// These opsets.
    pub fn asking_for(opsets: &[OpsetId]) -> Self {
        Self { opsets: opsets.to_vec(), lacks: Vec::new() }
    }

    /// The same without some operators of the standard.
    #[must_use]
    pub fn without(mut self, operators: &[String]) -> Self {
        self.lacks.extend_from_slice(operators);
        self
    }

    /// The opset of a domain (empty for `ai.onnx`), where it is imported.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        self.opsets.iter().find(|o| o.domain == domain).map(|o| o.version)
    }

    /// Whether the standard's operator exists, and is not deprecated, at the opset that is written, and the runtime has
    /// it.
    pub fn supports(&self, op: &str) -> bool {
        if self.lacks.iter().any(|lacking| lacking == op) {
            return false;
        }
        let opset = self.opset("").unwrap_or(1);
        lookup("", op, opset).is_some_and(|s| !s.deprecated)
    }

    /// Whether the standard's operator takes this element type in its first input, at the opset that is written.
    pub fn supports_type(&self, op: &str, dtype: DType) -> bool {
        let schema = lookup("", op, self.opset("").unwrap_or(1)).filter(|_| self.supports(op));
        schema.and_then(|s| s.input(0)).is_some_and(|p| p.allows(dtype.code()))
    }

    /// The type variable of an input of the standard's operator in its newest form, and whether it may be this element
    /// type at the opset that is written; `None` where the standard leaves the input no choice.
    pub fn input_variable(&self, op: &str, slot: usize, dtype: DType) -> Option<(&'static str, bool)> {
        let param = newest("", op)?.input(slot)?;
        let written = lookup("", op, self.opset("").unwrap_or(1)).filter(|s| !s.deprecated);
        // What is an input now may have been an attribute.
        let allowed = |s: &OpSchema| s.input(slot).is_none_or(|p| p.allows(dtype.code()));
        Some((param.type_variable()?, param.allows(dtype.code()) && written.is_some_and(allowed)))
    }

    /// The type variable of an output of the standard's operator in its newest form.
    pub fn output_variable(&self, op: &str, slot: usize) -> Option<&'static str> {
        newest("", op)?.output(slot)?.type_variable()
    }
}
