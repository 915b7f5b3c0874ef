//! The proof at the end of a run, and what keeps an engine from being asked or believed.

use std::fmt::Display;

use crate::analysis::cost::{self, Sizes};
use crate::analysis::{Facts, InferContext};
use crate::calibrate::{Loss, Samples};
use crate::engine::arithmetic::Arithmetic;
use crate::engine::interpret::Interpreter;
use crate::engine::verify::{Outcome, Verification, Verifier, VerifyOptions};
use crate::engine::{Bindings, Engine};
use crate::ir::{DType, Model};
use crate::pass::{Accumulation, Profile};

use super::RunLog;

/// The most bytes that one value of a model may take for it to be run.
const LARGEST: u64 = 1 << 32;
/// The most bytes that the values of a model may take together for it to be run.
const TOGETHER: u64 = 1 << 34;

/// Compares the answers of the result with those of the original, and finds the pass that changed them. Returns the
/// inputs that were run, to judge lossy steps by.
pub(super) fn prove<'e>(
    original: &Model,
    result: &Model,
    engine: &'e dyn Engine,
    options: &VerifyOptions,
    run: &mut RunLog,
    culprit: impl FnOnce(&mut Verifier<'_>) -> Option<String>,
) -> Option<Samples<'e>> {
    let mut verifier = match begin(original, engine, options) {
        Ok(verifier) => verifier,
        Err(verdict) => {
            run.verification = Some(verdict);
            return None;
        }
    };
    let found = verifier.check(result);
    if matches!(found.outcome, Outcome::NotEqual { .. }) {
        run.culprit = culprit(&mut verifier);
    }
    run.verification = Some(found);
    let inputs = verifier.answers()?.0.to_vec();
    Some(Samples::new(engine, options.bindings.clone(), Vec::new(), inputs))
}

/// Products that our own kernels compute for a measurement in the arithmetic of a target: about a minute.
const AFFORDABLE: u64 = 40_000_000_000;

/// What lossy steps cost. Where the integer kernels of the target do not compute what the standard says, the result is run
/// as they do: what an exact engine says of it would not be true there.
pub(super) fn loss(
    original: &Model,
    result: &Model,
    (samples, profile): (Option<&Samples<'_>>, Option<&Profile>),
) -> Result<Loss, String> {
    let unknown = |why: &dyn Display| format!("what the lossy steps cost was not measured: {why}");
    let samples = samples.ok_or_else(|| unknown(&"there is nothing to run the models on"))?;
    let pairs = profile.filter(|p| p.accumulation == Accumulation::Pairs && has_bytes(result));
    let Some(profile) = pairs else { return samples.loss(original, result).map_err(|e| unknown(&e)) };
    let facts = Facts::of(&original.graph, &InferContext::default());
    let sizes = Sizes::batch_of_one(&original.graph, &facts, Bindings::new());
    let each = cost::macs(&original.graph, &facts, &sizes).unwrap_or(AFFORDABLE).max(1);
    let batches = usize::try_from(AFFORDABLE / each).unwrap_or(usize::MAX).max(1);
    let engine = Interpreter::with_arithmetic(Arithmetic::Avx2Pairs);
    let loss = samples.loss_by(original, (&engine, result), batches).map_err(|e| unknown(&e))?;
    Ok(Loss { arithmetic: Some(profile.name.clone()), ..loss })
}

/// Whether there are bytes to multiply: only their products differ from the standard's.
fn has_bytes(model: &Model) -> bool {
    let graph = &model.graph;
    let facts = Facts::of(graph, &InferContext::default());
    let has_body = |id| graph.node(id).attrs.graphs().next().is_some();
    graph.values().any(|v| matches!(facts.dtype(v), Some(DType::Int8 | DType::Uint8)))
        || graph.nodes().any(has_body)
}

/// The original's answers; or the verdict, where it cannot be run or its answers cannot be believed.
#[allow(clippy::result_large_err, reason = "the verdict is the other answer, once a run")]
pub(super) fn begin<'e>(
    original: &Model,
    engine: &'e dyn Engine,
    options: &VerifyOptions,
) -> Result<Verifier<'e>, Verification> {
    let facts = Facts::of(&original.graph, &InferContext { bindings: options.bindings.clone() });
    let unknown = |why| Verification::of(engine, options, Outcome::CouldNotRun { why });
    if let Some(why) = too_large(original, &facts, &options.bindings) {
        return Err(unknown(why));
    }
    let verifier = Verifier::new(original, engine, options);
    match lost(original, &facts, &verifier) {
        Some(why) => Err(unknown(why)),
        None => Ok(verifier),
    }
}

/// Why running a model would take more memory than a proof is worth: an engine may die of it, or lose the upper bits of
/// a dim.
fn too_large(model: &Model, facts: &Facts, bindings: &Bindings) -> Option<String> {
    let graph = &model.graph;
    let sizes = Sizes::batch_of_one(graph, facts, bindings.clone());
    let bytes = |value| {
        let dims: Option<Vec<u64>> = facts.shape(value)?.iter().map(|d| sizes.eval(d)).collect();
        let count = if dims.as_ref()?.contains(&0) {
            0
        } else {
            dims?.iter().fold(1, |n: u64, &d| n.saturating_mul(d))
        };
        Some(facts.dtype(value)?.byte_len(count).unwrap_or(u64::MAX))
    };
    for value in graph.values() {
        if let Some(bytes) = bytes(value).filter(|&b| b > LARGEST) {
            let name = &graph.value(value).name;
            return Some(format!(
                "`{name}` takes {bytes} bytes, more than the {LARGEST} that a value may take in a proof"
            ));
        }
    }
    let peak = cost::peak_memory(graph, facts, &sizes).filter(|&p| p > TOGETHER)?;
    Some(format!("a run takes {peak} bytes, more than the {TOGETHER} that a proof may take"))
}

/// An answer without elements where there must be some: the engine lost a dim. (Other dims than declared are no reason:
/// what files declare is often stale.)
fn lost(model: &Model, facts: &Facts, verifier: &Verifier<'_>) -> Option<String> {
    let (_, runs) = verifier.answers()?;
    for answers in runs {
        for (&output, answer) in model.graph.outputs().iter().zip(answers) {
            let known = facts.ty(output).known_dims().filter(|dims| answer.is_empty() && !dims.contains(&0));
            if let Some(dims) = known {
                let name = &model.graph.value(output).name;
                let found = answer.dims();
                return Some(format!("the engine gives `{name}` the dims {found:?}, but it has {dims:?}"));
            }
        }
    }
    None
}
