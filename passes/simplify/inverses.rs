//! Cancel operators that undo each other, and merge those whose second does nothing new.

use crate::prelude::*;

/// Cancel pairs of operators, the one after the other, that give what was there before, and drop the second of a pair
/// where it finds everything done.
///
/// * `Neg`–`Neg`, `Not`–`Not`, `BitwiseNot`–`BitwiseNot`, `SpaceToDepth`–`DepthToSpace` and the other way round; and
///   `Reciprocal`–`Reciprocal`, which is `x` but for the rounding that it saves.
/// * `Relu`, `Abs`, `Ceil`, `Floor`, `Round`, `Sign` after themselves; `Ceil`, `Floor` and `Round` after each other; `Relu` and
///   `Abs` after what is never negative, as `Sigmoid`, `Softmax`, `Exp` and `HardSigmoid`.
/// * `Abs` after `Neg` does without the `Neg`.
///
/// The first operator stays where others read it.
///
/// *Left alone:* `DepthToSpace` in the order of columns and rows (`CRD`), which `SpaceToDepth` does not undo.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CancelInverses {}

const INVERSES: &[(&str, &str)] = &[
    ("BitwiseNot", "BitwiseNot"),
    ("DepthToSpace", "SpaceToDepth"),
    ("Neg", "Neg"),
    ("Not", "Not"),
    ("Reciprocal", "Reciprocal"),
    ("SpaceToDepth", "DepthToSpace"),
];

const ROUNDED: &[&str] = &["Ceil", "Floor", "Round", "Sign"];

const POSITIVE: &[&str] = &["Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus"];

/// Operators with the results that they hand on as they are.
const SETTLED: &[(&str, &[&str])] = &[
    ("Abs", POSITIVE),
    ("Ceil", ROUNDED),
    ("Floor", ROUNDED),
    ("Relu", POSITIVE),
    ("Round", ROUNDED),
    ("Sign", &["Sign"]),
];

impl Rule for CancelInverses {
    const META: PassMeta = PassMeta::exact("cancel-inverses", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let x = p.any();
        let mut names: Vec<&'static str> = INVERSES.iter().map(|(name, _)| *name).collect();
        names.extend(SETTLED.iter().map(|(name, _)| *name));
        let first: Vec<&'static str> = names.iter().chain(POSITIVE).copied().collect();
        let inner = p.one_of(&first, x);
        let inner = p.shared(inner);
        let outer = p.one_of(&names, inner);
        rule_fn(move |m, rw| {
            let (a, b) = (m.node(inner), m.node(outer));
            let (output, middle) = (m.output(outer, 0)?, m.output(inner, 0)?);
            if INVERSES.iter().any(|(one, other)| a.is(one) && b.is(other)) {
                let by_rows = |node: &Node| node.attrs.str("mode").is_none_or(|mode| mode == "DCR");
                let same_block = a.attrs.int("blocksize") == b.attrs.int("blocksize");
                Skip::unless(by_rows(a) && by_rows(b), "one of them takes columns before rows")?;
                Skip::unless(same_block, "their blocks differ")?;
                rw.replace(output, m.value(x));
                return Ok(());
            }
            if a.is("Neg") && b.is("Abs") {
                rw.emit("Abs", Attrs::new(), [Operand::Old(m.value(x))], output);
                return Ok(());
            }
            let settled = |(name, after): &(&str, &[&str])| b.is(name) && after.iter().any(|op| a.is(op));
            if SETTLED.iter().any(settled) {
                rw.replace(output, middle);
                return Ok(());
            }
            Err(Skip::no_concern())
        })
    }
}
