//! Steps: what a recipe runs, in which order, on which nodes.

use super::error::{Place, RecipeError, hint, one_line};
use super::tree::{Entry, Kind, Tree};
use crate::ir::Model;
use crate::pass::Pass;
use crate::passes::AnyPass;
use crate::rewrite::{Select, Selector};

/// The name of a set of steps, and its id unless it has another.
const FIXPOINT: &str = "fixpoint";

/// The most steps, those in sets and those inherited included.
const MAX_STEPS: usize = 1000;

/// The keys that every pass takes besides its own options.
pub(super) const COMMON: &[&str] = &["id", "only", "ignore"];

/// A step of a recipe.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What `skip` and reports call it; the id of the pass unless the recipe says otherwise.
    pub id: String,
    /// What it runs.
    pub kind: StepKind,
    /// Which nodes it may change.
    pub select: Select,
}

/// What a step runs.
#[derive(Debug, Clone, PartialEq)]
pub enum StepKind {
    /// One pass.
    Pass(AnyPass),
    /// Passes that run together until nothing changes. Its steps are passes.
    Fixpoint(Vec<Step>),
}

impl Step {
    /// The id that the step has unless the recipe gives it another.
    pub fn default_id(&self) -> &'static str {
        match &self.kind {
            StepKind::Pass(pass) => pass.as_pass().meta().id,
            StepKind::Fixpoint(_) => FIXPOINT,
        }
    }

    /// Whether it may change the answers beyond rounding.
    pub fn is_lossy(&self) -> bool {
        self.any(&|pass| pass.meta().lossy)
    }

    /// The fraction that it is asked to keep of what it makes smaller, where it has such an option.
    pub fn keeps(&self) -> Option<f64> {
        let StepKind::Pass(pass) = &self.kind else { return None };
        Some(pass.as_pass().keeps()?.1)
    }

    /// The same step, which keeps another fraction.
    #[must_use]
    pub fn keeping(&self, fraction: f64) -> Option<Self> {
        let StepKind::Pass(pass) = &self.kind else { return None };
        let (option, _) = pass.as_pass().keeps()?;
        let mut options = pass.options();
        options[option] = serde_json::json!(fraction);
        let pass = AnyPass::deserialize_options(pass.as_pass().meta().id, options).ok()?;
        Some(Self { kind: StepKind::Pass(pass), ..self.clone() })
    }

    /// Whether it cannot do without samples to measure on.
    pub fn needs_samples(&self) -> bool {
        self.any(&|pass| pass.needs_samples())
    }

    /// Whether it measures on samples where there are some.
    pub fn uses_samples(&self) -> bool {
        self.any(&|pass| pass.uses_samples())
    }

    fn any(&self, test: &dyn Fn(&dyn Pass) -> bool) -> bool {
        match &self.kind {
            StepKind::Pass(pass) => test(pass.as_pass()),
            StepKind::Fixpoint(steps) => steps.iter().any(|step| step.any(test)),
        }
    }

    /// Makes sure that every selector matches some node of the model that the step is about to change.
    ///
    /// # Errors
    /// [`RecipeError::Selector`] for the first one that matches none, and does not say that it may.
    pub fn check_selectors(&self, model: &Model) -> Result<(), RecipeError> {
        if let Some(selector) = self.select.unmatched(model).first() {
            return Err(RecipeError::Selector { step: self.id.clone(), selector: one_line(selector.text()) });
        }
        match &self.kind {
            StepKind::Pass(_) => Ok(()),
            StepKind::Fixpoint(steps) => steps.iter().try_for_each(|step| step.check_selectors(model)),
        }
    }

    /// The step and those in it.
    pub(super) fn each<'a>(&'a self, f: &mut dyn FnMut(&'a Step)) {
        f(self);
        if let StepKind::Fixpoint(steps) = &self.kind {
            for step in steps {
                step.each(f);
            }
        }
    }
}

/// The steps of one recipe file, and the ids that it gives.
#[derive(Default)]
#[allow(clippy::struct_field_names, reason = "the key of the recipe")]
pub(super) struct Steps {
    pub steps: Vec<Step>,
    ids: Vec<(String, Place)>,
    count: usize,
}

impl Steps {
    /// Adds the steps of a file after those that are there.
    pub fn add(&mut self, tree: &Tree) -> Result<(), RecipeError> {
        for item in tree.list()? {
            let step = self.step(item, false)?;
            self.steps.push(step);
        }
        Ok(())
    }

    /// Leaves steps out, by id. An id that ends in `?` may match nothing.
    pub fn skip(&mut self, tree: &Tree) -> Result<(), RecipeError> {
        for item in tree.list()? {
            let text = item.text()?;
            let (id, may_miss) = text.strip_suffix('?').map_or((text, false), |id| (id, true));
            let known = self.known_ids();
            if !remove(&mut self.steps, id) && !may_miss {
                let hint = hint(id, known.iter().map(String::as_str), "inherited steps");
                return Err(item
                    .place
                    .error(format!("no inherited step has the id `{}`{hint}", one_line(id))));
            }
        }
        Ok(())
    }

    /// Ids that a recipe gives are unique; a pass without one may come more than once.
    pub fn finish(self) -> Result<Vec<Step>, RecipeError> {
        let mut ids: Vec<&str> = Vec::new();
        self.steps.iter().for_each(|step| step.each(&mut |s| ids.push(&s.id)));
        for (id, place) in self.ids.iter().rev() {
            if ids.iter().filter(|known| *known == id).count() > 1 {
                return Err(place.error(format!("another step has the id `{id}` too")));
            }
        }
        Ok(self.steps)
    }

