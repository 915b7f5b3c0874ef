//! The part of the JSON schema that data sets have.

use serde_json::{Map, Value, json};

use super::data::{PAD, SIDE};
use super::json_schema::{described, object, or_variable};
use crate::data::{Color, HOLDOUT, ImageLayout};

/// What the arrays of the inputs are called among the definitions.
pub(super) const ARRAYS: &str = "arrays-by-input";

/// What data sets are called among the definitions.
pub(super) const DATA_SET: &str = "data-set";

/// A text, or a list of texts.
fn texts() -> Value {
    json!({ "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/text-list" }] })
}

/// Arrays for inputs by name.
pub(super) fn arrays() -> Value {
    json!({
        "description": "Inputs, each with the .npz and .npy files of its samples.",
        "type": "object",
        "minProperties": 1,
        "additionalProperties": { "anyOf": [
            texts(),
            { "type": "null" },
            {
                "type": "object",
                "properties": {
                    "files": described("Paths, globs or folders, relative to this file.", texts()),
                    "array": {
                        "description": "The array in each file; that of the input's name, or the only one that fits, \
                            unless given.",
                        "type": "string",
                    },
                },
                "required": ["files"],
                "additionalProperties": false,
            },
        ] },
    })
}

/// A data set.
pub(super) fn data_set() -> Value {
    let mut keys = Map::new();
    let mut put = |key: &str, what: &str, mut schema: Value| {
        if let Some(options) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
            options.push(json!({ "type": "null" }));
        }
        keys.insert(key.to_owned(), described(what, schema));
    };
    let files = json!({ "anyOf": [
        { "type": "string" }, { "$ref": "#/$defs/text-list" }, { "$ref": format!("#/$defs/{ARRAYS}") },
    ] });
    let whole = |from: u32| or_variable(json!({ "type": "integer", "minimum": from }));
    put(
        "files",
        ".npz and .npy: paths, globs or folders, relative to this file; or inputs with theirs.",
        files,
    );
    put("images", "PNG and JPEG, one a sample: paths, globs, folders or .txt lists of paths.", texts());
    put("raw", "Files with nothing but elements, little-endian: paths, globs, folders or lists.", texts());
    put("random", "So many samples that are made up: only where there are no real ones.", whole(1));
    put("inputs", "What `raw` files hold, in this order; the one input that takes `images`.", texts());
    put("limit", "At most so many samples, picked by `seed`.", whole(1));
    put("seed", "Which samples a `limit` picks, and what `random` starts from.", whole(0));
    let share = json!({ "type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": HOLDOUT });
    put(
        "holdout",
        "Share of the samples that nothing is measured with, kept to judge by.",
        or_variable(share),
    );
    image_options(&mut put);
    object("Samples, from one of `files`, `images`, `raw` and `random`.", &Value::Object(keys))
}

fn image_options(put: &mut impl FnMut(&str, &str, Value)) {
    let side = || or_variable(json!({ "type": "integer", "minimum": 1, "maximum": SIDE }));
    let pair = || json!({ "type": "array", "minItems": 2, "maxItems": 2, "items": side() });
    let size = || json!({ "anyOf": [side(), pair()] });
    let fraction = r"^\s*[0-9.eE+-]+\s*/\s*[0-9.eE+-]+\s*$";
    let number = || {
        json!({ "anyOf": [
        { "type": "number" }, { "type": "string", "pattern": fraction }, { "$ref": "#/$defs/variable" },
    ] })
    };
    let numbers = || json!({ "anyOf": [number(), { "type": "array", "minItems": 1, "items": number() }] });
    put("resize", "[width, height], or the shorter side; the model's own size unless given.", size());
    put(
        "letterbox",
        "Keep the aspect, and fill what is left over.",
        or_variable(json!({ "type": "boolean", "default": false })),
    );
    let pad = json!({ "type": "integer", "minimum": 0, "maximum": 255, "default": PAD });
    put("pad", "What a letterbox is filled with.", or_variable(pad));
    put("crop", "[width, height], or the side of a square, cut out of the middle.", size());
    let words = |words: &[&str]| or_variable(json!({ "enum": words }));
    put(
        "layout",
        "The order of the axes; the one that the model's dims tell unless given.",
        words(ImageLayout::WORDS),
    );
    put("color", "The channels; the ones that the model's dims tell unless given.", words(Color::WORDS));
    put("scale", "What 0 to 255 is multiplied with; 1/255 unless given, 1 for integer inputs.", number());
    put("mean", "What is then taken away: a number, or one a channel.", numbers());
    put("std", "What is then divided by: a number, or one a channel.", numbers());
}

#[cfg(test)]
mod tests {
    use super::super::data::keys;
    use super::*;

    #[test]
    fn the_schema_has_the_keys_that_are_read() {
        let schema = data_set();
        let mut found: Vec<_> =
            schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut wanted = keys();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted);
    }
}
