//! Elements as numbers to compute with: `f64` for every floating-point type, `i128` for every integer type.

use super::index::{Offsets, broadcast};
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

/// The elements of a tensor, widened without loss.
#[derive(Debug, Clone)]
pub(crate) enum Numbers {
    /// Of a floating-point type.
    Real(Vec<f64>),
    /// Of an integer type.
    Whole(Vec<i128>),
}

/// Whether kernels compute with this type in `f64`.
pub(crate) fn is_real(dtype: DType) -> bool {
    matches!(dtype, DType::Float | DType::Double | DType::Float16 | DType::Bfloat16)
}

/// Whether this is an integer type of whole bytes.
pub(crate) fn is_whole(dtype: DType) -> bool {
    use DType::{Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64};
    matches!(dtype, Int8 | Int16 | Int32 | Int64 | Uint8 | Uint16 | Uint32 | Uint64)
}

/// The smallest and the largest number of an integer type of whole bytes.
pub(crate) fn bounds(dtype: DType) -> (i128, i128) {
    use DType::{Uint8, Uint16, Uint32, Uint64};
    let bits = dtype.bits().min(64) as u32;
    if matches!(dtype, Uint8 | Uint16 | Uint32 | Uint64) {
        (0, (1i128 << bits) - 1)
    } else {
        (-(1i128 << (bits.max(1) - 1)), (1i128 << (bits.max(1) - 1)) - 1)
    }
}

impl NodeCall<'_> {
    /// The elements of a tensor of any numeric type.
    pub(crate) fn numbers(&self, tensor: &TensorData) -> Result<Numbers, EngineError> {
        if is_real(tensor.dtype()) {
            self.reals(tensor).map(Numbers::Real)
        } else {
            self.wholes(tensor).map(Numbers::Whole)
        }
    }

    /// The elements of a floating-point tensor.
    pub(crate) fn reals(&self, tensor: &TensorData) -> Result<Vec<f64>, EngineError> {
        tensor.to_f64s().ok_or_else(|| self.no_type(tensor.dtype()))
    }

    /// The elements of an integer tensor.
    pub(crate) fn wholes(&self, tensor: &TensorData) -> Result<Vec<i128>, EngineError> {
        let items = match tensor.dtype() {
            DType::Uint64 => tensor.to_vec::<u64>().map(|v| v.into_iter().map(i128::from).collect()),
            dtype if is_whole(dtype) => tensor.to_i64s().map(|v| v.into_iter().map(i128::from).collect()),
            _ => None,
        };
        items.ok_or_else(|| self.no_type(tensor.dtype()))
    }

    /// The elements of an integer tensor, reduced to 64 bits: exact for sums and products that wrap.
    pub(crate) fn wrapped(&self, tensor: &TensorData) -> Result<Vec<i64>, EngineError> {
        let items = match tensor.dtype() {
            DType::Uint64 => tensor.to_vec::<u64>().map(|v| v.into_iter().map(|x| x as i64).collect()),
            dtype if is_whole(dtype) => tensor.to_i64s(),
            _ => None,
        };
        items.ok_or_else(|| self.no_type(tensor.dtype()))
    }

    /// The elements of a boolean tensor.
    pub(crate) fn bools(&self, tensor: &TensorData) -> Result<Vec<bool>, EngineError> {
        tensor.to_vec::<bool>().ok_or_else(|| self.no_type(tensor.dtype()))
    }

    /// The floating-point elements of an input, with its dims.
    pub(crate) fn real_input(&self, slot: usize) -> Result<(Vec<f64>, &[u64]), EngineError> {
        let tensor = self.need(slot)?;
        Ok((self.reals(tensor)?, tensor.dims()))
    }

    /// The elements of an optional floating-point input.
    pub(crate) fn real_option(&self, slot: usize) -> Result<Option<Vec<f64>>, EngineError> {
        self.input(slot).map(|t| self.reals(t)).transpose()
    }

    /// The single number of an optional input of any numeric type.
    pub(crate) fn scalar(&self, slot: usize) -> Result<Option<f64>, EngineError> {
        let Some(tensor) = self.input(slot) else { return Ok(None) };
        let first = match self.numbers(tensor)? {
            Numbers::Real(items) => items.first().copied(),
            Numbers::Whole(items) => items.first().map(|&x| x as f64),
        };
        match first {
            Some(x) if tensor.len() == 1 => Ok(Some(x)),
            _ => Err(self.invalid(format_args!("input {slot} must hold one number, not {}", tensor.len()))),
        }
    }

    /// A floating-point tensor, each element rounded once.
    pub(crate) fn real_tensor(
        &self,
        dtype: DType,
        dims: &[u64],
        items: &[f64],
    ) -> Result<TensorData, EngineError> {
        self.sized(dtype, dims)?;
        TensorData::from_f64s(dtype, dims, items).ok_or_else(|| self.no_type(dtype))
    }

    /// An integer tensor, each element reduced to the bits of its type.
    pub(crate) fn whole_tensor(
        &self,
        dtype: DType,
        dims: &[u64],
        items: impl IntoIterator<Item = i128>,
    ) -> Result<TensorData, EngineError> {
        let len = self.sized(dtype, dims)?;
        let width = (dtype.bits() / 8) as usize;
        if !is_whole(dtype) {
            return Err(self.no_type(dtype));
        }
        let mut bytes = Vec::with_capacity(len * width);
        for x in items {
            bytes.extend_from_slice(x.to_le_bytes().get(..width).unwrap_or(&[]));
        }
        TensorData::new(dtype, dims, bytes).map_err(|e| self.invalid(e))
    }

    /// A tensor of any numeric type.
    pub(crate) fn number_tensor(
        &self,
        dtype: DType,
        dims: &[u64],
        items: Numbers,
    ) -> Result<TensorData, EngineError> {
        match items {
            Numbers::Real(items) => self.real_tensor(dtype, dims, &items),
            Numbers::Whole(items) => self.whole_tensor(dtype, dims, items),
        }
    }

    /// A boolean tensor.
    pub(crate) fn bool_tensor(&self, dims: &[u64], items: &[bool]) -> Result<TensorData, EngineError> {
        self.sized(DType::Bool, dims)?;
        TensorData::from_slice(dims, items).map_err(|e| self.invalid(e))
    }

    /// The dims that inputs broadcast to.
    pub(crate) fn broadcast_dims(&self, shapes: &[&[u64]]) -> Result<Vec<u64>, EngineError> {
        broadcast(shapes).ok_or_else(|| self.invalid(format_args!("{shapes:?} do not broadcast")))
    }
}

