//! What a lossy step, or a recipe, may cost.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::calibrate::Loss;
use crate::ir::Model;

/// What the answers have to keep.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Budget {
    /// Least signal to quantization noise ratio of every output, in dB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqnr: Option<f64>,
    /// Least share of answers whose largest element stays at its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    /// Least values of metrics of the recipe, by name; the most, where smaller is better.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metric: BTreeMap<String, f64>,
}

/// Metrics of the user's, which a recipe names.
pub trait Metrics {
    /// Their names.
    fn names(&self) -> Vec<&str>;

    /// Whether more of it is better.
    fn larger_is_better(&self, name: &str) -> bool;

    /// Measures a model.
    ///
    /// # Errors
    /// Where the command of the metric fails, or says no number.
    fn measure(&self, name: &str, model: &Model) -> anyhow::Result<f64>;
}

/// No metrics.
impl Metrics for () {
    fn names(&self) -> Vec<&str> {
        Vec::new()
    }

    fn larger_is_better(&self, _: &str) -> bool {
        true
    }

    fn measure(&self, name: &str, _: &Model) -> anyhow::Result<f64> {
        anyhow::bail!("there is no metric `{name}`")
    }
}

impl Budget {
    /// Whether anything goes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it asks how far the answers are from the original's.
    pub fn needs_loss(&self) -> bool {
        self.sqnr.is_some() || self.agreement.is_some()
    }

    /// What is wrong with it.
    pub fn fault(&self) -> Option<String> {
        if let Some(sqnr) = self.sqnr.filter(|db| !db.is_finite()) {
            return Some(format!("`sqnr` is {sqnr}; it is a number of dB"));
        }
        if let Some(share) = self.agreement.filter(|share| !(0.0..=1.0).contains(share)) {
            return Some(format!("`agreement` is {share}; it is a share from 0 to 1"));
        }
        let odd = self.metric.iter().find(|(_, least)| !least.is_finite());
        odd.map(|(name, least)| format!("`metric` asks for {least} of `{name}`; it is a number"))
    }

    /// What the measured loss does not keep, with the numbers.
    pub fn unmet_by(&self, loss: &Loss) -> Vec<String> {
        let mut unmet = Vec::new();
        if let Some(least) = self.sqnr.filter(|&least| loss.sqnr_db() < least) {
            unmet.push(format!("sqnr is {:.1} dB, and has to be {least} at least", loss.sqnr_db()));
        }
        if let Some(least) = self.agreement {
            match loss.agreement() {
                Some(found) if found >= least => {}
                Some(found) => unmet.push(format!("agreement is {found:.4}, and has to be {least} at least")),
                None => unmet.push("agreement cannot be told: no output has rows to compare".to_owned()),
            }
        }
        unmet
    }

    /// What the value of a metric does not keep, with the numbers.
    pub fn unmet_metric(&self, metrics: &dyn Metrics, name: &str, value: f64) -> Option<String> {
        let bound = *self.metric.get(name)?;
        let larger = metrics.larger_is_better(name);
        let met = if larger { value >= bound } else { value <= bound };
        let most = if larger { "least" } else { "most" };
        (!met).then(|| format!("`{name}` is {value}, and has to be {bound} at {most}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::OutputLoss;

    fn loss(sqnr_db: Option<f64>, agreement: Option<f64>) -> Loss {
        let output = OutputLoss { name: "y".into(), sqnr_db, agreement, max_abs: 0.0 };
        Loss { engine: "e".into(), arithmetic: None, batches: 1, held_out: true, outputs: vec![output] }
    }

    #[test]
    fn a_budget_is_met_by_its_own_numbers_and_missed_by_less() {
        let budget = Budget { sqnr: Some(30.0), agreement: Some(0.9), ..Budget::default() };
        assert_eq!(budget.unmet_by(&loss(Some(30.0), Some(0.9))), [""; 0]);
        assert_eq!(budget.unmet_by(&loss(None, Some(1.0))), [""; 0], "equal answers");
        let unmet = budget.unmet_by(&loss(Some(29.96), Some(0.89)));
        assert_eq!(unmet[0], "sqnr is 30.0 dB, and has to be 30 at least");
        assert_eq!(unmet[1], "agreement is 0.8900, and has to be 0.9 at least");
        assert_eq!(budget.unmet_by(&loss(Some(f64::NEG_INFINITY), None)).len(), 2);
        assert_eq!(budget.unmet_by(&loss(Some(f64::NAN), Some(1.0))).len(), 1);
    }

    struct Errors;

    impl Metrics for Errors {
        fn names(&self) -> Vec<&str> {
            vec!["wer", "top1"]
        }
        fn larger_is_better(&self, name: &str) -> bool {
            name != "wer"
        }
        fn measure(&self, _: &str, _: &Model) -> anyhow::Result<f64> {
            Ok(0.0)
        }
    }

    #[test]
    fn metrics_have_a_direction() {
        let metric = [("wer".to_owned(), 5.0), ("top1".to_owned(), 0.9)].into();
        let budget = Budget { metric, ..Budget::default() };
        assert_eq!(budget.unmet_metric(&Errors, "wer", 5.0), None);
        assert_eq!(
            budget.unmet_metric(&Errors, "wer", 5.5).unwrap(),
            "`wer` is 5.5, and has to be 5 at most"
        );
        assert_eq!(budget.unmet_metric(&Errors, "top1", 0.9), None);
        assert!(budget.unmet_metric(&Errors, "top1", 0.8).unwrap().ends_with("0.9 at least"));
        assert_eq!(budget.unmet_metric(&Errors, "other", 0.0), None);
    }

    #[test]
    fn what_is_no_budget_is_named() {
        assert_eq!(Budget { sqnr: Some(30.0), ..Budget::default() }.fault(), None);
        let fault = |budget: Budget| budget.fault().unwrap();
        assert!(fault(Budget { sqnr: Some(f64::NAN), ..Budget::default() }).starts_with("`sqnr` is NaN"));
        assert!(fault(Budget { agreement: Some(98.0), ..Budget::default() }).contains("from 0 to 1"));
        let metric = [("m".to_owned(), f64::INFINITY)].into();
        assert!(fault(Budget { metric, ..Budget::default() }).contains("`m`"));
    }
}
