//! Where results go, and where they do not.

use crate::stage::{SMALL, Stage};

#[test]
fn a_result_goes_where_o_says() {
    let stage = Stage::with_model();
    let before = stage.read("m.onnx");
    stage.optimize(&["m.onnx", "-o", "out.onnx"]).ok();
    assert_eq!(stage.operators("out.onnx"), ["Conv"]);
    assert_eq!(stage.files(), ["m.onnx", "out.onnx"]);
    assert_eq!(stage.read("m.onnx"), before);
    // An older result is replaced.
    stage.write("out.onnx", "old");
    stage.optimize(&["m.onnx", "-o", "out.onnx"]).ok();
    assert_eq!(stage.operators("out.onnx"), ["Conv"]);
}

#[test]
fn several_results_go_into_a_directory_which_is_made() {
    let stage = Stage::with_model();
    stage.model("sub/n.onnx", SMALL);
    stage.optimize(&["m.onnx", "sub/n.onnx", "-d", "new/out"]).ok();
    assert_eq!(stage.files(), ["m.onnx", "new/out/m.onnx", "new/out/n.onnx", "sub/n.onnx"]);
    assert_eq!(stage.read("new/out/m.onnx"), stage.read("new/out/n.onnx"));
}

#[test]
fn a_dry_run_writes_nothing() {
    let stage = Stage::with_model();
    let shown = stage.optimize(&["m.onnx"]).ok();
    assert!(shown.starts_with("m.onnx → not written (recipe simplify)"), "{shown}");
    assert!(shown.contains("verified equal on 2 inputs by reference"), "{shown}");
    let files = stage.optimize(&["m.onnx", "--no-verify", "-o", "out.onnx"]).ok();
    let bytes = |text: &str| text.lines().find(|l| l.starts_with(" file bytes")).unwrap().to_owned();
    assert_eq!(bytes(&shown), bytes(&files), "a dry run knows the size");
    assert_eq!(stage.files(), ["m.onnx", "out.onnx"]);
}

#[test]
fn in_place_replaces_the_model() {
    let stage = Stage::with_model();
    stage.model("n.onnx", SMALL);
    stage.optimize(&["m.onnx", "./n.onnx", "--in-place"]).ok();
    assert_eq!(stage.operators("m.onnx"), ["Conv"]);
    assert_eq!(stage.read("m.onnx"), stage.read("n.onnx"));
    assert_eq!(stage.files(), ["m.onnx", "n.onnx"]);
}

#[test]
fn a_model_is_not_replaced_unless_it_is_said() {
    let stage = Stage::with_model();
    stage.model("sub/n.onnx", SMALL);
    let before = stage.read("m.onnx");
    let absolute = stage.path("m.onnx");
    let mut spellings = vec!["m.onnx", "./m.onnx", "sub/../m.onnx", absolute.to_str().unwrap()];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("m.onnx", stage.path("link.onnx")).unwrap();
        std::os::unix::fs::symlink(".", stage.path("here")).unwrap();
        spellings.extend(["link.onnx", "here/m.onnx"]);
    }
    for output in &spellings {
        let line = stage.optimize(&["m.onnx", "-o", output]).fails(2);
        assert_eq!(line, "m.onnx would be replaced; say --in-place if that is wanted", "{output}");
        if !output.starts_with('/') {
            stage.optimize(&[output, "-o", "m.onnx"]).fails(2);
        }
    }
    stage.optimize(&["m.onnx", "-d", "."]).fails(2);
    stage.optimize(&["sub/n.onnx", "m.onnx", "-d", "sub"]).fails(2);
    assert_eq!(stage.read("m.onnx"), before);
}

#[test]
fn two_results_need_two_places() {
    let stage = Stage::with_model();
    stage.model("sub/m.onnx", SMALL);
    let line = stage.optimize(&["m.onnx", "sub/m.onnx", "-d", "out"]).fails(2);
    assert_eq!(line, "two models would both be written to out/m.onnx");
    let line = stage.optimize(&["m.onnx", "./m.onnx", "--in-place"]).fails(2);
    assert_eq!(line, "two models would both be written to ./m.onnx");
    let line = stage.optimize(&["m.onnx", "sub/m.onnx", "-o", "out.onnx"]).fails(2);
    assert_eq!(line, "several models need -d DIR or --in-place, not -o");
    assert_eq!(stage.files(), ["m.onnx", "sub/m.onnx"]);
}

#[test]
fn places_that_cannot_be_written_are_refused_at_once() {
    let stage = Stage::with_model();
    stage.write("file", "");
    stage.write("dir/keep", "");
    let line = |args: &[&str]| stage.optimize(args).fails(1);
    assert_eq!(
        line(&["m.onnx", "-o", "none/out.onnx"]),
        "cannot write `none/out.onnx`: its directory does not exist"
    );
    assert_eq!(line(&["m.onnx", "-o", "dir"]), "cannot write `dir`: it is a directory; give a file name");
    assert_eq!(line(&["m.onnx", "-o", "file/x"]), "cannot write `file/x`: its directory does not exist");
    assert_eq!(
        line(&["m.onnx", "--report", "none/r.json"]),
        "cannot write `none/r.json`: its directory does not exist"
    );
    assert_eq!(stage.optimize(&["m.onnx", "-d", "file"]).fails(2), "file is no directory");
    assert_eq!(stage.files(), ["dir/keep", "file", "m.onnx"]);
}

#[test]
fn a_report_never_replaces_a_model() {
    let stage = Stage::with_model();
    for args in [
        &["m.onnx", "--report", "./m.onnx"][..],
        &["m.onnx", "-o", "out.onnx", "--report", "out.onnx"],
        &["m.onnx", "-d", ".", "--report", "m.onnx"],
    ] {
        stage.optimize(args).fails(2);
    }
    assert_eq!(
        stage.optimize(&["m.onnx", "--report", "-"]).fails(2),
        "--report wants a file; --json prints the report"
    );
    assert_eq!(stage.operators("m.onnx").len(), 5);
    assert_eq!(stage.files(), ["m.onnx"]);
}

#[test]
fn a_batch_goes_on_after_a_bad_model() {
    let stage = Stage::with_model();
    stage.write("bad.onnx", "no model");
    stage.model("n.onnx", SMALL);
    let ran = stage.optimize(&["m.onnx", "bad.onnx", "n.onnx", "-d", "out", "--quiet"]);
    assert!(ran.fails(1).starts_with("`bad.onnx` is no ONNX model"));
    assert_eq!(stage.files(), ["bad.onnx", "m.onnx", "n.onnx", "out/m.onnx", "out/n.onnx"]);
}
