//! Recognize `Gelu`.

use super::terms::{Poly, Product, close, supported};
use crate::prelude::*;

/// Fuse the operators of a Gaussian error linear unit into `Gelu`, where the opset that is written has it (20).
///
/// `x/2 * (1 + Erf(x / √2))`, and its approximation `x/2 * (1 + Tanh(√(2/π) * (x + 0.044715 x³)))`, however their numbers
/// are arranged: as factors or divisors, first or last, the cube as `Pow` or as products. Numbers have to be as near as
/// four units in the last place of the element type.
///
/// *Left alone:* an older opset, a runtime that the profile says has none (`lacks`), and parts that something else reads.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FuseGelu {}

/// The coefficient of the cube, as the paper has it.
const CUBE: f64 = 0.044_715;

impl Rule for FuseGelu {
    const META: PassMeta = PassMeta::exact("fuse-gelu", Family::Fuse);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let root = p.op_with_any_inputs(&["Mul", "Div"]);

        rule_fn(move |m, rw| {
            let product = Product::of_root(m).ok_or_else(Skip::no_concern)?;
            for (x, gate) in product.pairs().into_iter().flatten() {
                let Some((approximate, inner)) = gelu(m, x, gate, product.scale) else { continue };
                supported(m, "Gelu", x)?;
                let attrs = if approximate { Attrs::new().with("approximate", "tanh") } else { Attrs::new() };
                inner.iter().chain(&product.inner).for_each(|&node| rw.remove(node));
                rw.emit("Gelu", attrs, [x.into()], m.output(root, 0)?);
                return Ok(());
            }
            Err(Skip::no_concern())
        })
    }
}

/// Whether `scale * x * gate` is a Gelu of `x`: the approximate one or not, and the operators of the gate.
fn gelu(m: &Match<'_>, x: ValueId, gate: ValueId, scale: f64) -> Option<(bool, Vec<NodeId>)> {
    let dtype = m.dtype(x)?;
    let outer = Poly::of(m, gate);
    let (offset, slope, function) = outer.line()?;
    let halves = close(offset * scale, 0.5, dtype) && close(slope * scale, 0.5, dtype);
    let node = m.made_by(function, &["Erf", "Tanh"]).filter(|_| halves && m.is_private(function))?;
    let mut argument = Poly::of(m, m.graph().node_input(node, 0)?);
    if argument.leaf != Some(x) {
        return None;
    }
    let approximate = m.graph().node(node).is("Tanh");
    let root = std::f64::consts::FRAC_2_PI.sqrt();
    let wanted = if approximate {
        [0.0, root, 0.0, root * CUBE]
    } else {
        [0.0, std::f64::consts::FRAC_1_SQRT_2, 0.0, 0.0]
    };
    let same = argument.c.iter().zip(wanted).all(|(&found, wanted)| close(found, wanted, dtype));
    argument.inner.extend(outer.inner);
    argument.inner.push(node);
    same.then_some((approximate, argument.inner))
}
