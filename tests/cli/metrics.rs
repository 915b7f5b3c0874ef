//! Metrics and budgets of a recipe.

use serde_json::Value;

use crate::stage::Stage;

/// Weights that 8 bits round visibly, and enough of them for the size of the file to tell layers apart.
fn model() -> String {
    let numbers = |count: usize, seed: usize| {
        let item = |at: usize| format!("{:.4}", ((at * 37 + seed) as f64 * 0.7).sin());
        (0..count).map(item).collect::<Vec<_>>().join(", ")
    };
    format!(
        r#"<ir_version: 8, opset_import: ["": 17]>
g (float[batch, 32] x) => (float[batch, 8] y) <float[32, 64] w = {{{}}}, float[64, 8] v = {{{}}}>
{{
  a = MatMul (x, w)
  r = Relu (a)
  y = MatMul (r, v)
}}"#,
        numbers(32 * 64, 1),
        numbers(64 * 8, 5)
    )
}

fn staged() -> Stage {
    let stage = Stage::new();
    stage.model("m.onnx", &model());
    stage
}

/// The size of the file: a metric that every machine has, and that falls with every layer that is quantized.
const SIZE: &str = r#"metrics: { bytes: { command: [sh, -c, 'wc -c < "$0"', '{model}'] } }"#;
const DATA: &str = "data: { calib: { random: 16, holdout: 0.25 } }";

fn run(stage: &Stage, recipe: &str) -> (crate::stage::Ran, Value) {
    stage.write("r.yaml", recipe);
    let ran = stage.optimize(&["m.onnx", "-r", "r.yaml", "-o", "out.onnx", "--report", "r.json"]);
    let report = std::fs::read(stage.path("r.json")).ok();
    (ran, report.map_or(Value::Null, |r| serde_json::from_slice(&r).unwrap()))
}

#[test]
fn metrics_are_told_before_and_after() {
    let stage = staged();
    let (ran, report) = run(&stage, &format!("{SIZE}\n{DATA}\nsteps: [quantize-static]"));
    let table = ran.ok();
    let found = &report["metrics"][0];
    assert_eq!(found["name"], "bytes");
    let (before, after) = (found["before"].as_f64().unwrap(), found["after"].as_f64().unwrap());
    assert!(before > 10_000.0 && after < before / 2.0, "{found}");
    assert!(table.contains(&format!("bytes: {before} → {after} (larger is better)")), "{table}");
    assert!(table.contains(" dB  MatMul `y`: u8×s8 per channel, "), "the worst layers are told: {table}");
}

#[test]
fn a_budget_that_is_missed_writes_nothing() {
    let stage = staged();
    let missed = |budget: &str| {
        let (ran, report) =
            run(&stage, &format!("{SIZE}\n{DATA}\nsteps: [quantize-static]\nbudget: {budget}"));
        assert_eq!(ran.code, Some(3), "{}", ran.err);
        assert!(!stage.path("out.onnx").exists());
        (ran.err.trim().to_owned(), report)
    };
    let (line, report) = missed("{ sqnr: 90, metric: { bytes: 9999 } }");
    let reason = "error: m.onnx: the budget of the recipe is not met: `bytes` is ";
    assert!(line.starts_with(reason) && line.contains("has to be 9999 at least; sqnr is "), "{line}");
    assert!(line.ends_with("dB, and has to be 90 at least; nothing is written"), "{line}");
    assert_eq!(report["unmet"].as_array().unwrap().len(), 2);
    assert_eq!(report["output"], Value::Null);

    let text =
        format!("{SIZE}\n{DATA}\nsteps: [quantize-static]\nbudget: {{ sqnr: 20, metric: {{ bytes: 99 }} }}");
    let (ran, report) = run(&stage, &text);
    ran.ok();
    assert!(stage.path("out.onnx").exists() && report.get("unmet").is_none());
}

#[test]
fn a_budget_needs_something_to_judge_by() {
    let stage = staged();
    stage.write("r.yaml", "steps: [convert-float16]\nbudget: { sqnr: 10 }");
    let args = ["m.onnx", "-r", "r.yaml", "-o", "out.onnx", "--no-verify"];
    let line = stage.optimize(&args).fails(3);
    assert!(line.contains("which was not measured; nothing is written"), "{line}");
    stage.write("r.yaml", "steps: [drop-dead]\nbudget: { sqnr: 100, agreement: 1 }");
    stage.optimize(&["m.onnx", "-r", "r.yaml", "-o", "out.onnx"]).ok();
}

