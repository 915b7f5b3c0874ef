//! Taking over what fake quantization in training has found.

use crate::prelude::*;

use super::imported::layers;
use super::pairs::Editor;

/// Store the weights of a model that was trained with fake quantization as integers, and put its `QuantizeLinear` and
/// `DequantizeLinear` where runtimes look for them.
///
/// Nothing is calibrated: scales and zero points stay what training made them.
///
/// * A constant that `QuantizeLinear` reads, also behind operators that only arrange it, is stored as its codes.
/// * `BatchNormalization`, and `Add`, `Sub`, `Mul` and `Div` with a constant for every channel, after a `Conv`,
///   `ConvTranspose` or `Gemm` go into the scales of its weight, one for every output channel from then on, and into its
///   bias. The codes stay; those of a channel with a negative factor change their sign.
/// * A `Relu` or `Clip` that cuts where a `QuantizeLinear` saturates anyway is dropped. A pair between a layer and its
///   `Relu` or `Clip` is moved behind that. A pair between other operators of the same parameters is dropped, and equal
///   pairs are merged. Operators that only arrange elements before a layer work on codes.
///
/// All of this is exact but for the rounding of a scale. With `bias: int32`, as most profiles have it, biases are rounded
/// too, each by half a step of its accumulator at most, so that the step counts as lossy unless it says `float` or `keep`. Runtimes ask for it:
/// onnxruntime 1.18 computes no layer with a float bias in integers, 1.32 no `Gemm` that gives floats; and both take the
/// codes of an int32 bias for ones on the product of the scales, whatever its own scale says. On x86 both leave layers
/// in float whose signed activations several operators read: `activations: uint8` helps.
///
/// *Left alone:* what has other readers, parameters that are not constant, a normalization whose input is quantized
/// already, and weights with scales for blocks or along another axis.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImportQat {
    /// How constant biases of quantized layers are stored. Without it: as the profile says.
    pub bias: Option<Bias>,
    /// The 8-bit type of activations. Codes of the other one move by 128, zero points with them.
    pub activations: Codes,
}

/// 8-bit types of activations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Codes {
    /// The one that the model has.
    #[default]
    Keep,
    /// Unsigned, which onnxruntime computes with on x86.
    Uint8,
    /// Signed.
    Int8,
}

/// How biases are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bias {
    /// As int32 on the product of the scales of the input and the weight.
    Int32,
    /// As floats.
    Float,
    /// As they are; as floats where something was folded into them.
    Keep,
}

const ID: &str = "import-qat";

impl Pass for ImportQat {
    fn meta(&self) -> &'static PassMeta {
        const EXACT: PassMeta = PassMeta::exact(ID, Family::Quantize).growing();
        const LOSSY: PassMeta = PassMeta::lossy(ID, Family::Quantize).growing();
        if matches!(self.bias, Some(Bias::Float | Bias::Keep)) { &EXACT } else { &LOSSY }
    }

    fn heeds_selectors(&self) -> bool {
        true
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let bias = self.bias.unwrap_or(match cx.profile.bias {
            BiasForm::Int32 => Bias::Int32,
            BiasForm::Float => Bias::Float,
        });
        let mut total = Summary::default();
        let mut result = model.clone();
        store_constants(&mut result, cx)?;
        // One change makes way for another, and a lossy step runs once.
        for _ in 0..ROUNDS {
            let mut summary = Summary::default();
            each_bare_graph(&mut result, cx, &mut |scope, cx| {
                Editor { scope, cx, summary: &mut summary, pass: ID }.import(bias, self.activations)
            })?;
            total.applied += summary.applied;
            total.skipped = summary.skipped;
            if summary.applied == 0 {
                break;
            }
        }
        if total.applied > 0 {
            total.layers = layers(&model.graph, &result.graph);
            *model = result;
        }
        Ok(total)
    }
}

/// Rounds that a graph takes at most; each but the last changes something.
const ROUNDS: usize = 10;

impl Editor<'_, '_, '_> {
    fn import(&mut self, bias: Bias, activations: Codes) -> anyhow::Result<()> {
        self.merge_duplicates()?;
        self.store_codes()?;
        self.fold_affines()?;
        self.drop_saturated()?;
        self.move_past_activations()?;
        self.drop_round_trips()?;
        self.arrange_codes()?;
        match activations {
            Codes::Keep => {}
            Codes::Uint8 => self.shift_codes(DType::Uint8)?,
            Codes::Int8 => self.shift_codes(DType::Int8)?,
        }
        match bias {
            Bias::Int32 => self.biases_to_int32(),
            Bias::Float => self.biases_to_float(),
            Bias::Keep => Ok(()),
        }
    }
}
