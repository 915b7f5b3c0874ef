//! What the result has to keep, judged at the end of a run.

use super::{MetricLog, PipelineError, RunLog};
use crate::ir::Model;
use crate::pass::{Budget, Metrics};

/// All metrics of a model, in the order of their names.
pub(super) fn metrics(metrics: &dyn Metrics, model: &Model) -> Result<Vec<f64>, PipelineError> {
    let measure = |name: &str| metrics.measure(name, model).map_err(PipelineError::Metric);
    metrics.names().into_iter().map(measure).collect()
}

/// Measures the metrics of the result, and says what of the budget is not met.
pub(super) fn judge(
    budget: &Budget,
    (metrics, before): (&dyn Metrics, Vec<f64>),
    result: &Model,
    run: &mut RunLog,
) -> Result<(), PipelineError> {
    let after = self::metrics(metrics, result)?;
    for ((name, before), after) in metrics.names().into_iter().zip(before).zip(after) {
        let larger_is_better = metrics.larger_is_better(name);
        run.metrics.push(MetricLog { name: name.to_owned(), before, after, larger_is_better });
        run.unmet.extend(budget.unmet_metric(metrics, name, after));
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
