//! Regions of images: `MaxRoiPool`, `NonMaxSuppression`, `RoiAlign`.

use super::Kernel;
use super::index::Odometer;
use super::pool::larger;
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

type Outputs = Result<Vec<TensorData>, EngineError>;

pub(super) const TABLE: &[(&str, Kernel)] =
    &[("MaxRoiPool", max_roi_pool), ("NonMaxSuppression", non_max_suppression), ("RoiAlign", roi_align)];

/// A batch of images of two dimensions.
struct Images {
    items: Vec<f64>,
    batch: u64,
    channels: usize,
    height: usize,
    width: usize,
}

impl Images {
    fn new(call: &NodeCall<'_>) -> Result<Self, EngineError> {
        let (items, dims) = call.real_input(0)?;
        match dims {
            &[batch, c, h, w] if h > 0 && w > 0 => {
                Ok(Self { items, batch, channels: c as usize, height: h as usize, width: w as usize })
            }
            _ => Err(call.invalid(format_args!("{dims:?} is not a batch of images"))),
        }
    }

    fn plane(&self, batch: usize, channel: usize) -> &[f64] {
        let size = self.height * self.width;
        let at = (batch * self.channels + channel) * size;
        &self.items[at..at + size]
    }

    /// The four neighbours of a point and their weights; none far outside.
    fn corners(&self, y: f64, x: f64) -> Option<[(usize, f64); 4]> {
        let axis = |v: f64, size: usize| {
            if !(v >= -1.0 && v <= size as f64) {
                return None;
            }
            let v = v.max(0.0);
            let low = (v as usize).min(size - 1);
            let part = if low == size - 1 { 0.0 } else { v - low as f64 };
            Some((low, (low + 1).min(size - 1), part))
        };
        let ((y0, y1, dy), (x0, x1, dx)) = (axis(y, self.height)?, axis(x, self.width)?);
        let at = |y: usize, x: usize| y * self.width + x;
        Some([
            (at(y0, x0), (1.0 - dy) * (1.0 - dx)),
            (at(y0, x1), (1.0 - dy) * dx),
            (at(y1, x0), dy * (1.0 - dx)),
            (at(y1, x1), dy * dx),
        ])
    }
}

/// The attributes of `RoiAlign`.
struct Align {
    size: (usize, usize),
    ratio: usize,
}

/// Samples of a bin along one axis that are more than this are refused.
const MOST_SAMPLES: f64 = 1e4;

fn roi_align(call: &NodeCall<'_>) -> Outputs {
    let images = Images::new(call)?;
    let (rois, roi_dims) = call.real_input(1)?;
    let batches = call.need_ints(2)?;
    let dtype = call.need(0)?.dtype();
    if roi_dims != [batches.len() as u64, 4] {
        return Err(call.invalid(format_args!("rois {roi_dims:?} for {} batch indices", batches.len())));
    }
    let size = call.dims(&[call.int_or("output_height", 1)?, call.int_or("output_width", 1)?])?;
    let out = [batches.len() as u64, images.channels as u64, size[0], size[1]];
    let mut items = Vec::with_capacity(call.sized(dtype, &out)?);
    let max = match call.str_or("mode", "avg")?.as_str() {
        "avg" => false,
        "max" => true,
        other => return Err(call.invalid(format_args!("mode `{other}` is unknown"))),
    };
    let half = match call.str_or("coordinate_transformation_mode", "half_pixel")?.as_str() {
        "half_pixel" => true,
        "output_half_pixel" => false,
        other => return Err(call.invalid(format_args!("coordinate_transformation_mode `{other}`"))),
    };
    let ratio = usize::try_from(call.int_or("sampling_ratio", 0)?);
    let ratio = ratio.map_err(|_| call.invalid("sampling_ratio is negative"))?;
    let align = Align { size: (size[0] as usize, size[1] as usize), ratio };
    let scale = f64::from(call.float_or("spatial_scale", 1.0)?);
    for (roi, &batch) in rois.chunks(4).zip(&batches) {
        let batch = call.place(batch, images.batch)?;
        let shift = if half { 0.5 } else { 0.0 };
        let [x1, y1, x2, y2] = [0, 1, 2, 3].map(|i| roi[i] * scale - shift);
        let least = |size: f64| if half { size } else { size.max(1.0) };
        let (h, w) = (least(y2 - y1), least(x2 - x1));
        let samples = |extent: f64, cells: usize| match align.ratio {
            0 => (extent / cells as f64).ceil(),
            ratio => ratio as f64,
        };
        let (sy, sx) = (samples(h, align.size.0), samples(w, align.size.1));
        if !(sy < MOST_SAMPLES && sx < MOST_SAMPLES) {
            return Err(call.unsupported("that many samples in a bin"));
        }
        for channel in 0..images.channels {
            let plane = images.plane(batch, channel);
            let mut walk = Odometer::new(&size);
            while let Some(at) = walk.advance() {
                let (bin_h, bin_w) = (h / align.size.0 as f64, w / align.size.1 as f64);
                let start = (y1 + at[0] as f64 * bin_h, x1 + at[1] as f64 * bin_w);
                items.push(bin(
                    &images,
                    plane,
                    start,
                    (bin_h / sy, bin_w / sx),
                    (sy as usize, sx as usize),
                    max,
                ));
            }
        }
    }
    Ok(vec![call.real_tensor(dtype, &out, &items)?])
}

