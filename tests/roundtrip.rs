//! Files in and files out: what survives, what is refused, and what a directory looks like afterwards.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation)]

#[path = "roundtrip/wire.rs"]
mod wire;

use std::fs;
use std::path::Path;

use onnxpress::ir::Model;
use onnxpress::onnx::{ExternalData, OnnxError, SaveOptions, SaveReport, encode, load, load_bytes, save};
use tempfile::{TempDir, tempdir};
use wire::{around, field, int, model, node, outside, raw};

const ALWAYS: SaveOptions = SaveOptions { external: ExternalData::Always { threshold: 1024 }, durable: true };

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn write(model: &Model, path: &Path, options: &SaveOptions) -> Result<SaveReport, OnnxError> {
    save(model.check().unwrap(), path, options)
}

fn floats(count: usize, from: f32) -> Vec<f32> {
    (0..count).map(|i| from + i as f32).collect()
}

/// A directory with `m.onnx`, and what loading that file says.
fn refused(bytes: &[u8]) -> String {
    let dir = tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    fs::write(&path, bytes).unwrap();
    let message = load(&path).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message.replace(&path.display().to_string(), "m.onnx")
}

#[test]
fn a_second_save_gives_the_same_bytes_even_onto_the_mapped_input() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    fs::write(&path, model(&[raw("w", &floats(5000, 1.0)), raw("v", &[2.0])])).unwrap();
    let first = load(&path).unwrap();
    assert!(first.warnings.is_empty());
    let report = write(&first.model, &path, &SaveOptions::default()).unwrap();
    let saved = fs::read(&path).unwrap();
    assert_eq!((report.total(), report.external), (saved.len() as u64, None));
    // The old map is still good.
    assert_eq!(encode(first.model.check().unwrap()).unwrap(), saved);
    let second = load(&path).unwrap();
    write(&second.model, &path, &SaveOptions::default()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), saved);
    assert_eq!(names(dir.path()), ["m.onnx"]);
}

#[test]
fn files_that_are_no_models_are_refused_in_one_line() {
    let whole = model(&[raw("w", &floats(1000, 0.0))]);
    let deep = (0..10_000).fold(Vec::new(), |inner, _| field(1, field(5, field(6, inner))));
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    assert_eq!(refused(b""), "`m.onnx` is empty");
    assert_eq!(
        refused(lfs.as_bytes()),
        "`m.onnx` is a git-lfs pointer, not the model itself; fetch the model with `git lfs pull`"
    );
    let cut = refused(&whole[..2000]);
    assert!(cut.starts_with("`m.onnx` is cut off: its `graph` takes 4"), "{cut}");
    for text in ["<!DOCTYPE html>\n<html></html>\n", "%PDF-1.7\n", "PK\u{3}\u{4}zip"] {
        let message = refused(text.as_bytes());
        assert!(message.starts_with("`m.onnx` is no ONNX model, or a damaged one: "), "{message}");
    }
    assert_eq!(refused(&int(1, 8)), "`m.onnx` is no ONNX model: it has no graph");
    assert_eq!(
        refused(&around(&deep)),
        "`m.onnx` nests bodies or types too deep: protobuf messages may nest 100 levels"
    );
    // Anything else is an error or a model, but no panic.
    for at in 0..whole.len().min(300) {
        let mut bytes = whole.clone();
        bytes[at] = bytes[at].wrapping_add(0x3b);
        drop(load_bytes(bytes, None));
        drop(load_bytes(whole[..at].to_vec(), None));
    }
}

#[test]
fn paths_that_cannot_be_read_are_named() {
    let dir = tempdir().unwrap();
    let message =
        |path: &Path| load(path).unwrap_err().to_string().replace(&dir.path().display().to_string(), "D");
    assert!(message(&dir.path().join("no.onnx")).starts_with("cannot read `D/no.onnx`: No such file"));
    assert_eq!(message(dir.path()), "cannot read `D`: it is a directory; name the .onnx file in it");
}

