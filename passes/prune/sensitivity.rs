//! How much the answers of a model change when single clusters lose channels, and their readers make up for it.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array2, Axis as Dim, s};

use crate::prelude::*;

use super::channels::Repair;
use super::clusters::Cluster;
use super::cut::Cut;
use super::merge::Merge;
use super::seen::Reader;
use super::widths::Room;

/// The shares of a cluster that are tried, besides the most that may go.
const SHARES: [f64; 6] = [0.1, 0.2, 0.35, 0.5, 0.65, 0.8];

/// The same of a model that takes long.
const FEW_SHARES: [f64; 3] = [0.15, 0.35, 0.6];

/// Multiply-accumulates that measuring may take for batches of one sample: minutes, where a large model has many groups.
const AFFORDABLE: u64 = 8_000_000_000_000;

/// Batches that are measured on all the same.
const LEAST: usize = 8;

/// Batches below which fewer shares are tried instead.
const ENOUGH: usize = 32;

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
        let macs = macs_of(original);
        let try_all = |shares: &[f64]| -> (Vec<Vec<usize>>, usize) {
            let trials: Vec<Vec<usize>> = rooms.iter().map(|room| tried(room, shares)).collect();
            let runs = trials.iter().map(|tried| tried.len() as u64).sum::<u64>();
            let affordable = AFFORDABLE / macs.saturating_mul(runs).max(1);
            (trials, usize::try_from(affordable).unwrap_or(usize::MAX))
        };
        let (mut trials, mut affordable) = try_all(&SHARES);
        if affordable < ENOUGH {
            (trials, affordable) = try_all(&FEW_SHARES);
        }
        let mut answers = samples.answers_on(part, original, batches.min(affordable.max(LEAST)))?;
        let lost = samples.divergence(&answers, self.before)?;
        let facts = Facts::of(&self.before.graph, &InferContext::default());
        let course = Course::of(&self.before.graph)?;
        let mut places: Vec<(usize, usize)> =
            clusters.iter().enumerate().map(|(at, cluster)| (self.first(&course, cluster), at)).collect();
        places.sort_unstable();
        let mut curves = vec![Curve::through([]); clusters.len()];
        for (place, at) in places {
            if let Some(needs) = needs(&course, &self.before.graph, &facts, place) {
                samples.skip_to(&mut answers, self.before, &needs)?;
            }
            let model = |&gone| self.without(&self.cut(&[(&clusters[at], gone)]), cx);
            let models = trials[at].iter().map(model).collect::<anyhow::Result<Vec<_>>>()?;
            let found = samples.divergences(&answers, &models)?;
            let points = trials[at].iter().zip(found).map(|(&gone, found)| (gone, (found - lost).max(0.0)));
            curves[at] = Curve::through(points);
        }
        Ok(curves)
    }

    /// The place of the first node that a cut of a cluster has to do with.
    fn first(&self, course: &Course, cluster: &Cluster) -> usize {
        let graph = &self.before.graph;
        let groups: BTreeSet<usize> = cluster.order.iter().map(|&(group, ..)| group).collect();
        let values = groups.into_iter().flat_map(|group| &self.groups[group].axes).map(|axis| axis.value);
        let nodes = values.flat_map(|value| match graph.producer(value) {
            Some((node, _)) => vec![node],
            None => graph.uses(value).into_iter().map(|(node, _)| node).collect(),
        });
        nodes.filter_map(|node| course.place(node)).min().unwrap_or(0)
    }
}

/// What a model has to be given to run from a place on; `None` where that is more than tensors.
pub(super) fn needs(course: &Course, graph: &Graph, facts: &Facts, place: usize) -> Option<Vec<ValueId>> {
    let needs = course.needs(graph, place);
    needs.iter().all(|&value| facts.dtype(value).is_some()).then_some(needs)
}

/// How many atoms of a cluster are taken away to measure what that costs.
fn tried(room: &Room, shares: &[f64]) -> Vec<usize> {
    let mut tried: Vec<usize> =
        shares.iter().map(|share| room.down((room.width as f64 * share).round() as usize)).collect();
    tried.push(room.down(room.most));
    tried.retain(|&gone| gone > 0);
    tried.sort_unstable();
    tried.dedup();
    tried
}

/// What a model multiplies for each sample.
pub(super) fn macs_of(model: &Model) -> u64 {
    let facts = Facts::of(&model.graph, &InferContext::default());
    let sizes = Sizes::batch_of_one(&model.graph, &facts, BTreeMap::new());
    cost::macs(&model.graph, &facts, &sizes).unwrap_or(0)
}

/// Lets a layer whose inputs are partly gone make up for them, from what was seen of its inputs in the original: the means
/// of what is gone go to the bias, and the weights of what is left become those of least squares.
fn fill_in(scope: &mut Scope<'_>, cut: &Cut, reader: &Reader, repair: Repair) -> anyhow::Result<()> {
    let layer = &reader.layer;
    let axis = Axis { value: layer.weight, axis: layer.sums };
    let Some(data) = scope.graph.constant(layer.weight).cloned().filter(|_| !cut.gone(axis).is_empty())
    else {
        return Ok(());
    };
    let inputs = (reader.weights.ncols() / reader.each.max(1)) as u64;
    let kept: Vec<usize> = (cut.kept(axis, inputs).into_iter())
        .flat_map(|i| i as usize * reader.each..(i as usize + 1) * reader.each)
        .collect();
    let Some((made, shift)) = filled(reader, &kept, repair) else { return Ok(()) };
    let rows = cut.kept(Axis { value: layer.weight, axis: layer.makes.0 }, reader.outputs() as u64);
    let rows: Vec<usize> = rows.into_iter().map(|row| row as usize).collect();
    let Some(tensor) = layer.tensor(&made.select(Dim(0), &rows), &data) else { return Ok(()) };
    scope.set_constant_and_type(layer.weight, tensor);
    let shift: Vec<f64> = rows.iter().map(|&row| shift[row]).collect();
    layer.add(scope, &shift, data.dtype())
}

/// The weights of the columns that are kept, and what is added to every output channel. `None` where the inputs leave them
/// open.
fn filled(reader: &Reader, kept: &[usize], repair: Repair) -> Option<(Array2<f64>, Vec<f64>)> {
    let rows = reader.weights.nrows();
    let each = rows / reader.groups();
    let (mut made, mut shift) = (Array2::zeros((rows, kept.len())), vec![0.0; rows]);
    for group in 0..reader.groups() {
        let weights = reader.weights.slice(s![group * each..(group + 1) * each, ..]);
        let new = if repair == Repair::Refit {
            let products = reader.products(group).select(Dim(1), kept);
            solve(&products.select(Dim(0), kept), &products.t().dot(&weights.t()))?.reversed_axes()
        } else {
            weights.select(Dim(1), kept)
        };
        let mean = reader.mean(group);
        for row in 0..each {
            let full: f64 = weights.row(row).iter().zip(&mean).map(|(w, m)| w * m).sum();
            let left: f64 = new.row(row).iter().zip(kept).map(|(w, &at)| w * mean[at]).sum();
            shift[group * each + row] = full - left;
        }
        made.slice_mut(s![group * each..(group + 1) * each, ..]).assign(&new);
    }
    Some(reader.by_output(&made, &shift))
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
