//! Drop what no output needs.

use std::collections::HashSet;

use crate::prelude::*;

/// Drop operators and initializers on which no output of the graph depends, and functions that nothing calls.
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
        drop_functions(model, &mut summary);
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

/// What a function is called by: its name and its overload.
type Callee = (OpName, String);

/// Removes functions that nothing calls, not even what is called itself, and imports of domains that only they used.
fn drop_functions(model: &mut Model, summary: &mut Summary) {
    if model.functions.is_empty() || !model.meta.training.is_empty() {
        return;
    }
    let mut called = HashSet::new();
    let mut open = Vec::new();
    calls(&model.graph, &mut called, &mut open);
    while let Some((op, overload)) = open.pop() {
        let callee = model.functions.iter().find(|f| f.op == op && f.overload == overload);
        if let Some(function) = callee {
            calls(&function.graph, &mut called, &mut open);
        }
    }
    let is_called = |f: &Function| called.contains(&(f.op.clone(), f.overload.clone()));
    let (kept, gone): (Vec<_>, Vec<_>) =
        std::mem::take(&mut model.functions).into_iter().partition(is_called);
    let used = |domain: &str| domain.is_empty() || called.iter().any(|(op, _)| &*op.domain == domain);
    let only_theirs = |domain: &str| gone.iter().any(|f| &*f.op.domain == domain) && !used(domain);
    model.opsets.retain(|opset| !only_theirs(&opset.domain));
    summary.applied += gone.len();
    model.functions = kept;
}

/// Adds everything that a graph and its bodies call; what is new is to be looked at.
fn calls(graph: &Graph, called: &mut HashSet<Callee>, open: &mut Vec<Callee>) {
    for node in graph.nodes().map(|id| graph.node(id)) {
        let callee = (node.op.clone(), node.overload().to_owned());
        if called.insert(callee.clone()) {
            open.push(callee);
        }
        node.attrs.graphs().for_each(|body| calls(body, called, open));
    }
}
