//! Data sets: read from a recipe, and written back.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::error::{RecipeError, hint};
use super::tree::{Kind, Tree};
use crate::data::{
    ArrayFiles, Color, DataSource, HOLDOUT, ImageLayout, Images, Origin, Prepare, Resize, rooted,
};

/// Keys that say where samples come from.
const ORIGINS: &[&str] = &["files", "images", "raw", "random"];
/// Keys that say how an image becomes a tensor.
const IMAGE: &[&str] = &["resize", "letterbox", "pad", "crop", "layout", "color", "scale", "mean", "std"];
/// The other keys.
const OTHERS: &[&str] = &["inputs", "limit", "seed", "holdout"];

/// All keys of a data set.
pub(super) fn keys() -> Vec<&'static str> {
    [ORIGINS, OTHERS, IMAGE].concat()
}

/// The longest side of an image.
pub(super) const SIDE: i64 = 1 << 13;
/// What a letterbox is filled with.
pub(super) const PAD: u8 = 114;

/// Reads a data set; `judges` where nothing is measured with it.
pub(super) fn read(tree: &Tree, judges: bool) -> Result<DataSource, RecipeError> {
    tree.map_of("a data set", &keys())?;
    let origin = origin(tree)?;
    let only_for = |keys: &[&str], what: &str| match keys.iter().find_map(|key| Some((key, tree.get(key)?))) {
        Some((key, found)) => Err(found.place.error(format!("`{key}` is for {what}"))),
        None => Ok(()),
    };
    if !matches!(origin, Origin::Images(_)) {
        only_for(IMAGE, "`images`")?;
    }
    if !matches!(origin, Origin::Images(_) | Origin::Raw { .. }) {
        only_for(&["inputs"], "`images` and `raw`")?;
    }
    if judges {
        only_for(&["holdout"], "`calib`: nothing is measured with `eval`")?;
    }
    let whole = |key, from| tree.get(key).map(|t| t.int(from, i64::MAX)).transpose();
    let share = tree.get("holdout").map(|t| match number(t)? {
        share if (0.0..1.0).contains(&share) => Ok(share),
        _ => Err(t.expected("a share of at least 0 and less than 1")),
    });
    let holdout = if judges { 0.0 } else { share.transpose()?.unwrap_or(HOLDOUT) };
    let limit = whole("limit", 1)?.map(i64::unsigned_abs);
    Ok(DataSource { origin, limit, seed: whole("seed", 0)?.map_or(0, i64::unsigned_abs), holdout })
}

fn origin(tree: &Tree) -> Result<Origin, RecipeError> {
    let found: Vec<_> = ORIGINS.iter().filter_map(|&key| Some((key, tree.get(key)?))).collect();
    match found.as_slice() {
        [("files", files)] => match files.kind {
            Kind::Map(_) => Ok(Origin::ByInput(by_input(files)?)),
            _ => Ok(Origin::Arrays(patterns(files)?)),
        },
        [("images", images)] => Ok(Origin::Images(read_images(tree, images, BTreeMap::new())?)),
        [("files", files), ("images", images)] if matches!(files.kind, Kind::Map(_)) => {
            Ok(Origin::Images(read_images(tree, images, by_input(files)?)?))
        }
        [("files", files), ("images", _)] => {
            Err(files.place.error("beside `images`, `files` is a mapping: the other inputs and their files"))
        }
        [("raw", raw)] => {
            let inputs = tree.get("inputs").map(|t| texts(t, |t| t.text().map(str::to_owned)));
            Ok(Origin::Raw { files: patterns(raw)?, inputs: inputs.transpose()?.unwrap_or_default() })
        }
        [(_, count)] => Ok(Origin::Random(count.int(1, i64::MAX)?.unsigned_abs())),
        [] => Err(tree.place.error("a data set needs one of `files`, `images`, `raw` and `random`")),
        [(one, _), .., (other, place)] => Err(place.place.error(format!(
            "a data set has `{one}` or `{other}`, not both; `{one}: ~` drops an inherited one"
        ))),
    }
}

