//! Layers that make up for their zeros, each by what it sees itself.

use super::tests::model;
use super::weights::{PruneWeights, Scoping};
use crate::engine::interpret::Interpreter;
use crate::engine::{Bindings, Engine};
use crate::prelude::*;

/// Prunes a model that reads `x` of some numbers, on samples, and returns the forms of its layers.
fn pruned(original: &Model, width: u64, only: &[&str], scope: Option<Scoping>) -> (Model, Vec<String>) {
    let engine = Interpreter::default();
    let batch = |seed: u64| {
        let mut stream = Stream::new(seed, "x");
        let items: Vec<f64> = (0..8 * width).map(|_| stream.normal()).collect();
        vec![TensorData::from_f64s(DType::Float, &[8, width], &items).unwrap()]
    };
    let engine: &dyn Engine = &engine;
    let samples = Samples::new(engine, Bindings::new(), (0..4).map(batch).collect(), Vec::new());
    let mut result = original.clone();
    let mut cx = PassContext::with_kernels(original).with_samples(Some(&samples));
    cx.select.only = only.iter().map(|text| Selector::parse(text).unwrap()).collect();
    let pass = PruneWeights { sparsity: Some(0.5), scope, ..PruneWeights::default() };
    let layers = pass.run(&mut result, &mut cx).unwrap().layers;
    result.check().unwrap();
    (result, layers.into_iter().map(|layer| layer.form).collect())
}

fn weight(model: &Model, name: &str) -> Vec<f64> {
    model.graph.constant(model.graph.find(name).unwrap()).and_then(TensorData::to_f64s).unwrap()
}

#[test]
fn a_layer_sees_what_those_before_it_make_by_then() {
    let text = "g (float[N,8] x) => (float[N,8] y) <float[8,8] a, float[8,8] b>
        { p = MatMul (x, a) q = Relu (p) y = MatMul (q, b) }";
    let original = model(text, 3);
    let together = pruned(&original, 8, &[], Some(Scoping::Uniform)).0;
    let first = pruned(&original, 8, &["p"], Some(Scoping::Uniform)).0;
    let second = pruned(&first, 8, &["y"], Some(Scoping::Uniform)).0;
    assert_ne!(weight(&original, "a"), weight(&together, "a"));
    for name in ["a", "b"] {
        assert_eq!(weight(&second, name), weight(&together, name), "{name}");
    }
}

#[test]
fn layers_of_one_turn_are_not_mixed_up() {
    // More layers than turns, of two widths.
    let (mut weights, mut nodes) = (Vec::new(), Vec::new());
    for at in 0..26 {
        let (from, to) = if at % 2 == 0 { (4, 6) } else { (6, 4) };
        weights.push(format!("float[{from},{to}] w{at}"));
        let (input, output) = (format!("v{at}"), format!("v{}", at + 1));
        nodes.push(format!("{output} = MatMul ({}, w{at})", if at == 0 { "x" } else { &input }));
    }
    let text =
        format!("g (float[N,4] x) => (float[N,4] v26) <{}> {{ {} }}", weights.join(", "), nodes.join(" "));
    let original = model(&text, 3);
    let (result, forms) = pruned(&original, 4, &[], Some(Scoping::Uniform));
    assert_eq!(forms.len(), 26);
    for at in 0..26 {
        let items = weight(&result, &format!("w{at}"));
        assert_eq!(items.iter().filter(|&&w| w == 0.0).count(), 12, "w{at}");
    }
}

#[test]
fn on_samples_a_share_is_that_of_all_layers() {
    let text = "g (float[N,8] x) => (float[N,8] y, float[N,8] z) <float[8,8] a, float[1] tiny = {0.01}, float[8,8] b>
        { y = MatMul (x, a) p = Mul (x, tiny) z = MatMul (p, b) }";
    let original = model(text, 3);
    let forms = |scope| pruned(&original, 8, &[], scope).1;
    assert_eq!(forms(Some(Scoping::Uniform)), ["0.500 zeros", "0.500 zeros"]);
    assert_eq!(forms(None), forms(Some(Scoping::Global)));
    assert_ne!(forms(None), forms(Some(Scoping::Uniform)));
}
