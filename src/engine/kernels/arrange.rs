//! Operators that put the elements of their inputs in another order, or side by side.

use super::Table;
use super::cells::Cells;
use super::index::{Around, Odometer, Offsets, broadcast, strides};
use super::permute::permuted;
use super::shape::redim;
use crate::engine::{EngineError, NodeCall};
use crate::ir::TensorData;

pub(super) const TABLE: Table = &[
    ("Concat", concat),
    ("DepthToSpace", depth_to_space),
    ("Expand", expand),
    ("ReverseSequence", reverse_sequence),
    ("SpaceToDepth", space_to_depth),
    ("Transpose", transpose),
    ("Trilu", trilu),
    ("Where", select),
];

type Outputs = Result<Vec<TensorData>, EngineError>;

/// The tensor whose elements stand at these places of the input, in this order.
fn take(
    call: &NodeCall<'_>,
    data: &TensorData,
    dims: &[u64],
    places: impl Iterator<Item = usize>,
) -> Result<TensorData, EngineError> {
    let mut cells = Cells::new(data.dtype(), call.sized(data.dtype(), dims)?);
    let source = Cells::of(data);
    places.for_each(|place| cells.push(&source, place, 1));
    cells.tensor(call, data.dtype(), dims)
}

fn permute(call: &NodeCall<'_>, data: &TensorData, perm: &[usize]) -> Result<TensorData, EngineError> {
    let dims: Vec<u64> = perm.iter().map(|&k| data.dims()[k]).collect();
    call.sized(data.dtype(), &dims)?;
    let width = data.dtype().bits().is_multiple_of(8).then_some(data.dtype().bits() as usize / 8);
    if let Some((bytes, width)) = data.bytes().zip(width)
        && let Some(moved) = permuted(bytes, width, data.dims(), perm)
    {
        return TensorData::new(data.dtype(), &dims, moved).map_err(|e| call.invalid(e));
    }
    let steps = strides(data.dims());
    let steps: Vec<isize> = perm.iter().map(|&k| steps[k] as isize).collect();
    take(call, data, &dims, Offsets::new(&dims, &steps, 0))
}

fn transpose(call: &NodeCall<'_>) -> Outputs {
    let data = call.need(0)?;
    let perm = match call.ints_attr("perm")? {
        Some(perm) => call.axes(&perm, data.rank())?,
        None => (0..data.rank()).rev().collect(),
    };
    if perm.len() != data.rank() {
        return Err(call.invalid(format_args!("perm has {} axes, not {}", perm.len(), data.rank())));
    }
    Ok(vec![permute(call, data, &perm)?])
}

/// `[N, C, H, W]`, the size of the blocks, and whether the depth is ordered column-row-depth.
fn blocks(call: &NodeCall<'_>) -> Result<([u64; 4], u64, bool), EngineError> {
    let dims = call.need(0)?.dims();
    let dims =
        <[u64; 4]>::try_from(dims).map_err(|_| call.invalid(format_args!("{dims:?} is not of rank 4")))?;
    let size = call.int_attr("blocksize")?.and_then(|b| u64::try_from(b).ok()).filter(|&b| b > 0);
    let size = size.filter(|b| b.checked_mul(*b).is_some());
    let size = size.ok_or_else(|| call.invalid("blocksize must be a positive number"))?;
    match call.str_or("mode", "DCR")?.as_str() {
        "DCR" => Ok((dims, size, false)),
        "CRD" => Ok((dims, size, true)),
        other => Err(call.invalid(format_args!("mode `{other}` is unknown"))),
    }
}

fn depth_to_space(call: &NodeCall<'_>) -> Outputs {
    let ([n, c, h, w], b, crd) = blocks(call)?;
    if c % (b * b) != 0 {
        return Err(call.invalid(format_args!("{c} channels are no multiple of {b} squared")));
    }
    let depth = c / (b * b);
    let (split, perm) = if crd {
        ([n, depth, b, b, h, w], [0, 1, 4, 2, 5, 3])
    } else {
        ([n, b, b, depth, h, w], [0, 3, 4, 1, 5, 2])
    };
    let moved = permute(call, &redim(call, call.need(0)?, &split)?, &perm)?;
    Ok(vec![redim(call, &moved, &[n, depth, h.saturating_mul(b), w.saturating_mul(b)])?])
}

fn space_to_depth(call: &NodeCall<'_>) -> Outputs {
    let ([n, c, h, w], b, crd) = blocks(call)?;
    if h % b != 0 || w % b != 0 {
        return Err(call.invalid(format_args!("an image of {h} by {w} has no whole blocks of {b}")));
    }
    let split = [n, c, h / b, b, w / b, b];
    let perm = if crd { [0, 1, 3, 5, 2, 4] } else { [0, 3, 5, 1, 2, 4] };
    let moved = permute(call, &redim(call, call.need(0)?, &split)?, &perm)?;
    Ok(vec![redim(call, &moved, &[n, c.saturating_mul(b * b), h / b, w / b])?])
}

