//! What language models have beside Attention: `CausalConvWithState`, `LinearAttention`, `RotaryEmbedding`.

use super::Kernel;
use super::attention::swapped;
use super::unary::sigmoid;
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

type Outputs = Result<Vec<TensorData>, EngineError>;

pub(super) const TABLE: &[(&str, Kernel)] = &[
    ("CausalConvWithState", causal_conv),
    ("LinearAttention", linear_attention),
    ("RotaryEmbedding", rotary_embedding),
];

fn causal_conv(call: &NodeCall<'_>) -> Outputs {
    let (x, w) = (call.need(0)?, call.need(1)?);
    let dtype = call.same_type(x, w)?;
    let (&[batch, channels, steps], &[c, 1, k]) = (x.dims(), w.dims()) else {
        return Err(call.invalid(format_args!("input {:?} and weight {:?} do not fit", x.dims(), w.dims())));
    };
    let state_dims = [batch, channels, k.saturating_sub(1)];
    let bias = call.real_option(2)?;
    let past = call.input(3);
    let past_fits = past.is_none_or(|p| p.dims() == state_dims);
    if c != channels || k == 0 || !past_fits || bias.as_ref().is_some_and(|b| b.len() as u64 != channels) {
        return Err(call.invalid("its weight, bias or past state does not fit"));
    }
    let swish = match call.str_or("activation", "none")?.as_str() {
        "none" => false,
        "silu" | "swish" => true,
        other => return Err(call.invalid(format_args!("activation `{other}` is unknown"))),
    };
    call.sized(DType::Uint8, &[batch, channels])?;
    let mut out = Vec::with_capacity(call.sized(dtype, x.dims())?);
    let mut state = Vec::with_capacity(call.sized(dtype, &state_dims)?);
    let (items, weights) = (call.reals(x)?, call.reals(w)?);
    let past = past.map(|p| call.reals(p)).transpose()?;
    let (steps, kept) = (steps as usize, k as usize - 1);
    for lane in 0..(batch.saturating_mul(channels)) as usize {
        let channel = lane % channels as usize;
        let mut padded = match &past {
            Some(past) => past[lane * kept..(lane + 1) * kept].to_vec(),
            None => vec![0.0; kept],
        };
        padded.extend_from_slice(&items[lane * steps..(lane + 1) * steps]);
        let weight = &weights[channel * (kept + 1)..(channel + 1) * (kept + 1)];
        let shift = bias.as_ref().map_or(0.0, |b| b[channel]);
        for window in padded.windows(kept + 1) {
            let y = window.iter().zip(weight).map(|(x, w)| x * w).sum::<f64>() + shift;
            out.push(if swish { y * sigmoid(y) } else { y });
        }
        state.extend_from_slice(&padded[padded.len() - kept..]);
    }
    Ok(vec![call.real_tensor(dtype, x.dims(), &out)?, call.real_tensor(dtype, &state_dims, &state)?])
}

/// The sizes of `LinearAttention`.
struct Sizes {
    batch: usize,
    steps: usize,
    q_heads: usize,
    heads: usize,
    key: usize,
    value: usize,
}

impl Sizes {
    fn new(call: &NodeCall<'_>) -> Result<Self, EngineError> {
        let (q, k, v) = (call.need(0)?.dims(), call.need(1)?.dims(), call.need(2)?.dims());
        let wrong = || call.invalid(format_args!("query {q:?}, key {k:?} and value {v:?} do not fit"));
        let heads = |name: &str| {
            let n = call.int_attr(name)?.and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
            n.ok_or_else(|| call.invalid(format_args!("attribute `{name}` must be positive")))
        };
        let (q_heads, heads) = (heads("q_num_heads")?, heads("kv_num_heads")?);
        let (&[batch, steps, q_all], &[kb, kt, k_all], &[vb, vt, v_all]) = (q, k, v) else {
            return Err(wrong());
        };
        let (key, value) = (q_all as usize / q_heads, v_all as usize / heads);
        let exact = key.checked_mul(q_heads) == Some(q_all as usize)
            && key.checked_mul(heads) == Some(k_all as usize)
            && value.checked_mul(heads) == Some(v_all as usize);
        if !exact || q_heads % heads != 0 || [kb, vb] != [batch; 2] || [kt, vt] != [steps; 2] {
            return Err(wrong());
        }
        Ok(Self { batch: batch as usize, steps: steps as usize, q_heads, heads, key, value })
    }
}

