//! What the samples show of the values that are quantized.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::prelude::*;

use super::codes::Rows;
use super::layer::{Layer, Weight};
use super::moments::Inputs;
use super::plan::{Plan, Point, has_float_reader, told_apart};
use super::seen::{Reader, Scale, Seen};
use super::store::Measured;
use super::stream::{Member, shared};

/// How the range of a value is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Calibrator {
    /// From the smallest to the largest number.
    MinMax,
    /// From the mean smallest to the mean largest number of a batch, the older batches counting less.
    MovingAverage,
    /// The share of numbers that the option `percentile` names.
    Percentile,
    /// Least Kullback–Leibler divergence of what is rounded from what was seen.
    Entropy,
    /// Least mean squared error.
    Mse,
}

/// What is measured, and how ranges follow.
pub(super) struct Ranges {
    /// How.
    pub calibrator: Calibrator,
    /// Percent of the numbers inside, for [`Calibrator::Percentile`].
    pub percentile: f64,
    /// The integer type of activations.
    pub dtype: DType,
    /// Whether its zero point is in the middle.
    pub symmetric: bool,
    /// Whether channels may have a scale each.
    pub channels: bool,
    /// Whether the second moments of what weights are multiplied with are needed.
    pub moments: bool,
}

/// What the samples show.
#[derive(Default)]
pub(super) struct Observed {
    seen: BTreeMap<ValueId, Seen>,
    inputs: Arc<BTreeMap<Key, Inputs>>,
}

/// A weight, and the axis of its output channels: all layers that read it so multiply it with the same inputs, joined.
type Key = (ValueId, usize);

fn key(weight: Weight) -> Key {
    (weight.value, weight.axis)
}

impl Observed {
    /// The same with the ranges chosen, for integers of a width.
    pub fn chosen(&self, ranges: &Ranges) -> Self {
        let mut seen = self.seen.clone();
        let (levels, share) = (1 << ranges.dtype.bits(), ranges.percentile / 100.0);
        seen.values_mut().for_each(|seen| seen.settle(levels, share, ranges.symmetric));
        Self { seen, inputs: Arc::clone(&self.inputs) }
    }

    /// The range of every value.
    pub fn ranges(&self) -> BTreeMap<ValueId, (f64, f64)> {
        self.seen.iter().map(|(&value, seen)| (value, seen.range())).collect()
    }
}

/// What follows from it.
#[derive(Default)]
pub(super) struct Measurement {
    /// How every quantized value is rounded.
    pub scales: BTreeMap<ValueId, Scale>,
    /// What the samples show of it.
    pub shown: BTreeMap<ValueId, SeenReport>,
    /// The range in which its readers tell numbers apart, where all of them say so.
    pub told_apart: BTreeMap<ValueId, (f64, f64)>,
    /// What weights are multiplied with, where it was asked for.
    inputs: Arc<BTreeMap<Key, Inputs>>,
}

impl Measurement {
    /// What is known of a layer.
    pub fn of_layer(&self, layer: &Layer) -> Option<Measured<'_>> {
        let (_, value) = layer.activations.first()?;
        Some(Measured {
            input: self.scales.get(value)?,
            result: self.scales.get(&layer.result).filter(|_| layer.gives_integers),
            inputs: layer.weight.and_then(|weight| self.inputs.get(&key(weight))),
        })
    }
}

/// What looks at a value.
enum Observer {
    Range(Box<Seen>),
    Moments(Key, Inputs),
}

impl Observer {
    fn see(&mut self, tensor: &TensorData) -> Result<(), String> {
        match self {
            Self::Range(seen) => seen.see(tensor),
            Self::Moments(_, inputs) => inputs.see(tensor),
        }
    }
}

