//! Pruning plans, and what it makes of odd models and samples.

use serde_json::Value;

use crate::stage::Stage;

const MODEL: &str = r#"
<ir_version: 8, opset_import: ["": 17]>
g (float[batch, 2, 4, 4] x) => (float[batch, 2, 4, 4] y)
<float[4, 2, 1, 1] w0 = {1, 2, 0.1, 0.2, 2, 1, 0.2, 0.1}, float[2, 4, 1, 1] w1 = {1, 1, 1, 1, 2, 1, 2, 1}>
{
  [first] c = Conv (x, w0)
  r = Relu (c)
  [second] y = Conv (r, w1)
}"#;

fn staged(options: &str) -> Stage {
    let stage = Stage::new();
    stage.model("m.onnx", MODEL);
    stage.write("p.yaml", format!("steps: [{{ prune-channels: {{ {options} }} }}]\n"));
    stage
}

const RUN: [&str; 5] = ["m.onnx", "-r", "p.yaml", "-o", "out.onnx"];

#[test]
fn a_dry_run_tells_the_plan_and_writes_nothing() {
    let stage = staged("channels: 0.5, round-to: 1, dry-run: true");
    let table = stage.optimize(&RUN).ok();
    assert!(table.contains("4 → 2      Conv node `first`"), "{table}");
    assert!(table.contains("would keep 0.500 of the channels: 2 of 4; nothing is written"), "{table}");
    assert!(table.contains("not written"), "{table}");
    assert!(!stage.path("out.onnx").exists());
    let json = stage.optimize(&[&RUN[..], &["--json"]].concat()).ok();
    let report: Value = serde_json::from_str(&json).unwrap();
    let pass = &report["steps"][0]["passes"]["prune-channels"];
    assert_eq!((&pass["widths"][0]["before"], &pass["widths"][0]["after"]), (&4.into(), &2.into()), "{pass}");
    assert!(pass["plan"].is_string() && report["output"].is_null(), "{report}");
}

#[test]
fn what_went_is_told() {
    let stage = staged("channels: 0.5, round-to: 1, repair: none");
    let table = stage.optimize(&RUN).ok();
    assert!(table.contains("4 → 2"), "{table}");
    assert!(stage.path("out.onnx").exists());
}

#[test]
fn samples_that_do_not_fit_or_are_no_numbers_are_refused() {
    let stage = staged("channels: 0.5, round-to: 1");
    for (dims, item) in [([3, 2, 4, 4], f32::NAN), ([3, 2, 4, 5], 1.0)] {
        let count = dims.iter().product::<usize>();
        let dims: Vec<String> = dims.iter().map(usize::to_string).collect();
        let dict = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},)}}\n", dims.join(","));
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((dict.len() as u16).to_le_bytes());
        file.extend(dict.as_bytes());
        (0..count).for_each(|_| file.extend(item.to_le_bytes()));
        stage.write("x.npy", file);
        let line = stage.optimize(&[&RUN[..], &["--data", "x.npy"]].concat()).fails(1);
        assert!(line.contains("x.npy"), "{line}");
        assert!(!stage.path("out.onnx").exists(), "{line}");
    }
}

/// Samples of standard size.
fn samples(stage: &Stage) {
    let dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (16,2,4,4,)}\n";
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((dict.len() as u16).to_le_bytes());
    file.extend(dict.as_bytes());
    (0..16 * 32u32).for_each(|i| file.extend((((i * 37) % 101) as f32 / 50.0 - 1.0).to_le_bytes()));
    stage.write("x.npy", file);
}

const DATA: [&str; 2] = ["--data", "x.npy"];

/// The report of a run with two lossy steps, the first of which costs far more than 20 dB.
fn budgeted(budget: &str) -> (Stage, Value) {
    let stage = staged("channels: 0.5, round-to: 1");
    stage.write(
        "p.yaml",
        format!(
            "steps: [{{ prune-channels: {{ channels: 0.25, round-to: 1, max-per-group: 0.8 }} }}, quantize-weights: {{ min-elements: 1 }}]\nbudget: {{ {budget} }}\n"
        ),
    );
    samples(&stage);
    let args = [&RUN[..], &DATA, &["--json"]].concat();
    let json = stage.optimize(&args).ok();
    (stage, serde_json::from_str(&json).unwrap())
}

#[test]
fn a_step_that_breaks_the_budget_is_undone() {
    let (stage, report) = budgeted("sqnr: 20, roll-back: true");
    let steps = &report["steps"];
    assert!(steps[0]["undone"].as_str().unwrap().contains("has to be 20 at least"), "{steps}");
    assert!(steps[1]["undone"].is_null() && steps[1]["loss"].is_object(), "{steps}");
    assert!(stage.path("out.onnx").exists());
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("step `prune-channels` is undone: sqnr is"), "{warnings}");
}

#[test]
fn a_fraction_is_searched_with_which_the_budget_holds() {
    let (_, report) = budgeted("sqnr: 3, search: true");
    let kept = report["steps"][0]["kept"].as_f64().unwrap_or_else(|| panic!("{report}"));
    assert!(kept > 0.25 && kept < 1.0, "{report}");
    let db = report["steps"][0]["loss"]["outputs"][0]["sqnr_db"].as_f64().unwrap();
    assert!(db >= 3.0, "{report}");
}

#[test]
fn each_of_several_lossy_steps_tells_what_it_costs() {
    let (_, report) = budgeted("");
    assert!(report["steps"].as_array().unwrap().iter().all(|step| step["loss"].is_object()), "{report}");
    assert_eq!(report["loss"], report["steps"][1]["loss"]);
}