fn read_images(
    tree: &Tree,
    files: &Tree,
    others: BTreeMap<String, ArrayFiles>,
) -> Result<Images, RecipeError> {
    let input = match tree.get("inputs") {
        None => None,
        Some(t) => match texts(t, |t| t.text().map(str::to_owned))?.as_slice() {
            [one] => Some(one.clone()),
            _ => return Err(t.place.error("images serve one input")),
        },
    };
    Ok(Images { files: patterns(files)?, input, others, prepare: prepare(tree)? })
}

fn prepare(tree: &Tree) -> Result<Prepare, RecipeError> {
    let resize = tree.get("resize").map(|t| match &t.kind {
        Kind::Int(_) => Ok(Resize::Shorter(side(t)?)),
        _ => pair(t).map(|(w, h)| Resize::To(w, h)),
    });
    let resize = resize.transpose()?;
    let letterbox = tree.get("letterbox").map(Tree::bool).transpose()?.unwrap_or(false);
    let pad = tree.get("pad").map(|t| t.int(0, 255)).transpose()?;
    let pad_of = |pad: Option<i64>| pad.and_then(|pad| u8::try_from(pad).ok()).unwrap_or(PAD);
    if let (Some(place), false) = (tree.get("pad"), letterbox) {
        return Err(place.place.error("`pad` is for `letterbox: true`"));
    }
    if let (Some(place), true, Some(Resize::Shorter(_))) = (tree.get("letterbox"), letterbox, resize) {
        return Err(place.place.error("`letterbox` needs `resize: [width, height]`"));
    }
    let crop = tree.get("crop").map(|t| match &t.kind {
        Kind::Int(_) => side(t).map(|side| (side, side)),
        _ => pair(t),
    });
    let scale = tree.get("scale").map(|t| match fraction(t)? {
        scale if scale > 0.0 => Ok(scale),
        _ => Err(t.expected("a number above 0, such as 1/255")),
    });
    let std = |t: &Tree| match fraction(t)? {
        std if std > 0.0 => Ok(std),
        _ => Err(t.expected("a number above 0")),
    };
    let numbers = |key, read: &dyn Fn(&Tree) -> _| {
        tree.get(key).map(|t| texts(t, read)).transpose().map(Option::unwrap_or_default)
    };
    Ok(Prepare {
        resize,
        letterbox: letterbox.then(|| pad_of(pad)),
        crop: crop.transpose()?,
        layout: tree.get("layout").map(|t| word(t, ImageLayout::WORDS, ImageLayout::of)).transpose()?,
        color: tree.get("color").map(|t| word(t, Color::WORDS, Color::of)).transpose()?,
        scale: scale.transpose()?,
        mean: numbers("mean", &fraction)?,
        std: numbers("std", &std)?,
    })
}

fn by_input(tree: &Tree) -> Result<BTreeMap<String, ArrayFiles>, RecipeError> {
    let entries = tree.map()?.iter().filter(|e| !e.value.is_null());
    let read = entries.map(|entry| {
        let value = &entry.value;
        let Kind::Map(_) = value.kind else {
            return Ok((entry.key.clone(), ArrayFiles { files: patterns(value)?, array: None }));
        };
        value.map_of("an input", &["files", "array"])?;
        let files = value.get("files").ok_or_else(|| value.place.error("an input needs `files`"))?;
        let array = value.get("array").map(|t| t.text().map(str::to_owned)).transpose()?;
        Ok((entry.key.clone(), ArrayFiles { files: patterns(files)?, array }))
    });
    let read: BTreeMap<_, _> = read.collect::<Result<_, RecipeError>>()?;
    if read.is_empty() { Err(tree.place.error("`files` names no input")) } else { Ok(read) }
}

/// Paths and globs, joined to the directory of the recipe.
fn patterns(tree: &Tree) -> Result<Vec<String>, RecipeError> {
    texts(tree, |t| rooted(&t.place.source.dir, t.text()?).map_err(|why| t.place.error(why)))
}

/// What one item, or a list of some, says.
fn texts<T>(tree: &Tree, read: impl Fn(&Tree) -> Result<T, RecipeError>) -> Result<Vec<T>, RecipeError> {
    match &tree.kind {
        Kind::List(items) if items.is_empty() => Err(tree.place.error("the list is empty")),
        Kind::List(items) => items.iter().map(read).collect(),
        _ => Ok(vec![read(tree)?]),
    }
}