/// One bin of `RoiAlign`: its corner, the distance of its samples, and their number.
fn bin(
    images: &Images,
    plane: &[f64],
    start: (f64, f64),
    step: (f64, f64),
    samples: (usize, usize),
    max: bool,
) -> f64 {
    let (mut sum, mut best) = (0.0, None);
    for iy in 0..samples.0 {
        for ix in 0..samples.1 {
            let (y, x) = (start.0 + (iy as f64 + 0.5) * step.0, start.1 + (ix as f64 + 0.5) * step.1);
            let corners = images.corners(y, x).unwrap_or([(0, 0.0); 4]);
            let products = corners.map(|(at, w)| if w == 0.0 { 0.0 } else { w * plane[at] });
            sum += products.iter().sum::<f64>();
            best = products.iter().copied().chain(best).reduce(larger);
        }
    }
    if max { best.unwrap_or(0.0) } else { sum / (samples.0 * samples.1).max(1) as f64 }
}

fn max_roi_pool(call: &NodeCall<'_>) -> Outputs {
    let images = Images::new(call)?;
    let (rois, roi_dims) = call.real_input(1)?;
    let dtype = call.need(0)?.dtype();
    let shape = call.dims(&call.ints_attr("pooled_shape")?.unwrap_or_default())?;
    let (&[h, w], &[n, 5]) = (shape.as_slice(), roi_dims) else {
        return Err(call.invalid(format_args!("pooled_shape {shape:?}, rois {roi_dims:?}")));
    };
    let out = [n, images.channels as u64, h, w];
    let mut items = Vec::with_capacity(call.sized(dtype, &out)?);
    let scale = f64::from(call.float_or("spatial_scale", 1.0)?);
    for roi in rois.chunks(5) {
        let batch = call.place(roi[0] as i64, images.batch)?;
        let [x1, y1, x2, y2] = [1, 2, 3, 4].map(|i| (roi[i] * scale).round());
        // The cells of a bin along one axis, cut to the image.
        let range = |at: u64, bins: u64, from: f64, to: f64, size: usize| {
            let step = (to - from + 1.0).max(1.0) / bins as f64;
            let cut = |x: f64| (x + from).clamp(0.0, size as f64) as usize;
            (cut((at as f64 * step).floor()), cut(((at + 1) as f64 * step).ceil()))
        };
        for channel in 0..images.channels {
            let plane = images.plane(batch, channel);
            let mut walk = Odometer::new(&shape);
            while let Some(at) = walk.advance() {
                let ((top, bottom), (left, right)) =
                    (range(at[0], h, y1, y2, images.height), range(at[1], w, x1, x2, images.width));
                let cells = (top..bottom).flat_map(|y| (left..right).map(move |x| y * images.width + x));
                items.push(cells.map(|c| plane[c]).reduce(larger).unwrap_or(0.0));
            }
        }
    }
    Ok(vec![call.real_tensor(dtype, &out, &items)?])
}

/// A box by its corners.
type Corners = [f64; 4];

fn corners(b: &[f64], center: bool) -> Corners {
    if center {
        [b[0] - b[2] / 2.0, b[1] - b[3] / 2.0, b[0] + b[2] / 2.0, b[1] + b[3] / 2.0]
    } else {
        [b[0].min(b[2]), b[1].min(b[3]), b[0].max(b[2]), b[1].max(b[3])]
    }
}

/// Intersection over union; 0 where either box has no area.
fn overlap(a: Corners, b: Corners) -> f64 {
    let side = |i: usize| a[i + 2].min(b[i + 2]) - a[i].max(b[i]);
    let area = |c: Corners| (c[2] - c[0]) * (c[3] - c[1]);
    let (h, w) = (side(0), side(1));
    if h <= 0.0 || w <= 0.0 || area(a) <= 0.0 || area(b) <= 0.0 {
        return 0.0;
    }
    h * w / (area(a) + area(b) - h * w)
}

