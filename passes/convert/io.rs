//! Other names for inputs and outputs.

use std::collections::{BTreeMap, BTreeSet};

use crate::prelude::*;

/// Rename inputs and outputs of the model.
///
/// All names are given at once, so that two can be swapped. An inner value that has a wished name gets another one. No
/// answer changes, but callers have to know of it, and what runs after it is not proved: run it last.
///
/// *Left alone:* inputs and outputs that are not named.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RenameIo {
    /// The new name of each input or output, by the old one.
    pub names: BTreeMap<String, String>,
}

const ID: &str = "rename-io";

impl Pass for RenameIo {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta { idempotent: false, ..PassMeta::lossy(ID, Family::Convert).growing() } }
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let renamed = self.renamed(&model.graph)?;
        if !renamed.is_empty() && !model.meta.configuration.is_empty() {
            anyhow::bail!("the model has device configurations, which name its values");
        }
        let (mut is_main, mut names) = (true, BTreeMap::new());
        // The old names are out of the way first, those of inner values and of bodies too.
        each_bare_graph(model, cx, &mut |scope, _| {
            let is_promised = |v: ValueId| is_main && renamed.iter().any(|(id, _)| *id == v);
            let own = |&v: &ValueId| scope.graph.value(v).origin != Origin::Captured;
            for value in scope.graph.values().filter(own).collect::<Vec<_>>() {
                let name = scope.graph.value(value).name.clone();
                if is_promised(value) {
                    scope.rename(value, &format!("\u{0}{name}"))?;
                } else if renamed.iter().any(|(_, new)| **new == name) {
                    let inner = scope.free_name(&name);
                    scope.rename(value, &inner)?;
                    if is_main {
                        names.insert(name, inner);
                    }
                }
            }
            is_main = false;
            Ok(())
        })?;
        names.extend(self.names.clone());
        main_graph(model, cx, &mut |scope, _| {
            rename_annotated(scope.graph, &names);
            renamed.iter().try_for_each(|&(value, new)| Ok(scope.rename(value, new)?))
        })?;
        Ok(Summary { applied: renamed.len(), ..Summary::default() })
    }
}

/// Quantization annotations name values.
fn rename_annotated(graph: &mut Graph, names: &BTreeMap<String, String>) {
    for annotation in &mut graph.annotations {
        let params = annotation.params.iter_mut().map(|(_, name)| name);
        for name in annotation.tensor.iter_mut().chain(params) {
            if let Some(new) = names.get(name) {
                name.clone_from(new);
            }
        }
    }
}

impl RenameIo {
    /// The values that get new names.
    fn renamed(&self, graph: &Graph) -> anyhow::Result<Vec<(ValueId, &String)>> {
        let promised: Vec<ValueId> = [graph.inputs(), graph.outputs()].concat();
        let name = |v: ValueId| &graph.value(v).name;
        let mut renamed = Vec::new();
        for (old, new) in &self.names {
            let Some(&value) = promised.iter().find(|&&v| name(v) == old) else {
                let all: BTreeSet<String> = promised.iter().map(|&v| format!("`{}`", name(v))).collect();
                let all = all.into_iter().collect::<Vec<_>>().join(", ");
                anyhow::bail!("names: no input or output is called `{old}`; the model has: {all}");
            };
            anyhow::ensure!(!new.is_empty(), "names: the new name of `{old}` is empty");
            if old != new {
                renamed.push((value, new));
            }
        }
        let mut after = BTreeSet::new();
        for value in promised.iter().copied().collect::<BTreeSet<_>>() {
            let new = renamed.iter().find(|(v, _)| *v == value).map_or(name(value), |(_, new)| new);
            anyhow::ensure!(after.insert(new), "names: two inputs or outputs would be called `{new}`");
        }
        Ok(renamed)
    }
}
