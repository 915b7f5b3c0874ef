//! Operators that only read or rewrite dims.

use super::Table;
use super::index::count;
use crate::engine::{EngineError, NodeCall};
use crate::ir::TensorData;

pub(super) const TABLE: Table = &[
    ("Flatten", flatten),
    ("Identity", identity),
    ("Reshape", reshape),
    ("Shape", shape),
    ("Size", size),
    ("Squeeze", squeeze),
    ("Unsqueeze", unsqueeze),
];

type Outputs = Result<Vec<TensorData>, EngineError>;

/// The elements of a tensor under other dims.
pub(super) fn redim(call: &NodeCall<'_>, data: &TensorData, dims: &[u64]) -> Result<TensorData, EngineError> {
    call.sized(data.dtype(), dims)?;
    let wrong = || call.invalid(format_args!("{:?} cannot become {dims:?}", data.dims()));
    data.with_dims(dims).ok_or_else(wrong)
}

fn identity(call: &NodeCall<'_>) -> Outputs {
    let data = call.need(0)?;
    Ok(vec![redim(call, data, data.dims())?])
}

fn shape(call: &NodeCall<'_>) -> Outputs {
    let dims = call.need(0)?.dims();
    let rank = dims.len() as i64;
    let clamp = |x: i64| (if x < 0 { x.saturating_add(rank) } else { x }).clamp(0, rank) as usize;
    let start = clamp(call.int_or("start", 0)?);
    let end = clamp(call.int_or("end", rank)?);
    let sizes: Vec<i64> = dims.get(start..end).unwrap_or(&[]).iter().map(|&d| d as i64).collect();
    Ok(vec![TensorData::vector(&sizes)])
}

fn size(call: &NodeCall<'_>) -> Outputs {
    Ok(vec![TensorData::scalar(call.need(0)?.len() as i64)])
}

fn reshape(call: &NodeCall<'_>) -> Outputs {
    let (data, sizes) = (call.need(0)?, call.need_ints(1)?);
    let zero_is_zero = call.flag("allowzero", false)?;
    let mut dims = Vec::with_capacity(sizes.len());
    let mut open = None;
    for (i, &size) in sizes.iter().enumerate() {
        dims.push(match size {
            0 if !zero_is_zero => {
                let none = || call.invalid(format_args!("size {i} is to be copied from {:?}", data.dims()));
                *data.dims().get(i).ok_or_else(none)?
            }
            -1 if open.replace(i).is_some() => return Err(call.invalid("two sizes are -1")),
            -1 => 1,
            _ => u64::try_from(size).map_err(|_| call.invalid(format_args!("{size} is not a size")))?,
        });
    }
    if let Some(open) = open {
        let known =
            count(&dims).filter(|&n| n > 0).ok_or_else(|| call.invalid("the size -1 is not determined"))?;
        dims[open] = (data.len() / known) as u64;
    }
    Ok(vec![redim(call, data, &dims)?])
}

fn flatten(call: &NodeCall<'_>) -> Outputs {
    let data = call.need(0)?;
    let (dims, axis) = (data.dims(), call.int_or("axis", 1)?);
    let axis = if axis == dims.len() as i64 { dims.len() } else { call.axis(axis, dims.len())? };
    let (before, after) = dims.split_at(axis);
    let size = |dims: &[u64]| count(dims).map(|n| n as u64).ok_or_else(|| call.invalid("a size overflows"));
    Ok(vec![redim(call, data, &[size(before)?, size(after)?])?])
}

fn squeeze(call: &NodeCall<'_>) -> Outputs {
    let data = call.need(0)?;
    let dims = data.dims();
    let axes = match call.ints(1)? {
        Some(axes) => call.axes(&axes, dims.len())?,
        None => (0..dims.len()).filter(|&k| dims[k] == 1).collect(),
    };
    if let Some(&k) = axes.iter().find(|&&k| dims[k] != 1) {
        return Err(call.invalid(format_args!("axis {k} of {dims:?} has not the size 1")));
    }
    let kept: Vec<u64> = (0..dims.len()).filter(|k| !axes.contains(k)).map(|k| dims[k]).collect();
    Ok(vec![redim(call, data, &kept)?])
}

