//! Resize.

use std::ops::{Add, Div, Mul, Sub};

use super::Kernel;
use super::cells::Cells;
use super::index::{Around, Odometer, count, strides};
use super::numbers::is_real;
use super::sampling::{add_weighted, cubic};
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

pub(super) const TABLE: &[(&str, Kernel)] = &[("Resize", resize)];

/// One axis to resize.
#[derive(Debug, Clone, Copy)]
struct Axis {
    input: usize,
    output: usize,
    /// As given, or the sizes' ratio.
    scale: f64,
    /// The region to take, as fractions.
    roi: (f64, f64),
}

/// Where coordinates of the output lie in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transform {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    TfCropAndResize,
}

/// A precision to compute coordinates in.
trait Real: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> {
    fn of(x: f64) -> Self;
    fn to_f64(self) -> f64;
}

impl Real for f32 {
    fn of(x: f64) -> f32 {
        x as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    fn of(x: f64) -> f64 {
        x
    }
    fn to_f64(self) -> f64 {
        self
    }
}

impl Axis {
    /// The coordinate in the input of a place of the output.
    fn origin<T: Real>(&self, transform: Transform, at: usize) -> f64 {
        let n = |x: usize| T::of(x as f64);
        let (half, one, scale, at) = (T::of(0.5), T::of(1.0), T::of(self.scale), n(at));
        let last = n(self.input) - one;
        let length = scale * n(self.input);
        let half_pixel = (at + half) / scale - half;
        let result = match transform {
            Transform::HalfPixel => half_pixel,
            Transform::PytorchHalfPixel => {
                if self.output > 1 {
                    half_pixel
                } else {
                    T::of(0.0)
                }
            }
            Transform::Asymmetric => at / scale,
            Transform::AlignCorners => match self.output {
                1 => T::of(0.0),
                _ => at * last / (length - one),
            },
            Transform::HalfPixelSymmetric => {
                let adjustment = n(self.output) / length;
                n(self.input) / T::of(2.0) * (one - adjustment) + half_pixel
            }
            Transform::TfCropAndResize => {
                let (start, end) = (T::of(self.roi.0), T::of(self.roi.1));
                match self.output {
                    1 => half * (start + end) * last,
                    _ => start * last + at * (end - start) * last / (length - one),
                }
            }
        };
        result.to_f64()
    }

