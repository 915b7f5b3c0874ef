//! A pass that changes the answers is caught and named, whichever it is.

use super::*;
use crate::engine::interpret::Interpreter;
use crate::engine::{EngineError, Session};
use crate::ir::TensorData;

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
