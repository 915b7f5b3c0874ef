//! Merge reductions of reductions.

use super::axes::Axes;
use crate::prelude::*;

/// Merge a reduction of a reduction of the same kind into one over the axes of both: `mean(3)` and `mean(2)` into
/// `mean(2, 3)`.
///
/// *Left alone:* a first reduction that others read, axes of which only some would stay, axes that are not constant, and means
/// of integers, which are rounded.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MergeNestedReduces {}

const REDUCTIONS: &[&str] = &[
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
];

impl Rule for MergeNestedReduces {
    const META: PassMeta = PassMeta::exact("merge-nested-reduces", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let inner = p.op_with_any_inputs(REDUCTIONS);
        let axes = p.optional();
        let outer = p.one_of(REDUCTIONS, (inner, axes));
        rule_fn(move |m, rw| {
            let (first, second) = (m.node(inner), m.node(outer));
            if first.op != second.op {
                return Err(Skip::no_concern());
            }
            let (x, middle) = (m.input(inner, 0)?, m.output(inner, 0)?);
            let rounds = first.is("ReduceMean") && m.dtype(x).is_none_or(DType::is_int);
            Skip::unless(!rounds, "means of integers are rounded")?;
            let rank = m.facts().rank(x).ok_or_else(|| Skip::because("the rank is not known"))?;
            let of = |id: NodeId, of: ValueId| Axes::of(m, id, of)?.from_front.ok_or_else(Skip::no_concern);
            let (a, b) = (of(m.id(inner), x)?, of(m.id(outer), middle)?);
            let [keeps, keeps_second] = [first, second].map(|n| n.attrs.int("keepdims").unwrap_or(1) != 0);
            let left: Vec<usize> = (0..rank).filter(|axis| keeps || !a.contains(axis)).collect();
            let b: Vec<usize> = b.iter().filter_map(|&axis| left.get(axis).copied()).collect();
            let alike = keeps == keeps_second || keeps && a.iter().all(|axis| b.contains(axis));
            Skip::unless(alike, "only some of the axes would stay")?;
            let mut all: Vec<i64> = a.iter().chain(&b).map(|&axis| axis as i64).collect();
            all.sort_unstable();
            all.dedup();
            if all.is_empty() {
                return Err(Skip::no_concern());
            }
            let list = rw.constant("reduce_axes", TensorData::vector(&all));
            let attrs = second.attrs.clone().with("keepdims", i64::from(keeps_second));
            rw.emit(&second.op.name, attrs, [x.into(), list], m.output(outer, 0)?);
            Ok(())
        })
    }
}