    /// Whether every place of the output is its own place of the input.
    fn same(&self) -> bool {
        self.input == self.output && self.scale == 1.0 && self.roi == (0.0, 1.0)
    }
}

struct Plan {
    axes: Vec<Axis>,
    transform: Transform,
    /// The dims of the output.
    out: Vec<u64>,
}

fn resize(call: &NodeCall<'_>) -> Result<Vec<TensorData>, EngineError> {
    let x = call.need(0)?;
    let plan = Plan::new(call, x.dims())?;
    if call.sized(x.dtype(), &plan.out)? == 0 {
        return Ok(vec![Cells::new(x.dtype(), 0).tensor(call, x.dtype(), &plan.out)?]);
    }
    let outside = plan.outside();
    let antialias = call.flag("antialias", false)?;
    let mode = call.str_or("mode", "nearest")?;
    if mode == "nearest" && antialias {
        return Err(call.invalid("mode nearest has no antialias"));
    }
    if mode == "nearest" && outside.is_none() {
        return nearest(call, &plan);
    }
    let weights = |axis: &Axis| -> Result<Vec<Vec<(usize, f64)>>, EngineError> {
        match mode.as_str() {
            "nearest" => Ok(nearest_places(call, &plan, axis)?.into_iter().map(|p| vec![(p, 1.0)]).collect()),
            "linear" => linear(call, &plan, axis, antialias),
            "cubic" => cubic_weights(call, &plan, axis, antialias),
            other => Err(call.invalid(format_args!("mode `{other}` is unknown"))),
        }
    };
    let mut items = match call.numbers(x)? {
        super::numbers::Numbers::Real(items) => items,
        super::numbers::Numbers::Whole(items) => items.into_iter().map(|v| v as f64).collect(),
    };
    let mut dims = x.dims().to_vec();
    for (i, axis) in plan.axes.iter().enumerate().filter(|(_, a)| !a.same()) {
        let around = Around::new(&dims, i).ok_or_else(|| call.invalid("its dims overflow"))?;
        dims[i] = axis.output as u64;
        call.sized(if is_real(x.dtype()) { x.dtype() } else { DType::Double }, &dims)?;
        items = pass(&items, around, &weights(axis)?);
    }
    if let Some(outside) = outside {
        let value = f64::from(call.float_or("extrapolation_value", 0.0)?);
        fill(&mut items, &plan.out, &outside, value);
    }
    if is_real(x.dtype()) {
        return Ok(vec![call.real_tensor(x.dtype(), &plan.out, &items)?]);
    }
    if items.iter().any(|v| v.fract() != 0.0 || v.abs() > 2f64.powi(53)) {
        return Err(call
            .unsupported("integers between which it interpolates: the standard does not say how to round"));
    }
    let (low, high) = super::numbers::bounds(x.dtype());
    let whole = items.into_iter().map(|v| (v as i128).clamp(low, high));
    Ok(vec![call.whole_tensor(x.dtype(), &plan.out, whole)?])
}

impl Plan {
    fn new(call: &NodeCall<'_>, dims: &[u64]) -> Result<Self, EngineError> {
        let rank = dims.len();
        let listed = match call.ints_attr("axes")? {
            Some(axes) => call.axes(&axes, rank)?,
            None => (0..rank).collect(),
        };
        let transform = match call.str_or("coordinate_transformation_mode", "half_pixel")?.as_str() {
            "half_pixel" => Transform::HalfPixel,
            "half_pixel_symmetric" => Transform::HalfPixelSymmetric,
            "pytorch_half_pixel" => Transform::PytorchHalfPixel,
            "align_corners" => Transform::AlignCorners,
            "asymmetric" => Transform::Asymmetric,
            "tf_crop_and_resize" => Transform::TfCropAndResize,
            other => return Err(call.invalid(format_args!("coordinate_transformation_mode `{other}`"))),
        };
        let mut axes = Vec::new();
        for &d in dims {
            let size = usize::try_from(d).map_err(|_| call.invalid("its dims overflow"))?;
            axes.push(Axis { input: size, output: size, scale: 1.0, roi: (0.0, 1.0) });
        }
        set_sizes(call, &listed, &mut axes)?;
        if transform == Transform::TfCropAndResize {
            let roi = call.real_option(1)?.unwrap_or_default();
            if roi.len() != listed.len() * 2 {
                return Err(call.invalid(format_args!("roi has {} numbers", roi.len())));
            }
            listed.iter().enumerate().for_each(|(i, &a)| axes[a].roi = (roi[i], roi[listed.len() + i]));
        }
        if axes.iter().any(|a| a.input == 0 && a.output > 0) {
            return Err(call.invalid("an axis without places is made larger"));
        }
        let out = axes.iter().map(|a| a.output as u64).collect();
        Ok(Self { axes, transform, out })
    }

