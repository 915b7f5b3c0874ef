//! Let a `Gather` from a constant make its result in the layout that is wanted.

use crate::prelude::*;

/// Fold a `Transpose`, `Reshape`, `Squeeze`, `Unsqueeze` or `Flatten` of what a `Gather` takes from a constant, with constant
/// indices, into both constants: the `Gather` then makes the result at once.
///
/// A table of relative positions, from which every layer of a window attention takes its bias, is such a constant; folding
/// the `Gather` itself would grow the file.
///
/// *Left alone:* a `Transpose` that takes the axes of the indices apart, a reshape across the border between those axes and
/// others, and a gathered value that others read.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FoldGatherLayout {}

impl Rule for FoldGatherLayout {
    const META: PassMeta = PassMeta::exact("fold-gather-layout", Family::Fold);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let (table, indices, dims) = (p.constant(), p.constant(), p.optional());
        let gather = p.op("Gather", (table, indices));
        let layout = p.one_of(&["Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"], (gather, dims));
        rule_fn(move |m, rw| {
            let (data, picks) = (m.tensor(table), m.tensor(indices));
            let rank = data.rank();
            let axis = axis_of(m.node(gather).attrs.int("axis").unwrap_or(0), rank);
            let axis = axis.ok_or_else(Skip::no_concern)?;
            let output = m.output(layout, 0)?;
            let (table, indices) = (m.constant(table), m.constant(indices));
            let (table, picks, axis) = if m.node(layout).is("Transpose") {
                let perm = perm_of(m.node(layout), rank + picks.rank() - 1).ok_or_else(Skip::no_concern)?;
                let turned = turn(&perm, axis, picks.rank())?;
                (
                    transposed(m, rw, table, turned.of_table),
                    transposed(m, rw, indices, turned.of_picks),
                    turned.axis,
                )
            } else {
                let known = m.facts().known_dims(output);
                let dims = known.ok_or_else(|| Skip::because("the dims of the result are not known"))?;
                let parts = parted(data.dims(), axis, picks.dims(), &dims);
                let [before, middle, after] =
                    parts.ok_or_else(|| Skip::because("the reshape crosses the border of the indices"))?;
                let of_table = [before, &data.dims()[axis..=axis], after].concat();
                (reshaped(m, rw, table, &of_table), reshaped(m, rw, indices, middle), before.len())
            };
            rw.emit("Gather", Attrs::new().with("axis", axis as i64), [table, picks], output);
            Ok(())
        })
    }
}

struct Turned {
    of_table: Vec<i64>,
    of_picks: Vec<i64>,
    axis: usize,
}

/// A `Transpose` of the result, as one of the table and one of the indices, whose axes have to stay together.
fn turn(perm: &[usize], axis: usize, picks: usize) -> Result<Turned, Skip> {
    let of_picks = |a: usize| (axis..axis + picks).contains(&a);
    let first = perm.iter().position(|&a| of_picks(a)).ok_or_else(Skip::no_concern)?;
    let together = perm.iter().skip(first).take(picks).all(|&a| of_picks(a));
    Skip::unless(together, "the Transpose takes the axes of the indices apart")?;
    let mut of_table = Vec::new();
    for (at, &a) in perm.iter().enumerate() {
        if !of_picks(a) {
            of_table.push((if a < axis { a } else { a + 1 - picks }) as i64);
        } else if at == first {
            of_table.push(axis as i64);
        }
    }
    let of_picks = perm.iter().skip(first).take(picks).map(|&a| (a - axis) as i64).collect();
    Ok(Turned { of_table, of_picks, axis: first })
}

/// Dims of a result, parted into those before the indices, those of the indices, and those after them.
fn parted<'d>(table: &[u64], axis: usize, picks: &[u64], dims: &'d [u64]) -> Option<[&'d [u64]; 3]> {
    let count = |dims: &[u64]| dims.iter().product::<u64>();
    let (before, after) = (count(table.get(..axis)?), count(table.get(axis + 1..)?));
    let picks = count(picks);
    // Dims of 1 go to the part before them; nothing is certain where there is no element.
    if before * after * picks == 0 {
        return None;
    }
    let end = |from: usize, wanted: u64| {
        (from..=dims.len()).rev().find(|&to| dims.get(from..to).is_some_and(|part| count(part) == wanted))
    };
    let first = end(0, before)?;
    let second = end(first, picks)?;
    let rest = dims.get(second..)?;
    (count(rest) == after).then_some([dims.get(..first)?, dims.get(first..second)?, rest])
}

/// A constant with its axes in another order. Folding turns it, once it serves nothing else.
fn transposed(m: &Match<'_>, rw: &mut Rewrite, value: ValueId, perm: Vec<i64>) -> Operand {
    if perm.iter().enumerate().all(|(at, &axis)| at as i64 == axis) {
        return value.into();
    }
    rw.add("Transpose", Attrs::new().with("perm", perm), [value.into()], m.name(value))
}

/// A constant with other dims: the elements of one that others read are not stored twice.
fn reshaped(m: &Match<'_>, rw: &mut Rewrite, value: ValueId, dims: &[u64]) -> Operand {
    let Some(data) = m.constant_of(value).filter(|data| data.dims() != dims) else { return value.into() };
    match data.with_dims(dims) {
        Some(data) if m.graph().use_count(value) == 1 => rw.constant(m.name(value), data),
        _ => {
            let dims: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
            let dims = rw.constant(format!("{}_dims", m.name(value)), TensorData::vector(&dims));
            rw.add("Reshape", Attrs::new(), [value.into(), dims], m.name(value))
        }
    }
}
