//! Normalisation by mean and variance.

use super::Kernel;
use super::index::{Around, count};
use super::numbers::spread;
use super::reduce::Lanes;
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

type Outputs = Result<Vec<TensorData>, EngineError>;

pub(super) const TABLE: &[(&str, Kernel)] = &[
    ("BatchNormalization", batch),
    ("GroupNormalization", group),
    ("InstanceNormalization", instance),
    ("LayerNormalization", layer),
    ("MeanVarianceNormalization", mean_variance),
    ("RMSNormalization", rms),
];

/// Mean and population variance.
fn moments(lane: &[f64]) -> (f64, f64) {
    let len = lane.len() as f64;
    let mean = lane.iter().sum::<f64>() / len;
    (mean, lane.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / len)
}

fn epsilon(call: &NodeCall<'_>) -> Result<f64, EngineError> {
    Ok(f64::from(call.float_or("epsilon", 1e-5)?))
}

/// An input that broadcasts to `dims`, spread over them.
fn factor(call: &NodeCall<'_>, slot: usize, dims: &[u64]) -> Result<Option<Vec<f64>>, EngineError> {
    let Some(tensor) = call.input(slot) else { return Ok(None) };
    if call.broadcast_dims(&[dims, tensor.dims()])? != dims {
        let own = tensor.dims();
        return Err(call.invalid(format_args!("input {slot} {own:?} does not broadcast to {dims:?}")));
    }
    Ok(Some(spread(call.reals(tensor)?, tensor.dims(), dims)))
}

/// The dims before an axis, and the number of elements after them.
fn split(call: &NodeCall<'_>, dims: &[u64]) -> Result<(usize, usize), EngineError> {
    let axis = call.axis(call.int_or("axis", -1)?, dims.len())?;
    let lane = count(&dims[axis..]).ok_or_else(|| call.invalid("its dims overflow"))?;
    Ok((axis, lane))
}

fn stash(call: &NodeCall<'_>) -> Result<DType, EngineError> {
    Ok(call.dtype_attr("stash_type")?.unwrap_or(DType::Float))
}

fn layer(call: &NodeCall<'_>) -> Outputs {
    let x = call.need(0)?;
    let dims = x.dims();
    call.sized(x.dtype(), dims)?;
    let (axis, size) = split(call, dims)?;
    let (epsilon, stash) = (epsilon(call)?, stash(call)?);
    call.need(1)?;
    let scale = factor(call, 1, dims)?.unwrap_or_default();
    let bias = factor(call, 2, dims)?;
    let mut items = call.reals(x)?;
    let (mut means, mut inverses) = (Vec::new(), Vec::new());
    for lane in items.chunks_mut(size.max(1)) {
        let (mean, variance) = moments(lane);
        let inverse = 1.0 / (variance + epsilon).sqrt();
        for v in lane.iter_mut() {
            *v = (*v - mean) * inverse;
        }
        means.push(mean);
        inverses.push(inverse);
    }
    items.iter_mut().zip(&scale).for_each(|(v, s)| *v *= s);
    if let Some(bias) = bias {
        items.iter_mut().zip(bias).for_each(|(v, b)| *v += b);
    }
    let mut outputs = vec![call.real_tensor(x.dtype(), dims, &items)?];
    if call.outputs.iter().skip(1).any(|&wanted| wanted) {
        let outer: Vec<u64> = (0..dims.len()).map(|a| if a < axis { dims[a] } else { 1 }).collect();
        outputs.push(call.real_tensor(stash, &outer, &means)?);
        outputs.push(call.real_tensor(stash, &outer, &inverses)?);
    }
    Ok(outputs)
}

fn rms(call: &NodeCall<'_>) -> Outputs {
    let x = call.need(0)?;
    let dims = x.dims();
    let scale = call.need(1)?;
    call.sized(scale.dtype(), dims)?;
    let (_, size) = split(call, dims)?;
    let epsilon = epsilon(call)?;
    let mut items = call.reals(x)?;
    for lane in items.chunks_mut(size.max(1)) {
        let square = lane.iter().map(|v| v * v).sum::<f64>() / lane.len() as f64;
        let root = (square + epsilon).sqrt();
        for v in lane.iter_mut() {
            *v /= root;
        }
    }
    let scales = factor(call, 1, dims)?.unwrap_or_default();
    items.iter_mut().zip(&scales).for_each(|(v, s)| *v *= s);
    Ok(vec![call.real_tensor(scale.dtype(), dims, &items)?])
}

