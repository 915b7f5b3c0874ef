//! Constants of which only the numbers that are not zero are stored.

use crate::prelude::*;

/// The first version of the file format that has sparse initializers.
pub(super) const IR_VERSION: i64 = 6;

/// A constant without its zeros: values, and their places counted through all dims. `None` where that takes no fewer
/// bytes.
pub(super) fn sparse(data: &TensorData) -> Option<SparseTensor> {
    let items = data.to_f64s()?;
    let places: Vec<i64> =
        items.iter().enumerate().filter(|(_, x)| **x != 0.0).map(|(at, _)| at as i64).collect();
    let bytes = places.len() as u64 * (data.dtype().bits() / 8 + 8);
    if bytes >= data.byte_len() {
        return None;
    }
    let kept: Vec<f64> = items.into_iter().filter(|x| *x != 0.0).collect();
    let dims = [places.len() as u64];
    let values = TensorData::from_f64s(data.dtype(), &dims, &kept)?;
    Some(SparseTensor {
        values,
        indices: TensorData::from_slice(&dims, &places).ok()?,
        dims: data.dims().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_zero_has_its_place_and_two_thirds_zeros_do_not_pay() {
        let of = |items: &[f64]| sparse(&TensorData::from_f64s(DType::Float, &[2, 3], items).unwrap());
        assert!(of(&[0.0, 1.0, 0.0, 0.0, 2.0, 0.0]).is_none(), "24 bytes either way");
        let found = of(&[0.0, 0.0, 0.0, 0.0, 2.0, 0.0]).unwrap();
        assert_eq!((found.indices.to_i64s().unwrap(), found.dims), (vec![4], vec![2, 3]));
        assert_eq!(found.values.to_f64s().unwrap(), [2.0]);
    }
}
