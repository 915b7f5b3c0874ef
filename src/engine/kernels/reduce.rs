//! Reductions over axes.

use super::Kernel;
use super::arithmetic::truncated;
use super::index::{Offsets, strides};
use super::numbers::{Numbers, bounds};
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

type Outputs = Result<Vec<TensorData>, EngineError>;

pub(super) const TABLE: &[(&str, Kernel)] = &[
    ("ReduceL1", |c| {
        reduce(c, |l| Some(l.iter().map(|x| x.abs()).sum()), |l| Whole::sum(l.iter().map(|x| x.abs())))
    }),
    ("ReduceL2", |c| reduce(c, |l| Some(squares(l).sqrt()), |l| Whole::Real(whole_squares(l).sqrt()))),
    ("ReduceLogSum", |c| reduce(c, |l| Some(libm::log(l.iter().sum())), |_| Whole::Unsupported)),
    ("ReduceLogSumExp", |c| reduce(c, |l| Some(log_sum_exp(l)), |_| Whole::Unsupported)),
    ("ReduceMax", |c| extreme(c, f64::NEG_INFINITY, |a, b| a > b, true)),
    ("ReduceMean", |c| reduce(c, mean, whole_mean)),
    ("ReduceMin", |c| extreme(c, f64::INFINITY, |a, b| a < b, false)),
    ("ReduceProd", |c| {
        reduce(c, |l| Some(l.iter().product()), |l| Whole::Exact(l.iter().fold(1, |a, &b| a.wrapping_mul(b))))
    }),
    ("ReduceSum", |c| reduce(c, |l| Some(l.iter().sum()), |l| Whole::sum(l.iter().copied()))),
    ("ReduceSumSquare", |c| {
        reduce(c, |l| Some(squares(l)), |l| Whole::sum(l.iter().map(|x| x.wrapping_mul(*x))))
    }),
];

/// What an integer reduction gives.
enum Whole {
    Exact(i128),
    /// To be cut to an integer.
    Real(f64),
    Undefined,
    Unsupported,
}

impl Whole {
    fn sum(items: impl Iterator<Item = i128>) -> Self {
        Self::Exact(items.fold(0, i128::wrapping_add))
    }
}

fn squares(lane: &[f64]) -> f64 {
    lane.iter().map(|x| x * x).sum()
}

fn whole_squares(lane: &[i128]) -> f64 {
    lane.iter().map(|&x| x as f64 * x as f64).sum()
}

fn mean(lane: &[f64]) -> Option<f64> {
    (!lane.is_empty()).then(|| lane.iter().sum::<f64>() / lane.len() as f64)
}

fn whole_mean(lane: &[i128]) -> Whole {
    let sum = lane.iter().fold(0i128, |a, &b| a.wrapping_add(b));
    sum.checked_div(lane.len() as i128).map_or(Whole::Undefined, Whole::Exact)
}

/// `log(sum(exp(x)))` without overflow; minus infinity of nothing.
pub(super) fn log_sum_exp(lane: &[f64]) -> f64 {
    let top = lane.iter().fold(f64::NEG_INFINITY, |a, &b| if b > a || b.is_nan() { b } else { a });
    if !top.is_finite() {
        return top;
    }
    top + libm::log(lane.iter().map(|x| libm::exp(x - top)).sum())
}

/// Which elements a reduction puts together.
pub(super) struct Lanes {
    /// Offset of the first element of every lane, in row-major order of the axes that stay.
    pub(super) starts: Vec<usize>,
    /// Offsets of the elements of a lane from its first.
    pub(super) offsets: Vec<usize>,
}

impl Lanes {
    /// The lanes of a tensor along some axes, which must be its own.
    pub(super) fn new(dims: &[u64], axes: &[usize]) -> Self {
        let strides = strides(dims);
        let walk = |reduced: bool| {
            let some: Vec<usize> = (0..dims.len()).filter(|a| axes.contains(a) == reduced).collect();
            let sizes: Vec<u64> = some.iter().map(|&a| dims[a]).collect();
            let steps: Vec<isize> = some.iter().map(|&a| strides[a] as isize).collect();
            Offsets::new(&sizes, &steps, 0).collect()
        };
        let starts: Vec<usize> = walk(false);
        // Where there is no lane, the axes to reduce may be of any size.
        let offsets = if starts.is_empty() { Vec::new() } else { walk(true) };
        Self { starts, offsets }
    }

