//! Scaling the constants of products, sums and normalizations.

use super::scale_walk::{Change, Factor, above};
use crate::prelude::*;

/// Both sides of an `Add` or `Sub` are scaled: the constant here, the other one further up.
pub(super) fn sum(
    scope: &Scope<'_>,
    id: NodeId,
    result: ValueId,
    factor: Factor,
) -> Result<Option<Vec<Change>>, Skip> {
    let graph = &*scope.graph;
    let (Some(a), Some(b)) = (graph.node_input(id, 0), graph.node_input(id, 1)) else { return Ok(None) };
    let (other, slot) = match (graph.constant(a), graph.constant(b)) {
        (None, Some(_)) => (a, 1),
        (Some(_), None) => (b, 0),
        _ => return Ok(None),
    };
    // What widens the other side would have its factor along an axis that the other side does not have.
    let (Some(rank), true) = (scope.facts.rank(result), scope.facts.same_shape(other, result)) else {
        return Ok(None);
    };
    let Some(change) = addend(scope, id, slot, rank, &factor)? else { return Ok(None) };
    let Some(mut changes) = above(scope, other, &[id], factor)? else { return Ok(None) };
    changes.extend(change);
    Ok(Some(changes))
}

/// The constant that is added to a value of some rank: nothing to change where it is zero.
fn addend(
    scope: &Scope<'_>,
    id: NodeId,
    slot: usize,
    rank: usize,
    factor: &Factor,
) -> Result<Option<Vec<Change>>, Skip> {
    let Some(data) = scope.graph.constant_input(id, slot) else { return Ok(None) };
    let mut zero = true;
    data.each_f64(|_, x| zero &= x == 0.0);
    if zero && data.dtype().has_f64s() {
        return Ok(Some(Vec::new()));
    }
    if alone(scope, id, slot).is_none() {
        return Ok(None);
    }
    let factor = match factor {
        Factor::All(k) => Factor::All(*k),
        Factor::Along { axis, values } => {
            let Some(axis) = (axis + data.rank()).checked_sub(rank) else { return Ok(None) };
            Factor::Along { axis, values: values.clone() }
        }
    };
    Ok(scaled(data, &factor)?.map(|data| vec![(id, slot, data)]))
}

/// One side of a `MatMul` is scaled: the weight, or what leads to either side.
pub(super) fn product(
    scope: &Scope<'_>,
    id: NodeId,
    result: ValueId,
    factor: &Factor,
) -> Result<Option<Vec<Change>>, Skip> {
    let (graph, facts) = (&*scope.graph, &*scope.facts);
    let (Some(rank), Some(a), Some(b)) =
        (facts.rank(result), graph.node_input(id, 0), graph.node_input(id, 1))
    else {
        return Ok(None);
    };
    let ranks = [facts.rank(a), facts.rank(b)];
    let mut missed = Ok(None);
    for (slot, side) in [(1, b), (0, a)] {
        let Some(of_side) = ranks[slot].filter(|&r| r >= 2) else { return Ok(None) };
        let factor = match factor {
            Factor::All(k) => Factor::All(*k),
            // Columns are those of the second side, rows those of the first.
            Factor::Along { axis, values } if axis + 1 + (1 - slot) == rank && ranks[1 - slot] >= Some(2) => {
                Factor::Along { axis: of_side - 1 - (1 - slot), values: values.clone() }
            }
            Factor::Along { .. } => continue,
        };
        let changes = if graph.constant(side).is_some() {
            weight(scope, id, slot, &factor).map(|change| change.map(|change| vec![change]))
        } else {
            above(scope, side, &[id], factor)
        };
        match changes {
            Ok(None) => {}
            Ok(found) => return Ok(found),
            Err(skip) => missed = Err(skip),
        }
    }
    missed
}

/// The weight of a `Gemm` and its addend.
pub(super) fn gemm(scope: &Scope<'_>, id: NodeId, factor: &Factor) -> Result<Option<Vec<Change>>, Skip> {
    let (graph, node) = (&*scope.graph, scope.graph.node(id));
    let transposed = node.attrs.int("transB").unwrap_or(0) != 0;
    let of_weight = match factor {
        Factor::All(k) => Factor::All(*k),
        Factor::Along { axis: 1, values } => {
            Factor::Along { axis: usize::from(!transposed), values: values.clone() }
        }
        Factor::Along { .. } => return Ok(None),
    };
    let Some(change) = weight(scope, id, 1, &of_weight)? else { return Ok(None) };
    let mut changes = vec![change];
    if graph.node_input(id, 2).is_some() {
        match addend(scope, id, 2, 2, factor)? {
            None => return Ok(None),
            Some(change) => changes.extend(change),
        }
    }
    Ok(Some(changes))
}

