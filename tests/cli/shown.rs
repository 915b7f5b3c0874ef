//! What the program prints.

use serde_json::Value;

use crate::stage::{FOREIGN, SMALL, Stage};

fn report(stage: &Stage, name: &str) -> Value {
    serde_json::from_slice(&stage.read(name)).unwrap()
}

#[test]
fn the_table_says_what_changed_and_what_was_proved() {
    let stage = Stage::with_model();
    let shown = stage.optimize(&["m.onnx", "-o", "out.onnx"]).ok();
    let row = |name: &str| {
        let line = shown.lines().find(|l| l.trim_start().starts_with(name));
        line.unwrap_or_else(|| panic!("{name}: {shown}"))
            .split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert!(shown.starts_with("m.onnx → out.onnx (recipe simplify)\n"), "{shown}");
    assert_eq!(row("nodes"), "5 1 -80.0 %");
    assert_eq!(row("BatchNormalization"), "1 0 -100.0 %");
    assert_eq!(row("Identity"), "1 0 -100.0 %");
    assert!(!shown.lines().any(|l| l.trim_start().starts_with("Conv ")), "what stays is not listed: {shown}");
    assert_eq!(row("MACs"), "36 36 =");
    assert!(row("file").starts_with("bytes "), "{shown}");
    assert!(shown.contains("\nfuse-conv-bn: 1 applied\n"), "{shown}");
    assert!(shown.contains("\nverified equal on 2 inputs by reference (max abs difference "), "{shown}");
}

#[test]
fn the_table_says_what_nearly_fired() {
    let stage = Stage::new();
    stage.model(
        "m.onnx",
        r#"<ir_version: 8, opset_import: ["": 17]>
        g (float[1, 1, 2, 2] x) => (float[1, 1, 2, 2] y, float[1, 1, 2, 2] c)
        <float[1, 1, 1, 1] w = {2}, float[1] one = {1}, float[1] zero = {0}>
        { c = Conv (x, w)  y = BatchNormalization (c, one, zero, zero, one) }"#,
    );
    let shown = stage.optimize(&["m.onnx"]).ok();
    assert!(shown.contains("fuse-conv-bn: 0 applied, 1 left (1 × "), "{shown}");
}

#[test]
fn quiet_prints_nothing() {
    let stage = Stage::with_model();
    for more in [&[][..], &["-o", "out.onnx"], &["--json"], &["--report", "r.json"]] {
        let ran = stage.optimize(&[&["m.onnx", "--quiet"], more].concat());
        assert_eq!((ran.out().as_str(), ran.err.as_str(), ran.code), ("", "", Some(0)));
    }
    let line = stage.optimize(&["missing.onnx", "--quiet"]).fails(1);
    assert!(line.starts_with("cannot read `missing.onnx`: "), "{line}");
}

#[test]
fn a_report_has_the_fields_that_are_documented() {
    let stage = Stage::with_model();
    let printed = stage.optimize(&["m.onnx", "-o", "out.onnx", "--report", "r.json", "--json"]).ok();
    let report = report(&stage, "r.json");
    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), report);
    let keys: Vec<_> = report.as_object().unwrap().keys().map(String::as_str).collect();
    let documented = [
        "version",
        "tool",
        "recipe",
        "input",
        "output",
        "before",
        "after",
        "steps",
        "verification",
        "loss",
        "culprit",
        "warnings",
        "provenance",
    ];
    assert_eq!(keys, documented);
    assert_eq!((&report["version"], &report["recipe"]), (&1.into(), &"simplify".into()));
    assert_eq!((&report["input"], &report["output"]), (&"m.onnx".into(), &"out.onnx".into()));
    assert_eq!((&report["before"]["nodes"], &report["after"]["nodes"]), (&5.into(), &1.into()));
    assert_eq!(report["before"]["operators"]["Identity"], 1);
    assert_eq!(report["after"]["file_bytes"], stage.read("out.onnx").len());
    assert_eq!(report["before"]["file_bytes"], stage.read("m.onnx").len());
    assert_eq!(report["steps"][0]["passes"]["fuse-conv-bn"]["applied"], 1);
    assert_eq!(report["verification"]["outcome"]["verdict"], "equal");
    assert_eq!(report["verification"]["outputs"][0]["name"], "y");
    assert_eq!(report["culprit"], Value::Null);
    assert_eq!(report["provenance"][0]["op"], "Conv");
}

#[test]
fn several_models_make_a_list_of_reports() {
    let stage = Stage::with_model();
    stage.model("n.onnx", SMALL);
    let args = ["m.onnx", "n.onnx", "--report", "r.json", "--json", "--no-verify"];
    let printed = stage.run(&[&["optimize"], &args[..]].concat()).ok();
    let reports = report(&stage, "r.json");
    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), reports);
    assert_eq!((&reports[0]["input"], &reports[1]["input"]), (&"m.onnx".into(), &"n.onnx".into()));
    assert_eq!((&reports[0]["output"], &reports[0]["verification"]), (&Value::Null, &Value::Null));
}

