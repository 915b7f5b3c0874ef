//! What the result has to keep, judged at the end of a run.

use super::{MetricLog, PipelineError, RunLog};
use crate::ir::Model;
use crate::pass::{Budget, Metrics};
use crate::recipe::{OnMiss, Recipe};

/// All metrics of a model, in the order of their names.
pub(super) fn metrics(metrics: &dyn Metrics, model: &Model) -> Result<Vec<f64>, PipelineError> {
    let measure = |name: &str| metrics.measure(name, model).map_err(PipelineError::Metric);
    metrics.names().into_iter().map(measure).collect()
}

/// The metrics of the original, which has to keep the budget itself where steps are undone for its sake.
pub(super) fn before(
    recipe: &Recipe,
    metrics: &dyn Metrics,
    original: &Model,
) -> Result<Vec<f64>, PipelineError> {
    let found = self::metrics(metrics, original)?;
    let mut unmet = unmet_metrics(&recipe.budget, metrics, &found).peekable();
    if recipe.on_miss != OnMiss::Fail && unmet.peek().is_some() {
        return Err(PipelineError::Budget(unmet.collect::<Vec<_>>().join("; ")));
    }
    drop(unmet);
    Ok(found)
}

/// What the values of all metrics, in the order of their names, do not keep.
pub(super) fn unmet_metrics<'a>(
    budget: &'a Budget,
    metrics: &'a dyn Metrics,
    found: &'a [f64],
) -> impl Iterator<Item = String> + 'a {
    let named = metrics.names().into_iter().zip(found);
    named.filter_map(|(name, &value)| budget.unmet_metric(metrics, name, value))
}

/// Measures the metrics of the result, and says what of the budget is not met.
pub(super) fn judge(
    budget: &Budget,
    (metrics, before): (&dyn Metrics, Vec<f64>),
    result: &Model,
    run: &mut RunLog,
) -> Result<(), PipelineError> {
    let after = self::metrics(metrics, result)?;
    run.unmet.extend(unmet_metrics(budget, metrics, &after));
    for ((name, before), after) in metrics.names().into_iter().zip(before).zip(after) {
        let larger_is_better = metrics.larger_is_better(name);
        run.metrics.push(MetricLog { name: name.to_owned(), before, after, larger_is_better });
    }
    match &run.loss {
        Some(loss) => run.unmet.extend(budget.unmet_by(loss)),
        None if budget.needs_loss() => {
            let why = "it asks how far the answers are from the original's, which was not measured";
            run.unmet.push(why.to_owned());
        }
        None => {}
    }
    Ok(())
}
