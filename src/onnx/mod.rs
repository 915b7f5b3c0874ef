//! The ONNX file format: file ⇄ protobuf ⇄ IR, external data, the opset dialect and the ONNX text syntax.

pub(crate) mod dialect;
pub(crate) mod proto;
#[allow(dead_code)] // its callers, the fixture harness and `inspect --text`, come later
pub(crate) mod text;
