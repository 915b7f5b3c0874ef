//! The JSON schema of recipes, for editors and other programs.

use serde_json::{Map, Value, json};

use super::data_schema::{ARRAYS, DATA_SET, arrays, data_set};
use super::docs::{GENERATED, PassDoc};
use super::steps::COMMON;
use super::{metric, profile};
use crate::passes::AnyPass;
use crate::schema::{NEWEST_OPSET, OLDEST_IR_VERSION, ir_version_for_opset};

/// What `target.profile` may name without a file.
fn profile_names() -> Vec<&'static str> {
    profile::names().chain(["auto"]).collect()
}

/// The schema of a whole recipe.
pub(super) fn recipe() -> Value {
    let mut defs = Map::new();
    let mut put = |name: &str, schema: Value| drop(defs.insert(name.to_owned(), schema));
    put("variable", json!({ "type": "string", "pattern": r"\$\{[^}]+\}" }));
    put("text-list", json!({ "type": "array", "items": { "type": "string" } }));
    put(
        "selectors",
        json!({
            "description": "Nodes: a name, a glob, `re:` with a regular expression, or `op:` with an operator. \
                A `?` at the end says that it may match nothing.",
            "type": "array", "minItems": 1, "items": { "type": "string", "minLength": 1 },
        }),
    );
    put(ARRAYS, arrays());
    put(DATA_SET, data_set());
    put("step", step());
    put("pass", pass());
    for id in AnyPass::IDS {
        options_of(id, &mut defs);
    }
    let mut whole = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": GENERATED,
        "title": "onnxpress recipe",
        "description": "Which passes run over a model, in which order, with which options.",
        "type": "object",
        "additionalProperties": false,
        "properties": sections(),
    });
    whole["$defs"] = Value::Object(defs);
    whole
}

/// The schemas of the keys of a recipe.
fn sections() -> Value {
    let size = || or_variable(json!({ "type": "integer", "minimum": 1 }));
    json!({
        "version": { "description": "The version of the recipe language.", "const": 1 },
        "extends": {
            "description": "The parent: a built-in recipe, or a file relative to this one. Its steps come first.",
            "type": "string",
        },
        "vars": {
            "description": "Variables: `${name}` stands for the value in any text. `--set name=value` overrides.",
            "type": "object",
            "additionalProperties": {
                "anyOf": [
                    { "type": ["string", "number", "boolean", "array"] },
                    {
                        "type": "object",
                        "description": "From the environment, else the default.",
                        "properties": { "env": { "type": "string" }, "default": {} },
                        "required": ["env"],
                        "additionalProperties": false,
                    },
                ],
            },
        },
        "target": target(),
        "inputs": {
            "description": "Sizes for open dims of graph inputs: input, then symbol or axis, then size.",
            "type": "object",
            "additionalProperties": { "type": "object", "additionalProperties": size() },
        },
        "batch": described("The size of the first dim of the inputs, where the model leaves it open.", size()),
        "data": object("Samples.", &json!({
            "calib": described("Samples to measure with.", json!({ "$ref": format!("#/$defs/{DATA_SET}") })),
            "eval": {
                "description": "Samples to judge lossy steps by, instead of those that `calib` holds out.",
                "$ref": format!("#/$defs/{DATA_SET}"),
                "not": { "type": "object", "required": ["holdout"] },
            },
        })),
        "steps": {
            "description": "What to run, in order.",
            "type": ["array", "null"],
            "items": { "$ref": "#/$defs/step" },
        },
        "skip": {
            "description": "Ids of inherited steps to leave out. A `?` at the end says that there may be none.",
            "$ref": "#/$defs/text-list",
        },
        "verify": object("How to compare the result with the original.", &verify()),
        "metrics": metric::metrics_schema(),
        "budget": metric::budget_schema(),
    })
}

