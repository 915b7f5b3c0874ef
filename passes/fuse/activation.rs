//! Recognize activation functions.

use super::terms::{Poly, Product, attribute, close, supported};
use crate::prelude::*;

/// Fuse the operators of an activation function into one operator, where the opset that is written has it.
///
/// * `Sigmoid`: `1 / (1 + Exp(-x))`
/// * `Swish` (24): `x * Sigmoid(a * x)`, and `x / (1 + Exp(-x))`
/// * `Mish` (18): `x * Tanh(Softplus(x))`
/// * `Softsign`: `x / (1 + Abs(x))`
/// * `LeakyRelu`: `Max(x, a * x)` with `a` between 0 and 1
///
/// Numbers have to be as near as four units in the last place of the element type.
///
/// *Left alone:* an older opset, what the profile of the target `lacks`, element types that few runtimes have, parts that
/// something else reads, and `Log(1 + Exp(x))`, which overflows where `Softplus` does not.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FuseActivation {}

/// The operator that a subgraph is, and what vanishes for it.
struct Found {
    op: &'static str,
    x: ValueId,
    alpha: Option<f64>,
    inner: Vec<NodeId>,
}

/// The newest opset whose functions onnxruntime 1.32 takes apart.
const KNOWN: i64 = 26;

impl Rule for FuseActivation {
    const META: PassMeta = PassMeta::exact("fuse-activation", Family::Fuse);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let root = p.op_with_any_inputs(&["Mul", "Div", "Reciprocal", "Max"]);

        rule_fn(move |m, rw| {
            let found = match &*m.node(root).op.name {
                "Mul" => gated(m),
                "Max" => leaky(m),
                _ => divided(m),
            };
            let Found { op, x, alpha, inner } = found.ok_or_else(Skip::no_concern)?;
            let dtype = supported(m, op, x)?;
            // Runtimes put the parts of a function of the standard in its place where they have no kernel, in an opset that
            // they know.
            let function = matches!(op, "Swish" | "Mish");
            Skip::unless(
                !function || m.target().opset("").is_none_or(|opset| opset <= KNOWN),
                "runtimes do not know the opset well yet",
            )?;
            let common = function || matches!(dtype, DType::Float | DType::Float16);
            Skip::unless(common, "few runtimes have the activation in this element type")?;
            let attrs = match alpha {
                None | Some(1.0) => Attrs::new(),
                Some(alpha) => {
                    let alpha = attribute(alpha, dtype);
                    Attrs::new().with("alpha", alpha.ok_or_else(|| Skip::because("a number is no float"))?)
                }
            };
            inner.into_iter().for_each(|node| rw.remove(node));
            rw.emit(op, attrs, [x.into()], m.output(root, 0)?);
            Ok(())
        })
    }
}

/// `x * Sigmoid(a * x)` and `x * Tanh(Softplus(x))`.
fn gated(m: &Match<'_>) -> Option<Found> {
    let product = Product::of_root(m)?;
    for (x, gate) in product.pairs()? {
        let private = |value: ValueId, op: &str| m.made_by(value, &[op]).filter(|_| m.is_private(value));
        let input = |node: NodeId| m.graph().node_input(node, 0);
        if !close(product.scale, 1.0, m.dtype(x)?) {
            return None;
        }
        let mut inner = product.inner.clone();
        if let Some(sigmoid) = private(gate, "Sigmoid") {
            let argument = Poly::of(m, input(sigmoid)?);
            if let Some((0.0, alpha, leaf)) = argument.line()
                && leaf == x
            {
                inner.extend(argument.inner.into_iter().chain([sigmoid]));
                return Some(Found { op: "Swish", x, alpha: Some(alpha), inner });
            }
        }
        if let Some(tanh) = private(gate, "Tanh")
            && let Some(softplus) = private(input(tanh)?, "Softplus")
            && input(softplus)? == x
        {
            inner.extend([softplus, tanh]);
            return Some(Found { op: "Mish", x, alpha: None, inner });
        }
    }
    None
}

/// One, or `x`, over one more than `Exp(-x)` or `Abs(x)`.
fn divided(m: &Match<'_>) -> Option<Found> {
    let slot = |slot: usize| m.graph().node_input(m.root(), slot);
    let reciprocal = m.graph().node(m.root()).is("Reciprocal");
    let (above, below) = if reciprocal { (None, slot(0)?) } else { (slot(0), slot(1)?) };
    let sum = Poly::of(m, below);
    let (offset, slope, function) = sum.line()?;
    let node = m.made_by(function, &["Exp", "Abs"]).filter(|_| m.is_private(function))?;
    let argument = m.graph().node_input(node, 0)?;
    let dtype = m.dtype(argument)?;
    if !close(offset, 1.0, dtype) || !close(slope, 1.0, dtype) {
        return None;
    }
    let mut inner = sum.inner;
    inner.push(node);
    if m.graph().node(node).is("Abs") {
        return (above == Some(argument)).then_some(Found {
            op: "Softsign",
            x: argument,
            alpha: None,
            inner,
        });
    }
    let argument = Poly::of(m, argument);
    let Some((0.0, -1.0, x)) = argument.line() else { return None };
    inner.extend(argument.inner);
    if above == Some(x) {
        return Some(Found { op: "Swish", x, alpha: None, inner });
    }
    // A vector of ones could widen the result.
    let one =
        |v: ValueId| m.constant_of(v).filter(|c| c.rank() == 0).and_then(TensorData::to_f64) == Some(1.0);
    above.is_none_or(one).then_some(Found { op: "Sigmoid", x, alpha: None, inner })
}

/// `Max(x, a * x)`.
fn leaky(m: &Match<'_>) -> Option<Found> {
    let inputs: Vec<ValueId> = m.graph().node_inputs(m.root()).into_iter().flatten().collect();
    let &[a, b] = inputs.as_slice() else { return None };
    for (x, scaled) in [(a, b), (b, a)] {
        let scaled = Poly::of(m, scaled);
        if let Some((0.0, alpha, leaf)) = scaled.line()
            && leaf == x
            && alpha > 0.0
            && alpha < 1.0
        {
            return Some(Found { op: "LeakyRelu", x, alpha: Some(alpha), inner: scaled.inner });
        }
    }
    None
}
