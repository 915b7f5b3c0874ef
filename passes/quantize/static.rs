//! Compute layers in 8-bit integers, with ranges from samples.

use std::collections::BTreeSet;

use anyhow::{bail, ensure};

use crate::prelude::*;

use super::codes::Rows;
use super::fidelity::{Pair, judge};
use super::layer::{LAYERS, Weight};
use super::measure::{Calibrator, Measurement, Observed, Ranges};
use super::packed::{MICROSOFT, import_microsoft};
use super::pairs::Editor;
use super::place::Placer;
use super::plan::{Plan, Wanted};
use super::qoperator::{Format, write_on_codes};
use super::quantized::undo_or_refuse;
use super::rounding::Rounding;
use super::stays::warn_of_nothing;
use super::store::Storage;
use super::told::Line;

/// Quantize the activations and weights of `Conv`, `ConvTranspose`, `Gemm` and `MatMul`, with ranges measured on samples.
///
/// A quantized value `x` passes through `QuantizeLinear` and `DequantizeLinear` with `scale = (max − min) / 255` and the
/// code of zero as zero point; weights are stored as integers, symmetric around zero; a bias is stored as int32 on the
/// product of both scales. Runtimes turn an operator between such pairs into its integer kernel. A `Relu` or `Clip`
/// after a layer is part of it. Which of these layers have an integer kernel, which results have to be quantized, which operators between layers compute in integers
/// too, and everything that is not said here, is a fact of the profile (`target: { profile: … }`).
///
/// Where the profile has `channel-scales`, channels with a small range are scaled up before they are rounded (a `Mul`, and
/// an `Add` where they are shifted too, in floats), as far as the rounding of the weights that take the factors over allows.
/// Results of convolutions that an `Add` joins, and their sums, have the same factors, so that the `Add` takes them as they
/// are; what reads a sum and is no convolution gets it multiplied back.
///
/// With `format: qoperator` the operators between such pairs are written as those on codes that runtimes make of them:
/// `QLinearConv` and `QLinearMatMul`, and where the profile has onnxruntime's own operators, `QGemm`, `QLinearAdd`,
/// `QLinearMul`, `QLinearConcat`, `QLinearGlobalAveragePool` and their kind. `MaxPool`, `Reshape` and others that compute
/// nothing work on codes as they are, so does `Clip`. What has no such form stays as it is. Files for onnxruntime are better
/// off with `qdq`, which its optimizations read; this form is for runtimes without them.
///
/// *Left alone:* layers whose weight is not constant (but for a `MatMul` of two activations), those of another type than
/// float32 and those in bodies of control flow; recurrent layers, `Einsum` and `Attention`. Each is in the JSON report with
/// its reason. A model that is quantized already is refused: `import-qat` keeps its scales, `requantize: true` takes
/// them out and measures anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct QuantizeStatic {
    /// Type of the activations; by default that of the profile.
    pub activations: Option<ActivationType>,
    /// Type of the weights; by default that of the profile.
    pub weights: Option<WeightType>,
    /// One scale for every output channel of a weight, instead of one for all; by default as the profile has it for the
    /// operator.
    pub per_channel: Option<bool>,
    /// Zero points of activations in the middle of the type's range; by default as the profile has it.
    pub symmetric: Option<bool>,
    /// How the bias is stored; by default as the profile has it.
    pub bias: Option<BiasForm>,
    /// Operators without weights that compute in integers, where their inputs do; by default those of the profile.
    pub between: Option<Vec<String>>,
    /// A scale of their own for channels of activations; by default as the profile has it.
    pub channel_scales: Option<bool>,
    /// How ranges are chosen.
    pub calibrator: Calibrator,
    /// Percent of the numbers that a range holds, with `calibrator: percentile`.
    pub percentile: f64,
    /// How weights are rounded.
    pub rounding: Rounding,
    /// How quantized operators are written.
    pub format: Format,
    /// Take the scales of a model that is quantized already out first.
    pub requantize: bool,
}

impl Default for QuantizeStatic {
    fn default() -> Self {
        Self {
            activations: None,
            weights: None,
            per_channel: None,
            symmetric: None,
            bias: None,
            between: None,
            channel_scales: None,
            calibrator: Calibrator::MinMax,
            percentile: 99.99,
            rounding: Rounding::Compensated,
            format: Format::Qdq,
            requantize: false,
        }
    }
}

