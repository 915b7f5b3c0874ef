//! Giving back, through the bias, what quantization takes from the mean of every channel.

use std::collections::BTreeMap;

use anyhow::ensure;

use crate::prelude::*;

use super::counterpart::Counterpart;
use super::means::{Sums, of_normalization};
use super::pairs::{Editor, Params, Spread, made_by, range, tensor};
use super::place::float;

/// Give back, through the bias, what quantization takes from the mean of every output channel.
///
/// Rounding a weight moves the mean of what the layer makes: `E[W·x] − E[W_q·x] = (W − W_q)·E[x]`; so does everything
/// that was rounded or cut before the layer (Nagel et al. 2019, arXiv 1906.04721). The pass runs after the one that
/// quantized, and compares with the float model as the exact steps of the recipe left it.
///
/// * `from: samples`: the mean of every channel of what a layer makes, bias included and before its activation function,
///   is measured in the original and in the quantized model, and the bias takes the difference. Layers are corrected in
///   the order in which data reaches them, those at the same distance from the inputs together, so that each makes up for
///   what the ones before it left.
/// * `from: statistics`: without data, for layers whose input comes from a `BatchNormalization` in the model as it was read,
///   directly or through `Relu` or `Clip`. Its scale and bias are the deviation and the mean of what it makes, from which
///   follows `E[x]`, taken for normally distributed and cut; padding is not counted. It makes up for rounded weights only.
///
/// A bias that is stored as int32 stays on its grid. A `Conv` or `Gemm` without one gets one, in int32 where the profile has
/// biases so and the input is quantized.
///
/// `quantize-static` and `quantize-weights` with `rounding: compensated` give the mean back that rounding weights takes; what
/// is left for this pass then are the means of rounded activations.
///
/// *Left alone:* a `MatMul` without a constant `Add` after it, a bias that is not constant, and layers whose weight is not
/// that of the original, rounded: above all where `quantize-static` scaled channels (`channel-scales`).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CorrectBias {
    /// Where means come from; by default `samples` where samples are given, else `statistics`.
    pub from: Option<MeansFrom>,
    /// The batches on which means are measured, at most.
    pub samples: u32,
}

/// Where means come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MeansFrom {
    /// They are measured.
    Samples,
    /// They follow from the parameters of `BatchNormalization`.
    Statistics,
}

impl Default for CorrectBias {
    fn default() -> Self {
        Self { from: None, samples: 128 }
    }
}

const ID: &str = "correct-bias";

impl Pass for CorrectBias {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta { idempotent: false, ..PassMeta::lossy(ID, Family::Quantize).growing() } }
    }

    fn needs_samples(&self) -> bool {
        self.from == Some(MeansFrom::Samples)
    }

    fn uses_samples(&self) -> bool {
        self.from != Some(MeansFrom::Statistics)
    }

    fn heeds_selectors(&self) -> bool {
        true
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        ensure!(self.samples > 0, "`samples` is 0; it is at least 1");
        let originals = cx.originals()?;
        let samples = match self.from {
            Some(MeansFrom::Samples) => Some(cx.samples()?),
            Some(MeansFrom::Statistics) => None,
            None => cx.samples().ok(),
        };
        let mut summary = Summary::default();
        let mut layers = Vec::new();
        main_graph(model, cx, &mut |scope, cx| {
            let editor = Editor { scope, cx, summary: &mut summary, pass: ID };
            layers = by_distance(editor, &originals.exact.graph)?;
            Ok(())
        })?;
        let Some(samples) = samples.map(|s| s.few(self.samples as usize)) else {
            let all: Vec<_> = layers.iter().flatten().collect();
            let shifts = all.iter().map(|layer| from_statistics(layer, &originals.read.graph)).collect();
            correct(model, cx, &mut summary, &all, shifts)?;
            return Ok(summary);
        };
        let original = |layer: &Counterpart| layer.original;
        let wanted = measure(&samples, originals.exact, layers.iter().flatten(), original)?;
        let mut wanted = wanted.into_iter();
        for layers in &layers {
            let found = measure(&samples, model, layers.iter(), |layer| layer.result)?;
            let shift = |(found, wanted): (Vec<f64>, Vec<f64>)| {
                Ok(wanted.iter().zip(&found).map(|(a, b)| a - b).collect())
            };
            let shifts = found.into_iter().zip(wanted.by_ref()).map(shift).collect();
            correct(model, cx, &mut summary, &layers.iter().collect::<Vec<_>>(), shifts)?;
        }
        Ok(summary)
    }
}

