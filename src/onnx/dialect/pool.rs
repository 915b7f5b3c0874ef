//! Pooling.

use super::draft::{Draft, Outcome, refuse};
use super::table::{Row, same};

pub(super) const STEPS: &[Row] = &[
    ("AveragePool", 1, 7, same, count_pads_down),
    ("AveragePool", 11, 19, same, dilations_down),
    ("LpPool", 11, 18, same, dilations_down),
    ("LpPool", 1, 2, norm_up, norm_down),
    ("MaxPool", 1, 8, same, indices_down),
    ("MaxPool", 8, 10, same, dilations_down),
    ("GlobalLpPool", 1, 2, norm_up, norm_down),
    ("AveragePool", 19, 22, last_window, last_window),
    ("LpPool", 18, 22, last_window, last_window),
    ("MaxPool", 12, 22, last_window, last_window),
];

fn count_pads_down(d: &mut Draft<'_>) -> Outcome {
    let padded = d.ints("pads")?.unwrap_or_default().iter().any(|&p| p != 0);
    let automatic = d.text("auto_pad")?.is_some_and(|a| a != "NOTSET" && a != "VALID");
    if !padded && !automatic {
        d.drop_attr("count_include_pad");
    }
    Ok(())
}

fn dilations_down(d: &mut Draft<'_>) -> Outcome {
    if d.take_ints("dilations")?.unwrap_or_default().iter().any(|&n| n != 1) {
        return refuse("it is dilated");
    }
    Ok(())
}

fn indices_down(d: &mut Draft<'_>) -> Outcome {
    if !d.uses_output(1) {
        d.drop_attr("storage_order");
    }
    Ok(())
}

fn norm_up(d: &mut Draft<'_>) -> Outcome {
    if d.op.is("LpPool") && d.attrs.get("kernel_shape").is_none() {
        return refuse("it has no `kernel_shape`");
    }
    match d.float("p")? {
        None => Ok(()),
        Some(p) if p.fract() == 0.0 && p.abs() < 1e6 => {
            d.set("p", p as i64);
            Ok(())
        }
        Some(_) => refuse("its `p` is no integer"),
    }
}

fn norm_down(d: &mut Draft<'_>) -> Outcome {
    if let Some(p) = d.int("p")? {
        d.set("p", p as f32);
    }
    Ok(())
}

/// From 22 on, `ceil_mode` adds no window that would begin in the padding behind the data.
fn last_window(d: &mut Draft<'_>) -> Outcome {
    let same_size = d.text("auto_pad")?.is_some_and(|a| a.starts_with("SAME"));
    if d.int("ceil_mode")?.unwrap_or(0) == 0 || same_size {
        return Ok(());
    }
    let kernel = d.ints("kernel_shape")?.unwrap_or_default();
    let or_ones = |ints: Option<Vec<i64>>| ints.unwrap_or_else(|| vec![1; kernel.len()]);
    let (strides, dilations) = (or_ones(d.ints("strides")?), or_ones(d.ints("dilations")?));
    let pads = d.ints("pads")?.unwrap_or_else(|| vec![0; 2 * kernel.len()]);
    if [strides.len(), dilations.len(), pads.len() / 2] != [kernel.len(); 3] {
        return refuse("its attributes are not of one rank");
    }
    let dims = d.fact(0).dims.as_deref();
    let ends = |axis: usize| {
        let (before, after) = (pads[axis], pads[kernel.len() + axis]);
        let (stride, extent) =
            (strides[axis], kernel[axis].checked_sub(1)?.checked_mul(dilations[axis])?.checked_add(1)?);
        // The last window begins less than a stride behind the place from which one would still fit.
        if after.checked_add(stride)? <= extent {
            return Some(true);
        }
        let dim = i64::try_from(dims?.get(axis + 2).copied().flatten()?).ok()?;
        let data = dim.checked_add(before)?;
        let room = data.checked_add(after)?.checked_sub(extent).filter(|&r| r >= 0 && stride > 0)?;
        let last = room.checked_add(stride - 1)? / stride * stride;
        Some(last < data)
    };
    if (0..kernel.len()).all(|axis| ends(axis) == Some(true)) {
        return Ok(());
    }
    refuse(
        "with `ceil_mode`, its last window may begin in the padding, which changed the size of its output in 22",
    )
}
