//! What is told of quantized layers, and what is written besides the model.

use serde_json::Value;

use crate::stage::Stage;

/// Two layers of a network, and samples to quantize it by.
fn staged(steps: &str) -> Stage {
    let stage = Stage::new();
    let numbers = |count: usize, seed: usize| {
        let item = |at: usize| format!("{:.4}", ((at * 37 + seed) as f64 * 0.7).sin());
        (0..count).map(item).collect::<Vec<_>>().join(", ")
    };
    let (w, v) = (numbers(12 * 3 * 9, 1), numbers(12 * 4, 5));
    let text = format!(
        r#"<ir_version: 8, opset_import: ["": 17]>
g (float[batch, 3, 6, 6] x) => (float[batch, 4] y)
<float[12, 3, 3, 3] w = {{{w}}}, float[12] b = {{{}}}, float[12, 4] v = {{{v}}}>
{{
  c = Conv <pads = [1, 1, 1, 1]> (x, w, b)
  r = Relu (c)
  p = GlobalAveragePool (r)
  f = Flatten (p)
  y = MatMul (f, v)
}}"#,
        numbers(12, 2)
    );
    stage.model("m.onnx", &text);
    stage.write("r.yaml", format!("data: {{ calib: {{ random: 16, holdout: 0.25 }} }}\n{steps}\n"));
    stage
}

fn report(stage: &Stage, more: &[&str]) -> (String, Value) {
    let args = ["m.onnx", "-r", "r.yaml", "-o", "out.onnx", "--report", "r.json"];
    let table = stage.optimize(&[&args, more].concat()).ok();
    (table, serde_json::from_slice(&stage.read("r.json")).unwrap())
}

fn layers<'r>(report: &'r Value, pass: &str) -> &'r Vec<Value> {
    report["steps"].as_array().unwrap().last().unwrap()["passes"][pass]["layers"].as_array().unwrap()
}

#[test]
fn the_report_has_the_facts_of_every_layer() {
    let stage =
        staged("target: { profile: x86-avx2 }\nsteps: [{ quantize-static: { channel-scales: false } }]");
    let (table, found) = report(&stage, &[]);
    let [conv, product] = &layers(&found, "quantize-static")[..] else { panic!("{found}") };
    assert_eq!(
        (&conv["layer"], &conv["op"], &conv["form"]),
        (&"c".into(), &"Conv".into(), &"u8×s8 per channel".into())
    );
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value}: {conv}"));
    let [input, result] = &conv["activations"].as_array().unwrap()[..] else { panic!("{conv}") };
    assert_eq!((&input["tensor"], &input["read"]), (&"x".into(), &true.into()));
    assert_eq!((&result["tensor"], &result["read"]), (&"r".into(), &false.into()));
    let (scale, low, high) = (number(&input["scale"]), number(&input["low"]), number(&input["high"]));
    assert!((high - low - 255.0 * scale).abs() < 1e-6, "{input}");
    let seen = &input["seen"];
    assert!(number(&seen["low"]) >= low - scale && number(&seen["high"]) <= high + scale, "{input}");
    assert!(number(&seen["rms"]) > 0.0 && number(&seen["rms"]) < high.max(-low), "{input}");
    assert_eq!(input["saturated"], 0.0, "min-max holds all");
    let weight = &conv["weight"];
    assert_eq!(weight["scales"], 12);
    assert!(number(&weight["smallest_scale"]) < number(&weight["largest_scale"]), "{weight}");
    assert!(number(&weight["apart"]) >= 1.0, "{weight}");
    let pairs = &conv["pairs"];
    assert!(number(&pairs["pairs"]) > 100.0 && number(&pairs["before"]) > 0.0, "{pairs}");
    assert_eq!(pairs["after"], 0, "none can overflow");
    assert!(
        number(&conv["bytes_after"]) < number(&conv["bytes_before"]) / 2.0 && number(&conv["sqnr_db"]) > 15.0
    );
    assert_eq!(product["op"], "MatMul");

    let integers = &found["integers"];
    assert_eq!(
        (&integers["macs"], &integers["integer_macs"]),
        (&11_712.into(), &11_712.into()),
        "{integers}"
    );
    assert!(table.contains("100.0 % of 11 712 MACs in integers\n"), "{table}");
    assert!(table.contains(" dB  Conv `c`: u8×s8 per channel, "), "{table}");
}

