//! Lists of integers that were attributes and became inputs: axes, sizes, pads, shapes; and axes that count from the back.

use crate::ir::{DType, TensorData};

use super::draft::{Draft, Outcome, from_front, refuse};
use super::table::{Row, same};

pub(super) const STEPS: &[Row] = &[
    ("Squeeze", 11, 13, |d| d.ints_to_input("axes", 1), |d| d.input_to_ints(1, "axes")),
    ("Squeeze", 1, 11, same, axes_down),
    ("Unsqueeze", 11, 13, |d| d.ints_to_input("axes", 1), |d| d.input_to_ints(1, "axes")),
    ("Unsqueeze", 1, 11, same, unsqueeze_axes_down),
    ("ReduceSum", 11, 13, |d| d.ints_to_input("axes", 1), reduce_down),
    ("ReduceL1", 13, 18, |d| d.ints_to_input("axes", 1), reduce_down),
    ("ReduceL2", 13, 18, |d| d.ints_to_input("axes", 1), reduce_down),
    ("ReduceLogSum", 13, 18, |d| d.ints_to_input("axes", 1), reduce_down),
    ("ReduceLogSumExp", 13, 18, |d| d.ints_to_input("axes", 1), reduce_down),
    ("ReduceMax", 13, 18, |d| d.ints_to_input("axes", 1), reduce_down),
    ("ReduceMean", 13, 18, |d| d.ints_to_input("axes", 1), reduce_down),
    ("ReduceMin", 13, 18, |d| d.ints_to_input("axes", 1), reduce_down),
    ("ReduceProd", 13, 18, |d| d.ints_to_input("axes", 1), reduce_down),
    ("ReduceSumSquare", 13, 18, |d| d.ints_to_input("axes", 1), reduce_down),
    ("ReduceL1", 1, 11, same, axes_down),
    ("ReduceL2", 1, 11, same, axes_down),
    ("ReduceLogSum", 1, 11, same, axes_down),
    ("ReduceLogSumExp", 1, 11, same, axes_down),
    ("ReduceMax", 1, 11, same, axes_down),
    ("ReduceMean", 1, 11, same, axes_down),
    ("ReduceMin", 1, 11, same, axes_down),
    ("ReduceProd", 1, 11, same, axes_down),
    ("ReduceSum", 1, 11, same, axes_down),
    ("ReduceSumSquare", 1, 11, same, axes_down),
    ("ArgMax", 1, 11, same, axis_down),
    ("ArgMin", 1, 11, same, axis_down),
    ("Compress", 9, 11, same, axis_down),
    ("Concat", 1, 4, concat_up, same),
    ("Concat", 4, 11, same, axis_down),
    ("Flatten", 9, 11, same, axis_down),
    ("Gather", 1, 11, same, gather_down),
    ("Hardmax", 1, 11, same, axis_down),
    ("LogSoftmax", 1, 11, same, axis_down),
    ("Softmax", 1, 11, same, axis_down),
    ("OneHot", 9, 11, same, one_hot_down),
    ("Slice", 1, 10, slice_up, slice_down),
    ("Slice", 10, 11, same, slice_axes_down),
    ("Split", 1, 2, split_input_up, same),
    ("Split", 2, 11, same, axis_down),
    ("Split", 11, 13, |d| d.ints_to_input("split", 1), |d| d.input_to_ints(1, "split")),
    ("Split", 13, 18, split_count_up, split_count_down),
    ("Reshape", 1, 5, reshape_up, reshape_down),
    ("Reshape", 13, 14, same, allow_zero_down),
    ("Tile", 1, 6, |_| refuse("its inputs were replaced"), |_| refuse("its inputs were replaced")),
    ("TopK", 1, 10, top_k_up, top_k_down),
    ("TopK", 10, 11, same, top_k_order_down),
    ("DFT", 17, 20, dft_up, dft_down),
];

fn axis_down(d: &mut Draft<'_>) -> Outcome {
    d.count_axis_from_front("axis", d.rank(0))
}

fn axes_down(d: &mut Draft<'_>) -> Outcome {
    d.count_axes_from_front("axes", d.rank(0))
}

