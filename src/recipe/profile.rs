//! Profiles by name: those that come with the program, and files.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::error::{Place, RecipeError, Source, hint, one_line};
use super::load::parse;
use super::source;
use crate::pass::Profile;

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../profiles/", $name, ".yaml"))),)*]
    };
}

/// The profiles that come with the program.
const BUILT_IN: &[(&str, &str)] = built_in![
    "arm64-dotprod",
    "arm64-nodot",
    "generic",
    "qnn-htp",
    "rknn",
    "st-edge-ai",
    "tensorrt",
    "x86-avx2",
    "x86-vnni",
];

/// The profile of the machine that runs the program.
const AUTO: &str = "auto";

/// The names of the profiles that come with the program.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|&(name, _)| name)
}

/// The text of a profile that comes with the program.
pub fn text(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|&(_, text)| text)
}

/// The profile of that name, or in that file. `machine` is the name that `auto` stands for.
pub(super) fn load(name: &str, at: &Place, machine: Option<&str>) -> Result<Profile, RecipeError> {
    let name = match (name, machine) {
        (AUTO, Some(machine)) => machine,
        (AUTO, None) => {
            let what = "`auto` stands for this machine, which only the command line asks for: name a profile";
            return Err(at.error(what));
        }
        (name, _) => name,
    };
    let source = match text(name) {
        Some(text) => {
            let (identity, text) = (Some(name.into()), text.to_owned());
            Source { name: format!("profile {name}"), identity, dir: "".into(), text }
        }
        None if Path::new(name).extension().is_some() => {
            source::file(&at.source.dir.join(name)).map_err(|e| at.error(e.to_string()))?
        }
        None => {
            let known = names().chain([AUTO]);
            return Err(at.error(format!(
                "unknown profile `{}`{}",
                one_line(name),
                hint(name, known, "profiles")
            )));
        }
    };
    let name = match &source.identity {
        Some(path) if text(name).is_none() => path.display().to_string(),
        _ => name.to_owned(),
    };
    let tree = parse(&Arc::new(source))?;
    let read = Profile::deserialize(&tree).map_err(|e| e.into_recipe(&tree.place, &[]))?;
    Ok(Profile { name, ..read })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Loader, Recipe};

    #[test]
    fn every_profile_reads_and_says_where_its_facts_come_from() {
        for name in names() {
            let text = format!("target: {{ profile: {name} }}\nsteps: []");
            let recipe = Recipe::from_str(&text, "r", Path::new("")).unwrap();
            let profile = recipe.profile.as_ref().unwrap();
            assert_eq!(profile.name, name);
            assert!(!profile.sources.is_empty() && profile.about.len() > 10, "{name}");
            assert_eq!(Recipe::from_str(&recipe.to_yaml(), "r", Path::new("")).unwrap(), recipe);
        }
        let generic =
            Recipe::from_str("target: { profile: generic }", "r", Path::new("")).unwrap().profile.unwrap();
        let plain = Profile::default();
        assert_eq!(Profile { sources: vec![], ..generic }, plain, "without a profile it is the generic one");
    }

    #[test]
    fn a_profile_may_be_a_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mine.yaml"), text("x86-vnni").unwrap().replace("uint8", "uint16"))
            .unwrap();
        let read = |text: &str| Recipe::from_str(text, "r", dir.path());
        let profile = read("target: { profile: mine.yaml }").unwrap().profile.unwrap();
        assert_eq!(profile.activations, crate::pass::ActivationType::Uint16);
        std::fs::write(dir.path().join("bad.yaml"), "about: x\nactivation: uint8").unwrap();
        let error = read("target: { profile: bad.yaml }").unwrap_err().to_string();
        assert!(error.contains("bad.yaml:2:1") && error.contains("unknown option `activation`"), "{error}");
    }

    #[test]
    fn unknown_names_and_auto_are_explained() {
        let read = |text: &str| Recipe::from_str(text, "r", Path::new("")).unwrap_err().to_string();
        let error = read("target: { profile: x86-vni }");
        assert!(error.contains("1:20: unknown profile `x86-vni`") && error.contains("x86-vnni"), "{error}");
        assert!(read("target: { profile: auto }").contains("only the command line asks"));
        let loader = Loader::new().machine("x86-avx2");
        let recipe = loader.from_str("target: { profile: auto }", "r", Path::new("")).unwrap();
        assert_eq!(recipe.profile.unwrap().name, "x86-avx2");
    }
}
