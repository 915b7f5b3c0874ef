//! Recipes and passes on the command line.

use crate::stage::Stage;

#[test]
fn passes_are_listed_and_explained() {
    let stage = Stage::new();
    let list = stage.run(&["passes"]).ok();
    assert_eq!(list.lines().count(), onnxpress::passes::AnyPass::IDS.len());
    for (line, id) in list.lines().zip(onnxpress::passes::AnyPass::IDS) {
        assert!(line.starts_with(id) && line.len() > id.len() + 10, "{line}");
    }
    let page = stage.run(&["passes", "fold-constants"]).ok();
    assert!(
        page.contains("fold-constants") && page.contains("max-growth") && page.contains("Left alone"),
        "{page}"
    );
    let line = stage.run(&["passes", "fuse-conv-bm"]).fails(2);
    assert_eq!(line, "no pass is called `fuse-conv-bm`; did you mean `fuse-conv-bn`?");
}

#[test]
fn recipes_are_listed_shown_and_checked() {
    let stage = Stage::with_model();
    let list = stage.run(&["recipe", "list"]).ok();
    assert!(list.contains("\nsimplify          The smallest graph"), "{list}");
    stage.write("mine.yaml", "extends: simplify\nskip: [fuse-conv-bn]\nverify: { runs: 3 }\n");
    let shown = stage.run(&["recipe", "show", "mine.yaml"]).ok();
    assert!(shown.contains("drop-identity") && !shown.contains("fuse-conv-bn"), "{shown}");
    stage.write("shown.yaml", &shown);
    assert_eq!(stage.run(&["recipe", "show", "shown.yaml"]).ok(), shown, "what is shown means the same");
    assert_eq!(stage.run(&["recipe", "check", "mine.yaml", "shown.yaml"]).ok(), "");
    let table = stage.optimize(&["m.onnx", "-r", "mine.yaml", "-o", "out.onnx"]).ok();
    assert!(table.contains("(recipe mine.yaml)") && table.contains("equal on 3 inputs"), "{table}");
    assert_eq!(stage.operators("out.onnx"), ["BatchNormalization", "Conv", "Mul"]);
}

#[test]
fn the_schema_is_the_checked_in_one() {
    let printed: serde_json::Value =
        serde_json::from_str(&Stage::new().run(&["recipe", "schema"]).ok()).unwrap();
    let checked_in = include_str!("../../docs/recipe.schema.json");
    assert_eq!(printed, serde_json::from_str::<serde_json::Value>(checked_in).unwrap());
}

#[test]
fn a_wrong_recipe_is_a_usage_error_with_its_place() {
    let stage = Stage::with_model();
    let refused = |text: &str| {
        stage.write("r.yaml", text);
        let line = stage.run(&["recipe", "check", "r.yaml"]).fails(2);
        assert_eq!(stage.optimize(&["m.onnx", "-r", "r.yaml", "-o", "out.onnx"]).fails(2), line);
        line
    };
    assert_eq!(
        refused("steps:\n  - drop-ded\n"),
        "r.yaml:2:5: unknown pass `drop-ded`; did you mean `drop-dead`?"
    );
    let line = refused("steps:\n  - fold-constants: { max-grow: 1 }\n");
    assert!(line.starts_with("r.yaml:2:") && line.contains("did you mean `max-growth`?"), "{line}");
    let line = refused("steps: []\nsteps: []\n");
    assert!(line.starts_with("r.yaml:2:1: duplicate"), "{line}");
    let line = refused("stps: []\n");
    assert!(line.starts_with("r.yaml:1:1: ") && line.contains("did you mean `steps`?"), "{line}");
    let line = stage.optimize(&["m.onnx", "-r", "simplfy"]).fails(2);
    assert_eq!(line, "no recipe is called `simplfy`; did you mean `simplify`?");
    let line = stage.optimize(&["m.onnx", "-r", "none.yaml"]).fails(2);
    assert!(line.starts_with("none.yaml: the recipe cannot be read"), "{line}");
    assert_eq!(stage.files(), ["m.onnx", "r.yaml"]);
}

#[test]
fn variables_are_set() {
    let stage = Stage::with_model();
    stage.write(
        "r.yaml",
        "vars: { size: 2 }\ninputs: { x: { batch: \"${size}\" } }\nsteps: [drop-identity]\n",
    );
    let ty = |more: &[&str]| {
        stage.optimize(&[&["m.onnx", "-r", "r.yaml", "-o", "out.onnx"], more].concat()).ok();
        let model = stage.load("out.onnx");
        model.graph.value(model.graph.inputs()[0]).ty.to_string()
    };
    assert_eq!(ty(&[]), "float[2,2,3,3]");
    assert_eq!(ty(&["--set", "size=5"]), "float[5,2,3,3]");
    let line = stage.optimize(&["m.onnx", "-r", "r.yaml", "--set", "sise=5"]).fails(2);
    assert_eq!(line, "the recipe has no variable `sise`; did you mean `size`?");
    assert_eq!(stage.optimize(&["m.onnx", "--set", "size"]).code, Some(2));
}

