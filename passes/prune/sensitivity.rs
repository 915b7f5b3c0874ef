//! How much the answers of a model change when single clusters lose channels, and their readers make up for it.

use std::collections::BTreeMap;

use ndarray::{Array2, Axis as Dim, s};

use crate::prelude::*;

use super::channels::Repair;
use super::clusters::Cluster;
use super::cut::Cut;
use super::merge::Merge;
use super::seen::Reader;
use super::widths::Room;

/// The shares of a cluster that are tried.
const SHARES: [f64; 6] = [0.1, 0.2, 0.35, 0.5, 0.65, 0.8];

/// Multiply-accumulates that measuring may take for batches of one sample: minutes, where a large model has many groups.
const AFFORDABLE: u64 = 8_000_000_000_000;

/// Batches that are measured on all the same.
const LEAST: usize = 8;

/// What the answers lose, by how many atoms of a cluster are gone: points of a curve that never falls.
#[derive(Debug, Clone)]
pub(super) struct Curve(Vec<(usize, f64)>);

impl Curve {
    /// Through measured points.
    pub fn through(points: impl IntoIterator<Item = (usize, f64)>) -> Self {
        let mut all = vec![(0, 0.0)];
        for (gone, loss) in points {
            let before = all.last().map_or(0.0, |point: &(usize, f64)| point.1);
            all.push((gone, loss.max(before)));
        }
        Self(all)
    }

    /// Between the points, along straight lines; beyond the last one, along the last line, three times as steep.
    pub fn at(&self, gone: usize) -> f64 {
        let (x, points) = (gone as f64, &self.0);
        let line = |a: (usize, f64), b: (usize, f64)| (b.1 - a.1) / (b.0 - a.0).max(1) as f64;
        for pair in points.windows(2) {
            if gone <= pair[1].0 {
                return pair[0].1 + line(pair[0], pair[1]) * (x - pair[0].0 as f64);
            }
        }
        match points[..] {
            [.., a, b] => b.1 + 3.0 * line(a, b) * (x - b.0 as f64),
            _ => x,
        }
    }
}

/// What a cluster is cut from.
pub(super) struct Bench<'b> {
    pub pass: &'static str,
    pub before: &'b Model,
    pub groups: &'b [Group],
    /// The layers that make up for what is gone, by what was seen of their inputs.
    pub readers: &'b BTreeMap<ValueId, Reader>,
    /// The same by what is expected of their inputs.
    pub merges: &'b [Merge],
    /// How.
    pub repair: Repair,
}

impl Bench<'_> {
    /// What goes with the first so many atoms of clusters.
    pub fn cut(&self, clusters: &[(&Cluster, usize)]) -> Cut {
        let chosen = clusters.iter().flat_map(|(cluster, gone)| &cluster.order[..*gone]);
        Cut::of(
            self.pass,
            chosen.map(|&(group, atom, _)| (&self.groups[group], &self.groups[group].atoms[atom])),
        )
    }

    /// The model without that, in which the layers that read what is gone make up for it as far as they saw.
    pub fn without(&self, cut: &Cut, cx: &mut PassContext<'_>) -> anyhow::Result<Model> {
        let mut model = self.before.clone();
        main_graph(&mut model, cx, &mut |scope, _| {
            cut.apply(scope)?;
            self.merges.iter().try_for_each(|merge| merge.apply(scope, &self.before.graph, cut))?;
            self.readers.values().try_for_each(|reader| fill_in(scope, cut, reader, self.repair))
        })?;
        Ok(model)
    }

    /// What the answers lose by every cluster alone, against those of the original, on samples.
    pub fn curves(
        &self,
        original: &Model,
        (clusters, rooms): (&[Cluster], &[Room]),
        cx: &mut PassContext<'_>,
        (samples, batches): (&Samples<'_>, usize),
    ) -> anyhow::Result<Vec<Curve>> {
        let part = if samples.count(Part::HeldOut) > 0 { Part::HeldOut } else { Part::Calibration };
        let trials: Vec<Vec<usize>> = rooms.iter().map(tried).collect();
        let runs = trials.iter().map(Vec::len).sum();
        let answers = samples.answers_on(part, original, batches.min(affordable(original, runs)))?;
        let lost = samples.divergence(&answers, self.before)?;
        let mut curves = Vec::new();
        for (cluster, tried) in clusters.iter().zip(trials) {
            let mut points = Vec::new();
            for gone in tried {
                let model = self.without(&self.cut(&[(cluster, gone)]), cx)?;
                points.push((gone, (samples.divergence(&answers, &model)? - lost).max(0.0)));
            }
            curves.push(Curve::through(points));
        }
        Ok(curves)
    }
}

