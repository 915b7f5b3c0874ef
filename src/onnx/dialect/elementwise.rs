//! Element-wise operators: the in-place hint of opset 1, broadcasting before opset 7, bounds, and default constants.

use crate::ir::{DType, TensorData};

use super::draft::{Draft, Outcome, refuse};
use super::table::{Row, same};

pub(super) const STEPS: &[Row] = &[
    ("Abs", 1, 6, hint_up, same),
    ("Add", 1, 6, hint_up, same),
    ("Ceil", 1, 6, hint_up, same),
    ("Div", 1, 6, hint_up, same),
    ("Elu", 1, 6, hint_up, same),
    ("Exp", 1, 6, hint_up, same),
    ("Floor", 1, 6, hint_up, same),
    ("HardSigmoid", 1, 6, hint_up, same),
    ("InstanceNormalization", 1, 6, hint_up, same),
    ("LeakyRelu", 1, 6, hint_up, same),
    ("Log", 1, 6, hint_up, same),
    ("Max", 1, 6, hint_up, same),
    ("Mean", 1, 6, hint_up, same),
    ("Min", 1, 6, hint_up, same),
    ("Mul", 1, 6, hint_up, same),
    ("Neg", 1, 6, hint_up, same),
    ("PRelu", 1, 6, hint_up, same),
    ("Reciprocal", 1, 6, hint_up, same),
    ("Relu", 1, 6, hint_up, same),
    ("Sigmoid", 1, 6, hint_up, same),
    ("Sqrt", 1, 6, hint_up, same),
    ("Sub", 1, 6, hint_up, same),
    ("Sum", 1, 6, hint_up, same),
    ("Tanh", 1, 6, hint_up, same),
    ("Add", 6, 7, broadcast_up, broadcast_down),
    ("Div", 6, 7, broadcast_up, broadcast_down),
    ("Mul", 6, 7, broadcast_up, broadcast_down),
    ("Sub", 6, 7, broadcast_up, broadcast_down),
    ("And", 1, 7, broadcast_up, broadcast_down),
    ("Equal", 1, 7, broadcast_up, broadcast_down),
    ("Greater", 1, 7, broadcast_up, broadcast_down),
    ("Less", 1, 7, broadcast_up, broadcast_down),
    ("Or", 1, 7, broadcast_up, broadcast_down),
    ("Pow", 1, 7, broadcast_up, broadcast_down),
    ("Xor", 1, 7, broadcast_up, broadcast_down),
    ("Max", 6, 8, same, equal_shapes_down),
    ("Mean", 6, 8, same, equal_shapes_down),
    ("Min", 6, 8, same, equal_shapes_down),
    ("Sum", 6, 8, same, equal_shapes_down),
    ("Gemm", 6, 7, gemm_up, gemm_down),
    ("Gemm", 9, 11, same, gemm_bias_down),
    ("PRelu", 6, 7, slope_up, slope_down),
    ("Selu", 1, 6, selu_up, selu_down),
    ("Clip", 1, 6, hint_up, clip_defaults_down),
    ("Clip", 6, 11, clip_up, clip_down),
    ("Pad", 1, 2, |d| rename_attr(d, "paddings", "pads"), pad_names_down),
    ("Pad", 2, 11, pad_up, pad_down),
    ("Pad", 13, 18, same, pad_axes_down),
    ("Pad", 18, 19, same, pad_wrap_down),
    ("Erf", 9, 13, real_up, same),
    ("ReduceLogSum", 18, 28, real_up, same),
    ("ReduceLogSumExp", 18, 28, real_up, same),
    ("Mod", 13, 28, same, mod_down),
];

fn hint_up(d: &mut Draft<'_>) -> Outcome {
    d.drop_attr("consumed_inputs");
    Ok(())
}

/// The first version also took integers, which the newest does not.
fn real_up(d: &mut Draft<'_>) -> Outcome {
    match d.dtype() {
        Some(dtype) if !dtype.is_float() => refuse("its element type was withdrawn"),
        _ => Ok(()),
    }
}

/// Before 7, B was one run of A's dims that began at `axis`: the last dims where there is no `axis`.
fn broadcast_up(d: &mut Draft<'_>) -> Outcome {
    let axis = d.take_int("axis")?;
    let wide = d.take_int("broadcast")?.unwrap_or(0) != 0;
    let Some(axis) = axis.filter(|_| wide) else { return Ok(()) };
    let (a, b) = (d.rank(0), d.rank(1));
    let (Some(a), Some(b)) = (a, b) else { return refuse("the ranks of its inputs are not known") };
    let start = if axis < 0 { axis + a as i64 } else { axis };
    if (d.fact(1).is_single() && b <= a) || start + b as i64 == a as i64 {
        return Ok(());
    }
    refuse("its second input is broadcast along leading dims")
}

