//! Verification on the command line, and the exit codes that it decides.

use std::fs::File;
use std::path::Path;

use npyz::WriterBuilder;
use npyz::npz::NpzWriter;

use crate::stage::{FOREIGN, Stage};

/// The integer part of 0.01 times 100 times `x`, with a rounding on the way: without that rounding some integer parts are others.
const STEPS: &str = r#"
<ir_version: 8, opset_import: ["": 17]>
g (float[1000, 1, 1, 1] x) => (int32[1000, 1, 1, 1] y)
<float[1, 1, 1, 1] w = {0.01}, float[1] scale = {100}, float[1] zero = {0}, float[1] one = {1}>
{
  c = Conv (x, w)
  n = BatchNormalization <epsilon = 0.0> (c, scale, zero, zero, one)
  y = Cast <to = 6> (n)
}"#;

/// Writes arrays of `float32` to an `.npz` file.
fn npz(path: &Path, name: &str, shape: &[u64], items: &[f32]) {
    let mut file = NpzWriter::new(File::create(path).unwrap());
    let mut array =
        file.array(name, Default::default()).unwrap().default_dtype().shape(shape).begin_nd().unwrap();
    array.extend(items.iter().copied()).unwrap();
    array.finish().unwrap();
}

#[test]
fn answers_that_differ_exit_with_3_and_are_not_written() {
    let stage = Stage::new();
    stage.model("m.onnx", STEPS);
    let items: Vec<f32> = (0..1000u16).map(f32::from).collect();
    npz(&stage.path("d.npz"), "x", &[1000, 1, 1, 1], &items);
    let args = ["m.onnx", "-o", "out.onnx", "--data", "d.npz", "--report", "r.json"];
    let ran = stage.optimize(&args);
    assert!(
        ran.out().contains("NOT EQUAL: output `y`: ") && ran.out().contains("m.onnx → not written"),
        "{}",
        ran.out()
    );
    assert!(ran.out().contains("the answers change with: fuse-conv-bn"), "{}", ran.out());
    let line = ran.fails(3);
    assert!(line.starts_with("m.onnx: the answers are not equal: output `y`: "), "{line}");
    assert!(line.ends_with(" (they change with fuse-conv-bn); nothing is written"), "{line}");
    assert_eq!(stage.files(), ["d.npz", "m.onnx", "r.json"]);
    let report: serde_json::Value = serde_json::from_slice(&stage.read("r.json")).unwrap();
    assert_eq!(report["verification"]["outcome"]["verdict"], "not-equal");
    assert_eq!((&report["culprit"], &report["output"]), (&"fuse-conv-bn".into(), &serde_json::Value::Null));

    let ran = stage.optimize(&["m.onnx", "--in-place", "--data", "d.npz", "--quiet"]);
    assert_eq!(ran.out(), "");
    ran.fails(3);
    assert_eq!(stage.operators("m.onnx"), ["BatchNormalization", "Cast", "Conv"], "the model is as it was");
    stage.optimize(&["m.onnx", "-o", "out.onnx", "--no-verify"]).ok();
    assert_eq!(stage.operators("out.onnx"), ["Cast", "Conv"]);
}

#[test]
fn what_could_not_be_run_is_said_and_never_called_verified() {
    let stage = Stage::new();
    stage.model("f.onnx", FOREIGN);
    let shown = stage.optimize(&["f.onnx", "-o", "out.onnx"]).ok();
    assert!(shown.contains("\nnot verified: the original: ") && !shown.contains("verified equal"), "{shown}");
    assert_eq!(stage.operators("out.onnx"), ["com.acme.Magic"]);
    let ran = stage.optimize(&["f.onnx", "-o", "strict.onnx", "--require-verified", "--quiet"]);
    let line = ran.fails(3);
    assert!(line.starts_with("f.onnx: not verified: the original: ") && line.contains("Magic"), "{line}");
    assert_eq!(stage.files(), ["f.onnx", "out.onnx"]);
}

#[test]
fn a_recipe_that_does_not_verify_is_not_verified() {
    let stage = Stage::with_model();
    stage.write("r.yaml", "extends: simplify\nverify: { enabled: false }\n");
    assert!(!stage.optimize(&["m.onnx", "-r", "r.yaml"]).ok().contains("verified"));
    let line = stage.optimize(&["m.onnx", "-r", "r.yaml", "--require-verified"]).fails(3);
    assert_eq!(line, "m.onnx: not verified: the recipe turns verification off; nothing is written");
}

#[test]
fn no_verify_runs_nothing() {
    let stage = Stage::with_model();
    let shown = stage.optimize(&["m.onnx", "--no-verify"]).ok();
    assert!(!shown.contains("verified"), "{shown}");
    assert_eq!(stage.optimize(&["m.onnx", "--no-verify", "--require-verified"]).code, Some(2));
    assert_eq!(stage.optimize(&["m.onnx", "--no-verify", "--data", "d.npz"]).code, Some(2));
}

#[test]
fn real_samples_are_run() {
    let stage = Stage::with_model();
    npz(&stage.path("d.npz"), "x", &[4, 2, 3, 3], &[0.5; 72]);
    let shown = stage.optimize(&["m.onnx", "--data", "d.npz", "--report", "r.json"]).ok();
    assert!(shown.contains("verified equal on 2 inputs by reference"), "{shown}");
    let report: serde_json::Value = serde_json::from_slice(&stage.read("r.json")).unwrap();
    assert_eq!(report["verification"]["seed"], serde_json::Value::Null);
    assert!(
        stage
            .run(&["run", "m.onnx", "--engine", "reference", "--data", "d.npz"])
            .ok()
            .contains("min 0.500000")
    );
    npz(&stage.path("bad.npz"), "x", &[4, 5], &[0.5; 20]);
    let line = stage.optimize(&["m.onnx", "--data", "bad.npz", "-o", "out.onnx"]).fails(1);
    assert!(line.starts_with("m.onnx: bad.npz: ") && line.contains("`x`"), "{line}");
    let line = stage.optimize(&["m.onnx", "--data", "none.npz", "-o", "out.onnx"]).fails(1);
    assert!(line.starts_with("m.onnx: none.npz: "), "{line}");
    stage.write("junk.npz", "PK junk");
    stage.optimize(&["m.onnx", "--data", "junk.npz", "-o", "out.onnx"]).fails(1);
    assert_eq!(stage.files(), ["bad.npz", "d.npz", "junk.npz", "m.onnx", "r.json"]);
}

#[test]
fn an_unknown_engine_is_a_usage_error() {
    let stage = Stage::with_model();
    let line = stage.run(&["optimize", "m.onnx", "--engine", "magic"]).fails(2);
    assert_eq!(line, "no engine is called `magic`; use tract, ort or reference");
    let ran = stage.run(&["optimize", "m.onnx", "--engine", "ort", "--ort-lib", "none.so", "-o", "out.onnx"]);
    ran.fails(2);
    assert_eq!(stage.files(), ["m.onnx"]);
}
