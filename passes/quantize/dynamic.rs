//! Compute layers in 8-bit integers, with ranges taken while the model runs.

use std::collections::BTreeMap;

use crate::prelude::*;

use super::adjust::Adjust;
use super::blocks::{Codes, Gridded, Layout, ScaleSearch, Scales};
use super::codes::{Rows, bounds, integers};
use super::fidelity::with_ratios;
use super::moments::Inputs;
use super::multiplied::{Known, give_back, joined, observe};
use super::packed::Packer;
use super::quantized::undo_or_refuse;
use super::rounding::Rounding;
use super::runtime::{Runtime, factor};
use super::sites::{Kind, Reader, Site, Wanted};
use super::stays::entry;

/// Quantize the constant weights of `Gemm` and `MatMul`, and their activations while the model runs.
///
/// `DynamicQuantizeLinear` gives an activation codes in uint8, on the range of what it holds at that moment;
/// `MatMulInteger` multiplies them with the integers of the weight; `Cast` and a `Mul` with the product of both scales make
/// floats of the sums, to which the bias is added. onnxruntime runs all of it as one operator, or as two where an
/// activation has several readers. No samples are needed, and no range can be missed; each run pays for looking for them.
/// The range is that of the whole tensor: what else is in a batch changes the answers a little.
///
/// **Weights** are symmetric in int8, and have zero points by output channel in uint8. Where the profile's kernels add
/// pairs of products in 16 bits (x86 with AVX2, without VNNI), int8 weights are rounded so that no pair can overflow.
/// Samples (`--data`), where some are given, make rounding better, as they do for `quantize-weights`.
///
/// **Convolutions** stay float without `conv: true`. onnxruntime has no kernel that does what follows `ConvInteger` with
/// it: on x86 a convolution gains little or nothing with uint8 weights, and takes several times as long as in floats with
/// int8 ones; a depthwise one takes eight times as long and more with either. Measurements are in `docs/quantization.md`.
///
/// *Left alone:* weights that are not constant or not float32, are no matrix, that something else reads too, that are not
/// finite or have fewer elements than `min-elements`; a `Gemm` with `transA`; bodies of control flow. A model that is
/// quantized already is refused; `requantize: true` takes the scales out first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct QuantizeDynamic {
    /// Type of the weights; by default that of the profile, and uint8 for convolutions.
    pub weights: Option<WeightType>,
    /// One scale for every output channel of a weight, instead of one for all; by default as the profile has it for the
    /// operator.
    pub per_channel: Option<bool>,
    /// Convolutions too.
    pub conv: bool,
    /// Of these, also those that multiply every channel by itself.
    pub depthwise: bool,
    /// How scales of weights are chosen; by default `mse` where samples are given, else `min-max`.
    pub scales: Option<ScaleSearch>,
    /// How weights are rounded; by default `compensated` where samples are given, else `nearest`.
    pub rounding: Option<Rounding>,
    /// The fewest elements of a weight that is worth it.
    pub min_elements: u64,
    /// Take the scales of a model that is quantized already out first.
    pub requantize: bool,
}

impl Default for QuantizeDynamic {
    fn default() -> Self {
        Self {
            weights: None,
            per_channel: None,
            conv: false,
            depthwise: false,
            scales: None,
            rounding: None,
            min_elements: 256,
            requantize: false,
        }
    }
}

const ID: &str = "quantize-dynamic";

/// The opset that has `DynamicQuantizeLinear`; the operators on integers are older.
const OPSET: i64 = 11;

