use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::ir::{Attrs, DType, Dim, ModelMeta, Node, OpName, Value, ValueType};

/// Runs models of one node: `Mul` by the constant `c`, and nodes that misbehave in one way each.
struct Toy;

struct ToySession {
    op: String,
    factor: TensorData,
    calls: AtomicU32,
}

impl Engine for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn prepare(&self, model: &Model, _: &Bindings) -> Result<Box<dyn Session>, EngineError> {
        let node = model.graph.nodes().next().unwrap();
        let op = model.graph.node(node).op.name.to_string();
        if op == "Lacking" {
            return Err(EngineError::Unsupported { engine: "toy", what: op });
        }
        let factor = model.graph.constant_input(node, 1).unwrap().clone();
        Ok(Box::new(ToySession { op, factor, calls: AtomicU32::new(0) }))
    }
}

impl Session for ToySession {
    fn run(&self, inputs: &[TensorData]) -> Result<Vec<TensorData>, EngineError> {
        let factor = self.factor.to_f64s().unwrap()[0];
        let call = f64::from(self.calls.fetch_add(1, Ordering::Relaxed));
        let items = inputs[0].to_f64s().unwrap();
        let item = |x: &f64| match &*self.op {
            "Const" => factor,
            "Random" => x * factor + call,
            // Moves far where its input moves little.
            "Steep" => (x * 1e6).sin() * factor,
            _ => x * factor,
        };
        match &*self.op {
            "Picky" if items.len() < 100 => Err(EngineError::Failed { engine: "toy", what: "small".into() }),
            "Failing" => Err(EngineError::Failed { engine: "toy", what: "no".into() }),
            "Silent" => Ok(Vec::new()),
            _ => {
                let items: Vec<f64> = items.iter().map(item).collect();
                Ok(vec![TensorData::from_f64s(DType::Float, inputs[0].dims(), &items).unwrap()])
            }
        }
    }
}

fn model(op: &str, factor: f32) -> Model {
    let mut graph = Graph::named("g");
    let dims = [Dim::Known(1), Dim::Known(3), Dim::Symbol("h".into()), Dim::Symbol("w".into())];
    let x = Value { ty: ValueType::tensor(DType::Float, dims), ..Value::named("x") };
    let x = graph.add_value(x).unwrap();
    let c = Value { data: Some(TensorData::scalar(factor)), ..Value::named("c") };
    let c = graph.add_value(c).unwrap();
    let y = graph.add_value(Value::named("y")).unwrap();
    graph.add_node(Node::new(OpName::onnx(op), "", Attrs::new()), &[Some(x), Some(c)], &[Some(y)]).unwrap();
    graph.set_inputs(vec![x]);
    graph.set_outputs(vec![y]);
    Model { graph, opsets: Vec::new(), functions: Vec::new(), meta: ModelMeta::default() }
}

fn outcome(original: &Model, result: &Model) -> Verification {
    verify(original, result, &Toy, &VerifyOptions::default())
}

#[test]
fn equal_models_are_equal_and_others_are_not() {
    let same = outcome(&model("Mul", 2.0), &model("Mul", 2.00001));
    assert_eq!(same.outcome, Outcome::Equal);
    assert!(!same.blind && same.runs == 2 && same.outputs.len() == 1, "{same:?}");
    assert_eq!(same.inputs, ["x: float[1, 3, 64, 64]"]);
    let other = outcome(&model("Mul", 2.0), &model("Mul", 2.01));
    let Outcome::NotEqual { why } = &other.outcome else { panic!("{other:?}") };
    assert!(why.starts_with("output `y`: differs by"), "{why}");
}

#[test]
fn what_could_not_be_run_is_never_equal() {
    let lacking = |v: Verification| matches!(v.outcome, Outcome::CouldNotRun { .. });
    assert!(lacking(outcome(&model("Lacking", 1.0), &model("Mul", 1.0))));
    assert!(lacking(outcome(&model("Mul", 1.0), &model("Lacking", 1.0))));
    assert!(lacking(outcome(&model("Failing", 1.0), &model("Mul", 1.0))));
    assert!(lacking(outcome(&model("Silent", 1.0), &model("Silent", 1.0))));
    let broken = outcome(&model("Mul", 1.0), &model("Failing", 1.0));
    assert!(matches!(broken.outcome, Outcome::NotEqual { .. }), "{broken:?}");
    let silent = outcome(&model("Mul", 1.0), &model("Silent", 1.0));
    assert!(matches!(silent.outcome, Outcome::NotEqual { .. }), "{silent:?}");
    let empty = VerifyOptions { data: Some(Vec::new()), ..VerifyOptions::default() };
    assert!(lacking(verify(&model("Mul", 1.0), &model("Mul", 1.0), &Toy, &empty)));
}

#[test]
fn random_models_are_not_judged() {
    let found = outcome(&model("Random", 1.0), &model("Mul", 1.0));
    assert!(matches!(found.outcome, Outcome::CouldNotRun { .. }), "{found:?}");
}

#[test]
fn a_model_that_ignores_its_inputs_is_called_blind() {
    let found = outcome(&model("Const", 1.0), &model("Const", 1.0));
    assert!(found.blind && found.outcome == Outcome::Equal, "{found:?}");
    let options = VerifyOptions { runs: 1, ..VerifyOptions::default() };
    let one = verify(&model("Const", 1.0), &model("Const", 1.0), &Toy, &options);
    assert!(one.blind && one.runs == 1, "{one:?}");
    let faint = outcome(&model("Mul", 1e-7), &model("Mul", 0.0));
    assert!(faint.blind && faint.outcome == Outcome::Equal, "{faint:?}");
}

#[test]
fn noise_of_the_model_itself_is_allowed_for() {
    let found = outcome(&model("Steep", 1.0), &model("Steep", 1.3));
    assert_eq!(found.outcome, Outcome::Equal, "{found:?}");
    assert!(found.outputs[0].noise.is_some_and(|n| n > 0.1), "{found:?}");
}

#[test]
fn other_default_dims_are_tried_until_the_original_runs() {
    let mut options = VerifyOptions::default();
    options.bindings.insert("h".into(), 1);
    options.bindings.insert("w".into(), 1);
    let failed = verify(&model("Picky", 1.0), &model("Picky", 1.0), &Toy, &options);
    assert!(matches!(failed.outcome, Outcome::CouldNotRun { .. }), "{failed:?}");
    options.bindings.remove("w");
    let found = verify(&model("Picky", 1.0), &model("Picky", 1.0), &Toy, &options);
    assert_eq!(found.inputs, ["x: float[1, 3, 1, 64]"]);
}

#[test]
fn another_interface_is_not_equal() {
    let mut renamed = model("Mul", 1.0);
    let y = renamed.graph.outputs()[0];
    renamed.graph.set_outputs(vec![y, y]);
    assert!(matches!(outcome(&model("Mul", 1.0), &renamed).outcome, Outcome::NotEqual { .. }));
    let mut blind = model("Mul", 1.0);
    blind.graph.set_inputs(Vec::new());
    assert!(matches!(outcome(&model("Mul", 1.0), &blind).outcome, Outcome::NotEqual { .. }));
}
