//! Compute layers in 8-bit integers, with ranges from samples.

use std::collections::BTreeMap;

use crate::prelude::*;

use super::codes::{Grid, Rows, bounds, integers, nearest, usable};
use super::place::Placer;
use super::plan::{Layer, Plan, Weight};

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
            let grids = self.grids(&before, &plan, samples)?;
            self.write(scope, &plan, &grids, &mut summary)
        })?;
        Ok(summary)
    }
}

impl QuantizeStatic {
    /// The grid of every value that is quantized, from its range on the samples.
    fn grids(
        &self,
        model: &Model,
        plan: &Plan,
        samples: &Samples<'_>,
    ) -> anyhow::Result<BTreeMap<ValueId, Grid>> {
        let values: Vec<ValueId> = plan.points.keys().copied().collect();
        let mut ranges = vec![(f64::INFINITY, f64::NEG_INFINITY); values.len()];
        samples.observe(Tap { model, values: &values }, &mut ranges, |range, tensor| {
            let items = tensor.to_vec::<f32>().ok_or("not float32")?;
            for x in items {
                if !x.is_finite() {
                    return Err(format!("a value is {x}"));
                }
                *range = (range.0.min(f64::from(x)), range.1.max(f64::from(x)));
            }
            Ok(())
        })?;
        let mut ranges: BTreeMap<ValueId, (f64, f64)> = values.into_iter().zip(ranges).collect();
        for (from, to) in &plan.ties {
            if let Some(range) = ranges.get(from).copied() {
                ranges.insert(*to, range);
            }
        }
        let grid = |range| Grid::of(range, self.activations.dtype(), self.symmetric);
        Ok(ranges.into_iter().map(|(value, range)| (value, grid(range))).collect())
    }

    fn write(
        &self,
        scope: &mut Scope<'_>,
        plan: &Plan,
        grids: &BTreeMap<ValueId, Grid>,
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        let mut placer = Placer::new(ID);
        for layer in &plan.layers {
            let Some(weight) = layer.weight else { continue };
            let Some(grid) = layer.activations.first().and_then(|(_, v)| grids.get(v)) else { continue };
            self.weight(scope, &mut placer, layer, weight, *grid)?;
            summary.applied += 1;
        }
        for (&value, point) in &plan.points {
            if let Some(grid) = grids.get(&value) {
                placer.point(scope, value, point, *grid)?;
            }
        }
        Ok(())
    }

    /// Stores the weight and the bias of a layer as integers.
    fn weight(
        &self,
        scope: &mut Scope<'_>,
        placer: &mut Placer,
        layer: &Layer,
        weight: Weight,
        input: Grid,
    ) -> anyhow::Result<()> {
        let Some(rows) = scope.graph.constant(weight.value).and_then(|d| Rows::of(d, weight.axis)) else {
            return Ok(());
        };
        let dtype = self.weights.dtype();
        let zero = if dtype.is_signed_int() { 0 } else { 128 };
        let limits = {
            let (low, high) = bounds(dtype);
            (low.max(i64::from(zero) - 127) - i64::from(zero), high - i64::from(zero))
        };
        let largest = |row: &Vec<f64>| row.iter().fold(0f64, |m, x| m.max(x.abs()));
        let overall = rows.rows.iter().map(largest).fold(0.0, f64::max);
        let scales: Vec<f32> = rows
            .rows
            .iter()
            .map(|row| usable(if self.per_channel { largest(row) } else { overall } / limits.1 as f64))
            .collect();
        let codes: Vec<Vec<i32>> = (rows.rows.iter().zip(&scales))
            .map(|(row, &scale)| row.iter().map(|&x| nearest(x, scale, limits) + zero).collect())
            .collect();
        let data = integers(dtype, &rows.dims, &rows.scatter(&codes));
        let channels = [scales.len() as u64];
        let (scale, zeros, attrs) = if self.per_channel {
            let attrs = Attrs::new().with("axis", weight.axis as i64);
            (TensorData::vector(&scales), integers(dtype, &channels, &vec![zero; scales.len()]), attrs)
        } else {
            (TensorData::scalar(scales[0]), integers(dtype, &[], &[zero]), Attrs::new())
        };
        placer.constant(scope, (layer.node, weight.slot), data, scale, Some(zeros), attrs)?;
        let Some((slot, bias)) = layer.bias else { return Ok(()) };
        let Some(items) = scope.graph.constant(bias).and_then(TensorData::to_f64s) else { return Ok(()) };
        let scales: Vec<f32> = scales.iter().map(|s| s * input.scale).collect();
        let range = bounds(DType::Int32);
        let codes: Vec<i32> = items.iter().zip(&scales).map(|(&x, &s)| nearest(x, s, range)).collect();
        let (scale, attrs) = if self.per_channel {
            (TensorData::vector(&scales), Attrs::new().with("axis", 0i64))
        } else {
            (TensorData::scalar(scales[0]), Attrs::new())
        };
        placer.constant(
            scope,
            (layer.node, slot),
            integers(DType::Int32, &channels, &codes),
            scale,
            None,
            attrs,
        )?;
        Ok(())
    }
}
