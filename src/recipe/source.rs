//! Where recipes come from: the built-in ones, files, and texts; and the chain of `extends`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{Place, RecipeError, Source, hint, one_line};
use super::load::{MAX_BYTES, parse};
use super::read::check_keys;
use super::tree::Tree;

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../recipes/", $name, ".yaml"))),)*]
    };
}

/// The recipes that come with the program.
const BUILT_IN: &[(&str, &str)] = built_in![
    "compact",
    "fp16-tensorrt",
    "int4-weights",
    "int8-arm64",
    "int8-embedded",
    "int8-server",
    "int8-x86-avx2",
    "int8-x86-vnni",
    "prune-0.7",
    "simplify",
];

/// How long a chain of `extends` may be.
const MAX_CHAIN: usize = 16;

/// The names of the built-in recipes.
pub(super) fn built_in_names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|&(name, _)| name)
}

/// The text of a built-in recipe.
pub(super) fn built_in_text(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(n, _)| *n == name).map(|&(_, text)| text)
}

/// A built-in recipe, if it has that name.
fn built_in(name: &str) -> Option<Source> {
    let text = built_in_text(name)?.to_owned();
    Some(Source { name: name.to_owned(), identity: Some(name.into()), dir: PathBuf::new(), text })
}

/// A built-in recipe; an unknown name is an error.
pub(super) fn named(name: &str) -> Result<Source, RecipeError> {
    built_in(name).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> RecipeError {
    let name = one_line(name);
    RecipeError::Unknown { hint: hint(&name, built_in_names(), "built-in recipes"), name }
}

/// A built-in recipe, or a file: what has a separator or an ending can only be a file.
pub(super) fn named_or_file(name: &str) -> Result<Source, RecipeError> {
    if let Some(source) = built_in(name) {
        return Ok(source);
    }
    let path = Path::new(name);
    if looks_like_a_file(path) || path.is_file() { file(path) } else { Err(unknown(name)) }
}

fn looks_like_a_file(path: &Path) -> bool {
    path.extension().is_some() || path.components().count() > 1
}

/// Reads a file.
pub(super) fn file(path: &Path) -> Result<Source, RecipeError> {
    let name = one_line(&path.display().to_string());
    let wrong = |what: String| RecipeError::File { name: name.clone(), what };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| wrong(format!("the recipe cannot be read: {e}")))?;
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|e| wrong(format!("the recipe cannot be read: {e}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(wrong(format!("a recipe has at most {MAX_BYTES} bytes, this has more")));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        wrong(format!("the recipe is not UTF-8 text, from byte {} on", e.utf8_error().valid_up_to()))
    })?;
    let dir = path.parent().unwrap_or(Path::new("")).to_owned();
    let identity = Some(path.canonicalize().unwrap_or_else(|_| path.to_owned()));
    Ok(Source { name, identity, dir, text })
}

/// The recipe and all that it extends, the outermost parent first.
pub(super) fn chain(source: Source) -> Result<Vec<Tree>, RecipeError> {
    let mut seen = vec![(source.identity.clone(), source.name.clone())];
    let mut source = Arc::new(source);
    let mut layers = Vec::new();
    loop {
        let layer = parse(&source)?;
        check_keys(&layer)?;
        let parent = match layer.get("extends") {
            Some(extends) => Some((extends.text()?.to_owned(), extends.place.clone())),
            None => None,
        };
        layers.push(layer);
        let Some((name, place)) = parent else { break };
        let next = extended(&name, &source, &place)?;
        let names = || seen.iter().map(|(_, name)| name.as_str()).chain([next.name.as_str()]);
        if seen.iter().any(|(known, _)| *known == next.identity) {
            let chain = names().collect::<Vec<_>>().join(" → ");
            return Err(place.error(format!("recipes extend each other in a circle: {chain}")));
        }
        if seen.len() == MAX_CHAIN {
            return Err(place.error(format!("more than {MAX_CHAIN} recipes extend each other")));
        }
        seen.push((next.identity.clone(), next.name.clone()));
        source = Arc::new(next);
    }
    layers.reverse();
    Ok(layers)
}

fn extended(name: &str, from: &Source, place: &Place) -> Result<Source, RecipeError> {
    if name.contains("${") {
        return Err(place.error("`extends` cannot use variables"));
    }
    if let Some(source) = built_in(name) {
        return Ok(source);
    }
    let path = from.dir.join(name);
    if !looks_like_a_file(Path::new(name)) && !path.is_file() {
        return Err(place.error(unknown(name).to_string()));
    }
    file(&path).map_err(|e| place.error(e.to_string()))
}
