//! Operators that do little, one after the other, so that much of it is for nothing.

#![allow(clippy::unnecessary_wraps, reason = "every link has the same signature")]

use super::numbers::Numbers;
use super::{Dim, Draft, Value, join};

type Link = fn(&mut Draft, &mut Numbers, &Value) -> Option<()>;

const LINKS: &[Link] = &[
    clamp, clamp, neutral, shift, axis, axis, reshape, slice, slice, reduce, pool, join_again, select, turn,
    sign,
];

/// A few operators in a row.
pub fn chain(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let mut made = v.clone();
    for _ in 0..2 + n.below(4) {
        let link = *n.pick(LINKS);
        if link(draft, n, &made).is_some() {
            made = draft.value(0);
        }
    }
    made.name != v.name
}

fn number(draft: &mut Draft, value: &str, rank: usize) -> String {
    let name = draft.name("o");
    let dims = if rank == 0 { String::new() } else { format!("[{}]", join(&vec![1; rank])) };
    draft.constants.push(format!("float{dims} {name} = {{{value}}}"));
    name
}

fn clamp(draft: &mut Draft, n: &mut Numbers, v: &Value) -> Option<()> {
    let rank = n.below(v.dims.len() + 1);
    let value = n.pick(&["0", "0.5", "-0.25", "0.125"]);
    let bound = number(draft, value, rank);
    let low = number(draft, "-0.75", 0);
    let high = n.pick(&["1", "0.25", "-1"]);
    let high = number(draft, high, 0);
    let x = &v.name;
    let call = match n.below(5) {
        0 => format!("Relu ({x})"),
        1 => format!("Clip ({x}, {low}, {high})"),
        2 => format!("Clip ({x}, , {high})"),
        3 => format!("Max ({bound}, {x})"),
        _ => format!("Min ({x}, {bound})"),
    };
    draft.add(&call, v.dims.clone());
    Some(())
}

fn neutral(draft: &mut Draft, n: &mut Numbers, v: &Value) -> Option<()> {
    let (op, value) = *n.pick(&[("Add", "0"), ("Sub", "0"), ("Mul", "1"), ("Div", "1"), ("Pow", "1")]);
    let rank = n.below(v.dims.len() + 2);
    let constant = number(draft, value, rank);
    let mut dims = v.dims.clone();
    while dims.len() < rank {
        dims.insert(0, Dim::Of(1));
    }
    draft.add(&format!("{op} ({}, {constant})", v.name), dims);
    Some(())
}

/// Arithmetic with a number, on either side.
fn shift(draft: &mut Draft, n: &mut Numbers, v: &Value) -> Option<()> {
    let op = *n.pick(&["Add", "Sub", "Mul", "Sub"]);
    let constant = n.pick(&["0.5", "-2", "3"]);
    let constant = number(draft, constant, 0);
    let (a, b) = if n.coin() { (&v.name, &constant) } else { (&constant, &v.name) };
    draft.add(&format!("{op} ({a}, {b})"), v.dims.clone());
    Some(())
}

fn axis(draft: &mut Draft, n: &mut Numbers, v: &Value) -> Option<()> {
    let ones: Vec<usize> = (0..v.dims.len()).filter(|&axis| v.dims[axis] == Dim::Of(1)).collect();
    let back = if n.coin() { 0 } else { v.dims.len() as i64 };
    let mut dims = v.dims.clone();
    if !ones.is_empty() && v.dims.len() > 1 && n.coin() {
        let gone = *n.pick(&ones);
        dims.remove(gone);
        let axes = draft.ints(&[gone as i64 - back]);
        draft.add(&format!("Squeeze ({}, {axes})", v.name), dims);
        return Some(());
    }
    if v.dims.len() > 4 {
        return None;
    }
    let at = n.below(v.dims.len() + 1);
    dims.insert(at, Dim::Of(1));
    let axes = draft.ints(&[at as i64 - if back == 0 { 0 } else { back + 1 }]);
    draft.add(&format!("Unsqueeze ({}, {axes})", v.name), dims);
    Some(())
}

fn size(dim: Dim) -> Option<usize> {
    if let Dim::Of(size) = dim { Some(size) } else { None }
}

fn reshape(draft: &mut Draft, n: &mut Numbers, v: &Value) -> Option<()> {
    let rest: Vec<usize> = v.dims.iter().skip(1).map(|&dim| size(dim)).collect::<Option<_>>()?;
    let total: usize = rest.iter().product();
    let parts: Vec<usize> = (1..=total).filter(|part| total.is_multiple_of(*part)).collect();
    let part = *n.pick(&parts);
    let lead = match (v.dims[0], n.coin()) {
        (_, true) => 0,
        (Dim::Of(size), false) => size as i64,
        (Dim::N, false) => -1,
    };
    let shape = draft.ints(&[lead, part as i64, (total / part) as i64]);
    let dims = vec![v.dims[0], Dim::Of(part), Dim::Of(total / part)];
    draft.add(&format!("Reshape ({}, {shape})", v.name), dims);
    Some(())
}

