//! Attention, in several forms.

use super::draft::{Draft, Numbers, Value};

/// Tokens: a batch, places, and channels at the end.
fn tokens(draft: &mut Draft, v: &Value) -> Option<(Value, usize)> {
    if v.rank() != 3 || v.channel == 0 {
        return None;
    }
    let v = draft.turned(v, 2);
    let places = v.dims[1]?;
    (v.channels() <= 16 && places <= 16).then_some((v, places))
}

fn output(draft: &mut Draft, n: &mut Numbers, v: &Value, (name, width): (&str, usize)) -> bool {
    let outputs = *n.pick(&[4, 6, 8]);
    let weight = draft.weight(n, &[width, outputs]);
    let dims = vec![v.dims[0], v.dims[1], Some(outputs)];
    draft.add(&format!("MatMul ({name}, {weight})"), dims, 2);
    true
}

/// Three projections of one value.
fn projections(draft: &mut Draft, n: &mut Numbers, v: &Value, width: usize) -> [String; 3] {
    [0, 1, 2].map(|_| {
        let weight = draft.weight(n, &[v.channels(), width]);
        draft.line(&format!("MatMul ({}, {weight})", v.name))
    })
}

/// One head: products over the channels of two activations.
pub fn single(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let Some((v, _)) = tokens(draft, v) else { return false };
    let [q, k, v2] = projections(draft, n, &v, 4);
    let w = if n.coin() {
        let turned = draft.line(&format!("Transpose <perm = [0, 2, 1]> ({k})"));
        let s = draft.line(&format!("MatMul ({q}, {turned})"));
        draft.line(&format!("Softmax <axis = -1> ({s})"))
    } else {
        let s = draft.line(&format!("Einsum <equation = \"bqc,bkc->bqk\"> ({q}, {k})"));
        draft.line(&format!("Softmax <axis = 2> ({s})"))
    };
    let z = if n.coin() {
        draft.line(&format!("MatMul ({w}, {v2})"))
    } else {
        draft.line(&format!("Einsum <equation = \"bqk,bkc->bqc\"> ({w}, {v2})"))
    };
    output(draft, n, &v, (&z, 4))
}

/// Heads that a Reshape parts off.
pub fn heads(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let Some((v, places)) = tokens(draft, v) else { return false };
    let (heads, each) = *n.pick(&[(2, 2), (3, 2), (4, 2)]);
    let parts = draft.ints(&[0, places as i64, heads, each]);
    let joined = draft.ints(&[0, places as i64, heads * each]);
    let [q, k, v2] = projections(draft, n, &v, (heads * each) as usize);
    let apart = |draft: &mut Draft, x: &str, perm: &str| {
        let x = draft.line(&format!("Reshape ({x}, {parts})"));
        draft.line(&format!("Transpose <perm = {perm}> ({x})"))
    };
    let q = apart(draft, &q, "[0, 2, 1, 3]");
    let k = apart(draft, &k, "[0, 2, 3, 1]");
    let v2 = apart(draft, &v2, "[0, 2, 1, 3]");
    let s = draft.line(&format!("MatMul ({q}, {k})"));
    let bias = draft.float("c", &[heads as usize, 1, 1]);
    let s = if n.coin() { draft.line(&format!("Add ({s}, {bias})")) } else { s };
    let w = draft.line(&format!("Softmax ({s})"));
    let z = draft.line(&format!("MatMul ({w}, {v2})"));
    let z = draft.line(&format!("Transpose <perm = [0, 2, 1, 3]> ({z})"));
    let z = draft.line(&format!("Reshape ({z}, {joined})"));
    output(draft, n, &v, (&z, (heads * each) as usize))
}

/// Queries, keys and values in one weight.
pub fn packed(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let Some((v, places)) = tokens(draft, v) else { return false };
    let (heads, each) = *n.pick(&[(2, 2), (3, 2), (4, 2)]);
    let width = heads * each;
    let weight = draft.weight(n, &[v.channels(), 3 * width]);
    let all = draft.line(&format!("MatMul ({}, {weight})", v.name));
    let parts = draft.ints(&[0, places as i64, 3, heads as i64, each as i64]);
    let all = draft.line(&format!("Reshape ({all}, {parts})"));
    let all = draft.line(&format!("Transpose <perm = [2, 0, 3, 1, 4]> ({all})"));
    let of = |draft: &mut Draft, at: usize| {
        let at = draft.number("int64", &at.to_string());
        draft.line(&format!("Gather <axis = 0> ({all}, {at})"))
    };
    let (q, k, v2) = (of(draft, 0), of(draft, 1), of(draft, 2));
    let k = draft.line(&format!("Transpose <perm = [0, 1, 3, 2]> ({k})"));
    let s = draft.line(&format!("MatMul ({q}, {k})"));
    let w = draft.line(&format!("Softmax ({s})"));
    let z = draft.line(&format!("MatMul ({w}, {v2})"));
    let z = draft.line(&format!("Transpose <perm = [0, 2, 1, 3]> ({z})"));
    let joined = draft.ints(&[0, places as i64, width as i64]);
    let z = draft.line(&format!("Reshape ({z}, {joined})"));
    output(draft, n, &v, (&z, width))
}

/// The operator of the standard.
pub fn operator(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let Some((v, _)) = tokens(draft, v) else { return false };
    let (heads, each) = *n.pick(&[(2, 2), (3, 2), (4, 2)]);
    let [q, k, v2] = projections(draft, n, &v, heads * each);
    let attrs = format!("q_num_heads = {heads}, kv_num_heads = {heads}");
    let z = draft.line(&format!("Attention <{attrs}> ({q}, {k}, {v2})"));
    output(draft, n, &v, (&z, heads * each))
}