    /// Copies one lane.
    pub(super) fn read<T: Copy>(&self, items: &[T], start: usize, lane: &mut Vec<T>) {
        lane.clear();
        lane.extend(self.offsets.iter().filter_map(|&o| items.get(start + o)));
    }

    /// Reduces every lane.
    pub(super) fn map<T: Copy, U>(&self, items: &[T], f: impl Fn(&[T]) -> U) -> Vec<U> {
        let mut lane = Vec::with_capacity(self.offsets.len());
        let one = |&start: &usize| {
            self.read(items, start, &mut lane);
            f(&lane)
        };
        self.starts.iter().map(one).collect()
    }
}

/// The axes to reduce, and the dims of the output.
fn plan(call: &NodeCall<'_>, dims: &[u64]) -> Result<(Vec<usize>, Vec<u64>), EngineError> {
    let listed = call.ints(1)?.unwrap_or_default();
    let axes = match (listed.is_empty(), call.flag("noop_with_empty_axes", false)?) {
        (true, false) => (0..dims.len()).collect(),
        _ => call.axes(&listed, dims.len())?,
    };
    let keep = call.flag("keepdims", true)?;
    let dim = |(a, &d): (usize, &u64)| if axes.contains(&a) { keep.then_some(1) } else { Some(d) };
    let out = dims.iter().enumerate().filter_map(dim).collect();
    Ok((axes, out))
}

fn reduce(
    call: &NodeCall<'_>,
    real: impl Fn(&[f64]) -> Option<f64>,
    whole: impl Fn(&[i128]) -> Whole,
) -> Outputs {
    let x = call.need(0)?;
    let (axes, out) = plan(call, x.dims())?;
    call.sized(x.dtype(), &out)?;
    let undefined = || call.invalid("the reduction of no elements is undefined");
    let lanes = Lanes::new(x.dims(), &axes);
    let items = match call.numbers(x)? {
        Numbers::Real(items) => {
            Numbers::Real(lanes.map(&items, real).into_iter().collect::<Option<_>>().ok_or_else(undefined)?)
        }
        Numbers::Whole(items) => {
            let one = |w| match w {
                Whole::Exact(v) => Ok(v),
                Whole::Real(v) => truncated(call, x.dtype(), &[v]).map(|cut| cut.iter().sum()),
                Whole::Undefined => Err(undefined()),
                Whole::Unsupported => Err(call.no_type(x.dtype())),
            };
            Numbers::Whole(lanes.map(&items, whole).into_iter().map(one).collect::<Result<_, _>>()?)
        }
    };
    Ok(vec![call.number_tensor(x.dtype(), &out, items)?])
}

fn extreme(call: &NodeCall<'_>, empty: f64, first: fn(f64, f64) -> bool, largest: bool) -> Outputs {
    let x = call.need(0)?;
    let (axes, out) = plan(call, x.dims())?;
    call.sized(x.dtype(), &out)?;
    let lanes = Lanes::new(x.dims(), &axes);
    if x.dtype() == DType::Bool {
        let any = |lane: &[bool]| if largest { lane.contains(&true) } else { !lane.contains(&false) };
        return Ok(vec![call.bool_tensor(&out, &lanes.map(&call.bools(x)?, any))?]);
    }
    let real = |lane: &[f64]| lane.iter().fold(empty, |a, &b| if first(b, a) || b.is_nan() { b } else { a });
    let (low, high) = bounds(x.dtype());
    let whole = |lane: &[i128]| {
        if largest {
            lane.iter().fold(low, |a, &b| a.max(b))
        } else {
            lane.iter().fold(high, |a, &b| a.min(b))
        }
    };
    let items = match call.numbers(x)? {
        Numbers::Real(items) => Numbers::Real(lanes.map(&items, real)),
        Numbers::Whole(items) => Numbers::Whole(lanes.map(&items, whole)),
    };
    Ok(vec![call.number_tensor(x.dtype(), &out, items)?])
}

