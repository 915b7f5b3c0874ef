//! Floating-point formats of 16 bits and fewer, to and from `f64`, with one rounding to nearest even.

use crate::ir::DType;

/// How a format spends its sign, exponent and mantissa bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    bits: u32,
    mantissa: u32,
    bias: i64,
    special: Special,
}

/// Which codes of a format are not finite numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Special {
    /// As IEEE 754: the highest exponent holds infinity and NaN.
    Ieee,
    /// NaN in the highest code, no infinity.
    NanOnly,
    /// NaN in the place of negative zero, no infinity.
    NanIsNegativeZero,
    /// Every code is a finite number.
    Finite,
}

const fn format(bits: u32, mantissa: u32, bias: i64, special: Special) -> Format {
    Format { bits, mantissa, bias, special }
}

impl Format {
    /// The format of an element type; `None` for the exponent-only scale and for types that are no small float.
    pub(crate) const fn of(dtype: DType) -> Option<Self> {
        Some(match dtype {
            DType::Float16 => format(16, 10, 15, Special::Ieee),
            DType::Bfloat16 => format(16, 7, 127, Special::Ieee),
            DType::Float8e4m3fn => format(8, 3, 7, Special::NanOnly),
            DType::Float8e4m3fnuz => format(8, 3, 8, Special::NanIsNegativeZero),
            DType::Float8e5m2 => format(8, 2, 15, Special::Ieee),
            DType::Float8e5m2fnuz => format(8, 2, 16, Special::NanIsNegativeZero),
            DType::Float4e2m1 => format(4, 1, 1, Special::Finite),
            DType::Float6e2m3 => format(6, 3, 1, Special::Finite),
            DType::Float6e3m2 => format(6, 2, 3, Special::Finite),
            _ => return None,
        })
    }

    fn sign(self) -> u64 {
        1 << (self.bits - 1)
    }

    fn infinity(self) -> u64 {
        self.sign() - (1 << self.mantissa)
    }

    fn largest(self) -> u64 {
        match self.special {
            Special::Ieee => self.infinity() - 1,
            Special::NanOnly => self.sign() - 2,
            Special::NanIsNegativeZero | Special::Finite => self.sign() - 1,
        }
    }

    fn nan(self) -> Option<u64> {
        match self.special {
            Special::Ieee if self.bits == 8 => Some(self.sign() - 1),
            Special::Ieee => Some(self.infinity() | 1 << (self.mantissa - 1)),
            Special::NanOnly => Some(self.sign() - 1),
            Special::NanIsNegativeZero => Some(self.sign()),
            Special::Finite => None,
        }
    }

    /// The number behind a code.
    pub(crate) fn decode(self, code: u64) -> f64 {
        let magnitude = code & (self.sign() - 1);
        let sign = if code & self.sign() == 0 { 1.0 } else { -1.0 };
        match self.special {
            Special::Ieee if magnitude == self.infinity() => return sign * f64::INFINITY,
            Special::Ieee if magnitude > self.infinity() => return f64::NAN.copysign(sign),
            Special::NanOnly if magnitude > self.largest() => return f64::NAN.copysign(sign),
            Special::NanIsNegativeZero if code == self.sign() => return f64::NAN,
            _ => {}
        }
        let fraction = magnitude & ((1 << self.mantissa) - 1);
        let (significand, exponent) = match (magnitude >> self.mantissa) as i64 {
            0 => (fraction, 1),
            exponent => (fraction | 1 << self.mantissa, exponent),
        };
        sign * significand as f64 * power_of_two(exponent - self.bias - i64::from(self.mantissa))
    }

    /// The code of the nearest number, ties to even. What lies beyond the largest finite number becomes that number
    /// where `saturate` is set or the format has nothing else, otherwise infinity or NaN. `None` for a NaN that the
    /// format lacks.
    pub(crate) fn encode(self, x: f64, saturate: bool) -> Option<u64> {
        let sign = if x.is_sign_negative() { self.sign() } else { 0 };
        if x.is_nan() {
            return self.nan().map(|nan| nan | sign);
        }
        let magnitude = if x.is_infinite() { u64::MAX } else { self.round(x.abs()) };
        Some(match self.special {
            Special::NanIsNegativeZero if magnitude == 0 => 0,
            _ if magnitude <= self.largest() => magnitude | sign,
            _ if saturate => self.largest() | sign,
            Special::Ieee => self.infinity() | sign,
            Special::NanOnly => (self.sign() - 1) | sign,
            Special::NanIsNegativeZero => self.sign(),
            Special::Finite => self.largest() | sign,
        })
    }

    /// The code of a finite magnitude as if there were no largest exponent.
    fn round(self, x: f64) -> u64 {
        let lowest = 1 - self.bias;
        let exponent = exponent_of(x).max(lowest);
        let steps = (x * power_of_two(i64::from(self.mantissa) - exponent)).round_ties_even();
        (((exponent - lowest) as u64) << self.mantissa) + steps as u64
    }
}

/// How a number that is no power of two becomes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ScaleRounding {
    /// Away from zero.
    #[default]
    Up,
    /// Towards zero.
    Down,
    /// To the nearest, ties up.
    Nearest,
}

const SCALE_BIAS: i64 = 127;
const SCALE_NAN: u64 = 0xff;

/// The power of two behind a code of `float8e8m0`.
pub(crate) fn decode_scale(code: u64) -> f64 {
    if code == SCALE_NAN { f64::NAN } else { power_of_two(code as i64 - SCALE_BIAS) }
}