/// The quantized layers by how many of them lie before them at most.
fn by_distance(mut editor: Editor<'_, '_, '_>, original: &Graph) -> anyhow::Result<Vec<Vec<Counterpart>>> {
    let mut found: BTreeMap<NodeId, Counterpart> = BTreeMap::new();
    let order = editor.order()?;
    for &node in &order {
        match editor.counterpart(node, original) {
            Ok(layer) => drop(found.insert(layer.bias.0, layer)),
            Err(skip) => editor.count(Err(skip)),
        }
    }
    let graph = &*editor.scope.graph;
    let mut distances: BTreeMap<ValueId, usize> = BTreeMap::new();
    let mut layers: Vec<Vec<Counterpart>> = Vec::new();
    for node in order {
        let read = graph.node_inputs(node).into_iter().flatten().chain(graph.captures(node));
        let mut distance = read.filter_map(|v| distances.get(&v)).copied().max().unwrap_or(0);
        if let Some(layer) = found.remove(&node) {
            layers.resize_with(layers.len().max(distance + 1), Vec::new);
            layers[distance].push(layer);
            distance += 1;
        }
        distances.extend(graph.node_outputs(node).into_iter().flatten().map(|v| (v, distance)));
    }
    Ok(layers)
}

/// The mean of every channel of a value of every layer.
fn measure<'l>(
    samples: &Samples<'_>,
    model: &Model,
    layers: impl Iterator<Item = &'l Counterpart>,
    value: impl Fn(&Counterpart) -> ValueId,
) -> anyhow::Result<Vec<Vec<f64>>> {
    let (values, mut sums): (Vec<_>, Vec<_>) = layers.map(|l| (value(l), Sums::new(l.axis))).unzip();
    if !values.is_empty() {
        samples.observe(Tap::of(model, &values), &mut sums, Sums::see)?;
    }
    Ok(sums.iter().map(Sums::means).collect())
}

/// What rounding took from the mean of every channel, by the normalization before the layer.
fn from_statistics(layer: &Counterpart, read: &Graph) -> Result<Vec<f64>, Skip> {
    let known = Some(layer.input).filter(|&v| layer.sums_axis_1 && read.contains_value(v));
    let means = known.and_then(|v| of_normalization(read, v));
    let shift = means.and_then(|means| layer.lost_mean(&means));
    shift.ok_or_else(|| Skip::because("no BatchNormalization of the model as it was read feeds it"))
}

/// Adds to the biases of layers.
fn correct(
    model: &mut Model,
    cx: &mut PassContext<'_>,
    summary: &mut Summary,
    layers: &[&Counterpart],
    shifts: Vec<Result<Vec<f64>, Skip>>,
) -> anyhow::Result<()> {
    let mut shifts = Some(shifts);
    main_graph(model, cx, &mut |scope, cx| {
        let mut editor = Editor { scope, cx, summary: &mut *summary, pass: ID };
        for (layer, shift) in layers.iter().zip(shifts.take().into_iter().flatten()) {
            let outcome = match shift {
                Ok(shift) => editor.shift_bias(layer, &shift)?,
                Err(skip) => Err(skip),
            };
            editor.count(outcome);
        }
        Ok(())
    })
}

