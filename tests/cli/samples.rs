//! Samples of a recipe and of the command line.

use std::fs;

use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::stage::Stage;

const MODEL: &str = r#"
<ir_version: 8, opset_import: ["": 17]>
g (float[batch, 3, 4, 4] x) => (float[batch, 2, 4, 4] y)
<float[2, 3, 1, 1] w = {1.5, -0.5, 0.25, 2, -1, 0.5}, float[2] b = {0.1, -0.2}>
{
  y = Conv (x, w, b)
}"#;

/// A stage with the model, and eight images in `r/photos`.
fn staged() -> Stage {
    let stage = Stage::new();
    stage.model("m.onnx", MODEL);
    for at in 0..8u8 {
        photo(&stage, &format!("r/photos/{at}.png"), at);
    }
    stage
}

fn photo(stage: &Stage, name: &str, seed: u8) {
    let level = |x: u32, y: u32, c: u32| (x * 50 + y * 13 + c * 70 + u32::from(seed) * 29) as u8;
    let image = RgbImage::from_fn(6, 5, |x, y| Rgb([level(x, y, 0), level(x, y, 1), level(x, y, 2)]));
    fs::create_dir_all(stage.path(name).parent().unwrap()).unwrap();
    image.save(stage.path(name)).unwrap();
}

fn recipe(stage: &Stage, data: &str) {
    stage.write("r/q.yaml", format!("data: {{ {data} }}\nsteps: [quantize-static]\n"));
}

fn report(stage: &Stage, more: &[&str]) -> Value {
    let args = ["m.onnx", "-r", "r/q.yaml", "-o", "out.onnx", "--report", "r.json"];
    let ran = stage.optimize(&[&args, more].concat());
    assert_eq!(ran.err, "", "no bar in a pipe, and nothing else");
    ran.ok();
    serde_json::from_slice(&stage.read("r.json")).unwrap()
}

#[test]
fn the_recipe_names_samples_relative_to_itself() {
    let stage = staged();
    recipe(&stage, "calib: { images: photos, scale: 1/255 }");
    let found = report(&stage, &[]);
    assert_eq!(found["loss"]["batches"], 2, "a quarter of eight: {found}");
    assert_eq!(found["loss"]["held_out"], true);
    assert_eq!((&found["verification"]["runs"], &found["verification"]["seed"]), (&2.into(), &Value::Null));
    assert_eq!(found["warnings"], Value::Array(Vec::new()));
    assert!(stage.operators("out.onnx").contains(&"QuantizeLinear".to_owned()));

    recipe(&stage, "calib: { images: photos, scale: 1/255, limit: 4, holdout: 0 }");
    let found = report(&stage, &[]);
    assert_eq!((&found["loss"]["batches"], &found["loss"]["held_out"]), (&4.into(), &false.into()));
    recipe(&stage, "calib: { images: photos, scale: 1/255 }, eval: { images: photos/3.png, scale: 1/255 }");
    let found = report(&stage, &[]);
    assert_eq!((&found["loss"]["batches"], &found["loss"]["held_out"]), (&1.into(), &true.into()));
}

