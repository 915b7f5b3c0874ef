//! What the channels of a value are like where no samples show it: their means and covariances, if numbers are Gaussian
//! wherever a layer sums many.
//!
//! A layer turns the covariance `C` of its inputs into `W·C·Wᵀ` (neighbours in a window count as independent, and so do the
//! two sides of an addition); `BatchNormalization` and `LayerNormalization` say mean and variance themselves. A function of
//! single elements `f` of a Gaussian has the mean `a₀` and the covariances `Σ aₖ(i)·aₖ(j)·ρₖ(i, j)`, with `ρₖ = ρᵏ` and
//! `aₖ = E[f(µ + σz)·Heₖ(z)] / √k!` (Mehler's formula), and these are sums over a grid of `z`.

use std::collections::BTreeMap;

use ndarray::Array2;

use crate::prelude::*;

use super::layers::{Bias, Layer, layers};
use super::steady::FUNCTIONS;

/// Means and covariances of channels.
#[derive(Debug, Clone)]
pub(super) struct Spread {
    /// The mean of each.
    pub mean: Vec<f64>,
    /// Their covariances.
    pub covariance: Array2<f64>,
    /// Whether a normalization on the way says how large they are; else only how they go together is worth something.
    pub anchored: bool,
}

/// The most channels whose covariances are kept.
const WIDEST: usize = 4096;

/// The grid of `z`: so many points from −5 to 5.
const POINTS: usize = 81;

/// How many of the `aₖ` after `a₀` count.
const TERMS: usize = 5;

/// Operators that keep channels about as they are.
const KEEPING: [&str; 8] = [
    "AveragePool",
    "Dropout",
    "Flatten",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Identity",
    "MaxPool",
    "ReduceMean",
];

/// The values of a graph whose channels are expected to be something.
pub(super) struct Expected<'g> {
    graph: &'g Graph,
    facts: &'g Facts,
    layers: BTreeMap<ValueId, Layer>,
    known: BTreeMap<ValueId, Option<Spread>>,
}

impl<'g> Expected<'g> {
    /// Of a graph whose layers' inputs are wanted.
    pub fn of(graph: &'g Graph, facts: &'g Facts, cx: &PassContext<'_>) -> anyhow::Result<Self> {
        let layers = layers(graph)?.into_iter().map(|layer| (layer.output, layer)).collect();
        let mut expected = Self { graph, facts, layers, known: BTreeMap::new() };
        for &input in graph.inputs() {
            let unit = |n: usize| Spread { mean: vec![0.0; n], covariance: Array2::eye(n), anchored: false };
            expected.known.insert(input, expected.channels(input).map(unit));
        }
        for node in graph.order()? {
            if let Some(output) = graph.node_output(node, 0) {
                let spread = expected.after(node, output, cx).filter(is_finite);
                expected.known.insert(output, spread);
            }
        }
        Ok(expected)
    }

    /// What the channels of a value are like.
    pub fn get(&self, value: ValueId) -> Option<&Spread> {
        self.known.get(&value)?.as_ref()
    }

    /// How many channels a value has: along axis 1 of images, along the last axis else.
    fn channels(&self, value: ValueId) -> Option<usize> {
        let axis = self.axis(value)?;
        let size = usize::try_from(self.facts.dim(value, axis)?.known()?).ok()?;
        (1..=WIDEST).contains(&size).then_some(size)
    }

    fn axis(&self, value: ValueId) -> Option<usize> {
        match self.facts.rank(value)? {
            rank @ 2..=3 => Some(rank - 1),
            4.. => Some(1),
            _ => None,
        }
    }

    fn after(&self, id: NodeId, output: ValueId, cx: &PassContext<'_>) -> Option<Spread> {
        let node = self.graph.node(id);
        if let Some(layer) = self.layers.get(&output) {
            return self.after_layer(layer);
        }
        let input = self.graph.node_input(id, 0)?;
        if node.is("BatchNormalization") || node.is("LayerNormalization") {
            return self.normalized(id, input);
        }
        if KEEPING.iter().any(|op| node.is(op)) {
            let spread = self.get(input)?.clone();
            return (self.channels(output) == Some(spread.mean.len())).then_some(spread);
        }
        if !is_function(node) {
            return None;
        }
        let source = self.source(output, 0);
        match source {
            Some(source) => self.after_function(source, output, cx),
            None => self.after_sum(id),
        }
    }

