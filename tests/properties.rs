//! Random graphs through every pass alone, and through all of them together: the model stays valid, its inputs and
//! outputs keep their names and types, its answers stay the same, and a second run finds nothing to do.

mod random_model;

use onnxpress::engine::Bindings;
use onnxpress::engine::compare::Tolerance;
use onnxpress::engine::interpret::Interpreter;
use onnxpress::engine::verify::{Outcome, Verifier, VerifyOptions};
use onnxpress::ir::{Graph, Model};
use onnxpress::onnx;
use onnxpress::pass::{Pass, PassContext, run_set};
use onnxpress::passes::AnyPass;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use random_model::{Step, model_text};

/// How many models are made; fewer where the kernels are not optimized. `CASES=n` makes n.
const CASES: u32 = if cfg!(debug_assertions) { 12 } else { 100 };

/// The same models on every run, but with `SEED=n`.
const SEED: [u8; 32] = *b"random graphs, always the same 1";

#[test]
fn passes_keep_the_answers_of_random_models() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let mut seed = SEED;
    if let Some(other) = number("SEED") {
        seed[..4].copy_from_slice(&other.to_le_bytes());
    }
    let config = Config {
        cases: number("CASES").unwrap_or(CASES),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let steps = proptest::collection::vec(any::<Step>(), 1..60);
    match runner.run(&steps, |steps| holds(&steps)) {
        Ok(()) => {}
        Err(TestError::Fail(why, steps)) => panic!("a model of {} steps: {why}", steps.len()),
        Err(error) => panic!("{error}"),
    }
}

fn holds(steps: &[Step]) -> Result<(), TestCaseError> {
    let text = model_text(steps);
    let fail = |what: String| TestCaseError::fail(format!("{what}\n{text}"));
    let mut fill = |name: &str, dtype, dims: &[u64]| random_model::weight(name, dtype, dims);
    let original = onnx::from_text_with(&text, &mut fill).map_err(|e| fail(e.to_string()))?.model;
    original.check().map_err(|e| fail(e.to_string()))?;
    let mut verifiers: Vec<Verifier<'_>> = [1, 3].map(|n| verifier(&original, n)).into();
    for verifier in &verifiers {
        if let Some(error) = verifier.failure() {
            return Err(fail(format!("the model does not run: {error}")));
        }
    }
    let all: Vec<AnyPass> = AnyPass::IDS.iter().filter_map(|id| AnyPass::named(id)).collect();
    let exact: Vec<&dyn Pass> =
        all.iter().map(AnyPass::as_pass).filter(|p| !p.meta().lossy && !p.needs_samples()).collect();
    for pass in &exact {
        one(&original, &[*pass], &mut verifiers).map_err(|e| fail(format!("{}: {e}", pass.meta().id)))?;
    }
    one(&original, &exact, &mut verifiers).map_err(|e| fail(format!("all together: {e}")))
}

fn verifier(model: &Model, batch: u64) -> Verifier<'_> {
    let options = VerifyOptions {
        runs: 2,
        seed: batch,
        bindings: Bindings::from([("N".to_owned(), batch)]),
        tolerance: Tolerance { rtol: Some(1e-4), atol: Some(1e-4) },
        ..VerifyOptions::default()
    };
    Verifier::new(model, &Interpreter { limit: 1 << 32, arithmetic: None }, &options)
}

/// Runs a set of passes and says what is wrong with the result.
fn one(original: &Model, passes: &[&dyn Pass], verifiers: &mut [Verifier<'_>]) -> Result<(), String> {
    let mut result = original.clone();
    let mut cx = PassContext::with_kernels(&result);
    let report = run_set(&mut result, passes, &mut cx).map_err(|e| format!("{e:#}"))?;
    result.check().map_err(|e| e.to_string())?;
    let print = |model: &Model| {
        let checked = model.check().map_err(|e| e.to_string())?;
        onnx::to_text(checked, 16).map_err(|e| e.to_string())
    };
    let printed = print(&result)?;
    let said = |what: &str| format!("{what}\n{report:?}\n{printed}");
    if signature(&result.graph) != signature(&original.graph) {
        return Err(said("inputs or outputs changed"));
    }
    if let Some(name) = shadow(&result.graph, &mut Vec::new()) {
        return Err(said(&format!("a body hides `{name}` of the graph around it")));
    }
    for verifier in verifiers {
        let found = verifier.check(&result);
        if found.outcome != Outcome::Equal {
            return Err(said(&format!("{:?} {:?}", found.outcome, found.outputs)));
        }
    }
    if passes.iter().all(|p| p.meta().idempotent) {
        let mut second = result.clone();
        let mut cx = PassContext::with_kernels(&second);
        let again = run_set(&mut second, passes, &mut cx).map_err(|e| format!("{e:#}"))?;
        if again.values().any(|s| s.applied > 0) {
            return Err(said(&format!("a second run applies again: {again:?}\n{}", print(&second)?)));
        }
    }
    let bytes = onnx::encode(result.check().map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    let read = onnx::load_bytes(bytes, None).map_err(|e| said(&e.to_string()))?.model;
    if print(&read)? != printed {
        return Err(said("writing and reading changes the model"));
    }
    Ok(())
}

/// Names and types of inputs and outputs.
fn signature(graph: &Graph) -> Vec<String> {
    let show = |&v| format!("{} {}", graph.value(v).ty, graph.value(v).name);
    graph.inputs().iter().chain(graph.outputs()).map(show).collect()
}

/// A name that a body defines though a graph around it has it.
fn shadow(graph: &Graph, around: &mut Vec<String>) -> Option<String> {
    let captured: Vec<_> = graph.captured_values().collect();
    let own: Vec<String> =
        graph.values().filter(|v| !captured.contains(v)).map(|v| graph.value(v).name.clone()).collect();
    if let Some(name) = own.iter().find(|name| around.contains(name)) {
        return Some(name.clone());
    }
    let outside = around.len();
    around.extend(own);
    let found =
        graph.nodes().flat_map(|n| graph.node(n).attrs.graphs()).find_map(|body| shadow(body, around));
    around.truncate(outside);
    found
}
