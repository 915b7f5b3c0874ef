//! Pooling.

use super::Kernel;
use super::index::{Around, Odometer, count, strides};
use super::numbers::{Numbers, is_real};
use super::window::{Axis, kernel_shape, sliding, small_dims, taps};
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

type Outputs = Result<Vec<TensorData>, EngineError>;

pub(super) const TABLE: &[(&str, Kernel)] = &[
    ("AveragePool", average),
    ("GlobalAveragePool", |c| global(c, |p| p.iter().sum::<f64>() / p.len() as f64)),
    ("GlobalLpPool", |c| {
        let p = norm(c)?;
        global(c, |plane| lp(plane.iter().copied(), p))
    }),
    ("GlobalMaxPool", |c| global(c, |p| p.iter().copied().fold(f64::NEG_INFINITY, larger))),
    ("LpPool", lp_pool),
    ("MaxPool", max),
    ("MaxUnpool", unpool),
];

/// The larger number; NaN where either is.
pub(super) fn larger(a: f64, b: f64) -> f64 {
    if b > a || b.is_nan() { b } else { a }
}

fn norm(call: &NodeCall<'_>) -> Result<f64, EngineError> {
    let p = call.int_or("p", 2)?;
    if p > 0 { Ok(p as f64) } else { Err(call.invalid(format_args!("p is {p}, not positive"))) }
}

fn lp(items: impl Iterator<Item = f64>, p: f64) -> f64 {
    if p == 2.0 {
        return items.map(|x| x * x).sum::<f64>().sqrt();
    }
    libm::pow(items.map(|x| libm::pow(x.abs(), p)).sum(), 1.0 / p)
}

/// Reduces every channel to one place.
fn global(call: &NodeCall<'_>, f: impl Fn(&[f64]) -> f64) -> Outputs {
    let x = call.need(0)?;
    let spatial = x.dims().get(2..).unwrap_or(&[]);
    if spatial.is_empty() || spatial.contains(&0) {
        return Err(call.invalid(format_args!("{:?} has no places to pool", x.dims())));
    }
    let out: Vec<u64> = x.dims().iter().enumerate().map(|(i, &d)| if i < 2 { d } else { 1 }).collect();
    call.sized(x.dtype(), &out)?;
    let plane = count(spatial).unwrap_or(1);
    let items: Vec<f64> = call.reals(x)?.chunks(plane).map(f).collect();
    Ok(vec![call.real_tensor(x.dtype(), &out, &items)?])
}

/// The windows of a pooling operator, and the dims of its output.
struct Pool {
    axes: Vec<Axis>,
    out: Vec<u64>,
    /// Elements of a channel.
    plane: usize,
}

impl Pool {
    fn new(call: &NodeCall<'_>) -> Result<Self, EngineError> {
        let dims = call.need(0)?.dims();
        let [n, c, input @ ..] = dims else {
            return Err(call.invalid(format_args!("{dims:?} has no channels")));
        };
        let kernel = kernel_shape(call, input.len())?;
        let axes = sliding(call, input, &kernel, call.flag("ceil_mode", false)?)?;
        let out = [*n, *c].into_iter().chain(small_dims(&axes)).collect();
        let plane = count(input).filter(|_| !input.contains(&0));
        Ok(Self { axes, out, plane: plane.ok_or_else(|| call.invalid("there are no places to pool"))? })
    }

    /// Visits every place of every channel, with the elements that the window meets there.
    fn each<T: Copy>(&self, items: &[T], mut f: impl FnMut(usize, &[T], &[usize], usize)) {
        let mut met = Vec::new();
        let places = small_dims(&self.axes);
        for (channel, plane) in items.chunks(self.plane).enumerate() {
            let mut walk = Odometer::new(&places);
            while let Some(at) = walk.advance() {
                let padded = taps(&self.axes, at, &mut met);
                f(channel, plane, &met, padded);
            }
        }
    }
}

fn empty(call: &NodeCall<'_>) -> EngineError {
    call.invalid("a window lies in the padding alone, where the standard gives no answer")
}

fn average(call: &NodeCall<'_>) -> Outputs {
    let (x, pool) = (call.need(0)?, Pool::new(call)?);
    call.sized(x.dtype(), &pool.out)?;
    let include = call.flag("count_include_pad", false)?;
    let mut out = Vec::new();
    pool.each(&call.reals(x)?, |_, plane, met, padded| {
        let sum: f64 = met.iter().map(|&t| plane[t]).sum();
        out.push(sum / if include { padded } else { met.len() } as f64);
        if !include && met.is_empty() {
            out.push(f64::NAN);
        }
    });
    if out.len() != count(&pool.out).unwrap_or(0) {
        return Err(empty(call));
    }
    Ok(vec![call.real_tensor(x.dtype(), &pool.out, &out)?])
}

