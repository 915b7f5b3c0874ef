//! Layers make up for channels that are gone, by what is expected of these where no sample shows it.

use ndarray::{Array1, Array2, Axis as Dim};

use crate::prelude::*;

use super::channels::Repair;
use super::cut::Cut;
use super::expected::{Expected, Spread};
use super::layers::{Bias, Layer};
use super::seen::summing;

/// The share of the mean variance that is added to each: what is expected is only roughly so.
const DAMPING: f64 = 1e-2;

/// A layer, and what is expected of the channels that it sums over.
pub(super) struct Merge {
    layer: Layer,
    spread: Spread,
    repair: Repair,
}

/// The layers that sum over an axis of these groups, where what they read is expected to be something.
pub(super) fn expect(
    model: &Model,
    channels: &Channels,
    groups: &[Group],
    repair: Repair,
    cx: &PassContext<'_>,
) -> anyhow::Result<Vec<Merge>> {
    let graph = &model.graph;
    let facts = Facts::of(graph, &InferContext::default());
    let expected = Expected::of(graph, &facts, cx)?;
    let merge = |layer: Layer| {
        let spread = expected.get(layer.input)?.clone();
        Some(Merge { layer, spread, repair })
    };
    Ok(summing(graph, channels, groups)?.into_iter().filter_map(merge).collect())
}

impl Merge {
    /// Gives what the channels that are gone add on average to the bias, where that is known, and with [`Repair::Refit`]
    /// what the others say of them to the weights of those.
    pub fn apply(&self, scope: &mut Scope<'_>, before: &Graph, cut: &Cut) -> anyhow::Result<()> {
        let layer = &self.layer;
        let gone = cut.gone(Axis { value: layer.weight, axis: layer.sums });
        let old = before.constant(layer.weight).filter(|_| !gone.is_empty());
        let new = scope.graph.constant(layer.weight).cloned();
        let (Some(old), Some(new), Some(window)) = (old, new, layer.window(before)) else { return Ok(()) };
        let Some(whole) = layer.matrix(old) else { return Ok(()) };
        let (each, groups, outputs) = (layer.each(old).max(1), window.groups().max(1), whole.nrows());
        let width = whole.ncols() / each;
        if self.spread.mean.len() != width * groups || outputs % groups != 0 {
            return Ok(());
        }
        let kept: Vec<usize> = (0..width).filter(|&i| gone.binary_search(&(i as u32)).is_err()).collect();
        let lost: Vec<usize> = gone.iter().map(|&i| i as usize).collect();
        let split = Split { whole, kept, lost, each, rows: outputs / groups };
        let made = match self.repair {
            Repair::Refit => self.merged(&split),
            _ => Some(split.rest()),
        };
        let Some(made) = made else { return Ok(()) };
        let rows = cut.kept(Axis { value: layer.weight, axis: layer.makes.0 }, outputs as u64);
        let rows: Vec<usize> = rows.into_iter().map(|row| row as usize).collect();
        let Some(tensor) = layer.tensor(&made.select(Dim(0), &rows), &new) else { return Ok(()) };
        scope.set_constant_and_type(layer.weight, tensor);
        if !self.spread.anchored {
            return Ok(());
        }
        let shifts: Vec<f64> = rows.iter().map(|&row| split.shift(row, &made, &self.spread.mean)).collect();
        layer.add(scope, &shifts, new.dtype())
    }

    /// The weights of what is left, which take over what is gone.
    fn merged(&self, split: &Split) -> Option<Array2<f64>> {
        let Split { whole, kept, lost, each, rows } = split;
        let mut made = split.rest();
        let width = kept.len() + lost.len();
        for group in 0..whole.nrows() / rows {
            let blend = self.blend(group * width, (kept, lost))?;
            for row in group * rows..(group + 1) * rows {
                for at in 0..*each {
                    let weights: Array1<f64> = lost.iter().map(|i| whole[[row, i * each + at]]).collect();
                    for (place, more) in blend.dot(&weights).iter().enumerate() {
                        made[[row, place * each + at]] += more;
                    }
                }
            }
        }
        Some(made)
    }

    /// What is expected of the channels that are gone, as sums of those that stay: `[kept, gone]`. They are counted from
    /// `start`, where their group begins.
    fn blend(&self, start: usize, (kept, lost): (&[usize], &[usize])) -> Option<Array2<f64>> {
        let Spread { mean, covariance, .. } = &self.spread;
        // Where nothing takes the means, the weights have to.
        let centred = self.layer.bias != Bias::None;
        let product = |i: usize, j: usize| {
            let (i, j) = (start + i, start + j);
            covariance[[i, j]] + if centred { 0.0 } else { mean[i] * mean[j] }
        };
        let power: f64 = kept.iter().map(|&i| product(i, i)).sum();
        let added = (DAMPING * power / kept.len().max(1) as f64).max(f64::MIN_POSITIVE);
        let inner = Array2::from_shape_fn((kept.len(), kept.len()), |(i, j)| {
            product(kept[i], kept[j]) + if i == j { added } else { 0.0 }
        });
        let outer = Array2::from_shape_fn((kept.len(), lost.len()), |(i, j)| product(kept[i], lost[j]));
        solve(&inner, &outer)
    }
}

/// The weights of a layer, and which input channels of a group stay.
struct Split {
    /// A row for every output channel.
    whole: Array2<f64>,
    kept: Vec<usize>,
    lost: Vec<usize>,
    /// Neighbours of a row that belong to one input channel.
    each: usize,
    /// Output channels of a group.
    rows: usize,
}

impl Split {
    /// The weights of what stays, as they are.
    fn rest(&self) -> Array2<f64> {
        let columns: Vec<usize> =
            self.kept.iter().flat_map(|&i| i * self.each..(i + 1) * self.each).collect();
        self.whole.select(Dim(1), &columns)
    }

    /// By how much the mean of an output falls with other weights for what stays.
    fn shift(&self, row: usize, made: &Array2<f64>, mean: &[f64]) -> f64 {
        let first = row / self.rows * (self.kept.len() + self.lost.len());
        let before = self.whole.row(row).into_iter().enumerate();
        let before: f64 = before.map(|(at, w)| w * mean[first + at / self.each]).sum();
        let after = made.row(row).into_iter().enumerate();
        let after: f64 = after.map(|(at, w)| w * mean[first + self.kept[at / self.each]]).sum();
        before - after
    }
}
