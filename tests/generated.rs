//! The checked-in documentation is what the code makes. `BLESS=1` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs};

#[path = "generated/opsets.rs"]
mod opsets;

use onnxpress::passes::AnyPass;
use onnxpress::recipe::docs::{PassDoc, generate};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The generated files that are checked in.
fn checked_in() -> BTreeSet<String> {
    let pages = fs::read_dir(root().join("docs/passes")).into_iter().flatten();
    let pages = pages.map(|entry| format!("docs/passes/{}", entry.unwrap().file_name().to_str().unwrap()));
    let schema = "docs/recipe.schema.json";
    pages.chain(root().join(schema).exists().then(|| schema.to_owned())).collect()
}

#[test]
fn generated_files_are_fresh_and_none_is_left_over() {
    let wanted = generate();
    if env::var_os("BLESS").is_some() {
        fs::create_dir_all(root().join("docs/passes")).unwrap();
        for (path, content) in &wanted {
            fs::write(root().join(path), content).unwrap();
        }
        for path in checked_in().iter().filter(|path| !wanted.contains_key(*path)) {
            fs::remove_file(root().join(path)).unwrap();
        }
    }
    let stale = |(path, content): (&String, &String)| {
        let found = fs::read_to_string(root().join(path)).unwrap_or_default().replace("\r\n", "\n");
        (found != *content).then(|| path.clone())
    };
    let stale: Vec<String> = wanted.iter().filter_map(stale).collect();
    let left_over: Vec<String> = checked_in().into_iter().filter(|p| !wanted.contains_key(p)).collect();
    assert!(
        stale.is_empty() && left_over.is_empty(),
        "stale: {stale:?}, left over: {left_over:?}; run `BLESS=1 cargo test --test generated`"
    );
}

#[test]
fn every_pass_is_documented() {
    for id in AnyPass::IDS {
        let doc = PassDoc::of(id).unwrap();
        assert!(doc.summary.ends_with('.') && doc.summary.len() > 20, "{id}: the summary is a sentence");
        let imperative = doc.summary.split(' ').next().unwrap();
        assert!(
            !imperative.ends_with("es") && !imperative.ends_with("ing"),
            "{id}: say what to do: {imperative}"
        );
        assert!(doc.left_alone.len() > 10, "{id}: a paragraph says `*Left alone:*` and what");
        for option in &doc.options {
            assert!(!option.meaning.is_empty(), "{id}: the option `{}` has no documentation", option.name);
            assert!(
                option.name == option.name.to_lowercase() && !option.name.contains('_'),
                "{id}: {}",
                option.name
            );
        }
        assert!(root().join(&doc.file).is_file(), "{id}: {}", doc.file);
    }
}

#[test]
fn every_link_of_a_page_leads_to_a_file() {
    let pages = generate();
    for (path, content) in pages.iter().filter(|(path, _)| path.starts_with("docs/passes/")) {
        let folder = Path::new(path).parent().unwrap();
        for link in content.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let target = folder.join(link);
            let is_page = target.to_str().is_some_and(|target| pages.contains_key(target));
            assert!(is_page || root().join(&target).is_file(), "{path}: {link}");
        }
    }
}
