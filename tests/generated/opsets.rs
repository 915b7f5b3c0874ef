//! `docs/opsets.md`: every operator and every version of it, read off the tables of the dialect.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use onnxpress::schema;

const PAGE: &str = "docs/opsets.md";

const HEAD: &str = "\
<!-- Generated from the tables of src/onnx/dialect; `BLESS=1 cargo test --test generated` writes it anew. -->
# Operators and opsets

What `onnxpress convert --opset N` does with each operator of `ai.onnx`, and with each of its versions. A node is written
at another opset where a form of that opset means exactly the same. Else nothing is written, and the error names the node,
the operator, the reason and the lowest opset that would do. Operators of other domains pass through.

Down, a node is refused whatever its operator where the older version lacks an element type, an input, an output or an
attribute (with another value than what the version means anyway), and where the operator did not exist yet. Up, nothing is
refused but what the second table says.

| Mark | |
|---|---|
| `=` | a node of the version before is one of this version, as it is |
| `*` | the form changes: see below |
| `x` | the operator is withdrawn |

| Operator | From | Versions |
|---|---|---|
";

/// A change of an operator, as a row of the tables says it.
struct Change {
    versions: (i64, i64),
    up: String,
    down: String,
}

/// One file of the dialect.
struct Source(String);

impl Source {
    /// The rows of its table, each in its five parts.
    fn rows(&self) -> Vec<Vec<String>> {
        let Some((_, table)) = self.0.split_once("const STEPS: &[Row] = &[") else { return Vec::new() };
        let table = table.split_once("\n];").unwrap().0;
        split(table, ',').iter().map(|row| split(unwrapped(row), ',')).collect()
    }

    fn body(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.0.split_once(&format!("fn {name}("))?;
        rest.split_once("\n}\n").map(|(body, _)| body)
    }

    /// What a step does, and where it refuses.
    fn told(&self, step: &str) -> String {
        if let Some(why) = step.strip_prefix("|_| refuse(") {
            return format!("refused: {}", literal(why));
        }
        let (mut reasons, mut seen) = (BTreeSet::new(), BTreeSet::new());
        self.reasons(step, &mut reasons, &mut seen);
        match reasons.into_iter().collect::<Vec<_>>().join("; ") {
            none if none.is_empty() => "exact".to_owned(),
            reasons => format!("exact, or refused: {reasons}"),
        }
    }

    fn reasons(&self, code: &str, into: &mut BTreeSet<String>, seen: &mut BTreeSet<String>) {
        for call in ["refuse(", "Refusal(format!(", "Refusal(format!(\n"] {
            let said = code.split(call).skip(1).map(str::trim_start).filter(|rest| rest.starts_with('"'));
            into.extend(said.map(literal));
        }
        for call in ["input_to_ints(", "constant(", "constant_ints("] {
            for rest in code.split(&format!("d.{call}")).skip(1) {
                let (arguments, after) = rest.split_once(')').unwrap();
                let name = arguments.split('"').nth(1).map_or("input".to_owned(), |n| format!("input `{n}`"));
                if call.starts_with("input") || after.starts_with('?') {
                    into.insert(format!("its {name} is no constant"));
                }
            }
        }
        if ["from_front(", "_from_front("].iter().any(|call| code.contains(call)) {
            into.insert("its axis counts from the back and the rank is not known".to_owned());
        }
        let words: BTreeSet<&str> = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        for word in words.into_iter().filter(|word| !word.is_empty()) {
            if let Some(body) = self.body(word).filter(|_| seen.insert(word.to_owned())) {
                self.reasons(body, into, seen);
            }
        }
    }
}

/// The string literal that a text begins with, or that follows white space.
fn literal(code: &str) -> String {
    let text = code.split('"').nth(1).unwrap();
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('{') {
        out += before;
        out += "…";
        rest = after.split_once('}').unwrap().1;
    }
    out + rest
}