/// An optional gate `[batch, steps, size]` that the rule needs, or must not have; its size.
fn gate(
    call: &NodeCall<'_>,
    slot: usize,
    needed: bool,
    s: &Sizes,
    sizes: [usize; 2],
) -> Result<Option<(Vec<f64>, usize)>, EngineError> {
    let Some(tensor) = call.input(slot).filter(|_| needed) else {
        let fits = needed == call.input(slot).is_some();
        let wrong = call.invalid(format_args!("input {slot} does not go with the update_rule"));
        return if fits { Ok(None) } else { Err(wrong) };
    };
    match tensor.dims() {
        &[b, t, n] if [b, t] == [s.batch as u64, s.steps as u64] && sizes.contains(&(n as usize)) => {
            Ok(Some((call.reals(tensor)?, n as usize)))
        }
        dims => Err(call.invalid(format_args!("input {slot} {dims:?} does not fit"))),
    }
}

fn linear_attention(call: &NodeCall<'_>) -> Outputs {
    let s = Sizes::new(call)?;
    let (gated, delta) = match call.str_or("update_rule", "gated_delta")?.as_str() {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => return Err(call.invalid(format_args!("update_rule `{other}` is unknown"))),
    };
    let decay = gate(call, 4, gated, &s, [s.heads, s.heads * s.key])?;
    let beta = gate(call, 5, delta, &s, [s.heads, 1])?;
    let dtype = call.need(0)?.dtype();
    let scale = match call.float_or("scale", 0.0)? {
        0.0 => 1.0 / (s.key as f64).sqrt(),
        scale => f64::from(scale),
    };
    let state_dims = [s.batch, s.heads, s.key, s.value].map(|n| n as u64);
    let out_dims = [s.batch as u64, s.steps as u64, (s.q_heads as u64).saturating_mul(s.value as u64)];
    let past = call.input(3);
    let state_type = past.map_or(dtype, TensorData::dtype);
    let state_len = call.sized(state_type, &state_dims)?;
    let mut state = match past {
        Some(past) if past.dims() == state_dims => call.reals(past)?,
        Some(past) => {
            return Err(call.invalid(format_args!("past state {:?}, not {state_dims:?}", past.dims())));
        }
        None => vec![0.0; state_len],
    };
    let mut out = vec![0.0; call.sized(dtype, &out_dims)?];
    let read = |slot: usize| call.reals(call.need(slot)?);
    let (q, k, v) = (read(0)?, read(1)?, read(2)?);
    let share = s.q_heads / s.heads;
    for (i, matrix) in state.chunks_mut((s.key * s.value).max(1)).enumerate() {
        let (batch, head) = (i / s.heads, i % s.heads);
        for at in batch * s.steps..(batch + 1) * s.steps {
            let key = &k[(at * s.heads + head) * s.key..][..s.key];
            let value = &v[(at * s.heads + head) * s.value..][..s.value];
            if let Some((decay, n)) = &decay {
                for (j, row) in matrix.chunks_mut(s.value).enumerate() {
                    let place = if *n == s.heads { head } else { head * s.key + j };
                    let factor = libm::exp(decay[at * n + place]);
                    for x in row.iter_mut() {
                        *x *= factor;
                    }
                }
            }
            let rate = beta.as_ref().map(|(beta, n)| beta[at * n + if *n == 1 { 0 } else { head }]);
            update(matrix, key, value, rate);
            for h in head * share..(head + 1) * share {
                let query = &q[(at * s.q_heads + h) * s.key..][..s.key];
                let to = &mut out[(at * s.q_heads + h) * s.value..][..s.value];
                for (x, row) in query.iter().zip(matrix.chunks(s.value)) {
                    to.iter_mut().zip(row).for_each(|(t, m)| *t += scale * x * m);
                }
            }
        }
    }
    Ok(vec![call.real_tensor(dtype, &out_dims, &out)?, call.real_tensor(state_type, &state_dims, &state)?])
}

