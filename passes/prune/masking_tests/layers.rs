//! Operators that sum over channels.

use super::draft::{Draft, Numbers, Value, join};

/// How many channels a layer makes: mostly as many as other axes have indices, for an axis that is taken for another to
/// be of the same size.
const WIDTHS: &[usize] = &[4, 4, 4, 6, 8];

/// The sizes after the batch and the channels, where a convolution can slide over them.
fn space(v: &Value) -> Option<Vec<usize>> {
    let sizes: Vec<usize> = v.dims.get(2..)?.iter().copied().collect::<Option<_>>()?;
    (v.channel == 1 && !sizes.is_empty() && v.rank() < 5 && v.channels() <= 16).then_some(sizes)
}

/// A value whose channels are at axis 1, with space behind them.
fn image(draft: &mut Draft, v: &Value) -> Option<(Value, Vec<usize>)> {
    if v.rank() < 3 || v.dims[0].is_some() && draft.batch.is_none() && v.channel != 1 || v.channel == 0 {
        return None;
    }
    let v = draft.turned(v, 1);
    let sizes = space(&v)?;
    Some((v, sizes))
}

pub fn conv(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let Some((v, sizes)) = image(draft, v) else { return false };
    let channels = v.channels();
    let groups: Vec<usize> = (1..=channels).filter(|g| channels.is_multiple_of(*g)).collect();
    let group = match n.below(4) {
        0 | 1 => 1,
        2 => channels,
        _ => *n.pick(&groups),
    };
    let per_group = if group == 1 { *n.pick(WIDTHS) } else { 1 + n.below(2.max(8 / group)) };
    let outputs = per_group * group;
    let kernel: Vec<usize> = sizes.iter().map(|&s| if s >= 3 { *n.pick(&[1, 2, 3]) } else { 1 }).collect();
    let ends: Vec<usize> =
        sizes.iter().zip(&kernel).map(|(s, k)| if k % 2 == 1 { *s } else { s + 1 - k }).collect();
    let pads: Vec<usize> = kernel.iter().chain(&kernel).map(|k| if k % 2 == 1 { k / 2 } else { 0 }).collect();
    let weight = draft.weight(n, &[&[outputs, channels / group], &kernel[..]].concat());
    let bias = bias(draft, n, outputs);
    let dims = [&[v.dims[0], Some(outputs)], &ends.into_iter().map(Some).collect::<Vec<_>>()[..]].concat();
    let attrs = format!("group = {group}, pads = [{}]", join(&pads));
    draft.add(&format!("Conv <{attrs}> ({}, {weight}{bias})", v.name), dims, 1);
    true
}

fn bias(draft: &mut Draft, n: &mut Numbers, size: usize) -> String {
    if n.coin() { format!(", {}", draft.float("c", &[size])) } else { String::new() }
}

pub fn conv_transpose(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let Some((v, sizes)) = image(draft, v) else { return false };
    let channels = v.channels();
    if sizes.iter().any(|&s| s > 5) {
        return false;
    }
    let groups: Vec<usize> = (1..=channels).filter(|g| channels.is_multiple_of(*g)).collect();
    let group = *n.pick(&groups);
    let per_group = if group == 1 { *n.pick(WIDTHS) } else { 1 + n.below(2.max(8 / group)) };
    let kernel = vec![2; sizes.len()];
    let weight = draft.weight(n, &[&[channels, per_group], &kernel[..]].concat());
    let bias = bias(draft, n, per_group * group);
    let ends: Vec<Option<usize>> = sizes.iter().map(|s| Some(s + 1)).collect();
    let dims = [&[v.dims[0], Some(per_group * group)], &ends[..]].concat();
    draft.add(&format!("ConvTranspose <group = {group}> ({}, {weight}{bias})", v.name), dims, 1);
    true
}

/// A matrix on either side, in any of its forms.
pub fn matmul(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let (channels, width, rank) = (v.channels(), *n.pick(WIDTHS), v.rank());
    if rank >= 2 && v.channel + 2 == rank && n.coin() {
        let weight = draft.weight(n, &[width, channels]);
        let mut dims = v.dims.clone();
        dims[rank - 2] = Some(width);
        draft.add(&format!("MatMul ({weight}, {})", v.name), dims, rank - 2);
        return true;
    }
    let v = draft.turned(v, rank - 1);
    let mut shape = vec![channels, width];
    if let Some(Some(stack)) = rank.checked_sub(3).map(|at| v.dims[at])
        && n.rare(3)
    {
        shape.insert(0, stack);
    }
    let weight = draft.weight(n, &shape);
    let dims = [&v.dims[..rank - 1], &[Some(width)]].concat();
    let made = draft.add(&format!("MatMul ({}, {weight})", v.name), dims, rank - 1);
    if n.coin() {
        let bias = draft.float("c", &[width]);
        draft.add(&format!("Add ({}, {bias})", made.name), made.dims, rank - 1);
    }
    true
}

