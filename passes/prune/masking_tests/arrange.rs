//! Operators that move, repeat, join and part.

use super::draft::{Draft, Numbers, Value, join};

const MOST: usize = 400;

pub fn transpose(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let mut left: Vec<usize> = (0..v.rank()).collect();
    let perm: Vec<usize> = (0..v.rank()).map(|_| left.remove(n.below(left.len()))).collect();
    let dims = |perm: &[usize]| perm.iter().map(|&a| v.dims[a]).collect::<Vec<_>>();
    let place = |perm: &[usize]| perm.iter().position(|&a| a == v.channel).unwrap_or(0);
    if n.rare(5) {
        let turned: Vec<usize> = (0..v.rank()).rev().collect();
        draft.add(&format!("Transpose ({})", v.name), dims(&turned), place(&turned));
    } else {
        let call = format!("Transpose <perm = [{}]> ({})", join(&perm), v.name);
        draft.add(&call, dims(&perm), place(&perm));
    }
    true
}

/// An axis: mostly that of the channels.
fn some_axis(n: &mut Numbers, v: &Value) -> Option<usize> {
    let axes = v.plain_axes();
    if n.rare(4) && !axes.is_empty() { Some(*n.pick(&axes)) } else { v.dims[v.channel].map(|_| v.channel) }
}

/// The axis, from either end.
fn said(n: &mut Numbers, axis: usize, rank: usize) -> i64 {
    if n.coin() { axis as i64 - rank as i64 } else { axis as i64 }
}

pub fn concat(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let Some(axis) = some_axis(n, v) else { return false };
    let beside = |w: &&Value| {
        w.channel == v.channel
            && w.rank() == v.rank()
            && (0..v.rank()).all(|a| if a == axis { w.dims[a].is_some() } else { w.dims[a] == v.dims[a] })
    };
    let others: Vec<Value> = draft.values.iter().rev().filter(beside).take(5).cloned().collect();
    let mut parts = vec![v.clone()];
    parts.extend((0..=n.below(2)).map(|_| n.pick(&others).clone()));
    let fixed: Option<Vec<usize>> = v.dims.iter().copied().collect();
    let mut names: Vec<String> = parts.iter().map(|p| p.name.clone()).collect();
    let mut size: usize = parts.iter().filter_map(|p| p.dims[axis]).sum();
    // A constant block, where all dims are numbers.
    if let Some(mut dims) = fixed.filter(|_| n.rare(3)) {
        dims[axis] = 2;
        let place = n.below(names.len() + 1);
        names.insert(place, draft.float("c", &dims));
        size += 2;
    }
    let mut dims = v.dims.clone();
    dims[axis] = Some(size);
    if dims.iter().flatten().product::<usize>() > MOST {
        return false;
    }
    let axis = said(n, axis, v.rank());
    draft.add(&format!("Concat <axis = {axis}> ({})", names.join(", ")), dims, v.channel);
    true
}

pub fn split(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let Some(axis) = some_axis(n, v) else { return false };
    let size = v.dims[axis].unwrap_or(1);
    if size < 3 {
        return false;
    }
    let first = 1 + n.below(size - 2);
    let second = if n.coin() { size - first } else { 1 + n.below(size - first - 1) };
    let sizes: Vec<usize> = [first, second, size - first - second].into_iter().filter(|&s| s > 0).collect();
    let given = draft.ints(&sizes.iter().map(|&s| s as i64).collect::<Vec<_>>());
    let names: Vec<String> = sizes.iter().map(|_| draft.name("v")).collect();
    let axis_said = said(n, axis, v.rank());
    draft.lines.push(format!("{} = Split <axis = {axis_said}> ({}, {given})", names.join(", "), v.name));
    for (name, size) in names.into_iter().zip(sizes) {
        let mut dims = v.dims.clone();
        dims[axis] = Some(size);
        draft.values.push(Value { name, dims, channel: v.channel });
    }
    true
}