/// Adds the outer product of a key and a value to the state; with a rate, of what the state lacks of the value.
fn update(matrix: &mut [f64], key: &[f64], value: &[f64], rate: Option<f64>) {
    let mut add = value.to_vec();
    if let Some(rate) = rate {
        for (x, row) in key.iter().zip(matrix.chunks(value.len())) {
            add.iter_mut().zip(row).for_each(|(a, m)| *a -= x * m);
        }
        for a in &mut add {
            *a *= rate;
        }
    }
    for (x, row) in key.iter().zip(matrix.chunks_mut(value.len().max(1))) {
        row.iter_mut().zip(&add).for_each(|(m, a)| *m += x * a);
    }
}

fn rotary_embedding(call: &NodeCall<'_>) -> Outputs {
    let x = call.need(0)?;
    let (cos, cos_dims) = call.real_input(1)?;
    let (sin, sin_dims) = call.real_input(2)?;
    let wrong = || call.invalid(format_args!("input {:?} and caches {cos_dims:?} do not fit", x.dims()));
    let (batch, steps, heads, size) = match *x.dims() {
        [b, h, t, d] => (b, t, h, d),
        [b, t, all] => {
            let heads = call.int_attr("num_heads")?.and_then(|h| u64::try_from(h).ok()).filter(|&h| h > 0);
            let heads = heads.filter(|h| all % h == 0).ok_or_else(wrong)?;
            (b, t, heads, all / heads)
        }
        _ => return Err(wrong()),
    };
    let (b, t, h, d) = (batch as usize, steps as usize, heads as usize, size as usize);
    let turned = match usize::try_from(call.int_or("rotary_embedding_dim", 0)?) {
        Ok(0) => d,
        Ok(n) if n <= d => n,
        _ => return Err(wrong()),
    };
    let (half, len) = (turned / 2, call.sized(x.dtype(), x.dims())?);
    let positions = call.ints(3)?;
    let (rows, last) = match (cos_dims, &positions) {
        (&[rows, last], Some(_)) => (rows, last),
        (&[cb, ct, last], None) if cb == batch && ct == steps => (cb.saturating_mul(ct), last),
        _ => return Err(wrong()),
    };
    let positions_fit = positions.as_ref().is_none_or(|p| p.len() as u64 == batch.saturating_mul(steps));
    if turned % 2 != 0 || last != half as u64 || sin_dims != cos_dims || !positions_fit {
        return Err(wrong());
    }
    let interleaved = call.flag("interleaved", false)?;
    let mut items = call.reals(x)?;
    if x.rank() == 4 {
        items = swapped(&items, b, h, t, d);
    }
    for (i, lane) in items.chunks_mut(d.max(1)).enumerate().take(len) {
        let step = i / h;
        let row = match &positions {
            Some(positions) => call.place(positions[step], rows)?,
            None => step,
        };
        let (c, s) = (&cos[row * half..(row + 1) * half], &sin[row * half..(row + 1) * half]);
        for j in 0..half {
            let (p, q) = if interleaved { (2 * j, 2 * j + 1) } else { (j, half + j) };
            let (real, imaginary) = (lane[p], lane[q]);
            lane[p] = c[j] * real - s[j] * imaginary;
            lane[q] = s[j] * real + c[j] * imaginary;
        }
    }
    if x.rank() == 4 {
        items = swapped(&items, b, t, h, d);
    }
    Ok(vec![call.real_tensor(x.dtype(), x.dims(), &items)?])
}

