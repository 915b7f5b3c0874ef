//! Quantization meets bad samples, odd models and wrong options.

use serde_json::Value;

use crate::stage::Stage;

const MODEL: &str = r#"
<ir_version: 8, opset_import: ["": 17]>
g (float[batch, 2] x) => (float[batch, 2] y)
<float[2, 2] w = {1.5, -0.5, 0.25, 2}, float[2] b = {0.1, -0.2}>
{
  y = Gemm (x, w, b)
}"#;

fn staged() -> Stage {
    let stage = Stage::new();
    stage.model("m.onnx", MODEL);
    stage.write("q.yaml", "steps: [quantize-static]\n");
    stage
}

/// An `.npy` file of float32.
fn npy(stage: &Stage, name: &str, dims: &[usize], items: &[f32]) {
    let dims: Vec<String> = dims.iter().map(usize::to_string).collect();
    let dict = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},)}}\n", dims.join(","));
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((dict.len() as u16).to_le_bytes());
    file.extend(dict.as_bytes());
    items.iter().for_each(|x| file.extend(x.to_le_bytes()));
    stage.write(name, file);
}

/// Four samples of two numbers.
fn samples(stage: &Stage, name: &str) {
    npy(stage, name, &[4, 2], &[0.5, -1.0, 2.0, 0.25, -0.75, 1.5, 1.0, -2.0]);
}

/// The one line of a run that fails and writes nothing.
#[track_caller]
fn refused(stage: &Stage, recipe: &str, data: &[&str], code: i32) -> String {
    let data: Vec<&str> = data.iter().flat_map(|d| ["--data", d]).collect();
    let args = ["m.onnx", "-r", recipe, "-o", "out.onnx"];
    let line = stage.optimize(&[&args[..], &data].concat()).fails(code);
    assert!(!stage.path("out.onnx").exists(), "{line}");
    line
}

#[test]
fn numbers_that_are_none_are_refused_by_sample_and_element() {
    for (odd, shown) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let stage = staged();
        npy(&stage, "x.npy", &[4, 2], &[0.5, -1.0, 2.0, odd, -0.75, 1.5, 1.0, -2.0]);
        let line = refused(&stage, "q.yaml", &["x.npy"], 1);
        let wanted =
            format!("x.npy, sample 1: element 1 of `x` is {shown}: mend the sample, or leave it out");
        assert!(line.ends_with(&wanted), "{line}");
    }
}

#[test]
fn an_empty_data_set_is_refused() {
    let stage = staged();
    npy(&stage, "x.npy", &[0, 2], &[]);
    assert_eq!(refused(&stage, "q.yaml", &["x.npy"], 1), "m.onnx: the data set is empty");
    let line = refused(&stage, "q.yaml", &[], 1);
    assert!(
        line.contains("`quantize-static`: it measures on samples, and there are none: give some"),
        "{line}"
    );
    stage.write("none/readme", "");
    let line = refused(&stage, "q.yaml", &["none"], 1);
    assert!(line.contains("none"), "{line}");
}

#[test]
fn one_bad_file_among_good_ones_is_named() {
    let stage = staged();
    samples(&stage, "d/a.npy");
    npy(&stage, "d/b.npy", &[4, 3], &[0.0; 12]);
    samples(&stage, "d/c.npy");
    let line = refused(&stage, "q.yaml", &["d/*.npy"], 1);
    assert!(line.contains("d/b.npy: no array fits input `x`") && line.contains("float[4, 3]"), "{line}");
    let whole = stage.read("d/a.npy");
    stage.write("d/b.npy", &whole[..whole.len() - 4]);
    let line = refused(&stage, "q.yaml", &["d"], 1);
    assert!(line.contains("d/b.npy: "), "{line}");
    let line = refused(&stage, "q.yaml", &["z=d/a.npy"], 1);
    assert_eq!(line, "m.onnx: the model has no input `z`; its inputs are `x`");
}

const INTEGERS: &str = r#"
<ir_version: 8, opset_import: ["": 17]>
g (int32[batch, 2] x) => (int32[batch, 2] y)
<int32[2, 2] w = {1, -5, 2, 3}>
{
  y = MatMul (x, w)
}"#;
const NO_WEIGHTS: &str = r#"
<ir_version: 8, opset_import: ["": 17]>
g (float[batch, 2] x) => (float[batch, 2] y)
{
  y = Softmax (x)
}"#;
const TRANSPOSED: &str = r#"
<ir_version: 8, opset_import: ["": 17]>
g (float[2, 2] x) => (float[2, 2] y)
<float[2, 2] w = {1.5, -0.5, 0.25, 2}>
{
  y = Gemm <transA = 1> (x, w)
}"#;

#[test]
fn a_model_without_layers_is_left_as_it_is_and_said_to_be() {
    let stage = staged();
    let warned = |model: &str, step: &str| {
        stage.model("m.onnx", model);
        stage.write("r.yaml", format!("data: {{ calib: {{ random: 4 }} }}\nsteps: [{step}]\n"));
        let args = ["m.onnx", "-r", "r.yaml", "-o", "out.onnx", "--report", "r.json"];
        stage.optimize(&args).ok();
        assert_eq!(stage.operators("out.onnx"), stage.operators("m.onnx"));
        let found: Value = serde_json::from_slice(&stage.read("r.json")).unwrap();
        let warnings = found["warnings"].as_array().unwrap();
        warnings
            .iter()
            .map(|w| w.as_str().unwrap())
            .find(|w| w.contains("quantized nothing"))
            .unwrap()
            .to_owned()
    };
    for step in ["quantize-static", "quantize-weights"] {
        let nothing = format!(
            "`{step}` has quantized nothing: the model has no Conv, ConvTranspose, Gemm, MatMul on floats"
        );
        assert_eq!(warned(NO_WEIGHTS, step), nothing);
    }
    assert!(warned(INTEGERS, "quantize-static").contains("the model has no Conv"));
    let line = warned(TRANSPOSED, "quantize-static");
    assert!(line.contains("all 1 layers stay as they are"), "{line}");
}

