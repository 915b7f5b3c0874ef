//! `extends` and `skip`.

use std::fs;

use super::*;

/// A directory with recipes in it.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(dir)
    }

    fn load(&self, name: &str) -> Result<Recipe, RecipeError> {
        Recipe::from_file(self.0.path().join(name))
    }

    /// A message without the directory.
    fn refused(&self, name: &str) -> String {
        said(self.load(name)).replace(&format!("{}/", self.0.path().display()), "")
    }
}

#[test]
fn the_parents_steps_come_first_and_mappings_merge_per_key() {
    let files = Files::new(&[
        (
            "base/parent.yaml",
            "target: { opset: 13 }\nvars: { n: 1, m: 2 }\ninputs: { x: { a: '${n}', b: 5 } }\n\
             data: { calib: { files: 'c/*.npz', limit: 3 }, eval: { files: e.npz } }\n\
             steps: [fuse-conv-bn: { id: first }]\nverify: { runs: 9, seed: 4 }",
        ),
        (
            "child.yaml",
            "extends: base/parent.yaml\nvars: { n: 7 }\ninputs: { x: { b: 6 }, y: { 0: '${m}' } }\n\
             data: { calib: { files: mine.npz } }\nsteps: [fuse-conv-bn: { id: second }]\n\
             verify: { seed: 5, runs: }",
        ),
    ]);
    let recipe = files.load("child.yaml").unwrap();
    assert_eq!(ids(&recipe), ["first", "second"]);
    assert_eq!(recipe.target_opset, Some(13));
    let x: Vec<u64> = recipe.inputs["x"].values().copied().collect();
    assert_eq!((x, recipe.inputs["y"][&DimKey::Axis(0)]), (vec![7, 6], 2));
    assert_eq!((recipe.verify.runs, recipe.verify.seed), (Verify::default().runs, 5));

    let dir = files.0.path().display().to_string();
    assert_eq!(recipe.data["calib"].limit, Some(3));
    assert_eq!(super::files(&recipe, "calib"), [format!("{dir}/mine.npz")]);
    assert_eq!(super::files(&recipe, "eval"), [format!("{dir}/base/e.npz")]);
}

#[test]
fn a_built_in_recipe_can_be_extended() {
    let recipe = read("extends: simplify\nsteps: [fuse-conv-bn: { id: mine }]");
    let simplify = Recipe::builtin("simplify").unwrap();
    assert_eq!(ids(&recipe), [ids(&simplify), vec!["mine"]].concat());
}

#[test]
fn skip_leaves_out_what_is_inherited_and_nothing_else() {
    let files = Files::new(&[
        (
            "p.yaml",
            "steps: [{ fixpoint: [fuse-conv-bn: { id: a }, fuse-conv-bn: { id: b }], id: set }, fuse-conv-bn: { id: c }]",
        ),
        ("inner.yaml", "extends: p.yaml\nskip: [a, 'zzz?']\nsteps: [fuse-conv-bn: { id: a }]"),
        ("step.yaml", "extends: p.yaml\nskip: [c]"),
        ("set.yaml", "extends: p.yaml\nskip: [set]"),
        ("emptied.yaml", "extends: p.yaml\nskip: [a, b]"),
        ("grandchild.yaml", "extends: inner.yaml\nskip: [c, a]"),
        ("typo.yaml", "extends: p.yaml\nskip: [fuse, sett]"),
        ("near.yaml", "extends: p.yaml\nskip:\n  - sett"),
    ]);
    let left = |name: &str| ids(&files.load(name).unwrap()).join(" ");
    assert_eq!(left("inner.yaml"), "set b c a");
    assert_eq!(left("step.yaml"), "set a b");
    assert_eq!(left("set.yaml"), "c");
    assert_eq!(left("emptied.yaml"), "c");
    assert_eq!(left("grandchild.yaml"), "set b");
    assert_eq!(
        files.refused("typo.yaml"),
        "typo.yaml:2:8: no inherited step has the id `fuse`; the inherited steps are a, b, c, set"
    );
    assert_eq!(
        files.refused("near.yaml"),
        "near.yaml:3:5: no inherited step has the id `sett`; did you mean `set`?"
    );
}

