//! The engine onnxruntime, from a library that the user has. This file is the only one that names the crate `ort`.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use half::{bf16, f16};
use ort::environment::Environment;
use ort::error::ErrorCode;
use ort::logging::LogLevel;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session as OrtSession, SessionInputValue};
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor, TensorElementType, ValueType};

use super::inputs::fed;
use super::{Bindings, Engine, EngineError, Session};
use crate::ir::{DType, Element, Model, TensorData};

const NAME: &str = "onnxruntime";

/// What the loader is asked for where the caller names no file, in order: beside the executable, then wherever the
/// system looks for libraries.
const NAMES: &[&str] = if cfg!(windows) {
    &["onnxruntime.dll"]
} else if cfg!(target_os = "macos") {
    &["libonnxruntime.dylib", "libonnxruntime.1.dylib"]
} else {
    &["libonnxruntime.so", "libonnxruntime.so.1"]
};

const ADVICE: &str = "Get one with `pip install onnxruntime`: it lies in `onnxruntime/capi/` of the folder that \
                      `python -c \"import onnxruntime; print(onnxruntime.__file__)\"` shows; then say where it is";

/// The engine onnxruntime, with its graph optimizations off: they would hide the mistakes of ours.
#[derive(Debug, Clone)]
pub struct Ort {
    environment: Environment,
    threads: usize,
}

impl Ort {
    /// Loads the library: the file, or the newest one in the folder, that `path` names, else by its common names.
    ///
    /// A process holds one onnxruntime: once a library is loaded, every call gives that one.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`], which says how to get a library.
    pub fn load(path: Option<&Path>) -> Result<Self, EngineError> {
        static LOADED: Mutex<Option<Environment>> = Mutex::new(None);
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let environment = match &*loaded {
            Some(environment) => environment.clone(),
            None => loaded.insert(start(path)?).clone(),
        };
        Ok(Self { environment, threads: 1 })
    }

    /// The same with this many threads inside an operator. With one, the default, a run repeats itself bit for bit.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Prepares an encoded model that is fed these inputs.
    #[allow(clippy::result_large_err, reason = "the errors of the crate's own builder, gone after one line")]
    fn open(&self, bytes: &[u8], inputs: Vec<String>) -> Result<Box<dyn Session>, EngineError> {
        let builder = OrtSession::builder(&self.environment).map_err(error)?;
        let session = builder
            .with_log_level(LogLevel::Fatal)
            .and_then(|b| b.with_optimization_level(GraphOptimizationLevel::Disable))
            .and_then(|b| b.with_intra_threads(self.threads))
            .and_then(|b| b.with_inter_threads(1))
            .and_then(|b| b.with_deterministic_compute(true))
            .map_err(error)?
            .commit_from_memory(bytes)
            .map_err(error)?;
        Ok(Box::new(Prepared { session: Mutex::new(session), inputs }))
    }
}

fn start(path: Option<&Path>) -> Result<Environment, EngineError> {
    let candidates: Vec<PathBuf> = match path {
        Some(path) if path.is_dir() => vec![newest(path)?],
        Some(path) if !path.exists() => {
            return Err(unsupported(format!("there is no library at {}. {ADVICE}", path.display())));
        }
        Some(path) => vec![path.to_path_buf()],
        None => NAMES.iter().map(PathBuf::from).collect(),
    };
    let mut tried = Vec::new();
    for candidate in candidates {
        match ort::init_from(&candidate) {
            Ok(builder) => return builder.with_telemetry(false).build().map_err(error),
            Err(why) => tried.push(why.to_string()),
        }
    }
    Err(unsupported(format!("no onnxruntime library could be loaded ({}). {ADVICE}", tried.join("; "))))
}

/// The last library by name in a folder.
fn newest(folder: &Path) -> Result<PathBuf, EngineError> {
    let stem = NAMES[0].split_once('.').map_or(NAMES[0], |(stem, _)| stem);
    let entries = std::fs::read_dir(folder).map_err(|e| unsupported(format!("{}: {e}", folder.display())))?;
    let is_library = |path: &PathBuf| {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let kind = [".so", ".dylib", ".dll"].iter().any(|kind| name.contains(kind));
        kind && name.strip_prefix(stem).is_some_and(|rest| rest.starts_with('.'))
    };
    let mut found: Vec<_> = entries.flatten().map(|e| e.path()).filter(is_library).collect();
    found.sort();
    found.pop().ok_or_else(|| unsupported(format!("there is no {stem} in {}. {ADVICE}", folder.display())))
}

impl Engine for Ort {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare(&self, model: &Model, _: &Bindings) -> Result<Box<dyn Session>, EngineError> {
        let checked = model.check().map_err(|e| EngineError::Invalid(e.to_string()))?;
        let bytes = crate::onnx::encode(checked).map_err(|e| EngineError::Invalid(e.to_string()))?;
        let inputs = fed(&model.graph).map(|id| model.graph.value(id).name.clone()).collect();
        self.open(&bytes, inputs)
    }
}