const ID: &str = "quantize-static";

impl Pass for QuantizeStatic {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta { idempotent: false, ..PassMeta::lossy(ID, Family::Quantize).growing() } }
    }

    fn needs_samples(&self) -> bool {
        true
    }

    fn heeds_selectors(&self) -> bool {
        true
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let samples = cx.samples()?;
        let profile = cx.profile.clone();
        let choice = self.choose(&profile)?;
        let mut summary = Summary::default();
        undo_or_refuse(ID, model, cx, self.requantize)?;
        require_opset(model, choice.opset(), cx);
        let before = model.clone();
        let mut lines = Vec::new();
        let mut placer = Placer::new(ID);
        main_graph(model, cx, &mut |scope, cx| {
            let seen = choice.observe(&before, scope, cx, samples)?.chosen(&choice.ranges);
            let planned = choice.plan(scope, cx, (None, &seen), &mut summary)?;
            lines = choice.apply(scope, &mut placer, &planned)?;
            Ok(())
        })?;
        summary.applied = lines.len();
        warn_of_nothing(ID, &summary, cx);
        let pairs: Vec<Pair> = lines.iter().map(|line| placer.pair(line.result)).collect();
        judge((&before, model), &mut lines, &pairs, samples)?;
        summary.layers.extend(lines.into_iter().map(|line| line.told));
        self.write(ID, model, cx, &mut summary)?;
        Ok(summary)
    }
}

/// The options, with the profile's word where they say nothing.
pub(super) struct Choice<'c> {
    pub ranges: Ranges,
    storage: Storage,
    layers: &'c [String],
    integer_results: &'c [String],
    between: &'c [String],
    between_from: u64,
    sums_from: u64,
}

/// A plan, what was measured for it, and the weights of its layers.
pub(super) type Planned = (Plan, Measurement, Vec<Option<Rows>>);

impl QuantizeStatic {
    /// Writes a model that is quantized as the option says.
    pub(super) fn write(
        &self,
        pass: &'static str,
        model: &mut Model,
        cx: &mut PassContext<'_>,
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        if self.format == Format::Qdq {
            return Ok(());
        }
        let own = cx.profile.domains.iter().any(|domain| domain == MICROSOFT);
        main_graph(model, cx, &mut |scope, cx| {
            let mut moved = Summary::default();
            write_on_codes(&mut Editor { scope, cx, summary: &mut moved, pass }, own, summary)
        })?;
        import_microsoft(model, cx);
        Ok(())
    }

    /// What the options come down to.
    pub(super) fn choose<'c>(&'c self, profile: &'c Profile) -> anyhow::Result<Choice<'c>> {
        let (between, between_from, sums_from) = match &self.between {
            Some(between) => (between, 0, 0),
            None => (&profile.between, profile.between_from, profile.sums_from()),
        };
        let unknown = |op: &&String| !Wanted::known().any(|known| known == op.as_str());
        if let Some(op) = self.between.iter().flatten().find(unknown) {
            let known: Vec<_> = Wanted::known().collect();
            bail!("`between` names `{op}`; it may name {}", known.join(", "));
        }
        ensure!(
            self.percentile > 50.0 && self.percentile <= 100.0,
            "`percentile` is {}; it is above 50 and at most 100",
            self.percentile
        );
        let every = || LAYERS.iter().map(|&op| op.to_owned()).collect();
        let per_channel = match self.per_channel {
            Some(true) => every(),
            Some(false) => Vec::new(),
            None => profile.per_channel.clone(),
        };
        let ranges = Ranges {
            calibrator: self.calibrator,
            percentile: self.percentile,
            dtype: self.activations.unwrap_or(profile.activations).dtype(),
            symmetric: self.symmetric.unwrap_or(profile.symmetric),
            channels: self.channel_scales.unwrap_or(profile.channel_scales),
            moments: self.rounding == Rounding::Compensated,
        };
        let storage = Storage {
            weights: self.weights.unwrap_or(profile.weights).dtype(),
            per_channel,
            bias: self.bias.unwrap_or(profile.bias),
            pairs: profile.accumulation == Accumulation::Pairs
                && ranges.dtype.bits() == 8
                && self.weights.unwrap_or(profile.weights) == WeightType::Int8,
        };
        let (layers, integer_results) = (&profile.layers, &profile.integer_results);
        Ok(Choice { ranges, storage, layers, integer_results, between, between_from, sums_from })
    }
}