#[test]
fn the_command_line_wins_and_keeps_how_images_are_prepared() {
    let stage = staged();
    recipe(&stage, "calib: { images: gone, scale: 1/255, mean: 0.5 }");
    let line = stage.optimize(&["m.onnx", "-r", "r/q.yaml"]).fails(1);
    assert_eq!(line, "m.onnx: r/gone: no such file");
    report(&stage, &["--data", "r/photos"]);
    let wanted = stage.read("out.onnx");
    recipe(&stage, "calib: { images: photos/*.png, scale: 1/255, mean: 0.5 }");
    report(&stage, &[]);
    assert!(stage.read("out.onnx") == wanted, "the same files give the same bytes");
    recipe(&stage, "calib: { images: photos, scale: 1/255 }");
    report(&stage, &[]);
    assert!(stage.read("out.onnx") != wanted, "the mean matters");

    stage.write("r/list.txt", "photos/1.png\nphotos/2.png\n");
    recipe(&stage, "");
    let found = report(&stage, &["--data", "r/list.txt"]);
    let warning = found["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("pixels become 0 to 1, since nothing else is said"), "{warning}");
}

#[test]
fn random_samples_are_warned_of() {
    let stage = staged();
    recipe(&stage, "calib: { random: 8, seed: 3 }");
    stage.write("bind.yaml", "extends: r/q.yaml\ninputs: { x: { batch: 1 } }");
    let args = ["m.onnx", "-r", "bind.yaml", "--report", "r.json"];
    let shown = stage.optimize(&args).ok();
    assert!(shown.contains("the 8 samples are random"), "{shown}");
    let found: Value = serde_json::from_slice(&stage.read("r.json")).unwrap();
    assert_eq!(found["loss"]["batches"], 2);
    assert!(found["warnings"][0].as_str().unwrap().starts_with("the 8 samples are random"), "{found}");
}

#[test]
fn a_sample_that_cannot_be_used_ends_the_run_with_its_name() {
    let stage = staged();
    recipe(&stage, "calib: { images: photos, scale: 1/255 }");
    stage.write("r/photos/x.jpg", "no image");
    let args = ["m.onnx", "-r", "r/q.yaml", "-o", "out.onnx"];
    let line = stage.optimize(&args).fails(1);
    assert_eq!(line, "m.onnx: r/photos/x.jpg: it is no image: PNG and JPEG are read");
    let whole = stage.read("r/photos/0.png");
    stage.write("r/photos/x.jpg", &whole[..whole.len() / 2]);
    let line = stage.optimize(&args).fails(1);
    assert!(
        line.starts_with("m.onnx: step `quantize-static`: r/photos/x.jpg: it cannot be decoded: "),
        "{line}"
    );
    let line = stage.optimize(&["m.onnx", "--data", "z=r/photos"]).fails(1);
    assert_eq!(line, "m.onnx: the model has no input `z`; its inputs are `x`");
    assert!(!stage.path("out.onnx").exists());
}

#[test]
fn a_model_is_run_on_the_first_sample() {
    let stage = staged();
    let run = |data: &str| stage.run(&["run", "m.onnx", "--engine", "reference", "--data", data]);
    assert!(run("r/photos/*.png").ok().contains("input  x: float[1, 3, 4, 4] min "));
    stage.write("x.bin", [0; 192]);
    assert!(run("x.bin").ok().contains("input  x: float[1, 3, 4, 4] min 0.000000 max 0.000000"));
    assert!(run("x=none.npy").fails(1).ends_with("none.npy: no such file"));
}

#[test]
fn a_step_that_can_do_without_samples_measures_where_there_are_some() {
    let stage = staged();
    let recipe = |rounding: &str| {
        let step = format!("quantize-weights: {{ min-elements: 1{rounding} }}");
        stage.write("w.yaml", format!("data: {{ calib: {{ images: r/photos }} }}\nsteps: [{step}]\n"));
        stage.write("bare.yaml", format!("steps: [{step}]\n"));
    };
    let sqnr = |recipe: &str, more: &[&str]| {
        let args = ["m.onnx", "-r", recipe, "-o", "out.onnx", "--no-verify", "--report", "r.json"];
        stage.optimize(&[&args, more].concat()).ok();
        let found: Value = serde_json::from_slice(&stage.read("r.json")).unwrap();
        found["steps"][0]["passes"]["quantize-weights"]["layers"][0]["sqnr_db"].clone()
    };
    recipe("");
    assert!(sqnr("bare.yaml", &[]).is_null());
    assert!(sqnr("bare.yaml", &["--data", "r/photos"]).is_number());
    assert!(sqnr("w.yaml", &[]).is_number());
    recipe(", rounding: compensated");
    let line = stage.optimize(&["m.onnx", "-r", "bare.yaml", "-o", "out.onnx"]).fails(1);
    assert!(line.contains("it measures on samples, and there are none"), "{line}");
}
