//! What pixels become before a model computes with them.

use crate::prelude::*;

use super::preprocessing::FoldPreprocessing;

/// `(pixel - shift) * factor` for each channel of the model, or one of each for all; what is in weights is gone from it.
pub(super) struct Pixels {
    factors: Vec<f64>,
    shifts: Vec<f64>,
    /// Whether the pixels have their channels in the other order.
    pub is_reversed: bool,
    channels: Option<usize>,
}

impl Pixels {
    pub fn new(options: &FoldPreprocessing, channels: Option<usize>) -> anyhow::Result<Self> {
        let FoldPreprocessing { scale, mean, std, reverse_channels, .. } = options;
        for (name, list) in [("scale", scale), ("mean", mean), ("std", std)] {
            let fits = list.len() == 1 || Some(list.len()) == channels;
            let wanted = channels.map_or("one number, for the channels are not known".to_owned(), |n| {
                format!("one number or {n}, one for each channel")
            });
            anyhow::ensure!(fits, "{name}: expected {wanted}; found {}", list.len());
            let usable = list.iter().all(|x| x.is_finite() && (name == "mean" || *x != 0.0));
            anyhow::ensure!(usable, "{name}: a number is not finite, or nothing can be divided by it");
        }
        anyhow::ensure!(
            !reverse_channels || channels.is_some(),
            "reverse-channels: the number of channels is not known"
        );
        let count = [scale.len(), mean.len(), std.len()].into_iter().max().unwrap_or(1);
        let at = |list: &[f64], channel: usize| list[channel % list.len()];
        let shifts = (0..count).map(|c| at(mean, c) / at(scale, c)).collect();
        let factors = (0..count).map(|c| at(scale, c) / at(std, c)).collect();
        Ok(Self { factors, shifts, is_reversed: *reverse_channels, channels })
    }

    /// What a channel is multiplied by.
    pub fn factor(&self, channel: usize) -> f64 {
        self.factors[channel % self.factors.len()]
    }

    /// What a pixel of 0 becomes.
    pub fn offset(&self, channel: usize) -> f64 {
        -self.shifts[channel % self.shifts.len()] * self.factor(channel)
    }

    /// Whether a pixel of 0 becomes anything else.
    pub fn shifts(&self) -> bool {
        self.shifts.iter().any(|&s| s != 0.0)
    }

    /// Scale and order are in weights now, and the shift too unless it stays.
    pub fn is_folded(&mut self, keeps_shift: bool) {
        self.factors = vec![1.0];
        if !keeps_shift {
            self.shifts = vec![0.0];
        } else if self.is_reversed {
            // The shift is that of pixels, in their order.
            self.shifts.reverse();
        }
        self.is_reversed = false;
    }

    /// The order of the channels, where it has to change.
    pub fn order(&self) -> Option<Vec<i64>> {
        let channels = i64::try_from(self.channels?).ok().filter(|_| self.is_reversed)?;
        Some((0..channels).rev().collect())
    }

    /// What is subtracted, where something is.
    pub fn shift(&self) -> Option<Vec<f64>> {
        self.shifts().then(|| self.shifts.clone())
    }

    /// What is multiplied by, where something is.
    pub fn factors(&self) -> Option<Vec<f64>> {
        self.factors.iter().any(|f| f.total_cmp(&1.0).is_ne()).then(|| self.factors.clone())
    }
}

/// Numbers for the channels of a tensor, or one for all of it.
pub(super) fn spread(items: &[f64], dtype: DType, rank: usize) -> Option<TensorData> {
    let mut dims = vec![1; rank.saturating_sub(1)];
    if let Some(first) = dims.first_mut() {
        *first = items.len() as u64;
    }
    if items.len() == 1 {
        dims.clear();
    }
    TensorData::from_f64s(dtype, &dims, items)
}
