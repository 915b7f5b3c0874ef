//! Signals: DFT, STFT, window functions, `MelWeightMatrix`.

use std::f64::consts::{LN_10, PI};

use super::Kernel;
use super::index::Around;
use super::numbers::is_real;
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

type Outputs = Result<Vec<TensorData>, EngineError>;

pub(super) const TABLE: &[(&str, Kernel)] = &[
    ("BlackmanWindow", |c| window(c, |t| 0.42 - 0.5 * libm::cos(t) + 0.08 * libm::cos(2.0 * t))),
    ("DFT", dft),
    ("HammingWindow", |c| window(c, |t| 25.0 / 46.0 - 21.0 / 46.0 * libm::cos(t))),
    ("HannWindow", |c| window(c, |t| 0.5 - 0.5 * libm::cos(t))),
    ("MelWeightMatrix", mel_weight_matrix),
    ("STFT", stft),
];

/// A complex number: its real and imaginary part.
type Complex = (f64, f64);

/// `exp(sign * 2πi * k / n)`.
fn root(k: usize, n: usize, sign: f64) -> Complex {
    if (4 * k).is_multiple_of(n) {
        return [(1.0, 0.0), (0.0, sign), (-1.0, 0.0), (0.0, -sign)][4 * k / n % 4];
    }
    let angle = sign * 2.0 * PI * k as f64 / n as f64;
    (libm::cos(angle), libm::sin(angle))
}

