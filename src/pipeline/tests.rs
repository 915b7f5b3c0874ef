//! A pass that changes the answers is caught and named, whichever it is.

use super::*;
use crate::engine::interpret::Interpreter;
use crate::engine::verify::Outcome;
use crate::engine::{EngineError, Session};
use crate::ir::{DType, TensorData};

/// An engine for which one pass is wrong: it spoils a weight of what that pass made.
struct Spoiler(&'static str);

impl Engine for Spoiler {
    fn name(&self) -> &'static str {
        "spoiler"
    }

    fn prepare(&self, model: &Model, dims: &Bindings) -> Result<Box<dyn Session>, EngineError> {
        let mut model = model.clone();
        let graph = &mut model.graph;
        let made: Vec<_> = graph
            .nodes()
            .filter(|&n| graph.node(n).made_by.as_ref().is_some_and(|m| m.pass == self.0))
            .collect();
        for value in made.into_iter().flat_map(|n| graph.node_inputs(n)).flatten().collect::<Vec<_>>() {
            let Some(mut items) = graph.constant(value).and_then(TensorData::to_f64s) else { continue };
            items[0] += 0.01;
            let (dtype, dims) =
                (graph.value(value).ty.dtype().unwrap(), graph.constant(value).unwrap().dims().to_vec());
            let data = TensorData::from_f64s(dtype, &dims, &items);
            graph.edit_value(value, |v| v.data = data);
            break;
        }
        Interpreter::default().prepare(&model, dims)
    }
}

const MODEL: &str = r#"
<ir_version: 8, opset_import: ["": 17]>
g (float[1, 2, 3, 3] x) => (float[1, 2, 3, 3] y, float[1, 2] z)
<float[2, 2, 1, 1] w = {1.5, -0.5, 0.25, 2}, float[2] one = {1, 1}, float[2] zero = {0, 0},
 float[18, 2] m = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9}>
{
  c = Conv (x, w)
  y = BatchNormalization (c, one, zero, zero, one)
  f = Flatten (x)
  p = MatMul (f, m)
  z = Add (p, one)
}"#;

fn run_with(wrong: &'static str, recipe: &str) -> RunLog {
    let model = crate::onnx::from_text(MODEL).unwrap().model;
    let recipe = Recipe::from_str(recipe, "test", "".as_ref()).unwrap();
    let engine = Spoiler(wrong);
    let options = RunOptions { engine: Some(&engine), ..RunOptions::default() };
    run(&model, &recipe, options).unwrap().1
}

#[test]
fn a_wrong_pass_is_not_equal_and_is_named() {
    for recipe in [
        "extends: simplify",
        "steps: [drop-identity, fuse-conv-bn, fuse-matmul-add]",
        "steps: [{ fixpoint: [fuse-conv-bn, fuse-matmul-add, drop-dead] }]",
        "steps: [{ fixpoint: [fuse-matmul-add, fuse-conv-bn] }]",
        "steps: [{ fixpoint: [fuse-matmul-add] }, { fixpoint: [drop-dead, fuse-conv-bn] }]",
    ] {
        for wrong in ["fuse-conv-bn", "fuse-matmul-add"] {
            let log = run_with(wrong, recipe);
            let outcome = log.verification.unwrap().outcome;
            assert!(matches!(outcome, Outcome::NotEqual { .. }), "{outcome:?}");
            assert_eq!(log.culprit.as_deref(), Some(wrong), "{recipe}");
        }
        let log = run_with("no-pass", recipe);
        assert_eq!((log.verification.unwrap().outcome, log.culprit), (Outcome::Equal, None));
    }
}

