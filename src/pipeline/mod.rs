//! Running a recipe over a model: steps, the check after each, the proof at the end.

mod bind;
mod budget;
mod culprit;
mod integers;
mod lossy;
mod metrics;
mod proof;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use crate::calibrate::{Loss, Samples};
use crate::engine::compare::Tolerance;
use crate::engine::verify::{Verification, VerifyOptions};
use crate::engine::{Bindings, Engine, fold};
use crate::ir::{IrError, Model};
use crate::pass::{Member, Metrics, Originals, Pass, PassContext, Profile, Summary, run_members};
use crate::recipe::{Recipe, Step, StepKind};
use crate::rewrite::Select;

use lossy::Judge;
use metrics::Commands;

pub use bind::BindError;
pub use integers::{FloatLog, IntegerLog};

/// Why a recipe could not be run. The model that went in is untouched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The model was broken before the first step.
    #[error("the model is not valid: {0}")]
    Model(#[from] IrError),
    /// A dim could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The target opset or IR version cannot be written.
    #[error("{0}")]
    Opset(String),
    /// A step failed.
    #[error("step `{step}`: {error:#}")]
    Step {
        /// The step's id.
        step: String,
        /// What went wrong.
        error: anyhow::Error,
    },
    /// The model after a step could not be kept.
    #[error("the model after step `{step}` cannot be kept: {why}")]
    Stage {
        /// The step's id.
        step: String,
        /// What went wrong.
        why: String,
    },
    /// A metric could not be measured.
    #[error("{0:#}")]
    Metric(anyhow::Error),
    /// The original breaks the budget that its steps are held to.
    #[error("the budget cannot be met: {0}, before the first step")]
    Budget(String),
    /// A step broke an invariant: a bug in a pass.
    #[error(
        "step `{step}` left a broken model: {error} (a bug in onnxpress; `skip: [{step}]` in a recipe works around it)"
    )]
    Broken {
        /// The step's id.
        step: String,
        /// The invariant.
        error: IrError,
    },
}

/// How to run a recipe.
#[derive(Default)]
pub struct RunOptions<'a> {
    /// Runs the original and the result; `None`: no verification.
    pub engine: Option<&'a dyn Engine>,
    /// Real inputs for the verification, run by run.
    pub data: Option<Vec<Vec<crate::ir::TensorData>>>,
    /// Samples for passes that measure.
    pub samples: Option<&'a Samples<'a>>,
    /// Sizes of dims, besides those of the recipe. They win.
    pub bindings: Bindings,
    /// The opset to write, besides the recipe's. It wins.
    pub opset: Option<i64>,
    /// Told the id of every step before it runs.
    pub progress: Option<&'a mut dyn FnMut(&str)>,
    /// Given the model after every step.
    pub stages: Option<&'a mut KeepStage<'a>>,
}

/// Keeps the model after a step: its number, counted from 1, and its id. Returns what the report calls it.
pub type KeepStage<'a> = dyn FnMut(usize, &str, &Model) -> Result<String, String> + 'a;

/// What a run did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RunLog {
    /// Step by step.
    pub steps: Vec<StepLog>,
    /// The proof; `None` where none was asked for.
    pub verification: Option<Verification>,
    /// How much of the result's heavy work is in integers; `None` where nothing is, or sizes are unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integers: Option<IntegerLog>,
    /// What the lossy steps cost; `None` where there was none, or nothing to run them on.
    pub loss: Option<Loss>,
    /// The metrics of the recipe.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricLog>,
    /// What of the recipe's budget is not met, with the numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unmet: Vec<String>,
    /// Where the answers differ: the pass that changed them, as far as bisection could tell.
    pub culprit: Option<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// What a metric was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricLog {
    /// Its name.
    pub name: String,
    /// Of the original.
    pub before: f64,
    /// Of the result.
    pub after: f64,
    /// Whether more of it is better.
    pub larger_is_better: bool,
}

