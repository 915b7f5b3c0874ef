//! From the tree of a recipe and its parents to the recipe.

use std::collections::BTreeMap;

use super::error::{Place, RecipeError, Source, hint, one_line};
use super::steps::Steps;
use super::tree::{Entry, Kind, Tree};
use super::vars::{Outside, Vars};
use super::{DimKey, JUDGE, MEASURE, Recipe, Verify, data, metric, profile};
use crate::data::DataSource;
use crate::schema::{NEWEST_OPSET, OLDEST_IR_VERSION, ir_version_for_opset};

/// The keys of a recipe.
pub(super) const KEYS: &[&str] = &[
    "version", "extends", "vars", "target", "inputs", "batch", "data", "steps", "skip", "verify", "metrics",
    "budget",
];

/// The newest version of the recipe language.
const VERSION: i64 = 1;

/// The sections that merge per key, and how deep.
const MERGED: &[(&str, usize)] =
    &[("vars", 1), ("target", 1), ("inputs", 2), ("data", 2), ("verify", 1), ("metrics", 2), ("budget", 2)];

/// Whether the tree is a recipe at all, of a version that is known.
pub(super) fn check_keys(tree: &Tree) -> Result<(), RecipeError> {
    let Kind::Map(entries) = &tree.kind else {
        return Err(tree.expected("a recipe: a mapping with keys such as `steps`"));
    };
    if let Some(entry) = entries.iter().find(|e| !KEYS.contains(&e.key.as_str())) {
        return Err(entry.unknown("a recipe", KEYS));
    }
    match tree.get("version") {
        Some(version) if version.kind != Kind::Int(VERSION) => {
            Err(version.expected(&format!("version {VERSION}, the only one there is")))
        }
        _ => Ok(()),
    }
}

/// Reads a recipe from its layers, the outermost parent first.
pub(super) fn recipe(
    name: &str,
    mut layers: Vec<Tree>,
    outside: &Outside<'_>,
) -> Result<Recipe, RecipeError> {
    let vars = Vars::of(merged(&layers, "vars", 1).as_ref(), outside)?;
    let mut steps = Steps::default();
    for layer in &mut layers {
        let Kind::Map(entries) = &mut layer.kind else { continue };
        let plain = ["version", "extends", "vars"];
        for entry in entries.iter_mut().filter(|e| !plain.contains(&e.key.as_str())) {
            vars.substitute(&mut entry.value)?;
        }
        if let Some(skip) = layer.get("skip") {
            steps.skip(skip)?;
        }
        if let Some(tree) = layer.get("steps") {
            steps.add(tree)?;
        }
    }
    let section = |key: &str| {
        let depth = MERGED.iter().find(|(k, _)| *k == key).map_or(0, |&(_, depth)| depth);
        merged(&layers, key, depth)
    };
    let target = section("target").map(|t| target(&t)).transpose()?.unwrap_or_default();
    let outside_profile = outside.profile.map(|name| (name.to_owned(), here(name)));
    let named = outside_profile.or(target.profile);
    let profile = named.map(|(name, place)| profile::load(&name, &place, outside.machine)).transpose()?;
    let metrics = section("metrics").map(|t| metric::read(&t)).transpose()?.unwrap_or_default();
    let limits = section("budget");
    let budget = limits.as_ref().map(|t| metric::budget(t, &metrics)).transpose()?.unwrap_or_default();
    Ok(Recipe {
        name: name.to_owned(),
        target_opset: target.opset,
        target_ir_version: target.ir_version,
        profile,
        inputs: section("inputs").map(|t| inputs(&t)).transpose()?.unwrap_or_default(),
        batch: section("batch")
            .filter(|t| !t.is_null())
            .map(|t| t.int(1, i64::MAX))
            .transpose()?
            .map(i64::unsigned_abs),
        data: section("data").map(|t| data_sets(&t)).transpose()?.unwrap_or_default(),
        steps: steps.finish()?,
        verify: section("verify").map(|t| verify(&t)).transpose()?.unwrap_or_default(),
        on_miss: limits.map(|t| metric::on_miss(&t, &budget)).transpose()?.unwrap_or_default(),
        budget,
        metrics,
    })
}

