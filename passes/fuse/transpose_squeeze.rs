//! Transpose without axes of size 1 that come and go.

use super::dims::written;
use crate::prelude::*;

/// Fuse a `Transpose` with an operator before it that gives its elements other dims (`Reshape`, `Unsqueeze`, `Squeeze`,
/// `Flatten`), and one after it that takes axes of size 1 away: `Squeeze`, or `Reshape`.
///
/// The axes go before the `Transpose`, where one `Reshape` is enough, or none.
///
/// *Left alone:* a `Reshape` that does more, dims that are not known or that one `Reshape` cannot say, and results between that
/// others read.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FuseTransposeSqueeze {}

impl Rule for FuseTransposeSqueeze {
    const META: PassMeta = PassMeta::exact("fuse-transpose-squeeze", Family::Fuse);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let (x, dims) = (p.any(), p.optional());
        let first = p.one_of(&["Reshape", "Unsqueeze", "Squeeze", "Flatten"], (x, dims));
        let transpose = p.op("Transpose", first);
        let axes = p.optional();
        let last = p.one_of(&["Squeeze", "Reshape"], (transpose, axes));
        rule_fn(move |m, rw| {
            let facts = m.facts();
            let (input, output) = (m.value(x), m.output(last, 0)?);
            let (middle, turned) = (m.output(first, 0)?, m.output(transpose, 0)?);
            let shapes = [input, middle, turned, output].map(|v| facts.shape(v));
            let [Some(from), Some(between), Some(after), Some(to)] = shapes else {
                return Err(Skip::because("the dims are not known"));
            };
            let gone = dropped(after, to).ok_or_else(Skip::no_concern)?;
            let rank = between.len();
            let perm = perm_of(m.node(transpose), rank).ok_or_else(Skip::no_concern)?;
            // Axes before the Transpose that go, and where the others come to stand.
            let goes = |axis: usize| gone.iter().any(|&at| perm.get(at) == Some(&axis));
            let place = |axis: usize| (0..axis).filter(|&a| !goes(a)).count() as i64;
            let kept: Vec<i64> = perm.iter().filter(|&&a| !goes(a)).map(|&a| place(a)).collect();
            let wanted: Vec<Expr> =
                between.iter().enumerate().filter(|&(axis, _)| !goes(axis)).map(|(_, d)| d.clone()).collect();
            let value = if wanted == from {
                input.into()
            } else {
                let dims = written(from, &wanted);
                let dims = dims.ok_or_else(|| Skip::because("one Reshape cannot say the dims"))?;
                let dims = rw.constant(format!("{}_dims", m.name(middle)), TensorData::vector(&dims));
                rw.add("Reshape", Attrs::new(), [input.into(), dims], m.name(middle))
            };
            rw.emit("Transpose", Attrs::new().with("perm", kept), [value], output);
            Ok(())
        })
    }
}

/// The axes of size 1 that one shape has and the other does not, where that is all the difference.
fn dropped(from: &[Expr], to: &[Expr]) -> Option<Vec<usize>> {
    let (mut gone, mut left) = (Vec::new(), to.iter().peekable());
    for (axis, dim) in from.iter().enumerate() {
        if left.next_if_eq(&dim).is_none() {
            if !dim.is(1) {
                return None;
            }
            gone.push(axis);
        }
    }
    (left.next().is_none() && !gone.is_empty()).then_some(gone)
}
