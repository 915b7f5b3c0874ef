//! The house rules that a machine can check: who may import whom, sizes, and words that do not belong.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Every layer, and what it may import. `lib.rs` is the facade and sees everything.
const LAYERS: &[(&str, &[&str])] = &[
    ("ir", &[]),
    ("schema", &["ir"]),
    ("math", &["ir"]),
    ("onnx", &["ir", "schema"]),
    ("analysis", &["ir", "schema", "math"]),
    ("rewrite", &["ir", "schema", "math", "analysis"]),
    ("engine", &["ir", "schema", "math", "onnx"]),
    ("pass", &["ir", "schema", "math", "analysis", "rewrite", "engine"]),
    ("prelude", &["ir", "schema", "math", "analysis", "rewrite", "engine", "pass"]),
    ("passes", &["prelude"]),
    ("recipe", &["ir", "schema", "rewrite", "pass", "passes"]),
    (
        "pipeline",
        &["ir", "schema", "onnx", "analysis", "rewrite", "engine", "pass", "passes", "recipe", "compare"],
    ),
    ("compare", &["ir", "schema", "analysis", "engine"]),
    ("report", &["ir", "schema", "analysis", "pass", "recipe", "pipeline", "compare"]),
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
    (r"\bprost(_types)?::", &["src/onnx"], "protobuf types stay in `onnx`"),
    (r"\bserde_saphyr\b", &["src/recipe/load.rs"], "the YAML reader stays in one file"),
    (r"\bclap::", &["src/main.rs", "src/cli"], "the library has no command line"),
];

const MAX_FILE: usize = 400;
const MAX_FUNCTION: usize = 60;

/// A source file: its path from the root, its text, and its code without comments and texts.
struct Source {
    path: String,
    lines: usize,
    code: String,
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in folders {
        walk(&root.join(folder), &mut found);
    }
    found.sort();
    let source = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let path = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        Source { path, lines: text.lines().count(), code: blank(&text) }
    };
    let sources: Vec<Source> = found.iter().map(source).collect();
    assert!(sources.len() > 3, "there is something to check");
    sources
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

impl Source {
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/") || self.path.starts_with("tests/")
    }

    /// The code that is shipped: without the modules that only tests have.
    fn shipped(&self) -> String {
        if self.is_test() { String::new() } else { without_tests(&self.code) }
    }

    fn is_one_of(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }

    /// The path as a module: `src/recipe/mod.rs` is `recipe`, `passes/fuse/conv_bn.rs` is `passes::fuse::conv_bn`.
    fn module(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        path.trim_end_matches("/mod").split('/').collect()
    }
}

/// The code with comments, texts and characters blanked out; lines stay where they are.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skip(&chars, at).unwrap_or(at);
        for &c in &chars[at..end] {
            out.push(if c == '\n' { '\n' } else { ' ' });
        }
        if end == at {
            out.push(chars[at]);
        }
        at = end.max(at + 1);
    }
    out
}

/// The end of the comment, text or character that begins here.
fn skip(chars: &[char], at: usize) -> Option<usize> {
    let rest = |n: usize| chars.get(at + n).copied();
    let find = |from: usize, end: &[char]| {
        (from..chars.len()).find(|&i| chars[i..].starts_with(end)).map_or(chars.len(), |i| i + end.len())
    };
    let word_before = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match chars[at] {
        '/' if rest(1) == Some('/') => Some(find(at, &['\n']) - 1).filter(|&e| e > at).or(Some(chars.len())),
        '/' if rest(1) == Some('*') => Some(find(at + 2, &['*', '/'])),
        'r' if !word_before && matches!(rest(1), Some('"' | '#')) => {
            let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
            let open = rest(1 + hashes) == Some('"');
            let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            open.then(|| find(at + hashes + 2, &close))
        }
        '"' => {
            let mut i = at + 1;
            while i < chars.len() && chars[i] != '"' {
                i += if chars[i] == '\\' { 2 } else { 1 };
            }
            Some((i + 1).min(chars.len()))
        }
        '\'' if rest(1) == Some('\\') => Some(find(at + 3, &['\''])),
        '\'' if rest(2) == Some('\'') => Some(at + 3),
        _ => None,
    }
}

/// Where the braces that open first after a place close again.
fn block_end(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (i, c) in code[from..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return Some(from + i + 1),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn without_tests(code: &str) -> String {
    let mut code = code.to_owned();
    let start =
        Regex::new(r"#\[cfg\(test\)\]\s*(#\[[^\]]*\]\s*)*(pub(\([^)]*\))?\s+)?mod\s+\w+\s*\{").unwrap();
    while let Some(found) = start.find(&code) {
        let end = block_end(&code, found.start()).unwrap_or(code.len());
        let blank: String = code[found.start()..end].chars().filter(|&c| c == '\n').collect();
        code.replace_range(found.start()..end, &blank);
    }
    code
}

/// The first names of all paths that begin with a root, groups included: `root::{a::b, c}` gives `a` and `c`.
fn imports(code: &str, root: &str) -> Vec<String> {
    let path = Regex::new(&format!(r"\b{root}::(\w+|\{{)")).unwrap();
    let mut names = Vec::new();
    for found in path.captures_iter(code) {
        let first = found.get(1).unwrap();
        if first.as_str() != "{" {
            names.push(first.as_str().to_owned());
            continue;
        }
        let end = block_end(code, first.start()).unwrap_or(code.len());
        let mut depth = 0;
        let flat: String = (code[first.end()..end - 1].chars())
            .filter(|&c| {
                depth += i32::from(c == '{') - i32::from(c == '}');
                depth == 0 && c != '}'
            })
            .collect();
        let name = |item: &str| item.trim().split("::").next().unwrap_or_default().to_owned();
        names.extend(flat.split(',').map(name).filter(|name| !name.is_empty()));
    }
    names
}

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

/// Functions that are longer than the limit, with their length.
fn long_functions(code: &str) -> Vec<(String, usize)> {
    let start = Regex::new(r"\bfn\s+(\w+)").unwrap();
    let mut long = Vec::new();
    for found in start.captures_iter(code) {
        let at = found.get(0).unwrap().start();
        let Some(open) = code[at..].find(['{', ';']).filter(|i| code[at + i..].starts_with('{')) else {
            continue;
        };
        let end = block_end(code, at + open).unwrap_or(code.len());
        let lines = code[at..end].lines().count();
        if lines > MAX_FUNCTION {
            long.push((found[1].to_owned(), lines));
        }
    }
    long
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
        let long = long_functions(&source.code).into_iter();
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
        Source { path: path.to_owned(), lines: code.lines().count(), code: blank(code) }
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
        assert_eq!(wrong("src/ir/tests.rs", "use crate::onnx::text;"), none);
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
    fn long_functions_are_seen() {
        let body = "x;\n".repeat(60);
        let code = format!("fn short() {{}}\ntrait T {{ fn none(&self); }}\nfn long() {{\n{body}}}\n");
        assert_eq!(long_functions(&code), [("long".to_owned(), 62)]);
    }
}