    fn after_layer(&self, layer: &Layer) -> Option<Spread> {
        let data = self.graph.constant(layer.weight)?;
        let (weights, window) = (layer.matrix(data)?, layer.window(self.graph)?);
        let (groups, each) = (window.groups(), layer.each(data));
        let outputs = weights.nrows();
        if outputs > WIDEST || groups == 0 || outputs % groups != 0 {
            return None;
        }
        let input = self.get(layer.input)?;
        let (rows, channels) = (outputs / groups, weights.ncols() / each.max(1));
        if input.mean.len() != groups * channels {
            return None;
        }
        let bias = self.bias(layer, outputs);
        let mut covariance = Array2::zeros((outputs, outputs));
        let mut mean = bias;
        for at in 0..each {
            // One place of the window: `[outputs, all inputs]`, with zeros outside the group.
            let mut place: Array2<f64> = Array2::zeros((outputs, groups * channels));
            for row in 0..outputs {
                for channel in 0..channels {
                    place[[row, row / rows * channels + channel]] = weights[[row, channel * each + at]];
                }
            }
            covariance += &place.dot(&input.covariance).dot(&place.t());
            let means = place.dot(&ndarray::ArrayView1::from(&input.mean));
            mean.iter_mut().zip(means).for_each(|(mean, more)| *mean += more);
        }
        Some(Spread { mean, covariance, anchored: input.anchored })
    }

    /// What a layer adds to each output channel itself; an `Add` after it is a function.
    fn bias(&self, layer: &Layer, outputs: usize) -> Vec<f64> {
        let items = match layer.bias {
            Bias::Slot(Some(value)) => self.graph.constant(value).and_then(TensorData::to_f64s),
            _ => None,
        };
        items.filter(|items| items.len() == outputs).unwrap_or_else(|| vec![0.0; outputs])
    }

    /// A normalization says mean and deviation; how channels go together is what it was before.
    fn normalized(&self, id: NodeId, input: ValueId) -> Option<Spread> {
        let constant = |slot: usize| self.graph.constant_input(id, slot).and_then(TensorData::to_f64s);
        let scale = constant(1)?;
        let shift = constant(2).unwrap_or_else(|| vec![0.0; scale.len()]);
        let n = scale.len();
        if n > WIDEST || shift.len() != n {
            return None;
        }
        let before = self.get(input).filter(|s| s.mean.len() == n);
        let together = before.map_or_else(|| Array2::eye(n), correlations);
        let covariance = Array2::from_shape_fn((n, n), |(i, j)| scale[i] * scale[j] * together[[i, j]]);
        Some(Spread { mean: shift, covariance, anchored: true })
    }

    /// The sum of two values that are taken for independent.
    fn after_sum(&self, id: NodeId) -> Option<Spread> {
        if !self.graph.node(id).is("Add") {
            return None;
        }
        let of = |slot| self.get(self.graph.node_input(id, slot)?);
        let (a, b) = (of(0)?, of(1)?);
        (a.mean.len() == b.mean.len()).then(|| Spread {
            mean: a.mean.iter().zip(&b.mean).map(|(a, b)| a + b).collect(),
            covariance: &a.covariance + &b.covariance,
            anchored: a.anchored && b.anchored,
        })
    }

    /// The one value that is no function of another, of which this one is a function of single elements.
    fn source(&self, value: ValueId, depth: usize) -> Option<ValueId> {
        let producer = self.graph.producer(value).map(|(node, _)| node);
        let node = producer.filter(|&n| is_function(self.graph.node(n)));
        let Some(node) = node.filter(|_| depth < 8) else { return Some(value) };
        let mut source = None;
        for input in self.graph.node_inputs(node).into_iter().flatten() {
            if self.graph.constant(input).is_some() {
                continue;
            }
            let own = self.source(input, depth + 1)?;
            if source.is_some_and(|source| source != own) {
                return if depth == 0 { None } else { Some(value) };
            }
            source = Some(own);
        }
        source
    }

