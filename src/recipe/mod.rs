//! Recipes: which passes run, in which order, with which options; written in YAML.
//!
//! A recipe is read in four moves: the text becomes a tree in which every part knows its place, the recipes that it
//! extends are laid under it, variables are put in, and the tree is read into types. So every message can name file,
//! line and column, and [`Recipe::to_yaml`] can say what a recipe comes down to.

mod data;
mod data_schema;
mod de;
pub mod docs;
mod emit;
mod error;
mod json_schema;
mod load;
mod metric;
pub mod profile;
mod read;
mod source;
mod steps;
#[cfg(test)]
mod tests;
mod tree;
mod vars;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use error::Source;

use crate::data::DataSource;
use crate::pass::{Budget, Profile};

pub use error::{Place, RecipeError, hint};
pub use metric::{MODEL, Metric};
pub use steps::{Step, StepKind};

/// The data set that passes measure with.
pub const MEASURE: &str = "calib";
/// The data set that lossy steps are judged by.
pub const JUDGE: &str = "eval";

/// What to do to a model, and how to make sure that it still gives the same answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// What messages and reports call it.
    pub name: String,
    /// The opset of the default domain to write; `None` for that of the file.
    pub target_opset: Option<i64>,
    /// The IR version to write; `None` for that of the file, or what the opset asks for.
    pub target_ir_version: Option<i64>,
    /// The runtime and hardware that the model is for; `None` for any.
    pub profile: Option<Profile>,
    /// Sizes for dims of graph inputs that the model leaves open, by input.
    pub inputs: BTreeMap<String, BTreeMap<DimKey, u64>>,
    /// The size of the first dim of the inputs, where the model leaves it open; `None` to leave it so.
    pub batch: Option<u64>,
    /// Samples: `calib` to measure with, `eval` to judge by.
    pub data: BTreeMap<String, DataSource>,
    /// What to run, in order.
    pub steps: Vec<Step>,
    /// How to compare the result with the original.
    pub verify: Verify,
    /// Numbers that commands of the user's say about a model, by name.
    pub metrics: BTreeMap<String, Metric>,
    /// What the result has to keep.
    pub budget: Budget,
    /// What happens to a lossy step that breaks the budget.
    pub on_miss: OnMiss,
}

/// What happens to a lossy step that breaks the budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnMiss {
    /// Nothing; where the result breaks it, nothing is written.
    #[default]
    Fail,
    /// It is undone.
    RollBack,
    /// The smallest fraction to keep with which it keeps the budget is searched, where it has such an option; else it is
    /// undone.
    Search,
}

/// A dim of an input.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum DimKey {
    /// By its place.
    Axis(u32),
    /// By its symbol in the model.
    Symbol(String),
}

impl From<&str> for DimKey {
    fn from(text: &str) -> Self {
        let is_number = text.chars().all(|c| c.is_ascii_digit());
        let axis = is_number.then(|| text.parse().ok()).flatten();
        axis.map_or_else(|| Self::Symbol(text.to_owned()), Self::Axis)
    }
}

impl fmt::Display for DimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Axis(axis) => write!(f, "{axis}"),
            Self::Symbol(symbol) => f.write_str(symbol),
        }
    }
}

/// How to compare the result with the original.
#[derive(Debug, Clone, PartialEq)]
pub struct Verify {
    /// Whether to run both at all.
    pub enabled: bool,
    /// On so many samples.
    pub runs: u32,
    /// The difference allowed, as a share of the largest magnitude of the output; `None` for what suits its type.
    pub rtol: Option<f64>,
    /// The difference allowed besides; `None` for what suits the output's type.
    pub atol: Option<f64>,
    /// Where random inputs start.
    pub seed: u64,
}

impl Default for Verify {
    fn default() -> Self {
        Self { enabled: true, runs: 2, rtol: None, atol: None, seed: 0 }
    }
}

