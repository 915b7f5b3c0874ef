//! What a step can add.

use super::chains::chain;
use super::numbers::Numbers;
use super::{Dim, Draft, Value, join};

type Kind = fn(&mut Draft, &mut Numbers, &Value) -> bool;

const KINDS: &[Kind] = &[
    unary, unary, identity, affine, affine, affine, binary, binary, conv, conv, conv, normalize, matmul,
    matmul, transpose, flatten, concat, split, reshape, constants, branch, branch, casts, again, reduce,
    looped, function, gemm, chain, chain, chain,
];

/// Adds what a step says; what does not fit the value at hand becomes a unary operator.
pub fn apply(draft: &mut Draft, n: &mut Numbers) {
    let kind = *n.pick(KINDS);
    // Recent values are taken more often, so that chains arise.
    let back = n.below(draft.values.len().min(6));
    let value = draft.value(back);
    if !kind(draft, n, &value) {
        unary(draft, n, &value);
    }
}

fn unary(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let op = *n.pick(&["Relu", "Neg", "Sin", "Tanh", "Sigmoid", "Abs"]);
    draft.add(&format!("{op} ({})", v.name), v.dims.clone());
    true
}

fn identity(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let op = *n.pick(&["Identity", "Dropout", "Cast <to = 1>", "Identity"]);
    draft.add(&format!("{op} ({})", v.name), v.dims.clone());
    true
}

/// Dims of a constant that broadcasts with a value, and the dims of the result.
fn beside(n: &mut Numbers, v: &Value) -> (Vec<usize>, Vec<Dim>) {
    let rank = n.below(v.dims.len() + 1);
    let (mut dims, mut out) = (Vec::new(), v.dims.clone());
    #[allow(clippy::needless_range_loop, reason = "the axis indexes two lists")]
    for axis in v.dims.len() - rank..v.dims.len() {
        let size = match (v.dims[axis], n.below(6)) {
            (Dim::Of(1), 0) => 3,
            (Dim::Of(size), 1..4) => size,
            _ => 1,
        };
        if v.dims[axis] == Dim::Of(1) {
            out[axis] = Dim::Of(size);
        }
        dims.push(size);
    }
    (dims, out)
}

fn affine(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let channels = match v.dims.get(1) {
        Some(Dim::Of(size)) if n.coin() => Some(*size),
        _ => None,
    };
    let op = *n.pick(&["Add", "Sub", "Mul", "Div", "Add", "Mul"]);
    let (dims, out) = match channels {
        Some(size) => {
            let mut dims = vec![1; v.dims.len() - 1];
            dims[0] = size;
            (dims, v.dims.clone())
        }
        None => beside(n, v),
    };
    let stem = if op == "Div" { "var" } else { "k" };
    let constant = draft.weight(stem, &dims);
    let swap = op != "Div" && n.coin();
    let (a, b) = if swap { (&constant, &v.name) } else { (&v.name, &constant) };
    draft.add(&format!("{op} ({a}, {b})"), out);
    true
}

fn binary(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let fits = |w: &&Value| w.dims == v.dims;
    let others: Vec<Value> = draft.values.iter().filter(fits).cloned().collect();
    let other = n.pick(&others).name.clone();
    let op = *n.pick(&["Add", "Sub", "Max", "Min", "Mean"]);
    draft.add(&format!("{op} ({}, {other})", v.name), v.dims.clone());
    true
}

/// The sizes of the axes that a convolution can slide along.
fn sizes(v: &Value) -> Option<(usize, Vec<usize>)> {
    let [_, Dim::Of(channels), rest @ ..] = v.dims.as_slice() else { return None };
    let size = |d: &Dim| if let Dim::Of(size) = d { Some(*size) } else { None };
    let sizes: Vec<usize> = rest.iter().map(size).collect::<Option<_>>()?;
    let small = !sizes.is_empty() && sizes.iter().all(|&s| s <= 8) && *channels <= 12;
    small.then_some((*channels, sizes))
}

/// A recent value that fits, where there is one.
fn one_of(draft: &Draft, n: &mut Numbers, fits: impl Fn(&Value) -> bool) -> Option<Value> {
    let found: Vec<Value> = draft.values.iter().rev().filter(|v| fits(v)).take(4).cloned().collect();
    if found.is_empty() { None } else { Some(n.pick(&found).clone()) }
}