#[test]
fn names_cannot_play_with_the_terminal() {
    let stage = Stage::new();
    stage.model("m.onnx", FOREIGN);
    let mut wire = stage.read("m.onnx");
    let at = wire.windows(5).position(|w| w == b"Magic").unwrap();
    wire[at..at + 5].copy_from_slice(b"\x1b[2J\n");
    stage.write("m.onnx", &wire);
    for args in [&["optimize", "--engine", "reference", "m.onnx"][..], &["inspect", "m.onnx"]] {
        let ran = stage.run(args);
        assert!(!ran.out().contains('\u{1b}') && !ran.err.contains('\u{1b}'), "{}", ran.out());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
    }
    let line = stage.optimize(&["m.onnx", "--require-verified"]).fails(3);
    assert!(line.contains("\\u{1b}[2J\\n"), "{line}");
}

#[test]
fn inspect_shows_a_model_three_ways() {
    let stage = Stage::with_model();
    let lines = stage.run(&["inspect", "m.onnx"]).ok();
    for line in [
        "opset       ai.onnx 17",
        "IR version  8",
        "input       x: float[batch,2,3,3]",
        "output      y: float[batch,2,3,3]",
        "nodes       5",
        "       1    Conv",
        "parameters  10",
        "weights     40 bytes",
        "MACs        36",
    ] {
        assert!(lines.lines().any(|l| l == line), "{line:?} is not in:\n{lines}");
    }
    let json: Value = serde_json::from_str(&stage.run(&["inspect", "m.onnx", "--json"]).ok()).unwrap();
    assert_eq!(json["inputs"][0]["name"], "x");
    assert_eq!(json["opsets"][0]["version"], 17);
    assert_eq!(json["stats"]["nodes"], 5);
    assert_eq!(json["stats"]["file_bytes"], stage.read("m.onnx").len());
    let channels = stage.run(&["inspect", "m.onnx", "--channels"]).ok();
    assert!(channels.contains("frozen by an input of the model"), "{channels}");
    let json: Value =
        serde_json::from_str(&stage.run(&["inspect", "m.onnx", "--channels", "--json"]).ok()).unwrap();
    assert_eq!(json[0]["width"], 2);
    let text = stage.run(&["inspect", "m.onnx", "--text"]).ok();
    stage.model("again.onnx", &text);
    assert_eq!(stage.read("again.onnx"), stage.read("m.onnx"));
    assert!(!stage.run(&["inspect", "m.onnx", "--text", "--max-elements", "1"]).ok().contains("1.5"));
    assert_eq!(stage.run(&["inspect", "m.onnx", "--text", "--json"]).code, Some(2));
}

#[test]
fn run_shows_inputs_and_outputs() {
    let stage = Stage::with_model();
    let run = |more: &[&str]| stage.run(&[&["run", "m.onnx", "--engine", "reference"], more].concat());
    let shown = run(&[]).ok();
    let starts: Vec<_> = shown.lines().map(|l| l.split(" min").next().unwrap()).collect();
    assert_eq!(starts, ["input  x: float[1, 2, 3, 3]", "output y: float[1, 2, 3, 3]"]);
    assert_eq!(run(&["--seed", "0"]).ok(), shown);
    assert_ne!(run(&["--seed", "1"]).ok(), shown);
    assert!(run(&["--bind", "batch=4"]).ok().contains("float[4, 2, 3, 3]"));
    stage.model("f.onnx", FOREIGN);
    let line = stage.run(&["run", "f.onnx", "--engine", "reference"]).fails(1);
    assert!(line.starts_with("f.onnx: reference cannot run this: ") && line.contains("com.acme"), "{line}");
}

#[test]
fn warnings_of_the_file_are_shown() {
    let stage = Stage::with_model();
    let mut wire = stage.read("m.onnx");
    wire.extend([0x98, 0x06, 1]);
    stage.write("m.onnx", wire);
    let words = "warning: unknown field 99 in `model`: it will be lost";
    assert!(stage.optimize(&["m.onnx"]).ok().contains(words));
    let ran = stage.run(&["inspect", "m.onnx"]);
    assert_eq!((ran.err.trim_end(), ran.code), (words, Some(0)));
}

#[test]
fn help_has_examples() {
    let stage = Stage::new();
    for args in [&["--help"][..], &["optimize", "--help"], &["inspect", "--help"], &["run", "--help"]] {
        let shown = stage.run(args).ok();
        assert!(shown.contains("Examples:\n  onnxpress "), "{shown}");
    }
    assert!(stage.run(&["--help"]).ok().contains("Exit codes: 0 ok, 1 failed, 2 usage, 3 "));
    assert!(stage.run(&["--version"]).ok().starts_with("onnxpress "));
    let nothing = stage.run(&[]);
    assert_eq!(nothing.code, Some(2));
    assert!(nothing.err.contains("Examples:"), "{}", nothing.err);
}
