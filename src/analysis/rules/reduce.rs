//! Operators that reduce axes, and the normalizations that also return statistics.

use super::{Call, Outs, Tensor, dims, one, scalar};
use crate::analysis::calc::Calc;
use crate::analysis::expr::Expr;

pub(super) fn reduce(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let keep = call.int("keepdims", 1) != 0;
    let given = call.has(1) && !call.shape(1).is_some_and(|s| matches!(s, [n] if n.is(0)));
    let noop = call.int("noop_with_empty_axes", 0) != 0;
    // An empty list whose length is not known reads as no list.
    if call.has(1) && call.shape(1).is_none_or(|s| matches!(s, [n] if n.known().is_none())) {
        return if keep { dims(calc.unknowns(call.shape(0)?.len())) } else { None };
    }
    let Some(shape) = call.shape(0) else {
        return if given || noop || keep { None } else { one(scalar()) };
    };
    if !given && noop {
        return dims(shape.to_vec());
    }
    let axes = if given {
        match call.ints(1) {
            Some(axes) => {
                let mut axes: Vec<usize> =
                    axes.iter().map(|&a| super::axis_of(a, shape.len())).collect::<Option<_>>()?;
                axes.sort_unstable();
                axes.dedup();
                axes
            }
            None if keep => return dims(calc.unknowns(shape.len())),
            None => {
                let gone = call.list(1)?.len();
                return dims(calc.unknowns(shape.len().checked_sub(gone)?));
            }
        }
    } else {
        (0..shape.len()).collect()
    };
    let out = shape
        .iter()
        .enumerate()
        .filter_map(|(i, d)| if axes.contains(&i) { keep.then(|| Expr::of(1)) } else { Some(d.clone()) });
    let out = out.collect();
    let elems = call
        .elems(0)
        .filter(|_| axes == [0] && shape.len() == 1)
        .and_then(|e| total(&call.node.op.name, e, calc));
    one(Tensor { elems, ..Tensor::of(out) })
}

/// What a list of integers reduces to.
fn total(op: &str, elems: &[Expr], calc: &mut Calc<'_>) -> Option<Vec<Expr>> {
    let f: fn(&mut Calc<'_>, &Expr, &Expr) -> Expr = match op {
        "ReduceProd" => |calc, a, b| calc.mul(a, b),
        "ReduceSum" => |calc, a, b| calc.add(a, b),
        "ReduceMax" => |calc, a, b| calc.max(a, b),
        "ReduceMin" => |calc, a, b| calc.min(a, b),
        _ => return None,
    };
    let (first, rest) = elems.split_first()?;
    Some(vec![rest.iter().fold(first.clone(), |a, b| f(calc, &a, b))])
}

pub(super) fn arg(call: &Call<'_>, _: &mut Calc<'_>) -> Outs {
    let mut out = call.shape(0)?.to_vec();
    let axis = call.axis("axis", 0, out.len())?;
    if call.int("keepdims", 1) != 0 {
        *out.get_mut(axis)? = Expr::of(1);
    } else {
        out.remove(axis);
    }
    dims(out)
}

/// The determinant: the last two dims go.
pub(super) fn det(call: &Call<'_>, _: &mut Calc<'_>) -> Outs {
    let shape = call.shape(0)?;
    dims(shape.get(..shape.len().checked_sub(2)?)?.to_vec())
}

pub(super) fn batch_normalization(call: &Call<'_>, _: &mut Calc<'_>) -> Outs {
    let statistics = |slot| call.shape(slot).map_or(Tensor::UNKNOWN, |s| Tensor::of(s.to_vec()));
    let out = call.shape(0).map_or(Tensor::UNKNOWN, |s| Tensor::of(s.to_vec()));
    Some(vec![out, statistics(3), statistics(4)])
}

pub(super) fn layer_normalization(call: &Call<'_>, _: &mut Calc<'_>) -> Outs {
    let shape = call.shape(0)?;
    let axis = call.axis("axis", -1, shape.len())?;
    let mut reduced = shape.to_vec();
    reduced.get_mut(axis..)?.fill(Expr::of(1));
    let statistics = Tensor::of(reduced);
    Some(vec![Tensor::of(shape.to_vec()), statistics.clone(), statistics])
}

/// The losses: one number, or one for each target.
pub(super) fn loss(call: &Call<'_>, _: &mut Calc<'_>) -> Outs {
    let loss = match call.node.attrs.str("reduction") {
        Some("none") => call.shape(1).map_or(Tensor::UNKNOWN, |s| Tensor::of(s.to_vec())),
        _ => scalar(),
    };
    let mut outs = vec![loss];
    if call.node.op.is("SoftmaxCrossEntropyLoss") {
        outs.push(call.shape(0).map_or(Tensor::UNKNOWN, |s| Tensor::of(s.to_vec())));
    }
    Some(outs)
}
