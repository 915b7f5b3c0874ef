//! YAML text to a tree with places. The only file that knows the YAML reader.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::localizer::Localizer;
use serde_saphyr::{Location, MessageFormatter, Spanned};

use super::error::{Place, RecipeError, Source, one_line};
use super::tree::{Entry, Kind, Tree};

/// The largest recipe that is read, in bytes.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// How deeply a recipe may nest.
const MAX_DEPTH: usize = 32;

/// The most parts that a recipe may have after its aliases are followed.
const MAX_NODES: usize = 100_000;

const TOO_MUCH: &str = "this nests too deeply, or repeats too much";

/// Reads one YAML document. Nothing at all (no document, or an empty one) is an error.
pub(super) fn parse(source: &Arc<Source>) -> Result<Tree, RecipeError> {
    let file = |what: &str| RecipeError::File { name: source.name.clone(), what: what.to_owned() };
    if source.text.len() as u64 > MAX_BYTES {
        return Err(file(&format!("a recipe has at most {MAX_BYTES} bytes, this has {}", source.text.len())));
    }
    let raw: Option<Spanned<Raw>> = serde_saphyr::from_str_with_options(&source.text, options())
        .map_err(|error| report(source, &error))?;
    let tree = raw.map(|raw| tree(source, raw)).filter(|tree| !tree.is_null());
    tree.ok_or_else(|| file("the recipe is empty"))
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_documents: 2,
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_aliases: 1000,
            max_anchors: 1000,
            max_recorded_anchor_events: MAX_NODES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: 16,
        },
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// The reader's error as ours: its place apart, its words on one line.
fn report(source: &Arc<Source>, error: &serde_saphyr::Error) -> RecipeError {
    let at = error.location().filter(|at| *at != Location::UNKNOWN);
    let inner = match error.without_snippet() {
        serde_saphyr::Error::AliasError { error, .. } => error,
        other => other,
    };
    let words = inner.render_with_formatter(&Plain);
    let what = match one_line(words.trim_end_matches('.')) {
        words if words == "recursion limit exceeded" => TOO_MUCH.to_owned(),
        words => words,
    };
    match at {
        Some(at) => RecipeError::At { place: place(source, at), what },
        None => RecipeError::File { name: source.name.clone(), what },
    }
}

/// The reader's words for users, without its places: ours stand before the message.
struct Plain;

impl Localizer for Plain {
    fn attach_location<'a>(&self, base: std::borrow::Cow<'a, str>, _: Location) -> std::borrow::Cow<'a, str> {
        base
    }
}

impl MessageFormatter for Plain {
    fn localizer(&self) -> &dyn Localizer {
        self
    }

    fn format_message<'a>(&self, error: &'a serde_saphyr::Error) -> std::borrow::Cow<'a, str> {
        match error {
            serde_saphyr::Error::Budget { .. } => TOO_MUCH.into(),
            _ => serde_saphyr::UserMessageFormatter.format_message(error),
        }
    }
}

fn place(source: &Arc<Source>, at: Location) -> Place {
    Place { source: Arc::clone(source), line: at.line(), column: at.column() }
}

fn tree(source: &Arc<Source>, raw: Spanned<Raw>) -> Tree {
    let place = |at| place(source, at);
    let kind = match raw.value {
        Raw::Null => Kind::Null,
        Raw::Bool(value) => Kind::Bool(value),
        Raw::Int(value) => Kind::Int(value),
        Raw::Float(value) => Kind::Float(value),
        Raw::Text(value) => Kind::Text(value),
        Raw::List(items) => Kind::List(items.into_iter().map(|item| tree(source, item)).collect()),
        Raw::Map(entries) => Kind::Map(
            (entries.into_iter())
                .map(|(key, value)| Entry {
                    key: key.value,
                    place: place(key.defined),
                    value: tree(source, value),
                })
                .collect(),
        ),
    };
    Tree { place: place(raw.defined), kind }
}

