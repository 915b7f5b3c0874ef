//! Fold arithmetic with channel constants into the convolution before it.

use super::channels::Layer;
use crate::prelude::*;

/// Fuse `Conv` or `ConvTranspose` followed by `Add`, `Sub`, `Mul` or `Div` with one constant per output channel (or one
/// for all) into one operator.
///
/// `y + c`, `y - c`, `c - y`, `y * c` and `y / c` become a scaled weight and a new bias, computed in f64 and rounded
/// once.
///
/// *Left alone:* a constant that varies along another axis than the channels, or that would widen the result; `c / y`;
/// and a convolution whose result is read by anything else.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FuseConvAffine {}

impl Rule for FuseConvAffine {
    const META: PassMeta = PassMeta::exact("fuse-conv-affine", Family::Fuse);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let (x, w, b, c) = (p.any(), p.constant(), p.optional(), p.constant());
        let conv = p.one_of(&["Conv", "ConvTranspose"], (x, w, b));
        let affine = p.commutative(&["Add", "Sub", "Mul", "Div"], conv, c);

        rule_fn(move |m, rw| {
            let layer = Layer::of(m, m.id(conv))?;
            let c = per_channel(m.tensor(c), m.tensor(w).rank(), layer.channels)?;
            let bias = layer.bias(m)?;
            let conv_first = m.input(affine, 0)? == m.output(conv, 0)?;
            let both = |f: &dyn Fn(f64, f64) -> f64| {
                bias.iter().zip(&c).map(|(&b, &c)| f(b, c)).collect::<Vec<f64>>()
            };
            let (scale, bias) = match (&*m.node(affine).op.name, conv_first) {
                ("Add", _) => (None, both(&|b, c| b + c)),
                ("Sub", true) => (None, both(&|b, c| b - c)),
                ("Sub", false) => (Some(vec![-1.0; layer.channels]), both(&|b, c| c - b)),
                ("Mul", _) => (Some(c.clone()), both(&|b, c| b * c)),
                ("Div", true) => (Some(c.iter().map(|c| 1.0 / c).collect()), both(&|b, c| b / c)),
                _ => return Err(Skip::because("the constant is divided by the result")),
            };
            let output = m.output(affine, 0)?;
            let [weight, bias] = layer.rebuild(m, rw, output, scale.as_deref(), &bias)?;
            let conv = m.node(conv);
            rw.emit(&conv.op.name, conv.attrs.clone(), [m.value(x).into(), weight, bias], output);
            Ok(())
        })
    }
}

/// The constant as one number per channel of a result of rank `rank`, whose channels are axis 1.
pub(super) fn per_channel(c: &TensorData, rank: usize, channels: usize) -> Result<Vec<f64>, Skip> {
    let values = c.to_f64s().ok_or_else(|| Skip::because("the constant is not floating point"))?;
    Skip::unless(c.rank() <= rank, "the constant has more dims than the result")?;
    let axis = |from_back: usize| {
        c.rank().checked_sub(from_back).and_then(|at| c.dims().get(at)).copied().unwrap_or(1)
    };
    let channel_dim = axis(rank - 1);
    let others_are_one = values.len() as u64 == channel_dim;
    Skip::unless(others_are_one, "the constant varies along another axis than the channels")?;
    match values.as_slice() {
        &[one] => Ok(vec![one; channels]),
        _ if values.len() == channels => Ok(values),
        _ => Err(Skip::because("the constant would widen the result")),
    }
}