/// `[N, C, ...]` around its channels.
fn channels(call: &NodeCall<'_>, dims: &[u64]) -> Result<Around, EngineError> {
    let around = if dims.len() < 2 { None } else { Around::new(dims, 1) };
    around.ok_or_else(|| call.invalid(format_args!("{dims:?} has no channels")))
}

/// A vector with one number a channel.
fn per_channel(call: &NodeCall<'_>, slot: usize, size: usize) -> Result<Vec<f64>, EngineError> {
    let (items, dims) = call.real_input(slot)?;
    if items.len() != size || dims.len() != 1 {
        return Err(
            call.invalid(format_args!("input {slot} is {dims:?}, not one number for {size} channels"))
        );
    }
    Ok(items)
}

fn group(call: &NodeCall<'_>) -> Outputs {
    let groups = call.int_attr("num_groups")?.and_then(|g| usize::try_from(g).ok()).filter(|&g| g > 0);
    grouped(call, Some(groups.ok_or_else(|| call.invalid("attribute `num_groups` must be positive"))?))
}

fn instance(call: &NodeCall<'_>) -> Outputs {
    grouped(call, None)
}

fn grouped(call: &NodeCall<'_>, groups: Option<usize>) -> Outputs {
    let x = call.need(0)?;
    let around = channels(call, x.dims())?;
    let groups = groups.unwrap_or(around.size).max(1);
    if around.size % groups != 0 {
        return Err(call.invalid(format_args!("{} channels do not make {groups} groups", around.size)));
    }
    call.sized(x.dtype(), x.dims())?;
    let (scale, bias) = (per_channel(call, 1, around.size)?, per_channel(call, 2, around.size)?);
    let epsilon = epsilon(call)?;
    let mut items = call.reals(x)?;
    for lane in items.chunks_mut((around.size / groups).saturating_mul(around.inner).max(1)) {
        let (mean, variance) = moments(lane);
        let inverse = 1.0 / (variance + epsilon).sqrt();
        for v in lane.iter_mut() {
            *v = (*v - mean) * inverse;
        }
    }
    for (i, plane) in items.chunks_mut(around.inner.max(1)).enumerate() {
        let (s, b) = (scale[i % around.size], bias[i % around.size]);
        for v in plane.iter_mut() {
            *v = *v * s + b;
        }
    }
    Ok(vec![call.real_tensor(x.dtype(), x.dims(), &items)?])
}