impl Editor<'_, '_, '_> {
    /// Adds a number to every output channel of a layer.
    fn shift_bias(&mut self, layer: &Counterpart, shift: &[f64]) -> anyhow::Result<Result<(), Skip>> {
        let (node, slot) = layer.bias;
        let graph = &*self.scope.graph;
        let old = graph.node_input(node, slot);
        if let Some(data) = old.and_then(|v| graph.constant(v)) {
            let by = |at: usize, x: f64| x + shift.get(at).copied().unwrap_or(0.0);
            let Some(shifted) = data.map_f64(by).filter(|new| !new.same_data(data)) else {
                return Ok(Err(Skip::no_concern()));
            };
            float(self.scope, (node, slot), shifted)?;
            return Ok(Ok(()));
        }
        let back = old.and_then(|v| made_by(graph, v, "DequantizeLinear"));
        let params = back.and_then(|back| Params::of(graph, back));
        let integers = match (&params, old) {
            (Some(params), _) => params.codes == DType::Int32,
            (None, Some(_)) => false,
            (None, None) => self.cx.profile.bias == BiasForm::Int32,
        };
        if let (Some(back), Some(params), true) = (back, params, integers)
            && let Some(changed) = self.shift_bias_codes(back, &params, shift)
        {
            return Ok(if changed { Ok(()) } else { Err(Skip::no_concern()) });
        }
        self.new_bias(layer, (old, integers), shift)?;
        Ok(Ok(()))
    }

    /// Adds to a bias on its grid, and says whether that made a difference; `None` where something else reads it too.
    fn shift_bias_codes(&mut self, back: NodeId, params: &Params, shift: &[f64]) -> Option<bool> {
        let graph = &*self.scope.graph;
        let (codes, bias) = (graph.node_input(back, 0)?, graph.node_output(back, 0)?);
        let sole = |v: ValueId| graph.use_count(v) == 1 && !graph.is_pinned(v);
        let data = graph.constant(codes).filter(|_| sole(codes) && sole(bias))?;
        let plain = !matches!(params.spread, Spread::Blocks { .. });
        let old = data.to_i64s().filter(|old| plain && old.len() == shift.len())?;
        let step = |at: usize| params.scales.get(if params.scales.len() == 1 { 0 } else { at });
        let (low, high) = range(DType::Int32);
        let moved = |(at, &code): (usize, &i64)| {
            let by = (shift[at] / step(at)?).round_ties_even();
            Some((code as f64 + by).clamp(low as f64, high as f64) as i64)
        };
        let new: Vec<i64> = old.iter().enumerate().map(moved).collect::<Option<_>>()?;
        let made = tensor(DType::Int32, data.dims(), &new)?;
        self.scope.set_constant(codes, made);
        Some(new != old)
    }

    /// Gives a layer a bias of its own: with what was added to the old one, where there was one.
    fn new_bias(
        &mut self,
        layer: &Counterpart,
        (old, integers): (Option<ValueId>, bool),
        shift: &[f64],
    ) -> anyhow::Result<()> {
        let (node, slot) = layer.bias;
        let graph = &*self.scope.graph;
        let items = old.and_then(|v| self.bias_items(v, shift.len()).ok());
        let items: Vec<f64> =
            items.unwrap_or_else(|| vec![0.0; shift.len()]).iter().zip(shift).map(|(a, b)| a + b).collect();
        let name = format!("{}_bias", graph.value(layer.result).name);
        let name = old.map_or(name, |v| graph.value(v).name.clone());
        let dims = [items.len() as u64];
        let Some(data) = TensorData::from_f64s(layer.floats, &dims, &items) else { return Ok(()) };
        let bias = self.scope.add_constant(&name, data)?;
        self.scope.feed(node, slot, bias)?;
        old.into_iter().for_each(|v| self.bury(v));
        if integers && let Ok((quantized, codes, scale, per_channel)) = self.int32_bias(node) {
            self.put_bias(&quantized, codes, scale, per_channel)?;
        }
        Ok(())
    }
}
