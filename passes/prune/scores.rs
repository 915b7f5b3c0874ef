//! How much single channels matter, by their weights alone.

use crate::prelude::*;

/// How channels are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// The sum of the magnitudes of its weights.
    L1,
    /// The root of the sum of their squares.
    L2,
    /// The magnitude of the scale of its `BatchNormalization`; `l2` where it has none.
    BnScale,
    /// The distance of its weights to those of the other channels.
    GeometricMedian,
    /// The power of what it adds to the answers of the layers that read it, on samples.
    Activation,
    /// What its loss costs the layers that read it when the other channels make up for it as well as they can, on samples
    /// (optimal brain surgeon).
    Obs,
    /// By chance, seeded.
    Random,
}

/// The score of every atom of a group, the least important first to go; about 1 on average, so that groups compare.
pub(super) fn scores(
    graph: &Graph,
    channels: &Channels,
    group: &Group,
    criterion: Criterion,
    seed: u64,
) -> Vec<f64> {
    let squares = || norms(graph, group, |x| x * x, f64::sqrt);
    match criterion {
        Criterion::L1 => norms(graph, group, f64::abs, |sum| sum),
        // The other two are known from samples only.
        Criterion::L2 | Criterion::Activation | Criterion::Obs => squares(),
        Criterion::BnScale => bn_scales(graph, group).unwrap_or_else(squares),
        Criterion::GeometricMedian => distances(graph, channels, group),
        Criterion::Random => chance(graph, group, seed),
    }
}

/// The norm of the slices of every constant by what its slices have on average, and of that the mean: all constants count
/// alike.
fn norms(graph: &Graph, group: &Group, of: impl Fn(f64) -> f64, end: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut total = vec![0.0; group.atoms.len()];
    let mut constants = 0.0;
    for (place, axis) in group.axes.iter().enumerate() {
        let Some(slices) = slice_sums(graph, *axis, &of) else { continue };
        let mean = slices.iter().map(|&sum| end(sum)).sum::<f64>() / slices.len().max(1) as f64;
        if mean > 0.0 && mean.is_finite() {
            constants += 1.0;
            for (total, atom) in total.iter_mut().zip(&group.atoms) {
                let own = atom.0[place].iter().filter_map(|&i| slices.get(i as usize)).map(|&sum| end(sum));
                *total += own.sum::<f64>() / (mean * atom.0[place].len() as f64);
            }
        }
    }
    total.iter().map(|total| if constants > 0.0 { total / constants } else { 1.0 }).collect()
}

/// Numbers as shares of their mean.
fn by_mean(all: &[f64]) -> Vec<f64> {
    let mean = all.iter().sum::<f64>() / all.len().max(1) as f64;
    all.iter().map(|x| if mean > 0.0 && mean.is_finite() { x / mean } else { 1.0 }).collect()
}

/// A sum over every slice of a constant of at least two long dims: biases and scales say little.
fn slice_sums(graph: &Graph, axis: Axis, of: &impl Fn(f64) -> f64) -> Option<Vec<f64>> {
    let data =
        graph.constant(axis.value).filter(|data| data.dims().iter().filter(|&&d| d > 1).count() > 1)?;
    let size = *data.dims().get(axis.axis)? as usize;
    let inner = data.dims()[axis.axis + 1..].iter().product::<u64>() as usize;
    let mut sums = vec![0.0; size];
    data.each_f64(|at, x| sums[at / inner.max(1) % size] += of(x));
    Some(sums)
}

/// The magnitudes of the scales of normalizations over the channels of a group.
fn bn_scales(graph: &Graph, group: &Group) -> Option<Vec<f64>> {
    let is_scale = |axis: &&Axis| {
        let uses = graph.uses(axis.value);
        graph.constant(axis.value).is_some()
            && uses.iter().any(|&(node, slot)| slot == Some(1) && graph.node(node).is("BatchNormalization"))
    };
    let axis = group.axes.iter().find(is_scale)?;
    let place = group.axes.iter().position(|a| a == axis)?;
    let scales = graph.constant(axis.value)?.to_f64s()?;
    let of =
        |atom: &Atom| atom.0[place].iter().filter_map(|&i| scales.get(i as usize)).map(|x| x.abs()).sum();
    Some(by_mean(&group.atoms.iter().map(of).collect::<Vec<f64>>()))
}

/// The sum of the distances of the slices of one atom to those of all others, over the constants that make the channels.
fn distances(graph: &Graph, channels: &Channels, group: &Group) -> Vec<f64> {
    let mut rows: Vec<Vec<f64>> = vec![Vec::new(); group.atoms.len()];
    for (place, axis) in group.axes.iter().enumerate() {
        let Some(data) = graph.constant(axis.value).filter(|_| !channels.sums.contains_key(axis)) else {
            continue;
        };
        for (row, atom) in rows.iter_mut().zip(&group.atoms) {
            if let Some(items) = data.take(axis.axis, &atom.0[place]).and_then(|slice| slice.to_f64s()) {
                row.extend(items);
            }
        }
    }
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
    let sum = |row: &Vec<f64>| rows.iter().map(|other| distance(row, other)).sum();
    by_mean(&rows.iter().map(sum).collect::<Vec<f64>>())
}

/// Numbers that depend on the seed and the group alone.
fn chance(graph: &Graph, group: &Group, seed: u64) -> Vec<f64> {
    let name = group.axes.first().map_or("", |axis| graph.value(axis.value).name.as_str());
    let mut stream = Stream::new(seed, name);
    by_mean(&group.atoms.iter().map(|_| (stream.bits() >> 11) as f64).collect::<Vec<f64>>())
}
