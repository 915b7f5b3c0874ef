//! Convolutions.

use super::Kernel;
use super::index::{Odometer, count};
use super::matmul::{Ring, requantized};
use super::window::{Axis, Run, large_dims, runs, sliding, small_dims, transposed};
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

type Outputs = Result<Vec<TensorData>, EngineError>;

pub(super) const TABLE: &[(&str, Kernel)] = &[
    ("Conv", conv),
    ("ConvInteger", conv_integer),
    ("ConvTranspose", conv_transpose),
    ("QLinearConv", qlinear_conv),
];

/// How channels and places of a convolution fit together.
pub(super) struct Layout {
    pub(super) batch: usize,
    pub(super) group: usize,
    /// Channels of a group, read and written.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) axes: Vec<Axis>,
    pub(super) out: Vec<u64>,
}

impl Layout {
    /// The layout of a convolution, or of a transposed one, by the dims of its input and weight.
    pub(super) fn new(
        call: &NodeCall<'_>,
        x: &[u64],
        w: &[u64],
        transpose: bool,
    ) -> Result<Self, EngineError> {
        let wrong = || call.invalid(format_args!("input {x:?} and weight {w:?} do not fit"));
        let ([n, c, input @ ..], [w0, w1, kernel @ ..]) = (x, w) else { return Err(wrong()) };
        let group = u64::try_from(call.int_or("group", 1)?).ok().filter(|&g| g > 0);
        let group = group.ok_or_else(|| call.invalid("attribute `group` must be positive"))?;
        let asked = call.ints_attr("kernel_shape")?;
        let asked = asked.is_none_or(|k| k.iter().zip(kernel).all(|(&a, &b)| u64::try_from(a) == Ok(b)));
        if input.len() != kernel.len() || input.is_empty() || !asked {
            return Err(wrong());
        }
        let (inputs, all) = if transpose { (w0 / group, w1.checked_mul(group)) } else { (*w1, Some(*w0)) };
        let all = all.ok_or_else(wrong)?;
        if inputs.checked_mul(group) != Some(*c) || all % group != 0 || (transpose && w0 != c) {
            return Err(wrong());
        }
        let (axes, places) = if transpose {
            let axes = transposed(call, input, kernel)?;
            (axes.clone(), large_dims(&axes))
        } else {
            let axes = sliding(call, input, kernel, false)?;
            (axes.clone(), small_dims(&axes))
        };
        let out = [*n, all].into_iter().chain(places).collect();
        let size = |d: u64| usize::try_from(d).map_err(|_| wrong());
        Ok(Self {
            batch: size(*n)?,
            group: size(group)?,
            inputs: size(inputs)?,
            outputs: size(all / group)?,
            axes,
            out,
        })
    }

    /// For every cell of the kernel, the places where it is not in the padding.
    pub(super) fn cells(&self) -> Vec<Vec<Run>> {
        let kernel: Vec<u64> = self.axes.iter().map(|a| a.kernel as u64).collect();
        let mut walk = Odometer::new(&kernel);
        let mut cells = Vec::new();
        while let Some(k) = walk.advance() {
            cells.push(runs(&self.axes, k));
        }
        cells
    }

    pub(super) fn step(&self) -> usize {
        self.axes.last().map_or(1, |a| a.stride as usize)
    }

    /// Convolves; the size of the output has been checked.
    fn convolve<T: Ring>(&self, x: &[T], w: &[T]) -> Vec<T> {
        let mut out = vec![T::ZERO; count(&self.out).unwrap_or(0)];
        if out.is_empty() || x.is_empty() {
            return out;
        }
        let (cells, step) = (self.cells(), self.step());
        let place = count(&large_dims(&self.axes)).unwrap_or(0);
        let plane = count(&small_dims(&self.axes)).unwrap_or(0);
        for (i, to) in out.chunks_mut(plane.max(1)).enumerate() {
            let channels = self.group * self.outputs;
            let (n, m) = (i / channels, i % channels);
            let first = n * self.group * self.inputs + m / self.outputs * self.inputs;
            for c in 0..self.inputs {
                let from = &x[(first + c) * place..(first + c + 1) * place];
                let weights = &w[(m * self.inputs + c) * cells.len()..];
                for (runs, &weight) in cells.iter().zip(weights) {
                    for r in runs {
                        gather(to, from, *r, step, weight);
                    }
                }
            }
        }
        out
    }

