//! Sampling between the places of a tensor: `AffineGrid`, `GridSample`, and what other operators need of it.

use super::Kernel;
use super::index::{Odometer, count, strides};
use super::numbers::is_real;
use crate::engine::{EngineError, NodeCall};
use crate::ir::TensorData;

type Outputs = Result<Vec<TensorData>, EngineError>;

pub(super) const TABLE: &[(&str, Kernel)] = &[("AffineGrid", affine_grid), ("GridSample", grid_sample)];

/// Keys' cubic convolution kernel with the parameter `a`.
pub(super) fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    match x {
        _ if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
        _ if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
        _ => 0.0,
    }
}

/// Adds a row times a weight. A weight of 0 adds nothing, whatever the row.
pub(super) fn add_weighted(to: &mut [f64], row: &[f64], w: f64) {
    if w != 0.0 {
        to.iter_mut().zip(row).for_each(|(t, x)| *t += x * w);
    }
}

/// The value between the places of a plane, by linear interpolation along every axis; zero outside.
pub(super) fn linear_at(plane: &[f64], dims: &[u64], at: &[f64]) -> f64 {
    let taps: Vec<Vec<(Option<usize>, f64)>> = at
        .iter()
        .zip(dims)
        .map(|(&x, &d)| {
            let (low, part) = (x.floor(), x - x.floor());
            let place = |p: f64| (p >= 0.0 && p < d as f64).then_some(p as usize);
            vec![(place(low), 1.0 - part), (place(low + 1.0), part)]
        })
        .collect();
    weighted(plane, dims, &taps)
}

/// The sum of the products of weights along every axis; a place of `None` counts as zero.
fn weighted(plane: &[f64], dims: &[u64], taps: &[Vec<(Option<usize>, f64)>]) -> f64 {
    let sizes: Vec<u64> = taps.iter().map(|t| t.len() as u64).collect();
    let (steps, mut walk, mut sum) = (strides(dims), Odometer::new(&sizes), 0.0);
    while let Some(pick) = walk.advance() {
        let (mut offset, mut weight) = (Some(0), 1.0);
        for ((&k, taps), step) in pick.iter().zip(taps).zip(&steps) {
            let (place, w) = taps[k as usize];
            offset = offset.zip(place).map(|(o, p)| o + p * step);
            weight *= w;
        }
        if let Some(value) = offset.and_then(|o| plane.get(o))
            && weight != 0.0
        {
            sum += weight * value;
        }
    }
    sum
}

fn affine_grid(call: &NodeCall<'_>) -> Outputs {
    let (theta, dims) = call.real_input(0)?;
    let size = call.dims(&call.need_ints(1)?)?;
    let dtype = call.need(0)?.dtype();
    let corners = call.flag("align_corners", false)?;
    let [n, _, spatial @ ..] = size.as_slice() else {
        return Err(call.invalid(format_args!("size {size:?} has no spatial axes")));
    };
    let rank = spatial.len();
    if !matches!(rank, 2 | 3) || dims != [*n, rank as u64, rank as u64 + 1] {
        return Err(call.invalid(format_args!("theta {dims:?} and size {size:?} do not fit")));
    }
    if corners && spatial.contains(&1) {
        return Err(call.unsupported("align_corners along an axis of one place"));
    }
    let out: Vec<u64> = [*n].into_iter().chain(spatial.iter().copied()).chain([rank as u64]).collect();
    let mut items = Vec::with_capacity(call.sized(dtype, &out)?);
    let coordinate = |(&at, &d): (&u64, &u64)| {
        if corners {
            -1.0 + 2.0 * at as f64 / (d as f64 - 1.0)
        } else {
            (2.0 * at as f64 + 1.0) / d as f64 - 1.0
        }
    };
    for matrix in theta.chunks(rank * (rank + 1)) {
        let mut walk = Odometer::new(spatial);
        while let Some(at) = walk.advance() {
            // From the innermost axis to the outermost, then the one of homogeneous coordinates.
            let place: Vec<f64> = at.iter().zip(spatial).map(coordinate).rev().chain([1.0]).collect();
            let row = |row: &[f64]| row.iter().zip(&place).map(|(m, p)| m * p).sum::<f64>();
            items.extend(matrix.chunks(rank + 1).map(row));
        }
    }
    Ok(vec![call.real_tensor(dtype, &out, &items)?])
}