/// What the reader hands over.
enum Raw {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Raw, D::Error> {
        Raw::deserialize(from)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(i64::try_from(value).map_or(Raw::Float(value as f64), Raw::Int))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Float(value as f64))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Float(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = from.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Arc<Source> {
        Arc::new(Source { name: "r.yaml".into(), text: text.into(), ..Source::default() })
    }

    fn error(text: &str) -> String {
        let started = std::time::Instant::now();
        let message = parse(&source(text)).unwrap_err().to_string();
        assert!(!message.contains('\n') && message.len() < 300, "{message}");
        assert!(started.elapsed().as_secs() < 5, "{message}");
        message
    }

    #[test]
    fn every_part_knows_its_place_and_type() {
        let tree = parse(&source("a: [1, 2.5, no, true, '3', ~]\nb:\n  c: ü\n")).unwrap();
        let [a, b] = tree.map().unwrap() else { panic!() };
        let items = a.value.list().unwrap();
        let kinds: Vec<_> = items.iter().map(|i| i.kind.clone()).collect();
        let text = |s: &str| Kind::Text(s.into());
        assert_eq!(
            kinds,
            [Kind::Int(1), Kind::Float(2.5), text("no"), Kind::Bool(true), text("3"), Kind::Null]
        );
        assert_eq!((items[3].place.line, items[3].place.column), (1, 17));
        assert_eq!((b.place.line, b.place.column), (2, 1));
        let c = &b.value.map().unwrap()[0];
        assert_eq!((c.place.line, c.place.column), (3, 3));
        assert_eq!((c.value.place.line, c.value.place.column), (3, 6));
    }

    #[test]
    fn numbers_keep_their_value() {
        let tree = parse(&source("[1e-5, 1.0e-4, -3, 9223372036854775807, 18446744073709551615]")).unwrap();
        let kinds: Vec<_> = tree.list().unwrap().iter().map(|i| i.kind.clone()).collect();
        let (small, big) = (Kind::Float(1e-5), Kind::Float(18_446_744_073_709_551_615.0));
        assert_eq!(kinds, [small, Kind::Float(1e-4), Kind::Int(-3), Kind::Int(i64::MAX), big]);
    }

    #[test]
    fn anchors_and_merge_keys_work() {
        let tree = parse(&source("a: &x { p: 1 }\nb: *x\nc: { <<: *x, q: 2 }\n")).unwrap();
        let b = tree.get("b").unwrap();
        assert_eq!(b.get("p").unwrap().kind, Kind::Int(1));
        assert_eq!(tree.get("c").unwrap().get("p").unwrap().kind, Kind::Int(1));
    }

    #[test]
    fn broken_text_is_one_line_with_its_place() {
        assert_eq!(error("a: 1\na: 2\n"), "r.yaml:2:1: duplicate mapping key `a` is not allowed here");
        for text in ["a: [1, 2", "a: b: c", "'", "a: *x", "a: !foo 1", "? [1]\n: 2\n", "a: 1\n---\nb: 2\n"] {
            assert!(error(text).starts_with("r.yaml:"), "{text}: {}", error(text));
        }
    }

    #[test]
    fn nothing_is_an_error() {
        for text in ["", "\n\n", "# a comment\n", "---\n", "~", "null\n"] {
            assert_eq!(error(text), "r.yaml: the recipe is empty");
        }
    }

    #[test]
    fn bombs_do_not_go_off() {
        let mut lines = vec!["a0: &a0 [x, x, x, x, x, x, x, x, x]".to_owned()];
        for level in 1..10 {
            let items = vec![format!("*a{}", level - 1); 9].join(", ");
            lines.push(format!("a{level}: &a{level} [{items}]"));
        }
        error(&lines.join("\n"));
        error(&"[".repeat(100_000));
        error(&"{a: ".repeat(100_000));
        let deeper: Vec<String> = (0..900).map(|i| " ".repeat(i) + "a:").collect();
        error(&deeper.join("\n"));
        error(&"a: ".repeat(100_000));
        error(&"- ".repeat(300_000));
        error(&format!("a: {}", "[], ".repeat(200_000)));
        error(&format!("[{}]", "[],".repeat(200_000)));
        error(&"x".repeat(2 << 20));
        error("a: &a [*a]");
    }
}
