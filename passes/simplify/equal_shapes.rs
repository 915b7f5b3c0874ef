//! Merge what computes the same sizes.

use std::collections::HashMap;

use crate::prelude::*;

/// Merge values of shape arithmetic that are equal on every run into the first of them, whatever operators make them.
///
/// `Shape` of tensors with the same dims, the batch size that every layer reads anew off its own input, and the
/// `Where` with which exporters replace a -1 in the dims of an `Expand`, all go for a value that is there already. Sizes are
/// symbols, and values are equal where the same symbols in the same arithmetic make their elements.
///
/// *Left alone:* what is a number (folding writes it down), operators with more than one output, and two values that both
/// are outputs of the graph.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MergeEqualShapes {}

/// What equal values have in common.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    dtype: DType,
    dims: Vec<u64>,
    elems: Vec<Expr>,
}

impl Pass for MergeEqualShapes {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta::exact("merge-equal-shapes", Family::Simplify) }
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        each_graph(model, cx, &mut |scope, _| {
            // Only values that come earlier in the order are candidates: none of them depends on what reads it next.
            let mut first: HashMap<Key, ValueId> = HashMap::new();
            let mut orphans: Vec<ValueId> = Vec::new();
            for node in scope.graph.order()? {
                if scope.graph.node(node).output_count() != 1 {
                    continue;
                }
                let Some(value) = scope.graph.node_output(node, 0) else { continue };
                let Some(key) = key(scope.facts, value) else { continue };
                let Some(&same) = first.get(&key) else {
                    first.insert(key, value);
                    continue;
                };
                let pinned = scope.graph.is_pinned(value);
                let read: Vec<ValueId> = scope.graph.node_inputs(node).into_iter().flatten().collect();
                match scope.merge_value(value, same)? {
                    Ok(()) => {
                        summary.applied += 1;
                        orphans.extend(read);
                        // The name of an output survives, and with it its value.
                        if pinned {
                            first.insert(key, value);
                        }
                    }
                    Err(skip) => summary.skip(skip.0),
                }
            }
            orphans.into_iter().for_each(|value| scope.remove_unread(value));
            Ok(())
        })?;
        Ok(summary)
    }
}

/// What is known of a value of shape arithmetic that is no plain number.
fn key(facts: &Facts, value: ValueId) -> Option<Key> {
    let elems = facts.value(value)?;
    if elems.iter().all(|e| e.known().is_some()) {
        return None;
    }
    Some(Key { dtype: facts.dtype(value)?, dims: facts.known_dims(value)?, elems: elems.to_vec() })
}
