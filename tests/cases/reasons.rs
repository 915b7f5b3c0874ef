//! Every pass has cases, and every reason for leaving something alone has one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use onnxpress::passes::AnyPass;

use crate::case::{Applied, Case};

/// Reasons that no valid model can bring about, or that name what they met; each with why it has no case here.
const WITHOUT_A_CASE: &[(&str, &str)] = &[
    (
        "its operator on codes lacks scales along this axis",
        "what quantizes a layer gives it scales that all take",
    ),
    ("another of its outputs is used", "every rule whose root has several outputs says so in its own words"),
    ("the dims would change", "a rule whose result has other dims would be wrong"),
];

/// The checks over all cases together.
pub fn trials(files: &[PathBuf]) -> Vec<Trial> {
    let (cases, again) = (files.to_vec(), files.to_vec());
    vec![
        Trial::test("coverage::every-pass-fires-in-two-cases", move || every_pass_fires(&cases)),
        Trial::test("coverage::every-reason-has-a-case", move || every_reason(&again)),
    ]
}

fn every_pass_fires(files: &[PathBuf]) -> Result<(), Failed> {
    let mut fires: BTreeMap<String, usize> = BTreeMap::new();
    for case in files.iter().filter_map(|f| Case::read(f).ok()) {
        let ids = case.header.pass.all();
        match &case.header.expect.applied {
            Some(Applied::Total(n)) if *n > 0 && ids.len() == 1 => {
                *fires.entry(ids[0].to_owned()).or_default() += 1;
            }
            Some(Applied::ById(counts)) => {
                counts
                    .iter()
                    .filter(|(_, n)| **n > 0)
                    .for_each(|(id, _)| *fires.entry(id.clone()).or_default() += 1);
            }
            _ => {}
        }
    }
    let rare: Vec<_> = AnyPass::IDS.iter().filter(|id| fires.get(**id).copied().unwrap_or(0) < 2).collect();
    if rare.is_empty() {
        Ok(())
    } else {
        Err(format!("fewer than two cases in which these apply: {rare:?}").into())
    }
}

fn every_reason(files: &[PathBuf]) -> Result<(), Failed> {
    let mut shown: BTreeSet<String> = BTreeSet::new();
    for case in files.iter().filter_map(|f| Case::read(f).ok()) {
        shown.extend(case.header.expect.skipped.iter().flat_map(|s| s.all()).map(str::to_owned));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    rust_files(&root.join("passes"), &mut sources);
    sources.extend(["alias.rs", "commit.rs"].map(|file| root.join("src/rewrite").join(file)));
    let mut missing = BTreeMap::new();
    for source in sources {
        for reason in reasons(&std::fs::read_to_string(&source)?) {
            let excused = WITHOUT_A_CASE.iter().any(|(r, _)| *r == reason);
            if !excused && !shown.contains(&reason) {
                missing.insert(reason, source.strip_prefix(root).unwrap_or(&source).display().to_string());
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = missing.iter().map(|(reason, file)| format!("  {file}: {reason}")).collect();
    Err(format!("reasons without a case that expects them:\n{}", lines.join("\n")).into())
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()) {
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
}

/// The literal reasons in a source file: the last string of `Skip::unless(…)`, and the strings of `because` and `skip`.
fn reasons(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["Skip::because(\"", ".skip(\""] {
        for part in source.split(start).skip(1) {
            found.extend(part.split('"').next().map(str::to_owned));
        }
    }
    for part in source.split("Skip::unless(").skip(1) {
        let call = part.split(")?;").next().unwrap_or(part).split(")\n}").next().unwrap_or(part);
        let strings: Vec<&str> = call.split('"').skip(1).step_by(2).collect();
        found.extend(strings.last().map(|s| (*s).to_owned()));
    }
    for part in source.split("Some(\"").skip(1).filter(|_| source.contains("fn why_not")) {
        found.extend(part.split('"').next().map(str::to_owned));
    }
    found
}