fn non_max_suppression(call: &NodeCall<'_>) -> Outputs {
    let ((boxes, box_dims), (scores, score_dims)) = (call.real_input(0)?, call.real_input(1)?);
    let (&[n, count, 4], &[m, classes, each]) = (box_dims, score_dims) else {
        return Err(call.invalid(format_args!("boxes {box_dims:?}, scores {score_dims:?}")));
    };
    if n != m || count != each {
        return Err(call.invalid(format_args!("boxes {box_dims:?} and scores {score_dims:?} do not fit")));
    }
    let most = usize::try_from(call.int(2)?.unwrap_or(0)).unwrap_or(0);
    let (limit, least) = (call.scalar(3)?.unwrap_or(0.0), call.scalar(4)?);
    let center = call.flag("center_point_box", false)?;
    let mut selected = Vec::new();
    for (i, scores) in scores.chunks((count as usize).max(1)).enumerate() {
        let (batch, class) = (i as u64 / classes, i as u64 % classes);
        let at = |b: usize| {
            let at = (batch as usize * count as usize + b) * 4;
            corners(&boxes[at..at + 4], center)
        };
        let mut order: Vec<usize> =
            (0..scores.len()).filter(|&b| least.is_none_or(|least| scores[b] > least)).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let mut kept: Vec<usize> = Vec::new();
        for b in order {
            if kept.len() == most {
                break;
            }
            if kept.iter().all(|&k| overlap(at(k), at(b)) <= limit) {
                kept.push(b);
            }
        }
        selected.extend(kept.iter().flat_map(|&b| [batch as i64, class as i64, b as i64]));
    }
    let dims = [selected.len() as u64 / 3, 3];
    call.sized(DType::Int64, &dims)?;
    Ok(vec![TensorData::from_slice(&dims, &selected).map_err(|e| call.invalid(e))?])
}

#[cfg(test)]
mod tests {
    use super::super::case::{check, f32s, i64s, refused};
    use crate::ir::{AttrValue, TensorData};

    fn image() -> Option<TensorData> {
        f32s(&[1, 1, 3, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    }

    #[test]
    fn aligned_regions() {
        let roi = || f32s(&[1, 4], &[0.0, 0.0, 2.0, 2.0]);
        for (transform, mode, want) in [
            ("half_pixel", "avg", [0.875, 3.5]),
            ("half_pixel", "max", [1.0, 3.0]),
            ("output_half_pixel", "avg", [2.5, 5.5]),
            ("output_half_pixel", "max", [1.875, 3.0]),
        ] {
            let attrs = [
                ("output_height", 2.into()),
                ("sampling_ratio", 2.into()),
                ("mode", mode.into()),
                ("coordinate_transformation_mode", transform.into()),
            ];
            check("RoiAlign", &attrs, &[image(), roi(), i64s(&[1], &[0])], &[1, 1, 2, 1], &want);
        }
        refused("RoiAlign", &[], &[image(), roi(), i64s(&[1], &[1])]);
        refused("RoiAlign", &[], &[image(), f32s(&[1, 3], &[0.0; 3]), i64s(&[1], &[0])]);
    }

    #[test]
    fn pooled_regions() {
        let shape = [("pooled_shape", AttrValue::Ints(vec![1, 2]))];
        let roi = f32s(&[1, 5], &[0.0, 1.0, 0.0, 2.0, 1.0]);
        check("MaxRoiPool", &shape, &[image(), roi], &[1, 1, 1, 2], &[4.0, 5.0]);
        refused("MaxRoiPool", &shape, &[image(), f32s(&[1, 5], &[9.0, 0.0, 0.0, 1.0, 1.0])]);
    }

    #[test]
    fn keeps_the_best_boxes() {
        let boxes = f32s(&[1, 3, 4], &[0.0, 0.0, 1.0, 1.0, 0.0, 0.5, 1.0, 1.5, 3.0, 3.0, 2.0, 2.0]);
        let scores = f32s(&[1, 1, 3], &[0.5, 0.9, 0.5]);
        let call = |most: i64, iou: f32, least: f32| {
            [boxes.clone(), scores.clone(), i64s(&[1], &[most]), f32s(&[1], &[iou]), f32s(&[1], &[least])]
        };
        // The first two overlap by a third: equal to the threshold is not above it.
        check("NonMaxSuppression", &[], &call(3, 0.5, 0.0), &[3, 3], &[0., 0., 1., 0., 0., 0., 0., 0., 2.]);
        check("NonMaxSuppression", &[], &call(3, 0.3, 0.0), &[2, 3], &[0.0, 0.0, 1.0, 0.0, 0.0, 2.0]);
        check("NonMaxSuppression", &[], &call(1, 0.3, 0.0), &[1, 3], &[0.0, 0.0, 1.0]);
        check("NonMaxSuppression", &[], &call(3, 0.3, 0.6), &[1, 3], &[0.0, 0.0, 1.0]);
        check("NonMaxSuppression", &[], &[boxes.clone(), scores.clone()], &[0, 3], &[]);
        refused("NonMaxSuppression", &[], &[boxes, f32s(&[1, 1, 2], &[0.0; 2])]);
    }
}