fn times(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

fn plus(a: Complex, b: Complex) -> Complex {
    (a.0 + b.0, a.1 + b.1)
}

/// The transform, not scaled; `sign` is -1 forward and 1 backward. Halves while the length is even.
fn transform(x: &[Complex], sign: f64) -> Vec<Complex> {
    let n = x.len();
    if !n.is_multiple_of(2) || n == 0 {
        let roots: Vec<Complex> = (0..n).map(|k| root(k, n, sign)).collect();
        let one = |k: usize| {
            x.iter().enumerate().fold((0.0, 0.0), |sum, (j, &v)| plus(sum, times(v, roots[j * k % n])))
        };
        return (0..n).map(one).collect();
    }
    let half = |odd: usize| transform(&x.iter().skip(odd).step_by(2).copied().collect::<Vec<_>>(), sign);
    let (even, odd) = (half(0), half(1));
    let one = |k: usize| plus(even[k % (n / 2)], times(root(k, n, sign), odd[k % (n / 2)]));
    (0..n).map(one).collect()
}

/// The last dim of a signal: whether it is complex.
fn is_complex(call: &NodeCall<'_>, dims: &[u64]) -> Result<bool, EngineError> {
    match dims.last() {
        Some(1) => Ok(false),
        Some(2) => Ok(true),
        _ => Err(call.invalid(format_args!("{dims:?} must end in 1 or 2, for real or complex numbers"))),
    }
}

fn complex(items: &[f64], at: usize, complex: bool) -> Complex {
    if complex { (items[2 * at], items[2 * at + 1]) } else { (items[at], 0.0) }
}

fn length(call: &NodeCall<'_>, slot: usize) -> Result<Option<usize>, EngineError> {
    let Some(n) = call.int(slot)? else { return Ok(None) };
    let positive = usize::try_from(n).ok().filter(|&n| n > 0);
    positive.map(Some).ok_or_else(|| call.invalid(format_args!("input {slot} is {n}, not positive")))
}

fn dft(call: &NodeCall<'_>) -> Outputs {
    let (items, dims) = call.real_input(0)?;
    let dtype = call.need(0)?.dtype();
    let is_complex = is_complex(call, dims)?;
    let (inverse, onesided) = (call.flag("inverse", false)?, call.flag("onesided", false)?);
    let axis = call.axis(call.int(2)?.unwrap_or(-2), dims.len())?;
    if axis + 1 == dims.len() || (onesided && is_complex != inverse) {
        return Err(call.invalid("the axis, or a one-sided transform, does not fit the input"));
    }
    let own = dims[axis] as usize;
    let default = if inverse && onesided { own.saturating_sub(1).saturating_mul(2) } else { own };
    let n = length(call, 1)?.unwrap_or(default);
    let kept = if onesided && !inverse { n / 2 + 1 } else { n };
    let mut out = dims.to_vec();
    out[axis] = kept as u64;
    let real_out = onesided && inverse;
    let parts = if real_out { 1 } else { 2 };
    if let Some(last) = out.last_mut() {
        *last = parts as u64;
    }
    call.sized(DType::Double, &[n as u64])?;
    let mut result = vec![0.0; call.sized(dtype, &out)?];
    let around =
        Around::new(&dims[..dims.len() - 1], axis).ok_or_else(|| call.invalid("its dims overflow"))?;
    let scale = if inverse { 1.0 / n as f64 } else { 1.0 };
    for (i, start) in around.lanes().take(result.len()).enumerate() {
        let at = |k: usize| complex(&items, start + k * around.inner, is_complex);
        let bin = |k: usize| match k {
            _ if !real_out && k < own => at(k),
            _ if k <= n / 2 && k < own => at(k),
            _ if n - k < own => (at(n - k).0, -at(n - k).1),
            _ => (0.0, 0.0),
        };
        let lane: Vec<Complex> = (0..n).map(bin).collect();
        let first = i / around.inner * kept * around.inner + i % around.inner;
        for (k, value) in
            transform(&lane, if inverse { 1.0 } else { -1.0 }).into_iter().take(kept).enumerate()
        {
            let place = (first + k * around.inner) * parts;
            result[place] = value.0 * scale;
            if parts == 2 {
                result[place + 1] = value.1 * scale;
            }
        }
    }
    Ok(vec![call.real_tensor(dtype, &out, &result)?])
}

fn stft(call: &NodeCall<'_>) -> Outputs {
    let (items, dims) = call.real_input(0)?;
    let dtype = call.need(0)?.dtype();
    let (dims, is_complex) = match dims {
        [_, _] => (dims, false),
        [b, n, _] => (&[*b, *n][..], is_complex(call, dims)?),
        _ => return Err(call.invalid(format_args!("a signal of dims {dims:?}"))),
    };
    let (batch, signal) = (dims[0] as usize, dims[1] as usize);
    let step = length(call, 1)?.ok_or_else(|| call.invalid("frame_step is absent"))?;
    let window = call.real_option(2)?;
    let frame = length(call, 3)?.or(window.as_ref().map(Vec::len)).unwrap_or(signal);
    call.sized(DType::Double, &[frame as u64])?;
    let window = window.unwrap_or_else(|| vec![1.0; frame.min(signal)]);
    if window.len() != frame || frame > signal || frame == 0 {
        return Err(call.invalid(format_args!("frames of {frame}, a window of {}", window.len())));
    }
    let onesided = call.flag("onesided", true)?;
    if onesided && is_complex {
        return Err(call.invalid("a complex signal has no one-sided transform"));
    }
    let frames = (signal - frame) / step + 1;
    let bins = if onesided { frame / 2 + 1 } else { frame };
    let out = [batch as u64, frames as u64, bins as u64, 2];
    let mut result = Vec::with_capacity(call.sized(dtype, &out)?);
    for start in (0..batch).flat_map(|b| (0..frames).map(move |f| b * signal + f * step)) {
        let scaled = |(k, &w): (usize, &f64)| times(complex(&items, start + k, is_complex), (w, 0.0));
        let lane: Vec<Complex> = window.iter().enumerate().map(scaled).collect();
        result.extend(transform(&lane, -1.0).into_iter().take(bins).flat_map(|(re, im)| [re, im]));
    }
    Ok(vec![call.real_tensor(dtype, &out, &result)?])
}

/// A tensor of the attribute `output_datatype`; numbers are cut to integers where it is one.
fn typed(call: &NodeCall<'_>, dtype: DType, dims: &[u64], items: &[f64]) -> Outputs {
    if is_real(dtype) {
        return Ok(vec![call.real_tensor(dtype, dims, items)?]);
    }
    let whole = super::arithmetic::truncated(call, dtype, items)?;
    Ok(vec![call.whole_tensor(dtype, dims, whole)?])
}

fn window(call: &NodeCall<'_>, f: impl Fn(f64) -> f64) -> Outputs {
    let size = call.int(0)?.and_then(|n| u64::try_from(n).ok());
    let size = size.ok_or_else(|| call.invalid("its size is absent or negative"))?;
    let dtype = call.dtype_attr("output_datatype")?.unwrap_or(DType::Float);
    call.sized(dtype, &[size])?;
    call.sized(DType::Uint8, &[size])?;
    let span = if call.flag("periodic", true)? { size } else { size.saturating_sub(1) };
    if span == 0 && size > 0 {
        return Err(call.unsupported("a symmetric window of one place"));
    }
    let items: Vec<f64> = (0..size).map(|n| f(2.0 * PI * n as f64 / span as f64)).collect();
    typed(call, dtype, &[size], &items)
}

fn mel_weight_matrix(call: &NodeCall<'_>) -> Outputs {
    let size = |slot| length(call, slot)?.ok_or_else(|| call.invalid(format_args!("input {slot} is absent")));
    let (mels, dft, rate) = (size(0)?, size(1)?, size(2)?);
    let edge = |slot| call.scalar(slot)?.ok_or_else(|| call.invalid(format_args!("input {slot} is absent")));
    let mel = |hertz: f64| 2595.0 * libm::log1p(hertz / 700.0) / LN_10;
    let (low, high) = (mel(edge(3)?), mel(edge(4)?));
    let dtype = call.dtype_attr("output_datatype")?.unwrap_or(DType::Float);
    let bins = dft / 2 + 1;
    let dims = [bins as u64, mels as u64];
    let mut items = vec![0.0; call.sized(dtype, &dims)?];
    let step = (high - low) / (mels as f64 + 2.0);
    let bin = |i: usize| {
        let hertz = 700.0 * libm::expm1((i as f64 * step + low) / 2595.0 * LN_10);
        ((dft as f64 + 1.0) * hertz / rate as f64).floor()
    };
    for m in 0..mels {
        let (left, center, right) = (bin(m), bin(m + 1), bin(m + 2));
        if !(left >= 0.0 && left <= center && center <= right && right <= bins as f64 && center < bins as f64)
        {
            return Err(call.invalid("its frequencies lie outside of the spectrum"));
        }
        for j in left as usize..right as usize {
            let x = j as f64;
            items[j * mels + m] =
                if x < center { (x - left) / (center - left) } else { (right - x) / (right - center) };
        }
        items[center as usize * mels + m] = 1.0;
    }
    typed(call, dtype, &dims, &items)
}

#[cfg(test)]
mod tests {
    use super::super::case::{check, f32s, i64s, numbers, refused, run};

    #[test]
    fn transforms_forward_and_back() {
        let x = || f32s(&[1, 4, 1], &[1.0, 2.0, 0.0, -1.0]);
        let full = [2.0, 0.0, 1.0, -3.0, 0.0, 0.0, 1.0, 3.0];
        check("DFT", &[], &[x()], &[1, 4, 2], &full);
        let onesided = [("onesided", 1.into())];
        check("DFT", &onesided, &[x()], &[1, 3, 2], &full[..6]);
        check("DFT", &[], &[x(), i64s(&[], &[2])], &[1, 2, 2], &[3.0, 0.0, -1.0, 0.0]);
        let odd = f32s(&[1, 3, 1], &[1.0, 2.0, 0.0]);
        let want = [3.0, 0.0, 0.0, -1.732_050_808, 0.0, 1.732_050_808];
        check("DFT", &[], &[odd, None, i64s(&[], &[1])], &[1, 3, 2], &want);
        let spectrum = run("DFT", &[], &[x()], 1).unwrap().pop();
        let back = run("DFT", &[("inverse", 1.into())], &[spectrum], 1).unwrap();
        assert_eq!(numbers(&back[0]).1, [1.0, 0.0, 2.0, 0.0, 0.0, 0.0, -1.0, 0.0]);
        let half = run("DFT", &onesided, &[x()], 1).unwrap().pop();
        let both = [("inverse", 1.into()), ("onesided", 1.into())];
        check("DFT", &both, &[half], &[1, 4, 1], &[1.0, 2.0, 0.0, -1.0]);
        refused("DFT", &[], &[x(), None, i64s(&[], &[2])]);
        refused("DFT", &[], &[f32s(&[1, 3], &[0.0; 3])]);
    }

    #[test]
    fn frames_of_a_signal() {
        let signal = || f32s(&[1, 5, 1], &[1.0, 2.0, 0.0, -1.0, 3.0]);
        let inputs = [signal(), i64s(&[], &[2]), f32s(&[3], &[1.0, 0.5, 1.0])];
        let want = [2.0, 0.0, 0.5, -0.866_025_404, 2.5, 0.0, -1.25, 3.031_088_913];
        check("STFT", &[], &inputs, &[1, 2, 2, 2], &want);
        refused("STFT", &[], &[signal(), i64s(&[], &[0])]);
        refused("STFT", &[], &[signal(), i64s(&[], &[1]), f32s(&[6], &[0.0; 6])]);
    }

    #[test]
    fn windows_and_filters() {
        let symmetric = [("periodic", 0.into())];
        for (op, periodic, want) in [
            ("HannWindow", [0.0, 0.5, 1.0, 0.5], [0.0, 0.75, 0.75, 0.0]),
            (
                "HammingWindow",
                [0.086_956_522, 0.543_478_261, 1.0, 0.543_478_261],
                [0.086_956_522, 0.771_739_130, 0.771_739_130, 0.086_956_522],
            ),
            ("BlackmanWindow", [0.0, 0.34, 1.0, 0.34], [0.0, 0.63, 0.63, 0.0]),
        ] {
            check(op, &[], &[i64s(&[], &[4])], &[4], &periodic);
            check(op, &symmetric, &[i64s(&[], &[4])], &[4], &want);
            refused(op, &[], &[i64s(&[], &[-1])]);
        }
        let size = |n: i64| i64s(&[], &[n]);
        let edges = |high: f32| [size(2), size(32), size(8000), f32s(&[], &[0.0]), f32s(&[], &[high])];
        let mut want = [0.0; 34];
        let rows = [[1.0, 0.0], [2.0 / 3.0, 1.0 / 3.0], [1.0 / 3.0, 2.0 / 3.0], [0.0, 1.0], [0.0, 0.8]];
        want[2..12].copy_from_slice(rows.as_flattened());
        (want[13], want[15], want[17]) = (0.6, 0.4, 0.2);
        check("MelWeightMatrix", &[], &edges(4000.0), &[17, 2], &want);
        refused("MelWeightMatrix", &[], &edges(90_000.0));
    }
}