/// What one step did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StepLog {
    /// The step's id.
    pub id: String,
    /// Pass by pass.
    pub passes: BTreeMap<&'static str, Summary>,
    /// Wall time.
    pub seconds: f64,
    /// Where the model after it was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// What this step and the lossy ones before it cost, where that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// The fraction that it keeps, where it was softened to keep the budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<f64>,
    /// What of the budget it broke, where it was undone for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undone: Option<String>,
}

impl RunLog {
    /// Whether a step only told what it would do, so that the result is none.
    pub fn is_plan(&self) -> bool {
        self.steps.iter().flat_map(|step| step.passes.values()).any(|summary| summary.plan.is_some())
    }
}

/// Runs one step on a model.
type RunOne<'a> = dyn FnMut(&mut Model, &Step, &mut RunLog) -> Result<StepLog, PipelineError> + 'a;

/// Runs a recipe over a model.
///
/// # Errors
/// Where a step fails. That answers differ is no error: see [`RunLog::verification`].
pub fn run(
    original: &Model,
    recipe: &Recipe,
    mut options: RunOptions<'_>,
) -> Result<(Model, RunLog), PipelineError> {
    original.check()?;
    let mut run = RunLog::default();
    let mut model = original.clone();
    let bindings = bound(&mut model, recipe, &options.bindings)?;
    // What verification runs: its inputs have the sizes that were asked for.
    let asked = model.clone();
    set_opset(&mut model, recipe, options.opset)?;
    let start = model.clone();
    let trains = !original.meta.training.is_empty();
    if trains && !recipe.steps.is_empty() {
        let why = "the model has training info, which names values of the graph: no step was run";
        run.warnings.push(why.to_owned());
    }
    let steps = if trains { &[] } else { &recipe.steps[..] };
    let (exact, lossy) = steps.split_at(steps.iter().position(Step::is_lossy).unwrap_or(steps.len()));
    let samples = options.samples;
    run.warnings.extend(samples.into_iter().flat_map(Samples::warnings).cloned());
    let metrics = Commands(&recipe.metrics);
    let originals = Some(Originals { read: &start, exact: &start });
    let (engine, profile) = (options.engine, recipe.profile.as_ref());
    let around = Around { samples, engine, profile, metrics: &metrics, originals };
    let before = budget::before(recipe, &metrics, original)?;
    let mut run_all = |steps: &[Step], model: &mut Model, run: &mut RunLog, one: &mut RunOne<'_>| {
        for step in steps {
            if let Some(progress) = &mut options.progress {
                progress(&step.id);
            }
            let mut log = one(model, step, run)?;
            if let Some(keep) = &mut options.stages {
                let kept = keep(run.steps.len() + 1, &step.id, model);
                let failed = |why| PipelineError::Stage { step: step.id.clone(), why };
                log.stage = Some(kept.map_err(failed)?);
            }
            run.steps.push(log);
        }
        Ok::<_, PipelineError>(())
    };
    let mut plainly =
        |model: &mut Model, step: &Step, run: &mut RunLog| run_step(model, step, &around, &mut run.warnings);
    run_all(exact, &mut model, &mut run, &mut plainly)?;
    let verify = verify_options(recipe, options.data.take(), bindings);
    let tested = match options.engine.filter(|_| recipe.verify.enabled) {
        Some(engine) => proof::prove(&asked, &model, engine, &verify, &mut run, |verifier| {
            culprit::find(&start, exact, verifier, &around)
        }),
        None => None,
    };
    let exact = model.clone();
    let originals = Some(Originals { read: &start, exact: &exact });
    let (around, samples) = (Around { originals, ..around }, samples.or(tested.as_ref()));
    let judge = Judge { asked: &asked, samples, around, recipe, steps: lossy };
    run_all(lossy, &mut model, &mut run, &mut |model, step, run| judge.run(model, step, run))?;
    judge.finish(&model, before, &mut run)?;
    Ok((model, run))
}

