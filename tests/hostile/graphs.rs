//! Graphs that no runtime takes.

use crate::bytes::{
    add_with, around, attribute, call, field, graph, initializer, input, int, named, nested, node, nodes,
    output, raw, relu_with,
};
use crate::refused;
use crate::stage::Stage;

fn model(parts: &[Vec<u8>]) -> Vec<u8> {
    around(&graph(&[&[named("g"), input("x", &[2]), output("y", &[2])], parts].concat()))
}

#[test]
fn cycles_are_refused() {
    let cycle = nodes(&[
        node("Neg", "x", "z"),
        call("Add", &["z", "b"], &["a"], &[]),
        node("Relu", "a", "b"),
        node("Abs", "b", "y"),
    ]);
    assert_eq!(refused(&model(&[cycle])), "M: graph `g` has a cycle through the Add node that makes `a`");
    let line = refused(&model(&[nodes(&[node("Relu", "y", "y")])]));
    assert!(line.contains("has a cycle"), "{line}");
}

#[test]
fn names_without_a_value_are_refused() {
    let line = refused(&model(&[nodes(&[node("Relu", "nope", "y")])]));
    assert!(line.ends_with("reads `nope`, which nothing in graph `g` or around it produces"), "{line}");
    let line = refused(&model(&[nodes(&[node("Relu", "x", "z")])]));
    assert!(line.contains("output `y` of graph `g`"), "{line}");
    let body = [named("b"), nodes(&[node("Relu", "inner", "o")]), field(12, field(1, "o"))].concat();
    let branches =
        [attribute("then_branch", 5, &[field(6, &body)]), attribute("else_branch", 5, &[field(6, &body)])];
    let line = refused(&model(&[nodes(&[call("If", &["x"], &["y"], &branches)])]));
    assert!(line.contains("reads `inner`, which nothing in graph `b` or around it produces"), "{line}");
}

#[test]
fn names_with_two_values_are_refused() {
    let twice = "is defined twice in graph `g`; names must be unique";
    let relu = || node("Relu", "x", "y");
    let named = |parts: &[Vec<u8>]| refused(&model(parts));
    assert_eq!(named(&[nodes(&[relu(), node("Abs", "x", "y")])]), format!("M: value `y` {twice}"));
    assert_eq!(named(&[nodes(&[call("Split", &["x"], &["y", "y"], &[])])]), format!("M: value `y` {twice}"));
    assert_eq!(named(&[nodes(&[relu(), node("Abs", "x", "x")])]), format!("M: value `x` {twice}"));
    assert_eq!(named(&[nodes(&[relu()]), input("x", &[2])]), format!("M: value `x` {twice}"));
    let w = || initializer(&raw("w", &[1.0, 2.0]));
    assert_eq!(named(&[nodes(&[relu()]), w(), w()]), format!("M: value `w` {twice}"));
    assert_eq!(named(&[nodes(&[relu(), node("Abs", "x", "w")]), w()]), format!("M: value `w` {twice}"));
}

#[test]
fn what_misses_its_essentials_is_refused() {
    let line = refused(&model(&[nodes(&[[field(1, "x"), field(2, "y")].concat()])]));
    assert!(line.contains("it has no op_type"), "{line}");
    assert!(refused(&relu_with(&[initializer(&raw("", &[1.0]))])).contains("it has no name"));
    assert!(refused(&relu_with(&[field(11, field(1, ""))])).contains("it has no name"));
    let twice = [field(8, [field(1, ""), int(2, 12)].concat())].concat();
    let line = refused(&[relu_with(&[]), twice].concat());
    assert_eq!(line, "M: the model: domain `` is imported as opset 17 and as 12");
    let attr = || attribute("axis", 2, &[int(3, 1)]);
    let line = refused(&model(&[nodes(&[call("Softmax", &["x"], &["y"], &[attr(), attr()])])]));
    assert!(line.contains("attribute `axis` is given twice"), "{line}");
}

#[test]
fn attributes_that_lie_about_their_type_are_harmless() {
    let floats = [field(7, [0; 8])].concat();
    let lies = [
        call("Transpose", &["x"], &["y"], &[attribute("perm", 7, &[floats.clone()])]),
        call("Transpose", &["x"], &["y"], &[attribute("perm", 6, &[floats])]),
        call("Softmax", &["x"], &["y"], &[attribute("axis", 1, &[int(3, 1)])]),
        call("Softmax", &["x"], &["y"], &[attribute("axis", 3, &[field(4, b"\xff\xfe")])]),
        call("Cast", &["x"], &["y"], &[attribute("to", 3, &[field(4, "FLOAT")])]),
        call("Cast", &["x"], &["y"], &[attribute("to", 2, &[int(3, u64::MAX)])]),
        call("If", &["x"], &["y"], &[attribute("then_branch", 2, &[int(3, 1)])]),
        call("Constant", &[], &["y"], &[attribute("value", 1, &[])]),
        call("Constant", &[], &["y"], &[]),
        call("Relu", &["x"], &["y"], &[attribute("", 2, &[])]),
        call("Relu", &["x"], &["y"], &[attribute("a", 99, &[])]),
        call("Relu", &["x"], &["y"], &[attribute("a", 4, &[])]),
        call("Relu", &["x"], &["y"], &[attribute("a", 0, &[])]),
        call("Relu", &[], &["y"], &[]),
        call("Relu", &["", "x", "", "x"], &["y", "", "z"], &[]),
        call("Relu", &vec!["x"; 70_000], &["y"], &[]),
    ];
    for (at, lie) in lies.iter().enumerate() {
        let stage = Stage::new();
        stage.write("m.onnx", model(&[nodes(std::slice::from_ref(lie)), initializer(&raw("w", &[1.0]))]));
        let ran = stage.optimize(&["m.onnx", "-o", "out.onnx"]);
        assert!(ran.took < crate::SOON, "{at}: {:?}", ran.took);
        match ran.code {
            Some(0) => assert_eq!(stage.load("out.onnx").graph.nodes().count(), 1, "{at}"),
            _ => drop(ran.fails(1)),
        }
    }
}

