//! Drop arithmetic with a constant that changes nothing.

#![allow(clippy::float_cmp, reason = "the numbers are meant exactly")]

use super::uniform::{is_narrow, uniform_value};
use super::zero_sign::may_tell_zeros;
use crate::prelude::*;

/// Drop `x + 0`, `x - 0`, `x * 1`, `x / 1`, `x ^ 1`, `And` with true, `Or` and `Xor` with false, their bitwise kin, a
/// shift by 0, `Max` with minus infinity and `Min` with infinity.
///
/// All elements of the constant have to be that number, and the result has to have the dims of `x`.
///
/// In floating point `x + -0.0` and `x - 0.0` are `x`, whatever it is. `x + 0.0` is `x` too but for one number: it makes
/// `0.0` of `-0.0`. Zeros of either sign are equal, and most operators make equal numbers of them; those that do not (a
/// division by it, `Reciprocal`, `Pow`, `BitCast`) make infinities of either sign. So `x + 0.0` is dropped where no such
/// operator can be reached from the result before the sign of a zero is lost.
///
/// *Left alone:* a constant that widens the result or may do so; `x + 0.0` whose sign an operator downstream may tell.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DropNeutral {}

/// Operators of two inputs: the number that changes nothing, and whether it may be the first of them.
const NEUTRAL: &[(&str, f64, bool)] = &[
    ("Add", 0.0, true),
    ("And", 1.0, true),
    ("BitShift", 0.0, false),
    ("BitwiseOr", 0.0, true),
    ("BitwiseXor", 0.0, true),
    ("Div", 1.0, false),
    ("Max", f64::NEG_INFINITY, true),
    ("Min", f64::INFINITY, true),
    ("Mul", 1.0, true),
    ("Or", 0.0, true),
    ("Pow", 1.0, false),
    ("Sub", 0.0, false),
    ("Xor", 0.0, true),
];

impl Rule for DropNeutral {
    const META: PassMeta = PassMeta::exact("drop-neutral", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let (a, b) = (p.any(), p.any());
        let names: Vec<&'static str> = NEUTRAL.iter().map(|(name, ..)| *name).collect();
        let op = p.one_of(&names, (a, b));
        rule_fn(move |m, rw| {
            let (node, output) = (m.node(op), m.output(op, 0)?);
            let (_, neutral, swaps) =
                NEUTRAL.iter().find(|(name, ..)| node.is(name)).ok_or_else(Skip::no_concern)?;
            let is_neutral = |value: ValueId| uniform_value(m, value).filter(|number| number == neutral);
            let (a, b) = (m.value(a), m.value(b));
            let (x, c, number) = match (is_neutral(b), is_neutral(a)) {
                (Some(number), _) => (a, b, number),
                (None, Some(number)) if *swaps => (b, a, number),
                _ => return Err(Skip::no_concern()),
            };
            let clash = m.dtype(x).zip(m.dtype(c)).is_some_and(|(x, c)| x != c);
            if clash && !node.is("Pow") {
                return Err(Skip::no_concern());
            }
            let narrow = is_narrow(m, x, c, output);
            Skip::unless(narrow, "the constant might widen the result")?;
            let (adds, negative) = (node.is("Add"), number.is_sign_negative());
            let whole = m.dtype(x).is_some_and(DType::is_int);
            let makes_positive = !whole && (adds && !negative || node.is("Sub") && negative);
            let told = makes_positive && may_tell_zeros(m.graph(), output);
            Skip::unless(!told, "an operator downstream may tell 0.0 from -0.0")?;
            rw.replace(output, x);
            Ok(())
        })
    }
}