#[test]
fn what_is_quantized_already_is_refused_unless_the_recipe_wants_it_anew() {
    let stage = staged();
    samples(&stage, "x.npy");
    stage.optimize(&["m.onnx", "-r", "q.yaml", "-o", "m8.onnx", "--data", "x.npy"]).ok();
    let again =
        |recipe: &str| stage.optimize(&["m8.onnx", "-r", recipe, "-o", "out.onnx", "--data", "x.npy"]);
    let line = again("q.yaml").fails(1);
    assert!(line.starts_with("m8.onnx: step `quantize-static`: the model is quantized already"), "{line}");
    assert!(line.contains("`import-qat`") && line.contains("`requantize: true`"), "{line}");
    stage.write("again.yaml", "steps: [quantize-static: { requantize: true }]");
    again("again.yaml").ok();
    assert_eq!(stage.operators("out.onnx"), stage.operators("m8.onnx"));
}

#[test]
fn options_out_of_range_and_unknown_words_are_refused_at_their_place() {
    let stage = staged();
    samples(&stage, "x.npy");
    let fails = |step: &str, code: i32| {
        stage.write("r.yaml", format!("steps:\n  - {step}\n"));
        refused(&stage, "r.yaml", &["x.npy"], code)
    };
    let line = fails("quantize-static: { calibrator: percentile, percentile: 101 }", 1);
    assert!(line.ends_with("`percentile` is 101; it is above 50 and at most 100"), "{line}");
    let line = fails("quantize-static: { percentile: .nan }", 2);
    assert!(line.starts_with("r.yaml:2:") && line.ends_with("value `.nan` is not a finite number"), "{line}");
    let line = fails("quantize-static: { calibrator: minmax }", 2);
    assert!(line.starts_with("r.yaml:2:") && line.contains("`min-max`"), "{line}");
    let line = fails("quantize-static: { activations: float8 }", 2);
    assert!(line.starts_with("r.yaml:2:") && line.contains("the values are uint8, int8"), "{line}");
    let line = fails("quantize-static: { only: [nonesuch] }", 1);
    assert!(line.contains("step `quantize-static`: ") && line.contains("`nonesuch`"), "{line}");
    stage.write("r.yaml", "target: { profile: x86-avx3 }\nsteps: [quantize-static]\n");
    let line = refused(&stage, "r.yaml", &["x.npy"], 2);
    assert_eq!(line, "r.yaml:1:20: unknown profile `x86-avx3`; did you mean `x86-avx2`?");
}

#[test]
fn a_tensor_of_one_element_and_a_channel_that_never_moves_have_a_scale() {
    let stage = Stage::new();
    stage.model(
        "m.onnx",
        r#"<ir_version: 8, opset_import: ["": 17]>
g (float[batch, 1] x) => (float[batch, 1] y) <float[1, 1] w = {0}, float[1] b = {0.5}> { y = Gemm (x, w, b) }"#,
    );
    npy(&stage, "x.npy", &[4, 1], &[0.0; 4]);
    stage.write("q.yaml", "steps: [quantize-static]\n");
    stage
        .optimize(&["m.onnx", "-r", "q.yaml", "-o", "out.onnx", "--data", "x.npy", "--report", "r.json"])
        .ok();
    let found: Value = serde_json::from_slice(&stage.read("r.json")).unwrap();
    let gap = found["loss"]["outputs"][0]["max_abs"].as_f64().unwrap();
    assert!(gap < 0.01, "the bias is all there is: {found}");
}

#[test]
fn channels_that_are_shifted_are_measured_where_they_were() {
    let stage = Stage::new();
    stage.model(
        "m.onnx",
        r#"<ir_version: 8, opset_import: ["": 17]>
g (float[batch, 2, 4, 4] x) => (float[batch, 1, 4, 4] y)
<float[3, 2, 1, 1] w = {1, -0.5, 0.25, 2, 0.5, 0.5}, float[3] b = {9, -7, 0.5}, float[1, 3, 1, 1] v = {1, 0.7, -2}, float[1] c = {0}>
{
  h = Conv (x, w, b)
  y = Conv (h, v, c)
}"#,
    );
    stage.write(
        "q.yaml",
        "target: { profile: x86-vnni }\ndata: { calib: { random: 16 } }\nsteps: [quantize-static]\n",
    );
    stage.optimize(&["m.onnx", "-r", "q.yaml", "-o", "out.onnx", "--report", "r.json"]).ok();
    let shifted = stage.load("out.onnx").graph;
    assert!(shifted.find("h_channel_zero_points").is_none(), "the shift is in the bias alone");
    let found: Value = serde_json::from_slice(&stage.read("r.json")).unwrap();
    for layer in found["steps"][0]["passes"]["quantize-static"]["layers"].as_array().unwrap() {
        assert!(layer["sqnr_db"].as_f64().unwrap() > 25.0, "{layer}");
    }
}
