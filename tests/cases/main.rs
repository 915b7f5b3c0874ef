//! Every `fixtures/<pass-id>/<case>.case`: one test each, and what each of them is held to.
//!
//! A case is a YAML header and one or two models in the ONNX text syntax:
//!
//! ```text
//! # What the case shows.
//! pass: fuse-conv-bn                     # an id, or a list: a set that runs together
//! options: { … }                         # of the pass; with a list, by id
//! fill: { w: normal, var: [0.5, 2], i: { ints: [0, 3] } }     # also zeros, ones, arange, or a number
//! inputs: { i: { ints: [0, 3] } }        # how inputs are drawn, where the default does not suit
//! expect: { applied: 1, skipped: "…" }   # a reason, or a list of reasons: exactly these; with a list of passes, applied by id
//! close: { atol: 1e-5, rtol: 1e-4 }      # without it: equal bits, but for passes that fuse
//! bind: { N: [1, 3] }                    # sizes of symbolic dims; without it 1 and 3 for each
//! constant: true                         # an output does not depend on the inputs
//! special: true                          # an output is not finite
//! grows: true                            # the file may grow
//! unproved: "why"                        # the reference engine cannot run it; `golden` is needed, or nothing is applied
//! golden: { inputs: { x: […] }, outputs: { y: […] } }          # answers of another runtime, to be met by the result
//! samples: 8                             # batches that a pass measures on, for passes that do
//! sqnr: 30                               # of a lossy pass: the signal to noise ratio that every output has to reach, in dB
//! profile: { bias: float }               # facts of the profile, besides those of any runtime
//! border: true                           # inputs or outputs have other types, or their axes in another order
//! differs: true                          # its inputs or outputs stand for something else: `golden` alone decides
//! ignore: [first]                        # selectors of nodes that the pass must leave alone
//! error: "…"                             # the pass fails, and says this
//! --- before
//! <ir_version: 8, opset_import: ["" : 17]>
//! g (float[N,4] x) => (float[N,4] y) <float[4] w> { … }
//! --- after                              # what is printed afterwards; without it the model must not change
//! ```
//!
//! A name in `< >` without data that nothing produces is filled by the recipe in `fill` (normal by default). `BLESS=1`
//! rewrites the `after` sections; review them with `git diff`.

mod border;
mod case;
mod draw;
mod judge;
mod ratio;
mod reasons;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let files = discover(&root);
    let bless = std::env::var_os("BLESS").is_some_and(|v| v == "1");
    let mut trials: Vec<Trial> = files
        .iter()
        .map(|file| {
            let name = file.strip_prefix(&root).unwrap_or(file).with_extension("").display().to_string();
            let file = file.clone();
            Trial::test(name, move || {
                judge::run(&file, bless).map_err(|e| Failed::from(format!("{}: {e:#}", file.display())))
            })
        })
        .collect();
    trials.extend(reasons::trials(&files));
    libtest_mimic::run(&args, trials).exit_code()
}

/// The case files, sorted.
fn discover(root: &Path) -> Vec<PathBuf> {
    let list = |dir: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let mut files: Vec<PathBuf> = (list(root).into_iter().filter(|p| p.is_dir()))
        .flat_map(|dir| list(&dir))
        .filter(|file| file.extension().is_some_and(|e| e == "case"))
        .collect();
    files.sort();
    files
}