/// Some elements with their dims.
pub(crate) type Shaped<'a, T> = (&'a [T], &'a [u64]);

/// Combines two tensors, element by element, each broadcast to `out`.
pub(crate) fn zip<T: Clone, U>(
    (a, a_dims): Shaped<'_, T>,
    (b, b_dims): Shaped<'_, T>,
    out: &[u64],
    f: impl Fn(T, T) -> U,
) -> Vec<U> {
    if a_dims == b_dims {
        return a.iter().zip(b).map(|(x, y)| f(x.clone(), y.clone())).collect();
    }
    match (a, b) {
        (_, [y]) if a_dims == out => return a.iter().map(|x| f(x.clone(), y.clone())).collect(),
        ([x], _) if b_dims == out => return b.iter().map(|y| f(x.clone(), y.clone())).collect(),
        _ => {}
    }
    let (Some(at), Some(bt)) = (Offsets::broadcast(a_dims, out), Offsets::broadcast(b_dims, out)) else {
        return Vec::new();
    };
    at.zip(bt).filter_map(|(i, j)| Some(f(a.get(i)?.clone(), b.get(j)?.clone()))).collect()
}

/// The elements of a tensor broadcast to `out`.
pub(crate) fn spread<T: Clone>(items: Vec<T>, dims: &[u64], out: &[u64]) -> Vec<T> {
    if dims == out {
        return items;
    }
    let Some(offsets) = Offsets::broadcast(dims, out) else { return Vec::new() };
    offsets.filter_map(|i| items.get(i).cloned()).collect()
}
