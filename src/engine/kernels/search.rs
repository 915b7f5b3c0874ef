//! Operators that compare elements and answer with where they stand.

use super::Table;
use super::cells::Cells;
use super::index::{Around, Odometer};
use super::scalar::{Scalar, is_numeric, load, sort_key};
use super::select::{around, flat_or_axis};
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

pub(super) const TABLE: Table =
    &[("ArgMax", arg_max), ("ArgMin", arg_min), ("NonZero", non_zero), ("TopK", top_k), ("Unique", unique)];

type Outputs = Result<Vec<TensorData>, EngineError>;

/// One key an element, which sorts as the elements do.
fn keys(call: &NodeCall<'_>, data: &TensorData) -> Result<Vec<i128>, EngineError> {
    if let Some(items) = data.string_items() {
        let mut sorted: Vec<_> = items.iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        return Ok(items.iter().map(|s| sorted.partition_point(|t| *t < s) as i128).collect());
    }
    if !is_numeric(data.dtype()) {
        return Err(call.no_type(data.dtype()));
    }
    let cells = Cells::of(data);
    let key =
        |i| sort_key(load(data.dtype(), cells.get(i))).ok_or_else(|| call.unsupported("the order of NaN"));
    (0..cells.len()).map(key).collect()
}

fn indices(call: &NodeCall<'_>, dims: &[u64], items: &[i64]) -> Result<TensorData, EngineError> {
    call.sized(DType::Int64, dims)?;
    TensorData::from_slice(dims, items).map_err(|e| call.invalid(e))
}

fn arg_max(call: &NodeCall<'_>) -> Outputs {
    arg(call, |key| key)
}

fn arg_min(call: &NodeCall<'_>) -> Outputs {
    arg(call, |key| -key)
}

fn arg(call: &NodeCall<'_>, order: impl Fn(i128) -> i128) -> Outputs {
    let data = call.need(0)?;
    let axis = call.axis(call.int_or("axis", 0)?, data.rank())?;
    let (keep, last) = (call.flag("keepdims", true)?, call.flag("select_last_index", false)?);
    let mut dims = data.dims().to_vec();
    if keep {
        dims[axis] = 1;
    } else {
        dims.remove(axis);
    }
    let lanes = call.sized(DType::Int64, &dims)?;
    let lane = around(call, data.dims(), axis)?;
    if lane.size == 0 && lanes > 0 {
        return Err(call.invalid(format_args!("axis {axis} of {:?} is empty", data.dims())));
    }
    let keys = keys(call, data)?;
    let best = |start: usize| {
        let mut best = 0;
        for i in 1..lane.size {
            let [new, old] = [i, best].map(|i| order(keys[start + i * lane.inner]));
            if new > old || (last && new == old) {
                best = i;
            }
        }
        best as i64
    };
    let items: Vec<i64> = if lanes == 0 { Vec::new() } else { lane.lanes().map(best).collect() };
    Ok(vec![indices(call, &dims, &items)?])
}

fn non_zero(call: &NodeCall<'_>) -> Outputs {
    let data = call.need(0)?;
    if !is_numeric(data.dtype()) || data.rank() == 0 {
        return Err(call.unsupported(format_args!("{}{:?}", data.dtype(), data.dims())));
    }
    let cells = Cells::of(data);
    let zero = |i| matches!(load(data.dtype(), cells.get(i)), Scalar::Int(0) | Scalar::Float(0.0));
    let found = (0..cells.len()).filter(|&i| !zero(i)).count();
    let dims = [data.rank() as u64, found as u64];
    let mut items = vec![0i64; call.sized(DType::Int64, &dims)?];
    let (mut walk, mut at, mut column) = (Odometer::new(data.dims()), 0, 0);
    while let Some(place) = walk.advance() {
        if !zero(at) {
            place.iter().enumerate().for_each(|(k, &x)| items[k * found + column] = x as i64);
            column += 1;
        }
        at += 1;
    }
    Ok(vec![indices(call, &dims, &items)?])
}