#[test]
fn a_wrong_pass_after_bound_dims_is_named_too() {
    let text =
        MODEL.replace("float[1, 2, 3, 3]", "float[N, 2, 3, 3]").replace("float[1, 2] z", "float[N, 2] z");
    let model = crate::onnx::from_text(&text).unwrap().model;
    let bindings: Bindings = [("N".to_owned(), 3)].into();
    let engine = Spoiler("fuse-conv-bn");
    let options = RunOptions { engine: Some(&engine), bindings, opset: Some(15), ..RunOptions::default() };
    let (_, log) = run(&model, &Recipe::builtin("simplify").unwrap(), options).unwrap();
    assert_eq!(log.culprit.as_deref(), Some("fuse-conv-bn"));
    assert_eq!(log.verification.unwrap().inputs, ["x: float[3, 2, 3, 3]"]);
}

/// An engine that answers whatever it is asked with tensors of no elements.
struct Empty;

impl Engine for Empty {
    fn name(&self) -> &'static str {
        "empty"
    }

    fn prepare(&self, model: &Model, _: &Bindings) -> Result<Box<dyn Session>, EngineError> {
        Ok(Box::new(Answers(model.graph.outputs().len())))
    }
}

struct Answers(usize);

impl Session for Answers {
    fn run(&self, _: &[TensorData]) -> Result<Vec<TensorData>, EngineError> {
        Ok(vec![TensorData::vector::<f32>(&[]); self.0])
    }
}

