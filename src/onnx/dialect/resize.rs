//! Resampling: Upsample, which became Resize, and the coordinates and modes of its relatives.

use crate::ir::{DType, TensorData};

use super::draft::{Draft, Outcome, Refusal, from_front, refuse};
use super::table::{Row, same};

pub(super) const STEPS: &[Row] = &[
    ("Upsample", 1, 7, upsample_scales_up, upsample_scales_down),
    ("Upsample", 7, 9, scales_up, scales_down),
    ("Upsample", 9, 10, upsample_up, upsample_down),
    ("Resize", 10, 11, resize_up, resize_down),
    ("Resize", 11, 13, for_nn_up, empty_inputs_down),
    ("Resize", 13, 18, same, resized_axes_down),
    ("Resize", 18, 19, same, symmetric_down),
    ("GridSample", 16, 20, grid_up, grid_down),
    ("RoiAlign", 10, 16, roi_up, roi_down),
    ("Scatter", 9, 11, |d| rename(d, "ScatterElements"), |d| rename(d, "Scatter")),
];

fn rename(d: &mut Draft<'_>, op: &str) -> Outcome {
    d.rename(op);
    Ok(())
}

/// Replaces the words of a string attribute.
fn reword(d: &mut Draft<'_>, name: &str, words: &[(&str, &str)]) -> Outcome {
    let text = d.text(name)?;
    if let Some((_, new)) = words.iter().find(|(old, _)| Some(*old) == text.as_deref()) {
        d.set(name, *new);
    }
    Ok(())
}

fn upsample_scales_up(d: &mut Draft<'_>) -> Outcome {
    let (Some(h), Some(w)) = (d.take_float("height_scale")?, d.take_float("width_scale")?) else {
        return refuse("it has no `height_scale` or no `width_scale`");
    };
    d.set("scales", vec![1.0, 1.0, h, w]);
    reword(d, "mode", &[("bilinear", "linear")])
}

fn upsample_scales_down(d: &mut Draft<'_>) -> Outcome {
    let Some(&[1.0, 1.0, h, w]) = d.take_floats("scales")?.as_deref() else {
        return refuse("it scales other dims than the last two of four");
    };
    d.set("height_scale", h);
    d.set("width_scale", w);
    reword(d, "mode", &[("linear", "bilinear")])
}

fn scales_up(d: &mut Draft<'_>) -> Outcome {
    let Some(scales) = d.take_floats("scales")? else { return refuse("it has no `scales`") };
    d.give(1, &TensorData::vector(&scales));
    Ok(())
}

/// The scales in a slot, where they are constant.
fn scales(d: &Draft<'_>, slot: usize) -> Option<Vec<f64>> {
    d.fact(slot).data.as_ref().filter(|s| s.dtype() == DType::Float && !s.is_empty())?.to_f64s()
}

fn scales_down(d: &mut Draft<'_>) -> Outcome {
    d.constant(1, "scales")?;
    let Some(factors) = scales(d, 1) else { return refuse("it has no `scales`") };
    d.take_input(1);
    d.set("scales", factors.iter().map(|&s| s as f32).collect::<Vec<_>>());
    Ok(())
}

/// Upsample never shrinks, so that it always rounds down; the result is Resize as 11 defines it.
fn upsample_up(d: &mut Draft<'_>) -> Outcome {
    d.rename("Resize");
    reword(d, "mode", &[("bilinear", "linear")])?;
    if d.text("mode")?.as_deref().unwrap_or("nearest") == "nearest" {
        d.set("nearest_mode", "floor");
    }
    asymmetric_up(d)
}

fn upsample_down(d: &mut Draft<'_>) -> Outcome {
    if !scales(d, 1).is_some_and(|s| s.iter().all(|&s| s >= 1.0)) {
        return refuse("its scales are not known to be 1 or more");
    }
    d.rename("Upsample");
    Ok(())
}

fn asymmetric_up(d: &mut Draft<'_>) -> Outcome {
    let factors = d.take_input(1);
    d.put(2, factors);
    d.set("coordinate_transformation_mode", "asymmetric");
    Ok(())
}

/// In 10, the nearest element was rounded down where a dim grows and up where it shrinks.
fn resize_up(d: &mut Draft<'_>) -> Outcome {
    if d.text("mode")?.as_deref().unwrap_or("nearest") == "nearest" {
        let Some(factors) = scales(d, 1) else { return refuse("its scales are no constant") };
        let rounding = if factors.iter().all(|&s| s >= 1.0) {
            "floor"
        } else if factors.iter().all(|&s| s <= 1.0) {
            "ceil"
        } else {
            return refuse("it grows one dim and shrinks another");
        };
        d.set("nearest_mode", rounding);
    }
    asymmetric_up(d)
}