    /// Convolves, transposed; the size of the output has been checked.
    fn spread<T: Ring>(&self, x: &[T], w: &[T]) -> Vec<T> {
        let mut out = vec![T::ZERO; count(&self.out).unwrap_or(0)];
        if out.is_empty() || x.is_empty() {
            return out;
        }
        let (cells, step) = (self.cells(), self.step());
        let place = count(&small_dims(&self.axes)).unwrap_or(0);
        let plane = count(&large_dims(&self.axes)).unwrap_or(0);
        for (i, to) in out.chunks_mut(plane.max(1)).enumerate() {
            let channels = self.group * self.outputs;
            let (n, m) = (i / channels, i % channels);
            let first = m / self.outputs * self.inputs;
            for c in first..first + self.inputs {
                let at = n * self.group * self.inputs + c;
                let from = &x[at * place..(at + 1) * place];
                let weights = &w[(c * self.outputs + m % self.outputs) * cells.len()..];
                for (runs, &weight) in cells.iter().zip(weights) {
                    for r in runs {
                        scatter(to, from, *r, step, weight);
                    }
                }
            }
        }
        out
    }

    /// Adds a bias to every channel.
    pub(super) fn bias<T: Ring>(
        &self,
        call: &NodeCall<'_>,
        out: &mut [T],
        bias: &[T],
    ) -> Result<(), EngineError> {
        let channels = self.group * self.outputs;
        if bias.len() != channels {
            return Err(call.invalid(format_args!("a bias of {} for {channels} channels", bias.len())));
        }
        let plane = count(&self.out[2..]).unwrap_or(0);
        for (i, plane) in out.chunks_mut(plane.max(1)).enumerate() {
            for v in plane.iter_mut() {
                *v = v.plus(bias[i % channels]);
            }
        }
        Ok(())
    }
}

fn gather<T: Ring>(to: &mut [T], from: &[T], run: Run, step: usize, w: T) {
    let to = to[run.small..run.small + run.len].iter_mut();
    let from = &from[run.large..];
    if step == 1 {
        to.zip(from).for_each(|(t, &x)| *t = t.plus(w.times(x)));
    } else {
        to.zip(from.iter().step_by(step)).for_each(|(t, &x)| *t = t.plus(w.times(x)));
    }
}

fn scatter<T: Ring>(to: &mut [T], from: &[T], run: Run, step: usize, w: T) {
    let from = &from[run.small..run.small + run.len];
    let to = to[run.large..].iter_mut();
    to.step_by(step).zip(from).for_each(|(t, &x)| *t = t.plus(w.times(x)));
}

fn conv(call: &NodeCall<'_>) -> Outputs {
    float_conv(call, false)
}

fn conv_transpose(call: &NodeCall<'_>) -> Outputs {
    float_conv(call, true)
}

fn float_conv(call: &NodeCall<'_>, transpose: bool) -> Outputs {
    let (x, w) = (call.need(0)?, call.need(1)?);
    let dtype = call.same_type(x, w)?;
    let layout = Layout::new(call, x.dims(), w.dims(), transpose)?;
    call.sized(dtype, &layout.out)?;
    let (items, weight) = (call.reals(x)?, call.reals(w)?);
    let mut out = if transpose { layout.spread(&items, &weight) } else { layout.convolve(&items, &weight) };
    if let Some(bias) = call.real_option(2)? {
        layout.bias(call, &mut out, &bias)?;
    }
    Ok(vec![call.real_tensor(dtype, &layout.out, &out)?])
}

