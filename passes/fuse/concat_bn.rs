//! Fold a normalization of a `Concat` into the convolutions before it.

use super::channels::{Affine, Layer};
use crate::prelude::*;

/// Fuse `BatchNormalization` of a `Concat` of channels into the `Conv` and `ConvTranspose` that the `Concat` puts
/// together.
///
/// Each of them takes the part of the normalization that is its own; it is computed as when one of them alone is
/// normalized.
///
/// *Left alone:* a `Concat` that holds something else than convolutions or that anything else reads, and parameters that
/// are not constant.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FuseConcatBn {}

impl Rule for FuseConcatBn {
    const META: PassMeta = PassMeta::exact("fuse-concat-bn", Family::Fuse);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let concat = p.op_with_any_inputs(&["Concat"]);
        let (scale, shift, mean, var) = (p.constant(), p.constant(), p.constant(), p.constant());
        let bn = p.op("BatchNormalization", (concat, scale, shift, mean, var));

        rule_fn(move |m, rw| {
            let inputs: Vec<ValueId> = m.graph().node_inputs(m.id(concat)).into_iter().flatten().collect();
            let made = |v: ValueId| m.made_by(v, &["Conv", "ConvTranspose"]).filter(|_| m.is_private(v));
            let convs: Vec<NodeId> =
                inputs.iter().map(|&v| made(v)).collect::<Option<_>>().ok_or_else(Skip::no_concern)?;
            let layers: Vec<Layer> = convs.iter().map(|&id| Layer::of(m, id)).collect::<Result<_, _>>()?;
            let rank = layers.first().ok_or_else(Skip::no_concern)?.rank();
            let axis = m.node(concat).attrs.int("axis").unwrap_or(0);
            let affine = Affine::of_norm(m, m.id(bn)).ok_or_else(Skip::no_concern)?;
            let sum: usize = layers.iter().map(|layer| layer.channels).fold(0, usize::saturating_add);
            if sum != affine.scale.len() || (axis != 1 && axis != 1 - rank as i64) {
                return Err(Skip::no_concern());
            }
            let mut parts = Vec::new();
            let mut at = 0;
            for ((layer, &conv), &value) in layers.iter().zip(&convs).zip(&inputs) {
                let own = at..at + layer.channels;
                at = own.end;
                let (k, shift) = (&affine.scale[own.clone()], &affine.shift[own]);
                let bias = layer.bias(m)?;
                let bias: Vec<f64> = bias.iter().zip(k).zip(shift).map(|((b, k), s)| b * k + s).collect();
                let [weight, bias] = layer.rebuild(m, rw, value, Some(k), &bias)?;
                let (node, x) = (m.graph().node(conv), m.graph().node_input(conv, 0));
                parts.push(rw.add(
                    &node.op.name,
                    node.attrs.clone(),
                    [x.into(), weight, bias],
                    m.name(value),
                ));
                rw.remove(conv);
            }
            rw.emit("Concat", m.node(concat).attrs.clone(), parts, m.output(bn, 0)?);
            Ok(())
        })
    }
}
