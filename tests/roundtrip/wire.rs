//! Model files, field by field.

/// A length-delimited field.
pub fn field(number: u64, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let mut bytes = varint(number << 3 | 2);
    bytes.extend(varint(payload.as_ref().len() as u64));
    bytes.extend(payload.as_ref());
    bytes
}

/// An integer field.
pub fn int(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// `y = Op(x, w…)` over initializers that are given encoded.
pub fn model(initializers: &[Vec<u8>]) -> Vec<u8> {
    let mut graph = vec![field(1, node("Op", "x", "y")), field(2, "g")];
    graph.extend(initializers.iter().map(|t| field(5, t)));
    graph.extend([field(11, field(1, "x")), field(12, field(1, "y"))]);
    around(&graph.concat())
}

/// The model around a graph.
pub fn around(graph: &[u8]) -> Vec<u8> {
    [int(1, 8), field(7, graph), field(8, [field(1, ""), int(2, 17)].concat())].concat()
}

/// A node with one input and one output.
pub fn node(op: &str, input: &str, output: &str) -> Vec<u8> {
    [field(1, input), field(2, output), field(4, op)].concat()
}

/// A float tensor with its data inside.
pub fn raw(name: &str, items: &[f32]) -> Vec<u8> {
    let bytes: Vec<u8> = items.iter().flat_map(|x| x.to_le_bytes()).collect();
    [int(1, items.len() as u64), int(2, 1), field(8, name), field(9, bytes)].concat()
}

/// A float tensor with its data outside.
pub fn outside(name: &str, count: u64, entries: &[(&str, &str)]) -> Vec<u8> {
    let mut tensor = vec![int(1, count), int(2, 1), field(8, name), int(14, 1)];
    tensor.extend(entries.iter().map(|(key, value)| field(13, [field(1, key), field(2, value)].concat())));
    tensor.concat()
}
