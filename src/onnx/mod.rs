//! The ONNX file format: file ⇄ protobuf ⇄ IR, external data, the opset dialect and the ONNX text syntax.

pub(crate) mod dialect;
mod error;
mod external;
mod hash;
mod load;
mod map;
mod outside;
pub(crate) mod proto;
mod read;
mod replace;
mod save;
#[allow(dead_code)] // its callers, the fixture harness and `inspect --text`, come later
pub(crate) mod text;
mod unknown;
mod visit;
mod warning;
mod write;

pub use dialect::Unsayable;
pub use error::{ExternalFault, OnnxError, TensorFault};
pub use load::{load, load_bytes};
pub use save::{EXTERNAL_THRESHOLD, ExternalData, SaveOptions, SaveReport, save};
pub use warning::Warning;

use crate::ir::{Checked, Model};

/// A model that was read, and what there is to say about its file.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The model.
    pub model: Model,
    /// Remarks, in file order.
    pub warnings: Vec<Warning>,
}

/// The protobuf form of a model, in memory: what [`save`] writes where no external data is asked for.
///
/// # Errors
/// A node that the target opset has no form for.
pub fn encode(model: Checked<'_>) -> Result<Vec<u8>, OnnxError> {
    use prost::Message;
    Ok(write::write(model)?.encode_to_vec())
}
