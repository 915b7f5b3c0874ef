//! The table of passes, and what belongs to each of them.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use onnxpress::passes::AnyPass;
use onnxpress::recipe::{Recipe, Step, StepKind};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pascal(id: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    id.split('-').map(word).collect()
}

/// Passes that are a verb alone: their objects are layers of any kind.
const VERBS: [&str; 2] = ["extract", "factorize"];

#[test]
fn ids_are_unique_kebab_case_and_begin_with_a_verb() {
    let unique: BTreeSet<&str> = AnyPass::IDS.iter().copied().collect();
    assert_eq!(unique.len(), AnyPass::IDS.len());
    for id in AnyPass::IDS {
        let words: Vec<&str> = id.split('-').collect();
        assert!(words.len() >= 2 || VERBS.contains(id), "{id}: verb and object");
        for word in words {
            let plain = word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            assert!(plain && !word.is_empty(), "{id}");
        }
    }
}

#[test]
fn a_pass_is_found_by_its_id() {
    for id in AnyPass::IDS {
        let pass = AnyPass::named(id).unwrap();
        let meta = pass.as_pass().meta();
        assert_eq!(meta.id, *id, "the table and the pass agree");
        let path = AnyPass::type_path(id).unwrap().replace(' ', "").replace("r#", "");
        let [family, object, name] = path.split("::").collect::<Vec<_>>()[..] else {
            panic!("{id}: {path} is not family::object::Type")
        };
        assert_eq!(family, meta.family.name(), "{id}: the folder is the family");
        assert_eq!(name, pascal(id), "{id}: the type is the id");
        let expected = id.split_once('-').map_or(*id, |(_, object)| object).replace('-', "_");
        assert_eq!(object, expected, "{id}: the file is the object");
        assert!(root().join(format!("passes/{family}/{object}.rs")).is_file(), "{id}");
    }
}

#[test]
fn every_file_of_a_pass_is_in_the_table() {
    let known: BTreeSet<String> = AnyPass::IDS
        .iter()
        .map(|id| AnyPass::type_path(id).unwrap().replace(' ', "").replace("r#", ""))
        .map(|path| path.rsplit_once("::").unwrap().0.replace("::", "/"))
        .collect();
    for family in folders(&root().join("passes")) {
        for file in files(&family, "rs") {
            let text = fs::read_to_string(&file).unwrap();
            let is_pass = text.contains("impl Rule for") || text.contains("impl Pass for");
            let module = format!("{}/{}", stem(&family), stem(&file));
            assert!(!is_pass || known.contains(&module), "passes/{module}.rs is not in the table");
        }
    }
}

#[test]
fn every_pass_has_cases() {
    for id in AnyPass::IDS {
        let cases = files(&root().join("fixtures").join(id), "case");
        assert!(
            cases.len() >= 2,
            "fixtures/{id} has {} cases: one that fires, one that does not",
            cases.len()
        );
    }
    for folder in folders(&root().join("fixtures")) {
        let name = stem(&folder);
        let has_cases = !files(&folder, "case").is_empty();
        // `together`: passes that run as a set.
        let belongs = name == "together" || AnyPass::named(&name).is_some();
        assert!(!has_cases || belongs, "fixtures/{name} belongs to no pass");
    }
}

#[test]
fn options_do_not_take_the_names_that_every_pass_has() {
    for id in AnyPass::IDS {
        let options = AnyPass::named(id).unwrap().options();
        let options = options.as_object().unwrap_or_else(|| panic!("{id}: options are a mapping"));
        for taken in ["id", "only", "ignore"] {
            assert!(!options.contains_key(taken), "{id}: `{taken}`");
        }
    }
}

#[test]
fn the_defaults_of_every_pass_survive_a_recipe() {
    for id in AnyPass::IDS {
        let recipe = Recipe::from_str(&format!("steps: [{id}]"), "r", Path::new("")).unwrap();
        let [Step { kind: StepKind::Pass(pass), .. }] = &recipe.steps[..] else { panic!("{id}") };
        assert_eq!(*pass, AnyPass::named(id).unwrap());
        let again =
            Recipe::from_str(&recipe.to_yaml(), "r", Path::new("")).unwrap_or_else(|e| panic!("{id}: {e}"));
        assert_eq!(again, recipe);
    }
}

#[test]
fn unknown_options_are_refused_by_every_pass() {
    for id in AnyPass::IDS {
        let text = format!("steps: [{id}: {{ no-such-option: 1 }}]");
        let error = Recipe::from_str(&text, "r", Path::new("")).unwrap_err().to_string();
        assert!(error.contains("unknown option `no-such-option`"), "{id}: {error}; see deny_unknown_fields");
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    entries(folder).into_iter().filter(|path| path.is_dir()).collect()
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    entries(folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == ending)).collect()
}
