//! Normalisation along one axis: Hardmax, `LogSoftmax`, `LpNormalization`, Softmax; and LRN, across channels.

use super::Kernel;
use super::index::{Around, count};
use super::reduce::log_sum_exp;
use crate::engine::{EngineError, NodeCall};
use crate::ir::TensorData;

type Outputs = Result<Vec<TensorData>, EngineError>;

pub(super) const TABLE: &[(&str, Kernel)] = &[
    ("Hardmax", |c| along(c, hardmax)),
    ("LRN", lrn),
    ("LogSoftmax", |c| along(c, log_softmax)),
    ("LpNormalization", lp_normalization),
    ("Softmax", |c| along(c, softmax)),
];

/// Replaces every lane along the attribute `axis`.
fn along(call: &NodeCall<'_>, f: impl Fn(&mut [f64])) -> Outputs {
    let x = call.need(0)?;
    call.sized(x.dtype(), x.dims())?;
    let mut items = call.reals(x)?;
    let axis = call.axis(call.int_or("axis", -1)?, x.rank())?;
    let around = Around::new(x.dims(), axis).ok_or_else(|| call.invalid("its dims overflow"))?;
    let lanes = around.lanes().take(items.len());
    let mut lane = vec![0.0; around.size.min(items.len())];
    for start in lanes {
        let places = (start..).step_by(around.inner);
        lane.iter_mut().zip(places.clone()).for_each(|(to, at)| *to = items[at]);
        f(&mut lane);
        lane.iter().zip(places).for_each(|(from, at)| items[at] = *from);
    }
    Ok(vec![call.real_tensor(x.dtype(), x.dims(), &items)?])
}

/// The softmax of a lane; zeros where every element is minus infinity would be NaN, and are.
pub(super) fn softmax(lane: &mut [f64]) {
    let top = lane.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
    for x in lane.iter_mut() {
        *x = libm::exp(*x - top);
    }
    let sum: f64 = lane.iter().sum();
    for x in lane.iter_mut() {
        *x /= sum;
    }
}

/// The logarithm of the softmax of a lane.
pub(super) fn log_softmax(lane: &mut [f64]) {
    let total = log_sum_exp(lane);
    for x in lane.iter_mut() {
        *x -= total;
    }
}

fn hardmax(lane: &mut [f64]) {
    let best = lane.iter().enumerate().fold(0, |best, (i, &x)| if x > lane[best] { i } else { best });
    lane.iter_mut().enumerate().for_each(|(i, x)| *x = f64::from(u8::from(i == best)));
}

fn lp_normalization(call: &NodeCall<'_>) -> Outputs {
    let norm: fn(&[f64]) -> f64 = match call.int_or("p", 2)? {
        1 => |lane| lane.iter().map(|x| x.abs()).sum(),
        2 => |lane| lane.iter().map(|x| x * x).sum::<f64>().sqrt(),
        p => return Err(call.invalid(format_args!("p is {p}, neither 1 nor 2"))),
    };
    along(call, |lane| {
        let norm = norm(lane);
        for x in lane.iter_mut() {
            *x = if norm == 0.0 { 0.0 } else { *x / norm };
        }
    })
}

fn lrn(call: &NodeCall<'_>) -> Outputs {
    let (x, dims) = call.real_input(0)?;
    let dtype = call.need(0)?.dtype();
    call.sized(dtype, dims)?;
    let size = call.int_attr("size")?.filter(|&s| s > 0);
    let size = size.ok_or_else(|| call.invalid("attribute `size` must be positive"))? as usize;
    let around = if dims.len() < 2 { None } else { Around::new(dims, 1) };
    let around = around.ok_or_else(|| call.invalid(format_args!("{dims:?} has no channels")))?;
    let (alpha, beta) = (call.float_or("alpha", 1e-4)?, call.float_or("beta", 0.75)?);
    let (scale, bias) = (f64::from(alpha) / size as f64, f64::from(call.float_or("bias", 1.0)?));
    let (before, after) = ((size - 1) / 2, size / 2);
    let mut out = vec![0.0; count(dims).unwrap_or(0)];
    for start in around.lanes().take(x.len()) {
        let at = |c: usize| start + c * around.inner;
        for c in 0..around.size {
            let last = c.saturating_add(after).min(around.size - 1);
            let sum: f64 = (c.saturating_sub(before)..=last).map(|k| x[at(k)] * x[at(k)]).sum();
            out[at(c)] = x[at(c)] / libm::pow(bias + scale * sum, f64::from(beta));
        }
    }
    Ok(vec![call.real_tensor(dtype, dims, &out)?])
}

#[cfg(test)]
mod tests {
    use super::super::case::{check, f32s, refused};

    #[test]
    fn along_either_axis() {
        let x = || f32s(&[2, 2], &[0.0, 1.0, 1000.0, 1001.0]);
        let (p, q) = (0.268_941_421, 0.731_058_579);
        let axis = |a: i64| [("axis", a.into())];
        check("Softmax", &[], &[x()], &[2, 2], &[p, q, p, q]);
        check("Softmax", &axis(0), &[x()], &[2, 2], &[0.0, 0.0, 1.0, 1.0]);
        check(
            "LogSoftmax",
            &[],
            &[x()],
            &[2, 2],
            &[-1.313_261_688, -0.313_261_688, -1.313_261_688, -0.313_261_688],
        );
        check("Hardmax", &[], &[f32s(&[3], &[1.0, 5.0, 5.0])], &[3], &[0.0, 1.0, 0.0]);
        check(
            "LpNormalization",
            &[],
            &[f32s(&[2, 2], &[3.0, -4.0, 0.0, 0.0])],
            &[2, 2],
            &[0.6, -0.8, 0.0, 0.0],
        );
        check("LpNormalization", &[("p", 1.into())], &[f32s(&[2], &[3.0, -5.0])], &[2], &[0.375, -0.625]);
        check("Softmax", &axis(1), &[f32s(&[1 << 40, 0], &[])], &[1 << 40, 0], &[]);
        refused("Softmax", &axis(2), &[x()]);
        refused("LpNormalization", &[("p", 3.into())], &[x()]);
    }

    #[test]
    fn lrn_sums_neighbour_channels() {
        let attrs = [("size", 3.into()), ("alpha", 3f32.into()), ("beta", 1f32.into())];
        let x = f32s(&[1, 3, 1], &[1.0, 2.0, 3.0]);
        check("LRN", &attrs, std::slice::from_ref(&x), &[1, 3, 1], &[1.0 / 6.0, 2.0 / 15.0, 3.0 / 14.0]);
        refused("LRN", &[], &[x]);
    }
}