#[test]
fn unknown_fields_are_warnings() {
    let graph = [field(1, [node("Op", "x", "y"), int(77, 1)].concat()), field(11, field(1, "x"))].concat();
    let loaded = load_bytes(around(&graph), None).unwrap();
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["unknown field 77 in `graph.node[0]`: it will be lost"]);
}

#[test]
fn targets_that_cannot_be_written_are_named_and_nothing_is_left() {
    let dir = tempdir().unwrap();
    let loaded = load_bytes(model(&[]), None).unwrap().model;
    let readonly = dir.path().join("ro.onnx");
    fs::write(&readonly, "old").unwrap();
    let mut permissions = readonly.metadata().unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&readonly, permissions).unwrap();
    let message = |path: &str| {
        let path = if path.is_empty() { dir.path().to_path_buf() } else { dir.path().join(path) };
        let error = write(&loaded, &path, &SaveOptions::default()).unwrap_err().to_string();
        error.replace(&dir.path().display().to_string(), "D")
    };
    assert_eq!(message(""), "cannot write `D`: it is a directory; give a file name");
    assert_eq!(message("no/m.onnx"), "cannot write `D/no/m.onnx`: its directory does not exist");
    assert_eq!(message("ro.onnx"), "cannot write `D/ro.onnx`: it is read-only");
    assert_eq!(message(".."), "cannot write `D/..`: it is no file name");
    assert_eq!(message("ro.onnx/m.onnx"), "cannot write `D/ro.onnx/m.onnx`: its directory does not exist");
    let name = "n".repeat(256);
    assert!(message(&name).starts_with("cannot write `D/nnnn"));
    assert_eq!(names(dir.path()), ["ro.onnx"]);
    let longest = "n".repeat(255);
    write(&loaded, &dir.path().join(&longest), &SaveOptions::default()).unwrap();
    assert_eq!(names(dir.path()), [longest.as_str(), "ro.onnx"]);
}

#[test]
fn what_a_killed_run_left_does_not_trip_the_next_one() {
    let dir = tempdir().unwrap();
    let stale = format!(".m.onnx.onnxpress-{}-4000000.tmp", std::process::id());
    fs::write(dir.path().join(stale), "half a model").unwrap();
    fs::write(dir.path().join(".m.onnx.onnxpress-99999999-0.tmp"), "half a model").unwrap();
    let loaded = load_bytes(model(&[]), None).unwrap().model;
    write(&loaded, &dir.path().join("m.onnx"), &SaveOptions::default()).unwrap();
    if cfg!(target_os = "linux") {
        assert_eq!(names(dir.path()), ["m.onnx"]);
    }
}

// External data.

/// A directory `d` with `m.onnx` over one tensor of three floats and that reference, `w.bin` beside it, and `out.bin`
/// outside; and what loading the model says.
fn referring(entries: &[(&str, &str)]) -> (TempDir, Result<Model, String>) {
    let top = tempdir().unwrap();
    let dir = top.path().join("d");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::write(dir.join("w.bin"), floats(4, 0.0).iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())
        .unwrap();
    fs::write(top.path().join("out.bin"), [0; 12]).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink("../out.bin", dir.join("link.bin")).unwrap();
        symlink("..", dir.join("up")).unwrap();
        symlink("w.bin", dir.join("good.bin")).unwrap();
    }
    let path = dir.join("m.onnx");
    fs::write(&path, model(&[outside("w", 3, entries)])).unwrap();
    let result = load(&path).map(|l| l.model).map_err(|e| e.to_string());
    (top, result)
}