/// What lies outside of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

struct Sampler {
    mode: Mode,
    padding: Padding,
    corners: bool,
}

impl Sampler {
    fn new(call: &NodeCall<'_>) -> Result<Self, EngineError> {
        let mode = match call.str_or("mode", "linear")?.as_str() {
            "nearest" => Mode::Nearest,
            "linear" => Mode::Linear,
            "cubic" => Mode::Cubic,
            other => return Err(call.invalid(format_args!("mode `{other}` is unknown"))),
        };
        let padding = match call.str_or("padding_mode", "zeros")?.as_str() {
            "zeros" => Padding::Zeros,
            "border" => Padding::Border,
            "reflection" => Padding::Reflection,
            other => return Err(call.invalid(format_args!("padding_mode `{other}` is unknown"))),
        };
        Ok(Self { mode, padding, corners: call.flag("align_corners", false)? })
    }

    /// The outermost coordinates of an axis.
    fn border(&self, size: f64) -> (f64, f64) {
        if self.corners { (0.0, size - 1.0) } else { (-0.5, size - 0.5) }
    }

    /// A place of the axis for any coordinate; `None` where zero lies.
    fn place(&self, x: f64, size: u64) -> Option<usize> {
        let last = size as f64 - 1.0;
        let inside = match self.padding {
            Padding::Zeros => x,
            Padding::Border => x.clamp(0.0, last),
            Padding::Reflection => reflect(x, self.border(size as f64)).trunc().clamp(0.0, last),
        };
        (inside >= 0.0 && inside <= last).then_some(inside as usize)
    }

    /// The coordinate that a number of the grid stands for.
    fn coordinate(&self, call: &NodeCall<'_>, n: f64, size: u64) -> Result<f64, EngineError> {
        let d = size as f64;
        let full = if self.corners { f64::midpoint(n, 1.0) * (d - 1.0) } else { ((n + 1.0) * d - 1.0) / 2.0 };
        let mut x = full;
        if self.mode == Mode::Nearest {
            let (n, d) = (n as f32, d as f32);
            let short =
                if self.corners { f32::midpoint(n, 1.0) * (d - 1.0) } else { ((n + 1.0) * d - 1.0) / 2.0 };
            x = full.round_ties_even();
            if x != f64::from(short.round_ties_even()) {
                return Err(call.unsupported("a coordinate too near a tie to be told in `float`"));
            }
        }
        let border = self.border(d);
        if x < border.0 || x > border.1 {
            match self.padding {
                Padding::Zeros => {}
                Padding::Border => x = x.clamp(0.0, d - 1.0),
                Padding::Reflection => x = reflect(x, border),
            }
        }
        Ok(x.clamp(-1e15, 1e15))
    }

    fn taps(&self, x: f64, size: u64) -> Vec<(Option<usize>, f64)> {
        let low = x.floor();
        let tap = |step: f64, w: f64| (self.place(low + step, size), w);
        match self.mode {
            Mode::Nearest => vec![(self.place(x, size), 1.0)],
            Mode::Linear => vec![tap(0.0, 1.0 - (x - low)), tap(1.0, x - low)],
            Mode::Cubic => [-1.0, 0.0, 1.0, 2.0].map(|step| tap(step, cubic(low + step - x, -0.75))).to_vec(),
        }
    }
}

/// A coordinate reflected at the borders until it lies between them.
fn reflect(x: f64, (low, high): (f64, f64)) -> f64 {
    let range = high - low;
    if range <= 0.0 || (x >= low && x <= high) {
        return x.clamp(low.max(0.0), high.max(0.0));
    }
    let beyond = if x < low { low - x } else { x - high };
    let (turns, rest) = ((beyond / range).trunc(), libm::fmod(beyond, range));
    let from_low = (x < low) == (turns % 2.0 == 0.0);
    if from_low { low + rest } else { high - rest }
}

