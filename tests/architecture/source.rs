//! Reading Rust sources as far as the house rules need it.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// A source file: its path from the root, and its code without comments and texts.
pub struct Source {
    pub path: String,
    pub is_test: bool,
    pub lines: usize,
    pub code: String,
}

pub fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in folders {
        walk(&root.join(folder), &mut found);
    }
    found.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        (path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/"), text)
    };
    let texts: Vec<(String, String)> = found.iter().map(read).collect();
    assert!(texts.len() > 3, "there is something to check");
    let tests: Vec<String> = texts.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let source = |(path, text): (String, String)| {
        let is_test = path.starts_with("tests/") || tests.iter().any(|test| path.starts_with(test.as_str()));
        Source { is_test, lines: text.lines().count(), code: blank(&text), path }
    };
    texts.into_iter().map(source).collect()
}

/// The files and folders of the modules that a file declares for tests only.
pub fn test_modules(path: &str, text: &str) -> Vec<String> {
    let declared = Regex::new(
        r#"#\[cfg\(test\)\]\s*(?:#\[path = "([^"]+)"\]\s*)?(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+);"#,
    );
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let inside = match file {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        _ => path.trim_end_matches(".rs").to_owned(),
    };
    let places = |found: regex::Captures<'_>| match found.get(1) {
        Some(file) => vec![format!("{folder}/{}", file.as_str())],
        None => vec![format!("{inside}/{}.rs", &found[2]), format!("{inside}/{}/", &found[2])],
    };
    declared.unwrap().captures_iter(text).flat_map(places).collect()
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
    /// The code that is shipped: without the modules that only tests have.
    pub fn shipped(&self) -> String {
        if self.is_test { String::new() } else { without_tests(&self.code) }
    }

    pub fn is_one_of(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }

    /// The path as a module: `src/recipe/mod.rs` is `recipe`, `passes/fuse/conv_bn.rs` is `passes::fuse::conv_bn`.
    pub fn module(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        path.trim_end_matches("/mod").split('/').collect()
    }
}

/// The code with comments, texts and characters blanked out; lines stay where they are.
pub fn blank(text: &str) -> String {
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

pub fn without_tests(code: &str) -> String {
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
pub fn imports(code: &str, root: &str) -> Vec<String> {
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

/// Functions that are longer than a limit, with their length: lines of code in the body, without comments.
pub fn long_functions(code: &str, limit: usize) -> Vec<(String, usize)> {
    let start = Regex::new(r"\bfn\s+(\w+)").unwrap();
    let mut long = Vec::new();
    for found in start.captures_iter(code) {
        let at = found.get(0).unwrap().start();
        let Some(open) = code[at..].find(['{', ';']).filter(|i| code[at + i..].starts_with('{')) else {
            continue;
        };
        let end = block_end(code, at + open).unwrap_or(code.len());
        let body = &code[at + open + 1..end - 1];
        let lines = body.lines().filter(|line| !line.trim().is_empty()).count();
        if lines > limit {
            long.push((found[1].to_owned(), lines));
        }
    }
    long
}