#[test]
fn hostile_locations_are_refused() {
    let say = |entries: &[(&str, &str)]| {
        let message = referring(entries).1.unwrap_err();
        let rest = message.strip_prefix("initializer `w` of graph `g`: external data ").expect(&message);
        rest.to_owned()
    };
    let at = |location: &str| say(&[("location", location)]);
    let absolute = "`/etc/passwd`: refused: the location must be relative to the model's directory";
    assert_eq!(at("/etc/passwd"), absolute);
    for location in ["../out.bin", "sub/../../out.bin", "..", "./.././out.bin"] {
        assert_eq!(at(location), format!("`{location}`: refused: the location leaves the model's directory"));
    }
    if cfg!(unix) {
        for location in ["link.bin", "up/out.bin", "sub/../up/out.bin"] {
            let link = "refused: a link in the location leads out of the model's directory; put the file itself there";
            assert_eq!(at(location), format!("`{location}`: {link}"));
        }
    }
    assert!(at("none.bin").starts_with("`none.bin`: No such file"));
    assert!(at("*/_ORT_MEM_ADDR_/*").starts_with("`*/_ORT_MEM_ADDR_/*`: No such file"));
    assert_eq!(at("sub"), "`sub`: it is no regular file");
    assert_eq!(at("."), "`.`: it is no regular file");
    assert!(at("w\n.bin\0").starts_with("`w\\n.bin\\0`: "));
    assert_eq!(say(&[]), "``: the location is missing");
    assert_eq!(at(""), "``: the location is missing");
    assert_eq!(
        say(&[("location", "w.bin"), ("location", "x")]),
        "`w.bin`: the key `location` is given twice"
    );
}

#[test]
fn ranges_outside_the_file_are_refused() {
    let say = |offset: &str, length: &str| {
        let entries = [("location", "w.bin"), ("offset", offset), ("length", length)];
        referring(&entries).1.map(|_| ())
    };
    let out = |offset: &str, length: &str| {
        Err(format!(
            "initializer `w` of graph `g`: external data `w.bin`: bytes {offset} to {offset}+{length} are asked for, but \
             the file has 16"
        ))
    };
    assert_eq!(say("4", "12"), Ok(()));
    assert_eq!(say("5", "12"), out("5", "12"));
    assert_eq!(say("17", "0"), out("17", "0"));
    assert_eq!(say("18446744073709551615", "12"), out("18446744073709551615", "12"));
    assert_eq!(
        say("0", "8"),
        Err("initializer `w` of graph `g`: tensor of float[3] needs 12 bytes, but has 8".to_owned())
    );
    for bad in ["-1", "", "0x4", "1e3", "18446744073709551616"] {
        let message = say(bad, "12").unwrap_err();
        assert!(message.ends_with(&format!("`offset` is `{bad}`, which is no number of bytes")), "{message}");
        assert!(say("0", bad).unwrap_err().contains("`length` is"));
    }
}

#[test]
fn external_data_is_read_and_goes_inside_by_default() {
    let (dir, model) = referring(&[("location", "./sub/../w.bin"), ("offset", "4"), ("checksum", "00")]);
    let model = model.unwrap();
    let w = model.graph.find("w").unwrap();
    assert_eq!(model.graph.value(w).data.as_ref().unwrap().to_vec::<f32>(), Some(vec![1.0, 2.0, 3.0]));
    let target = dir.path().join("out.onnx");
    let report = write(&model, &target, &SaveOptions::default()).unwrap();
    assert_eq!(report.external, None);
    assert_eq!(load(&target).unwrap().model.graph.constant(w).unwrap().to_f64s(), Some(vec![1.0, 2.0, 3.0]));
    // Nor does replacing the model itself touch data that this program did not write.
    write(&model, &dir.path().join("d/m.onnx"), &SaveOptions::default()).unwrap();
    assert!(dir.path().join("d/w.bin").exists());
    if cfg!(unix) {
        assert!(referring(&[("location", "good.bin")]).1.is_ok());
    }
}

#[test]
fn bytes_without_a_directory_have_no_external_data() {
    let bytes = model(&[outside("w", 3, &[("location", "w.bin")])]);
    let message = load_bytes(bytes, None).unwrap_err().to_string();
    assert!(message.ends_with("has no directory to look in; give its path instead"), "{message}");
}

