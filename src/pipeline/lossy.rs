//! Lossy steps: each is measured where that is worth something, and undone or softened where it breaks the budget.

use std::collections::BTreeMap;

use super::{Around, PipelineError, RunLog, StepLog, budget, integers, proof, run_step};
use crate::calibrate::{Loss, Samples};
use crate::ir::Model;
use crate::recipe::{OnMiss, Recipe, Step};

/// How often a fraction is halved.
const HALVINGS: usize = 5;

/// Fractions nearer than this count as one.
const NEAR: f64 = 0.02;

/// What lossy steps are judged by.
pub(super) struct Judge<'a> {
    /// The model that gives the right answers.
    pub asked: &'a Model,
    /// What both models run on.
    pub samples: Option<&'a Samples<'a>>,
    /// What steps know, and the metrics of the recipe.
    pub around: Around<'a>,
    /// What has to be kept, and what happens to a step that breaks it.
    pub recipe: &'a Recipe,
    /// The steps from the first lossy one.
    pub steps: &'a [Step],
}

/// What a step made, and what is known of it.
struct Made {
    model: Model,
    log: StepLog,
    warnings: Vec<String>,
    unmet: Vec<String>,
}

impl Made {
    /// Whether the step changed anything.
    fn applied(&self) -> bool {
        self.log.passes.values().any(|summary| summary.applied > 0)
    }

    /// Whether it only told what it would do.
    fn is_plan(&self) -> bool {
        self.log.passes.values().any(|summary| summary.plan.is_some())
    }

    /// It counts.
    fn accept(self, model: &mut Model, run: &mut RunLog) -> StepLog {
        run.warnings.extend(self.warnings);
        *model = self.model;
        self.log
    }
}

impl Judge<'_> {
    /// Whether each lossy step is measured: a single one costs what the result costs.
    fn measures_each(&self) -> bool {
        self.recipe.on_miss != OnMiss::Fail || self.steps.iter().filter(|step| step.is_lossy()).count() > 1
    }

    /// Runs a step. Where it breaks the budget, it is run again with a larger fraction to keep, or not at all, as the
    /// recipe has it.
    pub fn run(&self, model: &mut Model, step: &Step, run: &mut RunLog) -> Result<StepLog, PipelineError> {
        if !step.is_lossy() || !self.measures_each() {
            return run_step(model, step, &self.around, &mut run.warnings);
        }
        let made = self.judged(model, step)?;
        if self.recipe.on_miss == OnMiss::Fail || made.unmet.is_empty() || made.is_plan() {
            return Ok(made.accept(model, run));
        }
        let why = made.unmet.join("; ");
        if self.recipe.on_miss == OnMiss::Search
            && let Some(given) = step.keeps()
            && let Some((softer, keep)) = self.search(model, step, given)?
        {
            run.warnings
                .push(format!("step `{}` keeps {keep} instead of {given}, with which {why}", step.id));
            return Ok(StepLog { kept: Some(keep), ..softer.accept(model, run) });
        }
        run.warnings.push(format!("step `{}` is undone: {why}", step.id));
        Ok(StepLog { undone: Some(why), passes: BTreeMap::new(), ..made.log })
    }

    /// Runs a step on a copy, and measures what came out.
    fn judged(&self, before: &Model, step: &Step) -> Result<Made, PipelineError> {
        let (mut model, mut warnings, mut unmet) = (before.clone(), Vec::new(), Vec::new());
        let mut log = run_step(&mut model, step, &self.around, &mut warnings)?;
        let budget = &self.recipe.budget;
        match self.loss(&model) {
            Ok(loss) => {
                unmet.extend(budget.unmet_by(&loss));
                log.loss = Some(loss);
            }
            Err(why) if budget.needs_loss() => unmet.push(why),
            Err(_) => {}
        }
        if self.recipe.on_miss != OnMiss::Fail && !budget.metric.is_empty() {
            let found = budget::metrics(self.around.metrics, &model)?;
            unmet.extend(budget::unmet_metrics(budget, self.around.metrics, &found));
        }
        Ok(Made { model, log, warnings, unmet })
    }

    /// The smallest fraction with which a step keeps the budget, and what it makes then, by halving; `None` where nothing
    /// will do that still changes the model.
    fn search(&self, before: &Model, step: &Step, given: f64) -> Result<Option<(Made, f64)>, PipelineError> {
        let (mut bad, mut good, mut best) = (given, 1.0, None);
        for _ in 0..HALVINGS {
            if good - bad < NEAR {
                break;
            }
            let keep = (f64::midpoint(bad, good) * 1000.0).round() / 1000.0;
            let Some(softer) = step.keeping(keep) else { break };
            match self.judged(before, &softer) {
                Ok(made) if !made.unmet.is_empty() => bad = keep,
                Ok(made) if made.applied() => (good, best) = (keep, Some((made, keep))),
                // Nothing is left to take out, which many a pass calls an error.
                Ok(_) | Err(PipelineError::Step { .. }) => good = keep,
                Err(error) => return Err(error),
            }
        }
        Ok(best)
    }

    /// Measures what came out in the end, and says what of the budget it does not keep. `before`: the metrics of the
    /// original.
    pub fn finish(&self, result: &Model, before: Vec<f64>, run: &mut RunLog) -> Result<(), PipelineError> {
        let budget = &self.recipe.budget;
        if !self.steps.is_empty() || budget.needs_loss() {
            match known(run).map_or_else(|| self.loss(result), Ok) {
                Ok(loss) => run.loss = Some(loss),
                Err(why) => run.warnings.push(why),
            }
        }
        run.integers = integers::count(result, &run.steps, self.around.profile);
        budget::judge(budget, (self.around.metrics, before), result, run)
    }

    fn loss(&self, result: &Model) -> Result<Loss, String> {
        proof::loss(self.asked, result, (self.samples, self.around.profile))
    }
}

/// The loss of a run whose last step was measured, and is not undone.
fn known(run: &RunLog) -> Option<Loss> {
    run.steps.last().filter(|step| step.undone.is_none())?.loss.clone()
}
