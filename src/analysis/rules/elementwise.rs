//! Operators that work element by element, with or without broadcasting.

use super::{Call, Outs, Tensor, dims, one};
use crate::analysis::calc::Calc;
use crate::analysis::expr::Expr;

/// Output 0 has the dims of input 0.
pub(super) fn same(call: &Call<'_>, _: &mut Calc<'_>) -> Outs {
    dims(call.shape(0)?.to_vec())
}

/// Outputs 0 and 1 have the dims of input 0.
pub(super) fn same_twice(call: &Call<'_>, _: &mut Calc<'_>) -> Outs {
    let out = Tensor::of(call.shape(0)?.to_vec());
    Some(vec![out.clone(), out])
}

/// Input 0, elements included.
pub(super) fn copy(call: &Call<'_>, _: &mut Calc<'_>) -> Outs {
    let elems = call.elems(0).map(<[Expr]>::to_vec);
    one(Tensor { elems, ..Tensor::of(call.shape(0)?.to_vec()) })
}

/// `Cast`: integers stay the integers that they are, or the output type cannot hold them and they are dropped.
pub(super) fn cast(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    if call.node.attrs.int("to") == Some(9) {
        return map(call, calc, |x, _| Some(Expr::of(i64::from(x.known()? != 0))));
    }
    copy(call, calc)
}

/// The dims that the inputs from a slot on broadcast to.
pub(super) fn broadcast_from(call: &Call<'_>, calc: &mut Calc<'_>, from: usize) -> Option<Vec<Expr>> {
    let mut out: Vec<Expr> = Vec::new();
    for slot in from..call.inputs.len() {
        out = broadcast_shapes(&out, call.shape(slot)?, calc)?;
    }
    Some(out)
}

/// The dims that two shapes broadcast to; `None` where they cannot.
pub(in crate::analysis) fn broadcast_shapes(
    a: &[Expr],
    b: &[Expr],
    calc: &mut Calc<'_>,
) -> Option<Vec<Expr>> {
    let rank = a.len().max(b.len());
    let one = Expr::of(1);
    let at = |dims: &[Expr], axis: usize| {
        (axis + dims.len()).checked_sub(rank).and_then(|i| dims.get(i)).unwrap_or(&one).clone()
    };
    (0..rank).map(|axis| calc.broadcast(&at(a, axis), &at(b, axis))).collect()
}

/// All inputs broadcast together.
pub(super) fn broadcast(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    dims(broadcast_from(call, calc, 0)?)
}

