//! A directory to run the program in, and what it did there.
#![allow(dead_code, reason = "two tests share it")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use onnxpress::ir::Model;
use tempfile::TempDir;

/// A directory of its own, in which the program runs.
pub struct Stage {
    dir: TempDir,
}

/// What one run of the program did.
pub struct Ran {
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
    pub took: Duration,
}

/// A small model that `simplify` makes smaller: a `Conv`, a `BatchNormalization`, an `Identity` and constants to fold.
pub const SMALL: &str = r#"
<ir_version: 8, opset_import: ["": 17]>
g (float[batch, 2, 3, 3] x) => (float[batch, 2, 3, 3] y)
<float[2, 2, 1, 1] w = {1.5, -0.5, 0.25, 2}, float[2] one = {1, 1}, float[2] zero = {0, 0}, float[1] a = {2}, float[1] b = {3}>
{
  c = Conv (x, w)
  n = BatchNormalization (c, one, zero, zero, one)
  s = Add (a, b)
  m = Mul (n, s)
  y = Identity (m)
}"#;

/// A model that the reference engine cannot run.
pub const FOREIGN: &str = r#"
<ir_version: 8, opset_import: ["": 17, "com.acme": 1]>
g (float[2] x) => (float[2] y) { i = Identity (x)  y = com.acme.Magic (i) }"#;

impl Stage {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A stage with `m.onnx`, which is [`SMALL`].
    pub fn with_model() -> Self {
        let stage = Self::new();
        stage.model("m.onnx", SMALL);
        stage
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Writes a model that is given as text.
    pub fn model(&self, name: &str, text: &str) {
        let loaded = onnxpress::from_text(text).unwrap_or_else(|e| panic!("{e}"));
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        onnxpress::save(loaded.model.check().unwrap(), self.path(name), &Default::default()).unwrap();
    }

    pub fn load(&self, name: &str) -> Model {
        onnxpress::load(self.path(name)).unwrap_or_else(|e| panic!("{e}")).model
    }

    /// The operators of a model, sorted.
    pub fn operators(&self, name: &str) -> Vec<String> {
        let model = self.load(name);
        let mut ops: Vec<_> = model.graph.nodes().map(|n| model.graph.node(n).op.to_string()).collect();
        ops.sort();
        ops
    }

    /// All files, links included, by their paths from the stage, sorted.
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(self.dir.path(), self.dir.path(), &mut found);
        found.sort();
        found
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onnxpress"));
        command.args(args).current_dir(self.dir.path()).env_remove("ORT_DYLIB_PATH");
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.feed(args, &[])
    }

    /// Runs the program with bytes on its standard input.
    pub fn feed(&self, args: &[&str], input: &[u8]) -> Ran {
        let start = Instant::now();
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // A program that does not read its input closes the pipe.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        Ran { code: output.status.code(), out: output.stdout, err, took: start.elapsed() }
    }

    /// `optimize` on the reference engine.
    pub fn optimize(&self, args: &[&str]) -> Ran {
        self.run(&[&["optimize", "--engine", "reference"], args].concat())
    }
}

impl Ran {
    pub fn out(&self) -> String {
        String::from_utf8(self.out.clone()).unwrap()
    }

    /// The program succeeded; what it printed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self.out()
    }

    /// The program failed with this code and one line; the line.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.out(), self.err);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        let line = self.err.trim_end().strip_prefix("error: ");
        line.unwrap_or_else(|| panic!("{}", self.err)).to_owned()
    }
}

fn walk(root: &Path, dir: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if entry.file_type().unwrap().is_dir() {
            walk(root, &entry.path(), into);
        } else {
            into.push(name);
        }
    }
}