fn conv(draft: &mut Draft, n: &mut Numbers, _: &Value) -> bool {
    let Some(v) = one_of(draft, n, |v| sizes(v).is_some()) else { return false };
    let Some((channels, sizes)) = sizes(&v) else { return false };
    let groups: Vec<usize> = (1..=channels).filter(|g| channels % g == 0).collect();
    let group = *n.pick(&groups);
    let per_group = 1 + n.below(3);
    let kernel: Vec<usize> = sizes.iter().map(|&s| if s >= 3 { 1 + n.below(2) } else { 1 }).collect();
    let transposed = n.below(3) == 0;
    let mut shape =
        if transposed { vec![channels, per_group] } else { vec![per_group * group, channels / group] };
    shape.extend(&kernel);
    let weight = draft.weight("w", &shape);
    let bias =
        if n.coin() { format!(", {}", draft.weight("b", &[per_group * group])) } else { String::new() };
    let mut dims = vec![v.dims[0], Dim::Of(per_group * group)];
    dims.extend(
        sizes.iter().zip(&kernel).map(|(s, k)| Dim::Of(if transposed { s + k - 1 } else { s + 1 - k })),
    );
    let op = if transposed { "ConvTranspose" } else { "Conv" };
    let x = draft.add(&format!("{op} <group = {group}> ({}, {weight}{bias})", v.name), dims.clone());
    // A pattern is rare unless it is asked for.
    let mut made = Value { name: x, dims };
    for _ in 0..n.below(4) {
        let _ = if n.coin() { normalize(draft, n, &made) } else { affine(draft, n, &made) };
        made = draft.value(0);
    }
    true
}

fn normalize(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let Some(&Dim::Of(channels)) = v.dims.get(1) else { return false };
    let [scale, shift, mean, var] = ["scale", "shift", "mean", "var"].map(|s| draft.weight(s, &[channels]));
    let epsilon = n.pick(&["", "<epsilon = 0.01> "]).to_owned();
    let call = format!("BatchNormalization {epsilon}({}, {scale}, {shift}, {mean}, {var})", v.name);
    draft.add(&call, v.dims.clone());
    true
}

fn matmul(draft: &mut Draft, n: &mut Numbers, _: &Value) -> bool {
    let Some(v) = one_of(draft, n, |v| matches!(v.dims.as_slice(), [_, Dim::Of(_)])) else { return false };
    let &[rows, Dim::Of(inner)] = v.dims.as_slice() else { return false };
    let columns = 1 + n.below(6);
    let weight = draft.weight("w", &[inner, columns]);
    let dims = vec![rows, Dim::Of(columns)];
    let x = draft.add(&format!("MatMul ({}, {weight})", v.name), dims.clone());
    let made = Value { name: x, dims };
    if n.coin() { affine(draft, n, &made) } else { true }
}

fn gemm(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let &[rows, Dim::Of(inner)] = v.dims.as_slice() else { return false };
    let columns = 1 + n.below(6);
    let weight = draft.weight("w", &[columns, inner]);
    let call = format!("Gemm <transB = 1, alpha = 0.5> ({}, {weight})", v.name);
    draft.add(&call, vec![rows, Dim::Of(columns)]);
    true
}

fn transpose(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let turn = n.below(v.dims.len());
    let perm: Vec<usize> = (0..v.dims.len()).map(|axis| (axis + turn) % v.dims.len()).collect();
    let dims = perm.iter().map(|&axis| v.dims[axis]).collect();
    draft.add(&format!("Transpose <perm = [{}]> ({})", join(&perm), v.name), dims);
    true
}

/// The product of dims without the batch.
fn product(dims: &[Dim]) -> Option<usize> {
    dims.iter().map(|d| if let Dim::Of(size) = d { Some(*size) } else { None }).product()
}

fn flatten(draft: &mut Draft, _: &mut Numbers, v: &Value) -> bool {
    let Some(size) = product(&v.dims[1..]).filter(|&size| size <= 300) else { return false };
    draft.add(&format!("Flatten <axis = 1> ({})", v.name), vec![v.dims[0], Dim::Of(size)]);
    true
}

fn concat(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let axis = n.below(v.dims.len());
    let Dim::Of(size) = v.dims[axis] else { return false };
    if size > 6 {
        return false;
    }
    let same: Vec<Value> = draft.values.iter().filter(|w| w.dims == v.dims).cloned().collect();
    let other = n.pick(&same).name.clone();
    let mut dims = v.dims.clone();
    dims[axis] = Dim::Of(2 * size);
    draft.add(&format!("Concat <axis = {axis}> ({}, {other})", v.name), dims);
    true
}

fn split(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let axis = n.below(v.dims.len());
    let Dim::Of(size) = v.dims[axis] else { return false };
    if size < 2 {
        return false;
    }
    let first = 1 + n.below(size - 1);
    let sizes = draft.ints(&[first as i64, (size - first) as i64]);
    let (a, b) = (draft.name("v"), draft.name("v"));
    draft.lines.push(format!("{a}, {b} = Split <axis = {axis}> ({}, {sizes})", v.name));
    for (name, part) in [(a, first), (b, size - first)] {
        let mut dims = v.dims.clone();
        dims[axis] = Dim::Of(part);
        draft.values.push(Value { name, dims });
    }
    true
}

/// Shape arithmetic: the dims of a value, taken apart and put together.
fn reshape(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    if v.dims.len() < 2 {
        return false;
    }
    let Some(size) = product(&v.dims[1..]).filter(|&size| size <= 300) else { return false };
    let shape = draft.name("d");
    draft.lines.push(format!("{shape} = Shape ({})", v.name));
    let one = draft.ints(&[1]);
    let (zero, end, last) = (draft.ints(&[0]), draft.ints(&[v.dims.len() as i64]), draft.ints(&[-1]));
    let [head, tail, total, target] = ["d", "d", "d", "d"].map(|s| draft.name(s));
    draft.lines.push(format!("{head} = Slice ({shape}, {zero}, {one})"));
    draft.lines.push(format!("{tail} = Slice ({shape}, {one}, {end})"));
    draft.lines.push(format!("{total} = ReduceProd <keepdims = 1> ({tail})"));
    let lead = if n.coin() { &head } else { &last };
    draft.lines.push(format!("{target} = Concat <axis = 0> ({lead}, {total})"));
    draft.add(&format!("Reshape ({}, {target})", v.name), vec![v.dims[0], Dim::Of(size)]);
    true
}

