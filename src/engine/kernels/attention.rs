//! Attention.

use super::Kernel;
use super::index::broadcast_strides;
use super::matmul::product;
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

pub(super) const TABLE: &[(&str, Kernel)] = &[("Attention", attention)];

/// Query, key or value as `[batch, heads, steps, size]`.
#[derive(Clone)]
#[allow(clippy::struct_field_names, reason = "the standard's own word")]
struct Heads {
    items: Vec<f64>,
    heads: usize,
    steps: usize,
    size: usize,
}

impl Heads {
    /// An input of rank 4, or of rank 3 with its heads in the last axis.
    fn read(call: &NodeCall<'_>, slot: usize, heads: Option<i64>) -> Result<Self, EngineError> {
        let (items, dims) = call.real_input(slot)?;
        let wrong = || call.invalid(format_args!("input {slot} {dims:?} does not fit its heads"));
        let n = |d: u64| usize::try_from(d).map_err(|_| wrong());
        match (dims, heads.map(u64::try_from)) {
            (&[_, heads, steps, size], None) => {
                Ok(Self { items, heads: n(heads)?, steps: n(steps)?, size: n(size)? })
            }
            (&[batch, steps, all], Some(Ok(heads))) if heads > 0 && all % heads == 0 => {
                let mut own =
                    Self { items: Vec::new(), heads: n(heads)?, steps: n(steps)?, size: n(all / heads)? };
                own.items = swapped(&items, n(batch)?, own.steps, own.heads, own.size);
                Ok(own)
            }
            _ => Err(wrong()),
        }
    }

    fn matrix(&self, batch: usize, head: usize) -> &[f64] {
        let size = self.steps * self.size;
        let at = (batch * self.heads + head) * size;
        &self.items[at..at + size]
    }

    /// The steps of a past state before one's own.
    fn after(self, call: &NodeCall<'_>, slot: usize, batch: u64) -> Result<(Self, usize), EngineError> {
        let Some(past) = call.input(slot) else { return Ok((self, 0)) };
        let wrong = || call.invalid(format_args!("a past state {:?} does not fit", past.dims()));
        let &[b, heads, steps, size] = past.dims() else { return Err(wrong()) };
        if b != batch || heads != self.heads as u64 || size != self.size as u64 {
            return Err(wrong());
        }
        let (old, steps) = (call.reals(past)?, steps as usize);
        let total = steps.checked_add(self.steps).ok_or_else(wrong)?;
        call.sized(past.dtype(), &[batch, heads, total as u64, size])?;
        let mut items = Vec::with_capacity(old.len() + self.items.len());
        for i in 0..batch as usize * self.heads {
            items.extend_from_slice(&old[i * steps * self.size..(i + 1) * steps * self.size]);
            items
                .extend_from_slice(&self.items[i * self.steps * self.size..(i + 1) * self.steps * self.size]);
        }
        Ok((Self { items, steps: total, ..self }, steps))
    }
}

/// Swaps the two axes in the middle of `[a, b, c, d]`.
pub(super) fn swapped(items: &[f64], a: usize, b: usize, c: usize, d: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(items.len());
    if items.is_empty() {
        return out;
    }
    for i in 0..a {
        for (k, j) in (0..c).flat_map(|k| (0..b).map(move |j| (k, j))) {
            let at = ((i * b + j) * c + k) * d;
            out.extend_from_slice(&items[at..at + d]);
        }
    }
    out
}

/// What is added to every score, by batch, head, query and key.
struct Bias {
    mask: Option<(Vec<f64>, Vec<isize>, u64)>,
    causal: bool,
    window: (i64, i64),
    /// For every batch: keys before the queries, and keys that are not padding.
    offsets: Vec<(i64, i64)>,
}

