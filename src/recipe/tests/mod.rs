//! What recipes mean, and what is said about those that mean nothing.

mod data;
mod errors;
mod extends;
mod options;

use std::path::Path;

use super::*;
use crate::data::Origin;
use crate::rewrite::Selector;

fn read(text: &str) -> Recipe {
    Recipe::from_str(text, "r.yaml", Path::new("")).unwrap()
}

/// The message of a recipe that is refused: always one line.
fn refused(text: &str) -> String {
    said(Recipe::from_str(text, "r.yaml", Path::new("")))
}

fn said(result: Result<Recipe, RecipeError>) -> String {
    let message = result.unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

fn ids(recipe: &Recipe) -> Vec<&str> {
    let mut ids = Vec::new();
    recipe.steps.iter().for_each(|step| step.each(&mut |s| ids.push(s.id.as_str())));
    ids
}

/// The arrays of a data set.
fn files<'r>(recipe: &'r Recipe, set: &str) -> &'r [String] {
    match &recipe.data[set].origin {
        Origin::Arrays(files) => files,
        other => panic!("{other:?}"),
    }
}

const FULL: &str = r#"
version: 1
vars: { size: 224, layer: "/head", rate: 0.5, word: "1", names: [a, b] }
target: { opset: 17 }
inputs: { images: { batch: 1, 2: "${size}" }, mask: { 0: 4 } }
data:
  calib: { files: "calib/*.npz", limit: 16 }
  eval: { files: [a.npz, "${word}.npz"] }
steps:
  - fuse-conv-bn
  - fuse-conv-bn:
  - fuse-conv-bn: { id: last, only: ["${layer}/*", "op:Conv?"], ignore: ["$${x}"] }
  - { fixpoint: [fuse-conv-bn, { fuse-conv-bn: { ignore: "${names}" } }], id: clean }
verify: { runs: 3, rtol: 1.0e-3, seed: 7 }
"#;

#[test]
fn a_whole_recipe_is_read() {
    let recipe = read(FULL);
    assert_eq!(recipe.target_opset, Some(17));
    let images = &recipe.inputs["images"];
    assert_eq!(images[&DimKey::Symbol("batch".into())], 1);
    assert_eq!(images[&DimKey::Axis(2)], 224);
    assert_eq!(
        (files(&recipe, "calib"), recipe.data["calib"].limit),
        (&["calib/*.npz".to_owned()][..], Some(16))
    );
    assert_eq!(files(&recipe, "eval"), ["a.npz", "1.npz"]);
    assert_eq!(
        ids(&recipe),
        ["fuse-conv-bn", "fuse-conv-bn", "last", "clean", "fuse-conv-bn", "fuse-conv-bn"]
    );
    let last = &recipe.steps[2].select;
    assert_eq!(last.only.iter().map(Selector::text).collect::<Vec<_>>(), ["/head/*", "op:Conv?"]);
    assert_eq!(last.ignore[0].text(), "${x}");
    let StepKind::Fixpoint(members) = &recipe.steps[3].kind else { panic!() };
    assert_eq!(members[1].select.ignore.len(), 2);
    let verify = Verify { runs: 3, rtol: Some(1e-3), seed: 7, ..Verify::default() };
    assert_eq!(recipe.verify, verify);
}

#[test]
fn the_effective_recipe_reads_back_as_the_same_recipe() {
    let smallest = read("steps:");
    assert_eq!((smallest.steps.len(), &smallest.verify), (0, &Verify::default()));
    for recipe in [read(FULL), smallest, Recipe::builtin("simplify").unwrap()] {
        let yaml = recipe.to_yaml();
        let again =
            Recipe::from_str(&yaml, &recipe.name, Path::new("")).unwrap_or_else(|e| panic!("{e}\n{yaml}"));
        assert_eq!(again, recipe, "{yaml}");
        assert_eq!(again.to_yaml(), yaml);
    }
}

#[test]
fn built_in_recipes_are_readable_by_name() {
    for name in Recipe::builtin_names() {
        let recipe = Recipe::load(name).unwrap();
        assert!(!recipe.steps.is_empty() && recipe.name == name);
    }
    assert_eq!(said(Recipe::builtin("simplfy")), "no recipe is called `simplfy`; did you mean `simplify`?");
    let unknown = said(Recipe::load("magic"));
    assert!(
        unknown.starts_with("no recipe is called `magic`; the built-in recipes are compact, fp16-tensorrt, "),
        "{unknown}"
    );
    assert!(said(Recipe::load("no/such.yaml")).starts_with("no/such.yaml: the recipe cannot be read: "));
}