fn mean_variance(call: &NodeCall<'_>) -> Outputs {
    let x = call.need(0)?;
    call.sized(x.dtype(), x.dims())?;
    let axes = call.ints_attr("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
    let axes = call.axes(&axes, x.rank())?;
    let mut items = call.reals(x)?;
    if items.is_empty() {
        return Ok(vec![call.real_tensor(x.dtype(), x.dims(), &items)?]);
    }
    let lanes = Lanes::new(x.dims(), &axes);
    let mut lane = Vec::new();
    for &start in &lanes.starts {
        lanes.read(&items, start, &mut lane);
        let (mean, variance) = moments(&lane);
        let deviation = variance.sqrt() + 1e-9;
        for &o in &lanes.offsets {
            items[start + o] = (items[start + o] - mean) / deviation;
        }
    }
    Ok(vec![call.real_tensor(x.dtype(), x.dims(), &items)?])
}

fn batch(call: &NodeCall<'_>) -> Outputs {
    let x = call.need(0)?;
    let around = channels(call, x.dims())?;
    call.sized(x.dtype(), x.dims())?;
    let epsilon = epsilon(call)?;
    let input = |slot| per_channel(call, slot, around.size);
    let (scale, bias, mut mean, mut variance) = (input(1)?, input(2)?, input(3)?, input(4)?);
    let mut items = call.reals(x)?;
    let mut running = Vec::new();
    if call.flag("training_mode", false)? {
        if items.is_empty() {
            return Err(call.invalid("training mode needs elements"));
        }
        let momentum = f64::from(call.float_or("momentum", 0.9)?);
        let axes: Vec<usize> = (0..x.rank()).filter(|&a| a != 1).collect();
        let current = Lanes::new(x.dims(), &axes).map(&items, moments);
        let blend = |old: &[f64], new: &dyn Fn(&(f64, f64)) -> f64| -> Vec<f64> {
            old.iter().zip(&current).map(|(o, c)| o * momentum + new(c) * (1.0 - momentum)).collect()
        };
        running = vec![(3, blend(&mean, &|c| c.0)), (4, blend(&variance, &|c| c.1))];
        (mean, variance) = current.into_iter().unzip();
    }
    for (i, plane) in items.chunks_mut(around.inner.max(1)).enumerate() {
        let c = i % around.size;
        let factor = scale[c] / (variance[c] + epsilon).sqrt();
        for v in plane.iter_mut() {
            *v = (*v - mean[c]) * factor + bias[c];
        }
    }
    let mut outputs = vec![call.real_tensor(x.dtype(), x.dims(), &items)?];
    for (slot, values) in running {
        let like = call.need(slot)?;
        outputs.push(call.real_tensor(like.dtype(), like.dims(), &values)?);
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::super::case::{check, f32s, numbers, refused, run};
    use crate::ir::AttrValue;

    fn none() -> Vec<(&'static str, AttrValue)> {
        vec![("epsilon", 0f32.into())]
    }

    #[test]
    fn by_lane_group_and_instance() {
        let x = f32s(&[1, 2, 2], &[1.0, 3.0, 2.0, 8.0]);
        let (two, one) = (f32s(&[2], &[2.0, 1.0]), f32s(&[2], &[0.0, 10.0]));
        let want = [-2.0, 12.0 - 1.0, -2.0, 11.0];
        check("LayerNormalization", &none(), &[x.clone(), two.clone(), one.clone()], &[1, 2, 2], &want);
        let want = [-2.0, 2.0, 9.0, 11.0];
        check("InstanceNormalization", &none(), &[x.clone(), two.clone(), one.clone()], &[1, 2, 2], &want);
        let groups = |g: i64| vec![("num_groups", g.into()), ("epsilon", 0f32.into())];
        check("GroupNormalization", &groups(2), &[x.clone(), two.clone(), one.clone()], &[1, 2, 2], &want);
        let root = 7.25f64.sqrt();
        let want = [-5.0 / root, -1.0 / root, 10.0 - 1.5 / root, 10.0 + 4.5 / root];
        check("GroupNormalization", &groups(1), &[x.clone(), two.clone(), one.clone()], &[1, 2, 2], &want);
        let want = [2.0 / 5f64.sqrt(), 3.0 / 5f64.sqrt(), 4.0 / 34f64.sqrt(), 8.0 / 34f64.sqrt()];
        check("RMSNormalization", &none(), &[x.clone(), two.clone()], &[1, 2, 2], &want);
        let axes = [("axes", AttrValue::Ints(vec![0, 2]))];
        check(
            "MeanVarianceNormalization",
            &axes,
            std::slice::from_ref(&x),
            &[1, 2, 2],
            &[-1.0, 1.0, -1.0, 1.0],
        );
        refused("GroupNormalization", &groups(3), &[x.clone(), two.clone(), one.clone()]);
        refused("LayerNormalization", &none(), &[x, f32s(&[3], &[1.0; 3])]);
    }

    #[test]
    fn layer_tells_mean_and_inverse_deviation() {
        let x = f32s(&[2, 2], &[1.0, 3.0, 2.0, 8.0]);
        let outputs = run("LayerNormalization", &none(), &[x, f32s(&[2], &[1.0, 1.0])], 3).unwrap();
        assert_eq!(numbers(&outputs[1]), (vec![2, 1], vec![2.0, 5.0]));
        assert_eq!(numbers(&outputs[2]).1[0], 1.0);
    }

    #[test]
    fn batch_in_both_modes() {
        let x = f32s(&[2, 1, 2], &[1.0, 2.0, 3.0, 6.0]);
        let vector = |v: f32| f32s(&[1], &[v]);
        let inputs = [x, vector(2.0), vector(1.0), vector(2.0), vector(4.0)];
        check("BatchNormalization", &none(), &inputs, &[2, 1, 2], &[0.0, 1.0, 2.0, 5.0]);
        let mut attrs = none();
        attrs.extend([("training_mode", 1.into()), ("momentum", 0.75f32.into())]);
        let outputs = run("BatchNormalization", &attrs, &inputs, 3).unwrap();
        assert_eq!(numbers(&outputs[1]).1, [2.25]);
        assert_eq!(numbers(&outputs[2]).1, [3.875]);
        let y = numbers(&outputs[0]).1;
        assert!((y[0] - (1.0 - 4.0 / 3.5f64.sqrt())).abs() < 1e-6, "{y:?}");
    }
}
