//! The generated protobuf types. Nothing outside `onnx` sees them.
#![allow(missing_docs, clippy::all, clippy::pedantic)]

include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
