//! Layers that are taken apart only where an engine is faster then: engines whose times are known.

use std::sync::{Arc, Mutex};

use super::factorize::Factorize;
use super::tests::model;
use crate::engine::interpret::Interpreter;
use crate::engine::{Bindings, Session};
use crate::prelude::*;

/// What was timed: the dims of the first input, the operators, and how long they took.
type Timed = (Vec<u64>, String, f64);

/// Takes what a function says of a model, and keeps what it timed.
struct Clockwork {
    seconds: fn(&Model) -> f64,
    timed: Arc<Mutex<Vec<Timed>>>,
}

impl Clockwork {
    fn of(seconds: fn(&Model) -> f64) -> Self {
        Self { seconds, timed: Arc::default() }
    }

    fn timed(&self) -> Vec<Timed> {
        let mut timed: Vec<Timed> = Vec::new();
        for line in self.timed.lock().unwrap().iter() {
            if !timed.contains(line) {
                timed.push(line.clone());
            }
        }
        timed
    }
}

struct Ticking {
    inner: Box<dyn Session>,
    seconds: f64,
    ops: String,
    timed: Arc<Mutex<Vec<Timed>>>,
}

impl Engine for Clockwork {
    fn name(&self) -> &'static str {
        "clockwork"
    }

    fn prepare(&self, model: &Model, dims: &Bindings) -> Result<Box<dyn Session>, EngineError> {
        let order = model.graph.order().unwrap();
        let ops: Vec<String> = order.iter().map(|&n| model.graph.node(n).op.name.to_string()).collect();
        let inner = Interpreter::default().prepare(model, dims)?;
        let (seconds, timed) = ((self.seconds)(model), Arc::clone(&self.timed));
        Ok(Box::new(Ticking { inner, seconds, ops: ops.join(" "), timed }))
    }
}

impl Session for Ticking {
    fn run(&self, inputs: &[TensorData]) -> Result<Vec<TensorData>, EngineError> {
        self.inner.run(inputs)
    }

    fn time(&self, inputs: &[TensorData]) -> Result<f64, EngineError> {
        let line = (inputs[0].dims().to_vec(), self.ops.clone(), self.seconds);
        self.timed.lock().unwrap().push(line);
        Ok(self.seconds)
    }
}

/// The dims of all weights.
fn weights(model: &Model) -> Vec<Vec<u64>> {
    let graph = &model.graph;
    let dims = graph.values().filter_map(|v| graph.constant(v)).map(|data| data.dims().to_vec());
    dims.filter(|dims| dims.len() > 1).collect()
}

/// So much for every product, and so much for every operator.
fn linear(model: &Model, each: f64) -> f64 {
    let elements: u64 = weights(model).iter().map(|dims| dims.iter().product::<u64>()).sum();
    elements as f64 + each * model.graph.nodes().count() as f64
}

const PASS: fn() -> Factorize =
    || Factorize { macs: Some(0.5), round_to: Some(1), measure: true, ..Factorize::default() };

fn run(
    pass: &Factorize,
    text: &str,
    engine: &Clockwork,
    samples: Option<&Samples<'_>>,
) -> anyhow::Result<(Model, Vec<LayerReport>)> {
    let mut result = model(text, 5);
    let mut cx = PassContext::with_kernels(&result).with_samples(samples).with_engine(Some(engine));
    let summary = pass.run(&mut result, &mut cx)?;
    result.check().unwrap();
    Ok((result, summary.layers))
}

fn ranks(layers: &[LayerReport]) -> Vec<&[u64]> {
    layers.iter().map(|layer| &layer.ranks[..]).collect()
}

const ONE: &str = "g (float[N,3,16] x) => (float[N,3,16] y) <float[16,16] w> { y = MatMul (x, w) }";

