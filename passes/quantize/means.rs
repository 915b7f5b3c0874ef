//! Means of channels: seen on samples, or known from a normalization.

use crate::prelude::windows::floats;
use crate::prelude::*;

/// The sum of every channel so far.
pub(super) struct Sums {
    axis: Option<usize>,
    totals: Vec<f64>,
    count: u64,
}

impl Sums {
    /// Of the channels of this axis; `None` for the last.
    pub fn new(axis: Option<usize>) -> Self {
        Self { axis, totals: Vec::new(), count: 0 }
    }

    /// Looks at one more tensor.
    pub fn see(&mut self, tensor: &TensorData) -> Result<(), String> {
        let items = floats(tensor).ok_or("neither float32 nor float16")?;
        let dims = tensor.dims();
        let axis = self.axis.or(dims.len().checked_sub(1)).filter(|&axis| axis < dims.len());
        let axis = axis.ok_or_else(|| format!("its dims are {dims:?}"))?;
        let channels = dims[axis] as usize;
        if self.totals.is_empty() {
            self.totals = vec![0.0; channels];
        }
        if self.totals.len() != channels {
            return Err(format!("it had {} channels and has {channels}", self.totals.len()));
        }
        let inner = dims[axis + 1..].iter().product::<u64>().max(1) as usize;
        for (at, part) in items.chunks(inner).enumerate() {
            let sum: f64 = part.iter().map(|&x| f64::from(x)).sum();
            if !sum.is_finite() {
                return Err(format!("a sum of its numbers is {sum}"));
            }
            self.totals[at % channels] += sum;
        }
        self.count += (items.len() / channels.max(1)) as u64;
        Ok(())
    }

    /// The mean of every channel.
    pub fn means(&self) -> Vec<f64> {
        self.totals.iter().map(|sum| sum / self.count.max(1) as f64).collect()
    }
}

/// The mean of every channel of what a `BatchNormalization` makes, and of what a `Relu` or `Clip` after it does, taking
/// the result for normally distributed as it says. `None` for other values.
pub(super) fn of_normalization(graph: &Graph, value: ValueId) -> Option<Vec<f64>> {
    let (node, _) = graph.producer(value)?;
    let bound = |slot: usize, none: f64| match graph.node_input(node, slot) {
        None => Some(none),
        Some(value) => graph.constant(value)?.to_f64(),
    };
    let (low, high, from) = if graph.node(node).is("Relu") {
        (0.0, f64::INFINITY, graph.node_input(node, 0)?)
    } else if graph.node(node).is("Clip") {
        (bound(1, f64::NEG_INFINITY)?, bound(2, f64::INFINITY)?, graph.node_input(node, 0)?)
    } else {
        (f64::NEG_INFINITY, f64::INFINITY, value)
    };
    let (norm, slot) = graph.producer(from)?;
    let trains = graph.node(norm).attrs.int("training_mode").unwrap_or(0) != 0;
    if !graph.node(norm).is("BatchNormalization") || trains || slot != 0 || low > high {
        return None;
    }
    let [scale, mean] = [1, 2].map(|slot| graph.constant_input(norm, slot).and_then(TensorData::to_f64s));
    let (scale, mean) = scale.zip(mean).filter(|(scale, mean)| scale.len() == mean.len())?;
    Some(scale.iter().zip(&mean).map(|(s, m)| clipped_mean(*m, s.abs(), (low, high))).collect())
}

/// The mean of a normal distribution whose numbers are cut at two bounds.
fn clipped_mean(mean: f64, deviation: f64, (low, high): (f64, f64)) -> f64 {
    if deviation == 0.0 {
        return mean.clamp(low, high);
    }
    let density = |z: f64| (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
    let below = |z: f64| 0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2);
    let (first, last) = ((low - mean) / deviation, (high - mean) / deviation);
    let inside = mean * (below(last) - below(first)) + deviation * (density(first) - density(last));
    // An infinite bound is never reached.
    let cut = |bound: f64, share: f64| if share > 0.0 { bound * share } else { 0.0 };
    inside + cut(low, below(first)) + cut(high, below(-last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clipped_mean_is_that_of_many_numbers() {
        let inf = f64::INFINITY;
        for (mean, deviation) in [(0.0, 1.0), (-1.5, 0.7), (4.0, 2.0), (-20.0, 1.0), (0.3, 0.0)] {
            for (low, high) in [(0.0, inf), (0.0, 6.0), (-inf, inf), (-1.0, 1.0), (-inf, 0.5)] {
                let (mut sum, mut weight) = (0.0, 0.0);
                for at in -8000..=8000 {
                    let z = f64::from(at) / 1000.0;
                    let share = (-0.5 * z * z).exp();
                    sum += share * (mean + deviation * z).clamp(low, high);
                    weight += share;
                }
                let found = clipped_mean(mean, deviation, (low, high));
                assert!((found - sum / weight).abs() < 1e-5, "{mean} {deviation} {low} {high}: {found}");
            }
        }
    }

    #[test]
    fn channels_of_any_axis_are_summed_and_odd_tensors_refused() {
        let tensor = |dims: &[u64], items: &[f64]| TensorData::from_f64s(DType::Float, dims, items).unwrap();
        let mut sums = Sums::new(Some(1));
        sums.see(&tensor(&[2, 2, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])).unwrap();
        sums.see(&tensor(&[1, 2, 1], &[0.0, 10.0])).unwrap();
        assert_eq!(sums.means(), [14.0 / 5.0, 32.0 / 5.0]);
        let mut sums = Sums::new(None);
        sums.see(&tensor(&[2, 3], &[1.0, 2.0, 3.0, 3.0, 2.0, 1.0])).unwrap();
        assert_eq!(sums.means(), [2.0; 3]);
        assert!(sums.see(&tensor(&[2, 2], &[0.0; 4])).unwrap_err().contains("had 3 channels"));
        assert!(sums.see(&tensor(&[1, 3], &[0.0, f64::NAN, 0.0])).unwrap_err().contains("NaN"));
        assert!(sums.see(&tensor(&[], &[0.0])).is_err());
    }
}