/// Gemm, with the value on either side, turned or not.
pub fn gemm(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    if v.rank() != 2 {
        return false;
    }
    let (channels, width) = (v.channels(), *n.pick(WIDTHS));
    let turned = n.coin();
    let weight = draft.weight(n, &if turned { [width, channels] } else { [channels, width] });
    let factors = *n.pick(&["", "alpha = 0.5, ", "beta = 0.5, "]);
    let rows = v.dims[1 - v.channel];
    if n.coin() {
        // The value first.
        let attrs =
            format!("{factors}transA = {}, transB = {}", i64::from(v.channel == 0), i64::from(turned));
        let bias = match n.below(3) {
            0 => String::new(),
            1 => format!(", {}", draft.float("c", &[width])),
            _ => format!(", {}", draft.float("c", &[1, width])),
        };
        draft.add(&format!("Gemm <{attrs}> ({}, {weight}{bias})", v.name), vec![rows, Some(width)], 1);
    } else {
        let attrs =
            format!("{factors}transA = {}, transB = {}", i64::from(!turned), i64::from(v.channel == 1));
        let bias = if n.coin() { format!(", {}", draft.float("c", &[width, 1])) } else { String::new() };
        draft.add(&format!("Gemm <{attrs}> ({weight}, {}{bias})", v.name), vec![Some(width), rows], 0);
    }
    true
}

/// A label for every axis.
fn labels(rank: usize) -> String {
    "abcdefg".chars().take(rank).collect()
}

pub fn einsum(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let of = labels(v.rank());
    let channel = of.chars().nth(v.channel).unwrap_or('a');
    if n.rare(3) {
        // One number for every channel; nothing is summed.
        let factors = draft.float("w", &[v.channels()]);
        return draft
            .like(v, &format!("Einsum <equation = \"{of},{channel}->{of}\"> ({}, {factors})", v.name));
    }
    let width = *n.pick(WIDTHS);
    let (weight, term) = if n.coin() {
        (draft.weight(n, &[v.channels(), width]), format!("{channel}z"))
    } else {
        (draft.weight(n, &[width, v.channels()]), format!("z{channel}"))
    };
    let kept: Vec<usize> = (0..v.rank()).filter(|&a| a != v.channel).collect();
    let place = n.below(v.rank());
    let mut output: String = kept.iter().filter_map(|&a| of.chars().nth(a)).collect();
    output.insert(place, 'z');
    let mut dims: Vec<Option<usize>> = kept.iter().map(|&a| v.dims[a]).collect();
    dims.insert(place, Some(width));
    let call = if n.coin() {
        format!("Einsum <equation = \"{of},{term}->{output}\"> ({}, {weight})", v.name)
    } else {
        format!("Einsum <equation = \"{term}, {of} -> {output}\"> ({weight}, {})", v.name)
    };
    draft.add(&call, dims, place);
    true
}

/// The sum over the channels beside the value itself, which then has another reader.
pub fn summed(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let axes = draft.ints(&[v.channel as i64 - if n.coin() { v.rank() as i64 } else { 0 }]);
    let sum = draft.line(&format!("ReduceSum <keepdims = 1> ({}, {axes})", v.name));
    let factor = draft.float("w", &[v.channels()]);
    let one: Vec<i64> = (0..v.rank()).map(|a| if a == v.channel { -1 } else { 1 }).collect();
    let shape = draft.ints(&one);
    let factor = draft.line(&format!("Reshape ({factor}, {shape})"));
    draft.like(v, &format!("Mul ({sum}, {factor})"))
}

/// Sums over what is left of a value's channels, for an output of the model.
pub fn close(draft: &mut Draft, v: &Value) -> (String, Vec<Option<usize>>) {
    let last = v.rank() - 1;
    if v.channel == 1 && v.rank() > 2 && v.rank() < 5 {
        let weight = draft.float("w", &[&[2, v.channels()], &vec![1; v.rank() - 2][..]].concat());
        let mut dims = v.dims.clone();
        dims[1] = Some(2);
        return (draft.line(&format!("Conv ({}, {weight})", v.name)), dims);
    }
    let v = draft.turned(v, last);
    let weight = draft.float("w", &[v.channels(), 2]);
    let dims = [&v.dims[..last], &[Some(2)]].concat();
    (draft.line(&format!("MatMul ({}, {weight})", v.name)), dims)
}
