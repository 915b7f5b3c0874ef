//! Operators on images, grids and boxes.

use super::reshape::dims_from;
use super::{Call, Outs, axes_of, dims, size};
use crate::analysis::calc::Calc;
use crate::analysis::expr::Expr;

pub(super) fn resize(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let shape = call.shape(0)?;
    let axes = match call.node.attrs.ints("axes") {
        Some(axes) => axes_of(axes, shape.len())?,
        None => (0..shape.len()).collect(),
    };
    let attrs = &call.node.attrs;
    let given = |slot| call.has(slot) && !matches!(call.shape(slot), Some([n]) if n.is(0));
    let stretch = attrs.str("keep_aspect_ratio_policy").is_none_or(|p| p == "stretch");
    let crop = attrs.str("coordinate_transformation_mode") == Some("tf_crop_and_resize");
    let mut out = shape.to_vec();
    let scales = call.floats(2).filter(|s| s.len() == axes.len() && !crop);
    let sizes = dims_from(call, 3, calc).filter(|s| s.len() == axes.len() && stretch);
    for (i, &axis) in axes.iter().enumerate() {
        let dim = out.get_mut(axis)?;
        let scaled = match (&scales, &sizes) {
            _ if given(3) => sizes.as_ref().and_then(|s| s.get(i)).cloned(),
            (Some(scales), _) => scales.get(i).and_then(|&s| scaled(dim, s, calc)),
            _ => None,
        };
        *dim = scaled.unwrap_or_else(|| calc.unknown());
    }
    dims(out)
}

/// `floor(size * scale)`, where single and double precision agree on it.
fn scaled(size: &Expr, scale: f64, calc: &mut Calc<'_>) -> Option<Expr> {
    if scale.fract() == 0.0 && (1.0..1e6).contains(&scale) {
        return Some(calc.mul(size, &Expr::of(scale as i64)));
    }
    let Some(n) = size.known() else {
        let parts = scale.recip();
        return (parts.fract() == 0.0 && (1.0..1e6).contains(&parts) && (parts as i64).count_ones() == 1)
            .then(|| calc.div(size, &Expr::of(parts as i64)));
    };
    let (single, double) = ((n as f32 * scale as f32).floor(), (n as f64 * scale).floor());
    let (single, double) = ((0.0..1e9).contains(&double)).then_some((single as i64, double as i64))?;
    (single == double).then_some(Expr::of(double))
}

pub(super) fn grid_sample(call: &Call<'_>, _: &mut Calc<'_>) -> Outs {
    let ([batch, channels, ..], [_, places @ .., _]) = (call.shape(0)?, call.shape(1)?) else { return None };
    let mut out = vec![batch.clone(), channels.clone()];
    out.extend_from_slice(places);
    dims(out)
}

pub(super) fn affine_grid(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let wanted = dims_from(call, 1, calc)?;
    let [batch, _, places @ ..] = wanted.as_slice() else { return None };
    let mut out = vec![batch.clone()];
    out.extend_from_slice(places);
    out.push(Expr::of(places.len() as i64));
    dims(out)
}

pub(super) fn roi_align(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let first = |slot: usize| call.shape(slot).and_then(|s| s.first()).cloned();
    let boxes = first(1).or_else(|| first(2)).unwrap_or_else(|| calc.unknown());
    let channels = call.shape(0).and_then(|s| s.get(1)).cloned().unwrap_or_else(|| calc.unknown());
    let side = |name: &str| Expr::of(call.int(name, 1));
    dims(vec![boxes, channels, side("output_height"), side("output_width")])
}

pub(super) fn max_roi_pool(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let boxes = call.shape(1).and_then(|s| s.first()).cloned().unwrap_or_else(|| calc.unknown());
    let channels = call.shape(0).and_then(|s| s.get(1)).cloned().unwrap_or_else(|| calc.unknown());
    let [height, width] = call.node.attrs.ints("pooled_shape")? else { return None };
    dims(vec![boxes, channels, Expr::of(*height), Expr::of(*width)])
}

pub(super) fn col2im(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let [batch, columns, _] = call.shape(0)? else { return None };
    let channels = match dims_from(call, 2, calc) {
        Some(block) if call.ints(2).is_some() => {
            let area = calc.product(&block);
            calc.div(columns, &area)
        }
        _ => calc.unknown(),
    };
    let mut out = vec![batch.clone(), channels];
    out.extend(dims_from(call, 1, calc)?);
    dims(out)
}

pub(super) fn image_decoder(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let channels = match call.node.attrs.str("pixel_format") {
        Some("Grayscale") => 1,
        _ => 3,
    };
    dims(vec![calc.unknown(), calc.unknown(), Expr::of(channels)])
}

pub(super) fn non_max_suppression(_: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    dims(vec![size(None, calc), Expr::of(3)])
}
