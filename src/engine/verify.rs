//! Proof by running: the original and the result on the same inputs, output by output.

use serde::Serialize;

use super::compare::{OutputReport, Tolerance, compare, noise};
use super::inputs::{DefaultDims, InputPlan, fed, scaled};
use super::{Bindings, Engine, EngineError, Session};
use crate::ir::{Graph, Model, TensorData};

/// The tensors of one run: one for every input, or one for every output.
pub type Tensors = Vec<TensorData>;

/// How to verify.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// How many inputs to run.
    pub runs: usize,
    /// Seed of the random inputs.
    pub seed: u64,
    /// Sizes of dims that the model leaves open.
    pub bindings: Bindings,
    /// What counts as equal.
    pub tolerance: Tolerance,
    /// Real inputs instead of random ones: a tensor for every input of [`fed`], run by run.
    pub data: Option<Vec<Tensors>>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { runs: 2, seed: 0, bindings: Bindings::new(), tolerance: Tolerance::default(), data: None }
    }
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verification {
    /// The engine that ran both models.
    pub engine: String,
    /// The verdict.
    pub outcome: Outcome,
    /// How many inputs were run.
    pub runs: usize,
    /// Seed of the random inputs; `None` where the inputs were given.
    pub seed: Option<u64>,
    /// The inputs, as `name: type[dims]`.
    pub inputs: Vec<String>,
    /// No output of the original depends on the inputs that were run, or all of them lie within the absolute tolerance
    /// of zero, so that "equal" says little.
    pub blind: bool,
    /// Output by output, in the order of the original's.
    pub outputs: Vec<OutputReport>,
}

/// The verdict of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Outcome {
    /// Every output of every run is equal.
    Equal,
    /// An output differs, or the result has other inputs or outputs, or fails where the original runs.
    NotEqual {
        /// The first reason.
        why: String,
    },
    /// One of the models could not be run: nothing is known. Never to be read as "equal".
    CouldNotRun {
        /// What stood in the way.
        why: String,
    },
}

impl Verification {
    /// A verdict without any run.
    pub(crate) fn of(engine: &dyn Engine, options: &VerifyOptions, outcome: Outcome) -> Self {
        Self {
            engine: engine.name().to_owned(),
            outcome,
            runs: 0,
            seed: options.data.is_none().then_some(options.seed),
            inputs: Vec::new(),
            blind: false,
            outputs: Vec::new(),
        }
    }
}

/// Runs the original and the result on the same inputs and compares them.
pub fn verify(
    original: &Model,
    result: &Model,
    engine: &dyn Engine,
    options: &VerifyOptions,
) -> Verification {
    Verifier::new(original, engine, options).check(result)
}

/// An original with its answers, to be compared with any number of results.
pub struct Verifier<'e> {
    engine: &'e dyn Engine,
    options: VerifyOptions,
    reference: Result<Reference, EngineError>,
}

struct Reference {
    session: Box<dyn Session>,
    input_names: Vec<String>,
    output_names: Vec<String>,
    inputs: Vec<Tensors>,
    answers: Vec<Tensors>,
    blind: bool,
    /// Per run: what noise on the inputs does to each output. Asked only where an output differs.
    noise: Vec<Option<Vec<Option<f64>>>>,
    /// Whether the original repeats itself on the same input. Asked only where an output differs.
    repeats: Option<bool>,
}

impl<'e> Verifier<'e> {
    /// Runs the original.
    pub fn new(original: &Model, engine: &'e dyn Engine, options: &VerifyOptions) -> Self {
        let reference = Reference::of(original, engine, options);
        Self { engine, options: options.clone(), reference }
    }

    /// Why the original could not be run.
    pub fn failure(&self) -> Option<&EngineError> {
        self.reference.as_ref().err()
    }

    /// The inputs and the original's answers, run by run; `None` where it could not be run.
    pub fn answers(&self) -> Option<(&[Tensors], &[Tensors])> {
        self.reference.as_ref().ok().map(|r| (&*r.inputs, &*r.answers))
    }