fn grid_sample(call: &NodeCall<'_>) -> Outputs {
    let (x, grid) = (call.need(0)?, call.need(1)?);
    let sampler = Sampler::new(call)?;
    let wrong = || call.invalid(format_args!("{:?} and grid {:?} do not fit", x.dims(), grid.dims()));
    let ([n, c, spatial @ ..], [gn, places @ .., last]) = (x.dims(), grid.dims()) else {
        return Err(wrong());
    };
    if n != gn || *last != spatial.len() as u64 || places.len() != spatial.len() || spatial.is_empty() {
        return Err(wrong());
    }
    if !is_real(x.dtype()) {
        return Err(call.no_type(x.dtype()));
    }
    let out: Vec<u64> = [*n, *c].into_iter().chain(places.iter().copied()).collect();
    let len = call.sized(x.dtype(), &out)?;
    if len > 0 && spatial.contains(&0) {
        return Err(wrong());
    }
    let (items, grid) = (call.reals(x)?, call.reals(grid)?);
    let (plane, per_plane) = (count(spatial).unwrap_or(0), count(places).unwrap_or(0));
    let channels = *c as usize;
    let mut result = vec![0.0; len];
    for (i, position) in grid.chunks(spatial.len()).enumerate().filter(|_| len > 0) {
        let (batch, at) = (i / per_plane, i % per_plane);
        let mut taps = Vec::new();
        for (&g, &size) in position.iter().rev().zip(spatial) {
            taps.push(sampler.taps(sampler.coordinate(call, g, size)?, size));
        }
        for channel in batch * channels..(batch + 1) * channels {
            let from = &items[channel * plane..(channel + 1) * plane];
            result[channel * per_plane + at] = weighted(from, spatial, &taps);
        }
    }
    Ok(vec![call.real_tensor(x.dtype(), &out, &result)?])
}

#[cfg(test)]
mod tests {
    use super::super::case::{check, f32s, i64s, refused};
    use crate::ir::AttrValue;

    #[test]
    fn samples_in_every_mode() {
        let x = || f32s(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let grid = || f32s(&[1, 1, 3, 2], &[-1.0, -1.0, 0.5, 0.25, 1.5, 0.0]);
        for (mode, padding, corners, want) in [
            ("nearest", "zeros", 0, [1.0, 4.0, 0.0]),
            ("nearest", "border", 1, [1.0, 4.0, 2.0]),
            ("nearest", "reflection", 0, [1.0, 4.0, 2.0]),
            ("linear", "zeros", 0, [0.25, 3.5, 0.0]),
            ("linear", "zeros", 1, [1.0, 3.0, 2.25]),
            ("linear", "border", 0, [1.0, 3.5, 3.0]),
            ("linear", "reflection", 1, [1.0, 3.0, 2.75]),
            ("cubic", "zeros", 0, [0.109_375, 4.039_062_5, 0.0]),
            ("cubic", "border", 1, [1.0, 3.052_734_375, 3.0]),
            ("cubic", "reflection", 1, [1.0, 3.210_937_5, 2.843_75]),
        ] {
            let attrs =
                [("mode", mode.into()), ("padding_mode", padding.into()), ("align_corners", corners.into())];
            check("GridSample", &attrs, &[x(), grid()], &[1, 1, 1, 3], &want);
        }
        let line = f32s(&[1, 1, 2], &[1.0, 2.0]);
        check("GridSample", &[], &[line, f32s(&[1, 2, 1], &[0.0, 0.5])], &[1, 1, 2], &[1.5, 2.0]);
        refused("GridSample", &[("mode", "round".into())], &[x(), grid()]);
        refused("GridSample", &[], &[x(), f32s(&[1, 1, 3, 1], &[0.0; 3])]);
    }

    #[test]
    fn affine_grids() {
        let theta = || f32s(&[1, 2, 3], &[1.0, 0.0, 0.5, 0.0, 2.0, -1.0]);
        let size = || i64s(&[4], &[1, 1, 2, 2]);
        let want = [0.0, -2.0, 1.0, -2.0, 0.0, 0.0, 1.0, 0.0];
        check("AffineGrid", &[], &[theta(), size()], &[1, 2, 2, 2], &want);
        let corners = [("align_corners", AttrValue::Int(1))];
        let want = [-0.5, -3.0, 1.5, -3.0, -0.5, 1.0, 1.5, 1.0];
        check("AffineGrid", &corners, &[theta(), size()], &[1, 2, 2, 2], &want);
        refused("AffineGrid", &[], &[theta(), i64s(&[4], &[2, 1, 2, 2])]);
    }
}
