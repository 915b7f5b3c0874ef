//! Pruning plans, and what it makes of odd models and samples.

use serde_json::Value;

use crate::stage::Stage;

/// Two of the four channels are multiples of the others, so that one half goes without a trace.
pub const MODEL: &str = r#"
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
    let kept = &pass["widths"][1];
    assert_eq!(
        (&kept["layers"][0], &kept["kept"]),
        (&"Conv node `second`".into(), &"an output of the model".into())
    );
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

#[test]
fn where_nothing_can_go_it_says_why_and_fails() {
    let stage = staged("channels: 0.5");
    let line = stage.optimize(&RUN).fails(1);
    assert!(line.contains("no channel can be removed ("), "{line}");
    assert!(line.contains("`round-to`, `min-channels` or `max-per-group` allow no fewer channels"), "{line}");
    assert!(!stage.path("out.onnx").exists());
    let stage = staged("channels: 0.5, allow-noop: true");
    let table = stage.optimize(&RUN).ok();
    assert!(table.contains("keeps 1.000 of the channels, not 0.5"), "{table}");
}

#[test]
fn a_target_that_would_empty_groups_leaves_a_channel_and_says_so() {
    let stage = staged("macs: 0.0001, round-to: 1, max-per-group: 0.999, repair: none");
    let table = stage.optimize(&RUN).ok();
    assert!(table.contains("4 → 1"), "{table}");
    assert!(table.contains("keeps 0.250 of the macs, not 0.0001: groups that are frozen"), "{table}");
}

#[test]
fn selectors_that_select_nothing_are_refused() {
    for options in ["only: [zzz]", "ignore: [zzz]", "groups: { zzz: 0.5 }"] {
        let stage = staged(&format!("channels: 0.5, round-to: 1, {options}"));
        let line = stage.optimize(&RUN).fails(1);
        assert!(line.contains("`zzz`"), "{line}");
        assert!(!stage.path("out.onnx").exists());
    }
}