fn why_unproved(text: &str) -> String {
    let model = crate::onnx::from_text(text).unwrap().model;
    let options = RunOptions { engine: Some(&Empty), ..RunOptions::default() };
    let log = run(&model, &Recipe::builtin("simplify").unwrap(), options).unwrap().1;
    match log.verification.unwrap().outcome {
        Outcome::CouldNotRun { why } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_engine_is_not_asked_for_more_than_memory_holds() {
    let head = r#"<ir_version: 10, opset_import: ["": 21]> g"#;
    let huge = "() => (float[N] y) <int64[1] s = {1099511627776}> { y = ConstantOfShape (s) }";
    assert!(why_unproved(&format!("{head} {huge}")).starts_with("`y` takes 4398046511104 bytes"));
    let wide = "(float[N, 30000] x) => (float[A, B] y) <int64[2] s = {60000, 30000}> { y = Expand (x, s) }";
    assert!(why_unproved(&format!("{head} {wide}")).starts_with("`y` takes 7200000000 bytes"));
    let nodes = (1..9).map(|i| format!("v{i} = Add (v0, v0)")).collect::<Vec<_>>().join(" ");
    let sum = "y = Sum (v1, v2, v3, v4, v5, v6, v7, v8)";
    let many = format!("(float[N, 1000000000] v0) => (float[N, 1000000000] y) {{ {nodes} {sum} }}");
    let why = why_unproved(&format!("{head} {many}"));
    assert!(why.starts_with("a run takes "), "{why}");
}

#[test]
fn an_engine_that_loses_a_dim_is_not_believed() {
    let why = why_unproved(MODEL);
    assert_eq!(why, "the engine gives `y` the dims [0], but it has [1, 2, 3, 3]");
}

/// Weights of one sign and size: nearly every pair overflows 16 bits.
fn heavy() -> Model {
    let text = "<ir_version: 8, opset_import: [\"\": 17]>
        g (float[1,32] x) => (float[1,4] y) <float[32,4] w> { y = MatMul(x, w) }";
    let mut fill = |_: &str, dtype, dims: &[u64]| {
        let count = dims.iter().product::<u64>();
        let items: Vec<f64> = (0..count).map(|i| 0.9 + 0.1 * (i % 7) as f64 / 7.0).collect();
        TensorData::from_f64s(dtype, dims, &items)
    };
    crate::onnx::from_text_with(text, &mut fill).unwrap().model
}

#[test]
fn what_a_target_saturates_is_not_called_good() {
    let (model, engine) = (heavy(), Interpreter::default());
    let batch = |seed: u64| {
        let item = |i: u64| ((seed * 37 + i * 11) % 64) as f64 / 64.0;
        vec![TensorData::from_f64s(DType::Float, &[1, 32], &(0..32).map(item).collect::<Vec<_>>()).unwrap()]
    };
    let samples = Samples::new(&engine, Bindings::new(), (0..16).map(batch).collect(), Vec::new());
    let run_for = |profile: &str| {
        let text = format!("target: {{ profile: {profile} }}\nsteps: [quantize-static]");
        let recipe = Recipe::from_str(&text, "r", "".as_ref()).unwrap();
        let options = RunOptions { samples: Some(&samples), ..RunOptions::default() };
        let (result, log) = run(&model, &recipe, options).unwrap();
        (result, log.loss.unwrap(), recipe.profile)
    };
    let (careless, loss, _) = run_for("x86-vnni");
    assert!(loss.arithmetic.is_none() && loss.sqnr_db() > 35.0, "{loss:?}");
    let (careful, loss, avx2) = run_for("x86-avx2");
    assert_eq!(loss.arithmetic.as_deref(), Some("x86-avx2"));
    assert!(loss.sqnr_db() > 30.0, "{loss:?}");
    let measured =
        |result: &Model| proof::loss(&model, result, (Some(&samples), avx2.as_ref())).unwrap().sqnr_db();
    assert!(measured(&careless) < 20.0, "{}", measured(&careless));
    assert!((measured(&careful) - loss.sqnr_db()).abs() < 1e-9);
    let floats = proof::loss(&model, &model, (Some(&samples), avx2.as_ref())).unwrap();
    assert!(floats.arithmetic.is_none(), "nothing to emulate: {floats:?}");
}

#[test]
fn what_a_step_keeps_keeps_its_id() {
    let model = crate::onnx::from_text(MODEL).unwrap().model;
    let (result, _) = run(&model, &Recipe::builtin("simplify").unwrap(), RunOptions::default()).unwrap();
    for name in ["x", "y", "z", "f"] {
        let id = model.graph.find(name);
        assert!(id.is_some() && result.graph.find(name) == id, "{name}");
    }
}

/// Two convolutions, the first one normalized, and how they are quantized.
fn normalized() -> (Model, Recipe) {
    let text = "<ir_version: 10, opset_import: [\"\": 21]>
        g (float[1,2,8,8] x) => (float[1,4,4,4] y)
        <float[8,2,3,3] w0, float[8] k, float[8] b, float[8] m, float[8] v, float[4,8,3,3] w1> {
          c = Conv (x, w0)
          n = BatchNormalization (c, k, b, m, v)
          r = Relu (n)
          y = Conv (r, w1)
        }";
    let mut fill = |name: &str, dtype, dims: &[u64]| {
        let count = dims.iter().product::<u64>() as usize;
        let offset = if "kv".contains(name) { 1.0 } else { 0.1 };
        let items: Vec<f64> = (0..count).map(|i| ((i * 7 % 11) as f64 / 11.0 - 0.5) + offset).collect();
        TensorData::from_f64s(dtype, dims, &items)
    };
    let model = crate::onnx::from_text_with(text, &mut fill).unwrap().model;
    let recipe = "extends: simplify\nsteps:\n\
        - quantize-weights: { weights: int4, rounding: nearest, min-elements: 1 }\n\
        - correct-bias: { from: statistics }";
    (model, Recipe::from_str(recipe, "r", "".as_ref()).unwrap())
}

#[test]
fn what_a_folded_normalization_said_is_known_to_the_passes_after_it() {
    let (model, recipe) = normalized();
    let (result, log) = run(&model, &recipe, RunOptions::default()).unwrap();
    assert!(!result.graph.nodes().any(|n| result.graph.node(n).is("BatchNormalization")));
    let summary = &log.steps.last().unwrap().passes["correct-bias"];
    assert_eq!(summary.applied, 1, "{summary:?}");
    let why = "no BatchNormalization of the model as it was read feeds it";
    assert_eq!(summary.skipped.get(why), Some(&1), "{summary:?}");
}