#[test]
fn a_rank_that_is_not_faster_gives_way_to_one_that_is() {
    let engine = Clockwork::of(|model| linear(model, 128.0));
    let (result, layers) = run(&PASS(), ONE, &engine, None).unwrap();
    // Rank 4 would do for half of the products, and takes as long as the whole layer.
    assert_eq!(ranks(&layers), [[3]]);
    assert_eq!(layers[0].note.as_deref(), Some("it takes 0.92 of its time"));
    assert_eq!(weights(&result), [[16, 3], [3, 16]]);
    let timed = engine.timed();
    assert!(timed.iter().all(|(dims, ..)| dims == &[1, 3, 16]), "{timed:?}");
    assert!(timed.contains(&(vec![1, 3, 16], "MatMul MatMul".to_owned(), 352.0)), "{timed:?}");
    let plain = Factorize { measure: false, ..PASS() };
    let engine = Clockwork::of(|_| panic!("nothing is timed"));
    assert_eq!(ranks(&run(&plain, ONE, &engine, None).unwrap().1), [[4]]);
}

#[test]
fn a_gain_that_could_be_noise_is_none() {
    let same = |model: &Model| 1.0 - 0.019 * (model.graph.nodes().count() - 1) as f64;
    let error = run(&PASS(), ONE, &Clockwork::of(same), None).unwrap_err().to_string();
    assert!(error.contains("(1 × no rank is faster here)"), "{error}");
    let less = |model: &Model| 1.0 - 0.021 * (model.graph.nodes().count() - 1) as f64;
    assert_eq!(ranks(&run(&PASS(), ONE, &Clockwork::of(less), None).unwrap().1), [[4]]);
}

#[test]
fn a_layer_of_which_no_rank_is_faster_stays_and_the_others_are_shared_anew() {
    let text = "g (float[N,16] x) => (float[N,40] y) <float[16,16] a, float[16,40] b, float[40,40] c>
        { p = MatMul (x, a) q = Relu (p) r = MatMul (q, b) s = Relu (r) y = MatMul (s, c) }";
    let engine = Clockwork::of(|model| linear(model, 600.0));
    let all = Factorize { scope: Some(super::channels::Sharing::Uniform), ..PASS() };
    let (result, layers) = run(&all, text, &engine, None).unwrap();
    let found = |name: &str| layers.iter().find(|layer| layer.layer == name).unwrap();
    assert_eq!(found("p").note.as_deref(), Some("no rank is faster here"));
    assert_eq!(found("r").note.as_deref(), Some("no rank is faster here"));
    // Half of its own products, not of those of the layers that stay.
    assert_eq!((layers.len(), &found("y").ranks[..]), (3, &[10][..]));
    assert_eq!(result.graph.nodes().count(), 6);
    let slower = Clockwork::of(|model| linear(model, 1e6));
    let error = run(&all, text, &slower, None).unwrap_err().to_string();
    assert!(error.contains("(3 × no rank is faster here)"), "{error}");
    let accepted = Factorize { allow_noop: true, ..all };
    assert!(ranks(&run(&accepted, text, &slower, None).unwrap().1).concat().is_empty());
    // Of 37 ranks few are timed.
    assert_eq!(slower.timed().len(), 3 + 12);
}

#[test]
fn forms_that_are_slow_make_room_for_others() {
    let text = "g (float[N,12,9,8] x) => (float[N,12,9,8] y) <float[12,12,3,3] w, float[12] b>
        { y = Conv <pads = [1, 1, 1, 1]> (x, w, b) }";
    let form = |engine: &Clockwork| run(&PASS(), text, engine, None).unwrap().1[0].form.clone();
    let fast = |model: &Model| linear(model, 0.0);
    assert_eq!(form(&Clockwork::of(fast)), "k×1 and 1×k, rank 9");
    // Where kernels along one axis are slow.
    let square = |model: &Model| {
        let odd = weights(model).iter().any(|dims| dims[2] != dims[3]);
        if odd { 1e9 } else { linear(model, 0.0) }
    };
    let engine = Clockwork::of(square);
    assert_eq!(form(&engine), "1×1 and kernel, rank 5");
    let energy = Factorize { macs: None, energy: Some(0.7), ..PASS() };
    let (_, layers) = run(&energy, text, &engine, None).unwrap();
    assert!(!layers[0].form.contains("k×1"), "{layers:?}");
}