pub fn slice(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let Some(axis) = some_axis(n, v) else { return false };
    let size = v.dims[axis].unwrap_or(1);
    if size < 2 {
        return false;
    }
    let start = n.below(size - 1);
    let end = start + 1 + n.below(size - start);
    let step = if n.rare(4) { 2 } else { 1 };
    let from_back = |n: &mut Numbers, bound: usize| match n.below(3) {
        0 if bound < size => bound as i64 - size as i64,
        1 if bound == size => i64::MAX,
        _ => bound as i64,
    };
    let bounds = [from_back(n, start), from_back(n, end)];
    let mut inputs: Vec<String> = bounds.iter().map(|&b| draft.ints(&[b])).collect();
    inputs.push(draft.ints(&[said(n, axis, v.rank())]));
    if step != 1 || n.coin() {
        inputs.push(draft.ints(&[step]));
    }
    let mut dims = v.dims.clone();
    dims[axis] = Some((end - start).div_ceil(step as usize));
    draft.add(&format!("Slice ({}, {})", v.name, inputs.join(", ")), dims, v.channel);
    true
}

pub fn gather(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let Some(axis) = some_axis(n, v) else { return false };
    let size = v.dims[axis].unwrap_or(1);
    let said = said(n, axis, v.rank());
    let index = |n: &mut Numbers| n.below(size) as i64 - if n.rare(3) { size as i64 } else { 0 };
    if n.coin() && axis != v.channel && v.rank() > 2 {
        let at = index(n);
        let at = draft.number("int64", &at.to_string());
        let dims = (0..v.rank()).filter(|&a| a != axis).map(|a| v.dims[a]).collect();
        let channel = v.channel - usize::from(axis < v.channel);
        draft.add(&format!("Gather <axis = {said}> ({}, {at})", v.name), dims, channel);
        return true;
    }
    let count = 2 + n.below(4);
    let items: Vec<i64> = (0..count).map(|_| index(n)).collect();
    let mut dims = v.dims.clone();
    dims[axis] = Some(count);
    if v.rank() < 5 && n.rare(6) {
        let name = draft.name("i");
        let two: Vec<i64> = [&items[..], &items[..]].concat();
        draft.constants.push(format!("int64[2,{count}] {name} = {{{}}}", join(&two)));
        dims.insert(axis, Some(2));
        let channel = v.channel + usize::from(axis <= v.channel);
        draft.add(&format!("Gather <axis = {said}> ({}, {name})", v.name), dims, channel);
        return true;
    }
    let items = draft.ints(&items);
    draft.add(&format!("Gather <axis = {said}> ({}, {items})", v.name), dims, v.channel);
    true
}

pub fn pad(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let mut pads = vec![0i64; 2 * v.rank()];
    let mut dims = v.dims.clone();
    let mode = *n.pick(&["constant", "constant", "reflect", "edge"]);
    let axes: Vec<usize> = (0..v.rank()).filter(|&a| v.dims[a].is_some_and(|d| d > 1)).collect();
    for axis in axes {
        if (axis == v.channel && mode != "constant") || n.coin() {
            continue;
        }
        let (before, after) = (n.below(2), n.below(2));
        (pads[axis], pads[v.rank() + axis]) = (before as i64, after as i64);
        dims[axis] = dims[axis].map(|d| d + before + after);
    }
    if dims.iter().flatten().product::<usize>() > MOST {
        return false;
    }
    let mut inputs = vec![v.name.clone(), draft.ints(&pads)];
    if mode == "constant" && n.coin() {
        inputs.push(draft.number("float", "0.75"));
    }
    draft.add(&format!("Pad <mode = \"{mode}\"> ({})", inputs.join(", ")), dims, v.channel);
    true
}

pub fn tile(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let Some(axis) = some_axis(n, v) else { return false };
    let mut repeats = vec![1; v.rank()];
    repeats[axis] = 2 + n.below(2) as i64;
    let mut dims = v.dims.clone();
    dims[axis] = dims[axis].map(|d| d * repeats[axis] as usize);
    if dims.iter().flatten().product::<usize>() > MOST {
        return false;
    }
    let repeats = draft.ints(&repeats);
    draft.add(&format!("Tile ({}, {repeats})", v.name), dims, v.channel);
    true
}

