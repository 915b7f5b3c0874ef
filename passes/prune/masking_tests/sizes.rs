//! What is computed from the shapes of values.

use super::draft::{Draft, Numbers, Value, join};

/// The size of an axis, in a list of one.
fn size(draft: &mut Draft, n: &mut Numbers, v: &Value, axis: usize) -> String {
    let (from, to) = (draft.ints(&[axis as i64]), draft.ints(&[axis as i64 + 1]));
    if n.coin() {
        return draft.line(&format!("Shape <start = {axis}, end = {}> ({})", axis + 1, v.name));
    }
    let shape = draft.line(&format!("Shape ({})", v.name));
    if n.coin() {
        draft.line(&format!("Slice ({shape}, {from}, {to})"))
    } else {
        draft.line(&format!("Gather ({shape}, {from})"))
    }
}

/// Zeros as many as an axis has indices are added along it.
pub fn made(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let axis = n.below(v.rank());
    let part = size(draft, n, v, axis);
    let row = draft.line(&format!("ConstantOfShape ({part})"));
    let shape: Vec<i64> = (0..v.rank()).map(|a| if a == axis { -1 } else { 1 }).collect();
    let shape = draft.ints(&shape);
    let row = draft.line(&format!("Reshape ({row}, {shape})"));
    draft.like(v, &format!("Add ({}, {row})", v.name))
}

/// A scale by the number of indices of an axis.
pub fn scaled(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let axis = n.below(v.rank());
    let part = size(draft, n, v, axis);
    let part = draft.line(&format!("Cast <to = 1> ({part})"));
    let root = draft.line(&format!("Sqrt ({part})"));
    draft.like(v, &format!("Div ({}, {root})", v.name))
}

/// The halves of an axis, as exporters write them.
pub fn halves(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let axis = if n.rare(3) { n.below(v.rank()) } else { v.channel };
    let Some(whole) = v.dims[axis].filter(|s| *s > 1) else { return false };
    let all = size(draft, n, v, axis);
    let (two, zero, at) = (draft.ints(&[2]), draft.ints(&[0]), draft.ints(&[axis as i64]));
    let half = draft.line(&format!("Div ({all}, {two})"));
    let first = whole / 2;
    for (from, to, size) in [(&zero, &half, first), (&half, &all, whole - first)] {
        let mut dims = v.dims.clone();
        dims[axis] = Some(size);
        draft.add(&format!("Slice ({}, {from}, {to}, {at})", v.name), dims, v.channel);
    }
    true
}

/// A constant, stretched to the dims of a value, where they are numbers.
pub fn stretched(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let same = |w: &&Value| w.dims.iter().zip(&v.dims).all(|(a, b)| a == b) && w.rank() == v.rank();
    let others: Vec<Value> = draft.values.iter().filter(same).cloned().collect();
    let other = n.pick(&others).name.clone();
    let mut dims: Vec<usize> = vec![1; v.rank()];
    dims[v.channel] = v.channels();
    let constant = draft.float("w", &dims);
    let shape = draft.line(&format!("Shape ({other})"));
    draft.like(v, &format!("Expand ({constant}, {shape})"))
}

/// A value is repeated as often as another one has indices.
pub fn repeated(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    if v.elements() > 60 {
        return false;
    }
    let other = n.pick(&draft.values.clone()).clone();
    let Some(times) = other.dims[other.channel].filter(|t| *t <= 4) else { return false };
    let axis = n.below(v.rank());
    let Some(whole) = v.dims[axis] else { return false };
    let count = size(draft, n, &other, other.channel);
    let mut parts: Vec<String> = (0..v.rank()).map(|_| draft.ints(&[1])).collect();
    parts[axis] = count;
    let repeats = draft.line(&format!("Concat <axis = 0> ({})", join(&parts)));
    let mut dims = v.dims.clone();
    dims[axis] = Some(whole * times);
    draft.add(&format!("Tile ({}, {repeats})", v.name), dims, v.channel);
    true
}

/// Space is stretched, and the sizes of the others are read off a value.
pub fn stretched_space(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    if v.rank() != 4 || v.channel != 1 || v.elements() > 100 || v.dims[2..].contains(&None) {
        return false;
    }
    let shape = draft.line(&format!("Shape <end = 2> ({})", v.name));
    let space: Vec<i64> = v.dims[2..].iter().flatten().map(|&s| 2 * s as i64).collect();
    let mut dims = v.dims.clone();
    dims[2..].iter_mut().for_each(|d| *d = d.map(|d| 2 * d));
    let space = draft.ints(&space);
    let sizes = draft.line(&format!("Concat <axis = 0> ({shape}, {space})"));
    let mode = n.pick(&["nearest", "linear"]);
    draft.add(&format!("Resize <mode = \"{mode}\"> ({}, , , {sizes})", v.name), dims, 1);
    true
}

/// All elements in one row.
pub fn row(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let Some(batch) = draft.batch else { return false };
    let all = v.dims.iter().map(|d| d.unwrap_or(batch)).product::<usize>();
    if all > 300 {
        return false;
    }
    let count = draft.line(&format!("Size ({})", v.name));
    let one = draft.ints(&[0]);
    let count = draft.line(&format!("Unsqueeze ({count}, {one})"));
    let ones = draft.ints(&[1]);
    let shape = if n.coin() { [&ones, &count] } else { [&count, &ones] };
    let place = usize::from(shape[0] == &ones);
    let shape = draft.line(&format!("Concat <axis = 0> ({}, {})", shape[0], shape[1]));
    let mut dims = vec![Some(1), Some(1)];
    dims[place] = Some(all);
    draft.add(&format!("Reshape ({}, {shape})", v.name), dims, place);
    true
}
