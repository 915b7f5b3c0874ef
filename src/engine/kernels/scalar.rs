//! Elements as numbers, exactly: integers of up to 64 bits and floating-point numbers of every width.

use super::minifloat::{Format, ScaleRounding, decode_scale, encode_scale};
use crate::ir::DType;

/// The value of one element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar {
    /// Of an integer or boolean.
    Int(i128),
    /// Of a floating-point number.
    Float(f64),
}

/// What becomes of values that an element type cannot hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounding {
    /// Whether 8-bit floats take their largest number instead of infinity or NaN.
    pub(crate) saturate: bool,
    /// How powers of two are reached.
    pub(crate) scale: ScaleRounding,
}

impl Default for Rounding {
    fn default() -> Self {
        Self { saturate: true, scale: ScaleRounding::Up }
    }
}

/// Whether elements of this type are numbers (or booleans) that a [`Scalar`] holds.
pub(crate) const fn is_numeric(dtype: DType) -> bool {
    !matches!(dtype, DType::String | DType::Complex64 | DType::Complex128)
}

/// The value of one element, from the bytes of its cell; zero for a type that is not numeric.
pub(crate) fn load(dtype: DType, cell: &[u8]) -> Scalar {
    let mut le = [0u8; 8];
    let len = cell.len().min(8);
    le[..len].copy_from_slice(&cell[..len]);
    let code = u64::from_le_bytes(le);
    match dtype {
        DType::Float => Scalar::Float(f32::from_bits(code as u32).into()),
        DType::Double => Scalar::Float(f64::from_bits(code)),
        DType::Float8e8m0 => Scalar::Float(decode_scale(code)),
        DType::Bool => Scalar::Int((code != 0).into()),
        _ if dtype.is_int() => Scalar::Int(wrap(dtype, code.into())),
        _ => Scalar::Float(Format::of(dtype).map_or(0.0, |f| f.decode(code))),
    }
}

/// The code of the element of this type that a value becomes; `None` where the standard leaves that undefined (or
/// where the implementations of it disagree).
pub(crate) fn encode(dtype: DType, value: Scalar, rounding: Rounding) -> Option<u64> {
    if dtype == DType::Bool {
        return Some(match value {
            Scalar::Int(x) => u64::from(x != 0),
            Scalar::Float(x) => u64::from(x != 0.0),
        });
    }
    if dtype.is_int() {
        let x = match value {
            Scalar::Int(x) => x,
            Scalar::Float(x) => truncate(dtype, x)?,
        };
        return Some(x as u64 & (u64::MAX >> (64 - dtype.bits())));
    }
    if let (DType::Float, Scalar::Int(x)) = (dtype, value) {
        return Some((x as f32).to_bits().into());
    }
    if let (DType::Double, Scalar::Int(x)) = (dtype, value) {
        return Some((x as f64).to_bits());
    }
    let x = match value {
        Scalar::Int(x) => sticky(x),
        Scalar::Float(x) => x,
    };
    match dtype {
        DType::Float => Some((x as f32).to_bits().into()),
        DType::Double => Some(x.to_bits()),
        DType::Float8e8m0 => encode_scale(x, rounding.saturate, rounding.scale),
        _ => Format::of(dtype)?.encode(x, rounding.saturate && dtype.bits() <= 8),
    }
}

/// A number rounded to a floating-point type, kept as it is for any other.
pub(crate) fn round_to(dtype: DType, x: f64) -> f64 {
    match dtype {
        DType::Float => (x as f32).into(),
        _ => match Format::of(dtype) {
            Some(f) => f.encode(x, false).map_or(f64::NAN, |code| f.decode(code)),
            None => x,
        },
    }
}

/// The integer that an integer type holds after it has dropped the bits that it has no room for.
pub(crate) fn wrap(dtype: DType, x: i128) -> i128 {
    let spare = 128 - dtype.bits() as u32;
    let high = x << spare;
    if dtype.is_signed_int() { high >> spare } else { (high as u128 >> spare) as i128 }
}

