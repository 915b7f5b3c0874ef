//! Convolutions and poolings.

use super::{Call, Outs, Tensor, dims};
use crate::analysis::calc::Calc;
use crate::analysis::expr::Expr;
use crate::ir::Attrs;

/// Strides, dilations and padding of a sliding window.
struct Windows {
    strides: Vec<i64>,
    dilations: Vec<i64>,
    /// Before and after, per axis; `None` where the window is placed so that the output is `ceil(input / stride)`.
    pads: Option<Vec<(i64, i64)>>,
    ceil: bool,
}

impl Windows {
    /// The attributes of a node over this many spatial axes; `None` where they do not fit.
    fn of(attrs: &Attrs, spatial: usize) -> Option<Self> {
        let list = |name: &str| match attrs.ints(name) {
            None => Some(vec![1; spatial]),
            Some(list) => (list.len() == spatial && list.iter().all(|&n| n > 0)).then(|| list.to_vec()),
        };
        let pads = match attrs.str("auto_pad").unwrap_or("NOTSET") {
            "NOTSET" | "" => match attrs.ints("pads") {
                None => Some(vec![(0, 0); spatial]),
                Some(pads) if pads.len() == 2 * spatial => {
                    let (before, after) = pads.split_at(spatial);
                    Some(before.iter().copied().zip(after.iter().copied()).collect())
                }
                Some(_) => return None,
            },
            "VALID" => Some(vec![(0, 0); spatial]),
            "SAME_UPPER" | "SAME_LOWER" => None,
            _ => return None,
        };
        let ceil = attrs.int("ceil_mode").unwrap_or(0) != 0;
        Some(Self { strides: list("strides")?, dilations: list("dilations")?, pads, ceil })
    }

    /// How many places the window has along an axis.
    fn places(&self, axis: usize, input: &Expr, kernel: &Expr, calc: &mut Calc<'_>) -> Option<Expr> {
        let stride = *self.strides.get(axis)?;
        let Some(pads) = &self.pads else {
            return Some(calc.div_ceil(input, stride));
        };
        let (before, after) = *pads.get(axis)?;
        let Some(extent) = self.extent(axis, kernel) else {
            return Some(calc.unknown());
        };
        let slack = before.checked_add(after)?.checked_sub(extent)?;
        let free = calc.add(input, &Expr::of(slack));
        if free.known().is_some_and(|n| n < 0) {
            return None;
        }
        let floor = calc.div(&free, &Expr::of(stride));
        let steps = if self.ceil { calc.div_ceil(&free, stride) } else { floor.clone() };
        // Rounding up can start a window beyond the end of the input. Runtimes differ on whether that one counts.
        if self.ceil && steps != floor && after.checked_add(stride)? > extent {
            let start = steps.known().and_then(|n| n.checked_mul(stride));
            let inside = start.zip(input.known()).is_some_and(|(s, n)| s < n.saturating_add(before));
            if !inside {
                return Some(calc.unknown());
            }
        }
        Some(calc.add(&steps, &Expr::of(1)))
    }

    /// The width of the dilated kernel.
    fn extent(&self, axis: usize, kernel: &Expr) -> Option<i64> {
        let gaps = kernel.known().filter(|&k| k > 0)?.checked_sub(1)?;
        gaps.checked_mul(*self.dilations.get(axis)?)?.checked_add(1)
    }
}

fn convolution(call: &Call<'_>, calc: &mut Calc<'_>, weight: usize) -> Outs {
    let (x, w) = (call.shape(0), call.shape(weight));
    let kernel = call.node.attrs.ints("kernel_shape");
    let rank = x.or(w).map(<[Expr]>::len).or(kernel.map(|k| k.len() + 2))?;
    let spatial = rank.checked_sub(2).filter(|&n| n > 0)?;
    if x.is_some_and(|s| s.len() != rank) || w.is_some_and(|s| s.len() != rank) {
        return None;
    }
    let windows = Windows::of(&call.node.attrs, spatial)?;
    let mut out = vec![
        x.and_then(|s| s.first()).cloned().unwrap_or_else(|| calc.unknown()),
        w.and_then(|s| s.first()).cloned().unwrap_or_else(|| calc.unknown()),
    ];
    for axis in 0..spatial {
        let input = x.and_then(|s| s.get(axis + 2));
        let size = kernel.and_then(|k| k.get(axis)).map(|&k| Expr::of(k));
        let size = w.and_then(|s| s.get(axis + 2)).cloned().filter(|k| k.known().is_some()).or(size);
        out.push(match (input, size) {
            (Some(input), Some(size)) => windows.places(axis, input, &size, calc)?,
            (Some(input), None) if windows.pads.is_none() => windows.places(axis, input, input, calc)?,
            _ => calc.unknown(),
        });
    }
    dims(out)
}