fn concat(call: &NodeCall<'_>) -> Outputs {
    let first = call.need(0)?;
    let axis = call.int_attr("axis")?.ok_or_else(|| call.invalid("attribute `axis` is absent"))?;
    let axis = call.axis(axis, first.rank())?;
    let mut dims = first.dims().to_vec();
    let mut parts = Vec::with_capacity(call.inputs.len());
    for slot in 0..call.inputs.len() {
        let part = call.need(slot)?;
        call.same_type(first, part)?;
        let same = |k: usize| k == axis || part.dims()[k] == dims[k];
        if part.rank() != dims.len() || !(0..dims.len()).all(same) {
            return Err(call.invalid(format_args!(
                "{:?} and {:?} do not fit together",
                first.dims(),
                part.dims()
            )));
        }
        if slot > 0 {
            dims[axis] = dims[axis].saturating_add(part.dims()[axis]);
        }
        parts.push((Cells::of(part), part.dims()[axis] as usize));
    }
    let elements = call.sized(first.dtype(), &dims)?;
    let mut cells = Cells::new(first.dtype(), elements);
    let Around { outer, inner, .. } = super::select::around(call, &dims, axis)?;
    if elements > 0 {
        for block in 0..outer {
            for (part, size) in &parts {
                cells.push(part, block * size * inner, size * inner);
            }
        }
    }
    Ok(vec![cells.tensor(call, first.dtype(), &dims)?])
}

fn expand(call: &NodeCall<'_>) -> Outputs {
    let data = call.need(0)?;
    let sizes = call.dims(&call.need_ints(1)?)?;
    let wrong = || call.invalid(format_args!("{:?} does not broadcast with {sizes:?}", data.dims()));
    let dims = broadcast(&[data.dims(), &sizes]).ok_or_else(wrong)?;
    call.sized(data.dtype(), &dims)?;
    let places = Offsets::broadcast(data.dims(), &dims).ok_or_else(wrong)?;
    Ok(vec![take(call, data, &dims, places)?])
}

fn select(call: &NodeCall<'_>) -> Outputs {
    let (condition, yes, no) = (call.need(0)?, call.need(1)?, call.need(2)?);
    let choice = condition.to_vec::<bool>().ok_or_else(|| call.invalid("the condition must be boolean"))?;
    let dtype = call.same_type(yes, no)?;
    let shapes = [condition.dims(), yes.dims(), no.dims()];
    let wrong = || call.invalid(format_args!("{shapes:?} do not broadcast"));
    let dims = broadcast(&shapes).ok_or_else(wrong)?;
    let mut cells = Cells::new(dtype, call.sized(dtype, &dims)?);
    let walk = |shape: &[u64]| Offsets::broadcast(shape, &dims).ok_or_else(wrong);
    let (yes_cells, no_cells) = (Cells::of(yes), Cells::of(no));
    for ((c, y), n) in walk(shapes[0])?.zip(walk(shapes[1])?).zip(walk(shapes[2])?) {
        let (from, at) = if choice[c] { (&yes_cells, y) } else { (&no_cells, n) };
        cells.push(from, at, 1);
    }
    Ok(vec![cells.tensor(call, dtype, &dims)?])
}

fn reverse_sequence(call: &NodeCall<'_>) -> Outputs {
    let (data, lengths) = (call.need(0)?, call.need_ints(1)?);
    let (batch, time) = (call.int_or("batch_axis", 1)?, call.int_or("time_axis", 0)?);
    if data.rank() < 2 || !matches!((batch, time), (0, 1) | (1, 0)) {
        return Err(call.invalid("it needs a batch axis and a time axis, which are 0 and 1 in either order"));
    }
    let (batch, time) = (batch as usize, time as usize);
    let dims = data.dims();
    let fits = |&length: &i64| u64::try_from(length).is_ok_and(|l| l <= dims[time]);
    if lengths.len() as u64 != dims[batch] || !lengths.iter().all(fits) {
        return Err(call.invalid(format_args!("sequence_lens does not fit {dims:?}")));
    }
    call.sized(data.dtype(), dims)?;
    let steps = strides(dims);
    let mut walk = Odometer::new(dims);
    let place = || {
        let at = walk.advance()?;
        let length = lengths[at[batch] as usize] as u64;
        let turned = if at[time] < length { length - 1 - at[time] } else { at[time] };
        let step = |k: usize| if k == time { turned } else { at[k] } as usize * steps[k];
        Some((0..at.len()).map(step).sum())
    };
    Ok(vec![take(call, data, dims, std::iter::from_fn(place))?])
}

fn trilu(call: &NodeCall<'_>) -> Outputs {
    let data = call.need(0)?;
    let (upper, k) = (call.flag("upper", true)?, i128::from(call.int(1)?.unwrap_or(0)));
    let [.., rows, columns] = *data.dims() else {
        return Err(call.invalid(format_args!("{:?} holds no matrix", data.dims())));
    };
    let mut cells = Cells::new(data.dtype(), call.sized(data.dtype(), data.dims())?);
    let (source, zero) = (Cells::of(data), Cells::zero(data.dtype()));
    for at in 0..source.len() as u64 {
        let (row, column) = (at / columns % rows, at % columns);
        let diagonal = i128::from(column) - i128::from(row) - k;
        let kept = if upper { diagonal >= 0 } else { diagonal <= 0 };
        let (from, at) = if kept { (&source, at as usize) } else { (&zero, 0) };
        cells.push(from, at, 1);
    }
    Ok(vec![cells.tensor(call, data.dtype(), data.dims())?])
}

#[cfg(test)]
#[path = "arrange_tests.rs"]
mod tests;
