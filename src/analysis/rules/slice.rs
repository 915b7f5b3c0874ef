//! Operators that cut and pad: Slice, Split, Pad, `CenterCropPad`.

use super::layout::known;
use super::reshape::dims_from;
use super::{Call, Outs, Tensor, axes_of, dims, one};
use crate::analysis::calc::Calc;
use crate::analysis::expr::Expr;

/// An end this large means "to the end": exporters write the largest `int32` or `int64`.
const TO_THE_END: i64 = i32::MAX as i64;

/// Where a slice with a positive step starts or ends on an axis, clamped to it.
fn clamped(at: &Expr, size: &Expr, calc: &mut Calc<'_>) -> Option<Expr> {
    if let (Some(at), Some(n)) = (at.known(), size.known()) {
        let place = if at < 0 { at.saturating_add(n) } else { at };
        return Some(Expr::of(place.clamp(0, n)));
    }
    let from_end = match at.known() {
        Some(n) if n >= TO_THE_END => return Some(size.clone()),
        Some(n) if n <= -TO_THE_END => return Some(Expr::of(0)),
        Some(n) => n < 0,
        None if at == size => return Some(size.clone()),
        None if calc.is_size(at) => false,
        None => return None,
    };
    if from_end {
        let place = calc.add(size, at);
        return Some(calc.max(&place, &Expr::of(0)));
    }
    Some(calc.min(at, size))
}

/// Backwards to the largest number: by the standard's text that takes nothing, by onnxruntime everything.
fn is_disputed(end: i64) -> bool {
    end == TO_THE_END || end == i64::MAX
}

/// The first index of a slice backwards over `n` elements, and the last before which it ends. A start before the first
/// element is that element.
fn backwards(start: i64, end: i64, n: i64) -> (i64, i64) {
    let place = |at: i64| if at < 0 { at.saturating_add(n) } else { at };
    let to = place(end).clamp(-1, (n - 1).max(-1));
    let from = place(start).max(0).min(n - 1);
    (from.max(to), to)
}

/// How many elements `start..end` by `step` takes of an axis.
fn taken(size: &Expr, start: &Expr, end: &Expr, step: i64, calc: &mut Calc<'_>) -> Option<Expr> {
    if step > 0 {
        let to = clamped(end, size, calc)?;
        let few = start.known().and_then(i64::checked_neg).filter(|few| *few > 0);
        let len = match few {
            // The last few: as many as there are, but no more than asked for.
            Some(few) if to == *size => calc.min(size, &Expr::of(few)),
            _ => {
                // A start beyond the end takes nothing, clamped or not.
                let far = start.known().is_some_and(|n| n >= TO_THE_END) && size.known().is_none();
                let from =
                    if calc.is_size(start) && !far { start.clone() } else { clamped(start, size, calc)? };
                let len = calc.sub(&to, &from);
                calc.max(&len, &Expr::of(0))
            }
        };
        return Some(calc.div_ceil(&len, step));
    }
    let back = step.checked_neg().filter(|n| *n > 0)?;
    let (start, end) = (start.known()?, end.known().filter(|&end| !is_disputed(end))?);
    if (start == -1 || start >= TO_THE_END) && end <= -TO_THE_END {
        return Some(calc.div_ceil(size, back));
    }
    let n = size.known()?;
    let (from, to) = backwards(start, end, n);
    Some(calc.div_ceil(&Expr::of(from - to), back))
}

pub(super) fn slice(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let shape = call.shape(0)?;
    let mut out = shape.to_vec();
    let (starts, ends) = (call.list(1), call.list(2));
    let count = [&starts, &ends].into_iter().flatten().map(Vec::len).next();
    let axes = if call.has(3) { call.ints(3) } else { count.map(|n| (0..n as i64).collect()) };
    let Some(axes) = axes.and_then(|a| axes_of(&a, shape.len())) else {
        return dims(calc.unknowns(shape.len()));
    };
    let steps = if call.has(4) { call.ints(4) } else { Some(vec![1; axes.len()]) };
    for (i, &axis) in axes.iter().enumerate() {
        let at = |list: &Option<Vec<Option<Expr>>>| list.as_ref()?.get(i)?.clone();
        let dim = out.get_mut(axis)?;
        let step = steps.as_ref().and_then(|s| s.get(i)).copied();
        let len = match (at(&starts), at(&ends), step) {
            (Some(start), Some(end), Some(step)) => taken(dim, &start, &end, step, calc),
            _ => None,
        };
        *dim = len.unwrap_or_else(|| calc.unknown());
    }
    let cut = || {
        let (elems, [axis]) = (call.elems(0).filter(|e| !e.is_empty())?, axes.as_slice()) else {
            return None;
        };
        let sizes = known(shape)?;
        let n = i64::try_from(*sizes.get(*axis)?).ok()?;
        let (start, end) = (starts?.first()?.clone()?.known()?, ends?.first()?.clone()?.known()?);
        let taken: Vec<usize> = picked(n, start, end, steps?.first().copied()?)?.collect();
        let block: usize = sizes.get(axis + 1..)?.iter().product();
        let mut out = Vec::new();
        for row in elems.chunks(block * sizes.get(*axis)?) {
            for i in &taken {
                out.extend_from_slice(row.get(i * block..(i + 1) * block)?);
            }
        }
        Some(out)
    };
    let elems = cut();
    one(Tensor { elems, ..Tensor::of(out) })
}