struct Prepared {
    session: Mutex<OrtSession>,
    inputs: Vec<String>,
}

impl Session for Prepared {
    fn run(&self, inputs: &[TensorData]) -> Result<Vec<TensorData>, EngineError> {
        if inputs.len() != self.inputs.len() {
            let wanted = self.inputs.len();
            return Err(EngineError::Invalid(format!(
                "the model takes {wanted} inputs, not {}",
                inputs.len()
            )));
        }
        let mut values: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(inputs.len());
        for (name, tensor) in self.inputs.iter().zip(inputs) {
            values.push((name, to_ort(tensor)?.into()));
        }
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(values).map_err(error)?;
        outputs.values().map(|value| from_ort(&value)).collect()
    }
}

fn unsupported(what: String) -> EngineError {
    EngineError::Unsupported { engine: NAME, what }
}

/// onnxruntime's own words, on one line.
#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn error<R>(error: ort::Error<R>) -> EngineError {
    let line = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    let lacks = [
        "is not a registered function/op",
        "No Op registered for",
        "under development",
        "Unsupported model IR version",
    ];
    if error.code() == ErrorCode::NotImplemented || lacks.iter().any(|text| line.contains(text)) {
        return unsupported(line);
    }
    EngineError::Failed { engine: NAME, what: line }
}

fn to_ort(tensor: &TensorData) -> Result<DynValue, EngineError> {
    let shape: Vec<i64> = tensor.dims().iter().map(|&d| d as i64).collect();
    if let Some(items) = tensor.string_items() {
        let items = items.iter().map(|s| String::from_utf8(s.to_vec())).collect::<Result<Vec<_>, _>>();
        let items = items.map_err(|_| unsupported("a string that is not UTF-8".to_owned()))?;
        return Tensor::from_string_array((shape, items.as_slice())).map(Tensor::into_dyn).map_err(error);
    }
    macro_rules! by_type {
        ($($dtype:ident => $ty:ty),*) => {
            match tensor.dtype() {
                $(DType::$dtype => {
                    let items: Vec<$ty> = tensor.to_vec().unwrap_or_default();
                    Tensor::from_array((shape, items)).map(Tensor::into_dyn).map_err(error)
                })*
                other => Err(unsupported(format!("inputs of element type {other}"))),
            }
        };
    }
    by_type!(Bool => bool, Uint8 => u8, Uint16 => u16, Uint32 => u32, Uint64 => u64, Int8 => i8, Int16 => i16,
        Int32 => i32, Int64 => i64, Float16 => f16, Bfloat16 => bf16, Float => f32, Double => f64)
}

fn from_ort(value: &DynValue) -> Result<TensorData, EngineError> {
    let ValueType::Tensor { ty, .. } = value.dtype() else {
        return Err(unsupported(format!("outputs of type {}", value.dtype())));
    };
    match ty {
        TensorElementType::Bool => extract::<bool>(value),
        TensorElementType::Uint8 => extract::<u8>(value),
        TensorElementType::Uint16 => extract::<u16>(value),
        TensorElementType::Uint32 => extract::<u32>(value),
        TensorElementType::Uint64 => extract::<u64>(value),
        TensorElementType::Int8 => extract::<i8>(value),
        TensorElementType::Int16 => extract::<i16>(value),
        TensorElementType::Int32 => extract::<i32>(value),
        TensorElementType::Int64 => extract::<i64>(value),
        TensorElementType::Float16 => extract::<f16>(value),
        TensorElementType::Bfloat16 => extract::<bf16>(value),
        TensorElementType::Float32 => extract::<f32>(value),
        TensorElementType::Float64 => extract::<f64>(value),
        TensorElementType::String => {
            let (shape, items) = value.try_extract_strings().map_err(error)?;
            let items = items.into_iter().map(Bytes::from).collect();
            TensorData::strings(&dims(shape), items).map_err(|e| unsupported(e.to_string()))
        }
        other => Err(unsupported(format!("outputs of element type {other}"))),
    }
}

fn extract<T: Element + PrimitiveTensorElementType>(value: &DynValue) -> Result<TensorData, EngineError> {
    let (shape, items) = value.try_extract_tensor::<T>().map_err(error)?;
    TensorData::from_slice(&dims(shape), items).map_err(|e| unsupported(e.to_string()))
}

fn dims(shape: &[i64]) -> Vec<u64> {
    shape.iter().map(|&d| u64::try_from(d).unwrap_or(0)).collect()
}

#[cfg(test)]
#[path = "ort_tests.rs"]
mod tests;
