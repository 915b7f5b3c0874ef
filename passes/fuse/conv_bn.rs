//! Fold an inference-mode `BatchNormalization` into the `Conv` that feeds it.

use super::channels::Layer;
use crate::prelude::*;

/// Fuse `Conv` or `ConvTranspose` followed by `BatchNormalization` into one operator.
///
/// With `k = scale / sqrt(var + epsilon)` per output channel, the fused weight is `w * k` and the fused bias is
/// `(b - mean) * k + shift`, computed in f64 and rounded once.
///
/// *Left alone:* normalization in training mode, parameters that are not constant or whose lengths are not the number
/// of output channels, and a convolution whose result is read by anything else.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FuseConvBn {}

impl Rule for FuseConvBn {
    const META: PassMeta = PassMeta::exact("fuse-conv-bn", Family::Fuse);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let (x, w, b) = (p.any(), p.constant(), p.optional());
        let (scale, shift, mean, var) = (p.constant(), p.constant(), p.constant(), p.constant());
        let conv = p.one_of(&["Conv", "ConvTranspose"], (x, w, b));
        let bn = p.op("BatchNormalization", (conv, scale, shift, mean, var));

        rule_fn(move |m, rw| {
            let training = m.node(bn).attrs.int("training_mode").unwrap_or(0) != 0;
            let extra = (1..5).any(|slot| m.output_is_used(bn, slot));
            Skip::unless(!training && !extra, "normalization runs in training mode")?;

            let layer = Layer::of(m, m.id(conv))?;
            let (scale, shift, mean, var) = (m.f64s(scale)?, m.f64s(shift)?, m.f64s(mean)?, m.f64s(var)?);
            let widths = [scale.len(), shift.len(), mean.len(), var.len()];
            Skip::unless(widths.iter().all(|&n| n == layer.channels), "the number of channels differs")?;
            let bias = layer.bias(m)?;

            let epsilon = f64::from(m.node(bn).attrs.float("epsilon").unwrap_or(1e-5));
            let k: Vec<f64> = scale.iter().zip(&var).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
            let bias: Vec<f64> = (0..layer.channels).map(|c| (bias[c] - mean[c]) * k[c] + shift[c]).collect();

            let output = m.output(bn, 0)?;
            let [weight, bias] = layer.rebuild(m, rw, output, Some(&k), &bias)?;
            let conv = m.node(conv);
            rw.emit(&conv.op.name, conv.attrs.clone(), [m.value(x).into(), weight, bias], output);
            Ok(())
        })
    }
}