fn resize_down(d: &mut Draft<'_>) -> Outcome {
    if d.text("coordinate_transformation_mode")?.as_deref() != Some("asymmetric") {
        return refuse("its `coordinate_transformation_mode` is not `asymmetric`");
    }
    let Some(factors) = scales(d, 2) else { return refuse("its scales are no constant") };
    if d.constant(3, "sizes")?.is_some_and(|s| !s.is_empty()) {
        return refuse("it has `sizes`");
    }
    match d.text("mode")?.as_deref() {
        None | Some("nearest") => {
            let rounding = d.text("nearest_mode")?;
            let fits = match rounding.as_deref() {
                Some("floor") => factors.iter().all(|&s| s >= 1.0),
                Some("ceil") => factors.iter().all(|&s| s <= 1.0),
                _ => false,
            };
            if !fits {
                return refuse("its `nearest_mode` rounds otherwise");
            }
        }
        Some("linear") => {}
        Some(_) => return refuse("its `mode` came later"),
    }
    d.drop_attr("nearest_mode");
    d.drop_attr("coordinate_transformation_mode");
    d.take_input(3);
    let factors = d.take_input(2);
    d.put(1, factors);
    Ok(())
}

/// `tf_half_pixel_for_nn` was withdrawn; where it rounds down, rounding halves up is the same.
fn for_nn_up(d: &mut Draft<'_>) -> Outcome {
    if d.text("coordinate_transformation_mode")?.as_deref() != Some("tf_half_pixel_for_nn") {
        return Ok(());
    }
    if d.text("nearest_mode")?.as_deref() != Some("floor")
        || d.text("mode")?.as_deref().unwrap_or("nearest") != "nearest"
    {
        return refuse("`tf_half_pixel_for_nn` was withdrawn");
    }
    d.set("coordinate_transformation_mode", "half_pixel");
    d.set("nearest_mode", "round_prefer_ceil");
    Ok(())
}

/// Before 13, an absent `roi` or `scales` was an empty tensor.
fn empty_inputs_down(d: &mut Draft<'_>) -> Outcome {
    for slot in [1, 2] {
        if !d.has_input(slot) {
            d.give(slot, &TensorData::vector::<f32>(&[]));
        }
    }
    Ok(())
}

/// Before 18, every axis had a factor or a size.
fn resized_axes_down(d: &mut Draft<'_>) -> Outcome {
    let Some(axes) = d.ints("axes")? else { return Ok(()) };
    let Some(dims) = d.fact(0).dims.clone() else { return refuse("its rank is not known") };
    let at = |&axis: &i64| Ok(usize::try_from(from_front(axis, Some(dims.len()))?).unwrap_or(usize::MAX));
    let axes: Vec<usize> = axes.iter().map(at).collect::<Outcome<_>>()?;
    let is_cropped = d.text("coordinate_transformation_mode")?.as_deref() == Some("tf_crop_and_resize");
    if is_cropped || axes.iter().any(|&axis| axis >= dims.len()) {
        return refuse("its `axes` bear on its `roi`");
    }
    d.drop_attr("axes");
    // Nothing else reads it.
    d.take_input(1);
    if let Some(factors) = d.constant(2, "scales")?.filter(|s| !s.is_empty()).and_then(|s| s.to_f64s()) {
        let mut all = vec![1.0f32; dims.len()];
        axes.iter().zip(&factors).for_each(|(&axis, &factor)| all[axis] = factor as f32);
        d.give(2, &TensorData::vector(&all));
    }
    if let Some(sizes) = d.constant_ints(3, "sizes")?.filter(|s| !s.is_empty()) {
        let known = |(axis, dim): (usize, &Option<u64>)| match axes.iter().position(|&a| a == axis) {
            Some(place) => sizes.get(place).copied(),
            None => dim.and_then(|dim| i64::try_from(dim).ok()),
        };
        let Some(all) = dims.iter().enumerate().map(known).collect::<Option<Vec<_>>>() else {
            return refuse("it leaves an axis alone whose size is not known");
        };
        d.give(3, &TensorData::vector(&all));
    }
    Ok(())
}

fn symmetric_down(d: &mut Draft<'_>) -> Outcome {
    match d.text("coordinate_transformation_mode")? {
        Some(mode) if mode == "half_pixel_symmetric" => {
            Err(Refusal(format!("its `coordinate_transformation_mode` is `{mode}`").into()))
        }
        _ => Ok(()),
    }
}

fn grid_up(d: &mut Draft<'_>) -> Outcome {
    reword(d, "mode", &[("bilinear", "linear"), ("bicubic", "cubic")])
}

fn grid_down(d: &mut Draft<'_>) -> Outcome {
    if d.rank(0) != Some(4) {
        return refuse("its input is not known to be of rank 4");
    }
    reword(d, "mode", &[("linear", "bilinear"), ("cubic", "bicubic")])
}

fn roi_up(d: &mut Draft<'_>) -> Outcome {
    d.set("coordinate_transformation_mode", "output_half_pixel");
    Ok(())
}

fn roi_down(d: &mut Draft<'_>) -> Outcome {
    if d.text("coordinate_transformation_mode")?.as_deref() != Some("output_half_pixel") {
        return refuse("its `coordinate_transformation_mode` is not `output_half_pixel`");
    }
    d.drop_attr("coordinate_transformation_mode");
    Ok(())
}