fn constants(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let (dims, out) = beside(n, v);
    let (a, b) = (draft.weight("k", &dims), draft.weight("k", &dims));
    let (c, d) = (draft.name("c"), draft.name("c"));
    let op = *n.pick(&["Add", "Mul", "Max"]);
    draft.lines.push(format!("{c} = {op} ({a}, {b})"));
    draft.lines.push(format!("{d} = Sin ({c})"));
    draft.add(&format!("Add ({}, {d})", v.name), out);
    true
}

/// An If, whose condition is constant or an input, and whose branches capture.
fn branch(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let same: Vec<Value> = draft.values.iter().filter(|w| w.dims == v.dims).cloned().collect();
    let other = n.pick(&same).name.clone();
    let condition = if n.coin() {
        "on".to_owned()
    } else {
        let name = draft.name("yes");
        draft.constants.push(format!("bool {name} = {{{}}}", n.below(2)));
        name
    };
    let [p, q, r, t, e, k] = ["p", "q", "r", "t", "e", "k"].map(|s| draft.name(s));
    let last = v.dims.last().copied();
    let size = if let Some(Dim::Of(size)) = last { size } else { 1 };
    let inner = *n.pick(&["Neg", "Identity", "Relu"]);
    let out = *n.pick(&["Identity", "Tanh", "Identity"]);
    // In half of the cases the first branch holds another If.
    let first = if n.coin() {
        let [g, h] = ["g", "h"].map(|s| draft.name(s));
        format!(
            "{r} = If (on) <then_branch = a () => ({g}) {{ {g} = Add ({p}, {other}) }}, \
             else_branch = b () => ({h}) {{ {h} = {inner} ({}) }}>",
            v.name
        )
    } else {
        format!("{r} = Mul ({p}, {k})")
    };
    let call = format!(
        "If ({condition}) <then_branch = t () => ({r}) <float[{size}] {k}> {{ {p} = {inner} ({}) {first} }}, \
         else_branch = e () => ({e}) {{ {q} = {inner} ({other}) {t} = {inner} ({q}) {e} = {out} ({t}) }}>",
        v.name
    );
    draft.add(&call, v.dims.clone());
    draft.last = None;
    true
}

fn casts(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let wide = draft.name("c");
    draft.lines.push(format!("{wide} = Cast <to = 11> ({})", v.name));
    let like = draft.value(n.below(5)).name;
    draft.add(&format!("CastLike ({wide}, {like})"), v.dims.clone());
    true
}

/// The last operator once more.
fn again(draft: &mut Draft, _: &mut Numbers, _: &Value) -> bool {
    let Some((call, dims)) = draft.last.clone() else { return false };
    draft.add(&call, dims);
    true
}

fn reduce(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let axis = n.below(v.dims.len());
    let op = *n.pick(&["ReduceMean", "ReduceMax"]);
    let mut dims = v.dims.clone();
    dims[axis] = Dim::Of(1);
    draft.add(&format!("{op} <axes = [{axis}], keepdims = 1> ({})", v.name), dims);
    true
}

fn looped(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let rounds = draft.name("n");
    draft.constants.push(format!("int64 {rounds} = {{{}}}", n.below(4)));
    let [i, c, d, s, t, m, k] = ["i", "c", "d", "s", "t", "m", "k"].map(|stem| draft.name(stem));
    let constant = draft.weight("k", &[1]);
    let yes = draft.name("yes");
    draft.constants.push(format!("bool {yes} = {{1}}"));
    let ty = super::type_of(&v.dims);
    let call = format!(
        "Loop ({rounds}, {yes}, {}) <body = b (int64 {i}, bool {c}, {ty} {s}) => (bool {d}, {ty} {t}) {{ \
         {d} = Identity ({c}) {k} = Sin ({constant}) {m} = Add ({s}, {k}) {t} = Mean ({m}, {}) }}>",
        v.name, v.name
    );
    draft.add(&call, v.dims.clone());
    draft.last = None;
    true
}

fn function(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    match n.below(3) {
        0 => {
            let low = draft.weight("k", &[]);
            draft.add(&format!("f.act <slope = 0.25> ({}, {low})", v.name), v.dims.clone());
        }
        1 => {
            draft.add(&format!("f.act ({})", v.name), v.dims.clone());
        }
        _ => {
            let (a, b) = (draft.name("v"), draft.name("v"));
            draft.lines.push(format!("{a}, {b} = f.pick ({}, on)", v.name));
            for name in [a, b] {
                draft.values.push(Value { name, dims: v.dims.clone() });
            }
        }
    }
    true
}