#[test]
fn a_range_that_cuts_says_how_much() {
    let stage =
        staged("steps: [{ quantize-static: { calibrator: percentile, percentile: 90, rounding: nearest } }]");
    let (table, found) = report(&stage, &[]);
    let conv = &layers(&found, "quantize-static")[0];
    let share = conv["activations"][0]["saturated"].as_f64().unwrap();
    assert!((0.05..0.15).contains(&share), "a tenth: {conv}");
    assert!(table.contains("% of `x` lie outside its range: try `calibrator: min-max`"), "{table}");
    assert!(conv.get("pairs").is_none(), "this target has no such kernels");
}

#[test]
fn weights_alone_and_imported_layers_have_their_scales_too() {
    let stage = staged("steps: [{ quantize-weights: { min-elements: 1, weights: int8 } }]");
    let (table, found) = report(&stage, &[]);
    let conv = &layers(&found, "quantize-weights")[0];
    assert_eq!((&conv["weight"]["scales"], conv.get("activations")), (&12.into(), None));
    assert!(table.contains("0.0 % of 11 712 MACs in integers; in floats:\n"), "{table}");
    assert!(table.contains("Conv `c`: its weights alone are integers"), "{table}");

    let qat = r#"<ir_version: 8, opset_import: ["": 17]>
        g (float[N, 4] x) => (float[N, 2] y)
        <float s = {0.5}, uint8 z = {3}, float[4, 2] w = {1, -2, 3, 4, 5, -6, 7, 8}, float[2] v = {0.125, 0.0625}, int8[2] k = {0, 0}>
        { q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)
          e = QuantizeLinear <axis = 1> (w, v, k)  u = DequantizeLinear <axis = 1> (e, v, k)
          y = MatMul (d, u) }"#;
    stage.model("m.onnx", qat);
    stage.write("r.yaml", "steps: [import-qat]");
    let (_, found) = report(&stage, &["--bind", "N=2"]);
    let [layer] = &layers(&found, "import-qat")[..] else { panic!("{found}") };
    assert_eq!((&layer["form"], &layer["layer"]), (&"u8×s8 per channel".into(), &"y".into()));
    assert_eq!(
        (&layer["weight"]["smallest_scale"], &layer["weight"]["largest_scale"]),
        (&0.0625.into(), &0.125.into())
    );
    let input = &layer["activations"][0];
    assert_eq!(
        (&input["tensor"], &input["low"], &input["high"]),
        (&"x".into(), &(-1.5).into(), &126.0.into())
    );
    assert_eq!((&layer["bytes_before"], &layer["bytes_after"]), (&42.into(), &18.into()), "{layer}");
}

#[test]
fn forms_and_assignments_are_told_and_drawn() {
    let stage = staged("steps: [{ assign-precision: { budget: { sqnr: 37 } } }]");
    let (table, found) = report(&stage, &["--plot", "p.svg"]);
    let all = layers(&found, "assign-precision");
    for layer in all {
        let forms = layer["forms"].as_array().unwrap();
        let names: Vec<&str> = forms.iter().map(|f| f["form"].as_str().unwrap()).collect();
        assert_eq!(names, ["int8", "int16", "float"]);
        assert_eq!(forms.iter().filter(|f| f["chosen"] == true).count(), 1, "{layer}");
        assert!(forms[0]["sqnr_db"].as_f64().unwrap() < forms[1]["sqnr_db"].as_f64().unwrap(), "{layer}");
        assert!(forms[0]["cost"].as_f64().unwrap() < forms[2]["cost"].as_f64().unwrap(), "{layer}");
        assert!(forms[2]["sqnr_db"].is_null(), "float has no noise");
        let row = format!("{} `{}`", layer["op"].as_str().unwrap(), layer["layer"].as_str().unwrap());
        assert!(table.lines().any(|line| line.contains(&row) && line.contains('[')), "{table}");
    }
    let whole: f64 = all.iter().map(|layer| layer["forms"][2]["cost"].as_f64().unwrap()).sum();
    assert!((whole - 1.0).abs() < 1e-9, "all layers in float cost 1");
    let chain = found["steps"][0]["passes"]["assign-precision"]["assignments"].as_array().unwrap();
    let costs: Vec<f64> = chain.iter().map(|a| a["cost"].as_f64().unwrap()).collect();
    assert!(costs.windows(2).all(|pair| pair[0] <= pair[1]), "{costs:?}");
    let chosen: Vec<_> = chain.iter().filter(|a| a["chosen"] == true).collect();
    assert!(chosen.len() == 1 && chosen[0]["meets"] == true, "{chain:?}");
    let measured = chosen[0]["measured_db"].as_f64().unwrap();
    let (lost, predicted) =
        (found["loss"]["outputs"][0]["sqnr_db"].as_f64().unwrap(), chosen[0]["predicted_db"].as_f64());
    assert!((measured - lost).abs() < 1e-9 && measured >= 37.0, "the same samples: {measured} {lost}");
    assert!((measured - predicted.unwrap()).abs() < 12.0, "{measured} {predicted:?}");
    let picture = String::from_utf8(stage.read("p.svg")).unwrap();
    assert!(picture.contains("Trade-off") && picture.contains("keeps the budget"), "{picture}");
}

