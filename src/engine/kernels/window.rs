//! Windows that slide over the spatial axes: where every cell of a kernel meets the input.

use super::index::strides;
use crate::engine::{EngineError, NodeCall};

/// One spatial axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    /// Places of the axis that the kernel slides over.
    pub(super) large: i64,
    /// Places that the kernel takes.
    pub(super) small: i64,
    /// Cells of the kernel.
    pub(super) kernel: i64,
    pub(super) stride: i64,
    pub(super) dilation: i64,
    /// Padding before and after.
    pub(super) pads: (i64, i64),
}

impl Axis {
    /// Places that the kernel spans.
    fn span(&self) -> i64 {
        (self.kernel - 1) * self.dilation + 1
    }

    /// Where cell `k` of the kernel lies when it is in place `s`; outside of `0..large` in the padding.
    fn place(&self, s: i64, k: i64) -> i64 {
        s * self.stride + k * self.dilation - self.pads.0
    }

    /// The cells that lie in `0..end` when the kernel is in place `s`.
    fn cells(&self, s: i64, end: i64) -> (i64, i64) {
        let first = self.place(s, 0);
        let low = if first < 0 { (-first + self.dilation - 1) / self.dilation } else { 0 };
        let high = if first >= end { 0 } else { (end - 1 - first) / self.dilation + 1 };
        (low, high.min(self.kernel))
    }

    /// The places of the kernel in which its cell `k` is not in the padding.
    fn inside(&self, k: i64) -> (i64, i64) {
        let first = self.place(0, k);
        let low = if first < 0 { (-first + self.stride - 1) / self.stride } else { 0 };
        let high = if first >= self.large { 0 } else { (self.large - 1 - first) / self.stride + 1 };
        (low, high.min(self.small))
    }
}

/// The attributes that all operators with windows share.
struct Attributes {
    auto_pad: String,
    pads: Option<Vec<i64>>,
    strides: Vec<i64>,
    dilations: Vec<i64>,
}

/// Sizes past this are refused, so that products of two stay far from overflow.
const LARGEST: i64 = 1 << 30;

fn attributes(call: &NodeCall<'_>, rank: usize) -> Result<Attributes, EngineError> {
    let list = |name: &str, len: usize, least: i64| -> Result<Option<Vec<i64>>, EngineError> {
        let Some(items) = call.ints_attr(name)? else { return Ok(None) };
        if items.len() != len || items.iter().any(|&x| !(least..LARGEST).contains(&x)) {
            return Err(call.invalid(format_args!("attribute `{name}` {items:?} does not fit {rank} axes")));
        }
        Ok(Some(items))
    };
    Ok(Attributes {
        auto_pad: call.str_or("auto_pad", "NOTSET")?,
        pads: list("pads", rank * 2, 0)?,
        strides: list("strides", rank, 1)?.unwrap_or_else(|| vec![1; rank]),
        dilations: list("dilations", rank, 1)?.unwrap_or_else(|| vec![1; rank]),
    })
}

/// Sizes of spatial axes as signed numbers.
fn sizes(call: &NodeCall<'_>, dims: &[u64]) -> Result<Vec<i64>, EngineError> {
    let size = |&d: &u64| i64::try_from(d).ok().filter(|&d| d < LARGEST);
    let wrong = || call.invalid(format_args!("sizes {dims:?} are beyond what windows take"));
    dims.iter().map(size).collect::<Option<_>>().ok_or_else(wrong)
}

/// The attribute `kernel_shape`, which pooling needs.
pub(super) fn kernel_shape(call: &NodeCall<'_>, rank: usize) -> Result<Vec<u64>, EngineError> {
    let shape = call.dims(&call.ints_attr("kernel_shape")?.unwrap_or_default())?;
    if shape.len() != rank || rank == 0 {
        return Err(call.invalid(format_args!("kernel_shape {shape:?} does not fit {rank} spatial axes")));
    }
    Ok(shape)
}

/// Total padding, split in two halves, the larger one after, or before.
fn halves(total: i64, larger_after: bool) -> (i64, i64) {
    let (less, more) = (total / 2, total - total / 2);
    if larger_after { (less, more) } else { (more, less) }
}

/// The windows of a convolution or of pooling.
pub(super) fn sliding(
    call: &NodeCall<'_>,
    input: &[u64],
    kernel: &[u64],
    ceil: bool,
) -> Result<Vec<Axis>, EngineError> {
    let attrs = attributes(call, input.len())?;
    let (input, kernel) = (sizes(call, input)?, sizes(call, kernel)?);
    let mut axes = Vec::new();
    for (i, (&large, &kernel)) in input.iter().zip(&kernel).enumerate() {
        let (stride, dilation) = (attrs.strides[i], attrs.dilations[i]);
        let mut axis = Axis { large, small: 0, kernel, stride, dilation, pads: (0, 0) };
        if kernel < 1 {
            return Err(call.invalid("the kernel has an empty axis"));
        }
        if let same @ ("SAME_UPPER" | "SAME_LOWER") = attrs.auto_pad.as_str() {
            axis.small = (large + stride - 1) / stride;
            let total = (axis.small - 1).max(0) * stride + axis.span() - large;
            axis.pads = halves(total.max(0), same == "SAME_UPPER");
        } else {
            if let (Some(pads), "NOTSET" | "") = (&attrs.pads, attrs.auto_pad.as_str()) {
                axis.pads = (pads[i], pads[i + input.len()]);
            }
            let room = large + axis.pads.0 + axis.pads.1 - axis.span();
            if room < 0 {
                return Err(call.invalid(format_args!("a kernel of {kernel} is larger than its input")));
            }
            axis.small = room / stride + 1;
            if ceil && room % stride != 0 && axis.small * stride < large + axis.pads.0 {
                axis.small += 1;
            }
        }
        axes.push(axis);
    }
    match attrs.auto_pad.as_str() {
        "NOTSET" | "" | "SAME_UPPER" | "SAME_LOWER" | "VALID" => Ok(axes),
        other => Err(call.invalid(format_args!("auto_pad `{other}` is unknown"))),
    }
}

