//! The ONNX file format: file ⇄ protobuf ⇄ IR, external data, the opset dialect and the ONNX text syntax.

pub(crate) mod proto;
pub(crate) mod dialect;
