//! Round trips, what the text means, and what is refused where.

mod errors;
mod meaning;
mod round_trip;

use super::{PrintOptions, parse_model, print_model};
use crate::onnx::proto::{AttributeProto, GraphProto, ModelProto, TensorProto};

fn parse(text: &str) -> ModelProto {
    parse_model(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn print(model: &ModelProto) -> String {
    print_model(model, &PrintOptions::default())
}

fn graph(text: &str) -> GraphProto {
    parse(text).graph.expect("parsing a model gives it a graph")
}

/// The attribute `a = …` of a node.
fn attribute(text: &str) -> AttributeProto {
    let mut graph = graph(&format!("g () => () {{ y = Op <{text}> () }}"));
    graph.node.remove(0).attribute.remove(0)
}

/// The initializer that `text` declares.
fn initializer(text: &str) -> TensorProto {
    graph(&format!("g () => () <{text}> {{}}")).initializer.remove(0)
}

/// A model with this one initializer.
fn model_of(tensor: TensorProto) -> ModelProto {
    let graph = GraphProto { initializer: vec![tensor], ..GraphProto::default() };
    ModelProto { graph: Some(graph), ..ModelProto::default() }
}