fn broadcast_down(d: &mut Draft<'_>) -> Outcome {
    let (Some(a), Some(b)) = (d.fact(0).known_dims(), d.fact(1).known_dims()) else {
        return refuse("the dims of its inputs are not known, so that it may broadcast both ways");
    };
    if a == b {
        return Ok(());
    }
    if a.ends_with(&b) || (d.fact(1).is_single() && b.len() <= a.len()) {
        d.set("broadcast", 1i64);
        return Ok(());
    }
    refuse("it broadcasts more than the last dims of its second input")
}

fn equal_shapes_down(d: &mut Draft<'_>) -> Outcome {
    let dims: Option<Vec<_>> = d.inputs.iter().map(|i| i.fact.known_dims()).collect();
    match dims {
        _ if d.inputs.len() < 2 => Ok(()),
        Some(dims) if dims.windows(2).all(|pair| pair.first() == pair.last()) => Ok(()),
        _ => refuse("its inputs may differ in shape"),
    }
}

fn gemm_up(d: &mut Draft<'_>) -> Outcome {
    d.drop_attr("broadcast");
    Ok(())
}

fn gemm_down(d: &mut Draft<'_>) -> Outcome {
    let dims = d.fact(2).known_dims();
    let out = d.outputs.first().and_then(|o| o.fact.known_dims());
    match (dims.as_deref(), out.as_deref()) {
        (Some(c), Some(out)) if c == out => Ok(()),
        (Some([] | [_] | [1, _]), _) => {
            d.set("broadcast", 1i64);
            Ok(())
        }
        _ => refuse("the shape of its input `C` is not known to fit"),
    }
}

fn gemm_bias_down(d: &mut Draft<'_>) -> Outcome {
    if d.has_input(2) {
        return Ok(());
    }
    let zero = d.dtype().and_then(|dtype| TensorData::from_f64s(dtype, &[1], &[0.0]));
    let Some(zero) = zero else { return refuse("it has no input `C`") };
    d.give(2, &zero);
    Ok(())
}

/// Before 7, a slope of several elements had one for each channel, that is, for axis 1.
fn slope_up(d: &mut Draft<'_>) -> Outcome {
    let fits = d.fact(1).is_single() || d.rank(1).is_some_and(|r| r > 1) || d.rank(0) == Some(2);
    if fits { Ok(()) } else { refuse("its slope is one for each channel") }
}

fn slope_down(d: &mut Draft<'_>) -> Outcome {
    let Some(dims) = d.fact(1).known_dims() else { return refuse("the shape of its slope is not known") };
    let Some(rank) = d.rank(0) else { return refuse("the rank of its input is not known") };
    let Some(data) = d.constant(1, "slope")? else { return refuse("it has no slope") };
    let lead = rank.saturating_sub(dims.len());
    let wide = |(i, &n): (usize, &u64)| (n != 1).then_some(i + lead);
    let axes: Vec<_> = dims.iter().enumerate().filter_map(wide).collect();
    if !matches!(axes[..], [] | [1]) {
        return refuse("its slope is not one for each channel");
    }
    if let Some(flat) = data.with_dims(&[dims.iter().product()]).filter(|_| dims.len() != 1) {
        d.give(1, &flat);
    }
    Ok(())
}

fn selu_up(d: &mut Draft<'_>) -> Outcome {
    d.drop_attr("consumed_inputs");
    default_float(d, "alpha", 1.6732);
    default_float(d, "gamma", 1.0507);
    Ok(())
}

fn selu_down(d: &mut Draft<'_>) -> Outcome {
    default_float(d, "alpha", 1.673_263_2);
    default_float(d, "gamma", 1.050_701);
    Ok(())
}

fn default_float(d: &mut Draft<'_>, name: &str, value: f32) {
    if d.attrs.get(name).is_none() {
        d.set(name, value);
    }
}

fn clip_defaults_down(d: &mut Draft<'_>) -> Outcome {
    default_float(d, "min", f32::MIN);
    default_float(d, "max", f32::MAX);
    Ok(())
}

/// A constant of the node's own type for a value that was a float attribute.
fn typed_scalar(d: &Draft<'_>, value: f32) -> Outcome<TensorData> {
    let Some(dtype) = d.dtype() else { return refuse("its element type is not known") };
    let scalar = TensorData::from_f64s(dtype, &[], &[f64::from(value)]);
    match scalar.filter(|s| !value.is_finite() || s.to_f64().is_some_and(f64::is_finite)) {
        Some(scalar) => Ok(scalar),
        None => refuse("its bound does not fit its element type"),
    }
}

