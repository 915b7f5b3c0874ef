//! Matrix products, attention, and recurrent layers.

use std::collections::BTreeMap;

use rten_shape_inference::einsum_parser::EinsumExpr;

use super::elementwise::broadcast_shapes;
use super::{Call, Outs, Tensor, dims};
use crate::analysis::calc::Calc;
use crate::analysis::expr::Expr;

fn product(a: &[Expr], b: &[Expr], calc: &mut Calc<'_>) -> Option<Vec<Expr>> {
    let (outer_a, row) = match a {
        [] => return None,
        [_] => (&[][..], None),
        [outer @ .., m, _] => (outer, Some(m)),
    };
    let (outer_b, inner, column) = match b {
        [] => return None,
        [k] => (&[][..], k, None),
        [outer @ .., k, n] => (outer, k, Some(n)),
    };
    let sizes = (a.last()?.known(), inner.known());
    if matches!(sizes, (Some(x), Some(y)) if x != y) {
        return None;
    }
    let mut out = broadcast_shapes(outer_a, outer_b, calc)?;
    out.extend(row.cloned());
    out.extend(column.cloned());
    Some(out)
}

pub(super) fn matmul(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    dims(product(call.shape(0)?, call.shape(1)?, calc)?)
}

pub(super) fn qlinear_matmul(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    dims(product(call.shape(0)?, call.shape(3)?, calc)?)
}

pub(super) fn gemm(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let dim = |slot, transposed: &str, at: usize| {
        let [a, b] = call.shape(slot)? else { return None };
        let flip = call.int(transposed, 0) != 0;
        let first = (at == 0) ^ flip;
        Some(if first { a.clone() } else { b.clone() })
    };
    if call.shape(0).is_some_and(|s| s.len() != 2) || call.shape(1).is_some_and(|s| s.len() != 2) {
        return None;
    }
    let m = dim(0, "transA", 0).unwrap_or_else(|| calc.unknown());
    let n = dim(1, "transB", 1).unwrap_or_else(|| calc.unknown());
    dims(vec![m, n])
}

/// An Einsum: the size of every label, and the labels of the output. A `...` is digits from the right.
pub(crate) fn einsum_labels(
    equation: &str,
    inputs: &[&[Expr]],
    calc: &mut Calc<'_>,
) -> Option<(BTreeMap<String, Expr>, Vec<String>)> {
    let parsed = EinsumExpr::parse(equation).ok()?;
    if parsed.inputs.len() != inputs.len() {
        return None;
    }
    let mut sizes: BTreeMap<String, Expr> = BTreeMap::new();
    let mut widest = 0;
    for (term, shape) in parsed.inputs.iter().zip(inputs) {
        let labels = labels(term, shape.len())?;
        widest = widest.max(labels.iter().filter(|l| l.starts_with('.')).count());
        for (label, size) in labels.into_iter().zip(*shape) {
            let size = match sizes.get(&label) {
                Some(other) => calc.broadcast(other, size)?,
                None => size.clone(),
            };
            sizes.insert(label, size);
        }
    }
    let plain = parsed.output.replace("...", "").chars().count();
    let dots = if parsed.output.contains("...") { widest } else { 0 };
    Some((sizes, labels(&parsed.output, plain + dots)?))
}

/// One label for each of `rank` axes of a term.
fn labels(term: &str, rank: usize) -> Option<Vec<String>> {
    let plain = |part: &str| part.chars().map(String::from).collect::<Vec<_>>();
    let out = match term.split_once("...") {
        None => plain(term),
        Some((before, after)) => {
            let (before, after) = (plain(before), plain(after));
            let dots = rank.checked_sub(before.len() + after.len())?;
            let dots = (0..dots).rev().map(|i| format!(".{i}"));
            before.into_iter().chain(dots).chain(after).collect()
        }
    };
    (out.len() == rank).then_some(out)
}

