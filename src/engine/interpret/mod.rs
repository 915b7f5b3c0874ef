//! The reference engine: runs a whole model node by node with our own kernels.
//!
//! It does nothing clever, so that it can be trusted: no fusion, no reordering, one thread. Control flow, sequences,
//! optionals and the model's own functions are carried out here; every other operator is one call of a kernel. What it
//! lacks is [`EngineError::Unsupported`] with the operator's name.
//!
//! With an [`Arithmetic`] it runs quantized models as their target does: groups of nodes on integers.

mod bodies;
mod frame;
mod fused;
mod grid;
mod integer;
mod sequence;
#[cfg(test)]
mod tests;
mod value;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::arithmetic::Arithmetic;
use super::inputs::fed;
use super::{Bindings, Engine, EngineError, Session};
use crate::ir::{Dim, Model, TensorData, Value};
use frame::{Frame, Machine};
use value::Runtime;

/// The engine's name.
const NAME: &str = "reference";

/// Runs models with our own kernels: slow, exact, and the same on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interpreter {
    /// The most bytes that one value may take.
    pub limit: u64,
    /// Whose integer kernels are computed as they would; without, every node is computed as the standard says.
    pub arithmetic: Option<Arithmetic>,
}

impl Default for Interpreter {
    fn default() -> Self {
        Self { limit: 1 << 32, arithmetic: None }
    }
}

impl Interpreter {
    /// Runs quantized models as onnxruntime would on an x86 CPU of this arithmetic: `Conv`, `MatMul` and `Gemm` between
    /// `DequantizeLinear` and `QuantizeLinear`, and the operators on codes that it makes of them, on integers.
    pub fn with_arithmetic(arithmetic: Arithmetic) -> Self {
        Self { arithmetic: Some(arithmetic), ..Self::default() }
    }
}

impl Engine for Interpreter {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare(&self, model: &Model, dims: &Bindings) -> Result<Box<dyn Session>, EngineError> {
        model.graph.order().map_err(|e| EngineError::Invalid(e.to_string()))?;
        Ok(Box::new(Prepared { model: Arc::new(model.clone()), dims: dims.clone(), engine: *self }))
    }

    fn is_runtime(&self) -> bool {
        false
    }
}

struct Prepared {
    model: Arc<Model>,
    dims: Bindings,
    engine: Interpreter,
}

impl Session for Prepared {
    fn run(&self, inputs: &[TensorData]) -> Result<Vec<TensorData>, EngineError> {
        let graph = &self.model.graph;
        let wanted: Vec<_> = fed(graph).collect();
        if wanted.len() != inputs.len() {
            let what = format!("the model takes {} inputs, not {}", wanted.len(), inputs.len());
            return Err(EngineError::Invalid(what));
        }
        let mut sizes: BTreeMap<&str, u64> = self.dims.iter().map(|(s, &n)| (s.as_str(), n)).collect();
        for (&id, data) in wanted.iter().zip(inputs) {
            admit(graph.value(id), data, &mut sizes)?;
        }
        let steps = Cell::new(0);
        let Interpreter { limit, arithmetic } = self.engine;
        let machine = Machine { model: &self.model, limit, arithmetic, steps: &steps };
        let mut frame = Frame::new(graph, None, None);
        for (&id, data) in wanted.iter().zip(inputs) {
            frame.set(id, Runtime::Tensor(data.clone()));
        }
        let plan = machine.plan(graph)?;
        let outputs = machine.run(&plan, frame, 0)?;
        let name = |at: usize| graph.outputs().get(at).map_or("", |&v| graph.value(v).name.as_str());
        let tensor = |(at, value)| match value {
            Runtime::Tensor(data) => Ok(data),
            _ => Err(unsupported(format!("output `{}` is no tensor", name(at)))),
        };
        outputs.into_iter().enumerate().map(tensor).collect()
    }
}

/// Whether a tensor may be given for an input; what its symbolic dims are.
fn admit<'m>(
    value: &'m Value,
    data: &TensorData,
    sizes: &mut BTreeMap<&'m str, u64>,
) -> Result<(), EngineError> {
    let wrong =
        || EngineError::Invalid(format!("input `{}` is {}, but was given {data:?}", value.name, value.ty));
    if value.ty.dtype().is_some_and(|dtype| dtype != data.dtype()) {
        return Err(wrong());
    }
    let Some(shape) = value.ty.shape() else { return Ok(()) };
    if shape.len() != data.rank() {
        return Err(wrong());
    }
    for (dim, &size) in shape.iter().zip(data.dims()) {
        let fits = match dim {
            Dim::Known(n) => *n == size,
            Dim::Symbol(symbol) => *sizes.entry(symbol).or_insert(size) == size,
            Dim::Unknown(_) => true,
        };
        if !fits {
            return Err(wrong());
        }
    }
    Ok(())
}

fn unsupported(what: impl Into<String>) -> EngineError {
    EngineError::Unsupported { engine: NAME, what: what.into() }
}