pub(super) fn conv(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    convolution(call, calc, 1)
}

pub(super) fn qlinear_conv(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    convolution(call, calc, 3)
}

pub(super) fn pool(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let kernel = call.node.attrs.ints("kernel_shape")?;
    let shape = call.shape(0)?;
    let (outer, inputs) = shape.split_at_checked(2)?;
    if inputs.len() != kernel.len() || inputs.is_empty() {
        return None;
    }
    let windows = Windows::of(&call.node.attrs, inputs.len())?;
    let mut out = outer.to_vec();
    for (axis, (input, &size)) in inputs.iter().zip(kernel).enumerate() {
        out.push(windows.places(axis, input, &Expr::of(size), calc)?);
    }
    let out = Tensor::of(out);
    Some(vec![out.clone(), out])
}

pub(super) fn global_pool(call: &Call<'_>, _: &mut Calc<'_>) -> Outs {
    let shape = call.shape(0)?;
    dims(shape.iter().enumerate().map(|(i, d)| if i < 2 { d.clone() } else { Expr::of(1) }).collect())
}

pub(super) fn conv_transpose(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let (x, w) = (call.shape(0)?, call.shape(1)?);
    let spatial = x.len().checked_sub(2).filter(|&n| n > 0)?;
    if w.len() != x.len() {
        return None;
    }
    let attrs = &call.node.attrs;
    let windows = Windows::of(attrs, spatial)?;
    let channels = calc.mul(w.get(1)?, &Expr::of(call.int("group", 1)));
    let mut out = vec![x.first()?.clone(), channels];
    for axis in 0..spatial {
        if let Some(wanted) = attrs.ints("output_shape") {
            // Some exporters list batch and channels, too.
            out.push(Expr::of(*wanted.get(wanted.len().checked_sub(spatial)? + axis)?));
            continue;
        }
        let extra = match attrs.ints("output_padding") {
            Some(extra) => *extra.get(axis)?,
            None => 0,
        };
        let stride = Expr::of(*windows.strides.get(axis)?);
        let input = x.get(axis + 2)?;
        let kernel = match attrs.ints("kernel_shape") {
            Some(kernel) => Expr::of(*kernel.get(axis)?),
            None => w.get(axis + 2)?.clone(),
        };
        let Some(extent) = windows.extent(axis, &kernel) else {
            out.push(calc.unknown());
            continue;
        };
        let span = extra.checked_add(extent)?;
        let more = match &windows.pads {
            Some(pads) => span.checked_sub(pads.get(axis)?.0)?.checked_sub(pads.get(axis)?.1)?,
            // As much as the stride says, but nothing is added where the kernel is shorter.
            None => span.min(*windows.strides.get(axis)?),
        };
        let steps = calc.add(input, &Expr::of(-1));
        let reach = calc.mul(&steps, &stride);
        out.push(calc.add(&reach, &Expr::of(more)));
    }
    dims(out)
}

pub(super) fn max_unpool(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    if call.has(2) {
        return dims(super::reshape::dims_from(call, 2, calc)?);
    }
    let shape = call.shape(0)?;
    let (outer, inputs) = shape.split_at_checked(2)?;
    let windows = Windows::of(&call.node.attrs, inputs.len())?;
    let kernel = call.node.attrs.ints("kernel_shape")?;
    let mut out = outer.to_vec();
    for (axis, input) in inputs.iter().enumerate() {
        let (before, after) = *windows.pads.as_ref()?.get(axis)?;
        let steps = calc.add(input, &Expr::of(-1));
        let reach = calc.mul(&steps, &Expr::of(*windows.strides.get(axis)?));
        let more = kernel.get(axis)?.checked_sub(before)?.checked_sub(after)?;
        out.push(calc.add(&reach, &Expr::of(more)));
    }
    dims(out)
}

pub(super) fn causal_with_state(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let out = call.shape(0).map_or(Tensor::UNKNOWN, |s| Tensor::of(s.to_vec()));
    let state = match (call.shape(3), call.shape(0), call.shape(1)) {
        (Some(past), ..) => Tensor::of(past.to_vec()),
        (None, Some([batch, channels, _]), Some([_, _, kernel])) => {
            let kept = calc.add(kernel, &Expr::of(-1));
            Tensor::of(vec![batch.clone(), channels.clone(), kept])
        }
        _ => Tensor::UNKNOWN,
    };
    Some(vec![out, state])
}
