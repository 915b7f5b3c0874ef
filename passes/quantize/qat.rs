//! Taking over what fake quantization in training has found.

use crate::prelude::*;

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
/// All of this is exact but for the rounding of a scale. With `bias: int32` biases are rounded too, each by half a step
/// of its accumulator at most, so that a step with it counts as lossy. Runtimes ask for it: onnxruntime fuses a layer
/// with a float bias from about version 1.20 on only, and a `Gemm` that gives floats never; and it takes an int32 bias
/// for one on the product of both scales, whatever its own scale says.
///
/// *Left alone:* what has other readers, parameters that are not constant, a normalization whose input is quantized
/// already, and weights with scales for blocks or along another axis.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImportQat {
    /// How constant biases of quantized layers are stored.
    pub bias: Bias,
}

/// How biases are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bias {
    /// As int32 on the product of the scales of the input and the weight.
    #[default]
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
        if self.bias == Bias::Int32 { &LOSSY } else { &EXACT }
    }

    fn heeds_selectors(&self) -> bool {
        true
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        each_bare_graph(model, cx, &mut |scope, cx| {
            let mut editor = Editor { scope, cx, summary: &mut summary, pass: ID };
            editor.merge_duplicates()?;
            editor.store_codes()?;
            editor.fold_affines()?;
            editor.drop_saturated()?;
            editor.move_past_activations()?;
            editor.drop_round_trips()?;
            editor.arrange_codes()?;
            match self.bias {
                Bias::Int32 => editor.biases_to_int32(),
                Bias::Float => editor.biases_to_float(),
                Bias::Keep => Ok(()),
            }
        })?;
        Ok(summary)
    }
}