/// Reads recipes, with values for their variables from outside.
///
/// ```
/// use onnxpress::recipe::Loader;
///
/// let text = "vars: { size: 224 }\ninputs: { image: { height: '${size}' } }";
/// let recipe = Loader::new().set("size", "320").from_str(text, "inline", "".as_ref())?;
/// assert_eq!(recipe.inputs["image"].values().next(), Some(&320));
/// # Ok::<(), onnxpress::recipe::RecipeError>(())
/// ```
#[derive(Default)]
pub struct Loader<'a> {
    outside: vars::Outside<'a>,
}

impl<'a> Loader<'a> {
    /// A loader without values for variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a variable of the recipe a value. It takes the type that the recipe's own value has, where it can.
    #[must_use]
    pub fn set(mut self, variable: impl Into<String>, value: impl Into<String>) -> Self {
        self.outside.set.push((variable.into(), value.into()));
        self
    }

    /// Lets variables that say `env:` read the environment through a function. Without it they take their defaults.
    #[must_use]
    pub fn env(mut self, read: &'a dyn Fn(&str) -> Option<String>) -> Self {
        self.outside.env = Some(read);
        self
    }

    /// A built-in recipe.
    pub fn builtin(&self, name: &str) -> Result<Recipe, RecipeError> {
        self.read(source::named(name)?)
    }

    /// A recipe in a file.
    pub fn from_file(&self, path: impl AsRef<Path>) -> Result<Recipe, RecipeError> {
        self.read(source::file(path.as_ref())?)
    }

    /// A recipe in a text. Messages call it by the name; relative paths in it start from the directory.
    pub fn from_str(&self, text: &str, name: &str, dir: &Path) -> Result<Recipe, RecipeError> {
        let (dir, text) = (dir.to_owned(), text.to_owned());
        self.read(Source { name: error::one_line(name), identity: None, dir, text })
    }

    /// A built-in recipe, or else a recipe in a file.
    pub fn load(&self, name_or_path: &str) -> Result<Recipe, RecipeError> {
        self.read(source::named_or_file(name_or_path)?)
    }

    /// The profile that `auto` stands for: that of the machine.
    #[must_use]
    pub fn machine(mut self, profile: &'a str) -> Self {
        self.outside.machine = Some(profile);
        self
    }

    /// Uses a profile, by name or file, instead of the recipe's.
    #[must_use]
    pub fn profile(mut self, name_or_file: &'a str) -> Self {
        self.outside.profile = Some(name_or_file);
        self
    }

    fn read(&self, source: Source) -> Result<Recipe, RecipeError> {
        let name = source.name.clone();
        read::recipe(&name, source::chain(source)?, &self.outside)
    }
}

impl Recipe {
    /// A built-in recipe.
    pub fn builtin(name: &str) -> Result<Self, RecipeError> {
        Loader::new().builtin(name)
    }

    /// A recipe in a file.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, RecipeError> {
        Loader::new().from_file(path)
    }

    /// A recipe in a text. Messages call it by the name; relative paths in it start from the directory.
    pub fn from_str(text: &str, name: &str, dir: &Path) -> Result<Self, RecipeError> {
        Loader::new().from_str(text, name, dir)
    }

    /// A built-in recipe, or else a recipe in a file.
    pub fn load(name_or_path: &str) -> Result<Self, RecipeError> {
        Loader::new().load(name_or_path)
    }

    /// The names of the built-in recipes.
    pub fn builtin_names() -> impl Iterator<Item = &'static str> {
        source::built_in_names()
    }

    /// The text of a built-in recipe, as it is in the repository.
    pub fn builtin_text(name: &str) -> Option<&'static str> {
        source::built_in_text(name)
    }

    /// The recipe as YAML with everything worked out: parents, variables, defaults. Reading it gives the same recipe;
    /// its paths are relative to the working directory.
    pub fn to_yaml(&self) -> String {
        emit::yaml(&emit::recipe(self))
    }

    /// The JSON schema of recipes, for editors.
    pub fn json_schema() -> serde_json::Value {
        json_schema::recipe()
    }
}
