//! Operators that pick elements: Gather and its like, `TopK`, `NonZero`, Compress, Unique.

use super::{Call, Outs, Tensor, axis_of, dims, one, size};
use crate::analysis::calc::Calc;
use crate::analysis::expr::Expr;

pub(super) fn gather(call: &Call<'_>, _: &mut Calc<'_>) -> Outs {
    let (data, indices) = (call.shape(0)?, call.shape(1)?);
    let axis = call.axis("axis", 0, data.len())?;
    let mut out = data.get(..axis)?.to_vec();
    out.extend_from_slice(indices);
    out.extend_from_slice(data.get(axis + 1..)?);
    let pick = |i: &Expr| {
        let elems = call.elems(0)?;
        elems.get(axis_of(i.known()?, elems.len())?).cloned()
    };
    let indices = call.elems(1).filter(|_| data.len() == 1);
    let elems = indices.and_then(|e| e.iter().map(pick).collect());
    one(Tensor { elems, ..Tensor::of(out) })
}

pub(super) fn gather_elements(call: &Call<'_>, _: &mut Calc<'_>) -> Outs {
    dims(call.shape(1)?.to_vec())
}

pub(super) fn gather_nd(call: &Call<'_>, _: &mut Calc<'_>) -> Outs {
    let (data, indices) = (call.shape(0)?, call.shape(1)?);
    let batch = usize::try_from(call.int("batch_dims", 0)).ok()?;
    let (tuple, kept) = indices.split_last()?;
    let tuple = usize::try_from(tuple.known()?).ok()?;
    let mut out = kept.to_vec();
    out.extend_from_slice(data.get(batch.checked_add(tuple)?..)?);
    dims(out)
}

pub(super) fn top_k(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let mut out = call.shape(0)?.to_vec();
    let axis = call.axis("axis", -1, out.len())?;
    *out.get_mut(axis)? = size(call.elem(1), calc);
    let out = Tensor::of(out);
    Some(vec![out.clone(), out])
}

pub(super) fn non_zero(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let rank = call.shape(0).map_or_else(|| calc.unknown(), |s| Expr::of(s.len() as i64));
    dims(vec![rank, calc.unknown()])
}

pub(super) fn compress(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    if call.node.attrs.int("axis").is_none() {
        return dims(vec![calc.unknown()]);
    }
    let mut out = call.shape(0)?.to_vec();
    let axis = call.axis("axis", 0, out.len())?;
    *out.get_mut(axis)? = calc.unknown();
    dims(out)
}

pub(super) fn unique(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let found = calc.unknown();
    let list = |n: &Expr| Tensor::of(vec![n.clone()]);
    let (values, inverse) = match (call.node.attrs.int("axis"), call.shape(0)) {
        (None, shape) => {
            let count = if let Some(shape) = shape { calc.product(shape) } else { calc.unknown() };
            (list(&found), list(&count))
        }
        (Some(axis), Some(shape)) => {
            let axis = axis_of(axis, shape.len())?;
            let mut out = shape.to_vec();
            let whole = std::mem::replace(out.get_mut(axis)?, found.clone());
            (Tensor::of(out), list(&whole))
        }
        (Some(_), None) => (Tensor::UNKNOWN, list(&calc.unknown())),
    };
    Some(vec![values, list(&found), inverse, list(&found)])
}