    /// For every axis, whether each place of the output lies outside of the input; `None` where it does not matter.
    fn outside(&self) -> Option<Vec<Vec<bool>>> {
        let far = |axis: &Axis| {
            let last = axis.input as f64 - 1.0;
            let far = |y| {
                let x = axis.origin::<f64>(self.transform, y);
                !axis.same() && (x < 0.0 || x > last)
            };
            (0..axis.output).map(far).collect()
        };
        (self.transform == Transform::TfCropAndResize).then(|| self.axes.iter().map(far).collect())
    }
}

/// Reads `scales` or `sizes`.
fn set_sizes(call: &NodeCall<'_>, listed: &[usize], axes: &mut [Axis]) -> Result<(), EngineError> {
    let given = |slot: usize| call.input(slot).filter(|t| !t.is_empty());
    let count = |n: usize| {
        let wrong = call.invalid(format_args!("{n} scales or sizes for {} axes", listed.len()));
        if n == listed.len() { Ok(()) } else { Err(wrong) }
    };
    match (given(2), given(3)) {
        (Some(scales), None) => {
            let scales = call.reals(scales)?;
            count(scales.len())?;
            for (&a, &scale) in listed.iter().zip(&scales) {
                let exact = (axes[a].input as f64 * scale).floor();
                let short = f64::from((axes[a].input as f32 * scale as f32).floor());
                if !scale.is_finite() || scale <= 0.0 || exact > 1e15 {
                    return Err(call.invalid(format_args!("scale {scale} is not positive")));
                }
                if exact != short {
                    return Err(call.unsupported("a size too near an integer to be told in `float`"));
                }
                (axes[a].scale, axes[a].output) = (scale, exact as usize);
            }
            Ok(())
        }
        (None, Some(sizes)) => {
            let wanted = call.dims(&sizes.to_i64s().unwrap_or_default())?;
            count(wanted.len())?;
            let ratio = |&(a, w): &(usize, u64)| w as f64 / axes[a].input as f64;
            let pairs: Vec<(usize, u64)> = listed.iter().copied().zip(wanted).collect();
            let ratios: Vec<f64> = pairs.iter().map(ratio).collect();
            let policy = call.str_or("keep_aspect_ratio_policy", "stretch")?;
            let common = match policy.as_str() {
                "stretch" => None,
                "not_larger" => ratios.iter().copied().reduce(f64::min),
                "not_smaller" => ratios.iter().copied().reduce(f64::max),
                other => return Err(call.invalid(format_args!("keep_aspect_ratio_policy `{other}`"))),
            };
            for (&(a, wanted), &own) in pairs.iter().zip(&ratios) {
                let axis = &mut axes[a];
                axis.scale = common.unwrap_or(own);
                axis.output = match common {
                    Some(c) => (c * axis.input as f64 + 0.5).floor() as usize,
                    None => wanted as usize,
                };
            }
            Ok(())
        }
        _ => Err(call.invalid("needs either scales or sizes")),
    }
}

/// The place of the input that each place of the output takes.
fn nearest_places(call: &NodeCall<'_>, plan: &Plan, axis: &Axis) -> Result<Vec<usize>, EngineError> {
    let round: fn(f64) -> f64 = match call.str_or("nearest_mode", "round_prefer_floor")?.as_str() {
        "round_prefer_floor" => |x| (x - 0.5).ceil(),
        "round_prefer_ceil" => |x| (x + 0.5).floor(),
        "floor" => f64::floor,
        "ceil" => f64::ceil,
        other => return Err(call.invalid(format_args!("nearest_mode `{other}` is unknown"))),
    };
    let last = axis.input as f64 - 1.0;
    let place = |y: usize| {
        let x = round(axis.origin::<f64>(plan.transform, y)).clamp(0.0, last.max(0.0));
        let short = round(axis.origin::<f32>(plan.transform, y)).clamp(0.0, last.max(0.0));
        let unclear = || call.unsupported("a coordinate too near a tie to be told in `float`");
        if x == short { Ok(x as usize) } else { Err(unclear()) }
    };
    if axis.same() { Ok((0..axis.output).collect()) } else { (0..axis.output).map(place).collect() }
}

fn nearest(call: &NodeCall<'_>, plan: &Plan) -> Result<Vec<TensorData>, EngineError> {
    let x = call.need(0)?;
    let places: Vec<_> = plan.axes.iter().map(|a| nearest_places(call, plan, a)).collect::<Result<_, _>>()?;
    let (steps, from) = (strides(x.dims()), Cells::of(x));
    let mut to = Cells::new(x.dtype(), count(&plan.out).unwrap_or(0));
    let mut walk = Odometer::new(&plan.out);
    while let Some(at) = walk.advance() {
        let offset = at.iter().zip(&places).zip(&steps).map(|((&y, p), s)| p[y as usize] * s).sum();
        to.push(&from, offset, 1);
    }
    Ok(vec![to.tensor(call, x.dtype(), &plan.out)?])
}

/// Weights over places that may lie outside of the input, brought into it.
fn inside(call: &NodeCall<'_>, axis: &Axis, taps: &[(i64, f64)]) -> Result<Vec<(usize, f64)>, EngineError> {
    let last = axis.input as i64 - 1;
    if !call.flag("exclude_outside", false)? {
        return Ok(taps.iter().map(|&(p, w)| (p.clamp(0, last.max(0)) as usize, w)).collect());
    }
    let kept: Vec<_> = taps.iter().filter(|(p, _)| (0..=last).contains(p)).collect();
    let sum: f64 = kept.iter().map(|(_, w)| w).sum();
    let sum = if sum == 0.0 { 1.0 } else { sum };
    Ok(kept.into_iter().map(|&(p, w)| (p as usize, w / sum)).collect())
}

type Weights = Result<Vec<Vec<(usize, f64)>>, EngineError>;

fn linear(call: &NodeCall<'_>, plan: &Plan, axis: &Axis, antialias: bool) -> Weights {
    let hat = |x: f64| (1.0 - x.abs()).max(0.0);
    filtered(call, plan, axis, if antialias { axis.scale.min(1.0) } else { 1.0 }, 1.0, hat)
}

fn cubic_weights(call: &NodeCall<'_>, plan: &Plan, axis: &Axis, antialias: bool) -> Weights {
    let a = f64::from(call.float_or("cubic_coeff_a", -0.75)?);
    let scale = if antialias { axis.scale.min(1.0) } else { 1.0 };
    filtered(call, plan, axis, scale, 2.0, |x| cubic(x, a))
}

/// The weights of a filter with some support, stretched by `1 / scale`.
fn filtered(
    call: &NodeCall<'_>,
    plan: &Plan,
    axis: &Axis,
    scale: f64,
    support: f64,
    filter: impl Fn(f64) -> f64,
) -> Weights {
    let reach = support / scale;
    if reach > 1e6 {
        return Err(call.unsupported("a filter of that many places"));
    }
    let one = |y: usize| {
        let x = axis.origin::<f64>(plan.transform, y).clamp(-1e15, 1e15);
        let (first, last) = ((x - reach).floor() as i64 + 1, (x + reach).ceil() as i64 - 1);
        let mut taps: Vec<_> = (first..=last).map(|p| (p, filter((p as f64 - x) * scale))).collect();
        if scale != 1.0 {
            let sum: f64 = taps.iter().map(|(_, w)| w).sum();
            for (_, w) in &mut taps {
                *w /= sum;
            }
        }
        inside(call, axis, &taps)
    };
    (0..axis.output).map(one).collect()
}

/// Resizes one axis; the size of the result has been checked.
fn pass(items: &[f64], around: Around, weights: &[Vec<(usize, f64)>]) -> Vec<f64> {
    let Around { outer, size, inner } = around;
    let mut out = vec![0.0; outer.saturating_mul(weights.len()).saturating_mul(inner)];
    for (i, to) in out.chunks_mut(inner.max(1)).enumerate() {
        let (o, y) = (i / weights.len(), i % weights.len());
        for &(place, w) in &weights[y] {
            let at = (o * size + place) * inner;
            add_weighted(to, &items[at..at + inner], w);
        }
    }
    out
}

fn fill(items: &mut [f64], dims: &[u64], outside: &[Vec<bool>], value: f64) {
    let mut walk = Odometer::new(dims);
    for item in items {
        let Some(at) = walk.advance() else { return };
        if at.iter().zip(outside).any(|(&y, far)| far[y as usize]) {
            *item = value;
        }
    }
}

#[cfg(test)]
#[path = "resize_tests.rs"]
mod tests;