fn side(tree: &Tree) -> Result<u32, RecipeError> {
    Ok(u32::try_from(tree.int(1, SIDE)?).unwrap_or(1))
}

fn pair(tree: &Tree) -> Result<(u32, u32), RecipeError> {
    match &tree.kind {
        Kind::List(items) => match items.as_slice() {
            [width, height] => Ok((side(width)?, side(height)?)),
            _ => Err(tree.place.error("expected two numbers: width and height")),
        },
        _ => Err(tree.expected("a number, or a width and a height")),
    }
}

fn number(tree: &Tree) -> Result<f64, RecipeError> {
    match tree.kind {
        Kind::Int(value) => Ok(value as f64),
        Kind::Float(value) if value.is_finite() => Ok(value),
        _ => Err(tree.expected("a number")),
    }
}

/// A number, also as a text like `1/255`.
fn fraction(tree: &Tree) -> Result<f64, RecipeError> {
    let Kind::Text(text) = &tree.kind else { return number(tree) };
    let parts =
        text.split_once('/').and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
    let value = parts.map(|(a, b): (f64, f64)| a / b).filter(|x| x.is_finite());
    value.ok_or_else(|| tree.expected("a number, or a fraction such as 1/255"))
}

fn word<T>(tree: &Tree, known: &'static [&'static str], of: fn(&str) -> Option<T>) -> Result<T, RecipeError> {
    let text = tree.text()?;
    of(text).ok_or_else(|| {
        let hint = hint(text, known.iter().copied(), "values");
        tree.place.error(format!("unknown value `{}`{hint}", super::error::one_line(text)))
    })
}

/// The data set as a recipe says it.
pub(super) fn emit(source: &DataSource, judges: bool) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| drop(out.insert(key.to_owned(), value));
    match &source.origin {
        Origin::Arrays(files) => put("files", json!(files)),
        Origin::ByInput(inputs) => put("files", emit_inputs(inputs)),
        Origin::Images(images) => {
            put("images", json!(images.files));
            if let Some(input) = &images.input {
                put("inputs", json!([input]));
            }
            if !images.others.is_empty() {
                put("files", emit_inputs(&images.others));
            }
            emit_prepare(&images.prepare, &mut put);
        }
        Origin::Raw { files, inputs } => {
            put("raw", json!(files));
            if !inputs.is_empty() {
                put("inputs", json!(inputs));
            }
        }
        Origin::Random(count) => put("random", json!(count)),
    }
    if let Some(limit) = source.limit {
        put("limit", json!(limit));
    }
    if source.seed != 0 {
        put("seed", json!(source.seed));
    }
    if !judges && source.holdout.total_cmp(&HOLDOUT).is_ne() {
        put("holdout", json!(source.holdout));
    }
    Value::Object(out)
}

fn emit_inputs(inputs: &BTreeMap<String, ArrayFiles>) -> Value {
    let one = |(name, from): (&String, &ArrayFiles)| {
        let value = match &from.array {
            Some(array) => json!({ "files": from.files, "array": array }),
            None => json!(from.files),
        };
        (name.clone(), value)
    };
    Value::Object(inputs.iter().map(one).collect())
}

fn emit_prepare(prepare: &Prepare, put: &mut impl FnMut(&str, Value)) {
    match prepare.resize {
        Some(Resize::To(width, height)) => put("resize", json!([width, height])),
        Some(Resize::Shorter(side)) => put("resize", json!(side)),
        None => {}
    }
    if let Some(pad) = prepare.letterbox {
        put("letterbox", json!(true));
        put("pad", json!(pad));
    }
    if let Some((width, height)) = prepare.crop {
        put("crop", json!([width, height]));
    }
    let words =
        [("layout", prepare.layout.map(ImageLayout::word)), ("color", prepare.color.map(Color::word))];
    for (key, word) in words {
        word.into_iter().for_each(|word| put(key, json!(word)));
    }
    prepare.scale.into_iter().for_each(|scale| put("scale", json!(scale)));
    for (key, numbers) in [("mean", &prepare.mean), ("std", &prepare.std)] {
        if !numbers.is_empty() {
            put(key, json!(numbers));
        }
    }
}