/// The parts of a text between separators outside brackets, strings and closures' arguments.
fn split(text: &str, at: char) -> Vec<String> {
    let (mut parts, mut depth, mut quoted) = (vec![String::new()], 0i32, false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            _ => {}
        }
        if c == at && depth == 0 && !quoted {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(c);
        }
    }
    parts.into_iter().map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect()
}

/// What one pair of brackets holds.
fn unwrapped(tuple: &str) -> &str {
    tuple.strip_prefix('(').and_then(|t| t.strip_suffix(')')).unwrap()
}

fn changes(folder: &Path) -> BTreeMap<String, Vec<Change>> {
    let mut all: BTreeMap<String, Vec<Change>> = BTreeMap::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let source = Source(fs::read_to_string(path).unwrap().replace("\r\n", "\n"));
        for row in source.rows() {
            let [op, from, to, up, down] = &row[..] else { panic!("a row with other parts: {row:?}") };
            let versions = (from.parse().unwrap(), to.parse().unwrap());
            let change = Change { versions, up: source.told(up), down: source.told(down) };
            all.entry(op.trim_matches('"').to_owned()).or_default().push(change);
        }
    }
    all.values_mut().for_each(|changes| changes.sort_by_key(|c| c.versions));
    all
}

fn page() -> String {
    let folder = super::root().join("src/onnx/dialect");
    let changes = changes(&folder);
    let mut page = HEAD.to_owned();
    let names: BTreeSet<&str> =
        schema::schemas().iter().filter(|s| s.domain.is_empty()).map(|s| s.name).collect();
    for name in names {
        let versions: Vec<_> = schema::versions("", name).collect();
        let own = changes.get(name).map(Vec::as_slice).unwrap_or_default();
        let mark = |version: i64| own.iter().any(|c| c.versions.1 == version);
        let later = versions.iter().skip(1).map(|s| {
            let mark = if s.deprecated {
                "x"
            } else if mark(s.since_version) {
                "*"
            } else {
                "="
            };
            format!("{}{mark}", s.since_version)
        });
        let later: Vec<_> = later.collect();
        writeln!(page, "| {name} | {} | {} |", versions[0].since_version, later.join(" ")).unwrap();
    }
    page += "\n| Operator | Change | Up | Down |\n|---|---|---|---|\n";
    for (op, changes) in &changes {
        for Change { versions: (from, to), up, down } in changes {
            writeln!(page, "| {op} | {from} → {to} | {up} | {down} |").unwrap();
        }
    }
    let table = fs::read_to_string(folder.join("table.rs")).unwrap();
    page + &substitutes_of(&folder, &table)
}

/// The operators that an older opset says with another one.
fn substitutes_of(folder: &Path, table: &str) -> String {
    let mut text = "\n| Before it existed | is written as | or refused |\n|---|---|---|\n".to_owned();
    let items = table.split_once("SUBSTITUTES: ").unwrap().1.split_once('=').unwrap().1;
    let items = items.split_once("];").unwrap().0.trim().trim_start_matches('[');
    for item in split(items, ',') {
        let parts = split(unwrapped(&item), ',');
        let (file, step) = parts[1].split_once("::").unwrap();
        let source = Source(fs::read_to_string(folder.join(format!("{file}.rs"))).unwrap());
        let new = source.body(step).unwrap().split_once("rename(\"").unwrap().1.split('"').next().unwrap();
        let told = source.told(step);
        let reasons = told.strip_prefix("exact, or refused: ").unwrap_or("");
        writeln!(text, "| {} | {new} | {reasons} |", parts[0].trim_matches('"')).unwrap();
    }
    text
}

#[test]
fn the_table_of_opsets_is_what_the_dialect_does() {
    let (path, page) = (super::root().join(PAGE), page());
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert!(found == page, "{PAGE} is stale; run `BLESS=1 cargo test --test generated`");
}
