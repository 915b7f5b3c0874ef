//! `convert-float16`: what cases cannot show, because types of inputs, selectors or warnings are in play.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use onnxpress::engine::inputs::{DefaultDims, InputPlan};
use onnxpress::engine::interpret::Interpreter;
use onnxpress::engine::{Bindings, Engine};
use onnxpress::ir::{DType, Graph, Model, TensorData, ValueId};
use onnxpress::onnx;
use onnxpress::pass::{Pass, PassContext, Summary, run_set};
use onnxpress::passes::AnyPass;
use onnxpress::rewrite::{Select, Selector};

const NETWORK: &str = r#"<ir_version: 8, opset_import: ["" : 17]>
g (float[N,3,12,12] x) => (float[N,10] y, float[N,16,6,6] r)
<float[16,3,3,3] w, float[16] b, float[32,16,3,3] v, float[10,32] u, float[10] d>
{
  c = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w, b)
  r = Relu (c)
  e = Conv <pads = [1, 1, 1, 1]> (r, v)
  s = Sigmoid (e)
  m = Mul (e, s)
  p = GlobalAveragePool (m)
  f = Flatten (p)
  y = Gemm <transB = 1> (f, u, d)
}"#;

fn model(text: &str) -> Model {
    let mut fill = |name: &str, dtype: DType, dims: &[u64]| {
        let count = dims.iter().product::<u64>() as usize;
        let mut state = name.bytes().fold(17u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
        let mut unit = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1u32 << 31) - 0.5
        };
        TensorData::from_f64s(dtype, dims, &(0..count).map(|_| unit()).collect::<Vec<_>>())
    };
    onnx::from_text_with(text, &mut fill).unwrap().model
}

fn convert(model: &mut Model, options: serde_json::Value, select: Select) -> (Summary, Vec<String>) {
    let pass = AnyPass::deserialize_options("convert-float16", options).unwrap();
    let pass: &dyn Pass = pass.as_pass();
    let mut cx = PassContext::with_kernels(model);
    cx.select = select;
    let mut report = run_set(model, &[pass], &mut cx).unwrap();
    model.check().unwrap();
    (report.remove("convert-float16").unwrap(), cx.warnings)
}

fn answers(model: &Model, inputs: &[TensorData]) -> Vec<TensorData> {
    let bindings = Bindings::from([("N".to_owned(), 2)]);
    Interpreter::default().prepare(model, &bindings).unwrap().run(inputs).unwrap()
}

fn inputs(model: &Model, seed: u64) -> Vec<TensorData> {
    let bindings = Bindings::from([("N".to_owned(), 2)]);
    let plan = InputPlan::of(model, &bindings, DefaultDims { spatial: 8, other: 4 }).unwrap();
    plan.inputs.iter().map(|spec| spec.sample(seed).unwrap()).collect()
}

fn sqnr(a: &TensorData, b: &TensorData) -> f64 {
    let (a, b) = (a.to_f64s().unwrap(), b.to_f64s().unwrap());
    assert_eq!(a.len(), b.len());
    let noise: f64 = a.iter().zip(&b).map(|(x, y)| (x - y).powi(2)).sum();
    10.0 * (a.iter().map(|x| x * x).sum::<f64>() / noise).log10()
}

fn dtype(graph: &Graph, value: ValueId) -> Option<DType> {
    graph.value(value).ty.dtype()
}

fn count(model: &Model, op: &str) -> usize {
    model.graph.nodes().filter(|&n| model.graph.node(n).is(op)).count()
}

#[test]
fn files_become_half_as_large_and_answers_stay_close() {
    for (half, least) in [("float16", 55.0), ("bfloat16", 37.0)] {
        let original = model(&NETWORK.replace(": 17", ": 22"));
        let mut result = original.clone();
        let (summary, warnings) =
            convert(&mut result, serde_json::json!({ "type": half }), Select::default());
        assert_eq!((summary.applied, summary.skipped.len()), (8, 0));
        assert!(
            warnings.iter().any(|w| w.contains("slower than float on most CPU runtimes")),
            "{warnings:?}"
        );
        assert_eq!(count(&result, "Cast"), 3, "one for the input, one for each output");
        let size = |model: &Model| onnx::encode(model.check().unwrap()).unwrap().len();
        assert!(size(&result) * 100 < size(&original) * 55, "{} to {}", size(&original), size(&result));
        for seed in 1..4 {
            let x = inputs(&original, seed);
            for (a, b) in answers(&original, &x).iter().zip(&answers(&result, &x)) {
                assert_eq!(b.dtype(), DType::Float);
                let ratio = sqnr(a, b);
                assert!(ratio > least && ratio < least + 30.0, "{half}: {ratio} dB");
            }
        }
    }
}