#[test]
fn external_data_is_written_aligned_under_a_name_of_its_content() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    let (small, large) = (floats(300, 0.5), floats(300_000, 7.0));
    let bytes = model(&[raw("tiny", &[1.0]), raw("a", &small), raw("b", &large), raw("c", &small)]);
    let model = load_bytes(bytes, None).unwrap().model;
    let report = write(&model, &path, &ALWAYS).unwrap();
    let (data, size) = report.external.clone().unwrap();
    let name = data.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(
        name.strip_prefix("m-").and_then(|n| n.strip_suffix(".data")).is_some_and(|n| n.len() == 16),
        "{name}"
    );
    assert_eq!(names(dir.path()), [name.clone(), "m.onnx".to_owned()]);
    assert_eq!(report.total(), size + fs::metadata(&path).unwrap().len());
    // 4 KiB for the first, 64 KiB for the large one, 4 KiB for the one behind it.
    let third = (65_536u64 + 1_200_000).next_multiple_of(4096);
    assert_eq!(size, third + 1200);
    let written = fs::read(&data).unwrap();
    assert_eq!(written[65_536..65_540], 7f32.to_le_bytes());
    assert_eq!(written[1200..65_536], vec![0; 65_536 - 1200]);
    let again = load(&path).unwrap().model;
    assert_eq!(
        encode(again.check().unwrap()).unwrap(),
        encode(model.check().unwrap()).unwrap(),
        "loaded again, the model is the same"
    );
    // The same content has the same name; other content replaces the file of the old model, and only that one.
    write(&again, &path, &ALWAYS).unwrap();
    assert_eq!(names(dir.path()), [name.clone(), "m.onnx".to_owned()]);
    for bystander in ["m-0000000000000000.data", "m.data"] {
        fs::write(dir.path().join(bystander), "").unwrap();
    }
    write(&again, &path, &SaveOptions::default()).unwrap();
    assert_eq!(names(dir.path()), ["m-0000000000000000.data", "m.data", "m.onnx"]);
    // The map of the removed file is still good.
    assert_eq!(encode(again.check().unwrap()).unwrap(), fs::read(&path).unwrap());
}

#[test]
fn nothing_large_enough_means_no_file() {
    let dir = tempdir().unwrap();
    let loaded = load_bytes(model(&[raw("tiny", &[1.0])]), None).unwrap().model;
    let report = write(&loaded, &dir.path().join("m.onnx"), &ALWAYS).unwrap();
    assert_eq!(report.external, None);
    assert_eq!(names(dir.path()), ["m.onnx"]);
}

#[test]
fn typed_fields_go_outside_too() {
    let dir = tempdir().unwrap();
    let items: Vec<u8> = floats(512, 0.0).iter().flat_map(|x| x.to_le_bytes()).collect();
    let typed = [int(1, 512), int(2, 1), field(4, &items), field(8, "w"), field(12, "doc")].concat();
    let loaded = load_bytes(model(&[typed]), None).unwrap().model;
    let path = dir.path().join("m.onnx");
    let report = write(&loaded, &path, &ALWAYS).unwrap();
    assert_eq!(fs::read(report.external.unwrap().0).unwrap(), items);
    let again = load(&path).unwrap().model;
    let w = again.graph.constant(again.graph.find("w").unwrap()).unwrap();
    assert_eq!(w.label().unwrap().doc.as_deref(), Some("doc"));
}

#[test]
fn more_than_protobuf_holds_is_an_error_unless_it_may_go_outside() {
    let dir = tempdir().unwrap();
    // Three views of one gigabyte that takes no room on the disk.
    fs::File::create(dir.path().join("w.bin")).unwrap().set_len(1 << 30).unwrap();
    let tensor = |name| outside(name, 1 << 28, &[("location", "w.bin")]);
    let input = dir.path().join("in.onnx");
    fs::write(&input, model(&[tensor("a"), tensor("b"), tensor("c")])).unwrap();
    let loaded = load(&input).unwrap().model;
    let never = SaveOptions { external: ExternalData::Never, durable: false };
    let error = write(&loaded, &dir.path().join("m.onnx"), &never).unwrap_err().to_string();
    assert!(error.contains("a protobuf file holds at most 2147483647; write it to a file with"), "{error}");
    assert_eq!(names(dir.path()), ["in.onnx", "w.bin"]);
}