impl Bias {
    fn new(call: &NodeCall<'_>, dims: [u64; 4], past: usize, dtype: DType) -> Result<Self, EngineError> {
        let [batch, heads, queries, keys] = dims;
        let bound = |name: &str| match call.int_or(name, -1)? {
            n if n < -1 => Err(call.invalid(format_args!("{name} is {n}"))),
            n => Ok(n),
        };
        let mask = match call.input(3) {
            None => None,
            Some(mask) => {
                let mut full = vec![batch, heads, queries];
                // A shorter mask leaves the last keys out.
                let own = mask.dims().last().copied().unwrap_or(keys);
                full.push(if own == 1 { keys } else { own.min(keys) });
                let strides =
                    broadcast_strides(mask.dims(), &full).filter(|_| mask.rank() > 0 && own <= keys);
                let wrong = || call.invalid(format_args!("mask {:?} does not fit {dims:?}", mask.dims()));
                let items = match mask.dtype() {
                    DType::Bool => {
                        let add = |b| if b { 0.0 } else { f64::NEG_INFINITY };
                        call.bools(mask)?.into_iter().map(add).collect()
                    }
                    d if d == dtype => call.reals(mask)?,
                    d => return Err(call.no_type(d)),
                };
                // A mask of one key is no mask of all: it is padded too, unless there is one key.
                Some((items, strides.ok_or_else(wrong)?, own))
            }
        };
        let offsets = match call.ints(6)? {
            None => vec![(past as i64, keys as i64); batch as usize],
            Some(_) if past > 0 || call.input(4).is_some() => {
                return Err(call.invalid("nonpad_kv_seqlen does not go with a past state"));
            }
            Some(lens) if lens.len() as u64 == batch => {
                lens.into_iter().map(|n| (n.saturating_sub(queries as i64), n)).collect()
            }
            Some(lens) => {
                return Err(call.invalid(format_args!("{} lengths for {batch} batches", lens.len())));
            }
        };
        let window = (bound("left_window_size")?, bound("right_window_size")?);
        Ok(Self { mask, causal: call.flag("is_causal", false)?, window, offsets })
    }

    fn at(&self, batch: usize, head: usize, query: usize, key: usize) -> f64 {
        let (offset, valid) = self.offsets[batch];
        let (at, key_at) = (offset.saturating_add(query as i64), key as i64);
        let (left, right) = self.window;
        let hidden = key_at >= valid
            || (self.causal && key_at > at)
            || (left >= 0 && key_at < at.saturating_sub(left))
            || (right >= 0 && key_at > at.saturating_add(right));
        let Some((mask, strides, own)) = &self.mask else {
            return if hidden { f64::NEG_INFINITY } else { 0.0 };
        };
        if hidden || key as u64 >= *own {
            return f64::NEG_INFINITY;
        }
        let place =
            [batch, head, query, key].iter().zip(strides).map(|(&p, s)| p as isize * s).sum::<isize>();
        mask.get(place as usize).copied().unwrap_or(0.0)
    }
}

/// What the optional output of scores holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Raw,
    Capped,
    Biased,
    Softmax,
}

struct Scores {
    scale: f64,
    cap: f64,
    shown: Shown,
    /// The precision of the softmax, where it is another.
    precision: Option<DType>,
}

impl Scores {
    fn new(call: &NodeCall<'_>, size: usize) -> Result<Self, EngineError> {
        let scale = call.attrs.float("scale").map_or(1.0 / (size as f64).sqrt(), f64::from);
        let shown = match call.int_or("qk_matmul_output_mode", 0)? {
            0 => Shown::Raw,
            1 => Shown::Capped,
            2 => Shown::Biased,
            3 => Shown::Softmax,
            other => return Err(call.invalid(format_args!("qk_matmul_output_mode is {other}"))),
        };
        let cap = f64::from(call.float_or("softcap", 0.0)?);
        Ok(Self { scale, cap, shown, precision: call.dtype_attr("softmax_precision")? })
    }

    /// Turns the scores of one query into weights of the keys; `shown` gets what the output of scores holds.
    fn weigh(&self, row: &mut [f64], shown: &mut [f64], bias: &dyn Fn(usize) -> f64) {
        let mut masked = true;
        for (key, (score, shown)) in row.iter_mut().zip(shown.iter_mut()).enumerate() {
            *score *= self.scale;
            *shown = *score;
            if self.cap > 0.0 {
                *score = self.cap * libm::tanh(*score / self.cap);
            }
            if self.shown == Shown::Capped {
                *shown = *score;
            }
            let bias = bias(key);
            masked &= bias == f64::NEG_INFINITY;
            *score = if bias == f64::NEG_INFINITY { bias } else { *score + bias };
            if self.shown == Shown::Biased {
                *shown = *score;
            }
        }
        if masked {
            row.fill(0.0);
        } else {
            row.iter_mut().for_each(|v| *v = self.rounded(*v));
            super::softmax::softmax(row);
            row.iter_mut().for_each(|v| *v = self.rounded(*v));
        }
        if self.shown == Shown::Softmax {
            shown.copy_from_slice(row);
        }
    }

