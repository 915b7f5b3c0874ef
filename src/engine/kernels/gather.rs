//! Operators that read or write elements at places that an input lists.

use super::Table;
use super::cells::Cells;
use super::index::{Odometer, count, strides};
use super::scalar::{Rounding, Scalar, encode, is_numeric, load};
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

pub(super) const TABLE: Table = &[
    ("GatherElements", gather_elements),
    ("GatherND", gather_nd),
    ("ScatterElements", scatter_elements),
    ("ScatterND", scatter_nd),
    ("TensorScatter", tensor_scatter),
];

type Outputs = Result<Vec<TensorData>, EngineError>;

/// The places in `data` that `indices` point at along an axis, each index at its own coordinates otherwise.
fn element_places(
    call: &NodeCall<'_>,
    data: &TensorData,
    indices: &TensorData,
) -> Result<Vec<usize>, EngineError> {
    let axis = call.axis(call.int_or("axis", 0)?, data.rank())?;
    let (dims, steps) = (data.dims(), strides(data.dims()));
    let fits =
        indices.rank() == dims.len() && (0..dims.len()).all(|k| k == axis || indices.dims()[k] <= dims[k]);
    if !fits {
        return Err(call.invalid(format_args!("indices {:?} do not fit {dims:?}", indices.dims())));
    }
    let mut walk = Odometer::new(indices.dims());
    let mut places = Vec::with_capacity(indices.len());
    for index in call.need_ints(1)? {
        let place = call.place(index, dims[axis])?;
        let at = walk.advance().unwrap_or(&[]);
        let step = |k: usize| if k == axis { place } else { at[k] as usize } * steps[k];
        places.push((0..at.len()).map(step).sum());
    }
    Ok(places)
}

/// The places in `data` of the slices that tuples of indices point at, and the dims of such a slice. The first
/// `batch` axes of both go together.
fn slice_places<'a>(
    call: &NodeCall<'_>,
    data: &'a TensorData,
    indices: &TensorData,
    batch: usize,
) -> Result<(Vec<usize>, &'a [u64]), EngineError> {
    let (dims, steps) = (data.dims(), strides(data.dims()));
    let wrong = || call.invalid(format_args!("indices {:?} do not fit {dims:?}", indices.dims()));
    let (&tuple, lead) = indices.dims().split_last().ok_or_else(wrong)?;
    let tuple =
        usize::try_from(tuple).ok().filter(|&t| t <= dims.len().saturating_sub(batch)).ok_or_else(wrong)?;
    if lead.len() < batch || dims.get(..batch) != lead.get(..batch) || tuple == 0 {
        return Err(wrong());
    }
    let values = call.need_ints(1)?;
    let tuples = count(lead).ok_or_else(wrong)?;
    let block = count(&dims[batch..]).unwrap_or(0);
    let per_batch = tuples / count(&dims[..batch]).unwrap_or(0).max(1);
    let mut places = Vec::with_capacity(tuples);
    for i in 0..tuples {
        let mut place = if batch == 0 { 0 } else { i / per_batch.max(1) * block };
        for (k, &index) in values.get(i * tuple..(i + 1) * tuple).unwrap_or(&[]).iter().enumerate() {
            place += call.place(index, dims[batch + k])? * steps[batch + k];
        }
        places.push(place);
    }
    Ok((places, &dims[batch + tuple..]))
}

fn gather_elements(call: &NodeCall<'_>) -> Outputs {
    let (data, indices) = (call.need(0)?, call.need(1)?);
    let mut cells = Cells::new(data.dtype(), call.sized(data.dtype(), indices.dims())?);
    let source = Cells::of(data);
    element_places(call, data, indices)?.into_iter().for_each(|place| cells.push(&source, place, 1));
    Ok(vec![cells.tensor(call, data.dtype(), indices.dims())?])
}

fn gather_nd(call: &NodeCall<'_>) -> Outputs {
    let (data, indices) = (call.need(0)?, call.need(1)?);
    let batch = call.int_or("batch_dims", 0)?;
    let batch = usize::try_from(batch).map_err(|_| call.invalid(format_args!("batch_dims is {batch}")))?;
    let (places, slice) = slice_places(call, data, indices, batch)?;
    let lead = indices.dims().split_last().map_or(&[][..], |(_, lead)| lead);
    let dims = [lead, slice].concat();
    let mut cells = Cells::new(data.dtype(), call.sized(data.dtype(), &dims)?);
    let (source, run) = (Cells::of(data), count(slice).unwrap_or(0));
    for place in places {
        cells.push(&source, place, run);
    }
    Ok(vec![cells.tensor(call, data.dtype(), &dims)?])
}

/// What happens to an element that an update meets.
#[derive(Clone, Copy, PartialEq)]
enum Reduction {
    None,
    Add,
    Mul,
    Max,
    Min,
}

impl Reduction {
    fn of(call: &NodeCall<'_>, dtype: DType) -> Result<Self, EngineError> {
        let reduction = match call.str_or("reduction", "none")?.as_str() {
            "none" => return Ok(Self::None),
            "add" => Self::Add,
            "mul" => Self::Mul,
            "max" => Self::Max,
            "min" => Self::Min,
            other => return Err(call.invalid(format_args!("reduction `{other}` is unknown"))),
        };
        if dtype == DType::Bool || !is_numeric(dtype) {
            return Err(call.unsupported(format_args!("a reduction of {dtype}")));
        }
        Ok(reduction)
    }

