//! Compute layers in 8-bit integers, with ranges from samples.

use std::collections::BTreeMap;

use crate::prelude::*;

use super::codes::{Rows, bounds, integers, nearest, usable};
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
            let scales = self.scales(&before, &plan, &rows, samples)?;
            let mut placer = Placer::new(ID);
            for (at, layer) in plan.layers.iter().enumerate() {
                if let (Some(weight), Some(rows)) = (layer.weight, &rows[at]) {
                    self.layer(scope, &mut placer, layer, (weight, rows), &scales)?;
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
    fn scales(
        &self,
        model: &Model,
        plan: &Plan,
        rows: &[Option<Rows>],
        samples: &Samples<'_>,
    ) -> anyhow::Result<Scales> {
        let values: Vec<ValueId> = plan.points.keys().copied().collect();
        let axis = |point: &Point| point.axis.filter(|_| self.per_channel);
        let mut seen: Vec<Seen> = plan.points.values().map(|point| Seen::new(axis(point))).collect();
        samples.observe(Tap { model, values: &values }, &mut seen, Seen::see)?;
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
            (*value, seen.scale(&readers, self.activations.dtype(), self.symmetric))
        };
        Ok(seen.iter().zip(&plan.points).map(one).collect())
    }

    /// Stores the weight and the bias of a layer as integers, scaled as its input and its result are.
    fn layer(
        &self,
        scope: &mut Scope<'_>,
        placer: &mut Placer,
        layer: &Layer,
        (weight, rows): (Weight, &Rows),
        scales: &Scales,
    ) -> anyhow::Result<()> {
        let Some(input) = layer.activations.first().and_then(|(_, v)| scales.get(v)) else { return Ok(()) };
        let output =
            scales.get(&layer.result).filter(|_| layer.gives_integers).and_then(|s| s.factors.as_deref());
        let rows = rows.scaled(weight.inputs(rows), input.factors.as_deref(), output);
        let dtype = self.weights.dtype();
        let zero = if dtype.is_signed_int() { 0 } else { 128 };
        let limit = bounds(DType::Int8).1;
        let largest: Vec<f64> =
            rows.rows.iter().map(|row| row.iter().fold(0f64, |m, x| m.max(x.abs()))).collect();
        let overall = largest.iter().copied().fold(0.0, f64::max);
        let steps: Vec<f32> = (largest.iter())
            .map(|&largest| usable(if self.per_channel { largest } else { overall } / limit as f64))
            .collect();
        let codes: Vec<Vec<i32>> = (rows.rows.iter().zip(&steps))
            .map(|(row, &step)| row.iter().map(|&x| nearest(x, step, (-limit, limit)) + zero).collect())
            .collect();
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
        let Some((slot, bias)) = layer.bias else { return Ok(()) };
        let Some(mut items) = scope.graph.constant(bias).and_then(TensorData::to_f64s) else {
            return Ok(());
        };
        items.iter_mut().zip(output.unwrap_or_default()).for_each(|(x, f)| *x /= f);
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