#[test]
fn inputs_and_outputs_are_converted_where_that_is_asked_for() {
    let original = model(NETWORK);
    let mut result = original.clone();
    convert(&mut result, serde_json::json!({ "keep-io-types": false }), Select::default());
    assert_eq!(count(&result, "Cast"), 0);
    let graph = &result.graph;
    for &value in graph.inputs().iter().chain(graph.outputs()) {
        assert_eq!(dtype(graph, value), Some(DType::Float16), "{}", graph.value(value).name);
    }
    let x = inputs(&original, 1);
    let halves = TensorData::from_f64s(DType::Float16, x[0].dims(), &x[0].to_f64s().unwrap()).unwrap();
    for (a, b) in answers(&original, &x).iter().zip(&answers(&result, &[halves])) {
        assert_eq!(b.dtype(), DType::Float16);
        assert!(sqnr(a, b) > 50.0, "{}", sqnr(a, b));
    }
}

#[test]
fn an_input_that_stays_float_somewhere_is_converted_back_there() {
    let text = r#"<ir_version: 8, opset_import: ["" : 17]>
        g (float[N,4] x, float[N,4] z) => (float[N,4] y, float[N,4] u, float[N,4] v)
        { y = Exp (x)
          u = Tan (x)
          v = Tan (z) }"#;
    let mut result = model(text);
    let options = serde_json::json!({ "keep-io-types": false, "keep-ops": ["Tan"] });
    convert(&mut result, options, Select::default());
    let graph = &result.graph;
    let types = |values: &[ValueId]| values.iter().map(|&v| dtype(graph, v).unwrap()).collect::<Vec<_>>();
    assert_eq!(types(graph.inputs()), [DType::Float16, DType::Float], "no operator reads z as halves");
    assert_eq!(types(graph.outputs()), [DType::Float16, DType::Float, DType::Float]);
    assert_eq!(count(&result, "Cast"), 1);
}

#[test]
fn selectors_keep_operators() {
    let original = model(NETWORK);
    let mut result = original.clone();
    let ignore = vec![Selector::parse("op:Sigmoid").unwrap(), Selector::parse("op:Gemm").unwrap()];
    let (summary, _) = convert(&mut result, serde_json::json!({}), Select { only: Vec::new(), ignore });
    assert_eq!(summary.applied, 6);
    let graph = &result.graph;
    let gemm = graph.nodes().find(|&n| graph.node(n).is("Gemm")).unwrap();
    for slot in 1..3 {
        assert_eq!(graph.constant_input(gemm, slot).unwrap().dtype(), DType::Float);
    }
    let x = inputs(&original, 1);
    for (a, b) in answers(&original, &x).iter().zip(&answers(&result, &x)) {
        assert!(sqnr(a, b) > 55.0, "{}", sqnr(a, b));
    }
}

#[test]
fn weights_that_become_zero_are_counted() {
    let text = r#"<ir_version: 8, opset_import: ["" : 17]>
        g (float[N,4] x) => (float[N,4] y)
        <float[4] a = {1e-9, 0, -2e-8, 4e-8}, float[4] b = {1e-30, 1, 2, 3}>
        { c = Mul (x, a)
          y = Add (c, b) }"#;
    let (_, warnings) = convert(&mut model(text), serde_json::json!({}), Select::default());
    // 2^-25 = 2.98e-8 is halfway to the smallest number.
    assert_eq!(warnings[0], "3 of 8 weights are too small for float16 and became zero");
    let options = serde_json::json!({ "type": "bfloat16" });
    let (_, warnings) = convert(&mut model(text), options, Select::default());
    assert!(!warnings.iter().any(|w| w.contains("too small")), "{warnings:?}");
}

#[test]
fn large_weights_are_converted_when_they_are_written() {
    let text = r#"<ir_version: 8, opset_import: ["" : 17]>
        g (float[N,256] x) => (float[N,256] y) <float[256,256] w> { y = MatMul (x, w) }"#;
    let original = model(text);
    let mut result = original.clone();
    convert(&mut result, serde_json::json!({}), Select::default());
    let read = onnx::load_bytes(onnx::encode(result.check().unwrap()).unwrap(), None).unwrap().model;
    let weight = |model: &Model| model.graph.constant(model.graph.find("w").unwrap()).unwrap().clone();
    let wanted = TensorData::from_f64s(DType::Float16, &[256, 256], &weight(&original).to_f64s().unwrap());
    assert!(weight(&read).same_data(&wanted.unwrap()));
}