/// The indices that a slice of an axis of known size takes.
fn picked(n: i64, start: i64, end: i64, step: i64) -> Option<Box<dyn Iterator<Item = usize>>> {
    let place = |at: i64| if at < 0 { at.saturating_add(n) } else { at };
    let stride = usize::try_from(step.unsigned_abs()).ok().filter(|&s| s > 0)?;
    Some(if step > 0 {
        let range = place(start).clamp(0, n)..place(end).clamp(0, n);
        Box::new(range.step_by(stride).map(|i| i as usize))
    } else if is_disputed(end) {
        return None;
    } else {
        let (from, to) = backwards(start, end, n);
        Box::new(((to + 1)..=from).rev().step_by(stride).map(|i| i as usize))
    })
}

pub(super) fn split(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let shape = call.shape(0)?;
    let axis = call.axis("axis", 0, shape.len())?;
    let whole = shape.get(axis)?;
    let parts = call.node.output_count();
    let sizes = if call.has(1) {
        match call.list(1) {
            Some(sizes) if sizes.len() == parts => sizes,
            Some(_) => return None,
            None => vec![None; parts],
        }
    } else {
        let asked = usize::try_from(call.int("num_outputs", parts as i64)).ok()?;
        if asked != parts || parts == 0 {
            return None;
        }
        let chunk = calc.div_ceil(whole, parts as i64);
        let before = calc.mul(&chunk, &Expr::of(parts as i64 - 1));
        let last = if parts == 1 { whole.clone() } else { calc.sub(whole, &before) };
        let last = match last.known() {
            Some(n) if n < 0 => calc.unknown(),
            _ => last,
        };
        // Parts of a symbolic whole are equal only where it divides.
        let exact = whole.known().is_some();
        let mut sizes = vec![exact.then_some(chunk); parts - 1];
        sizes.push((exact || parts == 1).then_some(last));
        sizes
    };
    let mut from = Some(0usize);
    let mut outs = Vec::with_capacity(parts);
    for part in &sizes {
        let len = super::size(part.as_ref(), calc);
        let mut out = shape.to_vec();
        *out.get_mut(axis)? = len.clone();
        let to = from.and_then(|f| f.checked_add(usize::try_from(len.known()?).ok()?));
        let list = call.elems(0).filter(|_| shape.len() == 1);
        let elems = list.zip(from.zip(to)).and_then(|(e, (f, t))| Some(e.get(f..t)?.to_vec()));
        from = to;
        outs.push(Tensor { elems, ..Tensor::of(out) });
    }
    Some(outs)
}

pub(super) fn pad(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let shape = call.shape(0)?;
    let axes = if call.has(3) {
        match call.ints(3) {
            Some(axes) => axes_of(&axes, shape.len())?,
            None => return dims(calc.unknowns(shape.len())),
        }
    } else {
        (0..shape.len()).collect()
    };
    let Some(pads) = call.list(1) else {
        return dims(calc.unknowns(shape.len()));
    };
    if pads.len() != 2 * axes.len() {
        return None;
    }
    let mut out = shape.to_vec();
    for (i, &axis) in axes.iter().enumerate() {
        let dim = out.get_mut(axis)?;
        *dim = match (pads.get(i)?, pads.get(i + axes.len())?) {
            (Some(before), Some(after)) => {
                let more = calc.add(before, after);
                calc.add(dim, &more)
            }
            _ => calc.unknown(),
        };
    }
    dims(out)
}

pub(super) fn center_crop_pad(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let shape = call.shape(0)?;
    let axes = match call.node.attrs.ints("axes") {
        Some(axes) => axes_of(axes, shape.len())?,
        None => (0..shape.len()).collect(),
    };
    let Some(wanted) = dims_from(call, 1, calc).filter(|w| w.len() == axes.len()) else {
        return dims(calc.unknowns(shape.len()));
    };
    let mut out = shape.to_vec();
    for (axis, size) in axes.into_iter().zip(wanted) {
        *out.get_mut(axis)? = size;
    }
    dims(out)
}

#[cfg(test)]
mod tests {
    use super::picked;

    #[test]
    fn backwards_to_the_largest_number_is_left_open() {
        let taken = |end, step| picked(3, -1, end, step).map(Iterator::collect::<Vec<_>>);
        for largest in [i64::MAX, i32::MAX.into()] {
            assert_eq!(taken(largest, 1), Some(vec![2]));
            assert_eq!(taken(largest, -1), None);
        }
        assert_eq!(taken(i64::MIN, -1), Some(vec![2, 1, 0]));
    }

    #[test]
    fn a_start_before_the_first_element_is_that_element_backwards() {
        let taken = |n, start, end| picked(n, start, end, -1).map(Iterator::collect::<Vec<_>>);
        assert_eq!(taken(3, -9, i64::MIN), Some(vec![0]));
        assert_eq!(taken(3, i64::MIN, -3), Some(vec![]));
        assert_eq!(taken(3, 9, 0), Some(vec![2, 1]));
        assert_eq!(taken(0, -1, i64::MIN), Some(vec![]));
    }
}
