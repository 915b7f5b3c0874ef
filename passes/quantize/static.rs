//! Compute layers in 8-bit integers, with ranges from samples.

use std::collections::BTreeMap;

use crate::math::compensate::round_rows;
use crate::prelude::*;

use super::codes::{Rows, bounds, integers, nearest, usable};
use super::moments::Inputs;
use super::place::Placer;
use super::plan::{Layer, Plan, Point, Weight};
use super::scales::{Reader, Scale, Seen};

/// Quantize the activations and weights of `Conv`, `Gemm` and `MatMul`, with ranges measured on samples.
///
/// A quantized value `x` passes through `QuantizeLinear` and `DequantizeLinear` with `scale = (max − min) / 255` and the
/// code of zero as zero point; weights are stored as integers, symmetric around zero; a bias is stored as int32 on the
/// product of both scales. Runtimes turn an operator between such pairs into its integer kernel. A `Relu` or `Clip`
/// after a layer is part of it. A `MatMul` and a `Gemm` give floats, a `Conv` gives integers, so its result is quantized.
///
/// *Left alone:* layers whose weight is not constant (but for a `MatMul` of two activations), of another type than
/// float32, and those that are quantized already.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct QuantizeStatic {
    /// Type of the activations.
    pub activations: Activation,
    /// Type of the weights.
    pub weights: WeightType,
    /// One scale for every output channel of a weight, instead of one for all.
    pub per_channel: bool,
    /// Zero points of activations in the middle of the type's range.
    pub symmetric: bool,
    /// How weights are rounded.
    pub rounding: Rounding,
    /// Also quantize `Add`, `Mul`, `Concat`, pooling and `Resize` between layers.
    pub between: bool,
}

impl Default for QuantizeStatic {
    fn default() -> Self {
        Self {
            activations: Activation::Uint8,
            weights: WeightType::Int8,
            per_channel: true,
            symmetric: false,
            rounding: Rounding::Compensated,
            between: false,
        }
    }
}

/// Integer types of activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Activation {
    Uint8,
    Int8,
    Uint16,
    Int16,
}

/// Integer types of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum WeightType {
    Int8,
    Uint8,
}

/// How weights are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// Each to the nearest code.
    Nearest,
    /// One by one, each making up for the errors before it on the inputs that the samples show (GPTQ, arXiv 2210.17323).
    Compensated,
}

const ID: &str = "quantize-static";

impl Activation {
    fn dtype(self) -> DType {
        match self {
            Self::Uint8 => DType::Uint8,
            Self::Int8 => DType::Int8,
            Self::Uint16 => DType::Uint16,
            Self::Int16 => DType::Int16,
        }
    }
}

impl WeightType {
    fn dtype(self) -> DType {
        match self {
            Self::Int8 => DType::Int8,
            Self::Uint8 => DType::Uint8,
        }
    }
}

impl Pass for QuantizeStatic {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta::lossy(ID, Family::Quantize).growing() }
    }

    fn needs_samples(&self) -> bool {
        true
    }

    fn heeds_selectors(&self) -> bool {
        true
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let samples = cx.samples()?;
        let mut summary = Summary::default();
        require_opset(model, if self.activations.dtype().bits() == 16 { 21 } else { 13 }, cx);
        let before = model.clone();
        main_graph(model, cx, &mut |scope, cx| {
            let plan = Plan::of(scope, cx, self.between, &mut summary)?;
            let rows = plan.rows(scope.graph);
            let (scales, moments) = self.measure(&before, &plan, &rows, samples)?;
            let mut placer = Placer::new(ID);
            for (at, layer) in plan.layers.iter().enumerate() {
                if let (Some(weight), Some(rows)) = (layer.weight, &rows[at]) {
                    self.layer(scope, &mut placer, layer, (weight, rows), &scales, moments[at].as_ref())?;
                }
                summary.applied += 1;
            }
            for (&value, point) in &plan.points {
                if let Some(scale) = scales.get(&value) {
                    placer.point(scope, value, point, scale)?;
                }
            }
            Ok(())
        })?;
        Ok(summary)
    }
}

/// How every quantized value is rounded.
type Scales = BTreeMap<ValueId, Scale>;

