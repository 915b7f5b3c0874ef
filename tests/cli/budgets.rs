//! Lossy steps that a budget undoes or softens.

use serde_json::Value;

use crate::pruned::MODEL as HALF;
use crate::stage::{Ran, Stage};

/// No channel goes without a trace.
const WHOLE: &str = r#"
<ir_version: 8, opset_import: ["": 17]>
g (float[batch, 2, 4, 4] x) => (float[batch, 2, 4, 4] y)
<float[2, 2, 1, 1] w0 = {1, 2, 2, 1}, float[2, 2, 1, 1] w1 = {1, 2, 2, 1}>
{
  [first] c = Conv (x, w0)
  r = Relu (c)
  [second] y = Conv (r, w1)
}"#;

const QUANTIZE: &str = "{ quantize-weights: { min-elements: 1 } }";

fn prune(options: &str) -> String {
    format!("{{ prune-channels: {{ macs: 0.25, round-to: 1, max-per-group: 0.8{options} }} }}")
}

/// Runs steps on 16 samples.
fn run(model: &str, steps: &[&str], rest: &str) -> (Stage, Ran, Value) {
    let stage = Stage::new();
    stage.model("m.onnx", model);
    let steps = steps.join(", ");
    stage.write("r.yaml", format!("data: {{ calib: {{ random: 16 }} }}\nsteps: [{steps}]\n{rest}\n"));
    let ran = stage.optimize(&["m.onnx", "-r", "r.yaml", "-o", "out.onnx", "--report", "r.json"]);
    let report = std::fs::read(stage.path("r.json")).ok();
    let report = report.map_or(Value::Null, |r| serde_json::from_slice(&r).unwrap());
    (stage, ran, report)
}

#[test]
fn a_step_that_breaks_the_budget_is_undone() {
    let (stage, ran, report) = run(HALF, &[&prune(""), QUANTIZE], "budget: { sqnr: 30, roll-back: true }");
    let (table, steps) = (ran.ok(), &report["steps"]);
    assert!(steps[0]["undone"].as_str().unwrap().contains("dB, and has to be 30 at least"), "{steps}");
    assert!(steps[1].get("undone").is_none() && steps[1]["loss"].is_object(), "{steps}");
    assert_eq!(report["loss"], steps[1]["loss"]);
    assert!(stage.path("out.onnx").exists());
    let warning = "warning: step `prune-channels` is undone: sqnr is ";
    assert!(table.contains(warning) && table.contains("after prune-channels (undone): "), "{table}");
    assert!(!table.contains("prune-channels: 1 applied") && !table.contains("not 0.25"), "{table}");
    assert_eq!(steps[0]["passes"], serde_json::json!({}), "what is undone is not applied");
    assert_eq!(report["after"]["macs"], report["before"]["macs"], "no channel is gone");
}

#[test]
fn a_fraction_is_searched_with_which_the_budget_holds() {
    let (_, ran, report) = run(HALF, &[&prune(""), QUANTIZE], "budget: { sqnr: 30, search: true }");
    let (table, step) = (ran.ok(), &report["steps"][0]);
    let kept = step["kept"].as_f64().unwrap_or_else(|| panic!("{report}"));
    assert!(kept > 0.25 && kept < 1.0 && step.get("undone").is_none(), "{report}");
    assert_eq!(step["passes"]["prune-channels"]["applied"], 1, "{report}");
    let warning = format!("warning: step `prune-channels` keeps {kept} instead of 0.25, with which sqnr is ");
    assert!(table.contains(&warning) && table.contains(&format!("(keeps {kept}): ")), "{table}");
}

#[test]
fn a_search_that_comes_to_nothing_undoes_the_step() {
    let undone = |steps: &[&str]| {
        let (_, ran, report) = run(WHOLE, steps, "budget: { sqnr: 90, search: true }");
        let table = ran.ok();
        let step = &report["steps"][0];
        assert!(step["undone"].is_string() && step.get("kept").is_none(), "{report}");
        assert!(table.contains(" is undone: sqnr is "), "{table}");
    };
    undone(&[&prune("")]);
    undone(&[&prune(", allow-noop: true")]);
    undone(&[QUANTIZE]);
}

#[test]
fn a_step_that_only_tells_is_not_judged() {
    // No output has rows, so that agreement is unknown.
    let flat = HALF.replace("=> (float[batch, 2, 4, 4] y)", "=> (float y)");
    let flat = flat.replace(
        "[second] y = Conv (r, w1)",
        "[second] s = Conv (r, w1)\n  y = ReduceMax <keepdims = 0> (s)",
    );
    let budget = "budget: { agreement: 0.9, roll-back: true }";
    let (stage, ran, report) = run(&flat, &[&prune(", dry-run: true")], budget);
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    assert!(report["steps"][0].get("undone").is_none() && !stage.path("out.onnx").exists(), "{report}");
    let (_, ran, report) = run(HALF, &[&prune(", dry-run: true")], "budget: { sqnr: 20, search: true }");
    let table = ran.ok();
    assert!(table.contains("prune-channels would keep 0.") && table.contains("not written"), "{table}");
    assert!(report["steps"][0].get("kept").is_none(), "{report}");
}

#[test]
fn a_budget_that_the_model_itself_breaks_is_an_error() {
    let rest =
        "metrics: { n: { command: 'sh -c \"echo 3\" {model}' } }\nbudget: { metric: { n: 4 }, search: true }";
    let (_, ran, _) = run(HALF, &[QUANTIZE], rest);
    let line = ran.fails(1);
    assert!(
        line.contains("the budget cannot be met: `n` is 3, and has to be 4 at least, before the first"),
        "{line}"
    );
}

#[test]
fn metrics_undo_steps_too() {
    // So small a model only grows by what quantization needs.
    let command = r#"command: [sh, -c, 'wc -c < "$0"', '{model}'], larger-is-better: false"#;
    let undone = |most: u32| {
        let budget = format!("budget: {{ metric: {{ bytes: {most} }}, roll-back: true }}");
        let (_, ran, report) =
            run(HALF, &[QUANTIZE], &format!("metrics: {{ bytes: {{ {command} }} }}\n{budget}"));
        ran.ok();
        report["steps"][0]["undone"].as_str().map(str::to_owned)
    };
    assert_eq!(undone(1000), None);
    let why = undone(250).unwrap();
    assert!(why.starts_with("`bytes` is ") && why.ends_with("has to be 250 at most"), "{why}");
}

#[test]
fn each_of_several_lossy_steps_tells_what_it_costs() {
    let (_, ran, report) = run(HALF, &[&prune(""), QUANTIZE], "");
    ran.ok();
    assert!(report["steps"].as_array().unwrap().iter().all(|step| step["loss"].is_object()), "{report}");
    assert_eq!(report["loss"], report["steps"][1]["loss"]);
    let (_, ran, report) = run(HALF, &[QUANTIZE], "");
    ran.ok();
    assert!(report["steps"][0].get("loss").is_none() && report["loss"].is_object(), "{report}");
}
