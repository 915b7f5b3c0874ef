//! Tensors, to tract and back. What tract has no type for is an error, never another type.

use bytes::Bytes;
use half::f16;
use tract_onnx::prelude::{Datum, DatumType, Tensor};
use tract_onnx::tract_hir::internal::TDim;

use super::{failed, unsupported};
use crate::engine::EngineError;
use crate::ir::{DType, Element, TensorData};

/// tract's type for an element type.
pub(super) fn datum(dtype: DType) -> Result<DatumType, EngineError> {
    Ok(match dtype {
        DType::Bool => bool::datum_type(),
        DType::Uint8 => u8::datum_type(),
        DType::Uint16 => u16::datum_type(),
        DType::Uint32 => u32::datum_type(),
        DType::Uint64 => u64::datum_type(),
        DType::Int8 => i8::datum_type(),
        DType::Int16 => i16::datum_type(),
        DType::Int32 => i32::datum_type(),
        DType::Int64 => i64::datum_type(),
        DType::Float16 => f16::datum_type(),
        DType::Float => f32::datum_type(),
        DType::Double => f64::datum_type(),
        DType::String => String::datum_type(),
        other => return Err(unsupported(format!("element type {other}"))),
    })
}

/// A tensor for tract.
pub(super) fn to_tract(tensor: &TensorData) -> Result<Tensor, EngineError> {
    let shape = tensor.dims().iter().map(|&d| usize::try_from(d)).collect::<Result<Vec<_>, _>>();
    let shape = shape.map_err(|_| failed("a dim exceeds the address space"))?;
    datum(tensor.dtype())?;
    if let Some(items) = tensor.string_items() {
        let items = items.iter().map(|s| String::from_utf8(s.to_vec())).collect::<Result<Vec<_>, _>>();
        let items = items.map_err(|_| unsupported("a string that is not UTF-8"))?;
        let flat = tract_onnx::prelude::tensor1(&items);
        return flat.into_shape(&shape).map_err(|e| failed(&e.to_string()));
    }
    macro_rules! by_type {
        ($($dtype:ident => $ty:ty),*) => {
            match tensor.dtype() {
                $(DType::$dtype => plain::<$ty>(tensor, &shape),)*
                other => Err(unsupported(format!("element type {other}"))),
            }
        };
    }
    by_type!(Bool => bool, Uint8 => u8, Uint16 => u16, Uint32 => u32, Uint64 => u64, Int8 => i8, Int16 => i16,
        Int32 => i32, Int64 => i64, Float16 => f16, Float => f32, Double => f64)
}

fn plain<T: Element + Datum>(tensor: &TensorData, shape: &[usize]) -> Result<Tensor, EngineError> {
    let items: Vec<T> = tensor.to_vec().unwrap_or_default();
    Tensor::from_shape(shape, &items).map_err(|e| failed(&e.to_string()))
}

/// A tensor of tract's. A symbolic dim becomes an `int64`, which is what ONNX has in its place.
pub(super) fn from_tract(tensor: &Tensor) -> Result<TensorData, EngineError> {
    let dims: Vec<u64> = tensor.shape().iter().map(|&d| d as u64).collect();
    let view = tensor.try_as_plain_ram().map_err(|e| failed(&e.to_string()))?;
    let error = |e: &dyn std::fmt::Display| failed(&e.to_string());
    macro_rules! by_type {
        ($($datum:ident => $ty:ty),*) => {
            match tensor.datum_type() {
                $(DatumType::$datum => {
                    let items = view.as_slice::<$ty>().map_err(|e| error(&e))?;
                    TensorData::from_slice(&dims, items).map_err(|e| error(&e))
                })*
                DatumType::TDim => {
                    let items = view.as_slice::<TDim>().map_err(|e| error(&e))?;
                    let items = items.iter().map(TDim::to_i64).collect::<Result<Vec<_>, _>>();
                    TensorData::from_slice(&dims, &items.map_err(|e| error(&e))?).map_err(|e| error(&e))
                }
                DatumType::String => {
                    let items = view.as_slice::<String>().map_err(|e| error(&e))?;
                    let items = items.iter().map(|s| Bytes::from(s.clone().into_bytes())).collect();
                    TensorData::strings(&dims, items).map_err(|e| error(&e))
                }
                other => Err(unsupported(format!("results of tract's own type {other:?}"))),
            }
        };
    }
    by_type!(Bool => bool, U8 => u8, U16 => u16, U32 => u32, U64 => u64, I8 => i8, I16 => i16, I32 => i32,
        I64 => i64, F16 => f16, F32 => f32, F64 => f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_tract_has_goes_there_and_back() {
        for &dtype in DType::ALL {
            let tensor = if dtype == DType::String {
                TensorData::strings(&[2, 1], vec!["a".into(), "é".into()]).unwrap()
            } else {
                let bytes = vec![1; dtype.byte_len(2).unwrap() as usize];
                TensorData::new(dtype, &[2, 1], bytes).unwrap()
            };
            match to_tract(&tensor) {
                Ok(there) => assert!(from_tract(&there).unwrap().same_data(&tensor), "{dtype}"),
                Err(error) => {
                    assert!(matches!(error, EngineError::Unsupported { .. }), "{dtype}: {error}");
                    assert!(datum(dtype).is_err(), "{dtype}");
                }
            }
        }
        let empty = TensorData::new(DType::Float, &[0, 3], vec![]).unwrap();
        assert!(from_tract(&to_tract(&empty).unwrap()).unwrap().same_data(&empty));
        let scalar = TensorData::scalar(3i64);
        assert!(from_tract(&to_tract(&scalar).unwrap()).unwrap().same_data(&scalar));
    }

    #[test]
    fn a_symbolic_dim_is_an_int64() {
        let dims = tract_onnx::prelude::tensor1(&[TDim::from(3), TDim::from(-1)]);
        assert_eq!(from_tract(&dims).unwrap().to_vec::<i64>(), Some(vec![3, -1]));
    }
}