    fn after_function(&self, source: ValueId, output: ValueId, cx: &PassContext<'_>) -> Option<Spread> {
        let before = self.get(source)?;
        let (n, axis, rank) = (before.mean.len(), self.axis(source)?, self.facts.rank(source)?);
        let deviations: Vec<f64> = (0..n).map(|i| before.covariance[[i, i]].max(0.0).sqrt()).collect();
        // A place of the grid for every element of the first axis.
        let mut dims = vec![1; rank];
        (dims[0], dims[axis]) = (POINTS as u64, n as u64);
        let at = |point: usize| -5.0 + 10.0 * point as f64 / (POINTS - 1) as f64;
        let items: Vec<f64> = (0..POINTS)
            .flat_map(|p| before.mean.iter().zip(&deviations).map(move |(m, d)| m + d * at(p)))
            .collect();
        let grid = TensorData::from_f64s(DType::Float, &dims, &items)?;
        let mut memo = BTreeMap::from([(source, grid)]);
        let found = self.evaluate(output, &mut memo, cx)?.to_f64s()?;
        if found.len() != POINTS * n {
            return None;
        }
        let weights: Vec<f64> = (0..POINTS).map(|p| (-at(p) * at(p) / 2.0).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mut terms = vec![vec![0.0; n]; TERMS + 1];
        let mut squares = vec![0.0; n];
        for (p, row) in found.chunks(n).enumerate() {
            let weight = weights[p] / total;
            let hermite = hermite(at(p));
            for (i, f) in row.iter().enumerate() {
                terms.iter_mut().zip(hermite).for_each(|(term, h)| term[i] += weight * f * h);
                squares[i] += weight * f * f;
            }
        }
        let together = correlations(before);
        let mut covariance = Array2::from_shape_fn((n, n), |(i, j)| {
            let rho = together[[i, j]];
            (1..=TERMS).rev().fold(0.0, |sum, k| rho * (sum + terms[k][i] * terms[k][j]))
        });
        for i in 0..n {
            covariance[[i, i]] = (squares[i] - terms[0][i] * terms[0][i]).max(0.0);
        }
        Some(Spread { mean: terms.swap_remove(0), covariance, anchored: before.anchored })
    }

    /// A value, with the grid in the place of its source.
    fn evaluate(
        &self,
        value: ValueId,
        memo: &mut BTreeMap<ValueId, TensorData>,
        cx: &PassContext<'_>,
    ) -> Option<TensorData> {
        if let Some(known) = memo.get(&value).or_else(|| self.graph.constant(value)) {
            return Some(known.clone());
        }
        let (id, _) = self.graph.producer(value)?;
        let slots = self.graph.node_inputs(id);
        let mut inputs = Vec::new();
        for slot in &slots {
            inputs.push(match slot {
                Some(input) => Some(self.evaluate(*input, memo, cx)?),
                None => None,
            });
        }
        let inputs: Vec<Option<&TensorData>> = inputs.iter().map(Option::as_ref).collect();
        let node = self.graph.node(id);
        let call = NodeCall {
            op: &node.op,
            attrs: &node.attrs,
            inputs: &inputs,
            outputs: &[true],
            limit: cx.limits.tensor,
        };
        let found = cx.evaluate(&call).ok()?.into_iter().next()?;
        memo.insert(value, found.clone());
        Some(found)
    }
}

/// Whether an operator is a function of single elements, or arithmetic with constants.
fn is_function(node: &Node) -> bool {
    node.is("Swish") || FUNCTIONS.iter().any(|op| node.is(op))
}

fn is_finite(spread: &Spread) -> bool {
    spread.mean.iter().chain(&spread.covariance).all(|x| x.is_finite())
}

/// Covariances by deviations.
fn correlations(spread: &Spread) -> Array2<f64> {
    let n = spread.mean.len();
    let inverse: Vec<f64> = (0..n)
        .map(|i| spread.covariance[[i, i]])
        .map(|variance| if variance > 0.0 { variance.sqrt().recip() } else { 0.0 })
        .collect();
    Array2::from_shape_fn((n, n), |(i, j)| {
        if i == j { 1.0 } else { (spread.covariance[[i, j]] * inverse[i] * inverse[j]).clamp(-1.0, 1.0) }
    })
}

/// `Heₖ(z) / √k!` for `k` from 0 to [`TERMS`].
fn hermite(z: f64) -> [f64; TERMS + 1] {
    let mut all = [1.0; TERMS + 1];
    all[1] = z;
    for k in 2..=TERMS {
        let (k_1, k_2) = (all[k - 1], all[k - 2]);
        all[k] = (z * k_1 - ((k - 1) as f64).sqrt() * k_2) / (k as f64).sqrt();
    }
    all
}

#[cfg(test)]
#[path = "expected_tests.rs"]
mod tests;
