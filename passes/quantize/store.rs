//! Storing the weight and the bias of a layer as integers.

use crate::prelude::*;

use super::codes::{Rows, bounds, integers, nearest, usable};
use super::layer::{Layer, Weight};
use super::moments::Inputs;
use super::place::{Placer, Stored, float, lacking, unclip};
use super::rounding::{Steps, pair_order};
use super::seen::Scale;

/// How weights and biases are stored.
pub(super) struct Storage {
    /// The integer type of weights.
    pub weights: DType,
    /// Operators whose weight has a scale for every output channel.
    pub per_channel: Vec<String>,
    /// How a bias is stored.
    pub bias: BiasForm,
    /// Whether two neighbouring products must not overflow 16 bits.
    pub pairs: bool,
}

/// The largest code of a weight: −128 is left out, so that zero is in the middle.
const LIMIT: i8 = i8::MAX;

/// What became of a layer.
pub(super) struct StoredLayer {
    /// Bytes of weight and bias.
    pub bytes: u64,
    /// How the weight is quantized.
    pub weight: WeightReport,
    /// The pairs that would have overflowed 16 bits, and do not.
    pub pairs: Option<PairReport>,
}

/// What is known of a layer when its weight is stored.
pub(super) struct Measured<'m> {
    /// How its input is quantized.
    pub input: &'m Scale,
    /// How its result is, where its kernel gives integers.
    pub result: Option<&'m Scale>,
    /// What its weights are multiplied with.
    pub inputs: Option<&'m Inputs>,
}

impl Measured<'_> {
    /// The factors of the channels of the result.
    fn factors(&self) -> Option<&[f64]> {
        self.result.and_then(|scale| scale.factors.as_deref())
    }
}

impl Storage {
    /// Whether the weight of a layer has a scale for every output channel.
    pub fn by_channel(&self, node: &Node, weight: Weight) -> bool {
        !weight.stack && self.per_channel.iter().any(|op| node.is(op))
    }

    /// Stores weight and bias, scaled as input and result are.
    pub fn layer(
        &self,
        scope: &mut Scope<'_>,
        placer: &mut Placer,
        layer: &Layer,
        (weight, rows): (Weight, &Rows),
        known: &Measured<'_>,
    ) -> Result<StoredLayer, IrError> {
        let factors = known.factors();
        let geometry = weight.inputs(rows);
        let rows = rows.scaled(geometry, known.input.factors.as_deref(), factors);
        let by_channel = self.by_channel(scope.graph.node(layer.node), weight);
        let bias = bias_of(scope.graph, layer, known, rows.items.len());
        let least = bias.as_deref().filter(|_| self.bias == BiasForm::Int32).unwrap_or_default();
        let least: Vec<f64> =
            least.iter().map(|x| x.abs() / LARGEST / f64::from(known.input.grid.scale)).collect();
        let on = Steps {
            by_row: steps(&rows, &least, by_channel),
            apart: by_channel,
            bounds: (-LIMIT, LIMIT),
            pairs: if self.pairs { pair_order((weight.conv, weight.group), &rows) } else { None },
        };
        let rounded = on.round(&rows, known.inputs.map(|inputs| (inputs, bias.is_some())), |row, at| {
            let factors = known.input.factors.as_ref();
            factors.and_then(|f| f.get(geometry.channel(row, at))).copied().unwrap_or(1.0)
        });
        let steps = &rounded.steps;
        let weight_bytes =
            self.weight(scope, placer, (layer.node, weight), (&rows, &rounded.codes), (steps, by_channel))?;
        let scales = steps.iter().take(if by_channel { steps.len() } else { 1 }).map(|&s| f64::from(s));
        let weight = WeightReport::of(scales).reaching(&rows.reaches());
        let pairs = rounded.pairs();
        let mut stored = StoredLayer { bytes: weight_bytes, weight, pairs };
        if factors.is_some() {
            unclip(placer.pass, scope, layer)?;
        }
        let Some(mut items) = bias else { return Ok(stored) };
        if layer.bias.is_none() {
            let name = format!("{}_bias", scope.graph.value(layer.result).name);
            lacking(scope, (layer.node, BIAS), &name)?;
        }
        items.iter_mut().zip(&rounded.shifts).for_each(|(x, shift)| *x += shift);
        if let Some(zeros) = &known.input.zeros {
            let offset = |channel: usize| f64::from(zeros[channel] - known.input.grid.zero_point);
            for (row, x) in items.iter_mut().enumerate() {
                let code = |(at, &code): (usize, &i32)| f64::from(code) * offset(geometry.channel(row, at));
                let sum: f64 = rounded.codes[row].iter().enumerate().map(code).sum();
                *x -= sum * f64::from(steps[row]) * f64::from(known.input.grid.scale);
            }
        }
        let steps: Vec<f32> = steps.iter().map(|s| s * known.input.grid.scale).collect();
        stored.bytes += self.bias(scope, placer, layer.node, (&items, &steps), by_channel)?;
        Ok(stored)
    }