impl Ranges {
    /// Runs the model over the samples; ranges are not chosen yet.
    pub fn observe(
        &self,
        model: &Model,
        plan: &Plan,
        rows: &[Option<Rows>],
        samples: &Samples<'_>,
    ) -> anyhow::Result<Observed> {
        let mut values: Vec<ValueId> = plan.points.keys().copied().collect();
        let seen = |point: &Point| Seen::new(point.axis.filter(|_| self.channels), self.calibrator);
        let mut observers: Vec<Observer> =
            plan.points.values().map(|p| Observer::Range(Box::new(seen(p)))).collect();
        let batches = samples.count(Part::Calibration);
        for (at, layer) in plan.layers.iter().enumerate().filter(|_| self.moments) {
            let Some((weight, rows)) = layer.weight.zip(rows[at].as_ref()) else { continue };
            let inputs = Inputs::of(&model.graph, layer, weight, rows, batches);
            if let (Some(inputs), Some((_, value))) = (inputs, layer.activations.first()) {
                values.push(*value);
                observers.push(Observer::Moments(key(weight), inputs));
            }
        }
        samples.observe(Tap::of(model, &values), &mut observers, Observer::see)?;
        let (mut seen, mut inputs) = (BTreeMap::new(), BTreeMap::<Key, Inputs>::new());
        for (observer, value) in observers.into_iter().zip(values) {
            match observer {
                Observer::Range(range) => {
                    seen.insert(value, *range);
                }
                Observer::Moments(_, found) if found.is_empty() => {}
                Observer::Moments(key, found) => match inputs.entry(key) {
                    Entry::Vacant(place) => drop(place.insert(found)),
                    Entry::Occupied(mut known) => known.get_mut().join(&found),
                },
            }
        }
        Ok(Observed { seen, inputs: Arc::new(inputs) })
    }

    /// How every value of a plan is rounded, which may be smaller than the one that was observed. Ranges are chosen.
    pub fn settle(
        &self,
        graph: &Graph,
        plan: &Plan,
        rows: &[Option<Rows>],
        observed: &Observed,
    ) -> Measurement {
        let mut all = observed.seen.clone();
        for &(from, to) in &plan.ties {
            let range = all.get(&from).map(Seen::range);
            if let Some((range, seen)) = range.zip(all.get_mut(&to)) {
                seen.join(range);
            }
        }
        let mut found = Measurement { inputs: Arc::clone(&observed.inputs), ..Measurement::default() };
        for (&value, point) in &plan.points {
            let Some(seen) = all.get_mut(&value) else { continue };
            if let Some(range) = told_apart(graph, value, point) {
                seen.cut(range);
                found.told_apart.insert(value, range);
            }
            found.shown.insert(value, seen.report());
            if point.sums.is_none() {
                let scale = self.scale(seen, &readers(graph, plan, rows, (value, point)), point);
                found.scales.insert(value, scale);
            }
        }
        for stream in &plan.streams {
            let member = |value: &ValueId| {
                let (point, seen) = (plan.points.get(value)?, all.get(value)?);
                let readers = readers(graph, plan, rows, (*value, point));
                Some((*value, Member { seen, readers }))
            };
            let (values, members): (Vec<_>, Vec<_>) = stream.values.iter().filter_map(member).unzip();
            let apart = |value: &ValueId, member: &Member<'_>| {
                member.seen.has_axis(plan.points.get(value).and_then(|point| point.axis))
            };
            let scales = if values.iter().zip(&members).all(|(value, member)| apart(value, member)) {
                shared(&members, self.dtype, self.symmetric)
            } else {
                members.iter().map(|m| m.seen.one_for_all(self.dtype, self.symmetric)).collect()
            };
            found.scales.extend(values.into_iter().zip(scales));
        }
        found
    }

    /// How a value is rounded.
    fn scale(&self, seen: &Seen, readers: &[Reader<'_>], point: &Point) -> Scale {
        if !seen.has_axis(point.axis) {
            return seen.one_for_all(self.dtype, self.symmetric);
        }
        seen.scale(readers, self.dtype, (self.symmetric, point.shifts))
    }
}

/// Who reads a value, as far as its noise counts.
fn readers<'r>(
    graph: &Graph,
    plan: &Plan,
    rows: &'r [Option<Rows>],
    (value, point): (ValueId, &Point),
) -> Vec<Reader<'r>> {
    let layers = point.layers.iter().filter_map(|&at| {
        let weight: Weight = plan.layers[at].weight?;
        let rows = rows[at].as_ref()?;
        Some(Reader::Layer { rows, inputs: weight.inputs(rows) })
    });
    let floats = point.from_layer && has_float_reader(graph, value, point);
    layers.chain(floats.then_some(Reader::Float)).collect()
}
