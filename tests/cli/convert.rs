//! `convert`: what the options say, and nothing else.

use crate::stage::Stage;

const NAMED: &str = r#"<ir_version: 8, opset_import: ["": 17]>
    g (float[batch, 2] x, float[batch, 2] z) => (float[batch, 2] y)
    { h = Identity (x)  h2 = Relu (h)  y = Add (h2, z) }"#;

fn named() -> Stage {
    let stage = Stage::new();
    stage.model("m.onnx", NAMED);
    stage
}

fn convert(stage: &Stage, more: &[&str]) {
    let engine = ["--engine", "reference"];
    stage.run(&[&["convert", "m.onnx", "-o", "out.onnx"], more, &engine[..]].concat()).ok();
}

#[test]
fn an_opset_is_written_and_no_operator_goes() {
    let stage = named();
    for opset in [11, 13, 19, 28] {
        convert(&stage, &["--opset", &opset.to_string()]);
        assert_eq!(stage.load("out.onnx").opset(""), Some(opset));
        assert_eq!(stage.operators("out.onnx"), ["Add", "Identity", "Relu"]);
    }
    let line = stage.run(&["convert", "m.onnx", "--opset", "99"]).fails(1);
    assert!(line.contains("opset 99 is unknown"), "{line}");
}

#[test]
fn an_ir_version_is_written() {
    let stage = named();
    convert(&stage, &["--opset", "21", "--ir-version", "9"]);
    let model = stage.load("out.onnx");
    assert_eq!((model.opset(""), model.meta.ir_version), (Some(21), 9));
    let line = stage.run(&["convert", "m.onnx", "--ir-version", "99"]).fails(2);
    assert!(line.contains("a whole number from 3 to "), "{line}");
    stage.model(
        "f8.onnx",
        r#"<ir_version: 9, opset_import: ["": 19]> g (float[2] x) => (float8e4m3fn[2] y) { y = Cast <to = 17> (x) }"#,
    );
    let line = stage.run(&["convert", "f8.onnx", "--ir-version", "8"]).fails(1);
    let said = "IR version 8 has no float8e4m3fn; the lowest IR version that would do is 9";
    assert_eq!(line, format!("f8.onnx: {said}"));
}

#[test]
fn the_batch_is_the_first_dim_of_the_inputs() {
    let stage = named();
    convert(&stage, &["--batch", "3"]);
    let model = stage.load("out.onnx");
    for &id in model.graph.inputs().iter().chain(model.graph.outputs()) {
        assert_eq!(model.graph.value(id).ty.to_string(), "float[3,2]");
    }
    let refused = |text: &str, more: &[&str]| {
        stage.model("b.onnx", &format!("<ir_version: 8, opset_import: [\"\": 17]> g {text}"));
        stage.run(&[&["convert", "b.onnx", "--batch", "3"], more].concat())
    };
    let two = "(float[a, 2] x, float[b, 2] z) => (float[c, 2] y) { y = Concat <axis = 0> (x, z) }";
    let line = refused(two, &[]).fails(1);
    assert!(line.contains("their first dims are `a`, `b`; bind each of them"), "{line}");
    refused(two, &["--bind", "a=1", "--engine", "reference"]).ok();
    let fixed = "(float[1, 2] x) => (float[1, 2] y) { y = Neg (x) }";
    assert!(refused(fixed, &[]).fails(1).contains("dim 0 of input `x` is 1, and cannot become 3"));
    assert_eq!(stage.run(&["convert", "m.onnx", "--batch", "0"]).code, Some(2));
}

#[test]
fn inputs_and_outputs_are_renamed() {
    let stage = named();
    convert(&stage, &["--rename", "x=z", "--rename", "z=x", "--rename", "y=${y}"]);
    let model = stage.load("out.onnx");
    let names = |ids: &[onnxpress::ValueId]| -> Vec<String> {
        ids.iter().map(|&v| model.graph.value(v).name.clone()).collect()
    };
    assert_eq!(
        (names(model.graph.inputs()), names(model.graph.outputs())),
        (vec!["z".into(), "x".into()], vec!["${y}".into()])
    );
    let line = stage.run(&["convert", "m.onnx", "--rename", "h=k"]).fails(1);
    assert!(line.contains("no input or output is called `h`; the model has: `x`, `y`, `z`"), "{line}");
    let line = stage.run(&["convert", "m.onnx", "--rename", "x=a", "--rename", "x=b"]).fails(2);
    assert_eq!(line, "`--rename` gives `x` two names");
    assert_eq!(stage.run(&["convert", "m.onnx", "--rename", "x"]).code, Some(2));
}

#[test]
fn sixteen_bit_floats_come_with_or_without_casts_at_the_border() {
    let stage = named();
    convert(&stage, &["--fp16"]);
    assert_eq!(stage.operators("out.onnx").iter().filter(|op| *op == "Cast").count(), 3);
    convert(&stage, &["--bf16", "--keep-io-types", "false"]);
    let model = stage.load("out.onnx");
    assert_eq!(model.graph.value(model.graph.inputs()[0]).ty.to_string(), "bfloat16[batch,2]");
    let line = stage.run(&["convert", "m.onnx", "--keep-io-types", "false"]).fails(2);
    assert_eq!(line, "`--keep-io-types=false` goes with `--fp16` or `--bf16`");
    assert_eq!(stage.run(&["convert", "m.onnx", "--fp16", "--bf16"]).code, Some(2));
}

#[test]
fn all_of_it_is_in_a_recipe_too() {
    let stage = named();
    stage.write(
        "r.yaml",
        "target: { opset: 19, ir-version: 9 }\nbatch: 2\nsteps:\n  - rename-io: { names: { x: image } }\n",
    );
    stage.optimize(&["m.onnx", "-r", "r.yaml", "-o", "a.onnx"]).ok();
    convert(&stage, &["--opset", "19", "--ir-version", "9", "--batch", "2", "--rename", "x=image"]);
    assert_eq!(stage.read("a.onnx"), stage.read("out.onnx"));
    let shown = stage.run(&["recipe", "show", "r.yaml"]).ok();
    assert!(shown.contains("ir-version: 9") && shown.contains("batch: 2"), "{shown}");
}
