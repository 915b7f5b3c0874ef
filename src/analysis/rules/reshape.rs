//! Operators that give the same elements other dims: Reshape, Flatten, Squeeze, Unsqueeze.

use super::{Call, Outs, Tensor, axes_of, axis_of, dims, one, size};
use crate::analysis::calc::Calc;
use crate::analysis::expr::Expr;

/// Keeps the elements where the result is still of rank 0 or 1.
fn keep_elems(call: &Call<'_>, out: Vec<Expr>) -> Outs {
    let elems = call.elems(0).map(<[Expr]>::to_vec);
    one(Tensor { elems, ..Tensor::of(out) })
}

pub(super) fn flatten(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let Some(shape) = call.shape(0) else {
        return dims(calc.unknowns(2));
    };
    let axis = call.int("axis", 1);
    let axis =
        if usize::try_from(axis) == Ok(shape.len()) { shape.len() } else { axis_of(axis, shape.len())? };
    let (outer, inner) = shape.split_at_checked(axis)?;
    dims(vec![calc.product(outer), calc.product(inner)])
}

/// One wanted dim of a Reshape.
enum Wanted {
    Size(Expr),
    /// Minus one, or an element that may be minus one or zero.
    Open,
}

pub(super) fn reshape(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let wanted = call.list(1)?;
    let data = call.shape(0);
    let zero_copies = call.int("allowzero", 0) == 0;
    let mut out = Vec::with_capacity(wanted.len());
    for (axis, elem) in wanted.iter().enumerate() {
        out.push(match elem {
            Some(e) if e.is(0) && zero_copies => match data {
                Some(dims) => Wanted::Size(dims.get(axis)?.clone()),
                None => Wanted::Size(calc.unknown()),
            },
            Some(e) if e.known().is_some_and(|n| n < -1) => return None,
            Some(e) if calc.is_size(e) => Wanted::Size(e.clone()),
            _ => Wanted::Open,
        });
    }
    let open = out.iter().filter(|w| matches!(w, Wanted::Open)).count();
    let sizes: Vec<Expr> =
        out.iter().filter_map(|w| if let Wanted::Size(e) = w { Some(e.clone()) } else { None }).collect();
    let rest = match data {
        Some(data) if open == 1 => Some(remainder(data, &sizes, calc)?),
        Some(data) if open == 0 && counts_differ(data, &sizes) => return None,
        _ => None,
    };
    let out = out.into_iter().map(|w| match (w, &rest) {
        (Wanted::Size(e), _) => e,
        (Wanted::Open, Some(rest)) => rest.clone(),
        (Wanted::Open, None) => calc.unknown(),
    });
    let out = out.collect();
    keep_elems(call, out)
}

fn count(dims: &[Expr]) -> Option<i64> {
    dims.iter().try_fold(1i64, |n, d| n.checked_mul(d.known()?))
}

fn counts_differ(data: &[Expr], sizes: &[Expr]) -> bool {
    count(data).zip(count(sizes)).is_some_and(|(a, b)| a != b)
}

/// The one dim that makes the counts equal. What both sides have cancels; `None` where the rest does not divide.
fn remainder(data: &[Expr], sizes: &[Expr], calc: &mut Calc<'_>) -> Option<Expr> {
    let mut left: Vec<Expr> = data.to_vec();
    let mut right = Vec::new();
    for size in sizes {
        match left.iter().position(|d| d == size && !d.is(0)) {
            Some(at) => {
                left.swap_remove(at);
            }
            None => right.push(size.clone()),
        }
    }
    match (count(&left), count(&right)) {
        (_, Some(0)) => Some(calc.unknown()),
        (Some(a), Some(b)) => (a.checked_rem(b) == Some(0)).then(|| Expr::of(a / b)),
        _ => {
            let (a, b) = (calc.product(&left), calc.product(&right));
            Some(calc.div(&a, &b))
        }
    }
}

pub(super) fn squeeze(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let shape = call.shape(0)?;
    let axes = if call.has(1) {
        let Some(axes) = call.ints(1) else {
            let gone = call.list(1)?.len();
            return dims(calc.unknowns(shape.len().checked_sub(gone)?));
        };
        axes_of(&axes, shape.len())?
    } else {
        // Every dim that is 1 goes, so each of them has to be known.
        if shape.iter().any(|d| d.known().is_none()) {
            return None;
        }
        (0..shape.len()).filter(|&i| shape.get(i).is_some_and(|d| d.is(1))).collect()
    };
    if axes.iter().any(|&a| shape.get(a).and_then(Expr::known).is_some_and(|n| n != 1)) {
        return None;
    }
    let kept = shape.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, d)| d.clone());
    keep_elems(call, kept.collect())
}

pub(super) fn unsqueeze(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let shape = call.shape(0)?;
    let Some(axes) = call.ints(1) else {
        let more = call.list(1)?.len();
        return dims(calc.unknowns(shape.len() + more));
    };
    let rank = shape.len() + axes.len();
    let axes = axes_of(&axes, rank)?;
    let mut kept = shape.iter();
    let out = (0..rank).map(|i| if axes.contains(&i) { Some(Expr::of(1)) } else { kept.next().cloned() });
    keep_elems(call, out.collect::<Option<_>>()?)
}

/// Dims given by the elements of an input, for `ConstantOfShape` and its like.
pub(super) fn dims_from(call: &Call<'_>, slot: usize, calc: &mut Calc<'_>) -> Option<Vec<Expr>> {
    Some(call.list(slot)?.iter().map(|e| size(e.as_ref(), calc)).collect())
}
