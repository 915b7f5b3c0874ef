//! Activation functions of one element.

use super::Kernel;
use super::numbers::Numbers;
use super::unary::{numeric, real, sigmoid};
use crate::engine::{EngineError, NodeCall};
use crate::ir::TensorData;

type Outputs = Result<Vec<TensorData>, EngineError>;

pub(super) const TABLE: &[(&str, Kernel)] = &[
    ("Celu", |c| with(c, [("alpha", 1.0)], celu)),
    ("Elu", |c| with(c, [("alpha", 1.0)], |[a], x| if x < 0.0 { a * libm::expm1(x) } else { x })),
    ("Gelu", gelu),
    ("HardSigmoid", |c| with(c, [("alpha", 0.2), ("beta", 0.5)], |[a, b], x| clamp01(a * x + b))),
    ("HardSwish", |c| real(c, |x| x * clamp01(x / 6.0 + 0.5))),
    ("LeakyRelu", |c| with(c, [("alpha", 0.01)], |[a], x| if x < 0.0 { a * x } else { x })),
    ("Mish", |c| real(c, |x| x * libm::tanh(softplus(x)))),
    ("Relu", |c| numeric(c, |x| if x < 0.0 { 0.0 } else { x }, |x| x.max(0))),
    ("Selu", |c| with(c, [("alpha", SELU_ALPHA), ("gamma", SELU_GAMMA)], selu)),
    ("Shrink", shrink),
    ("Sigmoid", |c| real(c, sigmoid)),
    ("Softplus", |c| real(c, softplus)),
    ("Softsign", |c| real(c, |x| x / (1.0 + x.abs()))),
    ("Swish", |c| with(c, [("alpha", 1.0)], |[a], x| x * sigmoid(a * x))),
    ("ThresholdedRelu", |c| with(c, [("alpha", 1.0)], |[a], x| if x > a { x } else { 0.0 })),
];

/// The defaults of the standard, which it writes with these digits.
const SELU_ALPHA: f32 = 1.673_263_2;
const SELU_GAMMA: f32 = 1.050_701;

/// A function with float attributes.
fn with<const N: usize>(
    call: &NodeCall<'_>,
    attrs: [(&str, f32); N],
    f: impl Fn([f64; N], f64) -> f64,
) -> Outputs {
    let mut values = [0.0; N];
    for (value, (name, default)) in values.iter_mut().zip(attrs) {
        *value = f64::from(call.float_or(name, default)?);
    }
    real(call, |x| f(values, x))
}

/// Cut to 0..=1; NaN stays.
pub(super) fn clamp01(x: f64) -> f64 {
    x.clamp(0.0, 1.0)
}

/// `log(1 + exp(x))` without overflow.
pub(super) fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

fn selu([alpha, gamma]: [f64; 2], x: f64) -> f64 {
    gamma * if x > 0.0 { x } else { alpha * libm::expm1(x) }
}

fn gelu(call: &NodeCall<'_>) -> Outputs {
    let half_erfc = |x: f64| 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
    let inner = |x: f64| (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
    match call.str_or("approximate", "none")?.as_str() {
        "none" => real(call, |x| x * half_erfc(x)),
        "tanh" => real(call, |x| 0.5 * x * (1.0 + libm::tanh(inner(x)))),
        other => Err(call.invalid(format_args!("approximate is `{other}`, neither none nor tanh"))),
    }
}

fn celu([a]: [f64; 1], x: f64) -> f64 {
    if x.is_nan() { x } else { x.max(0.0) + (a * libm::expm1(x / a)).min(0.0) }
}

fn shrink(call: &NodeCall<'_>) -> Outputs {
    let (bias, lambda) = (f64::from(call.float_or("bias", 0.0)?), f64::from(call.float_or("lambd", 0.5)?));
    let f = |x: f64| match x {
        _ if x < -lambda => x + bias,
        _ if x > lambda => x - bias,
        _ => 0.0,
    };
    let x = call.need(0)?;
    if let Numbers::Whole(items) = call.numbers(x)? {
        let items: Vec<f64> = items.into_iter().map(|v| f(v as f64)).collect();
        if items.iter().any(|v| v.abs() > 2f64.powi(53)) {
            return Err(call.unsupported("integers beyond 2^53"));
        }
        let whole = super::arithmetic::truncated(call, x.dtype(), &items)?;
        return Ok(vec![call.whole_tensor(x.dtype(), x.dims(), whole)?]);
    }
    real(call, f)
}

#[cfg(test)]
mod tests {
    use super::super::case::{check, f32s, i64s, refused};
    use crate::ir::AttrValue;

    #[test]
    fn activations() {
        let float = |name, x: f32| vec![(name, AttrValue::from(x))];
        let tanh = vec![("approximate", AttrValue::from("tanh"))];
        for (op, attrs, want) in [
            ("Celu", float("alpha", 2.0), [-1.264_241_118, 0.5]),
            ("Elu", float("alpha", 2.0), [-1.729_329_434, 0.5]),
            ("Gelu", vec![], [-0.045_500_264, 0.345_731_231]),
            ("Gelu", tanh, [-0.045_402_306, 0.345_714_010]),
            ("HardSigmoid", vec![], [0.1, 0.6]),
            ("HardSwish", vec![], [-1.0 / 3.0, 0.291_666_667]),
            ("LeakyRelu", float("alpha", 0.5), [-1.0, 0.5]),
            ("Mish", vec![], [-0.252_501_484, 0.375_245_214]),
            ("Relu", vec![], [0.0, 0.5]),
            ("Selu", vec![], [-1.520_166_468, 0.525_350_494]),
            ("Shrink", float("bias", 1.0), [-1.0, 0.0]),
            ("Sigmoid", vec![], [0.119_202_922, 0.622_459_331]),
            ("Softplus", vec![], [0.126_928_011, 0.974_076_984]),
            ("Softsign", vec![], [-2.0 / 3.0, 1.0 / 3.0]),
            ("Swish", float("alpha", 2.0), [-0.035_972_420, 0.365_529_289]),
            ("ThresholdedRelu", float("alpha", 0.25), [0.0, 0.5]),
        ] {
            check(op, &attrs, &[f32s(&[2], &[-2.0, 0.5])], &[2], &want);
        }
        check("Softplus", &[], &[f32s(&[2], &[1000.0, -1000.0])], &[2], &[1000.0, 0.0]);
        let odd = || f32s(&[3], &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
        check("Softsign", &[], &[odd()], &[3], &[f64::NAN; 3]);
        check("Celu", &[], &[odd()], &[3], &[f64::NAN, f64::INFINITY, -1.0]);
        check("Shrink", &[], &[odd()], &[3], &[0.0, f64::INFINITY, f64::NEG_INFINITY]);
        check("Relu", &[], &[i64s(&[2], &[-2, 3])], &[2], &[0.0, 3.0]);
        check("Shrink", &[("bias", 1f32.into())], &[i64s(&[3], &[-2, 0, 3])], &[3], &[-1.0, 0.0, 2.0]);
        refused("Gelu", &[("approximate", "erf".into())], &[f32s(&[1], &[1.0])]);
    }
}
