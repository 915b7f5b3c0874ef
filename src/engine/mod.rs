//! Engines: what can evaluate one node on constants, and run whole models.

pub mod arithmetic;
pub mod compare;
pub mod fold;
mod hints;
pub mod inputs;
pub mod interpret;
pub(crate) mod kernels;
#[cfg(feature = "ort")]
pub mod ort;
pub(crate) mod random;
pub mod timing;
#[cfg(feature = "tract")]
pub mod tract;
pub mod verify;

use std::collections::BTreeMap;

pub use hints::Draw;

use crate::ir::{Attrs, Model, OpName, TensorData};

/// One node on constant inputs, in the newest form of its operator.
#[derive(Debug, Clone, Copy)]
pub struct NodeCall<'a> {
    /// The operator.
    pub op: &'a OpName,
    /// Its attributes. Without bodies: nodes with bodies are never evaluated here.
    pub attrs: &'a Attrs,
    /// The inputs by slot; `None` for an absent optional one.
    pub inputs: &'a [Option<&'a TensorData>],
    /// For each output slot, whether anything reads it. An evaluation may leave the others out.
    pub outputs: &'a [bool],
    /// The most bytes that one output may take. An evaluation checks it before it allocates.
    pub limit: u64,
}

impl<'a> NodeCall<'a> {
    /// The input in a slot, if it is present.
    pub fn input(&self, slot: usize) -> Option<&'a TensorData> {
        self.inputs.get(slot).copied().flatten()
    }

    /// The input in a slot that the operator needs.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] where it is absent.
    pub fn need(&self, slot: usize) -> Result<&'a TensorData, EngineError> {
        self.input(slot).ok_or_else(|| EngineError::Invalid(format!("{}: input {slot} is absent", self.op)))
    }
}

/// Why an engine gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The engine lacks the operator, the form or the element type. Never to be read as "equal".
    #[error("{engine} cannot run this: {what}")]
    Unsupported {
        /// The engine.
        engine: &'static str,
        /// What it lacks.
        what: String,
    },
    /// The node or the inputs are wrong by the standard.
    #[error("{0}")]
    Invalid(String),
    /// An output would be larger than the limit of the call.
    #[error("the result would take {bytes} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Bytes that the output would take (saturated).
        bytes: u64,
        /// [`NodeCall::limit`].
        limit: u64,
    },
    /// The engine tried and failed.
    #[error("{engine} failed: {what}")]
    Failed {
        /// The engine.
        engine: &'static str,
        /// Its own words, on one line.
        what: String,
    },
}

/// Sizes for dims that the model leaves open: by symbol, or by `input[axis]` for a dim of an input without a symbol.
pub type Bindings = BTreeMap<String, u64>;

/// Something that runs whole models.
pub trait Engine: Send + Sync {
    /// The engine's name on the command line.
    fn name(&self) -> &'static str;

    /// Makes a model ready to run, with its symbolic input dims bound.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] where the engine lacks something that the model needs, [`EngineError::Failed`]
    /// where it gives up for another reason.
    fn prepare(&self, model: &Model, dims: &Bindings) -> Result<Box<dyn Session>, EngineError>;

    /// The same for a model that nobody questions, and that runs often: with what the engine itself does to run it faster.
    ///
    /// # Errors
    /// As [`Engine::prepare`].
    fn prepare_fast(&self, model: &Model, dims: &Bindings) -> Result<Box<dyn Session>, EngineError> {
        self.prepare(model, dims)
    }

    /// Whether it is made to run models fast, so that its times say something.
    fn is_runtime(&self) -> bool {
        true
    }
}

/// A model that is ready to run.
pub trait Session: Send {
    /// Runs it: outputs in the order of the graph's, and as many inputs as [`inputs::fed`] lists, in that order.
    ///
    /// # Errors
    /// As [`Engine::prepare`].
    fn run(&self, inputs: &[TensorData]) -> Result<Vec<TensorData>, EngineError>;

    /// The same model for another thread, where that is cheaper than to prepare it once more.
    fn fork(&self) -> Option<Box<dyn Session>> {
        None
    }

    /// Runs it, and says how many seconds that took.
    ///
    /// # Errors
    /// As [`Session::run`].
    fn time(&self, inputs: &[TensorData]) -> Result<f64, EngineError> {
        let start = std::time::Instant::now();
        self.run(inputs)?;
        Ok(start.elapsed().as_secs_f64())
    }
}

/// The engine that verifies unless another is named.
pub const DEFAULT: &str = if cfg!(feature = "tract") { "tract" } else { "reference" };

/// The engine of that name; `library` is the libonnxruntime of `ort`.
///
/// # Errors
/// [`EngineError::Invalid`] for a name that no engine has, and for one that this build leaves out;
/// [`EngineError::Unsupported`] where the library cannot be loaded.
pub fn by_name(name: &str, library: Option<&std::path::Path>) -> Result<Box<dyn Engine>, EngineError> {
    let _ = library;
    match name {
        "reference" => Ok(Box::new(interpret::Interpreter::default())),
        #[cfg(feature = "tract")]
        "tract" => Ok(Box::new(tract::Tract)),
        #[cfg(feature = "ort")]
        "ort" => Ok(Box::new(ort::Ort::load(library)?)),
        #[cfg(not(all(feature = "tract", feature = "ort")))]
        "tract" | "ort" => Err(EngineError::Invalid(format!("this build leaves the engine `{name}` out"))),
        _ => Err(EngineError::Invalid(format!("no engine is called `{name}`; use tract, ort or reference"))),
    }
}
