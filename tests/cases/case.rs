//! Reading a case.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use onnxpress::passes::AnyPass;
use serde::Deserialize;

use crate::draw::Recipe;

/// A case, read.
pub struct Case {
    pub header: Header,
    /// Everything up to the `after` section.
    pub head: String,
    pub before: String,
    pub after: Option<String>,
    pub passes: Vec<AnyPass>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools)] // switches of a case
pub struct Header {
    pub pass: OneOrMore,
    #[serde(default)]
    pub options: serde_json::Value,
    #[serde(default)]
    pub fill: BTreeMap<String, Recipe>,
    #[serde(default)]
    pub inputs: BTreeMap<String, Recipe>,
    #[serde(default)]
    pub expect: Expect,
    pub close: Option<Close>,
    #[serde(default)]
    pub bind: BTreeMap<String, Vec<u64>>,
    #[serde(default)]
    pub constant: bool,
    #[serde(default)]
    pub special: bool,
    #[serde(default)]
    pub grows: bool,
    pub unproved: Option<String>,
    pub golden: Option<Golden>,
    #[serde(default)]
    pub border: bool,
    #[serde(default)]
    pub differs: bool,
    pub error: Option<String>,
    pub samples: Option<u64>,
    pub sqnr: Option<f64>,
    pub profile: Option<serde_json::Value>,
    #[serde(default)]
    pub ignore: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    pub fn all(&self) -> Vec<&str> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more.iter().map(String::as_str).collect(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    pub applied: Option<Applied>,
    pub skipped: Option<OneOrMore>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Applied {
    Total(usize),
    ById(BTreeMap<String, usize>),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Close {
    pub atol: f64,
    pub rtol: f64,
}

/// Answers of another runtime, as flat lists.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    #[serde(default)]
    pub inputs: BTreeMap<String, Vec<f64>>,
    pub outputs: BTreeMap<String, Vec<f64>>,
}

impl Case {
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let (header, rest) = text.split_once("--- before\n").context("there is no `--- before` line")?;
        let (before, after) = match rest.split_once("--- after\n") {
            Some((before, after)) => (before, Some(after.trim_end().to_owned())),
            None => (rest, None),
        };
        let head = format!("{header}--- before\n{}\n", before.trim_end());
        let before = before.to_owned();
        let header: Header = serde_saphyr::from_str(header).context("the header")?;
        let passes = passes(&header)?;
        let folder = path.parent().and_then(Path::file_name).and_then(|n| n.to_str()).unwrap_or_default();
        ensure!(
            header.pass.all().contains(&folder) || folder == "together",
            "the folder must be named as one of its passes"
        );
        Ok(Self { header, head, before, after, passes })
    }
}

fn passes(header: &Header) -> Result<Vec<AnyPass>> {
    let read = |id: &str, options: serde_json::Value| {
        AnyPass::deserialize_options(id, options).with_context(|| format!("pass `{id}`"))
    };
    match &header.pass {
        OneOrMore::One(id) => Ok(vec![read(id, header.options.clone())?]),
        OneOrMore::More(ids) => {
            let mut options = match &header.options {
                serde_json::Value::Null => serde_json::Map::new(),
                serde_json::Value::Object(map) => map.clone(),
                _ => bail!("`options` of several passes must be a mapping by id"),
            };
            let passes: Result<_> =
                ids.iter().map(|id| read(id, options.remove(id).unwrap_or_default())).collect();
            ensure!(options.is_empty(), "`options` names passes that do not run: {options:?}");
            passes
        }
    }
}
