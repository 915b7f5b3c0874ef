//! Keep one of several equal initializers.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::prelude::*;

/// Let operators share one initializer where several have the same type, dims and bits.
///
/// *Left alone:* initializers that a caller may override, that are outputs of the graph, or that a quantization
/// annotation names.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShareEqualInitializers {}

impl Pass for ShareEqualInitializers {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta::exact("share-equal-initializers", Family::Simplify) }
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        each_bare_graph(model, cx, &mut |scope, _| {
            let mut seen: HashMap<u64, Vec<ValueId>> = HashMap::new();
            let values: Vec<ValueId> = scope.graph.values().collect();
            for value in values {
                let local = scope.graph.value(value).origin == Origin::Local;
                let Some(data) =
                    scope.graph.constant(value).filter(|_| local && !scope.graph.is_pinned(value))
                else {
                    continue;
                };
                let bucket = seen.entry(fingerprint(data)).or_default();
                let same =
                    |&&first: &&ValueId| scope.graph.constant(first).is_some_and(|d| d.same_data(data));
                match bucket.iter().find(same) {
                    None => bucket.push(value),
                    Some(&first) => match scope.replace(value, first)? {
                        Ok(()) => summary.applied += 1,
                        Err(skip) => summary.skip(skip.0),
                    },
                }
            }
            Ok(())
        })?;
        Ok(summary)
    }
}

/// Type, dims and a sample of the bytes: large weights that differ are told apart without reading them.
fn fingerprint(data: &TensorData) -> u64 {
    const SAMPLES: usize = 64;
    let mut hasher = DefaultHasher::new();
    (data.dtype(), data.dims()).hash(&mut hasher);
    if data.is_deferred() {
        return hasher.finish();
    }
    match data.bytes() {
        Some(bytes) => {
            let step = (bytes.len() / SAMPLES).max(1);
            bytes.iter().step_by(step).for_each(|b| b.hash(&mut hasher));
        }
        None => data.string_items().hash(&mut hasher),
    }
    hasher.finish()
}