impl Choice<'_> {
    /// The opset that has the operators.
    pub fn opset(&self) -> i64 {
        if self.ranges.dtype.bits() == 16 { 21 } else { 13 }
    }

    /// What a layer is now, for the report.
    fn form(&self, node: &Node, weight: Option<Weight>) -> String {
        let short =
            |dtype: DType| format!("{}{}", if dtype.is_signed_int() { 's' } else { 'u' }, dtype.bits());
        let activations = short(self.ranges.dtype);
        let Some(weight) = weight else { return format!("{activations}×{activations}") };
        let scales = if self.storage.by_channel(node, weight) { "per channel" } else { "per tensor" };
        format!("{activations}×{} {scales}", short(self.storage.weights))
    }

    /// The layers that can be quantized, in topological order. The summary says what stays float.
    pub fn layers(
        &self,
        scope: &Scope<'_>,
        cx: &PassContext<'_>,
        summary: &mut Summary,
    ) -> anyhow::Result<Vec<NodeId>> {
        let plan = Plan::of(scope, cx, &self.wanted(None), summary)?;
        Ok(plan.layers.iter().map(|layer| layer.node).collect())
    }

    /// What the samples show of everything that can be quantized.
    pub fn observe(
        &self,
        before: &Model,
        scope: &Scope<'_>,
        cx: &PassContext<'_>,
        samples: &Samples<'_>,
    ) -> anyhow::Result<Observed> {
        let plan = Plan::of(scope, cx, &self.wanted(None), &mut Summary::default())?;
        if plan.layers.is_empty() {
            return Ok(Observed::default());
        }
        self.ranges.observe(before, &plan, &plan.rows(scope.graph), samples)
    }

    /// What to quantize of some layers, or of all, from what the samples show.
    pub fn plan(
        &self,
        scope: &Scope<'_>,
        cx: &PassContext<'_>,
        (only, seen): (Option<&BTreeSet<NodeId>>, &Observed),
        summary: &mut Summary,
    ) -> anyhow::Result<Planned> {
        let mut wanted = self.wanted(only);
        let mut plan = Plan::of(scope, cx, &wanted, summary)?;
        let rows = plan.rows(scope.graph);
        wanted.barred = plan.mixed(scope.graph, &seen.ranges());
        if !wanted.barred.is_empty() {
            for _ in &wanted.barred {
                summary.skip("the ranges that a Concat joins differ by more than 8 times");
            }
            plan = Plan::of(scope, cx, &wanted, &mut Summary::default())?;
        }
        let found = self.ranges.settle(scope.graph, &plan, &rows, seen);
        Ok((plan, found, rows))
    }

    fn wanted<'w>(&'w self, only: Option<&'w BTreeSet<NodeId>>) -> Wanted<'w> {
        let Self { layers, integer_results, between, between_from, sums_from, .. } = *self;
        Wanted { layers, integer_results, between, between_from, sums_from, barred: BTreeSet::new(), only }
    }

    /// Quantizes what a plan says. Returns what became of every layer.
    pub fn apply(
        &self,
        scope: &mut Scope<'_>,
        placer: &mut Placer,
        (plan, found, rows): &Planned,
    ) -> anyhow::Result<Vec<Line>> {
        let mut lines = Vec::new();
        for (layer, rows) in plan.layers.iter().zip(rows) {
            let mut line = Line::of(scope.graph, layer, plan, found);
            line.told.form = self.form(scope.graph.node(layer.node), layer.weight);
            if let (Some(weight), Some(rows)) = (layer.weight, rows)
                && let Some(known) = found.of_layer(layer)
            {
                let stored = self.storage.layer(scope, placer, layer, (weight, rows), &known)?;
                line.told.bytes_after = stored.bytes;
                line.told.weight = Some(stored.weight);
                line.told.pairs = stored.pairs;
            }
            lines.push(line);
        }
        for (&value, point) in &plan.points {
            if let Some(scale) = found.scales.get(&value) {
                placer.point(scope, value, point, scale)?;
            }
        }
        Ok(lines)
    }
}
