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
        each_graph(model, cx, &mut |scope, _| {
            let order = scope.graph.order()?;
            for node in order.into_iter().rev() {
                let outputs = scope.graph.node_outputs(node);
                let needed = |&v: &ValueId| scope.graph.use_count(v) > 0 || scope.graph.is_pinned(v);
                if !outputs.iter().flatten().any(needed) {
                    scope.remove_node(node);
                    summary.applied += 1;
                }
            }
            let values: Vec<ValueId> = scope.graph.values().collect();
            for value in values {
                let held = scope.graph.value(value).origin == Origin::Local;
                if scope.remove_if_dead(value) && held {
                    summary.applied += 1;
                }
            }
            Ok(())
        })?;
        Ok(summary)
    }
}
