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
        "Slice" if reaches_back_to_the_end(call) => {
            Some("runtimes differ on what the largest end means where the step is negative")
        }
        "Hardmax" | "ReduceMax" | "ReduceMin" | "Sign" if call.input(0).is_some_and(has_nan) => {
            Some("runtimes treat NaN differently")
        }
        "Clip" if clips_infinity(call) => {
            Some("runtimes differ on whether an absent bound holds infinity back")
        }
        "StringSplit"
            if call.input(0)?.string_items().is_some_and(|s| s.iter().any(bytes::Bytes::is_empty)) =>
        {
            Some("runtimes differ on how many parts the empty string has")
        }
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

/// Whether a `Slice` goes backwards from a start to the largest `int32` or `int64`.
fn reaches_back_to_the_end(call: &NodeCall<'_>) -> bool {
    let list = |slot: usize| call.input(slot).and_then(TensorData::to_i64s).unwrap_or_default();
    let largest = |end: i64| end == i64::from(i32::MAX) || end == i64::MAX;
    list(2).into_iter().zip(list(4)).any(|(end, step)| step < 0 && largest(end))
}

fn has_nan(data: &TensorData) -> bool {
    data.to_f64s().is_some_and(|items| items.iter().any(|x| x.is_nan()))
}

/// Whether a `Clip` meets an infinity on a side where it has no bound.
fn clips_infinity(call: &NodeCall<'_>) -> bool {
    let open = |slot: usize, infinity: f64| {
        let items = || call.input(0).and_then(TensorData::to_f64s).unwrap_or_default();
        call.input(slot).is_none() && items().contains(&infinity)
    };
    open(1, f64::NEG_INFINITY) || open(2, f64::INFINITY)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Attrs;

    #[test]
    fn what_runtimes_disagree_on_is_not_folded() {
        let vector = |x: i64| TensorData::vector(&[x]);
        let folds = |end: TensorData, step: i64| {
            let (data, from, axis, step) =
                (TensorData::vector(&[1f32, 2.0]), vector(-1), vector(0), vector(step));
            let inputs = [Some(&data), Some(&from), Some(&end), Some(&axis), Some(&step)];
            let (op, attrs) = (OpName::onnx("Slice"), Attrs::new());
            let call = NodeCall { op: &op, attrs: &attrs, inputs: &inputs, outputs: &[true], limit: 64 };
            evaluate(&call).is_ok()
        };
        for largest in [vector(i64::MAX), vector(i32::MAX.into()), TensorData::vector(&[i32::MAX])] {
            assert!(folds(largest.clone(), 1) && !folds(largest, -1));
        }
        assert!(folds(vector(i64::MIN), -1) && folds(vector(5), -1));
        let clips = |data: TensorData, bounds: [Option<&TensorData>; 2]| {
            let (op, attrs) = (OpName::onnx("Clip"), Attrs::new());
            let inputs = [Some(&data), bounds[0], bounds[1]];
            let call = NodeCall { op: &op, attrs: &attrs, inputs: &inputs, outputs: &[true], limit: 64 };
            evaluate(&call).is_ok()
        };
        let reduces = |x: f32| {
            let (op, attrs, data) = (OpName::onnx("ReduceMax"), Attrs::new(), TensorData::vector(&[1.0, x]));
            let call =
                NodeCall { op: &op, attrs: &attrs, inputs: &[Some(&data)], outputs: &[true], limit: 64 };
            evaluate(&call).is_ok()
        };
        assert!(reduces(f32::INFINITY) && !reduces(f32::NAN));
        let bound = TensorData::scalar(0f32);
        let up = || TensorData::vector(&[1.0, f32::INFINITY]);
        assert!(!clips(up(), [Some(&bound), None]) && clips(up(), [None, Some(&bound)]));
        assert!(clips(TensorData::vector(&[1f32]), [None, None]));
        let text = |s: &'static str| TensorData::strings(&[1], vec![s.into()]).unwrap();
        let splits = |data: TensorData| {
            let (op, attrs) = (OpName::onnx("StringSplit"), Attrs::new());
            let call = NodeCall {
                op: &op,
                attrs: &attrs,
                inputs: &[Some(&data)],
                outputs: &[true, true],
                limit: 64,
            };
            evaluate(&call).is_ok()
        };
        assert!(splits(text("a b")) && !splits(text("")));
    }
}
