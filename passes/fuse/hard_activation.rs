//! Recognize `HardSigmoid` and `HardSwish`.

use super::terms::{Poly, Product, attribute, close, supported};
use crate::prelude::*;

/// Fuse the operators of a piecewise linear activation into `HardSigmoid` or `HardSwish` (14).
///
/// * `HardSigmoid`: `Clip(a * x + b, 0, 1)`, and `Clip(x + 3, 0, 6) / 6` with any numbers that come to the same
/// * `HardSwish`: `x * Clip(x + 3, 0, 6) / 6` in any order, and `x * HardSigmoid(x)` with a slope of 1/6 and an offset
///   of 1/2. Where the target has no `HardSwish`, the first becomes `HardSigmoid` and `Mul`.
///
/// Numbers have to be as near as four units in the last place of the element type.
///
/// *Left alone:* what the profile of the target `lacks`, element types that few runtimes have, and parts that something else reads.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FuseHardActivation {}

/// `Clip(slope * x + offset, 0, 1)`, and the operators that compute it.
struct Ramp {
    x: ValueId,
    slope: f64,
    offset: f64,
    inner: Vec<NodeId>,
}

impl Rule for FuseHardActivation {
    const META: PassMeta = PassMeta::exact("fuse-hard-activation", Family::Fuse);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let root = p.op_with_any_inputs(&["Clip", "Mul", "Div"]);

        rule_fn(move |m, rw| {
            let output = m.output(root, 0)?;
            if let Some((ramp, was_one)) = swish(m) {
                let dtype = common(m, "HardSigmoid", ramp.x)?;
                if m.target().supports_type("HardSwish", dtype) {
                    ramp.inner.iter().for_each(|&node| rw.remove(node));
                    rw.emit("HardSwish", Attrs::new(), [ramp.x.into()], output);
                    return Ok(());
                }
                Skip::unless(!was_one, "the target has no HardSwish")?;
                ramp.inner.iter().for_each(|&node| rw.remove(node));
                let attrs = attrs(&ramp, dtype)?;
                let gate = rw.add("HardSigmoid", attrs, [ramp.x.into()], format!("{}_gate", m.name(output)));
                rw.emit("Mul", Attrs::new(), [ramp.x.into(), gate], output);
                return Ok(());
            }
            let ramp = if m.node(root).is("Clip") { ramp(m, m.root(), 1.0) } else { scaled(m) };
            let ramp = ramp.filter(|ramp| ramp.inner.len() > 1).ok_or_else(Skip::no_concern)?;
            let dtype = common(m, "HardSigmoid", ramp.x)?;
            rw.emit("HardSigmoid", attrs(&ramp, dtype)?, [ramp.x.into()], output);
            ramp.inner.into_iter().for_each(|node| rw.remove(node));
            Ok(())
        })
    }
}

fn common(m: &Match<'_>, op: &str, x: ValueId) -> Result<DType, Skip> {
    let dtype = supported(m, op, x)?;
    let common = matches!(dtype, DType::Float | DType::Float16);
    Skip::unless(common, "few runtimes have the activation in this element type")?;
    Ok(dtype)
}

fn attrs(ramp: &Ramp, dtype: DType) -> Result<Attrs, Skip> {
    let number = |x: f64| attribute(x, dtype).ok_or_else(|| Skip::because("a number is no float"));
    Ok(Attrs::new().with("alpha", number(ramp.slope)?).with("beta", number(ramp.offset)?))
}

/// A `Clip` to 0 and the inverse of `scale`, as what it is times `scale`. The `Clip` is counted among its operators.
fn ramp(m: &Match<'_>, clip: NodeId, scale: f64) -> Option<Ramp> {
    let bound = |slot: usize| m.graph().constant_input(clip, slot)?.to_f64();
    let argument = Poly::of(m, m.graph().node_input(clip, 0)?);
    let (offset, slope, x) = argument.line()?;
    let unit = bound(1)? == 0.0 && close(bound(2)? * scale, 1.0, m.dtype(x)?);
    let mut inner = argument.inner;
    inner.push(clip);
    unit.then_some(Ramp { x, slope: slope * scale, offset: offset * scale, inner })
}

/// A `Clip` times a number, which is the root.
fn scaled(m: &Match<'_>) -> Option<Ramp> {
    let line = Poly::of_root(m)?;
    let (0.0, scale, leaf) = line.line()? else { return None };
    let clip = m.made_by(leaf, &["Clip"]).filter(|_| m.is_private(leaf))?;
    let mut ramp = ramp(m, clip, scale)?;
    ramp.inner.extend(line.inner);
    Some(ramp)
}

/// Whether the root is a `HardSwish`; and whether what it multiplies was a `HardSigmoid` already.
fn swish(m: &Match<'_>) -> Option<(Ramp, bool)> {
    if m.graph().node(m.root()).is("Clip") {
        return None;
    }
    let product = Product::of_root(m)?;
    for (x, gate) in product.pairs()? {
        let Some(node) = m.made_by(gate, &["Clip", "HardSigmoid"]).filter(|_| m.is_private(gate)) else {
            continue;
        };
        let dtype = m.dtype(x)?;
        let was_one = m.graph().node(node).is("HardSigmoid");
        let ramp = if was_one {
            let (number, input) = (&m.graph().node(node).attrs, m.graph().node_input(node, 0)?);
            let (slope, offset) = (number.float("alpha").unwrap_or(0.2), number.float("beta").unwrap_or(0.5));
            let alone = close(product.scale, 1.0, dtype);
            let (slope, offset) = (f64::from(slope), f64::from(offset));
            alone.then(|| Ramp { x: input, slope, offset, inner: vec![node] })
        } else {
            ramp(m, node, product.scale)
        };
        let Some(mut ramp) = ramp else { continue };
        if ramp.x == x && close(ramp.slope, 1.0 / 6.0, dtype) && close(ramp.offset, 0.5, dtype) {
            ramp.inner.extend(&product.inner);
            return Some((ramp, was_one));
        }
    }
    None
}