/// A section of all layers as one.
fn merged(layers: &[Tree], key: &str, depth: usize) -> Option<Tree> {
    let mut sections = layers.iter().filter_map(|layer| layer.get(key)).cloned();
    let mut whole = sections.next()?;
    sections.for_each(|over| whole.overlay(over, depth));
    Some(whole)
}

/// What the command line says stands nowhere in a recipe.
fn here(name: &str) -> Place {
    let source =
        Source { name: "--profile".to_owned(), identity: None, dir: "".into(), text: name.to_owned() };
    Place { source: source.into(), line: 1, column: 1 }
}

#[derive(Default)]
struct Target {
    opset: Option<i64>,
    ir_version: Option<i64>,
    /// With its place.
    profile: Option<(String, Place)>,
}

fn target(tree: &Tree) -> Result<Target, RecipeError> {
    tree.map_of("`target`", &["opset", "ir-version", "profile"])?;
    let newest = ir_version_for_opset(NEWEST_OPSET);
    let ir_version =
        tree.get("ir-version").map(|version| version.int(OLDEST_IR_VERSION, newest)).transpose()?;
    let opset = tree.get("opset").map(|opset| opset.int(1, NEWEST_OPSET)).transpose()?;
    let profile = tree.get("profile").filter(|t| !t.is_null());
    let profile =
        profile.map(|t| Ok::<_, RecipeError>((t.text()?.to_owned(), t.place.clone()))).transpose()?;
    Ok(Target { opset, ir_version, profile })
}

fn inputs(tree: &Tree) -> Result<BTreeMap<String, BTreeMap<DimKey, u64>>, RecipeError> {
    let present = |e: &&Entry| !e.value.is_null();
    let dims = |entry: &Entry| {
        let dims = entry.value.map()?.iter().filter(present);
        let dims = dims.map(|e| Ok((DimKey::from(e.key.as_str()), e.value.int(1, i64::MAX)?.unsigned_abs())));
        Ok((entry.key.clone(), dims.collect::<Result<_, RecipeError>>()?))
    };
    tree.map()?.iter().filter(present).map(dims).collect()
}

fn data_sets(tree: &Tree) -> Result<BTreeMap<String, DataSource>, RecipeError> {
    const SETS: &[&str] = &[MEASURE, JUDGE];
    let entries = tree.map()?.iter().filter(|e| !e.value.is_null());
    let read = |entry: &Entry| {
        if SETS.contains(&entry.key.as_str()) {
            return Ok((entry.key.clone(), data::read(&entry.value, entry.key == JUDGE)?));
        }
        let hint = hint(&entry.key, SETS.iter().copied(), "data sets");
        Err(entry.place.error(format!("unknown data set `{}`{hint}", one_line(&entry.key))))
    };
    entries.map(read).collect()
}

fn verify(tree: &Tree) -> Result<Verify, RecipeError> {
    tree.map_of("`verify`", &["enabled", "runs", "rtol", "atol", "seed"])?;
    let default = Verify::default();
    Ok(Verify {
        enabled: tree.get("enabled").map(Tree::bool).transpose()?.unwrap_or(default.enabled),
        runs: match tree.get("runs") {
            Some(runs) => u32::try_from(runs.int(1, 10_000)?).unwrap_or(u32::MAX),
            None => default.runs,
        },
        rtol: tree.get("rtol").map(Tree::tolerance).transpose()?,
        atol: tree.get("atol").map(Tree::tolerance).transpose()?,
        seed: tree
            .get("seed")
            .map(|t| t.int(0, i64::MAX))
            .transpose()?
            .map_or(default.seed, i64::unsigned_abs),
    })
}
