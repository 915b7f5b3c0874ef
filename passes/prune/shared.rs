//! Small constants that several operators read: each gets its own, so that equal biases do not tie layers together.

use crate::prelude::*;

/// The largest constant that is copied, in bytes: a bias, a scale.
const SMALL: u64 = 64 << 10;

/// Gives every reader of a small constant with one long dim at most a copy of its own.
pub(super) fn part(scope: &mut Scope<'_>) -> anyhow::Result<()> {
    let graph = &*scope.graph;
    let shared = graph.values().filter(|&v| {
        let value = graph.value(v);
        value.origin == Origin::Local
            && graph.constant(v).is_some_and(|data| {
                data.dtype().is_float()
                    && data.byte_len() <= SMALL
                    && data.dims().iter().filter(|&&d| d > 1).count() == 1
            })
            && graph.use_count(v) > 1
    });
    let shared: Vec<ValueId> = shared.collect();
    for value in shared {
        let (name, data) = (scope.graph.value(value).name.clone(), scope.graph.constant(value).cloned());
        let Some(data) = data else { continue };
        for (node, slot) in scope.graph.uses(value).into_iter().skip(1) {
            if let Some(slot) = slot {
                let copy = scope.add_constant(&name, data.clone())?;
                scope.feed(node, slot, copy)?;
            }
        }
    }
    Ok(())
}
