//! Quantizing a tensor on the range of what it holds.

use super::Outputs;
use crate::engine::NodeCall;
use crate::ir::{DType, TensorData};

/// `DynamicQuantizeLinear`; of nothing but zeros, where the standard divides by zero, the scale is 1.
pub(super) fn dynamic_quantize(call: &NodeCall<'_>) -> Outputs {
    let x = call.need(0)?;
    let items: Vec<f32> = x.to_vec().ok_or_else(|| call.no_type(x.dtype()))?;
    if items.iter().any(|&x| x != 0.0) {
        return super::super::eval(call);
    }
    call.sized(DType::Uint8, x.dims())?;
    let codes = TensorData::new(DType::Uint8, x.dims(), vec![0; items.len()]);
    Ok(vec![codes.map_err(|e| call.invalid(e))?, TensorData::scalar(1f32), TensorData::scalar(0u8)])
}
