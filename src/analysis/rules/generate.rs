//! Operators that make new tensors: constants, ranges, windows, spectra, strings.

use super::reshape::dims_from;
use super::{Call, Outs, Tensor, axis_of, dims, one, scalar, size};
use crate::analysis::calc::Calc;
use crate::analysis::expr::Expr;
use crate::analysis::fact::MAX_ELEMS;
use crate::ir::AttrValue;

pub(super) fn constant(call: &Call<'_>, _: &mut Calc<'_>) -> Outs {
    let list = |n: usize| Tensor::of(vec![Expr::of(n as i64)]);
    let value = call.node.attrs.iter().find(|a| a.name.starts_with("value") || a.name == "sparse_value")?;
    one(match &value.value {
        AttrValue::Tensor(data) => Tensor { dtype: None, ..Tensor::constant(data) },
        AttrValue::SparseTensor(data) => {
            let dims = data.dims.iter().map(|&d| i64::try_from(d).map(Expr::of)).collect::<Result<_, _>>();
            Tensor::of(dims.ok()?)
        }
        AttrValue::Int(n) => Tensor::with_elems(0, vec![Expr::of(*n)]),
        AttrValue::Ints(ints) if ints.len() <= MAX_ELEMS => {
            Tensor::with_elems(1, ints.iter().map(|&n| Expr::of(n)).collect())
        }
        AttrValue::Ints(ints) => list(ints.len()),
        AttrValue::Float(_) | AttrValue::String(_) => scalar(),
        AttrValue::Floats(floats) => list(floats.len()),
        AttrValue::Strings(strings) => list(strings.len()),
        _ => return None,
    })
}

pub(super) fn constant_of_shape(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let out = dims_from(call, 0, calc)?;
    let value = match call.node.attrs.tensor("value") {
        None => Some(0),
        Some(data) => data.to_i64(),
    };
    let count = match out.as_slice() {
        [] => Some(1),
        [n] => n.known().and_then(|n| usize::try_from(n).ok()).filter(|&n| n <= MAX_ELEMS),
        _ => None,
    };
    let elems = value.zip(count).map(|(value, count)| vec![Expr::of(value); count]);
    one(Tensor { elems, ..Tensor::of(out) })
}

pub(super) fn random(call: &Call<'_>, _: &mut Calc<'_>) -> Outs {
    dims(call.node.attrs.ints("shape")?.iter().map(|&n| Expr::of(n)).collect())
}

pub(super) fn multinomial(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let batch = call.shape(0).and_then(|s| s.first()).cloned().unwrap_or_else(|| calc.unknown());
    dims(vec![batch, Expr::of(call.int("sample_size", 1))])
}

pub(super) fn range(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let len = int_range(call, calc).or_else(|| float_range(call)).unwrap_or_else(|| calc.unknown());
    let elems = || {
        let (start, step) = (call.elem(0)?.known()?, call.elem(2)?.known()?);
        let len = len.known().filter(|&n| n <= MAX_ELEMS as i64)?;
        (0..len).map(|i| i.checked_mul(step)?.checked_add(start).map(Expr::of)).collect()
    };
    let elems: Option<Vec<Expr>> = elems();
    one(Tensor { elems, ..Tensor::of(vec![len]) })
}

/// The count of a range over integers.
fn int_range(call: &Call<'_>, calc: &mut Calc<'_>) -> Option<Expr> {
    let (start, limit, step) = (call.elem(0)?, call.elem(1)?, call.elem(2)?.known()?);
    if let (Some(a), Some(b)) = (start.known(), limit.known()) {
        let count = exact_count(i128::from(a), i128::from(b), i128::from(step))?;
        return i64::try_from(count).ok().map(Expr::of);
    }
    if step <= 0 {
        return None;
    }
    let span = calc.sub(limit, start);
    let span = calc.max(&span, &Expr::of(0));
    Some(calc.div_ceil(&span, step))
}

/// `ceil((limit - start) / step)`, and at least 0.
fn exact_count(start: i128, limit: i128, step: i128) -> Option<i128> {
    let (span, step) = if step < 0 { (start - limit, -step) } else { (limit - start, step) };
    (step != 0).then(|| (-((-span).div_euclid(step))).max(0))
}

