use super::*;
use crate::ir::{Attrs, DType, OpName};

fn run(op: &str, attrs: &Attrs, inputs: &[&TensorData], any: bool) -> Result<Vec<TensorData>, EngineError> {
    let op = OpName::onnx(op);
    let inputs: Vec<_> = inputs.iter().map(|&t| Some(t)).collect();
    let call = NodeCall { op: &op, attrs, inputs: &inputs, outputs: &[true], limit: 1 << 20 };
    if any { eval_any(&call) } else { eval(&call) }
}

#[test]
fn an_allowed_operator_is_evaluated() {
    let size = TensorData::scalar(4i64);
    let window = &run("HannWindow", &Attrs::new().with("periodic", 1i64), &[&size], false).unwrap()[0];
    assert_eq!((window.dtype(), window.dims()), (DType::Float, &[4][..]));
    let items = window.to_f64s().unwrap();
    [0.0, 0.5, 1.0, 0.5].iter().zip(&items).for_each(|(a, b)| assert!((a - b).abs() < 1e-6, "{items:?}"));
}

#[test]
fn what_is_not_known_to_be_right_is_not_evaluated() {
    let x = TensorData::vector(&[1f32]);
    let says = |op: &str, attrs: Attrs, inputs: &[&TensorData], text: &str| {
        let error = run(op, &attrs, inputs, false).unwrap_err();
        assert!(matches!(error, EngineError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(text), "{error}");
    };
    says("Add", Attrs::new(), &[&x, &x], "operator Add on constants");
    says("DFT", Attrs::new(), &[&x, &TensorData::scalar(4i64)], "DFT with a dft_length");
    says("LSTM", Attrs::new().with("direction", "reverse"), &[&x], "the direction reverse");
    says("HannWindow", Attrs::new().with("output_datatype", 11i64), &[&x], "another type");
    says("NonMaxSuppression", Attrs::new(), &[&x, &x], "no max_output_boxes_per_class");
    let op = OpName::new("com.foo", "HannWindow");
    let size = TensorData::scalar(4i64);
    let inputs = [Some(&size)];
    let call = NodeCall { op: &op, attrs: &Attrs::new(), inputs: &inputs, outputs: &[true], limit: 1 << 20 };
    assert!(matches!(eval(&call), Err(EngineError::Unsupported { .. })));
}

#[test]
fn tracts_own_types_errors_and_panics_stay_inside() {
    let x = TensorData::from_slice(&[2, 3], &[0f32; 6]).unwrap();
    let shape = &run("Shape", &Attrs::new(), &[&x], true).unwrap()[0];
    assert_eq!(shape.to_vec::<i64>(), Some(vec![2, 3]));
    let (index, depth) = (TensorData::vector(&[99i64]), TensorData::scalar(3i64));
    let values = TensorData::vector(&[0f32, 1.0]);
    let panicked = run("OneHot", &Attrs::new(), &[&index, &depth, &values], true).unwrap_err();
    assert!(matches!(panicked, EngineError::Failed { .. }), "{panicked}");
    let half = TensorData::new(DType::Bfloat16, &[1], vec![0, 0]).unwrap();
    assert!(matches!(run("Abs", &Attrs::new(), &[&half], true), Err(EngineError::Unsupported { .. })));
    let long = TensorData::vector(&[1i64 << 20]);
    let large = run("ConstantOfShape", &Attrs::new(), &[&long], true).unwrap_err();
    assert!(matches!(large, EngineError::TooLarge { .. }), "{large}");
}