#[test]
fn nesting_without_end_is_refused() {
    let deep = |levels: usize| {
        let inner = [named("b"), nodes(&[node("Relu", "x", "o")]), field(12, field(1, "o"))].concat();
        (0..levels).fold(inner, |inner, _| {
            let branches = [attribute("then_branch", 5, &[field(6, &inner)])];
            [named("b"), nodes(&[call("If", &["x"], &["o"], &branches)]), field(12, field(1, "o"))].concat()
        })
    };
    let branch = [attribute("then_branch", 5, &[field(6, deep(40))])];
    let bodies = model(&[nodes(&[call("If", &["x"], &["y"], &branch)])]);
    // Graph → node → attribute → graph, and type → sequence → type.
    let deeper = model(&[nested(10_000, &[1, 5, 6])]);
    let types = relu_with(&[field(13, [field(1, "y"), field(2, nested(10_000, &[4, 1]))].concat())]);
    for bytes in [bodies, deeper, types] {
        let line = refused(&bytes);
        assert_eq!(line, "M nests bodies or types too deep: protobuf messages may nest 100 levels");
    }
    // As deep as the format allows.
    let stage = Stage::new();
    let branch = [attribute("then_branch", 5, &[field(6, deep(25))])];
    stage.write("m.onnx", model(&[nodes(&[call("If", &["x"], &["y"], &branch)])]));
    let ran = stage.optimize(&["m.onnx", "-o", "out.onnx"]);
    assert!(ran.took < crate::SOON && ran.code == Some(0), "{:?} {:?} {}", ran.took, ran.code, ran.err);
}

#[test]
fn deep_text_is_refused() {
    let head = r#"<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y) { "#;
    for (open, close) in [
        ("y = If (x) <then_branch = b () => (float[2] y) { ", "}>"),
        ("y = A <a = [", "]>"),
        ("y = A <a : type_proto = seq(", ")>"),
        ("y = A <a = float[2] {", "}>"),
        ("(", ")"),
    ] {
        for levels in [300, 10_000, 100_000] {
            let text = [head, &open.repeat(levels), &close.repeat(levels), "}"].concat();
            let message = onnxpress::from_text(&text).unwrap_err().to_string();
            assert!(message.starts_with("text:1:") && message.len() < 400, "{open}: {message}");
            assert!(onnxpress::from_text(&text[..text.len() / 2]).is_err());
        }
    }
}

#[test]
fn functions_that_call_themselves_do_not_run_away() {
    let text = r#"<ir_version: 8, opset_import: ["": 17, "f": 1]>
        g (float[2] x) => (float[2] y) { y = f.loop (x) }
        <domain: "f", opset_import: ["": 17, "f": 1]>
        loop (a) => (b) { c = f.other (a)  b = f.other (c) }
        <domain: "f", opset_import: ["": 17, "f": 1]>
        other (a) => (b) { c = f.loop (a)  b = f.loop (c) }"#;
    let stage = Stage::new();
    stage.model("m.onnx", text);
    stage.write(
        "r.yaml",
        "steps: [inline-functions, { fixpoint: [inline-functions, fold-constants, drop-dead] }]",
    );
    for recipe in ["simplify", "r.yaml"] {
        let ran = stage.optimize(&["m.onnx", "-r", recipe, "-o", "out.onnx"]);
        assert!(ran.took < crate::SOON, "{recipe}: {:?}", ran.took);
        assert!(
            matches!(ran.code, Some(0 | 1)) && ran.err.lines().count() <= 1,
            "{recipe}: {:?} {}",
            ran.code,
            ran.err
        );
    }
}

#[test]
fn functions_that_double_do_not_explode() {
    let mut text = r#"<ir_version: 8, opset_import: ["": 17, "f": 1]>
        g (float[2] x) => (float[2] y) { y = f.f40 (x) }
        <domain: "f", opset_import: ["": 17, "f": 1]> f0 (a) => (b) { b = Neg (a) }
        "#
    .to_owned();
    for level in 1..=40 {
        let below = level - 1;
        text += &format!(
            "<domain: \"f\", opset_import: [\"\": 17, \"f\": 1]> f{level} (a) => (b) {{ c = f.f{below} (a)  b = f.f{below} (c) }}\n"
        );
    }
    let stage = Stage::new();
    stage.model("m.onnx", &text);
    stage.write("r.yaml", "steps: [inline-functions]");
    let ran = stage.run(&["optimize", "m.onnx", "-r", "r.yaml", "-o", "out.onnx", "--no-verify"]);
    assert!(ran.took < crate::SOON, "{:?}", ran.took);
    assert!(matches!(ran.code, Some(0 | 1)) && ran.err.lines().count() <= 1, "{:?} {}", ran.code, ran.err);
}

#[test]
fn an_initializer_for_nothing_is_harmless() {
    let stage = Stage::new();
    stage.write("m.onnx", add_with(&raw("w", &[1.0, 2.0])));
    stage.optimize(&["m.onnx", "-o", "out.onnx"]).ok();
    stage.write("m.onnx", relu_with(&[initializer(&raw("w", &[1.0; 1000]))]));
    stage.optimize(&["m.onnx", "-o", "out.onnx"]).ok();
    assert!(stage.read("out.onnx").len() < 200);
}
