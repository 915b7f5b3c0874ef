//! Lossy steps: each is measured where that is worth something, and undone or softened where it breaks the budget.

use super::budget::metrics;
use super::{Around, PipelineError, RunLog, StepLog, proof, run_step};
use crate::calibrate::{Loss, Samples};
use crate::ir::Model;
use crate::pass::Budget;
use crate::recipe::{OnMiss, Step};

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
    /// What has to be kept.
    pub budget: &'a Budget,
    /// What happens to a step that breaks it.
    pub on_miss: OnMiss,
}

/// What a step made, and what is known of it.
struct Made {
    model: Model,
    log: StepLog,
    unmet: Vec<String>,
}

impl Judge<'_> {
    /// Runs a step. Where it breaks the budget, it is run again with a larger fraction to keep, or not at all, as the
    /// recipe has it.
    pub fn run(&self, model: &mut Model, step: &Step, run: &mut RunLog) -> Result<StepLog, PipelineError> {
        let before = model.clone();
        let mut made = self.judged(&before, step, &mut run.warnings)?;
        if self.on_miss == OnMiss::Fail || made.unmet.is_empty() {
            *model = made.model;
            return Ok(made.log);
        }
        let why = made.unmet.join("; ");
        if self.on_miss == OnMiss::Search
            && let Some((softer, keep)) = self.search(&before, step)?
        {
            run.warnings.push(format!("step `{}` keeps {keep}: with what it was given, {why}", step.id));
            *model = softer.model;
            return Ok(StepLog { kept: Some(keep), ..softer.log });
        }
        run.warnings.push(format!("step `{}` is undone: {why}", step.id));
        made.log.undone = Some(why);
        Ok(made.log)
    }

    /// Runs a step on a copy, and measures what came out.
    fn judged(&self, before: &Model, step: &Step, warnings: &mut Vec<String>) -> Result<Made, PipelineError> {
        let mut model = before.clone();
        let mut log = run_step(&mut model, step, &self.around, warnings)?;
        let mut unmet = Vec::new();
        match proof::loss(self.asked, &model, (self.samples, self.around.profile)) {
            Ok(loss) => {
                unmet.extend(self.budget.unmet_by(&loss));
                log.loss = Some(loss);
            }
            Err(why) if self.budget.needs_loss() => unmet.push(why),
            Err(_) => {}
        }
        if self.on_miss != OnMiss::Fail && !self.budget.metric.is_empty() {
            let found = metrics(self.around.metrics, &model)?;
            let named = self.around.metrics.names().into_iter().zip(found);
            unmet
                .extend(named.filter_map(|(name, x)| self.budget.unmet_metric(self.around.metrics, name, x)));
        }
        Ok(Made { model, log, unmet })
    }

    /// The smallest fraction with which a step keeps the budget, and what it makes then, by halving; `None` where it has
    /// no such option, or nothing below 1 will do.
    fn search(&self, before: &Model, step: &Step) -> Result<Option<(Made, f64)>, PipelineError> {
        let Some(given) = step.keeps() else { return Ok(None) };
        let (mut bad, mut good, mut best) = (given, 1.0, None);
        for _ in 0..HALVINGS {
            if good - bad < NEAR {
                break;
            }
            let keep = (f64::midpoint(bad, good) * 1000.0).round() / 1000.0;
            let Some(softer) = step.keeping(keep) else { break };
            let made = self.judged(before, &softer, &mut Vec::new())?;
            if made.unmet.is_empty() {
                (good, best) = (keep, Some((made, keep)));
            } else {
                bad = keep;
            }
        }
        Ok(best)
    }
}

/// The loss of a run whose last step was measured already, where nothing came after it.
pub(super) fn known(run: &RunLog) -> Option<Loss> {
    run.steps.last().filter(|step| step.undone.is_none())?.loss.clone()
}
