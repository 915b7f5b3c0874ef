//! Files that are no models, or only part of one.

use crate::bytes::{add_with, around, field, int, nodes, raw, relu_with, tensor};
use crate::refused;
use crate::stage::{SMALL, Stage};

#[test]
fn every_truncation_is_refused() {
    let stage = Stage::new();
    stage.model("whole.onnx", SMALL);
    let whole = stage.read("whole.onnx");
    for at in (1..whole.len()).step_by(29).chain([1, 2, 3, whole.len() - 1]) {
        let line = refused(&whole[..at]);
        let known = ["M is cut off: its `", "M is no ONNX model"];
        assert!(known.iter().any(|k| line.starts_with(k)) || line.starts_with("M: "), "{at}: {line}");
    }
    let line = refused(&whole[..whole.len() / 2]);
    assert!(line.starts_with("M is cut off: its `graph` takes "), "{line}");
}

#[test]
fn other_files_are_refused() {
    assert_eq!(refused(b""), "M is empty");
    for junk in
        [&b"<!DOCTYPE html><html></html>"[..], b"PK\x03\x04zip", b"\x89PNG\r\n\x1a\n", b"\x00", &[0xff; 100]]
    {
        let line = refused(junk);
        assert!(line.starts_with("M is no ONNX model"), "{line}");
    }
    assert_eq!(refused(&int(1, 8)), "M is no ONNX model: it has no graph");
    assert!(
        refused(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
            .contains("git lfs pull")
    );
}

#[test]
fn places_that_are_no_files_are_refused() {
    let stage = Stage::new();
    stage.write("dir/x", "");
    let line = |path: &str| stage.optimize(&[path, "-o", "out.onnx"]).fails(1);
    assert_eq!(line("dir"), "cannot read `dir`: it is a directory; name the .onnx file in it");
    assert_eq!(line("none.onnx"), "cannot read `none.onnx`: No such file or directory (os error 2)");
    assert!(line("dir/x/y").starts_with("cannot read `dir/x/y`: "));
    assert!(line(&"n".repeat(5000)).starts_with("cannot read `nnn"));
    assert_eq!(stage.files(), ["dir/x"]);
}

#[test]
fn huge_counts_and_lengths_are_refused() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    // A graph, a node list, a packed list and a raw_data of 2^63 bytes each.
    refused(&[&[0x3a][..], &huge].concat());
    refused(&around(&[&[0x0a][..], &huge].concat()));
    refused(&relu_with(&[field(5, [&[0x22][..], &huge].concat())]));
    refused(&add_with(&[int(1, 2), int(2, 1), field(8, "w"), [&[0x4a][..], &huge].concat()].concat()));
    // A varint without an end, a field number 0, and a group without an end.
    refused(&[0xff; 20]);
    refused(&relu_with(&[vec![0x00, 0x00]]));
    refused(&relu_with(&[vec![0x0b]]));
}

#[test]
fn tensors_that_lie_about_their_data_are_refused() {
    let eight = [0; 8];
    let wrong = |tensor: &[u8]| refused(&add_with(tensor));
    let place = "M: initializer `w` of graph `g`: ";
    assert_eq!(
        wrong(&tensor("w", 1, &[3], &eight)),
        format!("{place}tensor of float[3] needs 12 bytes, but has 8")
    );
    assert_eq!(
        wrong(&tensor("w", 1, &[1], &eight)),
        format!("{place}tensor of float[1] needs 4 bytes, but has 8")
    );
    assert_eq!(wrong(&tensor("w", 1, &[-2], &eight)), format!("{place}dim -2 is negative"));
    assert_eq!(wrong(&tensor("w", 1, &[i64::MIN], &eight)), format!("{place}dim {} is negative", i64::MIN));
    for dims in [&[1 << 40, 1 << 40][..], &[i64::MAX, 2], &[1 << 62, 4], &[i64::MAX]] {
        let line = wrong(&tensor("w", 1, dims, &eight));
        assert!(line.starts_with(place) && line.ends_with("is larger than any memory"), "{line}");
    }
    let line = wrong(&tensor("w", 1, &[1 << 60], &eight));
    assert!(line.starts_with(place), "{line}");
    assert!(wrong(&tensor("w", 77, &[2], &eight)).contains("element type 77 is unknown"));
    assert!(wrong(&tensor("w", 0, &[2], &eight)).contains("element type 0 is unknown"));
    assert!(wrong(&[raw("w", &[1.0, 2.0]), field(4, [0; 8])].concat()).contains("stored twice"));
    let line = wrong(&[int(1, 2), int(2, 8), field(8, "w"), field(6, b"only one")].concat());
    assert!(line.starts_with(place), "{line}");
}

#[test]
fn many_dims_are_no_trouble() {
    let dims = vec![1; 100_000];
    let stage = Stage::new();
    stage.write("m.onnx", add_with(&tensor("w", 1, &dims, &[0; 4])));
    let ran = stage.optimize(&["m.onnx", "-o", "out.onnx"]);
    assert!(
        ran.took < crate::SOON && matches!(ran.code, Some(0 | 1)),
        "{:?} {:?} {}",
        ran.took,
        ran.code,
        ran.err
    );
    let mut many = Vec::new();
    for _ in 0..20_000 {
        many.extend(nodes(&[crate::bytes::node("Relu", "x", "")]));
    }
    stage.write("m.onnx", relu_with(&[many]));
    let ran = stage.optimize(&["m.onnx", "-o", "out.onnx", "--no-verify"]);
    assert!(ran.took < 4 * crate::SOON && ran.code == Some(0), "{:?} {:?} {}", ran.took, ran.code, ran.err);
}
