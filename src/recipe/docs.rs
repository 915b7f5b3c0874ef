//! Documentation made from the code: a page for each pass, their index, and the JSON schema of recipes.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::{Recipe, emit};
use crate::pass::{Family, PassMeta};
use crate::passes::AnyPass;

/// What the documentation says of a pass.
#[derive(Debug, Clone)]
pub struct PassDoc {
    /// What it is.
    pub meta: &'static PassMeta,
    /// One sentence.
    pub summary: String,
    /// What it computes, in Markdown; may be empty.
    pub details: String,
    /// What it leaves alone; empty where the documentation does not say.
    pub left_alone: String,
    /// Its own options, in order.
    pub options: Vec<OptionDoc>,
    /// Whether `only` and `ignore` bear on it.
    pub heeds_selectors: bool,
    /// Its source file, from the root of the repository.
    pub file: String,
}

/// What the documentation says of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionDoc {
    /// Its key in a recipe.
    pub name: String,
    /// What it takes, in words.
    pub takes: String,
    /// Its default, as in a recipe.
    pub default: String,
    /// What it does, on one line; empty where the documentation does not say.
    pub meaning: String,
}

impl PassDoc {
    /// The documentation of the pass with this id.
    pub fn of(id: &str) -> Option<Self> {
        let any = AnyPass::named(id)?;
        let pass = any.as_pass();
        let schema = AnyPass::schema(id)?.to_value();
        let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        let mut paragraphs: Vec<&str> = text.split("\n\n").map(str::trim).filter(|p| !p.is_empty()).collect();
        let left = paragraphs.iter().position(|p| p.starts_with(LEFT_ALONE));
        let left_alone = left.map(|at| paragraphs.remove(at)).unwrap_or_default();
        let summary = if paragraphs.is_empty() { "" } else { paragraphs.remove(0) };
        let type_path = AnyPass::type_path(id)?.replace(' ', "").replace("r#", "");
        let module = type_path.rsplit_once("::").map_or("", |(module, _)| module);
        Some(Self {
            meta: pass.meta(),
            summary: summary.replace('\n', " "),
            details: paragraphs.join("\n\n"),
            left_alone: left_alone.trim_start_matches(LEFT_ALONE).trim().replace('\n', " "),
            options: options(&schema, &any.options()),
            heeds_selectors: pass.heeds_selectors(),
            file: format!("passes/{}.rs", module.replace("::", "/")),
        })
    }

    /// The page of the pass.
    pub fn markdown(&self) -> String {
        let mut out = format!("<!-- {GENERATED} Source: {} -->\n\n", self.file);
        let id = self.meta.id;
        let mut line = |text: &str| out.extend([text, "\n\n"]);
        line(&format!("# {id}"));
        line(&self.summary);
        if !self.details.is_empty() {
            line(&self.details);
        }
        line(&format!("{LEFT_ALONE} {}", self.left_alone));
        line("## Options");
        line(&self.option_table());
        line("## In a recipe");
        line(&format!("```yaml\n{}```", self.snippet()));
        line("## Facts");
        line(&self.facts());
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    fn option_table(&self) -> String {
        let mut out = String::new();
        if self.options.is_empty() {
            out.push_str("None of its own.");
        } else {
            out.push_str("| Option | Takes | Default | Meaning |\n|---|---|---|---|");
            for option in &self.options {
                let cells = [&option.takes, &option.default, &option.meaning].map(|c| c.replace('|', "\\|"));
                let _ = write!(out, "\n| `{}` | {} | {} | {} |", option.name, cells[0], cells[1], cells[2]);
            }
        }
        out.push_str("\n\nBesides, as for every pass: `id`");
        out.push_str(if self.heeds_selectors {
            ", and `only` and `ignore` with selectors of the nodes that it may change."
        } else {
            ". It works on the graph as a whole, so `only` and `ignore` are refused."
        });
        out
    }

    /// Its use with all options at their defaults.
    fn snippet(&self) -> String {
        let id = self.meta.id;
        let options = AnyPass::named(id).map(|pass| pass.options());
        let options = options.as_ref().and_then(Value::as_object).into_iter().flatten();
        let set: Map<String, Value> =
            options.filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
        let step = if set.is_empty() { json!(id) } else { json!({ id: set }) };
        emit::yaml(&json!({ "steps": [step] }))
    }

    fn facts(&self) -> String {
        let meta = self.meta;
        let lossy = if meta.lossy { "may change the answers" } else { "keeps the answers, up to rounding" };
        let grows = if meta.grows { "may make the file larger" } else { "never makes the file larger" };
        let again = if meta.idempotent { "finds nothing to do" } else { "may find more to do" };
        format!(
            "* Family: [{0}](README.md#{0})\n* {lossy}\n* {grows}\n* a second run {again}",
            meta.family.name()
        )
    }
}

/// How the documentation of a pass begins the paragraph on what it leaves alone.
const LEFT_ALONE: &str = "*Left alone:*";

/// What every generated file says of itself.
pub(super) const GENERATED: &str = "Generated: `BLESS=1 cargo test --test generated` writes it anew.";

/// Every generated file, by its path from the root of the repository.
pub fn generate() -> BTreeMap<String, String> {
    let docs: Vec<PassDoc> = AnyPass::IDS.iter().filter_map(|id| PassDoc::of(id)).collect();
    let mut files: BTreeMap<String, String> =
        docs.iter().map(|doc| (format!("docs/passes/{}.md", doc.meta.id), doc.markdown())).collect();
    files.insert("docs/passes/README.md".to_owned(), index(&docs));
    files.insert("docs/recipe.schema.json".to_owned(), format!("{:#}\n", Recipe::json_schema()));
    files
}

/// The passes by family.
fn index(docs: &[PassDoc]) -> String {
    let mut out = format!("<!-- {GENERATED} Source: passes -->\n\n# Passes\n");
    let mut families: Vec<Family> = docs.iter().map(|doc| doc.meta.family).collect();
    families.sort();
    families.dedup();
    for family in families {
        let _ = write!(out, "\n## {}\n\n| Pass | |\n|---|---|\n", family.name());
        for doc in docs.iter().filter(|doc| doc.meta.family == family) {
            let _ = writeln!(out, "| [{0}]({0}.md) | {1} |", doc.meta.id, doc.summary.replace('|', "\\|"));
        }
    }
    out
}

fn options(schema: &Value, defaults: &Value) -> Vec<OptionDoc> {
    let Some(Value::Object(properties)) = schema.get("properties") else { return Vec::new() };
    let option = |(name, property): (&String, &Value)| {
        let meaning = property.get("description").and_then(Value::as_str).unwrap_or_default();
        let default = match defaults.get(name) {
            None | Some(Value::Null) => "none".to_owned(),
            Some(value) => format!("`{value}`"),
        };
        let values = values(schema, property);
        let mut meaning = meaning.split_whitespace().collect::<Vec<_>>().join(" ");
        for (value, what) in values.iter().filter(|(_, what)| !what.is_empty()) {
            let _ = write!(meaning, " {value}: {what}");
        }
        OptionDoc { name: name.clone(), takes: takes(schema, property), default, meaning }
    };
    properties.iter().map(option).collect()
}

/// The definition that a schema refers to, or the schema itself.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix("#/$defs/"));
    name.and_then(|name| root.get("$defs")?.get(name)).unwrap_or(schema)
}