fn target() -> Value {
    object(
        "What the written model may contain.",
        &json!({
            "opset": described("The opset to write; without it that of the file.", or_variable(
                json!({ "type": "integer", "minimum": 1, "maximum": NEWEST_OPSET }),
            )),
            "ir-version": described("The IR version to write; without it that of the file.", or_variable(
                json!({ "type": "integer", "minimum": OLDEST_IR_VERSION, "maximum": ir_version_for_opset(NEWEST_OPSET) }),
            )),
            "profile": described(
                "The runtime and hardware that the model is for: a name, a file, or `auto` for this machine.",
                json!({ "type": "string", "examples": profile_names() }),
            ),
        }),
    )
}

fn verify() -> Value {
    let tolerance = || or_variable(json!({ "type": ["number", "null"], "minimum": 0 }));
    let count =
        |from: u32, to: u32| or_variable(json!({ "type": "integer", "minimum": from, "maximum": to }));
    json!({
        "enabled": described("Whether to run both models at all.", or_variable(json!({ "type": "boolean" }))),
        "runs": described("On so many samples.", count(1, 10_000)),
        "rtol": described("Allowed share of the output's largest magnitude; suits its type unless given.", tolerance()),
        "atol": described("Allowed difference besides; suits the output's type unless given.", tolerance()),
        "seed": described("Where random inputs start.", or_variable(json!({ "type": "integer", "minimum": 0 }))),
    })
}

