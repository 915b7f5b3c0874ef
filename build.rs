//! Generates the protobuf types of the ONNX file format from `proto/onnx.proto`, without a `protoc` on the machine.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto/onnx.proto");
    let descriptors = protox::compile(["proto/onnx.proto"], ["proto"])?;
    let mut config = prost_build::Config::new();
    // Weights stay views into the mapped file: `Bytes` fields are decoded without a copy.
    config.bytes([".onnx.TensorProto.raw_data", ".onnx.TensorProto.string_data"]);
    config.disable_comments(["."]);
    config.compile_fds(descriptors)?;
    Ok(())
}