/// The windows of a transposed convolution: `small` is its input, `large` its output.
pub(super) fn transposed(
    call: &NodeCall<'_>,
    input: &[u64],
    kernel: &[u64],
) -> Result<Vec<Axis>, EngineError> {
    let rank = input.len();
    let attrs = attributes(call, rank)?;
    let (input, kernel) = (sizes(call, input)?, sizes(call, kernel)?);
    let list = |name: &str| -> Result<Option<Vec<i64>>, EngineError> {
        let Some(items) = call.ints_attr(name)? else { return Ok(None) };
        if items.len() < rank || items.iter().any(|x| !(0..LARGEST).contains(x)) {
            return Err(call.invalid(format_args!("attribute `{name}` {items:?} does not fit {rank} axes")));
        }
        Ok(Some(items[items.len() - rank..].to_vec()))
    };
    let extra = list("output_padding")?.unwrap_or_else(|| vec![0; rank]);
    let shape = list("output_shape")?;
    let same = attrs.auto_pad.starts_with("SAME_");
    let mut axes = Vec::new();
    for i in 0..rank {
        let (stride, dilation) = (attrs.strides[i], attrs.dilations[i]);
        let mut axis = Axis { large: 0, small: input[i], kernel: kernel[i], stride, dilation, pads: (0, 0) };
        if kernel[i] < 1 || input[i] < 1 {
            return Err(call.invalid("the input or the kernel has an empty axis"));
        }
        let full = stride * (input[i] - 1) + extra[i] + axis.span();
        // Nothing is ever added around a result: a kernel shorter than the stride leaves less than asked for.
        let by_stride = || input[i].saturating_mul(stride).min(full);
        let asked = shape.as_ref().map(|s| s[i]).or(same.then(by_stride));
        if let Some(asked) = asked {
            axis.large = asked;
            axis.pads = halves((full - asked).max(0), attrs.auto_pad == "SAME_UPPER");
        } else {
            if let (Some(pads), "NOTSET" | "") = (&attrs.pads, attrs.auto_pad.as_str()) {
                axis.pads = (pads[i], pads[i + rank]);
            }
            axis.large = full - axis.pads.0 - axis.pads.1;
        }
        if axis.large < 0 {
            return Err(call.invalid("the padding is larger than the output"));
        }
        axes.push(axis);
    }
    Ok(axes)
}

/// The places that kernels take, as dims.
pub(super) fn small_dims(axes: &[Axis]) -> Vec<u64> {
    axes.iter().map(|a| a.small as u64).collect()
}

/// The places that kernels slide over, as dims.
pub(super) fn large_dims(axes: &[Axis]) -> Vec<u64> {
    axes.iter().map(|a| a.large as u64).collect()
}

/// Places of a kernel in a row, for one of its cells: where they are, and what the cell meets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// First place of the kernel.
    pub(super) small: usize,
    /// What the cell meets in the first place; in each next one, `stride` further.
    pub(super) large: usize,
    /// How many places.
    pub(super) len: usize,
}

/// For the cell `k` of the kernel (one number an axis), all places that are not in the padding.
pub(super) fn runs(axes: &[Axis], k: &[u64]) -> Vec<Run> {
    let ranges: Vec<_> = axes.iter().zip(k).map(|(a, &k)| a.inside(k as i64)).collect();
    let Some((last, lead)) = axes.split_last() else { return vec![Run { small: 0, large: 0, len: 1 }] };
    if ranges.iter().any(|(low, high)| low >= high) {
        return Vec::new();
    }
    let (small, large) = (strides(&small_dims(axes)), strides(&large_dims(axes)));
    let rows: Vec<u64> = ranges[..lead.len()].iter().map(|(low, high)| (high - low) as u64).collect();
    let (low, high) = ranges[lead.len()];
    let mut rows = super::index::Odometer::new(&rows);
    let mut runs: Vec<Run> = Vec::new();
    while let Some(row) = rows.advance() {
        let mut run = Run {
            small: low as usize,
            large: last.place(low, k[lead.len()] as i64) as usize,
            len: (high - low) as usize,
        };
        for (i, (axis, &at)) in lead.iter().zip(row).enumerate() {
            let s = ranges[i].0 + at as i64;
            run.small += s as usize * small[i];
            run.large += axis.place(s, k[i] as i64) as usize * large[i];
        }
        match runs.last_mut() {
            Some(r)
                if r.small + r.len == run.small && r.large + r.len * last.stride as usize == run.large =>
            {
                r.len += run.len;
            }
            _ => runs.push(run),
        }
    }
    runs
}

/// What the kernel meets in one place: the cells that are not in the padding, by offset, and how many cells are at
/// least in the padding (in ceil mode, some may be beyond).
pub(super) fn taps(axes: &[Axis], at: &[u64], taps: &mut Vec<usize>) -> usize {
    let mut padded = 1usize;
    taps.clear();
    taps.push(0);
    for (axis, &s) in axes.iter().zip(at) {
        let (_, end) = axis.cells(s as i64, axis.large + axis.pads.1);
        padded = padded.saturating_mul(end as usize);
        let (low, high) = axis.cells(s as i64, axis.large);
        let (size, axis) = (axis.large as usize, *axis);
        let inside = move || (low..high).map(move |k| axis.place(s as i64, k) as usize);
        *taps = taps.iter().flat_map(|&t| inside().map(move |p| t * size + p)).collect();
    }
    padded
}
