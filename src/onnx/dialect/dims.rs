//! The dims of the outputs of common operators: all ranks, and the few sizes that decide about a form.

use crate::ir::{Attrs, TensorData};

use super::draft::{Fact, from_front};

type Dims = Vec<Option<u64>>;

/// Operators whose outputs have the dims of the first input.
#[rustfmt::skip]
const ALIKE: &[&str] = &[
    "Abs", "BatchNormalization", "Cast", "CastLike", "Ceil", "Clip", "Cos", "DequantizeLinear", "Dropout", "Elu",
    "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Hardmax", "Identity", "InstanceNormalization", "LRN",
    "LeakyRelu", "Log", "LogSoftmax", "Neg", "Not", "QuantizeLinear", "Reciprocal", "Relu", "Round", "Selu",
    "Sigmoid", "Sin", "Softmax", "Softplus", "Sqrt", "Tanh",
];

/// Operators whose outputs have the rank of the first input.
#[rustfmt::skip]
const SAME_RANK: &[&str] = &[
    "AveragePool", "Conv", "ConvTranspose", "MaxPool", "Pad", "Resize", "Split", "Tile", "TopK", "Transpose",
    "Upsample",
];

/// Operators that broadcast all their inputs.
#[rustfmt::skip]
const BROADCAST: &[&str] = &[
    "Add", "And", "Div", "Equal", "Greater", "Less", "Max", "Mean", "Min", "Mod", "Mul", "Or", "PRelu", "Pow", "Sub",
    "Sum", "Where",
];

/// The dims of every output, in any form of the operator.
pub(super) fn output_dims(op: &str, attrs: &Attrs, inputs: &[Fact]) -> Option<Dims> {
    let first = inputs.first()?;
    match op {
        _ if ALIKE.contains(&op) => first.dims.clone(),
        _ if SAME_RANK.contains(&op) => Some(vec![None; first.rank()?]),
        _ if BROADCAST.contains(&op) => broadcast(inputs),
        _ if op.starts_with("Reduce") => reduce(first, attrs, inputs),
        "Flatten" | "Gemm" => Some(vec![None; 2]),
        "Range" => Some(vec![None]),
        "Shape" => Some(vec![first.rank().filter(|_| attrs.is_empty()).map(|r| r as u64)]),
        "MatMul" => {
            let ranks = first.rank().zip(inputs.get(1)?.rank()).filter(|&(a, b)| a >= 2 && b >= 2);
            ranks.map(|(a, b)| vec![None; a.max(b)])
        }
        "Reshape" => reshape(attrs, inputs),
        "Unsqueeze" => unsqueeze(first, &axes(attrs, inputs)?),
        "Squeeze" => Some(vec![None; first.rank()?.checked_sub(axes(attrs, inputs)?.len())?]),
        "Gather" => gather(first, inputs.get(1)?),
        "Concat" => concat(inputs),
        "Slice" => slice(first, attrs, inputs),
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => {
            let dims = first.dims.as_ref()?.iter().enumerate();
            Some(dims.map(|(at, &dim)| if at < 2 { dim } else { Some(1) }).collect())
        }
        _ => None,
    }
}

fn gather(data: &Fact, indices: &Fact) -> Option<Dims> {
    let indices = indices.dims.as_ref()?;
    let rank = (data.rank()? + indices.len()).checked_sub(1)?;
    Some(if rank == indices.len() { indices.clone() } else { vec![None; rank] })
}

/// Sizes only where all inputs are single elements: others may stretch.
fn broadcast(inputs: &[Fact]) -> Option<Dims> {
    let ranks: Option<Vec<_>> = inputs.iter().map(Fact::rank).collect();
    let rank = ranks?.into_iter().max()?;
    let size = if inputs.iter().all(Fact::is_single) { Some(1) } else { None };
    Some(vec![size; rank])
}

/// The axes of Squeeze, Unsqueeze and Reduce, from the attribute or the input.
fn axes(attrs: &Attrs, inputs: &[Fact]) -> Option<Vec<i64>> {
    match attrs.ints("axes") {
        Some(axes) => Some(axes.to_vec()),
        None => inputs.get(1)?.data.as_ref().and_then(TensorData::to_i64s),
    }
}

fn reshape(attrs: &Attrs, inputs: &[Fact]) -> Option<Dims> {
    let shape = match (attrs.ints("shape"), inputs.get(1)) {
        (Some(shape), _) => Some(shape.to_vec()),
        (None, Some(shape)) => shape.data.as_ref().and_then(TensorData::to_i64s),
        (None, None) => None,
    };
    match shape {
        Some(shape) => Some(shape.iter().map(|&d| u64::try_from(d).ok().filter(|&d| d > 0)).collect()),
        None => match inputs.get(1)?.dims.as_deref() {
            Some(&[Some(rank)]) if rank <= 64 => Some(vec![None; rank as usize]),
            _ => None,
        },
    }
}

fn unsqueeze(input: &Fact, axes: &[i64]) -> Option<Dims> {
    let dims = input.dims.as_ref()?;
    let rank = dims.len() + axes.len();
    let added: Option<Vec<_>> =
        axes.iter().map(|&a| from_front(a, Some(rank)).ok().and_then(|a| usize::try_from(a).ok())).collect();
    let (added, mut kept) = (added?, dims.iter());
    (0..rank).map(|at| if added.contains(&at) { Some(Some(1)) } else { kept.next().copied() }).collect()
}

fn concat(inputs: &[Fact]) -> Option<Dims> {
    let rank = inputs.iter().find_map(Fact::rank)?;
    if rank != 1 {
        return Some(vec![None; rank]);
    }
    let sizes = inputs.iter().map(|f| f.dims.as_ref()?.first().copied().flatten());
    let total = sizes.sum::<Option<u64>>();
    Some(vec![total])
}

/// The size of a piece of a list, such as a shape; of other tensors the rank.
fn slice(input: &Fact, attrs: &Attrs, inputs: &[Fact]) -> Option<Dims> {
    let ints = |name: &str, slot: usize| match attrs.ints(name) {
        Some(ints) => Some(ints.to_vec()),
        None => inputs.get(slot)?.data.as_ref().and_then(TensorData::to_i64s),
    };
    let dims = input.dims.as_ref()?;
    let size = || {
        let &[Some(size)] = dims.as_slice() else { return None };
        let (&[start], &[end]) = (ints("starts", 1)?.as_slice(), ints("ends", 2)?.as_slice()) else {
            return None;
        };
        let plain = inputs.len() < 5 || ints("steps", 4)?.iter().all(|&s| s == 1);
        let size = i64::try_from(size).ok().filter(|_| plain)?;
        let place = |at: i64| (if at < 0 { at.saturating_add(size) } else { at }).clamp(0, size);
        u64::try_from(place(end).saturating_sub(place(start)).max(0)).ok()
    };
    Some(if dims.len() == 1 { vec![size()] } else { vec![None; dims.len()] })
}

fn reduce(input: &Fact, attrs: &Attrs, inputs: &[Fact]) -> Option<Dims> {
    let given = attrs.get("axes").is_some() || inputs.get(1).is_some_and(|f| *f != Fact::default());
    let axes = if given { axes(attrs, inputs)? } else { Vec::new() };
    let rank = input.rank();
    if attrs.int("keepdims").unwrap_or(1) != 0 {
        return Some(vec![None; rank?]);
    }
    match axes.len() {
        0 if !given && attrs.int("noop_with_empty_axes").unwrap_or(0) == 0 => Some(Vec::new()),
        0 => None,
        n => Some(vec![None; rank?.checked_sub(n)?]),
    }
}
