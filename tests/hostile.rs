//! Bad input: one line that says what and where, no panic, nothing left behind, and soon.
#![allow(
    clippy::cloned_ref_to_slice_refs,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::match_wild_err_arm,
    clippy::pedantic,
    reason = "bytes and texts are put together as they read"
)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    clippy::default_trait_access
)]

#[path = "hostile/bytes.rs"]
mod bytes;
#[path = "hostile/external.rs"]
mod external;
#[path = "hostile/files.rs"]
mod files;
#[path = "hostile/graphs.rs"]
mod graphs;
#[path = "hostile/huge.rs"]
mod huge;
#[path = "hostile/mutations.rs"]
mod mutations;
#[path = "hostile/nonsense.rs"]
mod nonsense;
#[path = "hostile/recipes.rs"]
mod recipes;
#[path = "cli/stage.rs"]
mod stage;

use std::time::Duration;

use stage::Stage;

/// How long the program may take to find out that an input is bad.
const SOON: Duration = Duration::from_secs(5);

/// What the program says about a bad model, whatever it is asked to do with it.
#[track_caller]
fn refused(bytes: &[u8]) -> String {
    let stage = Stage::new();
    stage.write("m.onnx", bytes);
    refused_on(&stage, &[])
}

/// The same for `m.onnx` on a stage.
#[track_caller]
fn refused_on(stage: &Stage, more: &[&str]) -> String {
    let files = stage.files();
    let ran = stage.optimize(&[&["m.onnx", "-o", "out.onnx", "--report", "r.json"], more].concat());
    assert!(ran.took < SOON, "{:?}", ran.took);
    assert_eq!(ran.out(), "");
    let line = ran.fails(1);
    assert_eq!(stage.files(), files, "{line}");
    assert!(line.contains("m.onnx"), "{line}");
    assert!(line.len() < 400, "{line}");
    line.replace("`m.onnx`", "M").replace("m.onnx: ", "M: ")
}