#[test]
fn a_selector_that_matches_nothing_is_an_error() {
    let stage = Stage::with_model();
    stage.write("r.yaml", "steps:\n  - drop-identity: { only: [nonesuch] }\n");
    let line = stage.optimize(&["m.onnx", "-r", "r.yaml", "-o", "out.onnx"]).fails(1);
    assert!(line.starts_with("m.onnx: step `drop-identity`: ") && line.contains("`nonesuch`"), "{line}");
    assert_eq!(stage.files(), ["m.onnx", "r.yaml"]);
}

#[test]
fn profiles_are_listed_shown_and_chosen() {
    let stage = Stage::with_model();
    let list = stage.run(&["profiles"]).ok();
    assert!(list.contains("x86-avx2") && list.contains("tensorrt"), "{list}");
    assert!(stage.run(&["profiles", "rknn"]).ok().contains("opset: 19"));
    let line = stage.run(&["profiles", "rkn"]).fails(2);
    assert_eq!(line, "no profile is called `rkn`; did you mean `rknn`?");
    stage.write("auto.yaml", "target: { profile: auto }\nsteps: []\n");
    stage.run(&["optimize", "m.onnx", "-r", "auto.yaml"]).ok();
    stage.run(&["optimize", "m.onnx", "--profile", "generic"]).ok();
    let line = stage.run(&["optimize", "m.onnx", "--profile", "generc"]).fails(2);
    assert_eq!(line, "--profile:1:1: unknown profile `generc`; did you mean `generic`?");
}

#[test]
fn dims_without_a_name_are_bound_by_axis_and_verified_so() {
    let stage = Stage::new();
    let text = r#"
<ir_version: 8, opset_import: ["": 17]>
g (float[1, 2, ?, ?] x) => (float[1, 2, ?, ?] y)
<float[2, 2, 1, 1] w = {1.5, -0.5, 0.25, 2}>
{ c = Conv (x, w)  y = Identity (c) }"#;
    stage.model("open.onnx", text);
    stage.write("bind.yaml", "extends: simplify\ninputs: { x: { 2: 5, 3: 7 } }\n");
    let told = stage.run(&["optimize", "open.onnx", "-r", "bind.yaml", "-o", "out.onnx"]).ok();
    assert!(told.contains("verified equal"), "{told}");
    let out = stage.run(&["inspect", "out.onnx"]).ok();
    assert!(out.contains("x: float[1,2,5,7]"), "{out}");
}

#[test]
fn names_that_are_gone_still_select_and_are_told() {
    let stage = Stage::new();
    let text = r#"<ir_version: 10, opset_import: ["": 21]> g (float[N, 64] x) => (float[N, 8] y)
        <float[64, 64] w, float[64, 8] v> { [first] a = MatMul (x, w)  b = Relu (a)  [last] y = MatMul (b, v) }"#;
    let weights = format!("{{{}}}", (0..4096).map(|at| format!("{}", at % 97)).collect::<Vec<_>>().join(","));
    let few = format!("{{{}}}", (0..512).map(|at| format!("{}", at % 89)).collect::<Vec<_>>().join(","));
    let text = text.replace("64] w", &format!("64] w = {weights}")).replace("8] v", &format!("8] v = {few}"));
    stage.model("m.onnx", &text);
    stage.write("r.yaml", "steps: [shorten-names, { quantize-weights: { only: [first] } }, shorten-names]");
    let json = stage.optimize(&["m.onnx", "-r", "r.yaml", "-o", "out.onnx", "--json"]).ok();
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    let from = |op: &str| {
        let made = report["provenance"].as_array().unwrap().iter().filter(|made| made["op"] == op);
        made.map(|made| made["from"][0].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (from("MatMul"), from("Relu")),
        (vec!["first".into(), "last".into()], vec!["b".into()]),
        "{report}"
    );
    assert_eq!(from("DequantizeLinear"), ["first"], "{report}");
    let floats = report["integers"]["floats"].as_array().unwrap();
    let nodes: Vec<_> = floats.iter().map(|float| float["node"].as_str().unwrap()).collect();
    assert_eq!(nodes, ["first", "last"], "{report}");
    let graph = stage.load("out.onnx").graph;
    assert!(graph.nodes().all(|node| graph.node(node).name.is_empty()));
    assert!(graph.values().all(|value| graph.value(value).name.len() == 1));
}
