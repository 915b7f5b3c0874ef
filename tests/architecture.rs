//! The house rules that a machine can check: who may import whom, sizes, and words that do not belong.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

#[path = "architecture/source.rs"]
mod source;

use regex::Regex;
use source::{Source, blank, imports, long_functions, sources, test_modules, without_tests};

/// Every layer, and what it may import. `lib.rs` is the facade and sees everything.
const LAYERS: &[(&str, &[&str])] = &[
    ("ir", &[]),
    ("schema", &["ir"]),
    ("math", &["ir"]),
    ("onnx", &["ir", "schema"]),
    ("analysis", &["ir", "schema", "math"]),
    ("rewrite", &["ir", "schema", "math", "analysis"]),
    ("engine", &["ir", "schema", "math", "onnx"]),
    ("data", &["ir", "engine"]),
    ("calibrate", &["ir", "math", "engine", "data"]),
    ("pass", &["ir", "schema", "math", "onnx", "analysis", "rewrite", "engine", "calibrate"]),
    ("prelude", &["ir", "schema", "math", "analysis", "rewrite", "engine", "calibrate", "pass"]),
    ("passes", &["prelude"]),
    ("recipe", &["ir", "schema", "data", "rewrite", "pass", "passes"]),
    (
        "pipeline",
        &["ir", "schema", "onnx", "analysis", "rewrite", "engine", "calibrate", "pass", "passes", "recipe"],
    ),
    ("report", &["ir", "schema", "analysis", "engine", "calibrate", "pass", "recipe", "pipeline"]),
    ("optimizer", &["ir", "engine", "calibrate", "recipe", "pipeline", "report"]),
];

/// Layers that the command line reaches through the facade only.
const BEHIND_THE_FACADE: &[&str] = &["ir", "schema", "math", "onnx", "rewrite", "analysis", "engine", "pass"];

/// Words that belong to some files only: a pattern, where it may stand, and why.
const WORDS: &[(&str, &[&str], &str)] = &[
    (r"\.unwrap\(\)", &[], "say why it holds with `expect`, or return the error"),
    (r"\b(todo|unimplemented|dbg)!", &[], "finish it"),
    (r"\be?print(ln)?!", &["src/main.rs", "src/cli"], "only the command line prints"),
    (
        r"\benv::(vars?|args)(_os)?\b",
        &["src/main.rs", "src/cli"],
        "only the command line reads the environment",
    ),
    (r"\bunsafe\b", &["src/onnx/map.rs"], "unsafe code is in one audited file"),
    (r"\btract_\w+", &["src/engine/tract"], "tract is behind the engine"),
    (r"(^|[^:\w])ort::", &["src/engine/ort.rs", "src/engine/mod.rs"], "ort is behind the engine"),
    (r"(^|[^:\w])image::", &["src/data/images.rs"], "the decoder of images stays in one file"),
    (r"\bfaer::", &["src/math/solve.rs", "src/math/spectrum.rs"], "decompositions are behind one function"),
    (r"\bprost(_types)?::", &["src/onnx"], "protobuf types stay in `onnx`"),
    (r"\bserde_saphyr\b", &["src/recipe/load.rs"], "the YAML reader stays in one file"),
    (r"\bclap::", &["src/main.rs", "src/cli"], "the library has no command line"),
];

const MAX_FILE: usize = 400;
const MAX_FUNCTION: usize = 60;

/// What is wrong with the imports of a file.
fn forbidden_imports(source: &Source) -> Vec<String> {
    let code = source.shipped();
    let module = source.module();
    let layer = module[0];
    let mut wrong = Vec::new();
    if matches!(layer, "lib" | "main" | "cli") {
        let allowed = |name: &String| layer == "lib" || name == "cli";
        wrong.extend(
            imports(&code, "crate").into_iter().filter(|n| !allowed(n)).map(|n| format!("crate::{n}")),
        );
        let hidden = |name: &String| BEHIND_THE_FACADE.contains(&name.as_str());
        wrong.extend(
            imports(&code, "onnxpress").into_iter().filter(hidden).map(|n| format!("onnxpress::{n}")),
        );
        return wrong;
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return vec![format!("`{layer}` is no layer: add it to the table of this test")];
    };
    let is_table = source.path == "passes/mod.rs";
    for name in imports(&code, "crate") {
        let inside = name == layer && layer != "passes";
        let listed = allowed.contains(&name.as_str()) || (is_table && name == "pass");
        if !inside && !listed {
            wrong.push(format!("crate::{name}"));
        }
    }
    let reach = if layer == "passes" { 2 } else { 1 };
    let supers = Regex::new(r"\b(super::)+").unwrap();
    for found in supers.find_iter(&code) {
        let up = found.as_str().matches("super").count();
        if !is_table && up + reach > module.len() {
            wrong.push(format!("{} leaves the layer", found.as_str()));
        }
    }
    if code.contains("onnxpress::") {
        wrong.push("onnxpress::".to_owned());
    }
    wrong
}

fn none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

#[test]
fn imports_point_down() {
    let all = sources(&["src", "passes"]);
    let wrong: Vec<String> = (all.iter())
        .flat_map(|s| forbidden_imports(s).into_iter().map(|what| format!("{}: {what}", s.path)))
        .collect();
    none("imports against the layers", &wrong);
}