/// How many atoms of a cluster are taken away to measure what that costs.
fn tried(room: &Room) -> Vec<usize> {
    let mut tried: Vec<usize> =
        SHARES.iter().map(|share| room.down((room.width as f64 * share).round() as usize)).collect();
    tried.push(room.down(room.most));
    tried.retain(|&gone| gone > 0);
    tried.sort_unstable();
    tried.dedup();
    tried
}

/// Batches for so many runs over them, of a model that multiplies so much for each sample.
fn affordable(model: &Model, runs: usize) -> usize {
    let facts = Facts::of(&model.graph, &InferContext::default());
    let sizes = Sizes::batch_of_one(&model.graph, &facts, BTreeMap::new());
    let macs = cost::macs(&model.graph, &facts, &sizes).unwrap_or(0).saturating_mul(runs as u64);
    usize::try_from(AFFORDABLE / macs.max(1)).unwrap_or(usize::MAX).max(LEAST)
}

/// Lets a layer whose inputs are partly gone make up for them, from what was seen of its inputs in the original: the means
/// of what is gone go to the bias, and the weights of what is left become those of least squares.
fn fill_in(scope: &mut Scope<'_>, cut: &Cut, reader: &Reader, repair: Repair) -> anyhow::Result<()> {
    let layer = &reader.layer;
    let gone = cut.gone(Axis { value: layer.weight, axis: layer.sums });
    let Some(data) = scope.graph.constant(layer.weight).cloned().filter(|_| !gone.is_empty()) else {
        return Ok(());
    };
    let inputs = (reader.weights.ncols() / reader.each.max(1)) as u64;
    let kept: Vec<usize> = cut
        .kept(Axis { value: layer.weight, axis: layer.sums }, inputs)
        .into_iter()
        .flat_map(|i| i as usize * reader.each..(i as usize + 1) * reader.each)
        .collect();
    let outputs = reader.weights.nrows();
    let rows = cut.kept(Axis { value: layer.weight, axis: layer.makes.0 }, outputs as u64);
    let each = outputs / reader.groups();
    let (mut made, mut shift) = (Array2::zeros((outputs, kept.len())), vec![0.0; outputs]);
    for group in 0..reader.groups() {
        let products = reader.products(group);
        let weights = reader.weights.slice(s![group * each..(group + 1) * each, ..]);
        let new = if repair == Repair::Refit {
            let inner = products.select(Dim(0), &kept).select(Dim(1), &kept);
            let Some(factor) = inverse_factor(&inner) else { return Ok(()) };
            weights.dot(&products.select(Dim(1), &kept)).dot(&factor.t()).dot(&factor)
        } else {
            weights.select(Dim(1), &kept)
        };
        let mean = reader.mean(group);
        for row in 0..each {
            let full: f64 = weights.row(row).iter().zip(&mean).map(|(w, m)| w * m).sum();
            let left: f64 = new.row(row).iter().zip(&kept).map(|(w, &at)| w * mean[at]).sum();
            shift[group * each + row] = full - left;
        }
        made.slice_mut(s![group * each..(group + 1) * each, ..]).assign(&new);
    }
    let rows: Vec<usize> = rows.into_iter().map(|row| row as usize).collect();
    let Some(tensor) = layer.tensor(&made.select(Dim(0), &rows), &data) else { return Ok(()) };
    scope.set_constant_and_type(layer.weight, tensor);
    let shift: Vec<f64> = rows.iter().map(|&row| shift[row]).collect();
    layer.add(scope, &shift, data.dtype())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_never_falls_and_goes_on() {
        let curve = Curve::through([(2, 0.1), (4, 0.05), (8, 0.5)]);
        assert!(curve.at(0).abs() < 1e-12);
        assert!((curve.at(1) - 0.05).abs() < 1e-12);
        assert!((curve.at(4) - 0.1).abs() < 1e-12);
        assert!((curve.at(6) - 0.3).abs() < 1e-12);
        assert!((curve.at(9) - 0.8).abs() < 1e-12);
    }
}
