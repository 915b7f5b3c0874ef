//! References to external data, written by a stranger.

use crate::bytes::{add_with, outside};
use crate::stage::Stage;
use crate::{SOON, refused_on};

const PLACE: &str = "M: initializer `w` of graph `g`: external data ";

/// A stage with a secret beside the model's directory, in which the program runs.
fn stage(entries: &[(&str, &str)]) -> Stage {
    let stage = Stage::new();
    stage.write("m.onnx", add_with(&outside("w", 2, entries)));
    stage.write("good.bin", [0; 8]);
    stage
}

#[test]
fn what_is_not_there_is_refused() {
    let line = refused_on(&stage(&[("location", "none.bin")]), &[]);
    assert_eq!(line, format!("{PLACE}`none.bin`: No such file or directory (os error 2)"));
    assert_eq!(refused_on(&stage(&[]), &[]), format!("{PLACE}``: the location is missing"));
    assert_eq!(refused_on(&stage(&[("location", "")]), &[]), format!("{PLACE}``: the location is missing"));
}

#[test]
fn locations_that_lead_away_are_refused() {
    let inside = std::env::temp_dir();
    let absolute = inside.join("x.bin");
    for location in [absolute.to_str().unwrap(), "/etc/passwd", "/proc/self/mem", "//etc/passwd"] {
        let line = refused_on(&stage(&[("location", location)]), &[]);
        assert!(line.ends_with("refused: the location must be relative to the model's directory"), "{line}");
    }
    for location in ["../good.bin", "a/../../good.bin", "..", "./../x", "a/b/../../../c"] {
        let line = refused_on(&stage(&[("location", location)]), &[]);
        assert!(line.ends_with("refused: the location leaves the model's directory"), "{line}");
    }
    for location in ["no\0table.bin", "good.bin\0", "\u{1b}[31mred", "new\nline"] {
        let line = refused_on(&stage(&[("location", location)]), &[]);
        assert!(line.starts_with(PLACE), "{line}");
    }
    let line = refused_on(&stage(&[("location", &"n".repeat(300))]), &[]);
    assert!(line.contains("File name too long"), "{line}");
}

#[test]
#[cfg(unix)]
fn links_and_things_that_are_no_files_are_refused() {
    use std::os::unix::fs::symlink;
    let secret = tempfile::tempdir().unwrap();
    std::fs::write(secret.path().join("s.bin"), [0; 8]).unwrap();
    let link = |name: &str, target: &std::path::Path| {
        let stage = stage(&[("location", name)]);
        let first = name.split('/').next().unwrap();
        symlink(target, stage.path(first)).unwrap();
        refused_on(&stage, &[])
    };
    let out = "refused: a link in the location leads out of the model's directory; put the file itself there";
    assert!(link("link.bin", &secret.path().join("s.bin")).ends_with(out));
    assert!(link("dir/s.bin", secret.path()).ends_with(out));
    assert!(link("link.bin", "/dev/zero".as_ref()).ends_with(out));
    assert!(link("link.bin", "link.bin".as_ref()).starts_with(PLACE));
    let line = refused_on(&stage(&[("location", ".")]), &[]);
    assert!(line.ends_with("it is no regular file"), "{line}");
    // A link that stays inside is fine.
    let stage = stage(&[("location", "link.bin")]);
    symlink("good.bin", stage.path("link.bin")).unwrap();
    stage.optimize(&["m.onnx", "-o", "out.onnx"]).ok();
}

#[test]
fn offsets_and_lengths_are_checked() {
    let refused = |offset: &str, length: &str| {
        let entries = [("location", "good.bin"), ("offset", offset), ("length", length)];
        refused_on(&stage(&entries), &[])
    };
    assert!(refused("4", "8").ends_with("bytes 4 to 4+8 are asked for, but the file has 8"));
    assert!(refused("9", "0").starts_with(PLACE));
    assert!(refused("18446744073709551615", "8").contains("are asked for"));
    assert!(refused("0", "18446744073709551615").contains("are asked for"));
    assert!(refused("0", "4").ends_with("tensor of float[2] needs 8 bytes, but has 4"));
    for number in ["-1", "x", "", "0x8", "1e3", "99999999999999999999"] {
        assert!(refused(number, "8").ends_with("which is no number of bytes"), "{number}");
        assert!(refused("0", number).ends_with("which is no number of bytes"), "{number}");
    }
    let entries = [("location", "good.bin"), ("location", "other.bin")];
    assert!(refused_on(&stage(&entries), &[]).contains("`location` is given twice"));
}

#[test]
fn standard_input_has_no_directory() {
    let stage = Stage::new();
    stage.write("good.bin", [0; 8]);
    let model = add_with(&outside("w", 2, &[("location", "good.bin")]));
    let ran = stage.feed(&["optimize", "-", "-o", "out.onnx", "--no-verify"], &model);
    assert!(ran.took < SOON);
    let line = ran.fails(1);
    assert!(line.starts_with("standard input: initializer `w`") && line.contains("no directory"), "{line}");
    assert_eq!(stage.files(), ["good.bin"]);
}
