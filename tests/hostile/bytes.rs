//! Model files by hand: whatever the library itself would never write.

#[allow(dead_code)]
#[path = "../roundtrip/wire.rs"]
mod wire;

pub use wire::{around, field, int, node, outside, raw};

/// A graph: its parts one after the other.
pub fn graph(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

pub fn named(name: &str) -> Vec<u8> {
    field(2, name)
}

pub fn nodes(nodes: &[Vec<u8>]) -> Vec<u8> {
    nodes.iter().flat_map(|n| field(1, n)).collect()
}

/// A node of any number of inputs and outputs, with encoded attributes.
pub fn call(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes: Vec<u8> = inputs.iter().flat_map(|i| field(1, i)).collect();
    bytes.extend(outputs.iter().flat_map(|o| field(2, o)));
    bytes.extend(field(4, op));
    bytes.extend(attributes.iter().flat_map(|a| field(5, a)));
    bytes
}

/// An attribute of a type, which may lie, with encoded fields.
pub fn attribute(name: &str, ty: u64, fields: &[Vec<u8>]) -> Vec<u8> {
    [field(1, name), int(20, ty), fields.concat()].concat()
}

pub fn initializer(tensor: &[u8]) -> Vec<u8> {
    field(5, tensor)
}

/// A tensor with any dims, type and bytes.
pub fn tensor(name: &str, dtype: u64, dims: &[i64], bytes: &[u8]) -> Vec<u8> {
    let mut tensor: Vec<u8> = dims.iter().flat_map(|&d| int(1, d as u64)).collect();
    tensor.extend([int(2, dtype), field(8, name), field(9, bytes)].concat());
    tensor
}

/// A graph input or output, declared as a tensor.
fn value(name: &str, dtype: u64, dims: &[i64]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|&d| field(1, int(1, d as u64))).collect();
    let ty = field(1, [int(1, dtype), field(2, dims)].concat());
    [field(1, name), field(2, ty)].concat()
}

pub fn input(name: &str, dims: &[i64]) -> Vec<u8> {
    field(11, value(name, 1, dims))
}

pub fn output(name: &str, dims: &[i64]) -> Vec<u8> {
    field(12, value(name, 1, dims))
}

/// A model `y = Relu(x)` with more parts in its graph.
pub fn relu_with(parts: &[Vec<u8>]) -> Vec<u8> {
    let usual = [named("g"), nodes(&[node("Relu", "x", "y")]), input("x", &[2]), output("y", &[2])];
    around(&graph(&[usual.concat(), parts.concat()]))
}

/// `y = Add(x, w)` over an encoded initializer `w`.
pub fn add_with(w: &[u8]) -> Vec<u8> {
    let add = nodes(&[call("Add", &["x", "w"], &["y"], &[])]);
    around(&graph(&[named("g"), add, initializer(w), input("x", &[2]), output("y", &[2])]))
}

/// Messages in messages: so often as levels, all fields in turn, the first one outermost.
pub fn nested(levels: usize, fields: &[u64]) -> Vec<u8> {
    // Built backwards, so that a level costs no more than its own bytes.
    let mut backwards = Vec::new();
    for number in (0..levels).flat_map(|_| fields.iter().rev()) {
        let head = field(*number, vec![0; 0]);
        let tag = &head[..head.len() - 1];
        let mut length = backwards.len();
        let mut varint = Vec::new();
        while length >= 0x80 {
            varint.push(length as u8 | 0x80);
            length >>= 7;
        }
        varint.push(length as u8);
        backwards.extend(varint.iter().rev().chain(tag.iter().rev()));
    }
    backwards.reverse();
    backwards
}