#[cfg(test)]
mod tests {
    use super::super::case::{check, f32s, i64s, refused};
    use super::*;

    #[test]
    fn every_reduction_of_a_lane() {
        let x = f32s(&[2, 3], &[1.0, -2.0, 4.0, 3.0, 0.5, 2.0]);
        for (op, want) in [
            ("ReduceL1", [7.0, 5.5]),
            ("ReduceL2", [4.582_575_695, 3.640_054_945]),
            ("ReduceLogSum", [1.098_612_289, 1.704_748_092]),
            ("ReduceLogSumExp", [4.050_945_772, 3.371_539_064]),
            ("ReduceMax", [4.0, 3.0]),
            ("ReduceMean", [1.0, 5.5 / 3.0]),
            ("ReduceMin", [-2.0, 0.5]),
            ("ReduceProd", [-8.0, 3.0]),
            ("ReduceSum", [3.0, 5.5]),
            ("ReduceSumSquare", [21.0, 13.25]),
        ] {
            check(op, &[], &[x.clone(), i64s(&[1], &[-1])], &[2, 1], &want);
        }
        let drop = [("keepdims", 0.into())];
        check("ReduceSum", &drop, &[x.clone(), i64s(&[1], &[0])], &[3], &[4.0, -1.5, 6.0]);
        check("ReduceSum", &drop, &[x.clone(), None], &[], &[8.5]);
        check("ReduceSum", &[], &[x.clone(), i64s(&[2], &[1, 0])], &[1, 1], &[8.5]);
        let noop = [("noop_with_empty_axes", 1.into())];
        check("ReduceSumSquare", &noop, &[f32s(&[2], &[3.0, -2.0]), i64s(&[0], &[])], &[2], &[9.0, 4.0]);
        refused("ReduceSum", &[], &[x.clone(), i64s(&[1], &[2])]);
        refused("ReduceSum", &[], &[x, i64s(&[2], &[1, -1])]);
    }

    #[test]
    fn integers_and_booleans() {
        let x = i64s(&[3], &[3, -4, 12]);
        for (op, want) in [
            ("ReduceL1", 19.0),
            ("ReduceL2", 13.0),
            ("ReduceMax", 12.0),
            ("ReduceMean", 3.0),
            ("ReduceMin", -4.0),
            ("ReduceProd", -144.0),
            ("ReduceSum", 11.0),
            ("ReduceSumSquare", 169.0),
        ] {
            check(op, &[("keepdims", 0.into())], std::slice::from_ref(&x), &[], &[want]);
        }
        let bits = Some(TensorData::vector(&[true, false]));
        check("ReduceMax", &[], std::slice::from_ref(&bits), &[1], &[1.0]);
        check("ReduceMin", &[], &[bits], &[1], &[0.0]);
    }

    #[test]
    fn nothing_reduces_to_the_identity() {
        let inf = f64::INFINITY;
        for (op, want) in [
            ("ReduceL1", 0.0),
            ("ReduceL2", 0.0),
            ("ReduceLogSum", -inf),
            ("ReduceLogSumExp", -inf),
            ("ReduceMax", -inf),
            ("ReduceMin", inf),
            ("ReduceProd", 1.0),
            ("ReduceSum", 0.0),
            ("ReduceSumSquare", 0.0),
        ] {
            check(op, &[], &[f32s(&[2, 0], &[]), i64s(&[1], &[1])], &[2, 1], &[want, want]);
        }
        let smallest = Some(TensorData::from_slice::<i8>(&[0], &[]).unwrap());
        check("ReduceMax", &[], &[smallest], &[1], &[-128.0]);
        refused("ReduceMean", &[], &[f32s(&[0], &[])]);
        check("ReduceSum", &[], &[f32s(&[0, 1 << 40], &[]), i64s(&[1], &[1])], &[0, 1], &[]);
    }
}