/// How the answers are compared.
fn verify_options(
    recipe: &Recipe,
    data: Option<Vec<Vec<crate::ir::TensorData>>>,
    bindings: Bindings,
) -> VerifyOptions {
    VerifyOptions {
        runs: recipe.verify.runs as usize,
        seed: recipe.verify.seed,
        tolerance: Tolerance { rtol: recipe.verify.rtol, atol: recipe.verify.atol },
        data,
        bindings,
    }
}

/// Sets the opset and the IR version that are to be written.
fn set_opset(model: &mut Model, recipe: &Recipe, wanted: Option<i64>) -> Result<(), PipelineError> {
    let ceiling =
        recipe.profile.as_ref().and_then(|p| p.opset).filter(|&c| model.opset("").is_some_and(|o| o > c));
    if let Some(opset) = wanted.or(recipe.target_opset).or(ceiling) {
        check_opset(opset)?;
        crate::onnx::set_opset(model, opset);
    }
    if let Some(version) = recipe.target_ir_version {
        crate::onnx::set_ir_version(model, version).map_err(PipelineError::Opset)?;
    }
    Ok(())
}

/// Binds dims. Returns all sizes of symbolic dims that are known.
pub(crate) fn bound(
    model: &mut Model,
    recipe: &Recipe,
    besides: &Bindings,
) -> Result<Bindings, PipelineError> {
    let mut bindings = bind::by_input(model, &recipe.inputs)?;
    bindings.extend(besides.clone());
    if let Some(batch) = recipe.batch {
        bind::batch(model, batch, &mut bindings)?;
    }
    bind::apply(model, &bindings)?;
    Ok(bindings)
}

fn check_opset(opset: i64) -> Result<(), PipelineError> {
    let newest = crate::schema::NEWEST_OPSET;
    if (1..=newest).contains(&opset) {
        return Ok(());
    }
    Err(PipelineError::Opset(format!("opset {opset} is unknown; this build knows 1 to {newest}")))
}

/// What steps may know besides the model.
#[derive(Clone, Copy)]
struct Around<'a> {
    samples: Option<&'a Samples<'a>>,
    engine: Option<&'a dyn Engine>,
    profile: Option<&'a Profile>,
    metrics: &'a dyn Metrics,
    originals: Option<Originals<'a>>,
}

impl<'a> Around<'a> {
    /// What passes know around a model.
    fn context(&self, model: &Model) -> PassContext<'a> {
        let mut cx = PassContext::new(model, &fold::evaluate, &fold::covers)
            .with_samples(self.samples)
            .with_engine(self.engine)
            .with_originals(self.originals)
            .with_metrics(self.metrics);
        cx.profile = self.profile.cloned().unwrap_or_default();
        cx
    }
}

/// Runs one step and checks the model.
fn run_step(
    model: &mut Model,
    step: &Step,
    around: &Around<'_>,
    warnings: &mut Vec<String>,
) -> Result<StepLog, PipelineError> {
    let start = Instant::now();
    let failed = |error| PipelineError::Step { step: step.id.clone(), error };
    step.check_selectors(model).map_err(|e| failed(e.into()))?;
    let mut members = Vec::new();
    members_of(step, &Select::default(), &mut members);
    let members: Vec<_> = members.iter().map(|(pass, select)| Member { pass: *pass, select }).collect();
    let mut cx = around.context(model);
    let passes = run_members(model, &members, &mut cx).map_err(failed)?;
    warnings.append(&mut cx.warnings);
    model.check().map_err(|error| PipelineError::Broken { step: step.id.clone(), error })?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(StepLog { id: step.id.clone(), passes, seconds, ..StepLog::default() })
}

/// The passes of a step with the nodes that each may change, sets within sets flattened.
fn members_of<'s>(step: &'s Step, outer: &Select, into: &mut Vec<(&'s dyn Pass, Select)>) {
    let select = step.select.within(outer);
    match &step.kind {
        StepKind::Pass(pass) => into.push((pass.as_pass(), select)),
        StepKind::Fixpoint(steps) => steps.iter().for_each(|inner| members_of(inner, &select, into)),
    }
}