/// The dims of a broadcast, and the elements where `f` gives all of them from the elements of the inputs.
fn zip(call: &Call<'_>, calc: &mut Calc<'_>, f: impl Fn(&[&Expr], &mut Calc<'_>) -> Option<Expr>) -> Outs {
    let shape = broadcast_from(call, calc, 0)?;
    let elems = zip_elems(call, &shape, calc, f);
    one(Tensor { elems, ..Tensor::of(shape) })
}

fn zip_elems(
    call: &Call<'_>,
    shape: &[Expr],
    calc: &mut Calc<'_>,
    f: impl Fn(&[&Expr], &mut Calc<'_>) -> Option<Expr>,
) -> Option<Vec<Expr>> {
    let len = match shape {
        [] => 1,
        [n] => usize::try_from(n.known()?).ok().filter(|&n| n <= super::MAX_LIST)?,
        _ => return None,
    };
    let inputs: Vec<&[Expr]> = (0..call.inputs.len()).map(|i| call.elems(i)).collect::<Option<_>>()?;
    let element = |at: usize| -> Option<Vec<&Expr>> {
        inputs.iter().map(|e| if e.len() == 1 { e.first() } else { e.get(at) }).collect()
    };
    (0..len).map(|at| f(&element(at)?, calc)).collect()
}

/// The dims of input 0, and the elements where `f` gives all of them.
fn map(call: &Call<'_>, calc: &mut Calc<'_>, f: impl Fn(&Expr, &mut Calc<'_>) -> Option<Expr>) -> Outs {
    let elems = call.elems(0).and_then(|elems| elems.iter().map(|e| f(e, calc)).collect());
    one(Tensor { elems, ..Tensor::of(call.shape(0)?.to_vec()) })
}

pub(super) fn neg(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    map(call, calc, |x, calc| Some(calc.sub(&Expr::of(0), x)))
}

pub(super) fn abs(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    map(call, calc, |x, calc| match x.known() {
        Some(n) => n.checked_abs().map(Expr::of),
        None => calc.is_size(x).then(|| x.clone()),
    })
}

pub(super) fn not(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    map(call, calc, |x, _| Some(Expr::of(i64::from(x.known()? == 0))))
}

/// Folds the elements of all inputs with a function of two.
fn fold(call: &Call<'_>, calc: &mut Calc<'_>, f: fn(&mut Calc<'_>, &Expr, &Expr) -> Option<Expr>) -> Outs {
    zip(call, calc, |elems, calc| {
        let (first, rest) = elems.split_first()?;
        rest.iter().try_fold((*first).clone(), |a, b| f(calc, &a, b))
    })
}

pub(super) fn add(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    fold(call, calc, |calc, a, b| Some(calc.add(a, b)))
}

pub(super) fn sub(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    fold(call, calc, |calc, a, b| Some(calc.sub(a, b)))
}

pub(super) fn mul(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    fold(call, calc, |calc, a, b| Some(calc.mul(a, b)))
}

pub(super) fn min(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    fold(call, calc, |calc, a, b| Some(calc.min(a, b)))
}

pub(super) fn max(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    fold(call, calc, |calc, a, b| Some(calc.max(a, b)))
}

/// Integers divide toward zero; other types only where nothing is left over.
pub(super) fn div(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let ints = call.inputs.iter().flatten().all(|i| i.fact.dtype.is_some_and(crate::ir::DType::is_int));
    zip(call, calc, |elems, calc| {
        let [a, b] = elems else { return None };
        match (a.known(), b.known()) {
            (Some(a), Some(b)) if ints || (b != 0 && a.checked_rem(b) == Some(0)) => {
                a.checked_div(b).map(Expr::of)
            }
            (_, Some(1)) => Some((*a).clone()),
            (_, known) if ints && calc.is_size(a) && calc.is_size(b) && known != Some(0) => {
                Some(calc.div(a, b))
            }
            _ => None,
        }
    })
}

pub(super) fn modulo(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    zip(call, calc, |elems, _| match elems {
        [a, b] => match (a.known(), b.known()) {
            (Some(a), Some(b)) if a >= 0 && b > 0 => Some(Expr::of(a % b)),
            _ => None,
        },
        _ => None,
    })
}

/// How two integers compare, where that is certain.
fn compare(a: &Expr, b: &Expr, calc: &Calc<'_>) -> Option<std::cmp::Ordering> {
    match (a.known(), b.known()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ if a == b => Some(std::cmp::Ordering::Equal),
        (Some(n), None) if n < 0 && calc.is_size(b) => Some(std::cmp::Ordering::Less),
        (None, Some(n)) if n < 0 && calc.is_size(a) => Some(std::cmp::Ordering::Greater),
        _ => None,
    }
}

fn comparison(call: &Call<'_>, calc: &mut Calc<'_>, holds: fn(std::cmp::Ordering) -> bool) -> Outs {
    zip(call, calc, |elems, calc| match elems {
        [a, b] => compare(a, b, calc).map(|order| Expr::of(i64::from(holds(order)))),
        _ => None,
    })
}

pub(super) fn equal(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    comparison(call, calc, std::cmp::Ordering::is_eq)
}

pub(super) fn less(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    comparison(call, calc, std::cmp::Ordering::is_lt)
}

pub(super) fn less_or_equal(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    comparison(call, calc, std::cmp::Ordering::is_le)
}

pub(super) fn greater(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    comparison(call, calc, std::cmp::Ordering::is_gt)
}

pub(super) fn greater_or_equal(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    comparison(call, calc, std::cmp::Ordering::is_ge)
}

fn logic(call: &Call<'_>, calc: &mut Calc<'_>, f: fn(bool, bool) -> bool) -> Outs {
    zip(call, calc, |elems, _| match elems {
        [a, b] => Some(Expr::of(i64::from(f(a.known()? != 0, b.known()? != 0)))),
        _ => None,
    })
}

pub(super) fn and(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    logic(call, calc, |a, b| a && b)
}

pub(super) fn or(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    logic(call, calc, |a, b| a || b)
}

pub(super) fn select(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    zip(call, calc, |elems, _| match elems {
        [condition, a, b] => match condition.known() {
            Some(0) => Some((*b).clone()),
            Some(_) => Some((*a).clone()),
            None => (a == b).then(|| (*a).clone()),
        },
        _ => None,
    })
}
