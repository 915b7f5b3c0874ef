//! The command line of onnxpress.

fn main() {}