/// The elements of a quantized input or weight, less a zero point: one for all, or one a channel of the first axis.
fn centered(call: &NodeCall<'_>, slot: usize, zero: usize, channels: bool) -> Result<Vec<i64>, EngineError> {
    let x = call.need(slot)?;
    if !matches!(x.dtype(), DType::Int8 | DType::Uint8) {
        return Err(call.no_type(x.dtype()));
    }
    let mut items = call.wrapped(x)?;
    let Some(zero) = call.input(zero) else { return Ok(items) };
    call.same_type(x, zero)?;
    let zeros = call.wrapped(zero)?;
    let first = x.dims().first().map_or(0, |&d| d as usize);
    match zeros.as_slice() {
        [z] => items.iter_mut().for_each(|v| *v -= z),
        many if channels && many.len() == first => {
            let size = (items.len() / first.max(1)).max(1);
            items.chunks_mut(size).zip(many).for_each(|(c, z)| c.iter_mut().for_each(|v| *v -= z));
        }
        _ => return Err(call.invalid(format_args!("a zero point {:?} does not fit", zero.dims()))),
    }
    Ok(items)
}

fn conv_integer(call: &NodeCall<'_>) -> Outputs {
    let layout = Layout::new(call, call.need(0)?.dims(), call.need(1)?.dims(), false)?;
    call.sized(DType::Int32, &layout.out)?;
    let out = layout.convolve(&centered(call, 0, 2, false)?, &centered(call, 1, 3, true)?);
    Ok(vec![call.whole_tensor(DType::Int32, &layout.out, out.into_iter().map(i128::from))?])
}

fn qlinear_conv(call: &NodeCall<'_>) -> Outputs {
    let zero = call.need(7)?;
    let layout = Layout::new(call, call.need(0)?.dims(), call.need(3)?.dims(), false)?;
    call.sized(zero.dtype(), &layout.out)?;
    let mut sums = layout.convolve(&centered(call, 0, 2, false)?, &centered(call, 3, 5, true)?);
    if let Some(bias) = call.input(8) {
        layout.bias(call, &mut sums, &call.wrapped(bias)?)?;
    }
    let one = |slot| call.scalar(slot)?.ok_or_else(|| call.invalid("a scale is absent"));
    let (x_scale, y_scale, w_scales) = (one(1)?, one(6)?, call.real_input(4)?.0);
    let channels = layout.group * layout.outputs;
    if w_scales.len() != 1 && w_scales.len() != channels {
        return Err(call.invalid(format_args!("{} scales for {channels} channels", w_scales.len())));
    }
    let offset = call.wholes(zero)?.first().copied().unwrap_or(0);
    let plane = count(&layout.out[2..]).unwrap_or(0);
    let items = sums.iter().enumerate().map(|(i, &sum)| {
        let scale = w_scales[i / plane.max(1) % channels % w_scales.len()];
        requantized(sum as f64 * (x_scale * scale / y_scale), offset, zero.dtype())
    });
    Ok(vec![call.whole_tensor(zero.dtype(), &layout.out, items)?])
}

#[cfg(test)]
mod tests {
    use super::super::case::{check, f32s, refused};
    use super::*;
    use crate::ir::AttrValue;

    fn ints(name: &'static str, v: &[i64]) -> (&'static str, AttrValue) {
        (name, v.into())
    }

