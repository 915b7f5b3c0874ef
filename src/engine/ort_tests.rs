use super::*;
use crate::engine::verify::{Outcome, VerifyOptions, verify};
use crate::onnx::from_text;

/// The engine, from the library (or its folder) that `ONNXPRESS_TEST_ORT` names.
fn engine() -> Option<Ort> {
    let path = std::env::var_os("ONNXPRESS_TEST_ORT");
    if path.is_none() {
        println!("skipped: ONNXPRESS_TEST_ORT names no onnxruntime library");
    }
    path.map(|path| Ort::load(Some(Path::new(&path))).unwrap())
}

fn model(body: &str) -> Model {
    from_text(&format!("<ir_version: 8, opset_import: [\"\" : 17]>\n{body}")).unwrap().model
}

#[test]
fn a_missing_library_is_an_error_that_says_how_to_get_one() {
    let missing = start(Some(Path::new("no/such/library.so"))).map(drop).unwrap_err().to_string();
    assert!(
        missing.contains("no library at no/such/library.so") && missing.contains("pip install onnxruntime")
    );
    let folder = tempfile::tempdir().unwrap();
    let empty = start(Some(folder.path())).map(drop).unwrap_err().to_string();
    assert!(empty.contains("pip install onnxruntime"), "{empty}");
}

#[test]
fn every_type_that_the_crate_carries_goes_through() {
    let Some(engine) = engine() else { return };
    let mut carried = 0;
    for &dtype in DType::ALL {
        let tensor = match dtype {
            DType::String => TensorData::strings(&[2], vec!["a".into(), "é".into()]).unwrap(),
            _ => TensorData::new(dtype, &[2], vec![1; dtype.byte_len(2).unwrap() as usize]).unwrap(),
        };
        let Ok(there) = to_ort(&tensor) else { continue };
        assert!(from_ort(&there).unwrap().same_data(&tensor), "{dtype}");
        let model = model(&format!("g ({dtype}[N] x) => ({dtype}[N] y) {{ y = Identity(x) }}"));
        let session = engine.prepare(&model, &Bindings::new()).unwrap();
        assert!(session.run(std::slice::from_ref(&tensor)).unwrap()[0].same_data(&tensor), "{dtype}");
        carried += 1;
    }
    assert_eq!(carried, 14);
    let empty = TensorData::new(DType::Float, &[0, 3], vec![]).unwrap();
    assert!(from_ort(&to_ort(&empty).unwrap()).unwrap().same_data(&empty));
}

#[test]
fn what_onnxruntime_lacks_is_unsupported_and_bad_inputs_are_errors() {
    let Some(engine) = engine() else { return };
    let lacks = model("g (float[2] x) => (float[2] y) { y = NoSuchOperator(x) }");
    let error = engine.prepare(&lacks, &Bindings::new()).map(drop).unwrap_err();
    assert!(matches!(error, EngineError::Unsupported { .. }), "{error}");
    let session =
        engine.prepare(&model("g (float[2] x) => (float[2] y) { y = Neg(x) }"), &Bindings::new()).unwrap();
    assert!(matches!(session.run(&[]), Err(EngineError::Invalid(_))));
    let wide = session.run(&[TensorData::vector(&[1f32; 3])]).unwrap_err();
    assert!(matches!(wide, EngineError::Failed { .. }), "{wide}");
}

#[test]
fn models_are_verified_and_random_ones_are_not() {
    let Some(engine) = engine() else { return };
    let engine = engine.with_threads(2);
    let scaled = |s: &str| {
        model(&format!("g (float[N,3] x) => (float[N,3] y) <float s = {{{s}}}> {{ y = Mul(x, s) }}"))
    };
    let judge = |a: &Model, b: &Model| verify(a, b, &engine, &VerifyOptions::default()).outcome;
    assert_eq!(judge(&scaled("2"), &scaled("2.000001")), Outcome::Equal);
    assert!(matches!(judge(&scaled("2"), &scaled("2.1")), Outcome::NotEqual { .. }));
    let random = model("g (float[2] x) => (float[2] y) { r = RandomNormalLike(x)  y = Add(x, r) }");
    let plain = model("g (float[2] x) => (float[2] y) { y = Identity(x) }");
    assert!(matches!(judge(&random, &plain), Outcome::CouldNotRun { .. }));
}