/// New or stretched axes.
pub fn expand(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let mut dims = v.dims.clone();
    let mut shape: Vec<i64> = dims.iter().map(|d| d.map_or(1, |d| d as i64)).collect();
    if let Some(axis) = (0..v.rank()).find(|&a| dims[a] == Some(1)) {
        (dims[axis], shape[axis]) = (Some(2), 2);
    }
    let mut channel = v.channel;
    if v.rank() < 4 && n.coin() {
        let stack = v.channels().min(4);
        dims.insert(0, Some(stack));
        shape.insert(0, stack as i64);
        channel += 1;
    }
    // An entry of 1 leaves a dim as it is.
    if n.coin() && dims[channel] == v.dims[v.channel] {
        shape[channel] = 1;
    }
    let shape = draft.ints(&shape);
    if n.coin() {
        let name = draft.name("v");
        // As exporters write it: −1 stands for a dim that stays.
        let rank = draft.line(&format!("Shape ({shape})"));
        let ones = draft.line(&format!("ConstantOfShape <value = int64[1] {{1}}> ({rank})"));
        let minus = draft.number("int64", "-1");
        let minus = draft.line(&format!("Mul ({ones}, {minus})"));
        let stays = draft.line(&format!("Equal ({shape}, {minus})"));
        let shape = draft.line(&format!("Where ({stays}, {ones}, {shape})"));
        draft.lines.push(format!("{name} = Expand ({}, {shape})", v.name));
        draft.values.push(Value { name, dims, channel });
    } else {
        draft.add(&format!("Expand ({}, {shape})", v.name), dims, channel);
    }
    true
}

pub fn resize(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    if v.rank() != 4 || v.channel != 1 || v.elements() > MOST / 4 || v.dims[2..].contains(&None) {
        return false;
    }
    let mut dims = v.dims.clone();
    dims[2..].iter_mut().for_each(|d| *d = d.map(|d| 2 * d));
    let call = match n.below(4) {
        0 => {
            let name = draft.name("k");
            draft.constants.push(format!("float[4] {name} = {{1, 1, 2, 2}}"));
            format!("Resize ({}, , {name})", v.name)
        }
        1 => {
            let name = draft.name("k");
            draft.constants.push(format!("float[2] {name} = {{2, 2}}"));
            format!("Resize <axes = [2, -1]> ({}, , {name})", v.name)
        }
        2 => {
            let sizes: Vec<i64> = dims[1..].iter().flatten().map(|&d| d as i64).collect();
            let sizes = draft.ints(&sizes);
            format!("Resize <axes = [1, 2, 3], mode = \"linear\"> ({}, , , {sizes})", v.name)
        }
        _ => {
            let Some(batch) = draft.batch else { return false };
            let sizes: Vec<i64> = dims.iter().map(|d| d.unwrap_or(batch) as i64).collect();
            let sizes = draft.ints(&sizes);
            format!("Resize ({}, , , {sizes})", v.name)
        }
    };
    draft.add(&call, dims, 1);
    true
}

pub fn blocks(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let [first, Some(c), Some(h), Some(w)] = v.dims[..] else { return false };
    if v.channel != 1 {
        return false;
    }
    if c <= 8 && n.coin() {
        // Enough channels for a block of several.
        let many = *n.pick(&[8, 12]);
        let weight = draft.weight(n, &[many, c, 1, 1]);
        let x = draft.line(&format!("Conv ({}, {weight})", v.name));
        let mode = n.pick(&["DCR", "CRD"]);
        let call = format!("DepthToSpace <blocksize = 2, mode = \"{mode}\"> ({x})");
        draft.add(&call, vec![first, Some(many / 4), Some(2 * h), Some(2 * w)], 1);
        return true;
    }
    if h % 2 == 1 || w % 2 == 1 || c * 4 > 24 {
        return false;
    }
    let dims = vec![first, Some(4 * c), Some(h / 2), Some(w / 2)];
    draft.add(&format!("SpaceToDepth <blocksize = 2> ({})", v.name), dims, 1);
    true
}