/// The axes of `Unsqueeze` are axes of its output.
fn unsqueeze_axes_down(d: &mut Draft<'_>) -> Outcome {
    let added = d.ints("axes")?.map_or(0, |axes| axes.len());
    d.count_axes_from_front("axes", d.rank(0).map(|r| r + added))
}

fn reduce_down(d: &mut Draft<'_>) -> Outcome {
    let axes = d.constant_ints(1, "axes")?.unwrap_or_default();
    if axes.is_empty() && d.int("noop_with_empty_axes")?.unwrap_or(0) != 0 {
        return refuse("`noop_with_empty_axes` is set");
    }
    d.drop_attr("noop_with_empty_axes");
    d.input_to_ints(1, "axes")
}

fn concat_up(d: &mut Draft<'_>) -> Outcome {
    if d.attrs.get("axis").is_none() {
        d.set("axis", 1i64);
    }
    Ok(())
}

/// Runtimes always wrapped negative indices; those of a constant are counted from the front all the same.
fn gather_down(d: &mut Draft<'_>) -> Outcome {
    axis_down(d)?;
    let Some(indices) = d.fact(1).data.clone() else { return Ok(()) };
    let items = indices.to_i64s().unwrap_or_default();
    if items.iter().all(|&i| i >= 0) {
        return Ok(());
    }
    let axis = usize::try_from(d.int("axis")?.unwrap_or(0)).unwrap_or(usize::MAX);
    let dim = d.fact(0).dims.as_ref().and_then(|dims| dims.get(axis).copied().flatten());
    let Some(dim) = dim.and_then(|n| usize::try_from(n).ok()) else {
        return refuse("its indices count from the back of a dim that is not known");
    };
    let items: Vec<_> = items.iter().map(|&i| from_front(i, Some(dim))).collect::<Outcome<_>>()?;
    let narrow = || items.iter().map(|&i| i32::try_from(i).ok()).collect::<Option<Vec<_>>>();
    let rewritten = match indices.dtype() {
        DType::Int64 => TensorData::from_slice(indices.dims(), &items).ok(),
        _ => narrow().and_then(|items| TensorData::from_slice(indices.dims(), &items).ok()),
    };
    match rewritten {
        Some(data) => d.give(1, &data),
        None => return refuse("its indices do not fit their type"),
    }
    Ok(())
}

/// The axis of `OneHot` is an axis of its output. Runtimes wrap negative indices in both versions.
fn one_hot_down(d: &mut Draft<'_>) -> Outcome {
    match d.int("axis")? {
        Some(-1) | None => Ok(()),
        Some(_) => d.count_axis_from_front("axis", d.rank(0).map(|r| r + 1)),
    }
}

fn slice_up(d: &mut Draft<'_>) -> Outcome {
    let (Some(starts), Some(ends)) = (d.take_ints("starts")?, d.take_ints("ends")?) else {
        return refuse("it has no `starts` or no `ends`");
    };
    d.give(1, &TensorData::vector(&starts));
    d.give(2, &TensorData::vector(&ends));
    d.ints_to_input("axes", 3)
}

fn slice_down(d: &mut Draft<'_>) -> Outcome {
    if d.constant_ints(4, "steps")?.unwrap_or_default().iter().any(|&s| s != 1) {
        return refuse("its steps are not 1");
    }
    d.take_input(4);
    for (slot, name) in [(3, "axes"), (2, "ends"), (1, "starts")] {
        d.input_to_ints(slot, name)?;
    }
    if d.attrs.get("starts").is_none() {
        d.set("starts", Vec::<i64>::new());
        d.set("ends", Vec::<i64>::new());
    }
    Ok(())
}

fn slice_axes_down(d: &mut Draft<'_>) -> Outcome {
    let Ok(Some(axes)) = d.constant_ints(3, "axes") else { return Ok(()) };
    if axes.iter().any(|&a| a < 0) {
        let axes: Vec<_> = axes.iter().map(|&a| from_front(a, d.rank(0))).collect::<Outcome<_>>()?;
        d.give(3, &TensorData::vector(&axes));
    }
    Ok(())
}

