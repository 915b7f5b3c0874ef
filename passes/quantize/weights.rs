//! Store weights in 8 or 4 bits, and compute in floats.

use std::collections::BTreeMap;

use anyhow::ensure;

use crate::prelude::*;

use super::blocks::{Granularity, ScaleSearch};
use super::fidelity::with_ratios;
use super::multiplied::observe;
use super::rounding::Rounding;
use super::sites::{LAYERS, TABLE, Wanted, leave};
use super::stays::warn_of_nothing;
use super::weight_choice::{SMALLER, WeightChoice};

/// Store the constant weights of `Conv`, `ConvTranspose`, `Gemm` and `MatMul` in 8 or 4 bits; activations stay float.
///
/// The file shrinks to a quarter, or to little more than an eighth; whether it runs faster is up to the runtime. A weight
/// is `(code − zero_point) · scale`, with one scale for all, for each output channel, or for each `block` of neighbours
/// in what an output channel sums over.
///
/// **Forms.** `dequantize` puts a `DequantizeLinear` before the operator: any runtime of opset 13 runs that for 8 bits by
/// tensor or channel, of opset 21 for 4 bits and blocks. `matmul-nbits` replaces matrix products by onnxruntime's own
/// `MatMulNBits`. onnxruntime makes the same operator of a `MatMul`, or a `Gemm` without `transB`, whose weight comes from
/// a `DequantizeLinear` with blocks on axis 0 or scales on axis 1: so a `Gemm` on a transposed weight gets its codes
/// turned. In what it makes so, onnxruntime rounds activations to 8 bits in blocks (accuracy level 4) unless the session
/// option `session.qdq_matmulnbits_accuracy_level` says `1`; in an operator that is in the file the attribute
/// `accuracy_level` decides, and without it onnxruntime computes in float32. The weight of a `Conv` is dequantized at
/// every run: a smaller file, and no faster. Measurements are in `docs/quantization.md`.
///
/// **Samples** (`--data`) are not needed, and used where they are given: rounding then makes up for its errors on what
/// the layer multiplies the weight with (GPTQ, then single codes and scales as long as that helps), scales go by it, and
/// a bias gives the mean back that rounding takes. `ConvTranspose`, tables, and rows of more than 2304 numbers are
/// rounded without.
///
/// *Left alone:* weights that are not constant or not float32 or float16, that something else reads too, that are
/// quantized already, not finite, have fewer elements than `min-elements` or would not get smaller; bodies of control
/// flow.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct QuantizeWeights {
    /// Type of the weights.
    pub weights: StoredType,
    /// Which elements share a scale; by default blocks for 4 bits and for `matmul-nbits`, else output channels.
    pub granularity: Option<Granularity>,
    /// Elements of a block.
    pub block: u64,
    /// Zero points in the middle of the type's range; by default those of signed types.
    pub symmetric: Option<bool>,
    /// How matrix products read their weights; by default as the profile has it.
    pub form: Option<WeightOnly>,
    /// The attribute `accuracy_level` of `MatMulNBits`: the least precision of activations, 1 for float32, 2 for float16,
    /// 3 for bfloat16, 4 for int8, 0 for what the runtime likes.
    pub accuracy_level: Option<u8>,
    /// How scales are chosen; by default `mse` where samples are given, else `min-max`.
    pub scales: Option<ScaleSearch>,
    /// How weights are rounded; by default `compensated` where samples are given, else `nearest`.
    pub rounding: Option<Rounding>,
    /// The fewest elements of a weight that is worth an operator more.
    pub min_elements: u64,
    /// Tables that `Gather` looks rows up in, too: `DequantizeLinear` then makes the whole table at every run, where the
    /// runtime has no better way.
    pub embeddings: bool,
}

/// Integer types of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum StoredType {
    Int8,
    Uint8,
    Int4,
    Uint4,
}

impl StoredType {
    fn dtype(self) -> DType {
        match self {
            Self::Int8 => DType::Int8,
            Self::Uint8 => DType::Uint8,
            Self::Int4 => DType::Int4,
            Self::Uint4 => DType::Uint4,
        }
    }
}

impl Default for QuantizeWeights {
    fn default() -> Self {
        Self {
            weights: StoredType::Int8,
            granularity: None,
            block: 32,
            symmetric: None,
            form: None,
            accuracy_level: None,
            scales: None,
            rounding: None,
            min_elements: 256,
            embeddings: false,
        }
    }
}

const ID: &str = "quantize-weights";

impl Pass for QuantizeWeights {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta::lossy(ID, Family::Quantize) }
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
        let choice = self.choose(ID, &cx.profile, samples.is_some())?;
        let mut summary = Summary::default();
        let before = model.clone();
        let mut results: Vec<(LayerReport, ValueId)> = Vec::new();
        let mut opset = 0;
        main_graph(model, cx, &mut |scope, cx| {
            let sites = choice.wanted.sites(scope, cx, &mut summary)?;
            let inputs = match samples.filter(|_| choice.measures()) {
                Some(samples) => observe(&before, &sites, samples)?,
                None => BTreeMap::new(),
            };
            for site in &sites {
                if let Some(made) = choice.store(scope, site, &inputs)? {
                    opset = opset.max(made.opset);
                    results.extend(made.lines);
                } else {
                    let why = Skip::because(SMALLER);
                    leave(&mut summary, scope.graph, site.nodes(), &why);
                }
            }
            Ok(())
        })?;
        summary.applied = results.len();
        warn_of_nothing(ID, &summary, cx);
        choice.declare(model, cx, opset)?;
        summary.layers.extend(with_ratios((&before, model), results, samples)?);
        Ok(summary)
    }
}

impl QuantizeWeights {
    /// The operators whose weights are stored.
    fn ops(&self) -> Vec<&'static str> {
        LAYERS.iter().copied().chain(self.embeddings.then_some(TABLE)).collect()
    }

    /// What the options come down to, for a pass.
    pub(super) fn choose(
        &self,
        pass: &'static str,
        profile: &Profile,
        samples: bool,
    ) -> anyhow::Result<WeightChoice> {
        let dtype = self.weights.dtype();
        let form = self.form.unwrap_or(profile.weight_only);
        let small = dtype.bits() < 8 || form == WeightOnly::MatMulNBits;
        let granularity =
            self.granularity.unwrap_or(if small { Granularity::Block } else { Granularity::PerChannel });
        ensure!((2..=1 << 20).contains(&self.block), "`block` is {}; it is 2 or more", self.block);
        ensure!(
            self.form != Some(WeightOnly::MatMulNBits)
                || (granularity == Granularity::Block && self.block >= 16 && self.block.is_power_of_two()),
            "`form: matmul-nbits` has blocks of 16, 32, 64, … elements: say `granularity: block` and such a `block`, or \
            leave both out"
        );
        ensure!(
            self.accuracy_level.is_none_or(|level| level <= 4),
            "`accuracy-level` is {}; it is 0 to 4",
            self.accuracy_level.unwrap_or_default()
        );
        let (search, rounding) = if samples {
            (ScaleSearch::Mse, Rounding::Compensated)
        } else {
            (ScaleSearch::MinMax, Rounding::Nearest)
        };
        Ok(WeightChoice {
            pass,
            wanted: Wanted { ops: self.ops(), min_elements: self.min_elements },
            weights: dtype,
            granularity,
            block: usize::try_from(self.block)?,
            symmetric: self.symmetric.unwrap_or(dtype.is_signed_int()),
            form,
            accuracy_level: self.accuracy_level,
            search: self.scales.unwrap_or(search),
            rounding: self.rounding.unwrap_or(rounding),
        })
    }
}
