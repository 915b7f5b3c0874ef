//! What became of single layers, for passes that decide layer by layer.

use serde::Serialize;

/// What became of one layer. A fact that the pass does not know is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LayerReport {
    /// The node's name, or what it makes.
    pub layer: String,
    /// Its operator.
    pub op: String,
    /// What it is now: `u8×s8 per channel`, `float`.
    pub form: String,
    /// Whether each of its channels reads one channel alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub depthwise: bool,
    /// The channels between the layers that it was taken apart into.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ranks: Vec<u64>,
    /// Bytes of its weights before.
    pub bytes_before: u64,
    /// Bytes of its weights after.
    pub bytes_after: u64,
    /// Signal to noise ratio on the samples, in dB, where it was measured: of its result (of a layer that was taken apart:
    /// before weights are fitted), or, where a pass quantizes layers one by one to compare them, of the model's worst
    /// output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqnr_db: Option<f64>,
    /// How its activations are quantized: those that it reads, and its result, where its kernel gives integers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub activations: Vec<ActivationReport>,
    /// How its weight is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<WeightReport>,
    /// Pairs of products that kernels add in 16 bits, where the target has such kernels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairs: Option<PairReport>,
    /// The forms that were tried.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forms: Vec<FormReport>,
    /// Why it is as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How an activation is quantized, and what the samples show of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ActivationReport {
    /// Its name in the model before.
    pub tensor: String,
    /// Whether the layer reads it, and does not make it.
    pub read: bool,
    /// The step; of the widest channel, where channels have one each.
    pub scale: f64,
    /// The code of zero.
    pub zero_point: i64,
    /// What the smallest code stands for, with this step and zero.
    pub low: f64,
    /// What the largest code stands for.
    pub high: f64,
    /// Whether channels have a scale each.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_channel: bool,
    /// What the samples show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<SeenReport>,
    /// The share of its numbers that lie outside the range on the samples, where that makes a difference to what reads
    /// them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saturated: Option<f64>,
}

/// What samples show of an activation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct SeenReport {
    /// The smallest number, or 0.
    pub low: f64,
    /// The largest number, or 0.
    pub high: f64,
    /// The root of the mean square.
    pub rms: f64,
}

/// How a weight is quantized.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct WeightReport {
    /// How many scales it has.
    pub scales: u64,
    /// The smallest.
    pub smallest_scale: f64,
    /// The largest.
    pub largest_scale: f64,
    /// How many times as far as the median output channel the one reaches that reaches farthest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apart: Option<f64>,
}

impl WeightReport {
    /// That of some scales; of none where there are none.
    pub fn of(scales: impl IntoIterator<Item = f64>) -> Self {
        let none = Self { smallest_scale: f64::INFINITY, ..Self::default() };
        let all = scales.into_iter().fold(none, |all, scale| Self {
            scales: all.scales + 1,
            smallest_scale: all.smallest_scale.min(scale),
            largest_scale: all.largest_scale.max(scale),
            apart: None,
        });
        if all.scales == 0 { Self::default() } else { all }
    }

    /// The same, with how far each output channel reaches.
    #[must_use]
    pub fn reaching(self, channels: &[f64]) -> Self {
        let mut sorted = channels.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (median, most) = (sorted.get(sorted.len() / 2), sorted.last());
        let apart = median.zip(most).filter(|(median, _)| **median > 0.0).map(|(median, most)| most / median);
        Self { apart, ..self }
    }
}

/// Pairs of products that kernels add in 16 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct PairReport {
    /// All of them.
    pub pairs: u64,
    /// Those that would overflow for some activations, had every weight gone to its nearest code.
    pub before: u64,
    /// Those that can, as the weights are stored.
    pub after: u64,
    /// The most that the steps of a row were widened for it.
    pub widened: f64,
}

/// A form that was tried for a layer.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FormReport {
    /// Its name in the options of the pass; `float`.
    pub form: String,
    /// What it costs, as a share of all layers in float.
    pub cost: f64,
    /// Signal to noise ratio of the model's worst output with only this layer in this form, in dB; `None` without noise.
    pub sqnr_db: Option<f64>,
    /// Whether it is the one that was taken.
    pub chosen: bool,
}

/// An assignment of forms to all layers that a pass considered.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AssignmentReport {
    /// The layer that was raised, compared with the assignment before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raised: Option<String>,
    /// What all layers cost together; 1 per layer share in float.
    pub cost: f64,
    /// The signal to noise ratio that single layers let expect, in dB; `None` without noise.
    pub predicted_db: Option<f64>,
    /// What was measured, in dB, where the assignment was built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured_db: Option<f64>,
    /// Whether it keeps the budget, where the assignment was built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meets: Option<bool>,
    /// Whether it is the one that was taken.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub chosen: bool,
}

/// How many channels some layers make, whose channels go together.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct WidthReport {
    /// The layers, by name.
    pub layers: Vec<String>,
    /// Sets of channels that go together, before.
    pub before: usize,
    /// Those that are left.
    pub after: usize,
    /// Why none may go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_told_by_its_extremes_and_its_farthest_channel() {
        let weight = WeightReport::of([0.5, 0.125, 2.0]).reaching(&[1.0, 16.0, 4.0]);
        assert_eq!((weight.scales, weight.smallest_scale, weight.largest_scale), (3, 0.125, 2.0));
        assert_eq!(weight.apart, Some(4.0), "the median is 4");
        assert_eq!(WeightReport::of([]), WeightReport::default());
        assert_eq!(WeightReport::of([1.0]).reaching(&[0.0, 0.0, 3.0]).apart, None, "no channel is typical");
    }
}
