//! Merge chains of casts.

use crate::prelude::*;

/// Merge a `Cast` to a type that holds every value of the one before, and a `Cast` from there, into one, or into none
/// where the second leads back.
///
/// `float16 → float → float16` is nothing, `int32 → int64 → float` is `int32 → float`: the number in between is exact, so
/// there is one rounding in either case. The first `Cast` stays where others read it.
///
/// *Left alone:* a first `Cast` that may change a value (`float → float16`, `int64 → int32`), and a second one from
/// floating point or booleans to strings, which have other digits or words.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MergeCasts {}

impl Rule for MergeCasts {
    const META: PassMeta = PassMeta::exact("merge-casts", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let x = p.any();
        let inner = p.op("Cast", x);
        let inner = p.shared(inner);
        let outer = p.op("Cast", inner);
        rule_fn(move |m, rw| {
            let (x, output) = (m.value(x), m.output(outer, 0)?);
            let to = |op: OpVar| {
                let code = m.node(op).attrs.int("to").and_then(|code| i32::try_from(code).ok());
                code.and_then(DType::from_code).ok_or_else(Skip::no_concern)
            };
            let (between, last) = (to(inner)?, to(outer)?);
            let first =
                m.dtype(x).ok_or_else(|| Skip::because("the type of the first Cast's input is not known"))?;
            Skip::unless(holds_all(between, first), "the first Cast may change a value")?;
            let digits = last != DType::String || first.is_int() && between.is_int();
            Skip::unless(digits, "what a string says depends on the type")?;
            if first == last {
                rw.replace(output, x);
            } else {
                rw.emit("Cast", m.node(outer).attrs.clone(), [x.into()], output);
            }
            Ok(())
        })
    }
}

/// Bits of a significand, and the exponents of the least and the greatest number, where the type holds every sum of bits
/// between them.
fn range(dtype: DType) -> Option<(u64, i64, i64)> {
    Some(match dtype {
        DType::Double => (53, -1074, 1023),
        DType::Float => (24, -149, 127),
        DType::Float16 => (11, -24, 15),
        DType::Bfloat16 => (8, -133, 127),
        DType::Bool => (1, 0, 0),
        _ if dtype.is_signed_int() => (dtype.bits() - 1, 0, dtype.bits() as i64 - 2),
        _ if dtype.is_int() => (dtype.bits(), 0, dtype.bits() as i64 - 1),
        _ => return None,
    })
}

/// Whether a type holds every value of another one, infinities and signs included.
fn holds_all(wide: DType, narrow: DType) -> bool {
    let (Some((bits, least, most)), Some((few, from, to))) = (range(wide), range(narrow)) else {
        return false;
    };
    let signed = |dtype: DType| dtype.is_signed_int() || dtype.is_float();
    // The least integer has one bit and an exponent more than the others.
    let least_integer = !narrow.is_signed_int() || wide.is_signed_int() || most > to;
    let fits = few <= bits && least <= from && to <= most && least_integer;
    fits && (signed(wide) || !signed(narrow)) && (wide.is_float() || !narrow.is_float())
}
