//! The ONNX file format: file ⇄ protobuf ⇄ IR, external data, the opset dialect and the ONNX text syntax.

pub(crate) mod dialect;
mod error;
mod external;
mod hash;
mod ir_version;
mod load;
mod map;
mod outside;
pub(crate) mod proto;
mod read;
mod replace;
mod save;
pub(crate) mod text;
mod unknown;
mod visit;
mod warning;
mod write;

pub use dialect::Unsayable;
pub use error::{ExternalFault, OnnxError, TensorFault};
pub use load::{load, load_bytes};
pub use save::{EXTERNAL_THRESHOLD, ExternalData, SaveOptions, SaveReport, check_target, save};
pub use text::{Fill, TextError};
pub use warning::Warning;

pub(crate) use dialect::set_opset;
pub(crate) use ir_version::set_ir_version;

use crate::ir::{Checked, Model};

/// A model that was read, and what there is to say about its file.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The model.
    pub model: Model,
    /// Remarks, in file order.
    pub warnings: Vec<Warning>,
    /// Bytes of the file and of its external data.
    pub bytes: u64,
}

/// The protobuf form of a model, in memory: what [`save()`] writes where no external data is asked for.
///
/// # Errors
/// A node that the target opset has no form for.
pub fn encode(model: Checked<'_>) -> Result<Vec<u8>, OnnxError> {
    use prost::Message;
    Ok(write::write(model)?.resolved()?.encode_to_vec())
}

/// How many bytes the protobuf form takes.
///
/// # Errors
/// As [`encode`].
pub fn encoded_size(model: Checked<'_>) -> Result<u64, OnnxError> {
    use prost::Message;
    Ok(write::write(model)?.proto.encoded_len() as u64)
}

/// Reads a model in the ONNX text syntax.
///
/// # Errors
/// With line and column where the text is no model; as [`load_bytes`] where the model is broken.
pub fn from_text(text: &str) -> Result<Loaded, OnnxError> {
    from_text_with(text, &mut |_, _, _| None)
}

/// Reads a model in the ONNX text syntax. What it declares, with known dims, but neither produces nor gives data becomes
/// an initializer with the elements that `fill` makes: so weights need not stand in the text.
///
/// # Errors
/// As [`from_text`].
pub fn from_text_with(text: &str, fill: &mut Fill<'_>) -> Result<Loaded, OnnxError> {
    let mut proto = text::parse_model(text)?;
    proto.graph.iter_mut().for_each(|graph| text::fill_graph(graph, fill));
    read::read(proto, external::ExternalFiles::beside(None))
}

/// The model in the ONNX text syntax; tensors of more elements than that are printed without their data.
///
/// # Errors
/// As [`encode`].
pub fn to_text(model: Checked<'_>, max_elements: usize) -> Result<String, OnnxError> {
    Ok(text::print_model(&write::write(model)?.resolved()?, &text::PrintOptions { max_elements }))
}
