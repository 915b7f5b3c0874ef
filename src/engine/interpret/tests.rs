//! Control flow, functions and sequences, each against answers worked out by hand.

use super::*;
use crate::onnx::from_text;

fn run(text: &str, inputs: &[TensorData]) -> Result<Vec<TensorData>, EngineError> {
    let loaded = from_text(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    loaded.model.check().unwrap_or_else(|e| panic!("{e}\n{text}"));
    Interpreter::default().prepare(&loaded.model, &Bindings::new())?.run(inputs)
}

fn model(body: &str) -> String {
    format!("<ir_version: 10, opset_import: [\"\" : 28, \"f\" : 1]>\n{body}")
}

fn floats(data: &TensorData) -> Vec<f32> {
    data.to_vec::<f32>().unwrap()
}

fn x(items: &[f32]) -> TensorData {
    TensorData::vector(items)
}

#[test]
fn a_loop_carries_values_and_stacks_its_scan_outputs() {
    let text = model(
        "g (float[2] x, int64 n) => (float[2] last, float[k,2] all) {
           yes = Constant <value = bool {1}> ()
           last, all = Loop <body = b (int64 i, bool go, float[2] s) => (bool go2, float[2] t, float[2] u) {
             f = Cast <to = 1> (i)
             t0 = Add (s, x)
             t = Add (t0, f)
             limit = Constant <value = int64 {2}> ()
             go2 = Less (i, limit)
             u = Identity (s)
           }> (n, yes, x)
         }",
    );
    // Rounds 0, 1 and 2; the condition ends it after round 2 though n is 5.
    let out = run(&text, &[x(&[1.0, 10.0]), TensorData::scalar(5i64)]).unwrap();
    assert_eq!(floats(&out[0]), [1.0 + 3.0 + 3.0, 10.0 + 30.0 + 3.0]);
    assert_eq!(out[1].dims(), [3, 2]);
    assert_eq!(floats(&out[1]), [1.0, 10.0, 2.0, 20.0, 4.0, 31.0]);
    let none = run(&text, &[x(&[1.0, 10.0]), TensorData::scalar(0i64)]).unwrap();
    assert_eq!((floats(&none[0]), none[1].dims()), (vec![1.0, 10.0], &[0u64, 2][..]));
}

#[test]
fn a_scan_runs_backwards_and_along_other_axes() {
    let text = model(
        "g (float[2,3] x) => (float[2] last, float[2,3] y) {
           zero = Constant <value = float[2] {0, 0}> ()
           last, y = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1],
               scan_output_axes = [-1], scan_output_directions = [1],
               body = b (float[2] s, float[2] e) => (float[2] t, float[2] u) { t = Add (s, e)
                 u = Identity (t) }> (zero, x)
         }",
    );
    let input = TensorData::from_slice(&[2, 3], &[1f32, 2.0, 3.0, 10.0, 20.0, 30.0]).unwrap();
    let out = run(&text, &[input]).unwrap();
    assert_eq!(floats(&out[0]), [6.0, 60.0]);
    // Sums from the back, each at the place of its last term.
    assert_eq!((out[1].dims(), floats(&out[1])), (&[2u64, 3][..], vec![6.0, 5.0, 3.0, 60.0, 50.0, 30.0]));
}

#[test]
fn bodies_capture_through_two_levels() {
    let text = model(
        "g (float[2] x, bool a, bool b) => (float[2] y) {
           h = Neg (x)
           y = If (a) <then_branch = t () => (float[2] p) {
             k = Add (h, h)
             p = If (b) <then_branch = tt () => (float[2] q) { q = Add (k, x) },
                         else_branch = te () => (float[2] r) { r = Identity (h) }>
           }, else_branch = e () => (float[2] s) { s = Identity (x) }>
         }",
    );
    let on = |a: bool, b: bool| {
        let out = run(&text, &[x(&[1.0, 2.0]), TensorData::scalar(a), TensorData::scalar(b)]).unwrap();
        floats(&out[0])
    };
    assert_eq!(on(true, true), [-1.0, -2.0]);
    assert_eq!(on(true, false), [-1.0, -2.0].map(|v: f32| v));
    assert_eq!(on(false, true), [1.0, 2.0]);
}

#[test]
fn functions_read_the_attributes_of_the_call_and_their_defaults() {
    let text = model(
        "g (float[2] x) => (float[2] y, float[2] z) {
           y = f.scaled <by = 3.0> (x)
           z = f.scaled (x, x)
         }
         <domain: \"f\", opset_import: [\"\" : 28]>
         scaled <by: float = 2.0> (a, b) => (c) {
           k = Constant <value_float: float = @by> ()
           m = Mul (a, k)
           c = Sum (m)
         }",
    );
    let out = run(&text, &[x(&[1.0, 2.0])]).unwrap();
    assert_eq!((floats(&out[0]), floats(&out[1])), (vec![3.0, 6.0], vec![2.0, 4.0]));
}

#[test]
fn sequences_are_built_and_taken_apart() {
    let text = model(
        "g (float[4] x) => (float[4] y, int64 n, float[3] z) {
           two = Constant <value = int64 {2}> ()
           neg = Constant <value = int64 {-1}> ()
           parts = SplitToSequence (x, two)
           n = SequenceLength (parts)
           tail = SequenceAt (parts, neg)
           more = SequenceInsert (parts, tail)
           fewer = SequenceErase (more, neg)
           y = ConcatFromSequence <axis = 0> (fewer)
           ones = SplitToSequence <keepdims = 0> (x)
           some = SequenceErase (ones)
           z = ConcatFromSequence <axis = 0, new_axis = 1> (some)
         }",
    );
    let out = run(&text, &[x(&[1.0, 2.0, 3.0, 4.0])]).unwrap();
    assert_eq!(floats(&out[0]), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(out[1].to_i64(), Some(2));
    assert_eq!(floats(&out[2]), [1.0, 2.0, 3.0]);
}

#[test]
fn inputs_must_have_the_declared_type_and_equal_symbols_equal_sizes() {
    let text = model("g (float[n] a, float[n] b) => (float[n] y) { y = Add (a, b) }");
    assert!(run(&text, &[x(&[1.0]), x(&[2.0])]).is_ok());
    assert!(run(&text, &[x(&[1.0]), x(&[2.0, 3.0])]).is_err());
    assert!(run(&text, &[x(&[1.0]), TensorData::vector(&[1i64])]).is_err());
    assert!(run(&text, &[x(&[1.0])]).is_err());
}

#[test]
fn what_it_lacks_is_named() {
    let text = model("g (float[2] x) => (float[2] y) { y = RandomNormalLike (x) }");
    let error = run(&text, &[x(&[1.0, 2.0])]).unwrap_err();
    assert!(
        matches!(&error, EngineError::Unsupported { what, .. } if what.contains("RandomNormalLike")),
        "{error}"
    );
    let foreign = model("g (float[2] x) => (float[2] y) { y = f.Add (x, x) }");
    assert!(matches!(run(&foreign, &[x(&[1.0, 2.0])]), Err(EngineError::Unsupported { .. })));
}

#[test]
fn loops_without_end_and_calls_without_end_are_refused() {
    let text = model(
        "g (float[1] x) => (float[1] y) {
           yes = Constant <value = bool {1}> ()
           y = f.again (x)
         }
         <domain: \"f\", opset_import: [\"\" : 28, \"f\" : 1]>
         again (a) => (b) { b = f.again (a) }",
    );
    assert!(matches!(run(&text, &[x(&[1.0])]), Err(EngineError::Unsupported { .. })));
}
