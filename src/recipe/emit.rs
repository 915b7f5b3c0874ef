//! A recipe back to YAML, with everything worked out.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::OnMiss;
use super::steps::{Step, StepKind};
use super::vars::escape;
use super::{JUDGE, Recipe, data, metric};
use crate::rewrite::Selector;

/// The recipe as it would be written without parents and variables.
pub(super) fn recipe(recipe: &Recipe) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| drop(out.insert(key.to_owned(), value));
    put("version", json!(1));
    let opset = recipe.target_opset.map(|opset| ("opset".to_owned(), json!(opset)));
    let profile = recipe.profile.as_ref().map(|profile| ("profile".to_owned(), json!(profile.name)));
    let ir_version = recipe.target_ir_version.map(|version| ("ir-version".to_owned(), json!(version)));
    let target: Map<String, Value> = opset.into_iter().chain(ir_version).chain(profile).collect();
    if !target.is_empty() {
        put("target", Value::Object(target));
    }
    if !recipe.inputs.is_empty() {
        let inputs = recipe.inputs.iter().map(|(name, dims)| {
            let dims = dims.iter().map(|(dim, size)| (dim.to_string(), json!(size)));
            (name.clone(), Value::Object(dims.collect()))
        });
        put("inputs", Value::Object(inputs.collect()));
    }
    if let Some(batch) = recipe.batch {
        put("batch", json!(batch));
    }
    if !recipe.data.is_empty() {
        let sets = recipe.data.iter().map(|(name, set)| (name.clone(), data::emit(set, name == JUDGE)));
        put("data", Value::Object(sets.collect()));
    }
    put("steps", recipe.steps.iter().map(step).collect());
    let verify = &recipe.verify;
    let mut checks = json!({ "enabled": verify.enabled, "runs": verify.runs, "seed": verify.seed });
    for (key, tolerance) in [("rtol", verify.rtol), ("atol", verify.atol)] {
        if let Some(tolerance) = tolerance {
            checks[key] = json!(tolerance);
        }
    }
    put("verify", checks);
    if !recipe.metrics.is_empty() {
        put("metrics", recipe.metrics.iter().map(|(name, m)| (name.clone(), metric::emit(m))).collect());
    }
    if !recipe.budget.is_empty() {
        let mut budget = json!(recipe.budget);
        match recipe.on_miss {
            OnMiss::Fail => {}
            OnMiss::RollBack => budget["roll-back"] = json!(true),
            OnMiss::Search => budget["search"] = json!(true),
        }
        put("budget", budget);
    }
    escaped(Value::Object(out))
}

fn step(step: &Step) -> Value {
    let id = (step.id != step.default_id()).then(|| json!(step.id));
    match &step.kind {
        StepKind::Fixpoint(members) => {
            let members: Value = members.iter().map(self::step).collect();
            match id {
                Some(id) => json!({ "id": id, "fixpoint": members }),
                None => json!({ "fixpoint": members }),
            }
        }
        StepKind::Pass(pass) => {
            let mut options = Map::new();
            options.extend(id.map(|id| ("id".to_owned(), id)));
            for (key, selectors) in [("only", &step.select.only), ("ignore", &step.select.ignore)] {
                if !selectors.is_empty() {
                    options.insert(key.to_owned(), selectors.iter().map(Selector::text).collect());
                }
            }
            if let Value::Object(own) = pass.options() {
                options.extend(own);
            }
            let name = pass.as_pass().meta().id;
            if options.is_empty() { json!(name) } else { json!({ name: options }) }
        }
    }
}

/// No text is taken for a variable.
fn escaped(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(escape(&text)),
        Value::Array(items) => items.into_iter().map(escaped).collect(),
        Value::Object(entries) => Value::Object(entries.into_iter().map(|(k, v)| (k, escaped(v))).collect()),
        other => other,
    }
}

/// Any value as YAML.
pub(super) fn yaml(value: &Value) -> String {
    let mut out = String::new();
    block(&mut out, value, 0);
    out
}

/// Writes a mapping or a list on lines of its own. The first line starts where `out` stands.
fn block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (at, (key, value)) in entries.iter().enumerate() {
                pad(out, at, indent);
                out.push_str(&scalar(key));
                out.push(':');
                let is_nested = matches!(value, Value::Object(e) if !e.is_empty()) || !is_line(value);
                if is_nested {
                    out.push('\n');
                    out.push_str(&" ".repeat(indent + 2));
                } else {
                    out.push(' ');
                }
                block(out, value, indent + 2);
            }
        }
        Value::Array(items) if !is_line(value) => {
            for (at, item) in items.iter().enumerate() {
                pad(out, at, indent);
                out.push_str("- ");
                block(out, item, indent + 2);
            }
        }
        other => {
            inline(out, other);
            out.push('\n');
        }
    }
}

fn pad(out: &mut String, at: usize, indent: usize) {
    if at > 0 {
        out.push_str(&" ".repeat(indent));
    }
}

/// Whether a value goes on one line: anything but mappings and lists that hold some.
fn is_line(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(|i| !i.is_array() && !i.is_object()),
        Value::Object(entries) => entries.is_empty(),
        _ => true,
    }
}

fn inline(out: &mut String, value: &Value) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                inline(out, item);
            }
            out.push(']');
        }
        Value::Object(_) => out.push_str("{}"),
        Value::String(text) => out.push_str(&scalar(text)),
        other => out.push_str(&other.to_string()),
    }
}

/// A text that is read back as that text: bare where it cannot be taken for anything else, else in quotes.
fn scalar(text: &str) -> String {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let is_plain = starts_well && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if is_plain && !words.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() || "\u{2028}\u{2029}\u{feff}".contains(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_readable_yaml() {
        let value =
            json!({ "a": 1, "b": [1.5, "x", "no"], "c": [{ "d": {}, "e": [] }, "f"], "1": { "g": null } });
        let wanted = "a: 1\nb: [1.5, x, \"no\"]\nc:\n  - d: {}\n    e: []\n  - f\n\"1\":\n  g: null\n";
        assert_eq!(yaml(&value), wanted);
    }

    #[test]
    fn odd_texts_are_quoted() {
        assert_eq!(scalar("a: b"), "\"a: b\"");
        assert_eq!(scalar("say \"x\"\\\n\u{1}"), "\"say \\\"x\\\"\\\\\\n\\u0001\"");
        assert_eq!(scalar("True"), "\"True\"");
        assert_eq!(scalar("12"), "\"12\"");
        assert_eq!(scalar("/a/b.npz"), "/a/b.npz");
    }
}