#[test]
fn layers_are_raised_until_a_metric_is_met() {
    let stage = staged();
    let assigned = |least: u32| {
        let step =
            format!("assign-precision: {{ forms: [int8], budget: {{ metric: {{ bytes: {least} }} }} }}");
        let (ran, report) = run(&stage, &format!("{SIZE}\n{DATA}\nsteps: [{step}]"));
        let table = ran.ok();
        let layers = report["steps"][0]["passes"]["assign-precision"]["layers"].as_array().unwrap().clone();
        let forms: Vec<_> = layers.iter().map(|l| l["form"].as_str().unwrap().to_owned()).collect();
        (forms, report["metrics"][0]["after"].as_f64().unwrap(), table)
    };
    let (forms, smallest, _) = assigned(1);
    assert_eq!(forms, ["u8×s8 per channel", "u8×s8 per channel"]);
    let (forms, bytes, table) = assigned(smallest as u32 + 1000);
    assert_eq!(forms.iter().filter(|form| *form == "float").count(), 1, "{table}");
    assert!(
        bytes >= smallest + 1000.0 && table.contains("1 left (1 × quantized, it would cost more"),
        "{table}"
    );
    let (forms, _, table) = assigned(10_300);
    assert_eq!(forms, ["float", "float"], "{table}");
    let warning = "warning: nothing but float for every layer meets the budget of `assign-precision`: with the least \
        change that was tried, `bytes` is ";
    assert!(table.contains(warning), "{table}");
}

#[test]
fn a_metric_that_the_model_itself_misses_is_an_error() {
    let stage = staged();
    let step = "assign-precision: { budget: { metric: { bytes: 1000000 } } }";
    let (ran, _) = run(&stage, &format!("{SIZE}\n{DATA}\nsteps: [{step}]"));
    let line = ran.fails(1);
    assert!(line.contains("the budget cannot be met: `bytes` is 1"), "{line}");
    assert!(line.ends_with("has to be 1000000 at least, before anything is quantized"), "{line}");
}

#[test]
fn commands_that_fail_are_told_apart() {
    let stage = staged();
    let fails = |metric: &str| {
        stage.write("r.yaml", format!("metrics: {{ m: {{ {metric} }} }}\nsteps: [drop-dead]"));
        let line = stage.optimize(&["m.onnx", "-r", "r.yaml", "-o", "out.onnx"]).fails(1);
        assert!(!stage.path("out.onnx").exists());
        line
    };
    let shell = |text: &str| format!("command: [sh, -c, '{text}', '{{model}}']");
    assert_eq!(
        fails(&shell("echo begun >&2; echo no such dataset >&2; exit 3")),
        "m.onnx: metric `m`: `sh` failed (exit code 3): no such dataset"
    );
    assert_eq!(fails(&shell("echo done")), "m.onnx: metric `m`: `sh` printed no number");
    assert_eq!(
        fails(&(shell("echo top 1") + ", parse: 'top1=(.*)'")),
        "m.onnx: metric `m`: `sh` printed nothing that `top1=(.*)` matches"
    );
    assert_eq!(fails(&shell("kill -9 $$")), "m.onnx: metric `m`: `sh` failed (ended by a signal)");
    let begun = std::time::Instant::now();
    assert_eq!(
        fails(&(shell("exec sleep 60") + ", timeout: 1")),
        "m.onnx: metric `m`: `sh` took longer than 1 s (`timeout` of the metric)"
    );
    assert!(begun.elapsed().as_secs() < 30);
    let line = fails("command: 'no-such-program-here {model}'");
    assert!(line.starts_with("m.onnx: metric `m`: cannot run `no-such-program-here`: "), "{line}");
}

#[test]
fn a_command_runs_beside_its_recipe_and_may_say_much() {
    let stage = staged();
    stage.write(
        "r/eval.sh",
        "yes 12345678 | head -n 100000 >&2; yes 7 | head -n 100000; echo score $(wc -c < $1)",
    );
    stage.write("r/q.yaml", "metrics: { score: { command: 'sh eval.sh {model}' } }\nsteps: [drop-dead]");
    let table = stage.optimize(&["m.onnx", "-r", "r/q.yaml"]).ok();
    let size = std::fs::metadata(stage.path("m.onnx")).unwrap().len();
    assert!(table.contains(&format!("score: {size} → {size} (larger is better)")), "{table}");
}
