//! For tests: calls of kernels on small literal tensors.

use super::eval;
use crate::engine::{EngineError, NodeCall};
use crate::ir::{AttrValue, Attrs, OpName, TensorData};

/// Evaluates one operator; every output is wanted.
pub(super) fn run(
    op: &str,
    attrs: &[(&str, AttrValue)],
    inputs: &[Option<TensorData>],
    outputs: usize,
) -> Result<Vec<TensorData>, EngineError> {
    let attrs = attrs.iter().fold(Attrs::new(), |all, (name, value)| all.with(name, value.clone()));
    let inputs: Vec<_> = inputs.iter().map(Option::as_ref).collect();
    let wanted = vec![true; outputs];
    let op = OpName::onnx(op);
    eval(&NodeCall { op: &op, attrs: &attrs, inputs: &inputs, outputs: &wanted, limit: 1 << 20 })
}

/// A `float` tensor, as an input that is there.
#[allow(clippy::unnecessary_wraps)]
pub(super) fn f32s(dims: &[u64], items: &[f32]) -> Option<TensorData> {
    Some(TensorData::from_slice(dims, items).unwrap())
}

/// An `int64` tensor, as an input that is there.
#[allow(clippy::unnecessary_wraps)]
pub(super) fn i64s(dims: &[u64], items: &[i64]) -> Option<TensorData> {
    Some(TensorData::from_slice(dims, items).unwrap())
}

/// The first output of an operator as dims and numbers.
pub(super) fn first(
    op: &str,
    attrs: &[(&str, AttrValue)],
    inputs: &[Option<TensorData>],
) -> (Vec<u64>, Vec<f64>) {
    let outputs = run(op, attrs, inputs, 1).unwrap_or_else(|e| panic!("{op}: {e}"));
    numbers(&outputs[0])
}

/// The dims and numbers of a tensor.
pub(super) fn numbers(tensor: &TensorData) -> (Vec<u64>, Vec<f64>) {
    let items = tensor.to_f64s().or_else(|| Some(tensor.to_i64s()?.into_iter().map(|x| x as f64).collect()));
    (tensor.dims().to_vec(), items.unwrap())
}

/// Checks that the first output has these dims and, nearly, these numbers.
pub(super) fn check(
    op: &str,
    attrs: &[(&str, AttrValue)],
    inputs: &[Option<TensorData>],
    dims: &[u64],
    want: &[f64],
) {
    let (got_dims, got) = first(op, attrs, inputs);
    assert_eq!(got_dims, dims, "{op} {attrs:?}");
    assert_eq!(got.len(), want.len(), "{op} {attrs:?}");
    for (g, w) in got.iter().zip(want) {
        let near = (g - w).abs() <= 2e-6 * w.abs().max(1.0) || g.to_bits() == w.to_bits();
        assert!(near || (g.is_nan() && w.is_nan()), "{op} {attrs:?}: {got:?}, not {want:?}");
    }
}

/// Checks that a call is refused as wrong.
pub(super) fn refused(op: &str, attrs: &[(&str, AttrValue)], inputs: &[Option<TensorData>]) {
    let answer = run(op, attrs, inputs, 1);
    assert!(matches!(&answer, Err(EngineError::Invalid(_))), "{op} {attrs:?}: {answer:?}");
}