/// The count of a range over floating-point constants.
fn float_range(call: &Call<'_>) -> Option<Expr> {
    let one = |slot| if let [x] = call.floats(slot)?.as_slice() { Some(*x) } else { None };
    let count = ((one(1)? - one(0)?) / one(2)?).ceil();
    (count.is_finite() && count.abs() < 1e9).then(|| Expr::of(count.max(0.0) as i64))
}

pub(super) fn one_hot(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let mut out = call.shape(0)?.to_vec();
    let axis = axis_of(call.int("axis", -1), out.len() + 1)?;
    out.insert(axis, size(call.elem(1), calc));
    dims(out)
}

pub(super) fn window(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    dims(vec![size(call.elem(0), calc)])
}

pub(super) fn mel_weights(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let (bands, length) = (size(call.elem(0), calc), size(call.elem(1), calc));
    dims(vec![half(&length, calc), bands])
}

/// The bins of a one-sided spectrum.
fn half(length: &Expr, calc: &mut Calc<'_>) -> Expr {
    let half = calc.div(length, &Expr::of(2));
    calc.add(&half, &Expr::of(1))
}

pub(super) fn dft(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let mut out = call.shape(0)?.to_vec();
    let axis = if call.has(2) { call.elem(2).and_then(Expr::known) } else { Some(-2) };
    let Some(axis) = axis else {
        return dims(calc.unknowns(out.len()));
    };
    let axis = axis_of(axis, out.len()).filter(|a| a + 1 < out.len())?;
    let (inverse, one_sided) = (call.int("inverse", 0) != 0, call.int("onesided", 0) != 0);
    let signal = out.get_mut(axis)?;
    let length = match (call.has(1), inverse && one_sided) {
        (true, _) => size(call.elem(1), calc),
        (false, false) => signal.clone(),
        (false, true) => {
            let less = calc.add(signal, &Expr::of(-1));
            calc.mul(&less, &Expr::of(2))
        }
    };
    *signal = if one_sided && !inverse { half(&length, calc) } else { length };
    *out.last_mut()? = Expr::of(if one_sided && inverse { 1 } else { 2 });
    dims(out)
}

pub(super) fn stft(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let [batch, signal, ..] = call.shape(0)? else { return None };
    let frame = match (call.has(3), call.has(2)) {
        (true, _) => size(call.elem(3), calc),
        (false, true) => call.shape(2).and_then(|s| s.first()).cloned().unwrap_or_else(|| calc.unknown()),
        (false, false) => signal.clone(),
    };
    let frames = match call.elem(1).and_then(Expr::known) {
        Some(step) if step > 0 => {
            let span = calc.sub(signal, &frame);
            let steps = calc.div(&span, &Expr::of(step));
            calc.add(&steps, &Expr::of(1))
        }
        _ => calc.unknown(),
    };
    let bins = if call.int("onesided", 1) != 0 { half(&frame, calc) } else { frame };
    dims(vec![batch.clone(), frames, bins, Expr::of(2)])
}

pub(super) fn dynamic_quantize(call: &Call<'_>, _: &mut Calc<'_>) -> Outs {
    let out = call.shape(0).map_or(Tensor::UNKNOWN, |s| Tensor::of(s.to_vec()));
    Some(vec![out, scalar(), scalar()])
}

pub(super) fn string_normalizer(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    match call.shape(0)? {
        [_] => dims(vec![calc.unknown()]),
        [rows, _] => dims(vec![rows.clone(), calc.unknown()]),
        _ => None,
    }
}

pub(super) fn string_split(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let shape = call.shape(0)?.to_vec();
    let mut parts = shape.clone();
    parts.push(calc.unknown());
    Some(vec![Tensor::of(parts), Tensor::of(shape)])
}

pub(super) fn tf_idf(call: &Call<'_>, _: &mut Calc<'_>) -> Outs {
    let last = call.node.attrs.ints("ngram_indexes")?.iter().max()?.checked_add(1)?;
    let shape = call.shape(0)?;
    let (_, rows) = shape.split_last()?;
    let mut out = rows.to_vec();
    out.push(Expr::of(last));
    dims(out)
}
