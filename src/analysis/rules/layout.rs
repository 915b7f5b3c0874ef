//! Operators that move elements: Transpose, Concat, Expand, Tile, Shape and their like.

use super::elementwise::broadcast_shapes;
use super::{Call, Outs, Tensor, axis_of, dims, one, perm_of, size};
use crate::analysis::calc::Calc;
use crate::analysis::expr::Expr;
use crate::analysis::fact::MAX_ELEMS;

pub(super) fn transpose(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let Some(shape) = call.shape(0) else {
        return dims(calc.unknowns(call.node.attrs.ints("perm")?.len()));
    };
    let perm = perm_of(call.node, shape.len())?;
    let out = perm.iter().map(|&axis| shape[axis].clone()).collect();
    let elems = call.elems(0).and_then(|elems| permuted(elems, &known(shape)?, &perm));
    one(Tensor { elems, ..Tensor::of(out) })
}

/// Dims that are all known.
pub(super) fn known(dims: &[Expr]) -> Option<Vec<usize>> {
    dims.iter().map(|d| usize::try_from(d.known()?).ok()).collect()
}

/// The elements of a tensor with its axes in another order.
fn permuted(elems: &[Expr], dims: &[usize], perm: &[usize]) -> Option<Vec<Expr>> {
    if elems.is_empty() {
        return None;
    }
    let mut strides = vec![1usize; dims.len()];
    for axis in (1..dims.len()).rev() {
        *strides.get_mut(axis - 1)? = strides.get(axis)?.checked_mul(*dims.get(axis)?)?;
    }
    let mut places = vec![0usize];
    for &axis in perm {
        let (size, stride) = (*dims.get(axis)?, *strides.get(axis)?);
        places = places.iter().flat_map(|p| (0..size).map(move |i| p + i * stride)).collect();
        if places.len() > MAX_ELEMS {
            return None;
        }
    }
    places.into_iter().map(|p| elems.get(p).cloned()).collect()
}

/// The surer of two claims about one size.
fn surer<'e>(a: &'e Expr, b: &'e Expr) -> &'e Expr {
    let rank = |e: &Expr| (e.known().is_some(), !e.has_fresh());
    if rank(b) > rank(a) { b } else { a }
}

pub(super) fn concat(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let known = || (0..call.inputs.len()).filter_map(|i| call.shape(i));
    let mut out = known().next()?.to_vec();
    let axis = axis_of(call.node.attrs.int("axis")?, out.len())?;
    if known().any(|s| s.len() != out.len()) {
        return None;
    }
    for shape in known().skip(1) {
        for (at, (a, b)) in out.iter_mut().zip(shape).enumerate() {
            let clash = a.known().zip(b.known()).is_some_and(|(a, b)| a != b);
            if at != axis && clash {
                return None;
            }
            *a = surer(a, b).clone();
        }
    }
    let mut sum = Expr::of(0);
    for slot in 0..call.inputs.len() {
        let part = call.shape(slot).and_then(|s| s.get(axis)).cloned().unwrap_or_else(|| calc.unknown());
        sum = calc.add(&sum, &part);
    }
    *out.get_mut(axis)? = sum;
    let parts = || (0..call.inputs.len()).map(|i| call.elems(i)).collect();
    let elems: Option<Vec<&[Expr]>> = if axis == 0 { parts() } else { None };
    one(Tensor { elems: elems.map(|e| e.concat()), ..Tensor::of(out) })
}

pub(super) fn expand(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let wanted: Vec<Expr> = call.list(1)?.iter().map(|e| size(e.as_ref(), calc)).collect();
    let data = call.shape(0)?;
    // A wanted dim that is unknown may turn out to be 1; then the dim of the data stays.
    let out = broadcast_shapes(data, &wanted, calc)?;
    let elems = call.elem(0).and_then(|e| match out.as_slice() {
        [] => Some(vec![e.clone()]),
        [n] => {
            let len = usize::try_from(n.known()?).ok().filter(|&n| n <= MAX_ELEMS)?;
            Some(vec![e.clone(); len])
        }
        _ => None,
    });
    one(Tensor { elems, ..Tensor::of(out) })
}

pub(super) fn tile(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let shape = call.shape(0)?;
    let repeats = match call.list(1) {
        Some(repeats) if repeats.len() == shape.len() => repeats,
        Some(_) => return None,
        None => vec![None; shape.len()],
    };
    let out = shape.iter().zip(&repeats).map(|(n, r)| {
        let times = size(r.as_ref(), calc);
        calc.mul(n, &times)
    });
    let out: Vec<_> = out.collect();
    let times = repeats.first().and_then(|r| usize::try_from(r.as_ref()?.known()?).ok());
    let list = call.elems(0).filter(|_| shape.len() == 1).zip(times);
    let elems = list.and_then(|(e, times)| {
        (times <= MAX_ELEMS && e.len() * times <= MAX_ELEMS).then(|| vec![e; times].concat())
    });
    one(Tensor { elems, ..Tensor::of(out) })
}

pub(super) fn shape(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let Some(shape) = call.shape(0) else {
        return dims(vec![calc.unknown()]);
    };
    let rank = shape.len() as i64;
    let clamp = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let (start, end) = (clamp(call.int("start", 0)), clamp(call.int("end", rank)));
    one(Tensor::with_elems(1, shape.get(start..end.max(start))?.to_vec()))
}

pub(super) fn size_of(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let Some(shape) = call.shape(0) else {
        return one(super::scalar());
    };
    one(Tensor::with_elems(0, vec![calc.product(shape)]))
}

/// The dims of an image batch and its block size, for the two operators below.
fn blocks<'a>(call: &Call<'a>) -> Option<(&'a [Expr; 4], Expr)> {
    let shape: &[Expr; 4] = call.shape(0)?.try_into().ok()?;
    let block = call.node.attrs.int("blocksize").filter(|&b| b > 0)?;
    Some((shape, Expr::of(block)))
}

pub(super) fn depth_to_space(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let ([n, c, h, w], block) = blocks(call)?;
    let area = calc.mul(&block, &block);
    let c = calc.div(c, &area);
    dims(vec![n.clone(), c, calc.mul(h, &block), calc.mul(w, &block)])
}

pub(super) fn space_to_depth(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let ([n, c, h, w], block) = blocks(call)?;
    let area = calc.mul(&block, &block);
    let c = calc.mul(c, &area);
    dims(vec![n.clone(), c, calc.div(h, &block), calc.div(w, &block)])
}
