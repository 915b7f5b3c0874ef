//! Evaluating one node for constant folding: our own kernels, and the engine that is compiled in for what they lack.

use super::{EngineError, NodeCall, kernels};
use crate::ir::{OpName, TensorData};

/// Whether some engine may evaluate this operator on constants. (What tract is trusted with, the kernels have too, in
/// other forms.)
pub fn covers(op: &OpName) -> bool {
    kernels::covers(op)
}

/// Calls whose result runtimes do not agree on beyond rounding: folding would pick a side. Each with the disagreement.
fn disputed(call: &NodeCall<'_>) -> Option<&'static str> {
    let is = |attr: &str, values: &[&str]| call.attrs.str(attr).is_some_and(|v| values.contains(&v));
    match &*call.op.name {
        "DFT" | "STFT" => Some("onnxruntime's own sums are off by more than rounding where they cancel"),
        "MaxUnpool" if call.input(2).is_some() => {
            Some("onnxruntime reads the indices as those of another shape")
        }
        "Resize"
            if call.input(2).is_some()
                && is("coordinate_transformation_mode", &["align_corners", "tf_crop_and_resize"]) =>
        {
            Some("onnxruntime and the standard's text take different lengths of the input")
        }
        "GridSample" if is("mode", &["cubic"]) && is("padding_mode", &["border"]) => {
            Some("runtimes clamp the neighbours of a border differently")
        }
        "LSTM" | "GRU" | "RNN" if call.attrs.get("clip").is_some() => {
            Some("runtimes clip at different places")
        }
        "Attention" if call.outputs.get(3) == Some(&true) => {
            Some("onnxruntime and the reference disagree on what the scores hold beside a mask")
        }
        _ => None,
    }
}

/// Evaluates one node on constants.
///
/// # Errors
/// Where no engine has the operator for these types, or the node is wrong.
pub fn evaluate(call: &NodeCall<'_>) -> Result<Vec<TensorData>, EngineError> {
    if let Some(why) = disputed(call) {
        return Err(EngineError::Unsupported { engine: "folding", what: why.to_owned() });
    }
    if let Some(later) = deferred(call) {
        return Ok(vec![later]);
    }
    match kernels::eval(call) {
        #[cfg(feature = "tract")]
        Err(unsupported @ EngineError::Unsupported { .. }) => {
            super::tract::eval(call).map_err(|_| unsupported)
        }
        answer => answer,
    }
}

/// From this size on, in bytes, a transposed weight is computed when it is written.
const DEFER: u64 = 64 << 10;

/// The result of a large `Transpose`, to be computed when it is written: it has the size of its input, and weights are
/// most of a model.
fn deferred(call: &NodeCall<'_>) -> Option<TensorData> {
    let data = call
        .input(0)
        .filter(|d| call.op.is("Transpose") && DEFER <= d.byte_len() && d.byte_len() <= call.limit)?;
    let rank = data.rank() as i64;
    let perm = call.attrs.ints("perm").map_or_else(|| (0..rank).rev().collect(), <[i64]>::to_vec);
    let mut seen = perm.clone();
    seen.sort_unstable();
    if seen != (0..rank).collect::<Vec<_>>() {
        return None;
    }
    let dims: Vec<u64> = perm.iter().map(|&axis| data.dims()[axis as usize]).collect();
    let what = "Transpose".bytes().map(u64::from).chain(perm.iter().map(|&axis| axis as u64)).collect();
    let (op, attrs) = (call.op.clone(), call.attrs.clone());
    let compute = move |data: &TensorData| {
        let inputs = [Some(data)];
        let call = NodeCall { op: &op, attrs: &attrs, inputs: &inputs, outputs: &[true], limit: u64::MAX };
        kernels::eval(&call).ok()?.first()?.bytes().cloned()
    };
    TensorData::deferred(data.dtype(), &dims, data, what, compute).ok()
}
