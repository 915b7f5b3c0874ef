//! Recipes that are bombs, loops or nonsense.

use std::fmt::Write;

use crate::SOON;
use crate::stage::Stage;

#[track_caller]
fn refused(text: impl AsRef<[u8]>) -> String {
    let stage = Stage::with_model();
    stage.write("r.yaml", text);
    let line = on(&stage);
    assert_eq!(stage.files(), ["m.onnx", "r.yaml"]);
    line
}

#[track_caller]
fn on(stage: &Stage) -> String {
    let ran = stage.optimize(&["m.onnx", "-r", "r.yaml", "-o", "out.onnx"]);
    assert!(ran.took < SOON, "{:?}", ran.took);
    let line = ran.fails(2);
    assert!(line.contains(".yaml") && line.len() < 500, "{line}");
    line
}

#[test]
fn bombs_do_not_go_off() {
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let items = vec![format!("*a{}", level - 1); 9].join(", ");
        writeln!(aliases, "a{level}: &a{level} [{items}]").unwrap();
    }
    refused(&aliases);
    refused(aliases.replace("a0:", "steps:"));
    refused("[".repeat(1_000_000));
    refused("{a: ".repeat(100_000));
    refused("- ".repeat(400_000));
    refused("steps: &a [*a]");
    refused("x".repeat(2 << 20));
    assert!(refused(format!("steps: [{}]", "drop-dead, ".repeat(90_000))).contains("at most 1000 steps"));
    refused(format!("steps: [{}]", "{ fixpoint: [drop-dead, drop-dead] }, ".repeat(400)));
    refused("vars: { a: '${b}', b: '${a}' }\nsteps: ['${a}']");
    let doubling: String = (1..60).map(|i| format!("  v{i}: '${{v{}}}${{v{}}}'\n", i - 1, i - 1)).collect();
    refused(format!("vars:\n  v0: x\n{doubling}steps: ['${{v59}}']\n"));
}

#[test]
fn files_that_are_no_yaml_are_refused() {
    for text in [
        &b""[..],
        b"\xff\xfe\x00",
        b"\x00",
        b"steps: [",
        b"\t- x",
        b"%YAML 9.9\n",
        b"--- !!binary x",
        b"42",
        b"- x",
    ] {
        refused(text);
    }
    let stage = Stage::with_model();
    std::fs::create_dir(stage.path("r.yaml")).unwrap();
    assert!(on(&stage).contains("Is a directory"));
    #[cfg(target_os = "linux")]
    {
        let ran = stage.optimize(&["m.onnx", "-r", "/dev/zero"]);
        assert!(ran.took < SOON);
        ran.fails(2);
    }
}

#[test]
fn circles_of_recipes_are_refused() {
    let stage = Stage::with_model();
    stage.write("r.yaml", "extends: sub/b.yaml\n");
    stage.write("sub/b.yaml", "extends: ../r.yaml\n");
    assert!(on(&stage).contains("extend each other in a circle"));
    stage.write("r.yaml", "extends: ./r.yaml\n");
    assert!(on(&stage).contains("extend each other in a circle"));
    stage.write("r.yaml", "extends: none.yaml\n");
    assert!(on(&stage).contains("none.yaml"));
    for i in 0..40 {
        stage.write(&format!("c{i}.yaml"), format!("extends: c{}.yaml\n", i + 1));
    }
    stage.write("r.yaml", "extends: c0.yaml\n");
    assert!(on(&stage).contains("more than 16 recipes"));
}

#[test]
fn unknown_words_are_refused_with_the_nearest() {
    for (text, words) in [
        ("steps: [fuse-conv-nb]", "did you mean `fuse-conv-bn`?"),
        ("steps: [{ fixpoint: [drop-daed] }]", "did you mean `drop-dead`?"),
        ("steps: [{ fold-constants: { maxgrowth: 1 } }]", "did you mean `max-growth`?"),
        ("steps: [{ drop-dead: { id: x, onyl: [a] } }]", "did you mean `only`?"),
        ("setps: []", "did you mean `steps`?"),
        ("verify: { rtoll: 1 }", "did you mean `rtol`?"),
        ("target: { opest: 1 }", "did you mean `opset`?"),
        ("skip: [fuse-conv-nb]", "fuse-conv-nb"),
        ("steps: [{ fold-constants: { max-growth: much } }]", "found the text `much`"),
        ("steps: [{ fold-constants: { max-growth: -1 } }]", "a whole number of at least 0"),
        ("steps: [{ fold-constants: 7, drop-dead: 8 }]", "r.yaml:1:"),
        ("steps: {}", "r.yaml:1:"),
        ("version: 2", "version 1"),
        ("target: { opset: 999 }", "999"),
        ("target: { opset: 0 }", "a whole number from 1 to"),
        ("verify: { runs: 0 }", "a whole number from 1 to"),
        ("verify: { rtol: .nan }", "finite number"),
        ("verify: { rtol: -1 }", "at least 0"),
        ("inputs: { x: { batch: 0 } }", "a whole number"),
        ("inputs: { x: { batch: 9223372036854775808 } }", "r.yaml:1:"),
        ("steps: [{ drop-dead: { only: ['re:('] } }]", "r.yaml:1:"),
        ("steps: [{ drop-dead: { only: ['[a'] } }]", "r.yaml:1:"),
    ] {
        let line = refused(text);
        assert!(line.starts_with("r.yaml:1:") && line.contains(words), "{text}: {line}");
    }
}