    #[test]
    fn convolves_with_all_attributes() {
        let x = || f32s(&[1, 1, 5], &[1.0, 2.0, 3.0, 4.0, 5.0]);
        let w = || f32s(&[1, 1, 2], &[1.0, 10.0]);
        check("Conv", &[], &[x(), w()], &[1, 1, 4], &[21.0, 32.0, 43.0, 54.0]);
        let attrs = [ints("pads", &[1, 1]), ints("strides", &[2]), ints("dilations", &[2])];
        check("Conv", &attrs, &[x(), w(), f32s(&[1], &[0.5])], &[1, 1, 3], &[20.5, 42.5, 4.5]);
        let upper = [("auto_pad", "SAME_UPPER".into())];
        check("Conv", &upper, &[x(), w()], &[1, 1, 5], &[21.0, 32.0, 43.0, 54.0, 5.0]);
        let lower = [("auto_pad", "SAME_LOWER".into())];
        check("Conv", &lower, &[x(), w()], &[1, 1, 5], &[10.0, 21.0, 32.0, 43.0, 54.0]);
        let planes = f32s(&[1, 2, 2, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let kernels = f32s(&[2, 1, 2, 1], &[1.0, 2.0, 1.0, -1.0]);
        let group = [("group", 2.into())];
        check("Conv", &group, &[planes.clone(), kernels], &[1, 2, 1, 2], &[7.0, 10.0, -2.0, -2.0]);
        let mix = f32s(&[1, 2, 1, 1], &[1.0, 10.0]);
        check("Conv", &[], &[planes, mix], &[1, 1, 2, 2], &[51.0, 62.0, 73.0, 84.0]);
        refused("Conv", &[], &[x(), f32s(&[1, 2, 2], &[0.0; 4])]);
        refused("Conv", &[], &[x(), f32s(&[1, 1, 6], &[0.0; 6])]);
        refused("Conv", &[ints("strides", &[0])], &[x(), w()]);
        refused("Conv", &[("group", 0.into())], &[x(), w()]);
    }

    #[test]
    fn transposed_convolutions() {
        let x = || f32s(&[1, 1, 2], &[1.0, 2.0]);
        let w = || f32s(&[1, 1, 3], &[1.0, 10.0, 100.0]);
        check("ConvTranspose", &[], &[x(), w()], &[1, 1, 4], &[1.0, 12.0, 120.0, 200.0]);
        let two = || ints("strides", &[2]);
        check("ConvTranspose", &[two()], &[x(), w()], &[1, 1, 5], &[1.0, 10.0, 102.0, 20.0, 200.0]);
        let attrs = [two(), ints("pads", &[1, 0]), ints("output_padding", &[1])];
        check("ConvTranspose", &attrs, &[x(), w()], &[1, 1, 5], &[10.0, 102.0, 20.0, 200.0, 0.0]);
        let shaped = [two(), ints("output_shape", &[4])];
        check("ConvTranspose", &shaped, &[x(), w()], &[1, 1, 4], &[10.0, 102.0, 20.0, 200.0]);
        let same = [two(), ("auto_pad", "SAME_UPPER".into())];
        check("ConvTranspose", &same, &[x(), w()], &[1, 1, 4], &[1.0, 10.0, 102.0, 20.0]);
        let short = f32s(&[1, 1, 1], &[1.0]);
        check("ConvTranspose", &same, &[x(), short], &[1, 1, 3], &[1.0, 0.0, 2.0]);
        let grouped = f32s(&[1, 2, 1], &[1.0, 2.0]);
        let weights = f32s(&[2, 2, 1], &[1.0, 2.0, 3.0, 4.0]);
        let group = [("group", 2.into())];
        check("ConvTranspose", &group, &[grouped, weights], &[1, 4, 1], &[1.0, 2.0, 6.0, 8.0]);
        refused("ConvTranspose", &[ints("pads", &[9, 9])], &[x(), w()]);
    }

    #[test]
    fn quantized_convolutions() {
        let byte = |dims: &[u64], v: &[u8]| Some(TensorData::from_slice(dims, v).unwrap());
        let (x, w) = (byte(&[1, 1, 3], &[2, 3, 5]), byte(&[2, 1, 2], &[1, 2, 3, 4]));
        let zeros = byte(&[2], &[0, 1]);
        let pad = [ints("pads", &[1, 0])];
        let integer = [x.clone(), w.clone(), byte(&[], &[1]), zeros.clone()];
        check("ConvInteger", &pad, &integer, &[1, 2, 3], &[2.0, 5.0, 10.0, 3.0, 8.0, 16.0]);
        let s = |v: &[f32]| f32s(&[v.len() as u64], v);
        let bias = Some(TensorData::vector(&[1i32, 0]));
        let linear =
            [x, s(&[1.0]), byte(&[], &[1]), w, s(&[0.5, 20.0]), zeros, s(&[1.0]), byte(&[], &[3]), bias];
        check("QLinearConv", &pad, &linear, &[1, 2, 3], &[5.0, 6.0, 9.0, 63.0, 163.0, 255.0]);
    }
}
