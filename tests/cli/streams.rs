//! Pipes: a model in, a model out, and readers that leave early.

use std::io::Read;
use std::process::Stdio;

use crate::stage::Stage;

#[test]
fn a_model_goes_from_standard_input_to_standard_output() {
    let stage = Stage::with_model();
    let input = stage.read("m.onnx");
    let ran = stage.feed(&["optimize", "--engine", "reference", "-", "-o", "-"], &input);
    assert!(ran.err.contains("verified equal"), "the table is on standard error: {}", ran.err);
    assert_eq!(ran.code, Some(0));
    stage.optimize(&["m.onnx", "-o", "out.onnx"]).ok();
    assert_eq!(ran.out, stage.read("out.onnx"));
    let quiet = stage.feed(&["optimize", "--no-verify", "--quiet", "-", "-o", "-"], &input);
    assert_eq!((quiet.code, quiet.err.as_str(), quiet.out), (Some(0), "", ran.out));
    let json = stage.feed(&["optimize", "--no-verify", "--json", "-", "-o", "-"], &input);
    let report: serde_json::Value = serde_json::from_str(&json.err).unwrap();
    assert_eq!(report["output"], "-");
}

#[test]
fn standard_input_that_is_no_model_is_named() {
    let stage = Stage::new();
    let ran = |args: &[&str], input: &[u8]| stage.feed(args, input);
    assert_eq!(ran(&["inspect", "-"], b"").fails(1), "`standard input` is empty");
    let line = ran(&["optimize", "--no-verify", "-", "-o", "out.onnx"], b"<html>").fails(1);
    assert!(line.starts_with("`standard input` is no ONNX model"), "{line}");
    assert!(stage.files().is_empty());
}

#[test]
fn standard_input_goes_only_where_it_makes_sense() {
    let stage = Stage::new();
    let line = |args: &[&str]| stage.optimize(args).fails(2);
    assert_eq!(line(&["-", "--in-place"]), "standard input has no place; say -o");
    assert_eq!(line(&["-", "-d", "out"]), "standard input needs -o, not -d");
    assert_eq!(line(&["-", "-"]), "standard input can be read only once");
}

#[test]
fn external_data_needs_a_file() {
    let stage = Stage::with_model();
    let line = stage.optimize(&["m.onnx", "-o", "-", "--external-data", "--quiet"]).fails(1);
    assert!(line.contains("external data needs a model file"), "{line}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let stage = Stage::with_model();
    for args in [&["passes", "fuse-conv-bn"][..], &["recipe", "schema"], &["inspect", "m.onnx", "--text"]] {
        let mut command = stage.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error() {
    let stage = Stage::with_model();
    for args in [&["recipe", "schema"][..], &["optimize", "--no-verify", "--quiet", "m.onnx", "-o", "-"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = stage.command(args).stdout(full).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.starts_with("error: cannot write") && err.lines().count() == 1, "{err}");
    }
}

#[test]
fn nothing_is_coloured_and_nothing_moves_in_a_pipe() {
    let stage = Stage::with_model();
    for args in [
        &["--help"][..],
        &["optimize", "--help"],
        &["optimize", "m.onnx", "-o", "out.onnx"],
        &["optimize", "missing.onnx"],
        &["optimize", "--nonsense"],
        &["inspect", "m.onnx"],
    ] {
        let ran = stage.run(args);
        for text in [&ran.out(), &ran.err] {
            assert!(!text.contains(['\u{1b}', '\r']), "{args:?}: {text:?}");
        }
    }
}