pub(super) fn einsum(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let inputs: Vec<&[Expr]> = (0..call.inputs.len()).map(|i| call.shape(i)).collect::<Option<_>>()?;
    let (sizes, out) = einsum_labels(call.node.attrs.str("equation")?, &inputs, calc)?;
    dims(out.iter().map(|label| sizes.get(label).cloned()).collect::<Option<_>>()?)
}

/// The heads, the sequence length and the size of a head of one input of `Attention`.
fn heads(shape: &[Expr], heads: Option<i64>, calc: &mut Calc<'_>) -> Option<(Expr, Expr, Expr)> {
    match shape {
        [_, heads, length, head] => Some((heads.clone(), length.clone(), head.clone())),
        [_, length, hidden] => {
            let heads = Expr::of(heads.filter(|&h| h > 0)?);
            let head = calc.div(hidden, &heads);
            Some((heads, length.clone(), head))
        }
        _ => None,
    }
}

pub(super) fn attention(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let (q, k, v) = (call.shape(0)?, call.shape(1)?, call.shape(2)?);
    let attrs = &call.node.attrs;
    let batch = q.first()?.clone();
    let (q_heads, q_length, _) = heads(q, attrs.int("q_num_heads"), calc)?;
    let (kv_heads, k_length, k_head) = heads(k, attrs.int("kv_num_heads"), calc)?;
    let (_, _, v_head) = heads(v, attrs.int("kv_num_heads"), calc)?;
    let total = match (call.has(4), call.shape(4)) {
        (false, _) => k_length,
        (true, Some([_, _, past, _])) => calc.add(past, &k_length),
        _ => calc.unknown(),
    };
    let out = if q.len() == 3 {
        vec![batch.clone(), q_length.clone(), calc.mul(&q_heads, &v_head)]
    } else {
        vec![batch.clone(), q_heads.clone(), q_length.clone(), v_head.clone()]
    };
    let present = |head: Expr| Tensor::of(vec![batch.clone(), kv_heads.clone(), total.clone(), head]);
    let scores = Tensor::of(vec![batch.clone(), q_heads, q_length, total.clone()]);
    Some(vec![Tensor::of(out), present(k_head), present(v_head), scores])
}

pub(super) fn linear_attention(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let ([batch, length, q_hidden], [_, _, v_hidden]) = (call.shape(0)?, call.shape(2)?) else { return None };
    let count = |name: &str| call.node.attrs.int(name).filter(|&n| n > 0).map(Expr::of);
    let (q_heads, kv_heads) = (count("q_num_heads")?, count("kv_num_heads")?);
    let (k_head, v_head) = (calc.div(q_hidden, &q_heads), calc.div(v_hidden, &kv_heads));
    let out = vec![batch.clone(), length.clone(), calc.mul(&q_heads, &v_head)];
    Some(vec![Tensor::of(out), Tensor::of(vec![batch.clone(), kv_heads, k_head, v_head])])
}

/// `RNN`, `GRU`, `LSTM`: everything the layer said, then its last state (and for `LSTM` its last cell).
pub(super) fn rnn(call: &Call<'_>, calc: &mut Calc<'_>) -> Outs {
    let directions = Expr::of(if call.node.attrs.str("direction") == Some("bidirectional") { 2 } else { 1 });
    let batch_first = call.int("layout", 0) != 0;
    let (mut length, mut batch) = match call.shape(0) {
        Some([a, b, _]) => (a.clone(), b.clone()),
        Some(_) => return None,
        None => (calc.unknown(), calc.unknown()),
    };
    if batch_first {
        std::mem::swap(&mut length, &mut batch);
    }
    let hidden = match (call.node.attrs.int("hidden_size"), call.shape(2)) {
        (Some(size), _) => Expr::of(size),
        (None, Some([_, _, size])) => size.clone(),
        _ => calc.unknown(),
    };
    let (all, last) = if batch_first {
        (vec![batch.clone(), length, directions.clone(), hidden.clone()], vec![batch, directions, hidden])
    } else {
        (vec![length, directions.clone(), batch.clone(), hidden.clone()], vec![directions, batch, hidden])
    };
    let last = Tensor::of(last);
    Some(vec![Tensor::of(all), last.clone(), last])
}