#[test]
fn ranges_are_written_in_the_form_that_the_name_says() {
    let stage = staged("target: { profile: qnn-htp }\nsteps: [quantize-static]");
    report(&stage, &["--export-ranges", "q.encodings", "--export-ranges", "q.csv"]);
    let file: Value = serde_json::from_slice(&stage.read("q.encodings")).unwrap();
    assert_eq!(file["version"], "0.6.1");
    let activations = file["activation_encodings"].as_object().unwrap();
    assert!(["x", "r", "y"].iter().all(|name| activations.contains_key(*name)), "{file}");
    for name in ["w", "b", "v"] {
        assert!(file["param_encodings"][name].is_array(), "{name}: {file}");
    }
    let table = String::from_utf8(stage.read("q.csv")).unwrap();
    let row = table.lines().find(|line| line.starts_with("x,activation,")).unwrap();
    let scale = row.split(',').nth(6).unwrap().parse::<f64>().unwrap();
    assert_eq!(
        activations["x"][0]["scale"].as_f64().unwrap().to_bits(),
        scale.to_bits(),
        "both say the same"
    );
}

#[test]
fn every_step_leaves_its_model() {
    let stage = staged("extends: simplify\nsteps: [{ quantize-static: { id: eight } }]");
    let (table, found) = report(&stage, &["--emit-stages", "stages"]);
    assert_eq!(stage.operators("stages/01-simplify.onnx"), ["Conv", "MatMul", "ReduceMean", "Relu"]);
    assert_eq!(stage.read("stages/02-eight.onnx"), stage.read("out.onnx"), "the last one is the result");
    assert_eq!(found["steps"][1]["stage"], "stages/02-eight.onnx");
    assert!(table.contains("after eight: stages/02-eight.onnx\n"), "{table}");
}

#[test]
fn what_cannot_be_written_is_said_before_the_run() {
    let stage = staged("steps: [drop-dead]");
    stage.write("plain", "");
    let fails = |code: i32, more: &[&str]| {
        let line =
            stage.optimize(&[&["m.onnx", "-r", "r.yaml", "-o", "out.onnx"], more].concat()).fails(code);
        assert!(!stage.path("out.onnx").exists());
        line
    };
    assert_eq!(
        fails(2, &["--export-ranges", "q.txt"]),
        "--export-ranges: the ending of q.txt says no form: use .encodings, .json, .csv or .tsv"
    );
    assert_eq!(fails(2, &["--plot", "p.png"]), "--plot draws an SVG: p.png has to end in .svg");
    assert!(fails(1, &["--emit-stages", "plain"]).starts_with("cannot make the directory plain: "));
    assert!(fails(1, &["--export-ranges", "none/q.csv"]).contains("none"));
    assert_eq!(
        fails(2, &["--export-ranges", "q.csv", "--export-ranges", "./q.csv"]),
        "./q.csv would be written over another file"
    );
    let two = ["m.onnx", "m.onnx", "--emit-stages", "s"];
    assert!(stage.optimize(&two).fails(2).ends_with("take one model at a time"));
    assert_eq!(
        fails(1, &["--export-ranges", "q.csv"]),
        "m.onnx: the result has no quantized tensor whose ranges --export-ranges could write"
    );
    assert!(fails(1, &["--plot", "p.svg"]).contains("nothing to draw for --plot"));
    assert!(!stage.path("q.csv").exists() && !stage.path("p.svg").exists());
}

#[test]
fn halves_are_checked_on_samples_without_a_proof_too() {
    let stage = staged("steps: [convert-float16]");
    let samples = "data: { calib: { random: 4 } }\nsteps: [convert-float16]";
    stage.write("r.yaml", samples);
    let shown = stage.optimize(&["m.onnx", "-r", "r.yaml", "-o", "out.onnx", "--no-verify"]).ok();
    assert!(shown.contains("float16 is slower than float on most CPU runtimes"), "{shown}");
    assert!(shown.contains("loss on"), "what it costs is measured: {shown}");
}
