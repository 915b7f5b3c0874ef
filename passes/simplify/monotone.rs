//! Drop what does not change which element is the greatest.

use crate::prelude::*;

/// Drop `Softmax` and `LogSoftmax` before an `ArgMax` along the same axis: the greatest stays the greatest.
///
/// Where two elements are so close that their results are rounded to one number, the `ArgMax` now tells them apart. The
/// operator stays where others read it.
///
/// *Left alone:* an axis that is not known to be the same. `Sigmoid`, `Exp` and others round elements far from each other to
/// the same number, so that it would be another one that comes first.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DropMonotone {}

impl Rule for DropMonotone {
    const META: PassMeta = PassMeta::exact("drop-monotone", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let x = p.any();
        let inner = p.one_of(&["LogSoftmax", "Softmax"], x);
        let inner = p.shared(inner);
        let outer = p.op("ArgMax", inner);
        rule_fn(move |m, rw| {
            let x = m.value(x);
            let axis = |op: OpVar, default: i64| {
                let axis = m.node(op).attrs.int("axis").unwrap_or(default);
                if axis >= 0 { Some(axis) } else { Some(axis + m.facts().rank(x)? as i64) }
            };
            let alike =
                m.node(inner).attrs.int("axis").unwrap_or(-1) == m.node(outer).attrs.int("axis").unwrap_or(0);
            let same = alike || axis(inner, -1).is_some_and(|first| Some(first) == axis(outer, 0));
            Skip::unless(same, "the axes differ, or are not known to be the same")?;
            rw.emit("ArgMax", m.node(outer).attrs.clone(), [x.into()], m.output(outer, 0)?);
            Ok(())
        })
    }
}
