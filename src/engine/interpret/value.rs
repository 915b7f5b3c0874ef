//! What a value holds while a model runs.

use crate::engine::EngineError;
use crate::engine::kernels::count;
use crate::ir::{DType, SparseTensor, TensorData};

use super::unsupported;

/// What a value holds while a model runs.
#[derive(Debug, Clone)]
pub(super) enum Runtime {
    Tensor(TensorData),
    Sequence(Vec<Runtime>),
    Optional(Option<Box<Runtime>>),
}

impl Runtime {
    pub(super) fn tensor(&self) -> Result<&TensorData, EngineError> {
        match self {
            Self::Tensor(data) => Ok(data),
            Self::Sequence(_) => {
                Err(EngineError::Invalid("a sequence stands where a tensor is needed".to_owned()))
            }
            Self::Optional(_) => {
                Err(EngineError::Invalid("an optional stands where a tensor is needed".to_owned()))
            }
        }
    }

    pub(super) fn into_tensor(self) -> Result<TensorData, EngineError> {
        self.tensor()?;
        match self {
            Self::Tensor(data) => Ok(data),
            _ => Err(EngineError::Invalid("a tensor is needed".to_owned())),
        }
    }

    pub(super) fn items(&self) -> Result<&[Runtime], EngineError> {
        match self {
            Self::Sequence(items) => Ok(items),
            Self::Optional(Some(inner)) => inner.items(),
            _ => Err(EngineError::Invalid("a sequence is needed".to_owned())),
        }
    }

    /// The one integer or boolean of a tensor.
    pub(super) fn int(&self) -> Result<i64, EngineError> {
        let wrong = || EngineError::Invalid("a tensor of one integer or boolean is needed".to_owned());
        self.tensor()?.to_i64().ok_or_else(wrong)
    }
}

/// A sparse tensor as a dense one.
pub(super) fn dense(sparse: &SparseTensor, limit: u64) -> Result<TensorData, EngineError> {
    let (values, dims) = (&sparse.values, &sparse.dims);
    let dtype = values.dtype();
    if dtype == DType::String || dtype.bits() < 8 {
        return Err(unsupported(format!("a sparse tensor of {dtype}")));
    }
    let wrong = || EngineError::Invalid("the indices of a sparse tensor do not fit its dims".to_owned());
    let total = count(dims).ok_or_else(wrong)?;
    let bytes = dtype.byte_len(total as u64).unwrap_or(u64::MAX);
    if bytes > limit {
        return Err(EngineError::TooLarge { bytes, limit });
    }
    let width = (dtype.bits() / 8) as usize;
    let mut out = vec![0u8; total * width];
    let indices = sparse.indices.to_i64s().ok_or_else(wrong)?;
    let tuple = if sparse.indices.rank() == 2 { dims.len() } else { 1 };
    let items = values.bytes().ok_or_else(wrong)?.chunks_exact(width);
    if tuple == 0 || indices.len() != items.len() * tuple {
        return Err(wrong());
    }
    for (place, item) in indices.chunks_exact(tuple).zip(items) {
        let at = if tuple == dims.len() && sparse.indices.rank() == 2 {
            (place.iter().zip(dims)).try_fold(0usize, |at, (&i, &dim)| {
                let i = usize::try_from(i).ok().filter(|&i| (i as u64) < dim)?;
                at.checked_mul(dim as usize)?.checked_add(i)
            })
        } else {
            place.first().and_then(|&i| usize::try_from(i).ok())
        };
        let start = at.filter(|&at| at < total).ok_or_else(wrong)? * width;
        out.get_mut(start..start + width).ok_or_else(wrong)?.copy_from_slice(item);
    }
    TensorData::new(dtype, dims, out).map_err(|e| EngineError::Invalid(e.to_string()))
}