/// The smallest and the largest integer of an integer type.
pub(crate) fn range(dtype: DType) -> (i128, i128) {
    let bits = dtype.bits() as u32;
    if dtype.is_signed_int() { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

/// A float towards zero, where all implementations of the standard give the same integer: below a byte they differ
/// on fractions; out of range, the narrow types agree on the low bits of the 32-bit integer.
fn truncate(dtype: DType, x: f64) -> Option<i128> {
    let whole = x.trunc();
    if !x.is_finite() || (dtype.bits() < 8 && x.fract() != 0.0) {
        return None;
    }
    let (low, high) = if dtype.bits() < 32 { range(DType::Int32) } else { range(dtype) };
    let whole = whole as i128;
    (low..=high).contains(&whole).then_some(whole)
}

/// An integer as a float that rounds to any format of up to 40 significant bits as the integer itself does.
fn sticky(x: i128) -> f64 {
    if x.unsigned_abs() < 1 << 53 {
        return x as f64;
    }
    let (high, low) = (x >> 16, x & 0xffff);
    (high | i128::from(low != 0)) as f64 * 65536.0
}

/// A key that sorts as the numbers do; `None` for NaN. Both zeros have one key.
pub(crate) fn sort_key(value: Scalar) -> Option<i128> {
    match value {
        Scalar::Int(x) => Some(x),
        Scalar::Float(x) if x.is_nan() => None,
        Scalar::Float(x) => {
            let magnitude = i128::from(x.abs().to_bits());
            Some(if x < 0.0 { -magnitude } else { magnitude })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(dtype: DType, value: Scalar) -> Option<u64> {
        encode(dtype, value, Rounding::default())
    }

    #[test]
    fn integers_drop_high_bits() {
        assert_eq!(code(DType::Int8, Scalar::Int(200)), Some(200));
        assert_eq!(load(DType::Int8, &[200]), Scalar::Int(-56));
        assert_eq!(load(DType::Int4, &[0xc]), Scalar::Int(-4));
        assert_eq!(load(DType::Uint2, &[3]), Scalar::Int(3));
        assert_eq!(load(DType::Uint64, &[0xff; 8]), Scalar::Int(u64::MAX.into()));
        assert_eq!(range(DType::Int2), (-2, 1));
        assert_eq!(range(DType::Uint64), (0, u64::MAX.into()));
    }

    #[test]
    fn floats_become_integers_only_where_that_is_defined() {
        assert_eq!(code(DType::Int32, Scalar::Float(-2.9)), Some(u64::from(-2i32 as u32)));
        assert_eq!(code(DType::Int32, Scalar::Float(2_147_483_648.0)), None);
        assert_eq!(code(DType::Int8, Scalar::Float(300.0)), Some(44));
        assert_eq!(code(DType::Int8, Scalar::Float(1e10)), None);
        assert_eq!(code(DType::Int64, Scalar::Float(f64::NAN)), None);
        assert_eq!(code(DType::Int4, Scalar::Float(2.5)), None);
        assert_eq!(code(DType::Int4, Scalar::Float(-9.0)), Some(7));
        assert_eq!(code(DType::Bool, Scalar::Float(f64::NAN)), Some(1));
    }

    #[test]
    fn integers_round_once_on_their_way_to_floats() {
        // Above the middle of two `bfloat16` by the lowest bit only.
        let x = (1i128 << 60) + (1 << 52) + 1;
        assert_eq!(code(DType::Bfloat16, Scalar::Int(x)), Some(0x5d81));
        assert_eq!(code(DType::Bfloat16, Scalar::Int(x - 1)), Some(0x5d80));
        assert_eq!(code(DType::Float, Scalar::Int(16_777_217)), Some(16_777_216f32.to_bits().into()));
    }

    #[test]
    fn keys_sort_as_numbers() {
        let numbers = [f64::NEG_INFINITY, -2.0, -1e-300, -0.0, 1e-300, 1.5, f64::INFINITY];
        let keys: Vec<_> = numbers.iter().map(|&x| sort_key(Scalar::Float(x)).unwrap()).collect();
        assert!(keys.is_sorted() && keys.windows(2).all(|w| w[0] < w[1]));
        assert_eq!(sort_key(Scalar::Float(-0.0)), sort_key(Scalar::Float(0.0)));
        assert_eq!(sort_key(Scalar::Float(f64::NAN)), None);
    }
}