    /// `None` where one is NaN and the implementations of the standard differ.
    fn apply(self, old: Scalar, new: Scalar) -> Option<Scalar> {
        use Scalar::{Float, Int};
        Some(match (self, old, new) {
            (Self::Add, Int(a), Int(b)) => Int(a + b),
            (Self::Mul, Int(a), Int(b)) => Int(a.wrapping_mul(b)),
            (Self::Max, Int(a), Int(b)) => Int(a.max(b)),
            (Self::Min, Int(a), Int(b)) => Int(a.min(b)),
            (Self::Add, Float(a), Float(b)) => Float(a + b),
            (Self::Mul, Float(a), Float(b)) => Float(a * b),
            (Self::Max | Self::Min, Float(a), Float(b)) if a.is_nan() || b.is_nan() => return None,
            (Self::Max, Float(a), Float(b)) => Float(if b > a { b } else { a }),
            (Self::Min, Float(a), Float(b)) => Float(if b < a { b } else { a }),
            _ => new,
        })
    }
}

/// Writes the updates, `run` elements each, at their places.
fn scatter(
    call: &NodeCall<'_>,
    data: &TensorData,
    updates: &TensorData,
    places: &[usize],
    run: usize,
) -> Result<TensorData, EngineError> {
    let dtype = call.same_type(data, updates)?;
    let reduction = Reduction::of(call, dtype)?;
    call.sized(dtype, data.dims())?;
    let (mut cells, source) = (Cells::of(data), Cells::of(updates));
    if reduction == Reduction::None {
        let mut sorted = places.to_vec();
        sorted.sort_unstable();
        if run > 0 && sorted.windows(2).any(|w| w[0] == w[1]) {
            return Err(
                call.unsupported("two updates of one place, in an order that the standard leaves open")
            );
        }
        places.iter().enumerate().for_each(|(i, &place)| cells.set(place, &source, i * run, run));
        return cells.tensor(call, dtype, data.dims());
    }
    let nan = || call.unsupported("the larger or smaller of a number and NaN");
    for (i, &place) in places.iter().enumerate() {
        for k in 0..run {
            let (old, new) = (load(dtype, cells.get(place + k)), load(dtype, source.get(i * run + k)));
            let value = reduction.apply(old, new).ok_or_else(nan)?;
            let code = encode(dtype, value, Rounding::default()).ok_or_else(|| call.no_type(dtype))?;
            let width = cells.get(place + k).len();
            cells.set_bytes(place + k, &code.to_le_bytes()[..width]);
        }
    }
    cells.tensor(call, dtype, data.dims())
}

fn scatter_elements(call: &NodeCall<'_>) -> Outputs {
    let (data, indices, updates) = (call.need(0)?, call.need(1)?, call.need(2)?);
    if indices.dims() != updates.dims() {
        let dims = (indices.dims(), updates.dims());
        return Err(call.invalid(format_args!("indices {:?} and updates {:?} differ", dims.0, dims.1)));
    }
    let places = element_places(call, data, indices)?;
    Ok(vec![scatter(call, data, updates, &places, 1)?])
}

fn scatter_nd(call: &NodeCall<'_>) -> Outputs {
    let (data, indices, updates) = (call.need(0)?, call.need(1)?, call.need(2)?);
    let (places, slice) = slice_places(call, data, indices, 0)?;
    let lead = indices.dims().split_last().map_or(&[][..], |(_, lead)| lead);
    if updates.dims() != [lead, slice].concat() {
        return Err(
            call.invalid(format_args!("updates {:?} should be {lead:?} and {slice:?}", updates.dims()))
        );
    }
    Ok(vec![scatter(call, data, updates, &places, count(slice).unwrap_or(0))?])
}

fn tensor_scatter(call: &NodeCall<'_>) -> Outputs {
    let (past, update) = (call.need(0)?, call.need(1)?);
    call.same_type(past, update)?;
    let axis = call.axis(call.int_or("axis", -2)?, past.rank())?;
    let dims = past.dims();
    let fits =
        update.rank() == dims.len() && (0..dims.len()).all(|k| k == axis || update.dims()[k] == dims[k]);
    if axis == 0 || !fits || update.dims()[axis] > dims[axis] {
        return Err(call.invalid(format_args!("the update {:?} does not fit {dims:?}", update.dims())));
    }
    let circular = match call.str_or("mode", "linear")?.as_str() {
        "linear" => false,
        "circular" => true,
        other => return Err(call.invalid(format_args!("mode `{other}` is unknown"))),
    };
    let (size, written) = (dims[axis], update.dims()[axis]);
    let starts = call.ints(2)?.unwrap_or_else(|| vec![0; if past.is_empty() { 0 } else { dims[0] as usize }]);
    call.sized(past.dtype(), dims)?;
    let (mut cells, source) = (Cells::of(past), Cells::of(update));
    if past.is_empty() || update.is_empty() {
        return Ok(vec![cells.tensor(call, past.dtype(), dims)?]);
    }
    if starts.len() as u64 != dims[0] {
        return Err(call.invalid(format_args!("{} write indices for a batch of {}", starts.len(), dims[0])));
    }
    let block = super::select::around(call, dims, axis)?;
    for outer in 0..block.outer {
        let start = starts[outer / (block.outer / starts.len())];
        for i in 0..written {
            let at = u64::try_from(start).ok().and_then(|s| s.checked_add(i));
            let at = at.map(|at| if circular { at % size } else { at }).filter(|&at| at < size);
            let at = at
                .ok_or_else(|| call.invalid(format_args!("write index {start} is outside {dims:?}")))?
                as usize;
            let to = (outer * block.size + at) * block.inner;
            let from = (outer * written as usize + i as usize) * block.inner;
            cells.set(to, &source, from, block.inner);
        }
    }
    Ok(vec![cells.tensor(call, past.dtype(), dims)?])
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