fn top_k(call: &NodeCall<'_>) -> Outputs {
    let data = call.need(0)?;
    let axis = call.axis(call.int_or("axis", -1)?, data.rank())?;
    let largest = call.flag("largest", true)?;
    call.flag("sorted", true)?;
    let k = call.int(1)?.ok_or_else(|| call.invalid("input 1 is absent"))?;
    let k = u64::try_from(k).ok().filter(|&k| k <= data.dims()[axis]);
    let k =
        k.ok_or_else(|| call.invalid(format_args!("axis {axis} of {:?} is shorter than K", data.dims())))?;
    let mut dims = data.dims().to_vec();
    dims[axis] = k;
    call.sized(data.dtype(), &dims)?;
    let mut places = vec![0i64; call.sized(DType::Int64, &dims)?];
    let (source, keys) = (Cells::of(data), keys(call, data)?);
    let mut values = vec![0usize; places.len()];
    let (from, k) = (around(call, data.dims(), axis)?, k as usize);
    let to = Around { size: k, ..from };
    if !places.is_empty() {
        for (start, target) in from.lanes().zip(to.lanes()) {
            let mut order: Vec<usize> = (0..from.size).collect();
            let key = |i: usize| keys[start + i * from.inner];
            // The sort is stable: of equal elements the first stays first.
            order.sort_by(|&a, &b| if largest { key(b).cmp(&key(a)) } else { key(a).cmp(&key(b)) });
            for (i, &place) in order[..k].iter().enumerate() {
                places[target + i * to.inner] = place as i64;
                values[target + i * to.inner] = start + place * from.inner;
            }
        }
    }
    let mut cells = Cells::new(data.dtype(), values.len());
    for place in values {
        cells.push(&source, place, 1);
    }
    Ok(vec![cells.tensor(call, data.dtype(), &dims)?, indices(call, &dims, &places)?])
}

fn unique(call: &NodeCall<'_>) -> Outputs {
    let data = call.need(0)?;
    let sorted = call.flag("sorted", true)?;
    let (data, axis) = flat_or_axis(call, data)?;
    let data = &data;
    let block = around(call, data.dims(), axis)?;
    if data.is_empty() && block.size > 0 {
        return Err(call.unsupported("slices without elements"));
    }
    let keys = keys(call, data)?;
    let slice = |i: usize| {
        let lanes = Around { size: 1, ..block }.outer;
        (0..lanes)
            .flat_map(move |o| (o * block.size + i) * block.inner..(o * block.size + i + 1) * block.inner)
    };
    let compare = |a: usize, b: usize| slice(a).map(|k| keys[k]).cmp(slice(b).map(|k| keys[k]));
    let mut order: Vec<usize> = (0..block.size).collect();
    order.sort_by(|&a, &b| compare(a, b));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for i in order {
        match groups.last_mut() {
            Some(group) if compare(group[0], i).is_eq() => group.push(i),
            _ => groups.push(vec![i]),
        }
    }
    if !sorted {
        groups.sort_by_key(|group| group[0]);
    }
    unique_outputs(call, data, axis, &groups)
}

/// The outputs of `Unique`: `groups` lists the places of equal slices along the axis, the first of them first.
fn unique_outputs(call: &NodeCall<'_>, data: &TensorData, axis: usize, groups: &[Vec<usize>]) -> Outputs {
    let block = around(call, data.dims(), axis)?;
    let (source, mut cells) = (Cells::of(data), Cells::new(data.dtype(), 0));
    for outer in 0..if data.is_empty() { 0 } else { block.outer } {
        for group in groups {
            cells.push(&source, (outer * block.size + group[0]) * block.inner, block.inner);
        }
    }
    let mut dims = data.dims().to_vec();
    dims[axis] = groups.len() as u64;
    call.sized(data.dtype(), &dims)?;
    let mut inverse = vec![0i64; block.size];
    for (at, group) in groups.iter().enumerate() {
        for &place in group {
            inverse[place] = at as i64;
        }
    }
    let first: Vec<i64> = groups.iter().map(|group| group[0] as i64).collect();
    let counts: Vec<i64> = groups.iter().map(|group| group.len() as i64).collect();
    let unique = cells.tensor(call, data.dtype(), &dims)?;
    Ok(vec![unique, TensorData::vector(&first), TensorData::vector(&inverse), TensorData::vector(&counts)])
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