/// The code of `float8e8m0` for a number; `None` where the standard says nothing.
pub(crate) fn encode_scale(x: f64, saturate: bool, rounding: ScaleRounding) -> Option<u64> {
    let largest = SCALE_NAN - 1;
    if x.is_nan() {
        return Some(SCALE_NAN);
    }
    if x.is_sign_negative() {
        return None;
    }
    if x.is_infinite() {
        return Some(if saturate { largest } else { SCALE_NAN });
    }
    let exponent = if x == 0.0 { i64::MIN / 2 } else { exponent_of(x) };
    let above = if x == 0.0 { 1.0 } else { x * power_of_two(-exponent) };
    let up = match rounding {
        ScaleRounding::Up => above > 1.0,
        ScaleRounding::Down => false,
        ScaleRounding::Nearest => above >= 1.5,
    };
    match exponent + i64::from(up) + SCALE_BIAS {
        code @ 0..=0xfe => Some(code as u64),
        _ if !saturate => Some(SCALE_NAN),
        code => Some(if code < 0 { 0 } else { largest }),
    }
}

/// The exponent of a normal number; that of zero and subnormals lies below every format here.
fn exponent_of(x: f64) -> i64 {
    ((x.to_bits() >> 52) & 0x7ff) as i64 - 1023
}

fn power_of_two(exponent: i64) -> f64 {
    2f64.powi(exponent as i32)
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    fn of(dtype: DType) -> Format {
        Format::of(dtype).unwrap()
    }

    #[test]
    fn every_code_comes_back() {
        for &dtype in DType::ALL {
            let Some(format) = Format::of(dtype) else { continue };
            for code in 0..1u64 << format.bits {
                let x = format.decode(code);
                if x.is_nan() {
                    assert!(format.decode(format.encode(x, true).unwrap()).is_nan());
                } else {
                    assert_eq!(format.encode(x, false), Some(code), "{dtype} {code:#x} {x}");
                }
            }
        }
        for code in 0..0xff {
            assert_eq!(encode_scale(decode_scale(code), false, ScaleRounding::Nearest), Some(code));
        }
    }

    #[test]
    fn wide_formats_agree_with_the_crate_for_them() {
        for code in (0..=u16::MAX).step_by(7) {
            let (a, b) = (of(DType::Float16).decode(code.into()), f16::from_bits(code).to_f64());
            assert!(a.total_cmp(&b).is_eq() || a.is_nan() && b.is_nan());
            let (a, b) = (of(DType::Bfloat16).decode(code.into()), bf16::from_bits(code).to_f64());
            assert!(a.total_cmp(&b).is_eq() || a.is_nan() && b.is_nan());
        }
        for x in [1.0f32, 65519.0, 65520.0, 1e-7, 3e-8, 0.1, -2.000_5, 1e-45, 3.4e38] {
            assert_eq!(of(DType::Float16).encode(x.into(), false), Some(f16::from_f32(x).to_bits().into()));
            assert_eq!(of(DType::Bfloat16).encode(x.into(), false), Some(bf16::from_f32(x).to_bits().into()));
        }
    }

    #[test]
    fn rounds_once() {
        // Just above the middle of two neighbours: rounding to 32 bits first would land on the tie.
        let x = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
        assert_eq!(of(DType::Float16).encode(x, false), Some(0x3c01));
    }

    #[test]
    fn overflow_follows_the_tables() {
        use DType::{
            Float4e2m1, Float6e2m3, Float6e3m2, Float8e4m3fn, Float8e4m3fnuz, Float8e5m2, Float8e5m2fnuz,
        };
        let cases = [
            (Float8e4m3fn, 464.0, 0x7e, 0x7e),
            (Float8e4m3fn, 465.0, 0x7e, 0x7f),
            (Float8e4m3fn, f64::NEG_INFINITY, 0xfe, 0xff),
            (Float8e4m3fnuz, 1e6, 0x7f, 0x80),
            (Float8e4m3fnuz, -0.0, 0, 0),
            (Float8e5m2, 1e6, 0x7b, 0x7c),
            (Float8e5m2fnuz, f64::INFINITY, 0x7f, 0x80),
            (Float4e2m1, 7.0, 7, 7),
            (Float4e2m1, -5.0, 0xe, 0xe),
            (Float6e2m3, 9.0, 0x1f, 0x1f),
            (Float6e3m2, -29.0, 0x3f, 0x3f),
        ];
        for (dtype, x, saturated, plain) in cases {
            assert_eq!(of(dtype).encode(x, true), Some(saturated), "{dtype} {x}");
            assert_eq!(of(dtype).encode(x, false), Some(plain), "{dtype} {x}");
        }
        assert_eq!(of(Float4e2m1).encode(f64::NAN, true), None);
    }

    #[test]
    fn scales_round_as_told() {
        use ScaleRounding::{Down, Nearest, Up};
        assert_eq!(
            [Up, Down, Nearest].map(|r| encode_scale(1.5, true, r)),
            [Some(128), Some(127), Some(128)]
        );
        assert_eq!(
            [Up, Down, Nearest].map(|r| encode_scale(1.25, true, r)),
            [Some(128), Some(127), Some(127)]
        );
        assert_eq!(encode_scale(0.0, true, Up), Some(0));
        assert_eq!(encode_scale(0.0, false, Nearest), Some(0xff));
        assert_eq!(encode_scale(f64::INFINITY, true, Up), Some(0xfe));
        assert_eq!(encode_scale(-1.0, true, Up), None);
    }
}