#[test]
fn what_is_timed_is_the_layer_with_its_bias_and_what_else_it_reads() {
    let text =
        "g (float[N,16] x, float[16] c) => (float[N,16] y) <float[16,16] a, float[16] b, float[16,16] d>
        { n = Neg (x) p = MatMul (n, a) q = Add (b, p) r = Relu (q) y = Gemm (r, d, c) }";
    let engine = Clockwork::of(|model| linear(model, 1.0));
    let (_, layers) = run(&PASS(), text, &engine, None).unwrap();
    assert_eq!(layers.iter().filter(|layer| layer.note.is_some() && !layer.ranks.is_empty()).count(), 2);
    let ops: Vec<String> = engine.timed().into_iter().map(|(_, ops, _)| ops).collect();
    for wanted in ["MatMul Add", "MatMul MatMul Add", "Gemm", "Gemm Gemm"] {
        assert!(ops.iter().any(|ops| ops == wanted), "{wanted}: {ops:?}");
    }
    assert!(ops.iter().all(|ops| !ops.contains("Neg") && !ops.contains("Relu")), "{ops:?}");
}

#[test]
fn samples_show_the_dims_that_are_open() {
    let text = "g (float[N,L,16] x) => (float[N,L,16] y) <float[16,16] w> { n = Neg (x) y = MatMul (n, w) }";
    let engine = Clockwork::of(|model| linear(model, 1.0));
    let error = run(&PASS(), text, &engine, None).unwrap_err().to_string();
    let open = "1 × the dims of its input are open and no sample shows them, so that it cannot be measured";
    assert!(error.contains(open), "{error}");
    assert!(engine.timed().is_empty());
    let batch = |seed: u64| {
        let mut stream = Stream::new(seed, "x");
        let items: Vec<f64> = (0..160).map(|_| stream.normal()).collect();
        vec![TensorData::from_f64s(DType::Float, &[2, 5, 16], &items).unwrap()]
    };
    let samples = Samples::new(&engine, Bindings::new(), (0..4).map(batch).collect(), Vec::new());
    let (_, layers) = run(&PASS(), text, &engine, Some(&samples)).unwrap();
    assert_eq!(ranks(&layers), [[4]]);
    assert!(engine.timed().iter().all(|(dims, ..)| dims == &[2, 5, 16]));
    // Ranks are shared by sensitivity, which is measured anew on a ladder with fewer rungs.
    let slow = Clockwork::of(|model| linear(model, 128.0));
    assert_eq!(ranks(&run(&PASS(), text, &slow, Some(&samples)).unwrap().1), [[3]]);
}

#[test]
fn an_engine_is_needed_that_is_a_runtime() {
    let mut result = model(ONE, 5);
    let error = |cx: &mut PassContext<'_>| PASS().run(&mut result.clone(), cx).unwrap_err().to_string();
    let none = error(&mut PassContext::with_kernels(&result));
    assert!(none.contains("there is no engine to run them: leave out `--no-verify`"), "{none}");
    let reference = Interpreter::default();
    let slow = error(&mut PassContext::with_kernels(&result).with_engine(Some(&reference)));
    assert!(slow.contains("`reference` say nothing about a runtime: use `--engine ort`"), "{slow}");
    let samples = Samples::new(&reference, Bindings::new(), Vec::new(), Vec::new());
    assert_eq!(error(&mut PassContext::with_kernels(&result).with_samples(Some(&samples))), slow);
    let engine = Clockwork::of(|model| linear(model, 1.0));
    let samples = Samples::new(&engine, Bindings::new(), Vec::new(), Vec::new());
    let mut cx = PassContext::with_kernels(&result).with_samples(Some(&samples));
    assert_eq!(PASS().run(&mut result, &mut cx).unwrap().applied, 1);
}
