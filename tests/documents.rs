//! What the hand-written documents say is so: links lead somewhere, recipes are read, cases and code are as quoted.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::{Path, PathBuf};

use onnxpress::passes::AnyPass;
use onnxpress::recipe::Recipe;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The documents that people write, by their path from the root.
fn documents() -> Vec<PathBuf> {
    let mut all = vec![PathBuf::from("fixtures/models/README.md")];
    for folder in ["", "docs", "docs/adr"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = Path::new(folder).join(entry.unwrap().file_name());
            all.extend(path.extension().is_some_and(|e| e == "md").then_some(path));
        }
    }
    all.sort();
    all
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(path)).unwrap().replace("\r\n", "\n")
}

/// The code blocks of a document in one language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let parts = text.split(&opening).skip(1);
    parts.map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_link_leads_to_a_file() {
    for path in documents() {
        let content = text(&path);
        for link in content.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let target = root().join(&path).parent().unwrap().join(link);
            assert!(link.starts_with("https://") || target.exists(), "{}: {link}", path.display());
        }
    }
}

#[test]
fn recipes_are_read() {
    for path in ["README.md", "docs/data.md", "docs/metrics.md"] {
        let recipes = blocks(&text(path), "yaml");
        assert!(!recipes.is_empty());
        for recipe in recipes {
            Recipe::from_str(&recipe, path, root()).unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

#[test]
fn the_walk_through_a_pass_quotes_the_pass() {
    let guide = text("docs/writing-a-pass.md");
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let files = ["passes/fuse/conv_bn.rs", "passes/fuse/mod.rs", "passes/mod.rs"];
    let source = squeezed(&files.map(text).concat());
    for line in blocks(&guide, "rust").iter().flat_map(|block| block.lines()) {
        let wanted = squeezed(line.split('…').next().unwrap());
        assert!(line.starts_with("// ") || source.contains(&wanted), "{line}");
    }
    let case = squeezed(&text("fixtures/fuse-conv-bn/grouped-with-bias.case"));
    let quoted = blocks(&guide, "text");
    assert!(case.starts_with(&squeezed(&quoted[0])), "the case is quoted otherwise than it is");
}

#[test]
fn the_changelog_names_every_pass() {
    let changelog = text("CHANGELOG.md");
    for id in AnyPass::IDS {
        assert!(changelog.contains(id), "CHANGELOG.md does not name {id}");
    }
}