/// An absent bound of a `double` was that of a `float`.
fn clip_up(d: &mut Draft<'_>) -> Outcome {
    let wide = d.dtype() == Some(DType::Double);
    for (slot, name, limit) in [(1, "min", f32::MIN), (2, "max", f32::MAX)] {
        if let Some(bound) = d.take_float(name)?.or(wide.then_some(limit)) {
            let bound = typed_scalar(d, bound)?;
            d.give(slot, &bound);
        }
    }
    Ok(())
}

/// The constant in a slot as a float attribute that loses nothing.
fn as_float(data: &TensorData) -> Outcome<f32> {
    match data.to_f64() {
        Some(x) if f64::from(x as f32).to_bits() == x.to_bits() || x.is_nan() => Ok(x as f32),
        _ => refuse("its constant is no float"),
    }
}

fn clip_down(d: &mut Draft<'_>) -> Outcome {
    for (slot, name) in [(2, "max"), (1, "min")] {
        if let Some(bound) = d.constant(slot, name)? {
            d.set(name, as_float(&bound)?);
        }
        d.take_input(slot);
    }
    Ok(())
}

fn rename_attr(d: &mut Draft<'_>, old: &str, new: &str) -> Outcome {
    if let Some(value) = d.take_ints(old)? {
        d.set(new, value);
    }
    Ok(())
}

fn pad_names_down(d: &mut Draft<'_>) -> Outcome {
    if d.ints("pads")?.unwrap_or_default().iter().any(|&p| p < 0) {
        return refuse("it crops");
    }
    rename_attr(d, "pads", "paddings")
}

fn pad_up(d: &mut Draft<'_>) -> Outcome {
    let Some(pads) = d.take_ints("pads")? else { return refuse("it has no `pads`") };
    d.give(1, &TensorData::vector(&pads));
    let value = d.take_float("value")?.filter(|&v| v != 0.0 || v.is_sign_negative());
    if let Some(value) = value {
        let value = typed_scalar(d, value)?;
        d.give(2, &value);
    }
    Ok(())
}

fn pad_down(d: &mut Draft<'_>) -> Outcome {
    if let Some(value) = d.constant(2, "constant_value")? {
        d.set("value", as_float(&value)?);
    }
    d.take_input(2);
    let pads = d.constant_ints(1, "pads")?.unwrap_or_default();
    d.take_input(1);
    d.set("pads", pads);
    Ok(())
}

/// Spreads the pads of some axes over all of them.
fn pad_axes_down(d: &mut Draft<'_>) -> Outcome {
    let Some(axes) = d.constant_ints(3, "axes")? else { return Ok(()) };
    let pads = d.constant_ints(1, "pads")?.unwrap_or_default();
    let Some(rank) = d.rank(0) else { return refuse("it has `axes` and the rank of its input is not known") };
    if pads.len() != axes.len() * 2 {
        return refuse("its `pads` do not fit its `axes`");
    }
    let mut all = vec![0; rank * 2];
    for (i, &axis) in axes.iter().enumerate() {
        let at = usize::try_from(super::draft::from_front(axis, Some(rank))?).unwrap_or(rank);
        for (slot, pad) in [(at, pads.get(i)), (at + rank, pads.get(i + axes.len()))] {
            match (all.get_mut(slot).filter(|_| at < rank), pad) {
                (Some(place), Some(&pad)) => *place = pad,
                _ => return refuse("its `axes` are out of range"),
            }
        }
    }
    d.take_input(3);
    d.give(1, &TensorData::vector(&all));
    Ok(())
}

fn pad_wrap_down(d: &mut Draft<'_>) -> Outcome {
    if d.text("mode")?.as_deref() == Some("wrap") { refuse("its `mode` is `wrap`") } else { Ok(()) }
}

fn mod_down(d: &mut Draft<'_>) -> Outcome {
    let floating = d.dtype().is_some_and(DType::is_float);
    if floating && d.int("fmod")?.unwrap_or(0) == 0 {
        return refuse("it is the floor modulus of floating-point numbers");
    }
    Ok(())
}

/// With an `alpha` of 1, `Celu` is `Elu`.
pub(super) fn celu_down(d: &mut Draft<'_>) -> Outcome {
    if d.take_float("alpha")?.is_some_and(|alpha| alpha.to_bits() != 1.0f32.to_bits()) {
        return refuse("the operator is not in that opset, and its `alpha` is not 1");
    }
    d.rename("Elu");
    Ok(())
}