#[test]
fn a_lone_variable_keeps_its_type_and_others_are_text() {
    let text = "vars: { n: 3, t: 'x' }\ndata: { eval: { files: 'a${n}-${t}.npz', limit: '${n}' } }";
    let recipe = read(text);
    assert_eq!((files(&recipe, "eval"), recipe.data["eval"].limit), (&["a3-x.npz".to_owned()][..], Some(3)));
}

#[test]
fn values_from_outside_take_the_declared_type() {
    let text = "vars: { n: 3, t: 'x', e: { env: SIZE, default: 5 } }\n\
                data: { eval: { files: '${t}', limit: '${n}' } }\ninputs: { x: { 0: '${e}' } }";
    let env = |name: &str| (name == "SIZE").then(|| "9".to_owned());
    let load = |loader: Loader<'_>| loader.from_str(text, "r.yaml", Path::new("")).unwrap();
    let size = |recipe: &Recipe| recipe.inputs["x"][&DimKey::Axis(0)];

    let recipe = load(Loader::new().set("n", "8").set("t", "12"));
    assert_eq!((files(&recipe, "eval"), recipe.data["eval"].limit), (&["12".to_owned()][..], Some(8)));
    assert_eq!(size(&recipe), 5);
    assert_eq!(size(&load(Loader::new().env(&env))), 9);
    assert_eq!(size(&load(Loader::new().env(&env).set("e", "1").set("e", "2"))), 2);
}

#[test]
fn metrics_and_the_budget_are_read_merged_and_written() {
    let text = "
metrics:
  top1: { command: \"python eval.py '{model}' --fast\", parse: 'top1 (\\S+)', timeout: 30 }
  wer: { command: [sh, -c, 'wc -c < \"$0\"', '{model}'], larger-is-better: false, dir: there }
budget: { sqnr: 30, agreement: 0.98, metric: { top1: 0.9 }, search: true }
";
    let recipe = Recipe::from_str(text, "r.yaml", Path::new("a")).unwrap();
    let (top1, wer) = (&recipe.metrics["top1"], &recipe.metrics["wer"]);
    assert_eq!(top1.command, ["python", "eval.py", "{model}", "--fast"]);
    assert_eq!((top1.parse.as_deref(), top1.timeout, top1.larger_is_better), (Some("top1 (\\S+)"), 30, true));
    assert_eq!(wer.command, ["sh", "-c", "wc -c < \"$0\"", "{model}"]);
    assert_eq!((wer.parse.as_deref(), wer.timeout, wer.larger_is_better), (None, 600, false));
    assert_eq!((top1.dir.as_path(), wer.dir.as_path()), (Path::new("a"), Path::new("a/there")));
    assert_eq!((recipe.budget.sqnr, recipe.budget.agreement), (Some(30.0), Some(0.98)));
    assert_eq!(recipe.budget.metric["top1"].to_bits(), 0.9f64.to_bits());
    let again = Recipe::from_str(&recipe.to_yaml(), "r.yaml", Path::new("")).unwrap();
    assert_eq!(again, recipe);

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("base.yaml"), text).unwrap();
    let child = "extends: base.yaml\nmetrics: { top1: { timeout: 5 }, wer: ~ }\nbudget: { sqnr: ~, metric: { top1: 0.8 } }";
    let recipe = Recipe::from_str(child, "c.yaml", dir.path()).unwrap();
    assert_eq!(recipe.metrics.keys().collect::<Vec<_>>(), ["top1"]);
    assert_eq!((recipe.metrics["top1"].timeout, recipe.metrics["top1"].command.len()), (5, 4));
    assert_eq!((recipe.budget.sqnr, recipe.budget.agreement), (None, Some(0.98)));
    assert_eq!(recipe.on_miss, OnMiss::Search);
    assert_eq!(recipe.budget.metric["top1"].to_bits(), 0.8f64.to_bits());
}

#[test]
fn the_fraction_that_a_step_keeps_is_exchanged() {
    let step = |options: &str| {
        Recipe::from_str(&format!("steps: [{{ {options} }}]"), "r.yaml", Path::new(""))
            .unwrap()
            .steps
            .remove(0)
    };
    for (options, softer) in [
        ("prune-channels: { params: 0.5, round-to: 2 }", "prune-channels: { params: 0.75, round-to: 2 }"),
        ("factorize: { energy: 0.5 }", "factorize: { energy: 0.75 }"),
    ] {
        assert_eq!(step(options).keeps(), Some(0.5));
        assert_eq!(step(options).keeping(0.75), Some(step(softer)));
    }
    for none in ["prune-channels: { params: 0.5, macs: 0.5 }", "prune-channels: {}", "quantize-static: {}"] {
        assert_eq!((step(none).keeps(), step(none).keeping(0.75)), (None, None), "{none}");
    }
}
