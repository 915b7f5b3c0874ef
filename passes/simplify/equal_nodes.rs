//! Merge operators that compute the same.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::prelude::*;

/// Merge operators of the standard with the same type, attributes and inputs into one (common subexpressions).
///
/// *Left alone:* random operators, operators with bodies, operators of other domains (they may have a state), and two
/// operators that both feed outputs of the graph.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MergeEqualNodes {}

impl Pass for MergeEqualNodes {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta::exact("merge-equal-nodes", Family::Simplify) }
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        each_bare_graph(model, cx, &mut |scope, _| {
            let mut seen: HashMap<u64, Vec<NodeId>> = HashMap::new();
            for node in scope.graph.order()? {
                if !is_pure(scope.graph, node) {
                    continue;
                }
                let bucket = seen.entry(fingerprint(scope.graph, node)).or_default();
                match bucket.iter().find(|&&first| equal(scope.graph, first, node)) {
                    None => bucket.push(node),
                    Some(&first) => match scope.merge_nodes(node, first)? {
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

fn fingerprint(graph: &Graph, id: NodeId) -> u64 {
    let node = graph.node(id);
    let mut hasher = DefaultHasher::new();
    (&node.op, node.opaque, node.output_count(), node.attrs.len()).hash(&mut hasher);
    for value in graph.node_inputs(id) {
        match value.and_then(|v| implied(graph, v)) {
            Some(data) => (data.dtype(), data.dims()).hash(&mut hasher),
            None => value.hash(&mut hasher),
        }
    }
    hasher.finish()
}

/// The elements of a constant that the file has as an attribute: every operator has its own.
fn implied(graph: &Graph, value: ValueId) -> Option<&TensorData> {
    graph.constant(value).filter(|_| graph.value(value).origin == Origin::Synthetic)
}

fn equal(graph: &Graph, a: NodeId, b: NodeId) -> bool {
    let (x, y) = (graph.node(a), graph.node(b));
    let (reads, others) = (graph.node_inputs(a), graph.node_inputs(b));
    let same = |(a, b): (&Option<ValueId>, &Option<ValueId>)| {
        let data = |v: &Option<ValueId>| v.and_then(|v| implied(graph, v));
        a == b || data(a).zip(data(b)).is_some_and(|(a, b)| a.same_data(b))
    };
    x.op == y.op
        && x.opaque == y.opaque
        && x.overload() == y.overload()
        && x.output_count() == y.output_count()
        && reads.len() == others.len()
        && reads.iter().zip(&others).all(same)
        && x.attrs.len() == y.attrs.len()
        && x.attrs.iter().all(|attr| y.attrs.get(&attr.name).is_some_and(|other| attr.value.same(other)))
}
