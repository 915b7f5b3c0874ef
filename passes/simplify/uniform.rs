//! Constants that hold one number everywhere.

use crate::prelude::*;

/// The number that every element of a constant is, as a tensor of rank 0. `None` for an empty tensor, for elements that
/// differ in any bit, and for elements that share bytes or have none.
pub(super) fn uniform(data: &TensorData) -> Option<TensorData> {
    let width = usize::try_from(data.dtype().bits() / 8).ok().filter(|&w| w > 0)?;
    if !data.dtype().bits().is_multiple_of(8) || data.is_empty() {
        return None;
    }
    let bytes = data.bytes()?;
    let first = bytes.get(..width)?;
    let same = bytes.chunks_exact(width).all(|item| item == first);
    if same { TensorData::new(data.dtype(), &[], first.to_vec()).ok() } else { None }
}

/// The number that every element is: of integers and booleans too, where `f64` holds it exactly. Zeros keep their sign.
pub(super) fn uniform_number(data: &TensorData) -> Option<f64> {
    let one = uniform(data)?;
    let whole = |n: i64| (n.unsigned_abs() <= 1 << 53).then_some(n as f64);
    one.to_f64().or_else(|| one.to_i64().and_then(whole))
}

/// Operators that give the elements of their first input other places, or repeat them.
const ARRANGE: &[&str] =
    &["Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Tile", "Transpose", "Unsqueeze"];

/// How many of them are looked through.
const STEPS: usize = 8;

/// The number that every element of a value is: of a constant, of what `ConstantOfShape` makes, and of either under other
/// dims, even where these are not known.
pub(super) fn uniform_value(m: &Match<'_>, value: ValueId) -> Option<f64> {
    let graph = m.graph();
    let mut value = value;
    for _ in 0..STEPS {
        if let Some(data) = m.constant_of(value) {
            return uniform_number(data);
        }
        let (id, _) = graph.producer(value)?;
        let node = graph.node(id);
        if node.is("ConstantOfShape") {
            return node.attrs.tensor("value").map_or(Some(0.0), uniform_number);
        }
        if !ARRANGE.iter().any(|op| node.is(op)) {
            return None;
        }
        value = graph.node_input(id, 0)?;
    }
    None
}

/// Whether a constant broadcasts to a value without giving the result other dims.
pub(super) fn is_narrow(m: &Match<'_>, value: ValueId, constant: ValueId, result: ValueId) -> bool {
    let facts = m.facts();
    let single = facts.shape(constant).is_some_and(|dims| dims.iter().all(|dim| dim.is(1)));
    let rank = facts.rank(constant);
    let fits = rank == Some(0) || facts.rank(value).zip(rank).is_some_and(|(rank, own)| own <= rank);
    single && fits || facts.same_shape(value, result)
}
