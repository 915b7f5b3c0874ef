//! Drop what no output needs.

use crate::prelude::*;

/// Drop operators and initializers on which no output of the graph depends.
///
/// *Left alone:* inputs of the graph, initializers that a caller may override, and what a quantization annotation names.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DropDead {}

impl Pass for DropDead {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta::exact("drop-dead", Family::Simplify) }
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        // Outer graphs come before inner ones: what a body no longer captures is dead in the next round.
        let mut changed = true;
        while std::mem::take(&mut changed) {
            each_bare_graph(model, cx, &mut |scope, _| {
                let removed = sweep(scope, &mut summary)?;
                changed |= removed;
                Ok(())
            })?;
        }
        Ok(summary)
    }
}

/// Removes what is dead in one graph. Whether anything was.
fn sweep(scope: &mut Scope<'_>, summary: &mut Summary) -> Result<bool, IrError> {
    let mut removed = false;
    for node in scope.graph.order()?.into_iter().rev() {
        let outputs = scope.graph.node_outputs(node);
        let needed = |&v: &ValueId| scope.graph.use_count(v) > 0 || scope.graph.is_pinned(v);
        if !outputs.iter().flatten().any(needed) {
            scope.remove_node(node);
            summary.applied += 1;
            removed = true;
        }
    }
    let values: Vec<ValueId> = scope.graph.values().collect();
    for value in values {
        let old = scope.graph.value(value);
        let held = old.origin == Origin::Local && (old.data.is_some() || old.sparse.is_some());
        if scope.remove_if_dead(value) {
            summary.applied += usize::from(held);
            removed = true;
        }
    }
    Ok(removed)
}