/// The values of an enumeration, each with its documentation.
fn values(root: &Value, schema: &Value) -> Vec<(String, String)> {
    let schema = resolve(root, schema);
    let mut all = Vec::new();
    for option in ["oneOf", "anyOf"].iter().filter_map(|key| schema.get(*key)?.as_array()).flatten() {
        let text = option.get("description").and_then(Value::as_str).unwrap_or_default();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        match option.get("const") {
            Some(value) => all.push((format!("`{}`", value.as_str().unwrap_or_default()), text)),
            None => all.extend(values(root, option)),
        }
    }
    let plain = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    all.extend(plain.filter_map(Value::as_str).map(|value| (format!("`{value}`"), String::new())));
    all
}

/// What an option takes, in words.
fn takes(root: &Value, schema: &Value) -> String {
    let values = values(root, schema);
    if !values.is_empty() {
        return values.into_iter().map(|(value, _)| value).collect::<Vec<_>>().join(", ");
    }
    let schema = resolve(root, schema);
    let kinds = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(kind)) => vec![kind.as_str()],
        _ => match schema.get("anyOf").and_then(Value::as_array).and_then(|all| all.first()) {
            Some(first) => return takes(root, first),
            None => Vec::new(),
        },
    };
    match kinds.iter().find(|kind| **kind != "null") {
        Some(&"boolean") => "true or false".to_owned(),
        Some(&"integer") => format!("whole number{}", range(schema)),
        Some(&"number") => format!("number{}", range(schema)),
        Some(&"string") => "text".to_owned(),
        Some(&"array") => match schema.get("items") {
            Some(items) => format!("list of {}", takes(root, items)),
            None => "list".to_owned(),
        },
        _ => "mapping".to_owned(),
    }
}

fn range(schema: &Value) -> String {
    match (schema.get("minimum"), schema.get("maximum")) {
        (Some(from), Some(to)) => format!(", {from} to {to}"),
        (Some(from), None) => format!(", at least {from}"),
        (None, Some(to)) => format!(", at most {to}"),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Serialize;

    use super::*;

    /// Options of every kind.
    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    struct Sample {
        /// How many
        /// bits.
        num_bits: u8,
        /// How.
        mode: Mode,
        /// Where.
        layers: Vec<String>,
        /// How much.
        share: Option<f32>,
        /// How else.
        second: Option<Mode>,
        silent: bool,
    }

    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        /// The one.
        One,
        TwoBig,
    }

    #[test]
    fn options_are_described_in_words() {
        let schema = schemars::schema_for!(Sample).to_value();
        let sample = Sample {
            num_bits: 8,
            mode: Mode::One,
            layers: Vec::new(),
            share: None,
            second: None,
            silent: true,
        };
        assert_ne!(Mode::One as u8, Mode::TwoBig as u8);
        let docs = options(&schema, &serde_json::to_value(sample).unwrap());
        let rows: Vec<[&str; 4]> =
            docs.iter().map(|o| [&*o.name, &*o.takes, &*o.default, &*o.meaning]).collect();
        let wanted = [
            ["num-bits", "whole number, 0 to 255", "`8`", "How many bits."],
            ["mode", "`two-big`, `one`", "`\"one\"`", "How. `one`: The one."],
            ["layers", "list of text", "`[]`", "Where."],
            ["share", "number", "none", "How much."],
            ["second", "`two-big`, `one`", "none", "How else. `one`: The one."],
            ["silent", "true or false", "`true`", ""],
        ];
        for (row, wanted) in rows.iter().zip(&wanted) {
            assert_eq!(row, wanted);
        }
        assert_eq!(rows.len(), wanted.len());
    }

    #[test]
    fn a_page_says_it_all() {
        let page = PassDoc::of("fuse-conv-bn").unwrap().markdown();
        for part in [
            "# fuse-conv-bn\n",
            "\n*Left alone:* normalization in training mode",
            "(b - mean) * k + shift",
            "passes/fuse/conv_bn.rs",
            "```yaml\nsteps:",
            "* keeps the answers, up to rounding\n",
        ] {
            assert!(page.contains(part), "{part:?} is not in:\n{page}");
        }
    }
}
