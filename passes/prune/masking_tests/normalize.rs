//! Operators that look at whole axes: normalization, reduction, pools.

use super::draft::{Draft, Numbers, Value, join};

pub fn normalize(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    if v.channel != 1 {
        return layer(draft, n, v);
    }
    let c = v.channels();
    let (scale, shift) = (draft.float("c", &[c]), draft.float("c", &[c]));
    match n.below(4) {
        0 => {
            let (mean, var) = (draft.float("c", &[c]), draft.float("var", &[c]));
            draft.like(v, &format!("BatchNormalization ({}, {scale}, {shift}, {mean}, {var})", v.name))
        }
        1 if v.rank() > 2 => draft.like(v, &format!("InstanceNormalization ({}, {scale}, {shift})", v.name)),
        2 if v.rank() > 2 && c > 1 => {
            let groups: Vec<usize> = (1..=c).filter(|g| c.is_multiple_of(*g) && *g > 1).collect();
            let attrs = format!("num_groups = {}", n.pick(&groups));
            draft.like(v, &format!("GroupNormalization <{attrs}> ({}, {scale}, {shift})", v.name))
        }
        _ => layer(draft, n, v),
    }
}

/// Over the axes behind one: mostly not the channels.
fn layer(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let first = if v.channel + 1 < v.rank() && !n.rare(6) { v.channel + 1 } else { v.rank() - 1 };
    let Some(sizes) = v.dims[first..].iter().copied().collect::<Option<Vec<usize>>>() else { return false };
    let scale = draft.float("c", &sizes);
    if n.coin() {
        return draft.like(v, &format!("RMSNormalization <axis = {first}> ({}, {scale})", v.name));
    }
    let shift = draft.float("c", &sizes);
    draft.like(v, &format!("LayerNormalization <axis = {first}> ({}, {scale}, {shift})", v.name))
}

/// Along one axis: mostly not the channels.
pub fn along(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let axes = v.plain_axes();
    if axes.is_empty() {
        return false;
    }
    let axis = if n.rare(10) { v.channel } else { *n.pick(&axes) } as i64;
    let axis = if n.coin() { axis - v.rank() as i64 } else { axis };
    match n.below(5) {
        0 => {
            let axis = draft.number("int64", &axis.to_string());
            draft.like(v, &format!("CumSum ({}, {axis})", v.name))
        }
        other => {
            let op = ["Softmax", "LogSoftmax", "Hardmax", "LpNormalization"][other - 1];
            draft.like(v, &format!("{op} <axis = {axis}> ({})", v.name))
        }
    }
}

const REDUCED: &[&str] = &[
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "ArgMax",
    "ArgMin",
];

pub fn reduce(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let axes = v.plain_axes();
    if axes.is_empty() {
        return false;
    }
    let op = *n.pick(REDUCED);
    let keeps = n.coin();
    let first = *n.pick(&axes);
    let mut gone = vec![first];
    if n.coin() && !op.starts_with("Arg") {
        gone.extend(axes.iter().copied().filter(|&a| a != first));
    }
    let stays = |axis: &usize| keeps || !gone.contains(axis);
    let dims: Vec<Option<usize>> =
        (0..v.rank()).filter(stays).map(|a| if gone.contains(&a) { Some(1) } else { v.dims[a] }).collect();
    let channel = (0..v.channel).filter(stays).count();
    if dims.len() < 2 {
        return false;
    }
    let keepdims = format!("keepdims = {}", i64::from(keeps));
    if op.starts_with("Arg") {
        let place = draft.line(&format!("{op} <axis = {first}, {keepdims}> ({})", v.name));
        draft.add(&format!("Cast <to = 1> ({place})"), dims, channel);
        return true;
    }
    let axes = gone.iter().map(|&a| if n.coin() { a as i64 - v.rank() as i64 } else { a as i64 });
    let axes = draft.ints(&axes.collect::<Vec<_>>());
    let x = if op == "ReduceLogSum" { draft.tame(&v.name) } else { v.name.clone() };
    draft.add(&format!("{op} <{keepdims}> ({x}, {axes})"), dims, channel);
    true
}

/// Less than what the channels have in common: they are seen together, and none may go.
pub fn centred(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let op = *n.pick(&["ReduceMean", "ReduceMax", "ReduceL2", "ReduceSumSquare"]);
    let axes = draft.ints(&[v.channel as i64]);
    let common = draft.line(&format!("{op} <keepdims = 1> ({}, {axes})", v.name));
    draft.like(v, &format!("Sub ({}, {common})", v.name))
}

/// All of space in one number.
pub fn global(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    if v.channel != 1 || v.rank() < 3 {
        return false;
    }
    let op = *n.pick(&["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"]);
    let dims = (0..v.rank()).map(|a| if a < 2 { v.dims[a] } else { Some(1) }).collect();
    draft.add(&format!("{op} ({})", v.name), dims, 1);
    true
}

/// Windows over space.
pub fn pool(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    if v.channel != 1 || v.rank() != 4 || v.dims[2..].iter().any(|d| d.is_none_or(|d| d < 2)) {
        return false;
    }
    let sizes: Vec<usize> = v.dims[2..].iter().flatten().copied().collect();
    let with = |sizes: [usize; 2]| vec![v.dims[0], v.dims[1], Some(sizes[0]), Some(sizes[1])];
    let window = with([sizes[0] - 1, sizes[1] - 1]);
    match n.below(6) {
        at @ 0..3 => {
            let op = ["AveragePool", "LpPool", "MaxPool"][at];
            draft.add(&format!("{op} <kernel_shape = [2, 2]> ({})", v.name), window, 1);
        }
        3 => {
            let places = draft.name("h");
            let made = draft.name("v");
            draft.lines.push(format!("{made}, {places} = MaxPool <kernel_shape = [2, 2]> ({})", v.name));
            draft.values.push(Value { name: made, dims: window, channel: 1 });
        }
        4 => {
            let Some(batch) = draft.batch.filter(|_| v.dims[0].is_none()) else { return false };
            let grid = draft.float("grid", &[batch, 2, 3, 2]);
            draft.add(&format!("GridSample ({}, {grid})", v.name), with([2, 3]), 1);
        }
        _ => {
            let name = draft.name("k");
            draft.constants.push(format!("float[3,4] {name} = {{{}}}", join(&ROIS)));
            let batches = draft.ints(&[0, 0, 0]);
            let attrs = "output_height = 2, output_width = 2";
            let mut dims = with([2, 2]);
            dims[0] = Some(3);
            draft.add(&format!("RoiAlign <{attrs}> ({}, {name}, {batches})", v.name), dims, 1);
        }
    }
    true
}

const ROIS: [f32; 12] = [0.0, 0.0, 2.0, 2.0, 0.5, 0.25, 1.5, 2.5, 1.0, 0.0, 3.0, 1.5];