#[test]
fn circles_are_errors_that_name_the_chain() {
    let files = Files::new(&[
        ("a.yaml", "extends: sub/b.yaml"),
        ("sub/b.yaml", "extends: ../a.yaml"),
        ("self.yaml", "extends: ./self.yaml"),
    ]);
    let message = files.refused("a.yaml");
    assert_eq!(
        message,
        "sub/b.yaml:1:10: recipes extend each other in a circle: a.yaml → sub/b.yaml → sub/../a.yaml"
    );
    assert!(files.refused("self.yaml").contains("in a circle: self.yaml → ./self.yaml"));
}

#[test]
fn a_long_chain_is_refused() {
    let texts: Vec<(String, String)> =
        (0..30).map(|i| (format!("{i}.yaml"), format!("extends: {}.yaml", i + 1))).collect();
    let files: Vec<(&str, &str)> = texts.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let files = Files::new(&files);
    assert_eq!(files.refused("0.yaml"), "15.yaml:1:10: more than 16 recipes extend each other");
}

#[test]
fn errors_name_the_file_that_they_are_in() {
    let files = Files::new(&[
        ("p.yaml", "steps: [nonsense]\nverify: { runs: '${n}' }\nvars: { n: 1 }"),
        ("q.yaml", "verify: { runs: '${n}' }\nvars: { n: 1 }"),
        ("child.yaml", "extends: p.yaml"),
        ("deep.yaml", "extends: q.yaml\nvars: { n: many }"),
        ("lost.yaml", "extends: gone.yaml"),
        ("name.yaml", "extends: simplfy"),
        ("var.yaml", "extends: '${x}.yaml'"),
    ]);
    assert!(files.refused("child.yaml").starts_with("p.yaml:1:9: unknown pass `nonsense`"));
    assert!(files.refused("deep.yaml").starts_with("q.yaml:1:17: expected a whole number"));
    assert!(files.refused("lost.yaml").starts_with("lost.yaml:1:10: gone.yaml: the recipe cannot be read"));
    assert_eq!(
        files.refused("name.yaml"),
        "name.yaml:1:10: no recipe is called `simplfy`; did you mean `simplify`?"
    );
    assert_eq!(files.refused("var.yaml"), "var.yaml:1:10: `extends` cannot use variables");
}

#[test]
fn data_is_found_from_the_directory_of_the_recipe_whatever_it_is_called() {
    let text = "data: { calib: { files: '*.npz' }, eval: { files: [b.npz] } }";
    let files = Files::new(&[("a[1]{x}/r.yaml", text), ("a[1]{x}/b.npz", ""), ("a[1]{x}/a.npz", "")]);
    let recipe = files.load("a[1]{x}/r.yaml").unwrap();
    let folder = files.0.path().join("a[1]{x}");
    let paths = |set: &str| recipe.data[set].paths().unwrap();
    assert_eq!(paths("calib"), [folder.join("a.npz"), folder.join("b.npz")]);
    assert_eq!(paths("eval"), [folder.join("b.npz")]);
    let again = Recipe::from_str(&recipe.to_yaml(), &recipe.name, Path::new("")).unwrap();
    assert_eq!(again, recipe);
}

#[test]
fn a_child_may_take_other_kinds_of_samples() {
    let parent = ("p.yaml", "data: { calib: { files: a.npz, limit: 2 } }");
    let both = ("both.yaml", "extends: p.yaml\ndata: { calib: { raw: b } }");
    let child = ("c.yaml", "extends: p.yaml\ndata: { calib: { files: ~, images: b } }");
    let files = Files::new(&[parent, both, child]);
    let found = files.refused("both.yaml");
    assert_eq!(
        found,
        "both.yaml:2:23: a data set has `files` or `raw`, not both; `files: ~` drops an inherited one"
    );
    let recipe = files.load("c.yaml").unwrap();
    assert_eq!(recipe.data["calib"].limit, Some(2));
    assert!(matches!(recipe.data["calib"].origin, crate::data::Origin::Images(_)));
}