    /// Compares a result with the original.
    pub fn check(&mut self, result: &Model) -> Verification {
        let mut found = Verification::of(self.engine, &self.options, Outcome::Equal);
        let reference = match &mut self.reference {
            Ok(reference) => reference,
            Err(error) => {
                found.outcome = Outcome::CouldNotRun { why: format!("the original: {error}") };
                return found;
            }
        };
        found.runs = reference.inputs.len();
        found.blind = reference.blind;
        let labels = reference.input_names.iter().zip(reference.inputs.first().into_iter().flatten());
        found.inputs = labels.map(|(name, tensor)| format!("{name}: {tensor:?}")).collect();
        found.outcome = reference.judge(result, self.engine, &self.options, &mut found.outputs);
        found.blind |= !found.outputs.is_empty() && found.outputs.iter().all(|o| o.faint);
        found
    }
}

impl Reference {
    fn of(model: &Model, engine: &dyn Engine, options: &VerifyOptions) -> Result<Self, EngineError> {
        let runs = options.runs.max(1);
        let session = engine.prepare(model, &options.bindings)?;
        let (mut inputs, mut answers) = match &options.data {
            Some(data) => {
                let inputs: Vec<_> = data.iter().take(runs).cloned().collect();
                let count = model.graph.outputs().len();
                let answers = inputs.iter().map(|i| answer(session.as_ref(), i, count));
                let answers = answers.collect::<Result<_, _>>()?;
                (inputs, answers)
            }
            None => random_runs(model, session.as_ref(), runs.max(2), options)?,
        };
        if inputs.is_empty() {
            return Err(EngineError::Invalid("there is no sample to run".to_owned()));
        }
        let same = |a: &Tensors, b: &Tensors| a.iter().zip(b).all(|(a, b)| a.same_data(b));
        let blind = match answers.as_slice() {
            [first, rest @ ..] if !rest.is_empty() => rest.iter().all(|other| same(first, other)),
            _ => false,
        };
        if options.data.is_none() {
            inputs.truncate(runs);
            answers.truncate(runs);
        }
        let graph = &model.graph;
        Ok(Self {
            session,
            input_names: fed(graph).map(|v| graph.value(v).name.clone()).collect(),
            output_names: output_names(graph),
            noise: vec![None; inputs.len()],
            inputs,
            answers,
            blind,
            repeats: None,
        })
    }

    fn judge(
        &mut self,
        result: &Model,
        engine: &dyn Engine,
        options: &VerifyOptions,
        outputs: &mut Vec<OutputReport>,
    ) -> Outcome {
        let not_equal = |why: String| Outcome::NotEqual { why };
        let names: Vec<String> = fed(&result.graph).map(|v| result.graph.value(v).name.clone()).collect();
        if names != self.input_names {
            return not_equal(format!("the inputs were {:?} and are {names:?}", self.input_names));
        }
        if output_names(&result.graph) != self.output_names {
            let now = output_names(&result.graph);
            return not_equal(format!("the outputs were {:?} and are {now:?}", self.output_names));
        }
        let session = match engine.prepare(result, &options.bindings) {
            Ok(session) => session,
            Err(error) => return broken(&error),
        };
        for run in 0..self.inputs.len() {
            let answers = match answer(session.as_ref(), &self.inputs[run], self.output_names.len()) {
                Ok(answers) => answers,
                Err(error) => return broken(&error),
            };
            let reports = self.compare_run(run, &answers, options.tolerance);
            if outputs.is_empty() {
                *outputs = reports;
            } else {
                outputs.iter_mut().zip(reports).for_each(|(old, new)| old.worst(new));
            }
        }
        let Some(first) = outputs.iter().find(|o| !o.equal) else { return Outcome::Equal };
        if !self.repeats() {
            let why =
                "the original gives another answer on the same input: it draws random numbers".to_owned();
            return Outcome::CouldNotRun { why };
        }
        not_equal(format!("output `{}`: {}", first.name, first.why.as_deref().unwrap_or("differs")))
    }