impl Pass for QuantizeDynamic {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta { idempotent: false, ..PassMeta::lossy(ID, Family::Quantize) } }
    }

    fn needs_samples(&self) -> bool {
        self.rounding == Some(Rounding::Compensated)
    }

    fn uses_samples(&self) -> bool {
        true
    }

    fn heeds_selectors(&self) -> bool {
        true
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let samples = if self.needs_samples() { Some(cx.samples()?) } else { cx.samples().ok() };
        let choice = self.choose(&cx.profile, samples.is_some());
        let mut summary = Summary::default();
        undo_or_refuse(ID, model, cx, self.requantize)?;
        let before = model.clone();
        let mut results: Vec<(LayerReport, ValueId)> = Vec::new();
        main_graph(model, cx, &mut |scope, cx| {
            let wanted = Wanted { ops: vec!["Conv", "Gemm", "MatMul"], min_elements: self.min_elements };
            let mut sites = wanted.sites(scope, cx, &mut summary)?;
            sites.retain(|site| self.suits(scope.graph, site).map_err(|why| summary.skip(why.0)).is_ok());
            let inputs = match samples.filter(|_| choice.measures()) {
                Some(samples) => observe(&before, &sites, samples)?,
                None => BTreeMap::new(),
            };
            let mut runtime = Runtime::new(ID, &sites);
            for site in &sites {
                results.extend(choice.quantize(scope, &mut runtime, site, &inputs)?);
            }
            Ok(())
        })?;
        summary.applied = results.len();
        if !results.is_empty() {
            require_opset(model, OPSET, cx);
        }
        summary.layers.extend(with_ratios((&before, model), results, samples)?);
        Ok(summary)
    }
}

/// The options, with the profile's word where they say nothing.
struct Choice {
    products: WeightType,
    convolutions: WeightType,
    /// The operators whose weights have a scale for every output channel.
    per_channel: Vec<String>,
    /// Whether two neighbouring products must not overflow 16 bits.
    pairs: bool,
    search: ScaleSearch,
    rounding: Rounding,
}

impl QuantizeDynamic {
    fn choose(&self, profile: &Profile, samples: bool) -> Choice {
        let (search, rounding) = if samples {
            (ScaleSearch::Mse, Rounding::Compensated)
        } else {
            (ScaleSearch::MinMax, Rounding::Nearest)
        };
        let products = self.weights.unwrap_or(profile.weights);
        Choice {
            products,
            convolutions: self.weights.unwrap_or(WeightType::Uint8),
            per_channel: match self.per_channel {
                Some(true) => ["Conv", "Gemm", "MatMul"].map(str::to_owned).to_vec(),
                Some(false) => Vec::new(),
                None => profile.per_channel.clone(),
            },
            pairs: profile.accumulation == Accumulation::Pairs && products == WeightType::Int8,
            search: self.scales.unwrap_or(search),
            rounding: self.rounding.unwrap_or(rounding),
        }
    }

    /// Whether the readers of a weight have a form on integers, that is wanted.
    fn suits(&self, graph: &Graph, site: &Site) -> Result<(), Skip> {
        let data = graph.constant(site.value).ok_or_else(Skip::no_concern)?;
        Skip::unless(data.dtype() == DType::Float, "it computes in another float type than float32")?;
        if site.view.kind == Kind::Conv {
            Skip::unless(self.conv, "convolutions stay float unless the option conv says otherwise")?;
            let alone = site.view.group > 1 && data.dims().get(1) == Some(&1);
            Skip::unless(
                !alone || self.depthwise,
                "a depthwise convolution is many times slower on integers than in floats",
            )?;
        } else {
            Skip::unless(data.rank() == 2, "its weight is no matrix")?;
        }
        site.readers.iter().try_for_each(|reader| has_form(graph, site, reader))
    }
}

/// Whether a reader of a weight has a form on integers.
fn has_form(graph: &Graph, site: &Site, reader: &Reader) -> Result<(), Skip> {
    let node = graph.node(reader.node);
    Skip::unless(graph.constant(reader.input).is_none(), "its first input is constant")?;
    Skip::unless(node.attrs.int("transA").unwrap_or(0) == 0, "its first input is transposed")?;
    let Some(bias) = graph.node_input(reader.node, 2) else { return Ok(()) };
    if site.view.kind == Kind::Conv {
        Skip::unless(reader.bias.is_some(), "its bias is not a constant of one number a channel")?;
        return Ok(());
    }
    let beta = factor(graph, reader.node, "beta");
    let plain = beta.abs() == 0.0 || beta.to_bits() == 1f32.to_bits();
    Skip::unless(plain || graph.constant(bias).is_some(), "it scales a bias that is not constant")
}

/// Equal zero points as one: onnxruntime's `ConvInteger` takes no list.
fn one_for_all(zeros: &TensorData) -> Option<TensorData> {
    Some(integers(zeros.dtype(), &[], &[i32::try_from(*zeros.to_i64s()?.first()?).ok()?]))
}