/// The scale of a `LayerNormalization` and its bias.
pub(super) fn norm(
    scope: &Scope<'_>,
    id: NodeId,
    result: ValueId,
    factor: &Factor,
) -> Result<Option<Vec<Change>>, Skip> {
    let (graph, node) = (&*scope.graph, scope.graph.node(id));
    let Some(rank) = scope.facts.rank(result) else { return Ok(None) };
    let Some(first) = axis_of(node.attrs.int("axis").unwrap_or(-1), rank) else { return Ok(None) };
    let factor = match factor {
        Factor::All(k) => Factor::All(*k),
        Factor::Along { axis, values } => match axis.checked_sub(first) {
            Some(axis) => Factor::Along { axis, values: values.clone() },
            None => return Ok(None),
        },
    };
    let others = graph.node_outputs(id).into_iter().flatten().count() > 1;
    let whole = graph.constant_input(id, 1).is_some_and(|scale| scale.rank() == rank - first);
    if others || !whole {
        return Ok(None);
    }
    let Some(change) = weight(scope, id, 1, &factor)? else { return Ok(None) };
    let mut changes = vec![change];
    if graph.node_input(id, 2).is_some() {
        match addend(scope, id, 2, rank - first, &factor)? {
            None => return Ok(None),
            Some(change) => changes.extend(change),
        }
    }
    Ok(Some(changes))
}

/// A constant that the operator multiplies with, scaled.
pub(super) fn weight(
    scope: &Scope<'_>,
    id: NodeId,
    slot: usize,
    factor: &Factor,
) -> Result<Option<Change>, Skip> {
    let Some(data) = scope.graph.constant_input(id, slot) else { return Ok(None) };
    if alone(scope, id, slot).is_none() {
        return Err(Skip::because("the weight has other readers"));
    }
    Ok(scaled(data, factor)?.map(|data| (id, slot, data)))
}

/// The constant that an operator alone reads.
fn alone(scope: &Scope<'_>, id: NodeId, slot: usize) -> Option<ValueId> {
    let graph = &*scope.graph;
    let value = graph.node_input(id, slot)?;
    let own = graph.value(value).origin != Origin::Captured && !graph.is_pinned(value);
    (own && graph.use_count(value) == 1).then_some(value)
}

/// Bytes from which a constant is computed when it is written.
const DEFER: u64 = 64 << 10;

/// The constant with the factor; a large one is computed when it is written. `None` where it lacks the axis.
fn scaled(data: &TensorData, factor: &Factor) -> Result<Option<TensorData>, Skip> {
    let (axis, values) = match factor {
        Factor::All(k) => (0, vec![*k]),
        Factor::Along { axis, values } => {
            if data.dims().get(*axis) != Some(&(values.len() as u64)) {
                return Ok(None);
            }
            (*axis, values.clone())
        }
    };
    if !matches!(data.dtype(), DType::Float | DType::Double) {
        return Ok(None);
    }
    let inner = data.dims().iter().skip(axis + 1).product::<u64>().max(1) as usize;
    let place = {
        let count = values.len();
        move |i: usize| i / inner % count
    };
    Skip::unless(fits(data, &values, &place), "a scaled parameter would leave the range of its type")?;
    let what = [inner as u64].into_iter().chain(values.iter().map(|k| k.to_bits())).collect();
    let apply = move |data: &TensorData| data.map_f64(|i, x| x * values[place(i)]);
    if data.byte_len() < DEFER {
        return Ok(apply(data));
    }
    let bytes = move |data: &TensorData| apply(data)?.bytes().cloned();
    let made = TensorData::deferred(data.dtype(), data.dims(), data, what, bytes);
    made.map(Some).map_err(|e| Skip::because(e.to_string()))
}

/// Whether no scaled element overflows, and not all of them lose digits as they become too small.
fn fits(data: &TensorData, values: &[f64], place: &dyn Fn(usize) -> usize) -> bool {
    // Weights that this makes too small would be far below whatever is added to their products: no need to look.
    let mild = |k: &f64| (6e-8..=1.0).contains(&k.abs());
    if data.byte_len() >= DEFER && values.iter().all(mild) {
        return true;
    }
    let (least, most) = match data.dtype() {
        DType::Double => (f64::MIN_POSITIVE, f64::MAX),
        _ => (f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX)),
    };
    let (mut largest, mut before) = (0f64, 0f64);
    data.each_f64(|i, x| {
        largest = largest.max((x * values[place(i)]).abs());
        before = before.max(x.abs());
    });
    largest <= most && (largest >= least || before < least)
}
