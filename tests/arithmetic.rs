//! Quantized operators and groups against what onnxruntime gave on x86 CPUs with and without VNNI, as
//! `tools/gen_arithmetic_cases.py` recorded it.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::Path;

use onnxpress::engine::arithmetic::Arithmetic;
use onnxpress::engine::interpret::Interpreter;
use onnxpress::{Bindings, Engine, Model, TensorData, from_text};
use serde_json::Value;

/// A recorded tensor: `[type, dims, elements]`.
fn tensor(recorded: &Value) -> TensorData {
    let dims: Vec<u64> = recorded[1].as_array().unwrap().iter().map(|d| d.as_u64().unwrap()).collect();
    let items: Vec<f64> = recorded[2].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    macro_rules! of {
        ($ty:ty) => {
            TensorData::from_slice(&dims, &items.iter().map(|&x| x as $ty).collect::<Vec<_>>()).unwrap()
        };
    }
    match recorded[0].as_str().unwrap() {
        "float" => of!(f32),
        "uint8" => of!(u8),
        "int8" => of!(i8),
        "uint16" => of!(u16),
        "int16" => of!(i16),
        "int32" => of!(i32),
        other => panic!("element type {other}"),
    }
}

fn tensors(recorded: &Value) -> Vec<TensorData> {
    recorded.as_array().unwrap().iter().map(tensor).collect()
}

fn answer(engine: Interpreter, model: &Model, inputs: &[TensorData]) -> Result<Vec<TensorData>, String> {
    let session = engine.prepare(model, &Bindings::new()).map_err(|e| e.to_string())?;
    session.run(inputs).map_err(|e| e.to_string())
}

/// What is wrong with an answer. `within` is the distance that is allowed; without, every bit counts.
fn difference(found: &TensorData, wanted: &TensorData, within: Option<f64>) -> Option<String> {
    if (found.dtype(), found.dims()) != (wanted.dtype(), wanted.dims()) {
        return Some(format!("{found:?} for {wanted:?}"));
    }
    let numbers = |t: &TensorData| {
        let whole = t.to_i64s().map(|items| items.into_iter().map(|x| x as f64).collect());
        whole.or_else(|| t.to_f64s()).unwrap()
    };
    let (found, wanted): (Vec<f64>, Vec<f64>) = (numbers(found), numbers(wanted));
    let far = |(a, b): &(&f64, &f64)| (*a - *b).abs() > within.unwrap_or(0.0);
    let pairs = || found.iter().zip(&wanted);
    let at = pairs().position(|pair| far(&pair))?;
    let count = pairs().filter(far).count();
    Some(format!("{count} of {} differ: {} for {} at {at}", found.len(), found[at], wanted[at]))
}

/// Runs the cases of a file in an arithmetic; how many the recorded results of the two arithmetics differ in.
fn check(file: &str, arithmetic: Option<Arithmetic>) -> usize {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/arithmetic").join(file);
    let (mut wrong, mut count, mut apart) = (Vec::new(), 0, 0);
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["name"].as_str().unwrap();
        let model = from_text(case["model"].as_str().unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let engine = arithmetic.map_or_else(Interpreter::default, Interpreter::with_arithmetic);
        let recorded = match arithmetic {
            Some(Arithmetic::Avx2Pairs) if !case["avx2"].is_null() => &case["avx2"],
            _ => &case["exact"],
        };
        assert!(!recorded.is_null(), "{name}: nothing is recorded for {arithmetic:?}");
        count += 1;
        apart += usize::from(!case["avx2"].is_null());
        match answer(engine, &model.model, &tensors(&case["inputs"])) {
            Err(error) => wrong.push(format!("{name}: {error}")),
            Ok(found) => {
                let wanted = tensors(recorded);
                assert_eq!(found.len(), wanted.len(), "{name}");
                let within = case["within"].as_f64();
                let pairs = found.iter().zip(&wanted).filter_map(|(a, b)| difference(a, b, within));
                wrong.extend(pairs.map(|what| format!("{name}: {what}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    apart
}

#[test]
fn quantizing_and_dequantizing() {
    for arithmetic in [None, Some(Arithmetic::Exact), Some(Arithmetic::Avx2Pairs)] {
        assert_eq!(check("quantize.jsonl", arithmetic), 0);
    }
}

#[test]
fn operators_on_codes_with_vnni() {
    check("operators.jsonl", Some(Arithmetic::Exact));
}

#[test]
fn operators_on_codes_without_vnni() {
    assert!(check("operators.jsonl", Some(Arithmetic::Avx2Pairs)) > 40);
}

#[test]
fn groups_with_vnni() {
    check("groups.jsonl", Some(Arithmetic::Exact));
}

#[test]
fn groups_without_vnni() {
    assert!(check("groups.jsonl", Some(Arithmetic::Avx2Pairs)) > 40);
}

#[test]
fn operators_between_layers() {
    for arithmetic in [Arithmetic::Exact, Arithmetic::Avx2Pairs] {
        assert_eq!(check("between.jsonl", Some(arithmetic)), 0);
    }
}

#[test]
fn quantized_while_the_model_runs() {
    assert!(check("dynamic.jsonl", Some(Arithmetic::Avx2Pairs)) > 30);
}

#[test]
fn operators_of_onnxruntime_on_codes() {
    assert!(check("qlinear.jsonl", Some(Arithmetic::Avx2Pairs)) > 30);
}
