//! Metrics and budgets: read from a recipe, and written back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::OnMiss;
use super::error::{RecipeError, hint, one_line};
use super::json_schema::{described, object, or_variable};
use super::tree::{Kind, Tree};
use crate::pass::Budget;

/// What a command says stands for the file of the model.
pub const MODEL: &str = "{model}";

/// Seconds that a command may take, unless its metric says otherwise.
const TIMEOUT: u64 = 600;
/// The longest time that can be asked for.
const LONGEST: i64 = 7 * 24 * 3600;

/// A metric of the user's: a command that prints a number about a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// The program and its arguments, in which `{model}` stands for the file. No shell reads them.
    pub command: Vec<String>,
    /// Where it runs; empty for the working directory.
    pub dir: PathBuf,
    /// A regular expression whose one group is the number, in what the command prints; without one it is the last
    /// number.
    pub parse: Option<String>,
    /// Whether more of it is better.
    pub larger_is_better: bool,
    /// Seconds that the command may take.
    pub timeout: u64,
}

const KEYS: &[&str] = &["command", "dir", "parse", "larger-is-better", "timeout"];

/// Reads the metrics of a recipe, by name.
pub(super) fn read(tree: &Tree) -> Result<BTreeMap<String, Metric>, RecipeError> {
    let entries = tree.map()?.iter().filter(|e| !e.value.is_null());
    entries.map(|e| Ok((e.key.clone(), metric(&e.value)?))).collect()
}

fn metric(tree: &Tree) -> Result<Metric, RecipeError> {
    tree.map_of("a metric", KEYS)?;
    let Some(said) = tree.get("command") else {
        return Err(tree
            .place
            .error(format!("a metric needs a `command`, with {MODEL} for the file of the model")));
    };
    let command = match &said.kind {
        Kind::List(items) => {
            items.iter().map(|t| Ok(t.text()?.to_owned())).collect::<Result<_, RecipeError>>()?
        }
        _ => words(said.text()?).map_err(|why| said.place.error(why))?,
    };
    if !command.iter().skip(1).any(|word| word.contains(MODEL)) {
        let what = format!(
            "the command reads no model: one of its arguments has {MODEL}, which stands for the file"
        );
        return Err(said.place.error(what));
    }
    let parse = tree.get("parse").map(pattern).transpose()?;
    let base = &said.place.source.dir;
    let dir = match tree.get("dir") {
        Some(dir) => base.join(dir.text()?),
        None => base.clone(),
    };
    Ok(Metric {
        command,
        dir,
        parse,
        larger_is_better: tree.get("larger-is-better").map(Tree::bool).transpose()?.unwrap_or(true),
        timeout: tree
            .get("timeout")
            .map(|t| t.int(1, LONGEST))
            .transpose()?
            .map_or(TIMEOUT, i64::unsigned_abs),
    })
}

fn pattern(tree: &Tree) -> Result<String, RecipeError> {
    let text = tree.text()?;
    let wrong = |why: String| tree.place.error(format!("`{}` {why}", one_line(text)));
    let regex = Regex::new(text).map_err(|e| {
        let why = e.to_string();
        wrong(format!("is no regular expression: {}", why.lines().last().unwrap_or_default().trim()))
    })?;
    match regex.captures_len() - 1 {
        1 => Ok(text.to_owned()),
        0 => Err(wrong("has no group: put the number in `(…)`".to_owned())),
        count => Err(wrong(format!("has {count} groups and needs one: `(?:…)` groups without counting"))),
    }
}

/// The words of a command: parted by spaces, but for those in quotes.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match quote {
            Some(mark) if c == mark => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    if let Some(mark) = quote {
        return Err(format!("the command has no closing {mark}"));
    }
    words.extend(word);
    if words.is_empty() { Err("the command is empty".to_owned()) } else { Ok(words) }
}

/// Reads the budget of a recipe with these metrics.
pub(super) fn budget(tree: &Tree, metrics: &BTreeMap<String, Metric>) -> Result<Budget, RecipeError> {
    tree.map_of("`budget`", &["sqnr", "agreement", "metric", "roll-back", "search"])?;
    let mut budget = Budget::default();
    let number = |tree: &Tree| match tree.kind {
        Kind::Int(value) => Ok(value as f64),
        Kind::Float(value) if value.is_finite() => Ok(value),
        _ => Err(tree.expected("a number")),
    };
    budget.sqnr = tree.get("sqnr").map(number).transpose()?;
    if let Some(share) = tree.get("agreement") {
        budget.agreement = Some(number(share)?);
        if budget.fault().is_some() {
            return Err(share.expected("a share from 0 to 1"));
        }
    }
    for entry in tree.get("metric").map(Tree::map).transpose()?.unwrap_or_default() {
        if entry.value.is_null() {
            continue;
        }
        if !metrics.contains_key(&entry.key) {
            let hint = hint(&entry.key, metrics.keys().map(String::as_str), "metrics");
            return Err(entry.place.error(format!("unknown metric `{}`{hint}", one_line(&entry.key))));
        }
        budget.metric.insert(entry.key.clone(), number(&entry.value)?);
    }
    Ok(budget)
}

