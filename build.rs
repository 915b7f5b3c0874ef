//! Generates the protobuf types of the ONNX file format from `proto/onnx.proto`, without a `protoc` on the machine, and
//! a table of the fields that they know.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto/onnx.proto");
    let descriptors = protox::compile(["proto/onnx.proto"], ["proto"])?;
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&out).join("fields.rs"), fields(&descriptors)?)?;
    let mut config = prost_build::Config::new();
    // Weights stay views into the mapped file: `Bytes` fields are decoded without a copy.
    config.bytes([".onnx.TensorProto.raw_data", ".onnx.TensorProto.string_data"]);
    config.disable_comments(["."]);
    config.compile_fds(descriptors)?;
    Ok(())
}

/// A table of every message: its fields by number, with the message that a field holds, if it holds one.
fn fields(descriptors: &FileDescriptorSet) -> Result<String, Box<dyn Error>> {
    let mut messages = BTreeMap::new();
    for file in &descriptors.file {
        for message in &file.message_type {
            collect(&format!(".{}", file.package()), message, &mut messages);
        }
    }
    let index: BTreeMap<&str, usize> = messages.keys().map(String::as_str).zip(0..).collect();
    let root = index.get(".onnx.ModelProto").ok_or("no ModelProto")?;
    let mut table = format!("const ROOT: usize = {root};\nstatic MESSAGES: &[Message] = &[\n");
    for (name, message) in &messages {
        writeln!(table, "    // {name}\n    &[")?;
        let mut fields: Vec<_> = message.field.iter().collect();
        fields.sort_by_key(|f| f.number());
        for field in fields {
            let inner = (field.r#type() == Type::Message).then(|| index.get(field.type_name()));
            let inner = inner.map(|at| at.ok_or("unknown message")).transpose()?;
            writeln!(
                table,
                "        Field {{ number: {}, name: {:?}, repeated: {}, message: {inner:?} }},",
                field.number(),
                field.name(),
                field.label() == Label::Repeated,
            )?;
        }
        table.push_str("    ],\n");
    }
    table.push_str("];\n");
    Ok(table)
}

fn collect<'a>(scope: &str, message: &'a DescriptorProto, into: &mut BTreeMap<String, &'a DescriptorProto>) {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        collect(&name, nested, into);
    }
    into.insert(name, message);
}
