//! Rounding to the 16-bit element types, once.

use half::{bf16, f16};

/// The nearest `float16`, ties to even, rounded once: a plain conversion may go through `float` and round twice.
pub(crate) fn f16_from(x: f64) -> f16 {
    f16::from_f32(round_to_odd(x))
}

/// The nearest `bfloat16`, ties to even, rounded once.
pub(crate) fn bf16_from(x: f64) -> bf16 {
    bf16::from_f32(round_to_odd(x))
}

/// A `float` that rounds to any narrower type as `x` itself does: where inexact, its last bit is set.
// Exact equality is the question.
#[allow(clippy::float_cmp)]
fn round_to_odd(x: f64) -> f32 {
    let near = x as f32;
    if f64::from(near) == x || x.is_nan() || x.is_infinite() {
        return near;
    }
    let below = if f64::from(near).abs() > x.abs() { near.to_bits() - 1 } else { near.to_bits() };
    f32::from_bits(below | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_once_to_sixteen_bits() {
        let tie = 1.0 + 2f64.powi(-11);
        let nudge = 2f64.powi(-40);
        for (x, bits) in [
            (tie, 0x3c00),
            (tie + nudge, 0x3c01),
            (tie - nudge, 0x3c00),
            (-tie - nudge, 0xbc01),
            (65_519.999_999_999, 0x7bff),
            (65_520.0, 0x7c00),
            (1e300, 0x7c00),
            (f64::NEG_INFINITY, 0xfc00),
            (2f64.powi(-25), 0),
            (2f64.powi(-25) + 2f64.powi(-70), 1),
            (-1e-300, 0x8000),
        ] {
            assert_eq!(f16_from(x).to_bits(), bits, "{x}");
        }
        let tie = 1.0 + 2f64.powi(-8);
        assert_eq!(bf16_from(tie).to_bits(), 0x3f80);
        assert_eq!(bf16_from(tie + nudge).to_bits(), 0x3f81);
        assert!(f16_from(f64::NAN).is_nan() && bf16_from(f64::NAN).is_nan());
    }
}