    fn compare_run(&mut self, run: usize, answers: &[TensorData], tolerance: Tolerance) -> Vec<OutputReport> {
        let mut reports = Vec::with_capacity(self.output_names.len());
        for index in 0..self.output_names.len() {
            let (Some(a), Some(b)) = (self.answers[run].get(index), answers.get(index)) else { continue };
            let (a, name) = (a.clone(), self.output_names[index].clone());
            let mut report = compare(&name, &a, b, tolerance, None);
            if !report.equal && report.allowed.is_some() && self.repeats() {
                let noise = self.noise(run).get(index).copied().flatten();
                report = compare(&name, &a, b, tolerance, noise);
            }
            reports.push(report);
        }
        reports
    }

    /// What scaling the float inputs of a run changes in each output; `None` for what is no float.
    fn noise(&mut self, run: usize) -> &[Option<f64>] {
        let (session, inputs, answers) = (&self.session, &self.inputs[run], &self.answers[run]);
        self.noise[run].get_or_insert_with(|| {
            let moved = session.run(&scaled(inputs)).unwrap_or_default();
            answers.iter().zip(&moved).map(|(a, b)| noise(a, b)).collect()
        })
    }

    fn repeats(&mut self) -> bool {
        let (session, inputs, answers) = (&self.session, self.inputs.first(), self.answers.first());
        *self.repeats.get_or_insert_with(|| {
            let Some((inputs, answers)) = inputs.zip(answers) else { return true };
            let again = session.run(inputs).unwrap_or_default();
            again.len() == answers.len() && again.iter().zip(answers).all(|(a, b)| a.same_data(b))
        })
    }
}

/// The original on random inputs, with the first default dims under which it runs.
fn random_runs(
    model: &Model,
    session: &dyn Session,
    runs: usize,
    options: &VerifyOptions,
) -> Result<(Vec<Tensors>, Vec<Tensors>), EngineError> {
    let mut tried: Vec<InputPlan> = Vec::new();
    let mut first_error = None;
    for defaults in DefaultDims::ATTEMPTS {
        let plan = InputPlan::of(model, &options.bindings, defaults)?;
        if tried.contains(&plan) {
            continue;
        }
        let seeds = (0..runs as u64).map(|i| options.seed.wrapping_add(i));
        let inputs = seeds.map(|seed| plan.sample(seed)).collect::<Result<Vec<_>, _>>()?;
        let outputs = model.graph.outputs().len();
        match inputs.iter().map(|i| answer(session, i, outputs)).collect() {
            Ok(answers) => return Ok((inputs, answers)),
            Err(error) => first_error = first_error.or(Some(error)),
        }
        tried.push(plan);
    }
    let unbound = tried.len() > 1;
    Err(match first_error {
        Some(EngineError::Failed { engine, what }) if unbound => {
            let what = format!("{what} (dims that the model leaves open were guessed; bind them)");
            EngineError::Failed { engine, what }
        }
        Some(error) => error,
        None => EngineError::Invalid("there is nothing to run".to_owned()),
    })
}

/// A result that fails where the original runs is not equal, unless the engine lacks something that only it needs.
fn broken(error: &EngineError) -> Outcome {
    let why = format!("the result does not run, though the original does: {error}");
    match error {
        EngineError::Unsupported { .. } | EngineError::TooLarge { .. } => Outcome::CouldNotRun { why },
        _ => Outcome::NotEqual { why },
    }
}

fn output_names(graph: &Graph) -> Vec<String> {
    graph.outputs().iter().map(|&v| graph.value(v).name.clone()).collect()
}

/// One answer for every output, or an error.
fn answer(
    session: &dyn Session,
    inputs: &[TensorData],
    outputs: usize,
) -> Result<Vec<TensorData>, EngineError> {
    let answers = session.run(inputs)?;
    if answers.len() == outputs {
        return Ok(answers);
    }
    Err(EngineError::Invalid(format!("the engine answered with {} outputs, not {outputs}", answers.len())))
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