impl QuantizeStatic {
    /// How every quantized value is rounded, from what the samples show of it.
    fn measure(
        &self,
        model: &Model,
        plan: &Plan,
        rows: &[Option<Rows>],
        samples: &Samples<'_>,
    ) -> anyhow::Result<(Scales, Vec<Option<Inputs>>)> {
        let mut values: Vec<ValueId> = plan.points.keys().copied().collect();
        let axis = |point: &Point| point.axis.filter(|_| self.per_channel);
        let count = values.len();
        let mut observers: Vec<Observer> =
            plan.points.values().map(|point| Observer::Range(Seen::new(axis(point)))).collect();
        let batches = samples.count(Part::Calibration);
        for (at, layer) in plan.layers.iter().enumerate().filter(|_| self.rounding == Rounding::Compensated) {
            let inputs = layer.weight.zip(rows[at].as_ref());
            let inputs = inputs.and_then(|(w, rows)| Inputs::of(&model.graph, layer, w, rows, batches));
            if let (Some(inputs), Some((_, value))) = (inputs, layer.activations.first()) {
                values.push(*value);
                observers.push(Observer::Moments(at, inputs));
            }
        }
        samples.observe(Tap { model, values: &values }, &mut observers, Observer::see)?;
        values.truncate(count);
        let mut seen = Vec::new();
        let mut moments: Vec<Option<Inputs>> = plan.layers.iter().map(|_| None).collect();
        for observer in observers {
            match observer {
                Observer::Range(range) => seen.push(range),
                Observer::Moments(at, inputs) => moments[at] = Some(inputs).filter(|m| !m.is_empty()),
            }
        }
        let place = |value: ValueId| values.iter().position(|&v| v == value);
        for &(from, to) in &plan.ties {
            if let (Some(from), Some(to)) = (place(from), place(to)) {
                let range = seen[from].range();
                seen[to].join(range);
            }
        }
        let one = |(seen, (value, point)): (&Seen, (&ValueId, &Point))| {
            let layers = point.layers.iter().filter_map(|&at| {
                let weight = plan.layers[at].weight?;
                let rows = rows[at].as_ref()?;
                Some(Reader::Layer { rows, inputs: weight.inputs(rows) })
            });
            let floats = point.from_layer && plan.has_float_reader(&model.graph, *value, point);
            let readers: Vec<Reader<'_>> = layers.chain(floats.then_some(Reader::Float)).collect();
            let dtype = self.activations.dtype();
            let scale = match point.shifts && !self.symmetric && point.axis.is_some() && self.per_channel {
                true => seen.own_channels(dtype),
                false => seen.scale(&readers, dtype, self.symmetric),
            };
            (*value, scale)
        };
        for (seen, (&value, point)) in seen.iter_mut().zip(&plan.points) {
            if let Some(range) = plan.told_apart(&model.graph, value, point) {
                seen.cut(range);
            }
        }
        Ok((seen.iter().zip(&plan.points).map(one).collect(), moments))
    }