    fn known_ids(&self) -> Vec<String> {
        let mut ids = Vec::new();
        self.steps.iter().for_each(|step| step.each(&mut |s| ids.push(s.id.clone())));
        ids.sort();
        ids.dedup();
        ids
    }

    fn step(&mut self, tree: &Tree, in_set: bool) -> Result<Step, RecipeError> {
        self.count += 1;
        if self.count > MAX_STEPS {
            return Err(tree.place.error(format!("a recipe has at most {MAX_STEPS} steps")));
        }
        let wanted = "a pass, or a pass with its options";
        match &tree.kind {
            Kind::Text(name) => {
                let nothing = Tree { place: tree.place.clone(), kind: Kind::Null };
                self.pass(name, &tree.place, &nothing)
            }
            Kind::Map(entries) if entries.iter().any(|e| e.key == FIXPOINT) => {
                if in_set {
                    return Err(tree.place.error("a fixpoint set holds passes, no other set"));
                }
                self.set(tree)
            }
            Kind::Map(entries) => match entries.as_slice() {
                [] => Err(tree.expected(wanted)),
                [entry] => self.pass(&entry.key, &entry.place, &entry.value),
                [first, second, ..] => Err(second.place.error(format!(
                    "a step is one pass: indent `{}` if it is an option of `{}`, else begin it with `- `",
                    one_line(&second.key),
                    one_line(&first.key)
                ))),
            },
            _ => Err(tree.expected(wanted)),
        }
    }

    fn set(&mut self, tree: &Tree) -> Result<Step, RecipeError> {
        tree.map_of("a set", &[FIXPOINT, "id"])?;
        let id = self.id(tree.get("id"))?.unwrap_or_else(|| FIXPOINT.to_owned());
        let members =
            tree.get(FIXPOINT).ok_or_else(|| tree.place.error("`fixpoint` needs a list of passes"))?;
        let steps =
            members.list()?.iter().map(|item| self.step(item, true)).collect::<Result<Vec<_>, _>>()?;
        if steps.is_empty() {
            return Err(members.place.error("`fixpoint` needs at least one pass"));
        }
        Ok(Step { id, kind: StepKind::Fixpoint(steps), select: Select::default() })
    }

    fn pass(&mut self, name: &str, place: &Place, options: &Tree) -> Result<Step, RecipeError> {
        let Some(known) = AnyPass::named(name) else {
            let names = AnyPass::IDS.iter().copied().chain([FIXPOINT]);
            let hint = if name == FIXPOINT {
                "; it needs a list of passes".to_owned()
            } else {
                hint(name, names, "passes")
            };
            return Err(place.error(format!("unknown pass `{}`{hint}", one_line(name))));
        };
        let (common, own) = split(options)?;
        let find = |key: &str| common.iter().find(|e| e.key == key).filter(|e| !e.value.is_null());
        let id = self.id(find("id").map(|e| &e.value))?.unwrap_or_else(|| name.to_owned());
        let mut select = Select::default();
        for (key, to) in [("only", &mut select.only), ("ignore", &mut select.ignore)] {
            let Some(entry) = find(key) else { continue };
            if !known.as_pass().heeds_selectors() {
                let what = format!("`{name}` works on the graph as a whole and takes no `{key}`");
                return Err(entry.place.error(what));
            }
            *to = selectors(entry)?;
        }
        let also: Vec<&str> = COMMON.to_vec();
        let pass = AnyPass::deserialize_options(name, &own).map_err(|error| {
            let is_own_key =
                matches!(&own.kind, Kind::Map(e) if e.iter().any(|e| Some(&e.place) == error.place.as_ref()));
            error.into_recipe(&own.place, if is_own_key { &also } else { &[] })
        })?;
        Ok(Step { id, kind: StepKind::Pass(pass), select })
    }

    fn id(&mut self, tree: Option<&Tree>) -> Result<Option<String>, RecipeError> {
        let Some(tree) = tree else { return Ok(None) };
        let id = tree.text()?;
        if id.is_empty() || !id.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c)) {
            let what = format!("`{}` is no id: use letters, digits, `-`, `_` and `.`", one_line(id));
            return Err(tree.place.error(what));
        }
        self.ids.push((id.to_owned(), tree.place.clone()));
        Ok(Some(id.to_owned()))
    }
}

/// The keys that every pass takes, and the options of the pass itself.
fn split(options: &Tree) -> Result<(Vec<Entry>, Tree), RecipeError> {
    match &options.kind {
        Kind::Null => Ok((Vec::new(), options.clone())),
        Kind::Map(entries) => {
            let is_common = |e: &Entry| COMMON.contains(&e.key.as_str());
            let (common, own) = entries.iter().cloned().partition(is_common);
            Ok((common, Tree { place: options.place.clone(), kind: Kind::Map(own) }))
        }
        _ => Err(options.expected("a mapping of options")),
    }
}

fn selectors(entry: &Entry) -> Result<Vec<Selector>, RecipeError> {
    let read = |item: &Tree| {
        Selector::parse(item.text()?).map_err(|error| item.place.error(one_line(&error.to_string())))
    };
    let all = entry.value.list()?.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() {
        return Err(entry.place.error(format!("`{}` needs at least one selector", entry.key)));
    }
    Ok(all)
}

/// Removes every step with an id, and sets that are empty then. Whether there was one.
fn remove(steps: &mut Vec<Step>, id: &str) -> bool {
    let mut found = false;
    steps.retain_mut(|step| {
        if step.id == id {
            found = true;
            return false;
        }
        match &mut step.kind {
            StepKind::Fixpoint(members) => {
                found |= remove(members, id);
                !members.is_empty()
            }
            StepKind::Pass(_) => true,
        }
    });
    found
}
