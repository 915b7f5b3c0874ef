//! Drop scattering that leaves nothing of what was there.

use crate::prelude::*;

/// Replace a `ScatterND` or `ScatterElements` by its updates, where constant indices write every element in its place.
///
/// *Left alone:* a reduction with what was there, indices in another order or of another number, and dims that are not
/// known.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DropScatters {}

impl Rule for DropScatters {
    const META: PassMeta = PassMeta::exact("drop-scatters", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let (data, indices, updates) = (p.any(), p.constant(), p.any());
        let op = p.one_of(&["ScatterElements", "ScatterND"], (data, indices, updates));
        rule_fn(move |m, rw| {
            let (node, indices) = (m.node(op), m.tensor(indices));
            let plain = node.attrs.str("reduction").is_none_or(|reduction| reduction == "none");
            Skip::unless(plain, "it reduces with what was there")?;
            let dims = m.facts().known_dims(m.value(data));
            let dims = dims.ok_or_else(|| Skip::because("the dims are not known"))?;
            let whole = if node.is("ScatterND") {
                writes_every_place(indices, &dims)
            } else {
                writes_every_element(indices, &dims, node.attrs.int("axis").unwrap_or(0))
            };
            Skip::unless(whole, "its indices are not those of every element in order")?;
            rw.replace(m.output(op, 0)?, m.value(updates));
            Ok(())
        })
    }
}

/// An index, counted from the front.
fn place(index: i64, size: u64) -> Option<u64> {
    u64::try_from(if index < 0 { index.checked_add(i64::try_from(size).ok()?)? } else { index }).ok()
}

/// Whether the last axis of the indices counts through the first axes of the data.
fn writes_every_place(indices: &TensorData, dims: &[u64]) -> bool {
    let Some((&depth, outer)) = indices.dims().split_last() else { return false };
    let Ok(depth) = usize::try_from(depth) else { return false };
    let Some(items) = indices.to_i64s().filter(|_| depth > 0 && dims.get(..depth) == Some(outer)) else {
        return false;
    };
    items.chunks_exact(depth).zip(0u64..).all(|(item, mut number)| {
        item.iter().zip(outer).rev().all(|(&index, &size)| {
            let at = number % size.max(1);
            number /= size.max(1);
            place(index, size) == Some(at)
        })
    })
}

/// Whether every index is the place where it stands along the axis.
fn writes_every_element(indices: &TensorData, dims: &[u64], axis: i64) -> bool {
    let axis = axis_of(axis, dims.len());
    let Some((axis, items)) = axis.zip(indices.to_i64s().filter(|_| indices.dims() == dims)) else {
        return false;
    };
    let (Some(&size), Some(inner)) = (dims.get(axis), dims.get(axis + 1..)) else { return false };
    let inner: u64 = inner.iter().product();
    let at = |number: u64| number / inner.max(1) % size.max(1);
    items.iter().zip(0u64..).all(|(&index, number)| place(index, size) == Some(at(number)))
}
