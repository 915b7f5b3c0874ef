//! Fold what does not depend on the model's inputs.

use std::collections::{BTreeSet, HashMap};

use anyhow::bail;

use super::region::{Plan, Region};
use crate::prelude::*;

/// Evaluate operators whose inputs are constant, and `Shape`-like operators whose result is known from the dims, and
/// keep the result as an initializer.
///
/// Constants are folded as maximal regions, judged at their frontier: the bytes that a region adds, less the bytes that
/// die with it, must fit the budget. So shape arithmetic vanishes, and nothing dequantizes weights, widens fp16
/// weights or writes out a `Tile` because it can.
///
/// *Left alone:* regions whose result would grow the file, random operators, `QuantizeLinear` and `DequantizeLinear`
/// in front of other operators, operators of other domains, and operators that no engine evaluates exactly.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct FoldConstants {
    /// Bytes by which folding may grow the file, over all regions. Without it: 4096.
    pub max_growth: Option<u64>,
}

/// No tensor of a model is larger: an operator that asks for more is broken, and said to be.
const ANY_MEMORY: u64 = 1 << 46;

impl Pass for FoldConstants {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta::exact("fold-constants", Family::Fold) }
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        if let Some(bytes) = self.max_growth {
            cx.limits.growth = bytes.saturating_sub(cx.limits.grown);
        }
        each_graph(model, cx, &mut |scope, cx| {
            let mut failed = BTreeSet::new();
            loop {
                let plan = Plan::of(scope, cx, &failed);
                let before = failed.len();
                for region in plan.regions(scope, cx.limits.growth) {
                    match region {
                        Region::TooLarge(why) => summary.skip(why),
                        Region::Fold { nodes, frontier, growth } => {
                            match evaluate(scope, cx, &plan, &nodes, &frontier)? {
                                Ok(results) => {
                                    let growth = growth + unforeseen(scope, &results);
                                    if growth > 0 && growth.unsigned_abs() > cx.limits.growth {
                                        failed.extend(nodes);
                                        summary.skip("the result turned out to grow the file");
                                        continue;
                                    }
                                    let used = growth.max(0).unsigned_abs();
                                    cx.limits.growth = cx.limits.growth.saturating_sub(used);
                                    cx.limits.grown += used;
                                    summary.applied += nodes.len();
                                    commit(scope, &nodes, results);
                                }
                                Err((node, why)) => {
                                    failed.insert(node);
                                    summary.skip(why);
                                }
                            }
                        }
                    }
                }
                if failed.len() == before {
                    return Ok(());
                }
            }
        })?;
        Ok(summary)
    }
}

type Results = Vec<(ValueId, TensorData)>;

/// The elements of the region's frontier; or the operator that could not be evaluated, and why.
fn evaluate(
    scope: &Scope<'_>,
    cx: &PassContext<'_>,
    plan: &Plan,
    nodes: &[NodeId],
    frontier: &[ValueId],
) -> anyhow::Result<Result<Results, (NodeId, String)>> {
    let graph = &*scope.graph;
    let kept: BTreeSet<ValueId> = frontier.iter().copied().collect();
    let mut known: HashMap<ValueId, TensorData> = HashMap::new();
    let mut last = last_readers(graph, nodes);
    last.retain(|value, _| !kept.contains(value));
    for &id in nodes {
        let node = graph.node(id);
        let outputs = graph.node_outputs(id);
        if let Some(data) = plan.known_result(id) {
            known.extend(outputs.first().copied().flatten().map(|v| (v, data.clone())));
            continue;
        }
        let slots = graph.node_inputs(id);
        let inputs: Vec<Option<&TensorData>> =
            slots.iter().map(|v| v.and_then(|v| known.get(&v).or_else(|| graph.constant(v)))).collect();
        let wanted: Vec<bool> = outputs.iter().map(Option::is_some).collect();
        let call = NodeCall {
            op: &node.op,
            attrs: &node.attrs,
            inputs: &inputs,
            outputs: &wanted,
            limit: cx.limits.tensor,
        };
        match cx.evaluate(&call) {
            Ok(made) => {
                if let Some(why) = mistyped(scope, &outputs, &made) {
                    return Ok(Err((id, why)));
                }
                known.extend(outputs.iter().zip(made).filter_map(|(v, data)| Some(((*v)?, data))));
                for value in slots.into_iter().flatten().filter(|v| last.get(v) == Some(&id)) {
                    known.remove(&value);
                }
            }
            Err(EngineError::TooLarge { bytes, .. }) if bytes > ANY_MEMORY => {
                bail!("{} would make a tensor of {bytes} bytes; no memory holds it", graph.node_label(id))
            }
            Err(error) => {
                let (op, why) = (node.op.to_string(), error.to_string());
                return Ok(Err((id, if why.contains(&op) { why } else { format!("{op}: {why}") })));
            }
        }
    }
    Ok(Ok(frontier.iter().filter_map(|v| Some((*v, known.remove(v)?))).collect()))
}

/// The last of the nodes that reads each value.
fn last_readers(graph: &Graph, nodes: &[NodeId]) -> HashMap<ValueId, NodeId> {
    nodes.iter().flat_map(|&n| graph.node_inputs(n).into_iter().flatten().map(move |v| (v, n))).collect()
}

/// Bytes of results whose size inference did not know.
fn unforeseen(scope: &Scope<'_>, results: &Results) -> i64 {
    let unknown = results.iter().filter(|(v, _)| scope.facts.ty(*v).known_dims().is_none());
    unknown.map(|(_, data)| data.byte_len() as i64).sum()
}

/// An engine's answer must have the type that inference knows: else it is not trusted.
fn mistyped(scope: &Scope<'_>, outputs: &Slots, made: &[TensorData]) -> Option<String> {
    outputs.iter().zip(made).find_map(|(value, data)| {
        let ty = scope.facts.ty((*value)?);
        let dtype = ty.dtype().is_some_and(|d| d != data.dtype());
        let dims = ty.known_dims().is_some_and(|d| d != data.dims());
        (dtype || dims)
            .then(|| format!("the engine's {data:?} is not the {ty} that the operator should make"))
    })
}

/// Writes the frontier's elements down and removes what only led to them.
fn commit(scope: &mut Scope<'_>, nodes: &[NodeId], results: Results) {
    let mut orphans: Vec<ValueId> = Vec::new();
    for &node in nodes {
        orphans.extend(scope.graph.node_inputs(node).into_iter().flatten());
        orphans.extend(scope.graph.node_outputs(node).into_iter().flatten());
        scope.remove_node(node);
    }
    for (value, data) in results {
        scope.set_constant(value, data);
    }
    for value in orphans {
        scope.remove_if_dead(value);
    }
}