    fn rounded(&self, x: f64) -> f64 {
        match self.precision {
            Some(DType::Float16) => crate::ir::f16_from(x).to_f64(),
            Some(DType::Bfloat16) => crate::ir::bf16_from(x).to_f64(),
            Some(DType::Float) => f64::from(x as f32),
            _ => x,
        }
    }
}

/// The dot product of one query with every key.
fn dots(query: &[f64], keys: &[f64], scores: &mut [f64]) {
    for (score, key) in scores.iter_mut().zip(keys.chunks(query.len().max(1))) {
        *score = query.iter().zip(key).map(|(a, b)| a * b).sum();
    }
}

fn attention(call: &NodeCall<'_>) -> Result<Vec<TensorData>, EngineError> {
    let (q_in, v_in) = (call.need(0)?, call.need(2)?);
    let (dtype, batch) = (q_in.dtype(), q_in.dims().first().copied().unwrap_or(0));
    let packed = q_in.rank() == 3;
    let heads = |name: &str| Ok(if packed { Some(call.int_attr(name)?.unwrap_or(0)) } else { None });
    let q = Heads::read(call, 0, heads("q_num_heads")?)?;
    let (k, v) =
        (Heads::read(call, 1, heads("kv_num_heads")?)?, Heads::read(call, 2, heads("kv_num_heads")?)?);
    let same_batch = (1..3).all(|s| call.input(s).is_some_and(|t| t.dims().first() == Some(&batch)));
    let fits = q.size > 0 && q.size == k.size && k.heads == v.heads && k.steps == v.steps && same_batch;
    if !fits || k.heads == 0 || q.heads % k.heads != 0 || call.input(4).is_some() != call.input(5).is_some() {
        return Err(call.invalid("query, key and value do not fit"));
    }
    call.sized(DType::Uint8, &[batch, q.heads as u64])?;
    let ((k, past), (v, past_v)) = (k.after(call, 4, batch)?, v.after(call, 5, batch)?);
    if past != past_v {
        return Err(call.invalid("the past key and the past value differ in length"));
    }
    let n = |x: usize| x as u64;
    call.sized(DType::Double, &[n(k.steps)])?;
    let score_dims = [batch, n(q.heads), n(q.steps), n(k.steps)];
    let out_dims = if packed {
        vec![batch, n(q.steps), n(q.heads).saturating_mul(n(v.size))]
    } else {
        vec![batch, n(q.heads), n(q.steps), n(v.size)]
    };
    let mut out = vec![0.0; call.sized(dtype, &out_dims)?];
    let want_scores = call.outputs.get(3) == Some(&true);
    let kept = if want_scores { call.sized(dtype, &score_dims)? } else { 0 };
    let mut shown = vec![0.0; kept];
    let (bias, scores) = (Bias::new(call, score_dims, past, dtype)?, Scores::new(call, q.size)?);
    let (share, per_head) = (q.heads / k.heads, q.steps.saturating_mul(v.size).max(1));
    let (mut row, mut seen) = (vec![0.0; k.steps], vec![0.0; k.steps]);
    for (i, to) in out.chunks_mut(per_head).enumerate() {
        let (b, head) = (i / q.heads, i % q.heads);
        let (keys, values) = (k.matrix(b, head / share), v.matrix(b, head / share));
        for (query, (from, to)) in
            q.matrix(b, head).chunks(q.size.max(1)).zip(to.chunks_mut(v.size)).enumerate()
        {
            dots(from, keys, &mut row);
            scores.weigh(&mut row, &mut seen, &|key| bias.at(b, head, query, key));
            product(&row, values, to, v.size);
            if want_scores {
                let at = (i * q.steps + query) * k.steps;
                shown[at..at + k.steps].copy_from_slice(&seen);
            }
        }
    }
    if packed {
        out = swapped(&out, batch as usize, q.heads, q.steps, v.size);
    }
    let state = |h: &Heads| [batch, n(h.heads), n(h.steps), n(h.size)];
    let mut outputs = vec![call.real_tensor(dtype, &out_dims, &out)?];
    if call.outputs.len() > 1 {
        outputs.push(call.real_tensor(dtype, &state(&k), &k.items)?);
        outputs.push(call.real_tensor(v_in.dtype(), &state(&v), &v.items)?);
    }
    if want_scores {
        outputs.push(call.real_tensor(dtype, &score_dims, &shown)?);
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::super::case::{check, f32s, i64s, numbers, refused, run};
    use super::*;

    fn inputs() -> [Option<TensorData>; 3] {
        let key = f32s(&[1, 1, 3, 2], &[1.0, 1.0, 0.0, 1.0, 2.0, 0.0]);
        [f32s(&[1, 1, 2, 2], &[1.0, 0.0, 0.0, 2.0]), key, f32s(&[1, 1, 3, 1], &[1.0, 10.0, 100.0])]
    }

    #[test]
    fn masks_hide_keys() {
        let all = |more: &[Option<TensorData>]| [&inputs()[..], more].concat();
        let dims = [1, 1, 2, 1];
        check("Attention", &[], &inputs(), &dims, &[59.281_822_2, 15.742_236_1]);
        check("Attention", &[("is_causal", 1.into())], &inputs(), &dims, &[1.0, 5.5]);
        let window = [("left_window_size", 0.into()), ("right_window_size", 1.into())];
        check("Attention", &window, &inputs(), &dims, &[3.972_145_6, 27.601_326]);
        let bits = TensorData::from_slice(&[2, 3], &[true, false, true, false, false, false]);
        check("Attention", &[], &all(&[bits.ok()]), &dims, &[67.306_388_9, 0.0]);
        // A mask of two keys leaves the third one out.
        check("Attention", &[], &all(&[f32s(&[2, 2], &[0.0; 4])]), &dims, &[3.972_145_6, 5.5]);
        let padded = all(&[None, None, None, i64s(&[1], &[2])]);
        check("Attention", &[("is_causal", 1.into())], &padded, &dims, &[1.0, 5.5]);
        refused("Attention", &[], &all(&[f32s(&[5, 3], &[0.0; 15])]));
        refused("Attention", &[("left_window_size", (-2).into())], &inputs());
    }

    #[test]
    fn scores_are_capped_biased_and_shown() {
        let bias = f32s(&[2, 3], &[0.0, 1.0, -1.0, 0.0, 0.0, 5.0]);
        let attrs = |mode: i64| {
            [("softcap", 1.5f32.into()), ("scale", 0.5f32.into()), ("qk_matmul_output_mode", mode.into())]
        };
        let call = [&inputs()[..], &[bias]].concat();
        check("Attention", &attrs(0), &call, &[1, 1, 2, 1], &[22.410_724_6, 97.043_129]);
        for (mode, first) in [
            (0, [0.5, 0.0, 1.0]),
            (1, [0.482_269_1, 0.0, 0.874_174_4]),
            (2, [0.482_269_1, 1.0, -0.125_825_6]),
        ] {
            let (dims, got) = numbers(&run("Attention", &attrs(mode), &call, 4).unwrap()[3]);
            assert_eq!(dims, [1, 1, 2, 3]);
            assert!(got.iter().zip(first).all(|(g, w)| (g - w).abs() < 1e-6), "{mode}: {got:?}");
        }
        let weights = numbers(&run("Attention", &attrs(3), &call, 4).unwrap()[3]).1;
        assert!((weights[..3].iter().sum::<f64>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn past_states_and_shared_heads() {
        let [q, ..] = inputs();
        let cut = [
            q,
            f32s(&[1, 1, 1, 2], &[2.0, 0.0]),
            f32s(&[1, 1, 1, 1], &[100.0]),
            None,
            f32s(&[1, 1, 2, 2], &[1.0, 1.0, 0.0, 1.0]),
            f32s(&[1, 1, 2, 1], &[1.0, 10.0]),
        ];
        let causal = [("is_causal", 1.into())];
        check("Attention", &causal, &cut, &[1, 1, 2, 1], &[59.281_822_2, 15.742_236_1]);
        let outputs = run("Attention", &causal, &cut, 3).unwrap();
        assert_eq!(numbers(&outputs[1]), (vec![1, 1, 3, 2], vec![1.0, 1.0, 0.0, 1.0, 2.0, 0.0]));
        assert_eq!(numbers(&outputs[2]).1, [1.0, 10.0, 100.0]);
        refused("Attention", &causal, &cut[..5]);
        let packed = [
            f32s(&[1, 1, 4], &[1.0, 0.0, 0.0, 2.0]),
            f32s(&[1, 2, 2], &[1.0, 1.0, 0.0, 1.0]),
            f32s(&[1, 2, 1], &[1.0, 10.0]),
        ];
        let heads = |q: i64| [("q_num_heads", q.into()), ("kv_num_heads", 1.into())];
        check("Attention", &heads(2), &packed, &[1, 1, 2], &[3.972_145_6, 5.5]);
        refused("Attention", &heads(3), &packed);
    }
}