#[cfg(test)]
mod tests {
    use super::super::case::{check, f32s, i64s, numbers, refused, run};

    #[test]
    fn causal_convolution_keeps_its_state() {
        let x = || f32s(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let w = || f32s(&[2, 1, 2], &[1.0, 10.0, 1.0, -1.0]);
        let all = [x(), w(), f32s(&[2], &[0.5, 0.0]), f32s(&[1, 2, 1], &[7.0, 8.0])];
        check("CausalConvWithState", &[], &all, &[1, 2, 2], &[17.5, 21.5, 5.0, -1.0]);
        let silu = [("activation", "silu".into())];
        let want = [9.999_546_1, 21.0 - 3.4e-9, -0.142_277_6, -0.268_941_4];
        check("CausalConvWithState", &silu, &[x(), w()], &[1, 2, 2], &want);
        let state = &run("CausalConvWithState", &[], &all, 2).unwrap()[1];
        assert_eq!(numbers(state), (vec![1, 2, 1], vec![2.0, 4.0]));
        refused("CausalConvWithState", &[], &[x(), f32s(&[1, 1, 2], &[0.0; 2])]);
    }

    #[test]
    fn state_is_updated_by_the_rule() {
        let (q, k) = (f32s(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]), f32s(&[1, 2, 2], &[1.0, 0.0, 0.5, 0.5]));
        let v = f32s(&[1, 2, 1], &[2.0, -1.0]);
        let gates = [f32s(&[1, 2, 1], &[-0.5, -1.0]), f32s(&[1, 2, 1], &[0.5, 1.0])];
        let heads = vec![("q_num_heads", 1.into()), ("kv_num_heads", 1.into())];
        let all = [&[q, k, v, None], &gates[..]].concat();
        check("LinearAttention", &heads, &all, &[1, 2, 1], &[std::f64::consts::FRAC_1_SQRT_2, -2.149_711_1]);
        let state = numbers(&run("LinearAttention", &heads, &all, 2).unwrap()[1]).1;
        assert!((state[0] + 0.224_090_4).abs() < 1e-6 && (state[1] + 0.591_969_8).abs() < 1e-6, "{state:?}");
        let mut linear = heads.clone();
        linear.extend([("update_rule", "linear".into()), ("scale", 1f32.into())]);
        check("LinearAttention", &linear, &all[..3], &[1, 2, 1], &[2.0, 2.5]);
        refused("LinearAttention", &heads, &all[..3]);
        refused("LinearAttention", &linear, &all);
    }

    #[test]
    fn rotates_by_position() {
        let x = || f32s(&[1, 1, 1, 4], &[1.0, 2.0, 3.0, 4.0]);
        let (c, s) = (|| f32s(&[2, 2], &[1.0, 0.0, 0.5, 0.6]), || f32s(&[2, 2], &[0.0, 1.0, 0.5, 0.8]));
        let at = |p: i64| [x(), c(), s(), i64s(&[1, 1], &[p])];
        check("RotaryEmbedding", &[], &at(1), &[1, 1, 1, 4], &[-1.0, -2.0, 2.0, 4.0]);
        check(
            "RotaryEmbedding",
            &[("interleaved", 1.into())],
            &at(1),
            &[1, 1, 1, 4],
            &[-0.5, 1.5, -1.4, 4.8],
        );
        let half = [f32s(&[1, 1, 2], &[1.0, 1.0]), f32s(&[1, 1, 1], &[0.0]), f32s(&[1, 1, 1], &[1.0])];
        check("RotaryEmbedding", &[("num_heads", 1.into())], &half, &[1, 1, 2], &[-1.0, 1.0]);
        refused("RotaryEmbedding", &[], &at(2));
        refused("RotaryEmbedding", &[], &[x(), c(), s()]);
    }
}