/// Reads what a budget says of steps that break it.
pub(super) fn on_miss(tree: &Tree, budget: &Budget) -> Result<OnMiss, RecipeError> {
    for (key, on_miss) in [("search", OnMiss::Search), ("roll-back", OnMiss::RollBack)] {
        let Some(flag) = tree.get(key) else { continue };
        if flag.bool()? {
            let what = format!("`{key}` needs something to keep: `sqnr`, `agreement` or `metric` beside it");
            return if budget.is_empty() { Err(flag.place.error(what)) } else { Ok(on_miss) };
        }
    }
    Ok(OnMiss::Fail)
}

/// A metric as it would be written.
pub(super) fn emit(metric: &Metric) -> Value {
    let mut out = Map::new();
    out.insert("command".to_owned(), json!(metric.command));
    if !metric.dir.as_os_str().is_empty() {
        out.insert("dir".to_owned(), json!(metric.dir.to_string_lossy()));
    }
    out.extend(metric.parse.iter().map(|parse| ("parse".to_owned(), json!(parse))));
    out.insert("larger-is-better".to_owned(), json!(metric.larger_is_better));
    out.insert("timeout".to_owned(), json!(metric.timeout));
    Value::Object(out)
}

/// The JSON schema of metrics.
pub(super) fn metrics_schema() -> Value {
    let metric = object(
        "A command that prints a number about a model.",
        &json!({
            "command": {
                "description": "The program and its arguments, in which {model} stands for the file. No shell reads it: \
                    where one is needed, it says `sh -c '…'` itself.",
                "anyOf": [{ "type": "string" }, { "type": "array", "minItems": 1, "items": { "type": "string" } }],
            },
            "dir": { "description": "Where it runs, relative to this file; beside it unless given.", "type": "string" },
            "parse": {
                "description": "A regular expression whose one group is the number; the last match counts. Without one it \
                    is the last number that the command prints.",
                "type": "string",
            },
            "larger-is-better": described(
                "Whether more of it is better.",
                or_variable(json!({ "type": "boolean", "default": true })),
            ),
            "timeout": described(
                "Seconds that the command may take.",
                or_variable(json!({ "type": "integer", "minimum": 1, "maximum": LONGEST, "default": TIMEOUT })),
            ),
        }),
    );
    json!({
        "description": "Numbers that commands of yours say about a model: told before and after, and what budgets ask for.",
        "type": ["object", "null"],
        "additionalProperties": metric,
    })
}

/// The JSON schema of the budget.
pub(super) fn budget_schema() -> Value {
    let number = |what: &str| described(what, or_variable(json!({ "type": ["number", "null"] })));
    let share = or_variable(json!({ "type": ["number", "null"], "minimum": 0, "maximum": 1 }));
    let flag = |what: &str| described(what, or_variable(json!({ "type": "boolean" })));
    object(
        "What the result has to keep; where it does not, nothing is written.",
        &json!({
            "sqnr": number("Least signal to quantization noise ratio of every output against the original's, in dB."),
            "agreement": described("Least share of answers whose largest element stays at its place.", share),
            "roll-back": flag("Undo a lossy step that breaks the budget, and go on without it."),
            "search": flag("Soften such a step: the smallest fraction to keep is searched with which the budget holds."),
            "metric": {
                "description": "Least values of metrics by name; the most, where smaller is better.",
                "type": ["object", "null"],
                "additionalProperties": or_variable(json!({ "type": ["number", "null"] })),
            },
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_parted_into_words() {
        let parted = |text: &str| words(text).unwrap();
        assert_eq!(parted("python eval.py {model}"), ["python", "eval.py", "{model}"]);
        assert_eq!(parted(" a  'b c'd \"e 'f'\" '' "), ["a", "b cd", "e 'f'", ""]);
        assert_eq!(words("a 'b").unwrap_err(), "the command has no closing '");
        assert_eq!(words("  ").unwrap_err(), "the command is empty");
    }
}