/// A step: a pass, or a set of passes.
fn step() -> Value {
    json!({
        "anyOf": [
            { "$ref": "#/$defs/pass" },
            {
                "type": "object",
                "description": "Passes that run together until nothing changes.",
                "properties": {
                    "fixpoint": { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/pass" } },
                    "id": { "type": "string" },
                },
                "required": ["fixpoint"],
                "additionalProperties": false,
            },
        ],
    })
}

/// A pass by its name, or with its options.
fn pass() -> Value {
    let docs = || AnyPass::IDS.iter().filter_map(|id| Some((id, PassDoc::of(id)?)));
    let names = docs().map(|(id, doc)| json!({ "const": id, "description": doc.summary }));
    let options = docs().map(|(id, doc)| {
        let schema = json!({ "anyOf": [{ "$ref": format!("#/$defs/{id}") }, { "type": "null" }] });
        ((*id).to_owned(), described(&doc.summary, schema))
    });
    json!({
        "anyOf": [
            { "oneOf": names.collect::<Value>() },
            {
                "type": "object",
                "properties": options.collect::<Map<_, _>>(),
                "additionalProperties": false,
                "minProperties": 1,
                "maxProperties": 1,
            },
        ],
    })
}

/// Puts the schema of a pass's options among the definitions, and what it refers to beside it.
fn options_of(id: &str, defs: &mut Map<String, Value>) {
    let Some(schema) = AnyPass::schema(id) else { return };
    let Some(Value::Object(inner)) = Some(schema.to_value()) else { return };
    let Value::Object(mut schema) = own_refs(Value::Object(inner), id) else { return };
    schema.remove("$schema");
    if let Some(Value::Object(nested)) = schema.remove("$defs") {
        defs.extend(nested.into_iter().map(|(name, def)| (format!("{id}.{name}"), variables_inside(def))));
    }
    let Value::Object(mut schema) = variables_inside(Value::Object(schema)) else { return };
    let heeds = AnyPass::named(id).is_some_and(|pass| pass.as_pass().heeds_selectors());
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    for key in COMMON {
        match *key {
            "id" => {
                properties[*key] =
                    json!({ "description": "What `skip` and reports call the step.", "type": "string" });
            }
            _ if heeds => properties[*key] = json!({ "$ref": "#/$defs/selectors" }),
            _ => {}
        }
    }
    defs.insert(id.to_owned(), Value::Object(schema));
}

/// References of a pass's schema, to definitions that carry the pass's name.
fn own_refs(value: Value, id: &str) -> Value {
    match value {
        Value::Object(entries) => (entries.into_iter())
            .map(|(key, value)| match (key.as_str(), &value) {
                ("$ref", Value::String(to)) => {
                    let to = to.replace("#/$defs/", &format!("#/$defs/{id}."));
                    (key, Value::String(to))
                }
                _ => (key, own_refs(value, id)),
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(|item| own_refs(item, id)).collect(),
        other => other,
    }
}

/// The same schema, in which every option may also be a variable.
fn variables_inside(value: Value) -> Value {
    let Value::Object(entries) = value else { return value };
    let inside = |(key, value): (String, Value)| {
        let value = match (key.as_str(), value) {
            ("properties", Value::Object(all)) => {
                Value::Object(all.into_iter().map(|(k, v)| (k, or_variable(variables_inside(v)))).collect())
            }
            ("items" | "additionalProperties", value @ Value::Object(_)) => {
                or_variable(variables_inside(value))
            }
            ("oneOf" | "anyOf", Value::Array(all)) => all.into_iter().map(variables_inside).collect(),
            (_, value) => value,
        };
        (key, value)
    };
    Value::Object(entries.into_iter().map(inside).collect())
}

/// A schema that takes a variable as well. Description and default stay where editors look for them.
pub(super) fn or_variable(schema: Value) -> Value {
    let Value::Object(mut entries) = schema else { return schema };
    let is_text = entries.get("type") == Some(&json!("string")) && !entries.contains_key("const");
    if is_text {
        return Value::Object(entries);
    }
    let mut out = Map::new();
    for key in ["description", "default"] {
        out.extend(entries.remove(key).map(|value| (key.to_owned(), value)));
    }
    out.insert("anyOf".to_owned(), json!([entries, { "$ref": "#/$defs/variable" }]));
    Value::Object(out)
}

pub(super) fn described(what: &str, mut schema: Value) -> Value {
    schema["description"] = json!(what);
    schema
}

pub(super) fn object(what: &str, properties: &Value) -> Value {
    json!({ "description": what, "type": ["object", "null"], "properties": properties, "additionalProperties": false })
}

#[cfg(test)]
mod tests {
    use super::super::read::KEYS;
    use super::*;

    /// Every `$ref` of a schema leads somewhere.
    fn check_refs(value: &Value, defs: &Map<String, Value>) {
        match value {
            Value::Object(entries) => {
                if let Some(Value::String(to)) = entries.get("$ref") {
                    assert!(to.strip_prefix("#/$defs/").is_some_and(|name| defs.contains_key(name)), "{to}");
                }
                entries.values().for_each(|v| check_refs(v, defs));
            }
            Value::Array(items) => items.iter().for_each(|v| check_refs(v, defs)),
            _ => {}
        }
    }

    #[test]
    fn the_schema_has_every_key_and_every_pass() {
        let schema = recipe();
        let keys: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, KEYS);
        let defs = schema["$defs"].as_object().unwrap();
        for id in AnyPass::IDS {
            assert_eq!(defs[*id]["additionalProperties"], false, "{id}");
            assert_eq!(defs[*id]["properties"]["id"]["type"], "string", "{id}");
        }
        check_refs(&schema, defs);
    }

    #[test]
    fn options_may_be_variables_and_keep_their_description() {
        let schema = json!({ "properties": {
            "bits": { "type": "integer", "description": "How many.", "default": 8 },
            "name": { "type": "string" },
            "list": { "type": "array", "items": { "type": "number" } },
        } });
        let out = variables_inside(schema);
        let bits = &out["properties"]["bits"];
        assert_eq!(bits["description"], "How many.");
        assert_eq!(bits["anyOf"], json!([{ "type": "integer" }, { "$ref": "#/$defs/variable" }]));
        assert_eq!(out["properties"]["name"], json!({ "type": "string" }));
        assert_eq!(out["properties"]["list"]["anyOf"][0]["items"]["anyOf"][0], json!({ "type": "number" }));
    }

    #[test]
    fn references_of_two_passes_do_not_clash() {
        let out = own_refs(json!({ "a": [{ "$ref": "#/$defs/Mode" }] }), "fuse-x");
        assert_eq!(out, json!({ "a": [{ "$ref": "#/$defs/fuse-x.Mode" }] }));
    }
}