fn lp_pool(call: &NodeCall<'_>) -> Outputs {
    let (x, pool, p) = (call.need(0)?, Pool::new(call)?, norm(call)?);
    call.sized(x.dtype(), &pool.out)?;
    let mut out = Vec::new();
    pool.each(&call.reals(x)?, |_, plane, met, _| out.push(lp(met.iter().map(|&t| plane[t]), p)));
    Ok(vec![call.real_tensor(x.dtype(), &pool.out, &out)?])
}

fn max(call: &NodeCall<'_>) -> Outputs {
    let (x, pool) = (call.need(0)?, Pool::new(call)?);
    let want_indices = call.outputs.get(1) == Some(&true);
    call.sized(if want_indices { DType::Int64 } else { x.dtype() }, &pool.out)?;
    let column_major = call.flag("storage_order", false)?;
    if !is_real(x.dtype()) && !matches!(x.dtype(), DType::Int8 | DType::Uint8) {
        return Err(call.no_type(x.dtype()));
    }
    let (items, mut indices) = match call.numbers(x)? {
        Numbers::Real(v) => {
            let (best, at) = best_of(&pool, &v, |a: f64, b| b > a || (b.is_nan() && !a.is_nan()));
            (Numbers::Real(best), at)
        }
        Numbers::Whole(v) => {
            let (best, at) = best_of(&pool, &v, |a, b| b > a);
            (Numbers::Whole(best), at)
        }
    };
    if indices.len() != count(&pool.out).unwrap_or(0) {
        return Err(empty(call));
    }
    let mut outputs = vec![call.number_tensor(x.dtype(), &pool.out, items)?];
    if want_indices {
        if column_major {
            let spatial = x.dims().get(2..).unwrap_or(&[]);
            for i in &mut indices {
                *i = transposed_place(*i, spatial, pool.plane);
            }
        }
        outputs.push(call.whole_tensor(DType::Int64, &pool.out, indices.into_iter().map(|i| i as i128))?);
    }
    Ok(outputs)
}

/// The best element of every window, and where it is.
fn best_of<T: Copy>(pool: &Pool, items: &[T], better: impl Fn(T, T) -> bool) -> (Vec<T>, Vec<usize>) {
    let (mut best, mut places) = (Vec::new(), Vec::new());
    pool.each(items, |channel, plane, met, _| {
        let found = met.iter().copied().reduce(|a, b| if better(plane[a], plane[b]) { b } else { a });
        if let Some(at) = found {
            best.push(plane[at]);
            places.push(channel * pool.plane + at);
        }
    });
    (best, places)
}

/// The place of an element when its channel is stored with the first spatial axis innermost.
fn transposed_place(at: usize, spatial: &[u64], plane: usize) -> usize {
    let (mut step, mut place) = (1, at / plane * plane);
    for (&d, stride) in spatial.iter().zip(strides(spatial)) {
        place += at % plane / stride % d as usize * step;
        step *= d as usize;
    }
    place
}

fn unpool(call: &NodeCall<'_>) -> Outputs {
    let (x, indices) = (call.need(0)?, call.need_ints(1)?);
    let spatial = x.dims().get(2..).unwrap_or(&[]);
    let kernel = kernel_shape(call, spatial.len())?;
    if call.need(1)?.dims() != x.dims() {
        return Err(call.invalid("its indices have other dims than its elements"));
    }
    let axes = super::window::transposed(call, spatial, &kernel)?;
    let inferred: Vec<u64> = x.dims()[..2].iter().copied().chain(super::window::large_dims(&axes)).collect();
    let out = call.ints(2)?.map_or_else(|| Ok(inferred.clone()), |s| call.dims(&s))?;
    let larger = out.len() == inferred.len() && out.iter().zip(&inferred).all(|(o, i)| o >= i);
    let around = Around::new(&inferred, 0).filter(|_| larger);
    let around = around.ok_or_else(|| call.invalid(format_args!("{inferred:?} does not fit {out:?}")))?;
    let len = call.sized(x.dtype(), &out)?;
    let (from, to) = (strides(&inferred), strides(&out));
    let mut items = vec![0.0; len];
    for (value, index) in call.reals(x)?.into_iter().zip(indices) {
        let at = call.place(index, (around.size * around.inner) as u64)?;
        let place: usize = (0..from.len()).map(|i| at / from[i] % inferred[i] as usize * to[i]).sum();
        items[place] = value;
    }
    Ok(vec![call.real_tensor(x.dtype(), &out, &items)?])
}

#[cfg(test)]
mod tests {
    use super::super::case::{check, f32s, i64s, numbers, refused, run};
    use super::*;
    use crate::ir::AttrValue;