fn split_input_up(d: &mut Draft<'_>) -> Outcome {
    if d.has_input(1) { refuse("its sizes are an input of the type of its data") } else { Ok(()) }
}

/// Without sizes the parts are equal, which from 18 on has to be said.
fn split_count_up(d: &mut Draft<'_>) -> Outcome {
    if !d.has_input(1) {
        d.set("num_outputs", i64::try_from(d.outputs.len()).unwrap_or(i64::MAX));
    }
    Ok(())
}

fn split_count_down(d: &mut Draft<'_>) -> Outcome {
    let Some(count) = d.take_int("num_outputs")? else { return Ok(()) };
    let axis = from_front(d.int("axis")?.unwrap_or(0), d.rank(0)).ok().and_then(|a| usize::try_from(a).ok());
    let at = |dims: &Option<Vec<Option<u64>>>| dims.as_ref()?.get(axis?).copied().flatten();
    let parts: Option<Vec<_>> = d.outputs.iter().map(|o| at(&o.fact.dims)).collect();
    if parts.is_some_and(|p| p.first().is_some_and(|first| p.iter().all(|n| n == first))) {
        return Ok(());
    }
    let (Some(dim), Ok(count)) = (at(&d.fact(0).dims), u64::try_from(count)) else {
        return refuse("the dim that it splits is not known, so that its parts may be unequal");
    };
    match (dim.is_multiple_of(count), i64::try_from(dim.div_ceil(count.max(1)))) {
        (true, _) => {}
        (false, Ok(part)) if d.outputs.len() as u64 == count => {
            let dim = i64::try_from(dim).unwrap_or(i64::MAX);
            let sizes: Vec<_> = (0..d.outputs.len() as i64).map(|i| part.min(dim - i * part)).collect();
            if sizes.iter().any(|&n| n < 0) {
                return refuse("it has more parts than elements");
            }
            d.give(1, &TensorData::vector(&sizes));
        }
        _ => return refuse("`num_outputs` does not fit its outputs"),
    }
    Ok(())
}

fn reshape_up(d: &mut Draft<'_>) -> Outcome {
    d.drop_attr("consumed_inputs");
    let Some(shape) = d.take_ints("shape")? else { return refuse("it has no `shape`") };
    d.give(1, &TensorData::vector(&shape));
    Ok(())
}

fn reshape_down(d: &mut Draft<'_>) -> Outcome {
    let shape = d.constant_ints(1, "shape")?.unwrap_or_default();
    d.take_input(1);
    d.set("shape", shape);
    Ok(())
}

fn allow_zero_down(d: &mut Draft<'_>) -> Outcome {
    if d.take_int("allowzero")?.unwrap_or(0) == 0 {
        return Ok(());
    }
    match d.constant_ints(1, "shape") {
        Ok(Some(shape)) if !shape.contains(&0) => Ok(()),
        _ => refuse("`allowzero` is set"),
    }
}

fn top_k_up(d: &mut Draft<'_>) -> Outcome {
    let Some(k) = d.take_int("k")? else { return refuse("it has no `k`") };
    d.give(1, &TensorData::vector(&[k]));
    Ok(())
}

fn top_k_down(d: &mut Draft<'_>) -> Outcome {
    let Some(&[k]) = d.constant_ints(1, "K")?.as_deref() else { return refuse("its `K` is not one number") };
    d.take_input(1);
    d.set("k", k);
    axis_down(d)
}

/// Any order is allowed where none is asked for, so `sorted` need not be said.
fn top_k_order_down(d: &mut Draft<'_>) -> Outcome {
    d.drop_attr("sorted");
    Ok(())
}

fn dft_up(d: &mut Draft<'_>) -> Outcome {
    let axis = d.take_int("axis")?.unwrap_or(1);
    d.give(2, &TensorData::scalar(axis));
    Ok(())
}

fn dft_down(d: &mut Draft<'_>) -> Outcome {
    let axis = match d.constant_ints(2, "axis")?.as_deref() {
        None => -2,
        Some(&[axis]) => axis,
        Some(_) => return refuse("its `axis` is not one number"),
    };
    d.take_input(2);
    d.set("axis", axis);
    Ok(())
}
