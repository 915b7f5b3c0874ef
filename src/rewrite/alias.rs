//! One value in the place of another.

use super::{Names, Outcome, Scope, Skip};
use crate::ir::{Graph, IrError, Origin, ValueId};

/// Whether every reader of `old`, and the graph's outputs, can have `new` instead.
pub(super) fn can_alias(graph: &Graph, old: ValueId, new: ValueId) -> Outcome {
    let (survivor, gone) = if graph.is_pinned(old) { (old, new) } else { (new, old) };
    if survivor == old {
        let fixed = graph.is_pinned(new)
            || graph.is_input(new)
            || graph.value(new).origin == Origin::Captured
            || graph.value(new).sparse.is_some();
        Skip::unless(!fixed, "it connects an input or another output straight to an output")?;
    }
    let to = &graph.value(survivor).name;
    let shadowed = graph
        .uses(gone)
        .iter()
        .any(|&(user, slot)| slot.is_none() && graph.node(user).attrs.graphs().any(|body| defines(body, to)));
    Skip::unless(!shadowed, "a body uses the name for a value of its own")
}

fn defines(body: &Graph, name: &str) -> bool {
    body.find(name).is_some_and(|v| body.value(v).origin != Origin::Captured)
        || body.nodes().any(|n| body.node(n).attrs.graphs().any(|inner| defines(inner, name)))
}

/// Lets everything that reads `old` read `new`. Where `old` is an output of the graph its name survives, and `new`
/// takes it. Returns the value that is left. The caller has asked [`can_alias`].
pub(crate) fn alias(graph: &mut Graph, old: ValueId, new: ValueId) -> Result<ValueId, IrError> {
    if !graph.is_pinned(old) {
        graph.replace_uses(old, new)?;
        graph.remove_value(old);
        return Ok(new);
    }
    if let Some((node, slot)) = graph.producer(new) {
        graph.set_output(node, slot, old)?;
    } else if let Some(data) = graph.value(new).data.clone() {
        graph.set_data(old, data);
    }
    graph.replace_uses(new, old)?;
    graph.remove_value(new);
    Ok(old)
}

/// Removes a value that nothing produces, reads or promises any more.
pub(super) fn remove_if_dead(graph: &mut Graph, value: ValueId, names: &mut Names) -> bool {
    if !graph.contains_value(value) {
        return true;
    }
    let dead = graph.use_count(value) == 0
        && !graph.is_pinned(value)
        && !graph.is_input(value)
        && graph.producer(value).is_none();
    if dead {
        // The name of a captured value is that of a value outside, which may well stay.
        if let Some(gone) = graph.remove_value(value).filter(|v| v.origin != Origin::Captured) {
            names.release(&gone.name);
        }
    }
    dead
}

impl Scope<'_> {
    /// Removes what only led to a value that nothing reads any more: its operator, where no other output of that is read,
    /// and so on upwards.
    pub(crate) fn remove_unread(&mut self, value: ValueId) {
        let mut waiting = vec![value];
        while let Some(value) = waiting.pop() {
            if !self.graph.contains_value(value) {
                continue;
            }
            let Some((node, _)) = self.graph.producer(value) else {
                self.remove_if_dead(value);
                continue;
            };
            let outputs: Vec<ValueId> = self.graph.node_outputs(node).into_iter().flatten().collect();
            if outputs.iter().any(|&v| self.graph.use_count(v) > 0 || self.graph.is_pinned(v)) {
                continue;
            }
            waiting.extend(self.graph.node_inputs(node).into_iter().flatten());
            waiting.extend(self.graph.captures(node));
            self.graph.remove_node(node);
            for output in outputs {
                self.remove_if_dead(output);
            }
        }
    }
}
