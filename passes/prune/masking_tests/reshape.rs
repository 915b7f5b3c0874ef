//! Operators that part axes and join them.

use super::draft::{Draft, Numbers, Value};

/// An axis in two, or two in one.
pub fn reshape(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let mut dims = v.dims.clone();
    let mut channel = v.channel;
    let batch = draft.batch;
    let size = |d: Option<usize>| d.or(batch);
    if n.coin() && v.rank() > 2 {
        // Two axes become one.
        let at = n.below(v.rank() - 1);
        let (Some(a), Some(b)) = (size(dims[at]), size(dims[at + 1])) else { return false };
        dims.splice(at..at + 2, [Some(a * b)]);
        channel = if channel > at { channel - 1 } else { channel };
    } else {
        let at = if n.rare(3) { n.below(v.rank()) } else { v.channel };
        let Some(whole) = dims[at].filter(|_| v.rank() < 5) else { return false };
        let parts: Vec<usize> = (2..whole).filter(|p| whole.is_multiple_of(*p)).collect();
        if parts.is_empty() {
            return false;
        }
        let first = *n.pick(&parts);
        dims.splice(at..=at, [Some(first), Some(whole / first)]);
        let second = n.coin();
        if channel > at || channel == at && second {
            channel += 1;
        }
    }
    let shape = shape(draft, n, v, &dims);
    draft.add(&format!("Reshape ({}, {shape})", v.name), dims, channel);
    true
}

/// Batch and places become one axis; the channels are said by a 0, which copies the places.
pub fn stacked(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let Some(batch) = draft.batch.filter(|_| v.rank() == 3 && v.channel > 0) else { return false };
    let v = draft.turned(v, 2);
    let rows = v.dims[0].unwrap_or(batch) * v.dims[1].unwrap_or(batch);
    if v.dims[1] != v.dims[2] {
        return false;
    }
    let shape = draft.ints(&[if n.coin() { -1 } else { rows as i64 }, 0]);
    draft.add(&format!("Reshape ({}, {shape})", v.name), vec![Some(rows), v.dims[2]], 1);
    true
}

/// A shape in one of its forms: numbers, 0 for what is copied, one −1, or joined from parts of the old one.
fn shape(draft: &mut Draft, n: &mut Numbers, v: &Value, dims: &[Option<usize>]) -> String {
    let mut open = false;
    let mut entries = Vec::new();
    for (axis, dim) in dims.iter().enumerate() {
        let copied = v.dims.get(axis) == Some(dim);
        let wish = n.below(3);
        entries.push(match *dim {
            None if copied => 0,
            None => {
                open = true;
                -1
            }
            Some(_) if copied && wish == 0 => 0,
            Some(_) if !open && wish == 1 && !dims[axis + 1..].contains(&None) => {
                open = true;
                -1
            }
            Some(size) => size as i64,
        });
    }
    if !n.rare(3) || v.dims[0] != dims[0] {
        return draft.ints(&entries);
    }
    let (zero, one) = (draft.ints(&[0]), draft.ints(&[1]));
    let old = draft.line(&format!("Shape ({})", v.name));
    let first = draft.line(&format!("Slice ({old}, {zero}, {one})"));
    let rest = draft.ints(
        &entries[1..]
            .iter()
            .zip(&dims[1..])
            .map(|(&e, d)| if e == 0 { d.map_or(0, |d| d as i64) } else { e })
            .collect::<Vec<_>>(),
    );
    draft.line(&format!("Concat <axis = 0> ({first}, {rest})"))
}

/// Everything from an axis on becomes one.
pub fn flatten(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    if v.dims[0].is_some() && draft.batch.is_none() || v.dims[1..].contains(&None) || v.rank() < 2 {
        return false;
    }
    if n.rare(4) && v.rank() > 2 && draft.batch.is_some() {
        let rows =
            draft.batch.filter(|_| v.dims[0].is_none()).or(v.dims[0]).unwrap_or(1) * v.dims[1].unwrap_or(1);
        let columns = v.dims[2..].iter().flatten().product();
        draft.add(
            &format!("Flatten <axis = 2> ({})", v.name),
            vec![Some(rows), Some(columns)],
            usize::from(v.channel > 1),
        );
        return true;
    }
    draft.add(
        &format!("Flatten ({})", v.name),
        vec![v.dims[0], Some(v.dims[1..].iter().flatten().product())],
        1,
    );
    true
}

/// Axes of size 1 come and go.
pub fn squeeze(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let ones: Vec<usize> = (0..v.rank()).filter(|&a| v.dims[a] == Some(1) && a != v.channel).collect();
    if !ones.is_empty() && v.rank() > 2 {
        let at = *n.pick(&ones);
        let mut dims = v.dims.clone();
        dims.remove(at);
        let axes = draft.ints(&[at as i64]);
        draft.add(&format!("Squeeze ({}, {axes})", v.name), dims, v.channel - usize::from(at < v.channel));
        return true;
    }
    if v.rank() > 3 {
        return false;
    }
    let at = n.below(v.rank() + 1);
    let mut dims = v.dims.clone();
    dims.insert(at, Some(1));
    let axes = draft.ints(&[at as i64]);
    draft.add(&format!("Unsqueeze ({}, {axes})", v.name), dims, v.channel + usize::from(at <= v.channel));
    true
}

/// Channels in two digits change places.
pub fn shuffle(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let c = v.channels();
    let parts: Vec<usize> = (2..c).filter(|p| c.is_multiple_of(*p)).collect();
    if parts.is_empty() || v.rank() > 4 || v.dims[v.channel].is_none() {
        return false;
    }
    let first = *n.pick(&parts);
    let entry = |a: usize| v.dims[a].map_or(if a == 0 { 0 } else { -1 }, |d| d as i64);
    let mut apart: Vec<i64> = (0..v.rank()).map(entry).collect();
    let mut joined = apart.clone();
    apart.splice(v.channel..=v.channel, [first as i64, (c / first) as i64]);
    if n.coin() && !joined.contains(&-1) {
        joined[v.channel] = -1;
    }
    let mut perm: Vec<usize> = (0..=v.rank()).collect();
    perm.swap(v.channel, v.channel + 1);
    let (apart, joined) = (draft.ints(&apart), draft.ints(&joined));
    let x = draft.line(&format!("Reshape ({}, {apart})", v.name));
    let x = draft.line(&format!("Transpose <perm = [{}]> ({x})", super::draft::join(&perm)));
    draft.like(v, &format!("Reshape ({x}, {joined})"))
}