#[test]
fn files_and_functions_are_short() {
    let mut wrong = Vec::new();
    for source in sources(&["src", "passes", "tests"]) {
        if source.path == "src/schema/generated.rs" {
            continue;
        }
        if source.lines > MAX_FILE {
            wrong.push(format!("{} has {} lines", source.path, source.lines));
        }
        let long = long_functions(&source.code, MAX_FUNCTION).into_iter();
        wrong.extend(long.map(|(name, lines)| format!("{}: fn {name} has {lines} lines", source.path)));
    }
    none("too long", &wrong);
}

#[test]
fn words_stay_where_they_belong() {
    let mut wrong = Vec::new();
    let all: Vec<(Source, String)> = sources(&["src", "passes"])
        .into_iter()
        .map(|s| (s.shipped(), s))
        .map(|(code, s)| (s, code))
        .collect();
    for (pattern, places, why) in WORDS {
        let pattern = Regex::new(pattern).unwrap();
        for (source, code) in all.iter().filter(|(s, _)| !s.is_one_of(places)) {
            for (number, line) in code.lines().enumerate() {
                if pattern.is_match(line) {
                    wrong.push(format!("{}:{}: {}: {why}", source.path, number + 1, line.trim()));
                }
            }
        }
    }
    none("words that do not belong", &wrong);
}

mod this_test_can_fail {
    use super::*;

    fn source(path: &str, code: &str) -> Source {
        Source { path: path.to_owned(), is_test: false, lines: code.lines().count(), code: blank(code) }
    }

    fn wrong(path: &str, code: &str) -> Vec<String> {
        forbidden_imports(&source(path, code))
    }

    #[test]
    fn imports_against_the_layers_are_seen() {
        assert_eq!(wrong("src/ir/graph.rs", "use crate::schema::lookup;"), ["crate::schema"]);
        assert_eq!(
            wrong("src/rewrite/a.rs", "use crate::{ir::{Node, Graph}, pass::Target};"),
            ["crate::pass"]
        );
        assert_eq!(wrong("passes/fuse/a.rs", "use crate::ir::Node;"), ["crate::ir"]);
        assert_eq!(
            wrong("passes/fuse/a.rs", "use super::super::fold::b;"),
            ["super::super:: leaves the layer"]
        );
        assert_eq!(wrong("src/ir/mod.rs", "use super::schema::x;"), ["super:: leaves the layer"]);
        assert_eq!(wrong("src/cli/run.rs", "use onnxpress::ir::Graph;"), ["onnxpress::ir"]);
        assert_eq!(wrong("src/cli/run.rs", "use crate::recipe::Recipe;"), ["crate::recipe"]);
        assert_eq!(wrong("src/odd/a.rs", "").len(), 1);
    }

    #[test]
    fn imports_along_the_layers_are_fine() {
        let none: [String; 0] = [];
        assert_eq!(wrong("passes/fuse/a.rs", "use super::channels::Layer;\nuse crate::prelude::*;"), none);
        assert_eq!(
            wrong(
                "src/rewrite/a.rs",
                "// crate::pass\nuse crate::ir::Node; const X: &str = \"crate::pass\";"
            ),
            none
        );
        assert_eq!(
            wrong("src/ir/a.rs", "#[cfg(test)]\nmod tests { use crate::onnx::text; fn f() { if x { } } }"),
            none
        );
        assert_eq!(wrong("src/cli/run.rs", "use crate::cli::args; use onnxpress::Recipe;"), none);
    }

    #[test]
    fn texts_comments_and_tests_are_no_code() {
        let code = "a('\"'); b(\"x // \\\" y\"); c(r#\"q \" \"#); /* d */ e::<'f>('\\''); // g\nh";
        let plain: String = blank(code).split_whitespace().collect();
        assert_eq!(plain, "a();b();c();e::<'f>();h");
        assert_eq!(blank(code).lines().count(), 2);
        let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() { x.unwrap() }\n}\nfn c() {}";
        assert_eq!(without_tests(code).replace('\n', ""), "fn a() {}fn c() {}");
        assert_eq!(without_tests(code).lines().count(), code.lines().count());
    }

    #[test]
    fn files_of_tests_are_known_by_their_declaration() {
        let text = "#[cfg(test)]\nmod tests;\n#[cfg(test)]\n#[path = \"x_tests.rs\"]\nmod more;\nmod code;";
        assert_eq!(
            test_modules("src/a/mod.rs", text),
            ["src/a/tests.rs", "src/a/tests/", "src/a/x_tests.rs"]
        );
        assert_eq!(
            test_modules("src/a/b.rs", text),
            ["src/a/b/tests.rs", "src/a/b/tests/", "src/a/x_tests.rs"]
        );
    }

    #[test]
    fn long_functions_are_seen() {
        let body = "x;\n".repeat(60);
        let code = format!("fn short() {{}}\ntrait T {{ fn none(&self); }}\nfn long() {{\n{body}}}\n");
        assert_eq!(long_functions(&code, 59), [("long".to_owned(), 60)]);
        assert!(long_functions(&code, 60).is_empty());
    }
}