fn slice(draft: &mut Draft, n: &mut Numbers, v: &Value) -> Option<()> {
    let axis = n.below(v.dims.len());
    let size = size(v.dims[axis]).filter(|&size| size > 0)? as i64;
    let (start, step) = (n.below(size as usize) as i64, 1 + n.below(2) as i64);
    let end = start + 1 + n.below((size - start) as usize) as i64;
    let left = (end - start + step - 1) / step;
    let far = end == size && n.coin();
    let from = if n.coin() { start } else { start - size };
    let [from, to] = [from, if far { i64::MAX } else { end }].map(|at| draft.ints(&[at]));
    let [axes, steps] = [axis as i64, step].map(|at| draft.ints(&[at]));
    let mut dims = v.dims.clone();
    dims[axis] = Dim::Of(left as usize);
    draft.add(&format!("Slice ({}, {from}, {to}, {axes}, {steps})", v.name), dims);
    Some(())
}

fn reduce(draft: &mut Draft, n: &mut Numbers, v: &Value) -> Option<()> {
    if v.dims.len() < 2 {
        return None;
    }
    let axis = n.below(v.dims.len());
    let op = *n.pick(&["ReduceMean", "ReduceMax", "ReduceSum"]);
    let mut dims = v.dims.clone();
    dims.remove(axis);
    let call = if op == "ReduceSum" {
        let axes = draft.ints(&[axis as i64]);
        format!("{op} <keepdims = 0> ({}, {axes})", v.name)
    } else {
        format!("{op} <axes = [{axis}], keepdims = 0> ({})", v.name)
    };
    draft.add(&call, dims);
    Some(())
}

fn pool(draft: &mut Draft, n: &mut Numbers, v: &Value) -> Option<()> {
    if v.dims.len() < 3 || v.dims[2..].contains(&Dim::N) {
        return None;
    }
    let op = *n.pick(&["GlobalAveragePool", "GlobalMaxPool"]);
    let mut dims = v.dims.clone();
    dims[2..].fill(Dim::Of(1));
    draft.add(&format!("{op} ({})", v.name), dims);
    Some(())
}

/// A Split whose parts are joined, most often in order.
fn join_again(draft: &mut Draft, n: &mut Numbers, v: &Value) -> Option<()> {
    let axis = n.below(v.dims.len());
    let size = size(v.dims[axis]).filter(|&size| size > 1)?;
    let first = 1 + n.below(size - 1);
    let sizes = draft.ints(&[first as i64, (size - first) as i64]);
    let (a, b) = (draft.name("v"), draft.name("v"));
    draft.lines.push(format!("{a}, {b} = Split <axis = {axis}> ({}, {sizes})", v.name));
    let (c, d) = if n.below(4) == 0 { (&b, &a) } else { (&a, &b) };
    draft.add(&format!("Concat <axis = {axis}> ({c}, {d})"), v.dims.clone());
    Some(())
}

fn select(draft: &mut Draft, n: &mut Numbers, v: &Value) -> Option<()> {
    let condition = draft.name("yes");
    draft.constants.push(format!("bool {condition} = {{{}}}", n.below(2)));
    let same: Vec<Value> = draft.values.iter().filter(|w| w.dims == v.dims).cloned().collect();
    let other = n.pick(&same).name.clone();
    draft.add(&format!("Where ({condition}, {}, {other})", v.name), v.dims.clone());
    Some(())
}

fn turn(draft: &mut Draft, n: &mut Numbers, v: &Value) -> Option<()> {
    let (a, b) = (n.below(v.dims.len()), n.below(v.dims.len()));
    let mut perm: Vec<usize> = (0..v.dims.len()).collect();
    perm.swap(a, b);
    let dims = perm.iter().map(|&axis| v.dims[axis]).collect();
    draft.add(&format!("Transpose <perm = [{}]> ({})", join(&perm), v.name), dims);
    Some(())
}

fn sign(draft: &mut Draft, n: &mut Numbers, v: &Value) -> Option<()> {
    let same: Vec<Value> = draft.values.iter().filter(|w| w.dims == v.dims).cloned().collect();
    let other = n.pick(&same).name.clone();
    let negative = draft.add(&format!("Neg ({})", v.name), v.dims.clone());
    let op = *n.pick(&["Add", "Sub", "Mul", "Neg", "Abs"]);
    let second = if matches!(op, "Neg" | "Abs") { String::new() } else { format!(", {other}") };
    draft.add(&format!("{op} ({negative}{second})"), v.dims.clone());
    Some(())
}