    fn pooling(kernel: &[i64], more: &[(&'static str, AttrValue)]) -> Vec<(&'static str, AttrValue)> {
        let mut attrs = vec![("kernel_shape", kernel.into())];
        attrs.extend_from_slice(more);
        attrs
    }

    fn ints(name: &'static str, v: &[i64]) -> (&'static str, AttrValue) {
        (name, v.into())
    }

    #[test]
    fn windows_in_one_dimension() {
        let x = || f32s(&[1, 1, 5], &[1.0, 5.0, 2.0, 4.0, 3.0]);
        let two = || ints("strides", &[2]);
        check("MaxPool", &pooling(&[2], &[]), &[x()], &[1, 1, 4], &[5.0, 5.0, 4.0, 4.0]);
        check("MaxPool", &pooling(&[2], &[two()]), &[x()], &[1, 1, 2], &[5.0, 4.0]);
        let ceil = [two(), ("ceil_mode", 1.into())];
        check("MaxPool", &pooling(&[2], &ceil), &[x()], &[1, 1, 3], &[5.0, 4.0, 3.0]);
        check("MaxPool", &pooling(&[2], &[ints("dilations", &[3])]), &[x()], &[1, 1, 2], &[4.0, 5.0]);
        let pads = || ints("pads", &[1, 1]);
        check("AveragePool", &pooling(&[3], &[two(), pads()]), &[x()], &[1, 1, 3], &[3.0, 11.0 / 3.0, 3.5]);
        let count = [two(), pads(), ("count_include_pad", 1.into())];
        check("AveragePool", &pooling(&[3], &count), &[x()], &[1, 1, 3], &[2.0, 11.0 / 3.0, 7.0 / 3.0]);
        let ceil = [two(), ("ceil_mode", 1.into()), ("count_include_pad", 1.into())];
        check("AveragePool", &pooling(&[2], &ceil), &[x()], &[1, 1, 3], &[3.0, 3.0, 3.0]);
        check("LpPool", &pooling(&[2], &[two()]), &[x()], &[1, 1, 2], &[26f64.sqrt(), 20f64.sqrt()]);
        check("LpPool", &pooling(&[2], &[two(), ("p", 1.into())]), &[x()], &[1, 1, 2], &[6.0, 6.0]);
        refused("MaxPool", &[], &[x()]);
        refused("MaxPool", &pooling(&[9], &[]), &[x()]);
        refused("MaxPool", &pooling(&[1], &[pads()]), &[x()]);
    }

    #[test]
    fn indices_in_either_order_and_back() {
        let x = f32s(&[1, 1, 2, 4], &[1.0, 2.0, 9.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let attrs = pooling(&[2, 2], &[ints("strides", &[2, 2])]);
        let outputs = run("MaxPool", &attrs, std::slice::from_ref(&x), 2).unwrap();
        assert_eq!(numbers(&outputs[0]).1, [6.0, 9.0]);
        assert_eq!(numbers(&outputs[1]).1, [5.0, 2.0]);
        let back = [Some(outputs[0].clone()), Some(outputs[1].clone())];
        check("MaxUnpool", &attrs, &back, &[1, 1, 2, 4], &[0.0, 0.0, 9.0, 0.0, 0.0, 6.0, 0.0, 0.0]);
        let shape = i64s(&[4], &[1, 1, 2, 5]);
        let wide = [back[0].clone(), back[1].clone(), shape];
        let want = [0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0];
        check("MaxUnpool", &attrs, &wide, &[1, 1, 2, 5], &want);
        refused("MaxUnpool", &attrs, &[back[0].clone(), i64s(&[1, 1, 1, 2], &[0, 8])]);
        let mut column = attrs;
        column.push(("storage_order", 1.into()));
        assert_eq!(numbers(&run("MaxPool", &column, &[x], 2).unwrap()[1]).1, [3.0, 4.0]);
        let bytes = Some(TensorData::from_slice(&[1, 1, 3], &[-5i8, -3, -4]).unwrap());
        check("MaxPool", &pooling(&[2], &[]), &[bytes], &[1, 1, 2], &[-3.0, -3.0]);
    }

    #[test]
    fn global_pools() {
        let x = || f32s(&[1, 2, 2], &[1.0, 3.0, -3.0, -4.0]);
        check("GlobalAveragePool", &[], &[x()], &[1, 2, 1], &[2.0, -3.5]);
        check("GlobalMaxPool", &[], &[x()], &[1, 2, 1], &[3.0, -3.0]);
        check("GlobalLpPool", &[], &[x()], &[1, 2, 1], &[10f64.sqrt(), 5.0]);
        refused("GlobalMaxPool", &[], &[f32s(&[2], &[1.0, 2.0])]);
    }
}