    fn weight(
        &self,
        scope: &mut Scope<'_>,
        placer: &mut Placer,
        (node, weight): (NodeId, Weight),
        (rows, codes): (&Rows, &[Vec<i32>]),
        (steps, by_channel): (&[f32], bool),
    ) -> Result<u64, IrError> {
        let zero = if self.weights.is_signed_int() { 0 } else { 128 };
        let codes: Vec<Vec<i32>> = codes.iter().map(|row| row.iter().map(|c| c + zero).collect()).collect();
        let data = integers(self.weights, &rows.dims, &rows.scatter(&codes));
        let (scale, zeros, attrs) = if by_channel {
            let attrs = Attrs::new().with("axis", weight.axis as i64);
            let channels = [steps.len() as u64];
            (TensorData::vector(steps), integers(self.weights, &channels, &vec![zero; steps.len()]), attrs)
        } else {
            (TensorData::scalar(steps[0]), integers(self.weights, &[], &[zero]), Attrs::new())
        };
        let stored = Stored { codes: data, scale, zero: Some(zeros), attrs };
        placer.constant(scope, (node, weight.slot), stored)
    }

    fn bias(
        &self,
        scope: &mut Scope<'_>,
        placer: &mut Placer,
        node: NodeId,
        (items, steps): (&[f64], &[f32]),
        by_channel: bool,
    ) -> Result<u64, IrError> {
        if self.bias == BiasForm::Float {
            let items: Vec<f32> = items.iter().map(|&x| x as f32).collect();
            float(scope, (node, BIAS), TensorData::vector(&items))?;
            return Ok(4 * items.len() as u64);
        }
        let range = bounds(DType::Int32);
        let codes: Vec<i32> = items.iter().zip(steps).map(|(&x, &s)| nearest(x, s, range)).collect();
        let codes = integers(DType::Int32, &[codes.len() as u64], &codes);
        let (scale, attrs) = if by_channel {
            (TensorData::vector(steps), Attrs::new().with("axis", 0i64))
        } else {
            (TensorData::scalar(steps[0]), Attrs::new())
        };
        let stored = Stored { codes, scale, zero: None, attrs };
        placer.constant(scope, (node, BIAS), stored)
    }
}

/// The slot of the bias of `Conv` and `Gemm`.
const BIAS: usize = 2;

/// The largest code that a bias is to have before what rounding takes from the weights is given back to it: half of what
/// int32 holds.
const LARGEST: f64 = (1 << 30) as f64;

/// The bias of a layer for channels that are scaled and shifted as its result is; `None` where it has none and needs none.
fn bias_of(graph: &Graph, layer: &Layer, known: &Measured<'_>, channels: usize) -> Option<Vec<f64>> {
    let given = layer.bias.and_then(|(_, bias)| graph.constant(bias)?.to_f64s());
    let shifted = known.result.and_then(|scale| Some((scale.zeros.as_ref()?, scale.grid)));
    let needed = shifted.is_some() || known.input.zeros.is_some();
    let mut items = given.or_else(|| needed.then(|| vec![0.0; channels]))?;
    items.iter_mut().zip(known.factors().unwrap_or_default()).for_each(|(x, f)| *x /= f);
    if let Some((zeros, grid)) = shifted {
        let shift = |zero: &i32| f64::from(zero - grid.zero_point) * f64::from(grid.scale);
        items.iter_mut().zip(zeros).for_each(|(x, zero)| *x += shift(zero));
    }
    Some(items)
}

/// The step of every row: its largest magnitude is the largest code; one for all where channels are not told apart. It is
/// `least` where weights are so small that the bias would not fit their scale: a channel that is dead but for its bias.
fn steps(rows: &Rows, least: &[f64], by_channel: bool) -> Vec<f32> {
    let least = least.iter().copied().chain(std::iter::repeat(0.0));
    let own: Vec<f64> = rows
        .reaches()
        .iter()
        .zip(least)
        .map(|(largest, least)| (largest / f64::from(LIMIT)).max(least))
        .collect();
    let overall = own.iter().copied().fold(0.0, f64::max);
    own.iter().map(|&one| usable(if by_channel { one } else { overall })).collect()
}
