use super::*;
use crate::engine::tract::Tract;
use crate::engine::verify::{Outcome, VerifyOptions, verify};
use crate::engine::{Bindings, Engine};
use crate::onnx::from_text;

fn open(body: &str) -> Result<Box<dyn Session>, EngineError> {
    let model =
        from_text(&format!("<ir_version: 8, opset_import: [\"\" : 17, \"com.foo\" : 1]>\n{body}")).unwrap();
    Tract.prepare(&model.model, &Bindings::new())
}

fn floats(dims: &[u64], items: &[f32]) -> TensorData {
    TensorData::from_slice(dims, items).unwrap()
}

#[test]
fn a_model_runs_on_whatever_dims_its_inputs_have() {
    let session =
        open("g (float[N,2] x) => (float[N,1] y) <float[2,1] w = {2, -1}> { a = MatMul(x, w)  y = Relu(a) }")
            .unwrap();
    let one = session.run(&[floats(&[1, 2], &[3.0, 1.0])]).unwrap();
    assert_eq!((one[0].dims(), one[0].to_f64s()), (&[1, 1][..], Some(vec![5.0])));
    let two = session.run(&[floats(&[2, 2], &[3.0, 1.0, 1.0, 3.0])]).unwrap();
    assert_eq!((two[0].dims(), two[0].to_f64s()), (&[2, 1][..], Some(vec![5.0, 0.0])));
    assert!(matches!(session.run(&[]), Err(EngineError::Invalid(_))));
}

#[test]
fn everything_that_tract_lacks_is_named_before_the_run() {
    let body = "g (float[2,2] x) => (float y) <bfloat16[1] w = {1}> { a = Det(x)  b = com.foo.Add(a, a)  y = Unique(b) c = Identity(w) }";
    let error = open(body).map(drop).unwrap_err();
    let expected = "tract cannot run this: it lacks Det, Unique, com.foo.Add, element type bfloat16";
    assert_eq!(error.to_string(), expected);
    let body = "g (float[2] x) => (float[2] y) { y = com.foo.Relu(x) }\n\
                <domain: \"com.foo\", opset_import: [\"\" : 17]> Relu (x) => (y) { y = Neg(x) }";
    let error = open(body).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "tract cannot run this: it lacks the model's function com.foo.Relu");
}

#[test]
fn outputs_have_the_types_of_the_standard() {
    let session =
        open("g (float[N,2] x) => (int64[2] s, float[k] z) { s = Shape(x)  z = ConstantOfShape(s) }")
            .unwrap();
    let found = session.run(&[floats(&[3, 2], &[0.0; 6])]).unwrap();
    assert_eq!(found[0].to_vec::<i64>(), Some(vec![3, 2]));
    assert_eq!((found[1].dtype(), found[1].dims()), (DType::Float, &[3, 2][..]));
}

#[test]
fn a_result_of_another_type_than_declared_is_an_error() {
    let session = open("g (float[2] x) => (double[2] y) { y = Neg(x) }").unwrap();
    assert!(session.run(&[floats(&[2], &[1.0, 2.0])]).is_err());
}

#[test]
fn unsigned_integers_are_read_from_the_field_where_the_standard_keeps_them() {
    let body = "g (uint64[2] x, uint32[2] z) => (uint64[2] y, uint32[2] v) <uint64[2] w = {1, 18446744073709551615}, uint32[2] u = {7, 4294967295}> \
                { y = Max(x, w)  v = Max(z, u) }";
    let session = open(body).unwrap();
    let inputs = [TensorData::vector(&[5u64, 5]), TensorData::vector(&[9u32, 9])];
    let found = session.run(&inputs).unwrap();
    assert_eq!(found[0].to_vec::<u64>(), Some(vec![5, u64::MAX]));
    assert_eq!(found[1].to_vec::<u32>(), Some(vec![9, u32::MAX]));
}

#[test]
fn a_small_input_may_decide_about_shapes() {
    let session = open("g (float[N] x, int64[2] shape) => (float[a,b] y) { y = Reshape(x, shape) }").unwrap();
    for dims in [[2i64, 3], [3, 2]] {
        let found = session.run(&[floats(&[6], &[1.0; 6]), TensorData::vector(&dims)]).unwrap();
        assert_eq!(found[0].dims(), dims.map(|d| d as u64));
    }
}

#[test]
fn models_are_verified() {
    let model = |scale: &str| {
        let text = format!(
            "<ir_version: 8, opset_import: [\"\" : 17]> g (float[N,3] x) => (float[N,3] y) <float s = {{{scale}}}> {{ y = Mul(x, s) }}"
        );
        from_text(&text).unwrap().model
    };
    let found = verify(&model("2"), &model("2.000001"), &Tract, &VerifyOptions::default());
    assert_eq!(found.outcome, Outcome::Equal, "{found:?}");
    let found = verify(&model("2"), &model("2.1"), &Tract, &VerifyOptions::default());
    assert!(matches!(found.outcome, Outcome::NotEqual { .. }), "{found:?}");
}