impl Choice {
    /// Whether it looks at what weights are multiplied with.
    fn measures(&self) -> bool {
        self.rounding == Rounding::Compensated || self.search != ScaleSearch::MinMax
    }

    /// Quantizes a weight and lets its readers compute on integers. Returns what became of each, and its result.
    fn quantize(
        &self,
        scope: &mut Scope<'_>,
        runtime: &mut Runtime,
        site: &Site,
        known: &Known,
    ) -> Result<Vec<(LayerReport, ValueId)>, IrError> {
        let data = scope.graph.constant(site.value).cloned();
        let Some((data, rows)) = data.and_then(|d| Some((d.clone(), Rows::of(&d, site.view.axis)?))) else {
            return Ok(Vec::new());
        };
        let layout = self.layout(scope.graph, site, data.dims());
        let codes = self.codes(site, &layout);
        let joined = joined(site, known);
        let given = site.readers.iter().all(|r| r.bias.is_some());
        let inputs = joined.as_ref().map(|inputs| (inputs, given));
        let (made, pairs) = self.round(site, &rows, (codes, &layout), inputs);
        let packer = Packer { pass: ID, codes: &codes, accuracy_level: None };
        let Some(mut stored) = packer.dequantize(&layout, &made) else { return Ok(Vec::new()) };
        if site.view.kind == Kind::Conv {
            stored.zero = stored.zero.as_ref().and_then(one_for_all);
        }
        let mut lines: Vec<(LayerReport, ValueId)> = Vec::new();
        for reader in &site.readers {
            // What is shared counts once.
            let first = lines.is_empty();
            let line = LayerReport {
                form: self.form(site, &layout),
                bytes_before: if first { data.byte_len() } else { 0 },
                bytes_after: if first { stored.bytes() } else { 0 },
                weight: Some(made.told(&layout, &rows)),
                pairs,
                ..entry(scope.graph, reader.node)
            };
            lines.push((line, reader.result));
        }
        if self.rounding == Rounding::Compensated {
            give_back(scope, site, known, (&rows, &layout, &made))?;
        }
        runtime.place(scope, site, stored)?;
        Ok(lines)
    }

    /// How the integers of a weight lie: those of a product as `MatMulInteger` reads them, with the output channels last.
    fn layout(&self, graph: &Graph, site: &Site, dims: &[u64]) -> Layout {
        let by_channel = |reader: &Reader| self.per_channel.iter().any(|op| graph.node(reader.node).is(op));
        let scales = if site.readers.iter().all(by_channel) { Scales::Channel } else { Scales::Tensor };
        let transposed = site.view.kind != Kind::Conv && site.view.axis == 0;
        let (dims, axis) = if transposed {
            (dims.iter().rev().copied().collect(), 1)
        } else {
            (dims.to_vec(), site.view.axis)
        };
        Layout { dims, axis, scales, reshape: None, transposed }
    }

    fn codes(&self, site: &Site, layout: &Layout) -> Codes {
        let conv = site.view.kind == Kind::Conv;
        let dtype = if conv { self.convolutions } else { self.products }.dtype();
        let (low, high) = bounds(dtype);
        // `ConvInteger` has one zero point for all channels.
        let symmetric = dtype.is_signed_int() || (conv && layout.scales == Scales::Channel);
        Codes { dtype, bounds: (low as f64, high as f64), symmetric, scales: DType::Float }
    }

    fn round(
        &self,
        site: &Site,
        rows: &Rows,
        (codes, layout): (Codes, &Layout),
        inputs: Option<(&Inputs, bool)>,
    ) -> (Gridded, Option<PairReport>) {
        let adjust = Adjust { codes, search: self.search, rounding: self.rounding };
        // Convolutions on integers are exact.
        if self.pairs && site.view.kind != Kind::Conv {
            return adjust.weight_in_pairs(rows, layout, inputs);
        }
        (adjust.weight(rows, layout, inputs), None)
    }

    /// What the report calls it.
    fn form(&self, site: &Site, layout: &Layout) -> String {
        let dtype = if site.view.kind == Kind::Conv { self.convolutions } else { self.products };
        let sign = if dtype == WeightType::Int8 { 's' } else { 'u' };
        let scales = if layout.scales == Scales::Channel { "per channel" } else { "per tensor" };
        format!("dynamic u8×{sign}8 {scales}")
    }
}
