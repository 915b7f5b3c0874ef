//! What is in the files that the program writes.

use crate::stage::Stage;

fn opset(stage: &Stage, name: &str) -> Option<i64> {
    stage.load(name).opset("")
}

#[test]
fn the_same_command_twice_writes_the_same_bytes() {
    let stage = Stage::with_model();
    for (output, report) in [("a.onnx", "a.json"), ("b.onnx", "b.json")] {
        stage.optimize(&["m.onnx", "-o", output, "--report", report, "--external-data"]).ok();
    }
    assert_eq!(stage.read("a.onnx"), stage.read("b.onnx"));
    let report = |name: &str| {
        let text = String::from_utf8(stage.read(name)).unwrap().replace(&name.replace("json", "onnx"), "_");
        text.lines().filter(|l| !l.contains("\"seconds\"")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(report("a.json"), report("b.json"));
}

#[test]
fn dims_are_bound() {
    let stage = Stage::with_model();
    stage.optimize(&["m.onnx", "-o", "out.onnx", "--bind", "batch=3"]).ok();
    let model = stage.load("out.onnx");
    for &id in model.graph.inputs().iter().chain(model.graph.outputs()) {
        assert_eq!(model.graph.value(id).ty.to_string(), "float[3,2,3,3]");
    }
    let line = stage.optimize(&["m.onnx", "--bind", "bach=3"]).fails(1);
    assert_eq!(line, "m.onnx: the model has no dim `bach`; it has: batch");
    for bad in ["batch", "batch=", "batch=-1", "batch=x", "batch=99999999999999999999"] {
        assert_eq!(stage.optimize(&["m.onnx", "--bind", bad]).code, Some(2), "{bad}");
    }
}

#[test]
fn another_opset_is_written() {
    let stage = Stage::with_model();
    for target in [7, 12, 17, 22, 25] {
        stage.optimize(&["m.onnx", "-o", "out.onnx", "--opset", &target.to_string()]).ok();
        assert_eq!(opset(&stage, "out.onnx"), Some(target));
    }
    for bad in ["0", "-1", "999", "x"] {
        let ran = stage.optimize(&["m.onnx", "-o", "bad.onnx", "--opset", bad]);
        assert!(matches!(ran.code, Some(1 | 2)), "{bad}: {}", ran.err);
    }
    assert_eq!(stage.files(), ["m.onnx", "out.onnx"]);
    stage.write("r.yaml", "extends: simplify\ntarget: { opset: 15 }\n");
    stage.optimize(&["m.onnx", "-r", "r.yaml", "-o", "out.onnx"]).ok();
    assert_eq!(opset(&stage, "out.onnx"), Some(15));
    stage.optimize(&["m.onnx", "-r", "r.yaml", "-o", "out.onnx", "--opset", "16"]).ok();
    assert_eq!(opset(&stage, "out.onnx"), Some(16), "the command line wins");
}

#[test]
fn what_an_opset_cannot_say_is_refused_by_name() {
    let stage = Stage::new();
    stage.model(
        "m.onnx",
        r#"<ir_version: 8, opset_import: ["": 17]>
        g (float[2] x) => (float[2] y) { h = Relu (x)  [act] y = HardSwish (h) }"#,
    );
    for more in [&["-o", "out.onnx"][..], &[]] {
        let line = stage.optimize(&[&["m.onnx", "--opset", "12", "--no-verify"], more].concat()).fails(1);
        assert!(
            line.starts_with("m.onnx: ") && line.contains("`act`") && line.contains("opset 12"),
            "{line}"
        );
        assert!(line.ends_with("the lowest opset that would do is 14"), "{line}");
    }
    assert_eq!(stage.files(), ["m.onnx"]);
}

#[test]
fn weights_go_to_a_file_beside_the_model() {
    let stage = Stage::new();
    let model = r#"<ir_version: 8, opset_import: ["": 17]>
        g (float[N, 512] x) => (float[N, 512] y) <float[512] w> { y = Add (x, w) }"#;
    let filled = onnxpress::onnx::from_text_with(model, &mut |_, dtype, dims| {
        let items: Vec<f64> = (0..dims.iter().product::<u64>()).map(|i| i as f64).collect();
        onnxpress::ir::TensorData::from_f64s(dtype, dims, &items)
    });
    let filled = filled.unwrap().model;
    onnxpress::save(filled.check().unwrap(), stage.path("big.onnx"), &Default::default()).unwrap();
    stage.optimize(&["big.onnx", "-d", "out", "--external-data"]).ok();
    let files = stage.files();
    let data: Vec<_> = files.iter().filter(|f| f.starts_with("out/big-")).collect();
    assert_eq!((data.len(), files.len()), (1, 3), "{files:?}");
    assert_eq!(stage.read(data[0]).len(), 2048);
    assert!(stage.read("out/big.onnx").len() < 400);
    // Back into one file, from where the data is.
    stage.optimize(&["out/big.onnx", "-o", "back.onnx"]).ok();
    assert_eq!(stage.read("back.onnx").len(), stage.read("big.onnx").len());
    // In place: the old data file goes with the old model.
    stage.optimize(&["out/big.onnx", "--in-place"]).ok();
    assert_eq!(stage.files(), ["back.onnx", "big.onnx", "out/big.onnx"]);
}

#[test]
fn durable_writes_the_same_file() {
    let stage = Stage::with_model();
    stage.optimize(&["m.onnx", "-o", "a.onnx"]).ok();
    stage.optimize(&["m.onnx", "-o", "b.onnx", "--durable"]).ok();
    assert_eq!(stage.read("a.onnx"), stage.read("b.onnx"));
}