    /// Stores the weight and the bias of a layer as integers, scaled as its input and its result are.
    fn layer(
        &self,
        scope: &mut Scope<'_>,
        placer: &mut Placer,
        layer: &Layer,
        (weight, rows): (Weight, &Rows),
        scales: &Scales,
        moments: Option<&Inputs>,
    ) -> anyhow::Result<()> {
        let Some(input) = layer.activations.first().and_then(|(_, v)| scales.get(v)) else { return Ok(()) };
        let output =
            scales.get(&layer.result).filter(|_| layer.gives_integers).and_then(|s| s.factors.as_deref());
        let shifted = scales.get(&layer.result).is_some_and(|s| layer.gives_integers && s.zeros.is_some());
        let geometry = weight.inputs(rows);
        let rows = rows.scaled(geometry, input.factors.as_deref(), output);
        let dtype = self.weights.dtype();
        let zero = if dtype.is_signed_int() { 0 } else { 128 };
        let limit = bounds(DType::Int8).1;
        let largest: Vec<f64> =
            rows.rows.iter().map(|row| row.iter().fold(0f64, |m, x| m.max(x.abs()))).collect();
        let overall = largest.iter().copied().fold(0.0, f64::max);
        let steps: Vec<f32> = (largest.iter())
            .map(|&largest| usable(if self.per_channel { largest } else { overall } / limit as f64))
            .collect();
        let (codes, shifts) =
            round(&rows, &steps, limit, (moments, layer.bias.is_some() || shifted), |row, at| {
                input.factors.as_ref().and_then(|f| f.get(geometry.channel(row, at))).copied().unwrap_or(1.0)
            });
        let codes: Vec<Vec<i32>> =
            codes.into_iter().map(|row| row.into_iter().map(|c| c + zero).collect()).collect();
        let data = integers(dtype, &rows.dims, &rows.scatter(&codes));
        let channels = [steps.len() as u64];
        let (scale, zeros, attrs) = if self.per_channel {
            let attrs = Attrs::new().with("axis", weight.axis as i64);
            (TensorData::vector(&steps), integers(dtype, &channels, &vec![zero; steps.len()]), attrs)
        } else {
            (TensorData::scalar(steps[0]), integers(dtype, &[], &[zero]), Attrs::new())
        };
        placer.constant(scope, (layer.node, weight.slot), data, scale, Some(zeros), attrs)?;
        if output.is_some() {
            placer.unclip(scope, layer)?;
        }
        let result = scales.get(&layer.result).filter(|_| layer.gives_integers);
        let moved = result.and_then(|s| Some((s.zeros.as_ref()?, s.grid)));
        let slot = 2;
        let mut items =
            match layer.bias.and_then(|(_, b)| scope.graph.constant(b)).and_then(TensorData::to_f64s) {
                Some(items) => items,
                None if moved.is_none() => return Ok(()),
                None => {
                    let name = format!("{}_bias", scope.graph.value(layer.result).name);
                    placer.lacking(scope, (layer.node, slot), &name)?;
                    vec![0.0; steps.len()]
                }
            };
        items.iter_mut().zip(output.unwrap_or_default()).for_each(|(x, f)| *x /= f);
        if let Some((zeros, grid)) = moved {
            let shift = |zero: &i32| f64::from(zero - grid.zero_point) * f64::from(grid.scale);
            items.iter_mut().zip(zeros).for_each(|(x, zero)| *x += shift(zero));
        }
        items.iter_mut().zip(&shifts).for_each(|(x, shift)| *x += shift);
        let steps: Vec<f32> = steps.iter().map(|s| s * input.grid.scale).collect();
        let range = bounds(DType::Int32);
        let codes: Vec<i32> = items.iter().zip(&steps).map(|(&x, &s)| nearest(x, s, range)).collect();
        let codes = integers(DType::Int32, &channels, &codes);
        let (scale, attrs) = if self.per_channel {
            (TensorData::vector(&steps), Attrs::new().with("axis", 0i64))
        } else {
            (TensorData::scalar(steps[0]), Attrs::new())
        };
        placer.constant(scope, (layer.node, slot), codes, scale, None, attrs)?;
        Ok(())
    }
}

/// What looks at a value.
enum Observer {
    Range(Seen),
    Moments(usize, Inputs),
}

impl Observer {
    fn see(&mut self, tensor: &TensorData) -> Result<(), String> {
        match self {
            Self::Range(seen) => seen.see(tensor),
            Self::Moments(_, inputs) => inputs.see(tensor),
        }
    }
}

/// The share of the mean power of the inputs that keeps their moments invertible.
const DAMPING: f64 = 0.01;

/// The codes of a weight; and what the rounding takes from the mean of every output channel, for the bias to give back.
/// Without a bias that is nothing.
fn round(
    rows: &Rows,
    steps: &[f32],
    limit: i64,
    (moments, centred): (Option<&Inputs>, bool),
    factor: impl Fn(usize, usize) -> f64,
) -> (Vec<Vec<i32>>, Vec<f64>) {
    let plain = |row: usize, x: f64| nearest(x, steps[row], (-limit, limit));
    let all_plain = || -> Vec<Vec<i32>> {
        let row = |(at, row): (usize, &Vec<f64>)| row.iter().map(|&x| plain(at, x)).collect();
        rows.rows.iter().enumerate().map(row).collect()
    };
    let Some(moments) = moments else { return (all_plain(), vec![0.0; steps.len()]) };
    let (mut codes, mut shifts) = (Vec::new(), Vec::new());
    let each = rows.rows.len() / moments.groups().max(1);
    for (group, part) in rows.rows.chunks(each.max(1)).enumerate() {
        let first = group * each;
        let factors: Vec<f64> = (0..part.first().map_or(0, Vec::len)).map(|at| factor(first, at)).collect();
        let (products, mean) = moments.of_group(group, &factors, centred);
        let value = |row: usize, x: f64| f64::from(plain(first + row, x)) * f64::from(steps[first + row]);
        let made = round_rows(part, &products, DAMPING, value);
        for (at, row) in part.iter().enumerate() {
            let step = f64::from(steps[first + at]);
            let found: Vec<i32> = match &made {
                Some(made) => made[at].iter().map(|x| (x / step).round() as i32).collect(),
                None => row.iter().map(|&x| plain(first + at, x)).collect(),
            };
            shifts.push(
                row.iter().zip(&found).zip(&mean).map(|((w, &q), m)| (w - f64::from(q) * step) * m).sum(),
            );
            codes.push(found);
        }
    }
    (codes, shifts)
}