fn unsqueeze(call: &NodeCall<'_>) -> Outputs {
    let (data, axes) = (call.need(0)?, call.need_ints(1)?);
    let rank = data.rank() + axes.len();
    let axes = call.axes(&axes, rank)?;
    let mut old = data.dims().iter();
    let new = (0..rank).map(|k| if axes.contains(&k) { Some(1) } else { old.next().copied() });
    let dims: Vec<u64> = new.map(|d| d.unwrap_or(1)).collect();
    Ok(vec![redim(call, data, &dims)?])
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, ints};
    use crate::ir::TensorData;

    fn dims_of(case: &Case) -> Vec<u64> {
        case.one().dims().to_vec()
    }

    #[test]
    fn shape_slices_its_answer() {
        let x = TensorData::from_slice(&[3, 4, 5], &[0f32; 60]).unwrap();
        let shape = |start: i64, end: i64| {
            Case::new("Shape").input(&x).int("start", start).int("end", end).one().to_vec::<i64>().unwrap()
        };
        assert_eq!(Case::new("Shape").input(&x).one(), ints(&[3], &[3, 4, 5]));
        assert_eq!(shape(-1, 3), [5]);
        assert_eq!(shape(1, -1), [4]);
        assert_eq!(shape(-10, 10), [3, 4, 5]);
        assert_eq!(shape(2, 1), [0; 0]);
        assert_eq!(Case::new("Size").input(&x).one(), ints(&[], &[60]));
    }

    #[test]
    fn reshape_copies_and_infers_sizes() {
        let x = ints(&[2, 3, 4], &[7; 24]);
        let to = |sizes: &[i64]| Case::new("Reshape").input(&x).input(&ints(&[sizes.len() as u64], sizes));
        assert_eq!(dims_of(&to(&[4, 2, 3])), [4, 2, 3]);
        assert_eq!(dims_of(&to(&[0, -1])), [2, 12]);
        assert_eq!(dims_of(&to(&[-1])), [24]);
        for bad in [&[-1, -1][..], &[5, -1], &[25], &[-2, 12], &[1, 1, 24, 0]] {
            to(bad).invalid();
        }
        let empty = ints(&[0, 3], &[]);
        let to =
            |sizes: &[i64]| Case::new("Reshape").input(&empty).input(&ints(&[sizes.len() as u64], sizes));
        assert_eq!(dims_of(&to(&[3, 0]).int("allowzero", 1)), [3, 0]);
        to(&[0, -1]).int("allowzero", 1).invalid();
    }

    #[test]
    fn axes_come_and_go() {
        let x = ints(&[1, 3, 1], &[1, 2, 3]);
        assert_eq!(dims_of(&Case::new("Squeeze").input(&x)), [3]);
        assert_eq!(dims_of(&Case::new("Squeeze").input(&x).input(&ints(&[1], &[-1]))), [1, 3]);
        Case::new("Squeeze").input(&x).input(&ints(&[1], &[1])).invalid();
        Case::new("Squeeze").input(&x).input(&ints(&[1], &[3])).invalid();
        let unsqueeze =
            |axes: &[i64]| Case::new("Unsqueeze").input(&x).input(&ints(&[axes.len() as u64], axes));
        assert_eq!(dims_of(&unsqueeze(&[4, 0])), [1, 1, 3, 1, 1]);
        assert_eq!(dims_of(&unsqueeze(&[-2])), [1, 3, 1, 1]);
        unsqueeze(&[0, 0]).invalid();
        unsqueeze(&[i64::MIN]).invalid();
        assert_eq!(dims_of(&Case::new("Flatten").input(&x).int("axis", 3)), [3, 1]);
        assert_eq!(dims_of(&Case::new("Flatten").input(&x).int("axis", -3)), [1, 3]);
        assert_eq!(dims_of(&Case::new("Flatten").input(&x)), [1, 3]);
        Case::new("Flatten").input(&x).int("axis", 4).invalid();
    }
}
