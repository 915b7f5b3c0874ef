//! Normalisations, their training modes, Softmax and its siblings, and Dropout.

use crate::ir::{DType, TensorData};

use super::draft::{Draft, Outcome, from_front, refuse};
use super::table::{Row, same};

pub(super) const STEPS: &[Row] = &[
    ("BatchNormalization", 1, 6, |d| drop(d, "consumed_inputs"), hint_down),
    ("BatchNormalization", 6, 7, test_up, norm_test_down),
    ("BatchNormalization", 7, 9, spatial_up, same),
    ("BatchNormalization", 9, 14, one_output, training_down),
    ("Dropout", 1, 6, |d| drop(d, "consumed_inputs"), same),
    ("Dropout", 6, 7, test_up, test_down),
    ("Dropout", 7, 10, no_mask, no_mask_down),
    ("Dropout", 10, 12, ratio_up, ratio_down),
    ("Softmax", 11, 13, softmax_up, softmax_down),
    ("LogSoftmax", 11, 13, softmax_up, softmax_down),
    ("Hardmax", 11, 13, softmax_up, softmax_down),
    ("Attention", 23, 24, same, short_mask_down),
    ("GroupNormalization", 18, 21, group_up, |_| refuse("its parameters were one for each group")),
];

fn drop(d: &mut Draft<'_>, name: &str) -> Outcome {
    d.drop_attr(name);
    Ok(())
}

fn hint_down(d: &mut Draft<'_>) -> Outcome {
    d.set("consumed_inputs", vec![0, 0, 0, 1, 1]);
    Ok(())
}

/// Up to 6, training was the default.
fn test_up(d: &mut Draft<'_>) -> Outcome {
    if d.take_int("is_test")?.unwrap_or(0) == 0 { refuse("it trains") } else { Ok(()) }
}

fn test_down(d: &mut Draft<'_>) -> Outcome {
    d.set("is_test", 1i64);
    Ok(())
}

fn norm_test_down(d: &mut Draft<'_>) -> Outcome {
    one_output(d)?;
    test_down(d)
}

/// Without `spatial` every element of a sample had parameters of its own; for rank 2 that is the same.
fn spatial_up(d: &mut Draft<'_>) -> Outcome {
    match d.take_int("spatial")? {
        Some(0) if d.rank(0) != Some(2) => refuse("its parameters are not one for each channel"),
        _ => Ok(()),
    }
}

/// From 7 to 13, a second output meant training.
fn one_output(d: &mut Draft<'_>) -> Outcome {
    if d.outputs.iter().skip(1).any(|o| o.slot.is_some()) { refuse("it trains") } else { Ok(()) }
}

fn training_down(d: &mut Draft<'_>) -> Outcome {
    if d.take_int("training_mode")?.unwrap_or(0) != 0 {
        return refuse("it trains");
    }
    d.outputs.truncate(1);
    Ok(())
}

/// Before 10, the mask was of the type of the data.
fn no_mask(d: &mut Draft<'_>) -> Outcome {
    if d.uses_output(1) {
        return refuse("its mask is read");
    }
    Ok(())
}

fn no_mask_down(d: &mut Draft<'_>) -> Outcome {
    no_mask(d)?;
    d.outputs.truncate(1);
    Ok(())
}

fn ratio_up(d: &mut Draft<'_>) -> Outcome {
    if let Some(ratio) = d.take_float("ratio")? {
        d.give(1, &TensorData::scalar(ratio));
    }
    Ok(())
}

fn ratio_down(d: &mut Draft<'_>) -> Outcome {
    let training = d.constant(2, "training_mode")?.and_then(|t| t.to_i64s());
    if training.is_some_and(|t| t.iter().any(|&x| x != 0)) {
        return refuse("it trains");
    }
    d.take_input(2);
    d.drop_attr("seed");
    if let Some(ratio) = d.constant(1, "ratio")?.and_then(|r| r.to_f64()) {
        d.set("ratio", ratio as f32);
    }
    d.take_input(1);
    Ok(())
}

/// Whether all elements that Softmax before 13 normalised together lie along its axis.
fn is_one_axis(d: &Draft<'_>, axis: i64) -> bool {
    let Some(dims) = &d.fact(0).dims else { return axis == -1 };
    let Ok(axis) = from_front(axis, Some(dims.len())) else { return false };
    let behind = usize::try_from(axis).ok().and_then(|a| dims.get(a + 1..));
    behind.is_some_and(|dims| dims.iter().all(|&d| d == Some(1)))
}

fn softmax_up(d: &mut Draft<'_>) -> Outcome {
    let axis = d.int("axis")?.unwrap_or(1);
    if !is_one_axis(d, axis) {
        return refuse("it normalises several axes together");
    }
    d.set("axis", axis);
    Ok(())
}

fn softmax_down(d: &mut Draft<'_>) -> Outcome {
    let axis = d.int("axis")?.unwrap_or(-1);
    if !is_one_axis(d, axis) {
        return refuse("it normalises an axis that is not known to be the last");
    }
    d.set("axis", axis);
    Ok(())
}

/// From 24 on, what a mask lacks behind its last element hides those keys.
fn short_mask_down(d: &mut Draft<'_>) -> Outcome {
    let last = |slot: usize, back: usize| {
        let dims = d.fact(slot).dims.as_ref()?;
        dims.get(dims.len().checked_sub(back)?).copied().flatten()
    };
    let past = if d.has_input(4) { last(4, 2) } else { Some(0) };
    let keys = last(1, 2).zip(past).map(|(own, past)| own.saturating_add(past));
    match last(3, 1).zip(keys) {
        Some((mask, keys)) if mask < keys => refuse("its mask is shorter than its keys"),
        _ => Ok(()),
    }
}

/// Parameters are one for each channel from 21 on, and sums are in `float` unless `stash_type` says otherwise.
fn group_up(d: &mut Draft<'_>) -> Outcome {
    let groups = d.int("num_groups")?.and_then(|g| u64::try_from(g).ok());
    let channels = d.fact(0).dims.as_ref().and_then(|dims| dims.get(1).copied().flatten());
    if channels.is_none() || channels != groups {
        return refuse("its parameters are one for each group");
    }
    match d.dtype() {
        Some(DType::Float) => {}
        Some(dtype @ (DType::Double | DType::Float16 | DType::Bfloat16)) => {
            d.set("stash_type", i64::from(dtype.code()));
        }
        _ => return refuse("its element type is not known"),
    }
    Ok(())
}
