//! A part of a model.

use std::collections::BTreeSet;

use crate::prelude::*;

/// Keep only what lies between some values: they become the inputs and outputs of the model.
///
/// Values are those of the main graph, by name. Where no inputs are named, those of the model stay that the outputs need;
/// where some are, they have to be all that the outputs need. Nothing that does not lie between is in the file any more.
///
/// *Left alone:* everything, where no output is named.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Extract {
    /// The values that callers give, by name and in order.
    pub inputs: Vec<String>,
    /// The values that callers get, by name and in order.
    pub outputs: Vec<String>,
}

impl Pass for Extract {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta::lossy("extract", Family::Convert) }
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        if self.outputs.is_empty() {
            anyhow::ensure!(self.inputs.is_empty(), "inputs are named, but no outputs");
            return Ok(summary);
        }
        main_graph(model, cx, &mut |scope, _| {
            let inputs = values(scope.graph, &self.inputs)?;
            let outputs = values(scope.graph, &self.outputs)?;
            let part = Part::between(scope.graph, &inputs, &outputs)?;
            let inputs = if self.inputs.is_empty() { part.inputs.clone() } else { inputs };
            let same = scope.graph.inputs() == inputs && scope.graph.outputs() == outputs;
            let gone: Vec<NodeId> = scope.graph.nodes().filter(|n| !part.nodes.contains(n)).collect();
            if same && gone.is_empty() {
                return Ok(());
            }
            for &value in inputs.iter().chain(&outputs) {
                let ty = scope.facts.ty(value);
                let known = !matches!(ty, ValueType::Unknown | ValueType::Tensor { dtype: None, .. });
                let name = &scope.graph.value(value).name;
                anyhow::ensure!(known, "the type of `{name}` is not known, which the file has to declare");
                scope.declare(value, ty);
            }
            let stay: BTreeSet<ValueId> = (part.nodes.iter())
                .flat_map(|&n| scope.graph.node_outputs(n))
                .flatten()
                .chain(inputs.iter().copied())
                .collect();
            let graph = &mut *scope.graph;
            let names: BTreeSet<String> = stay.iter().map(|&v| graph.value(v).name.clone()).collect();
            graph.annotations.retain(|a| a.tensor.as_ref().is_some_and(|t| names.contains(t)));
            summary.applied = gone.len().max(1);
            gone.into_iter().for_each(|node| scope.remove_node(node));
            // A node of the part may make what a caller gives now.
            for &value in &inputs {
                if scope.graph.producer(value).is_some() {
                    let name = scope.graph.value(value).name.clone();
                    scope.detach(value, &name)?;
                }
            }
            scope.set_border(inputs, outputs);
            for value in scope.graph.values().collect::<Vec<_>>() {
                scope.remove_if_dead(value);
            }
            Ok(())
        })?;
        Ok(summary)
    }
}

fn values(graph: &Graph, names: &[String]) -> anyhow::Result<Vec<ValueId>> {
    let mut found = Vec::new();
    for name in names {
        let value = graph.find(name);
        let value = value.ok_or_else(|| anyhow::anyhow!("no value of the main graph is called `{name}`"))?;
        anyhow::ensure!(graph.constant(value).is_none(), "`{name}` is a constant");
        anyhow::ensure!(!found.contains(&value), "`{name}` is named twice");
        found.push(value);
    }
    Ok(found)
}

/// What lies between values.
struct Part {
    nodes: BTreeSet<NodeId>,
    /// The inputs of the model that it needs.
    inputs: Vec<ValueId>,
}

impl Part {
    fn between(graph: &Graph, inputs: &[ValueId], outputs: &[ValueId]) -> anyhow::Result<Self> {
        let (mut nodes, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut open = outputs.to_vec();
        while let Some(value) = open.pop() {
            if inputs.contains(&value) {
                let name = &graph.value(value).name;
                anyhow::ensure!(!outputs.contains(&value), "`{name}` is named as an input and as an output");
            } else if seen.insert(value)
                && let Some((node, _)) = graph.producer(value)
                && nodes.insert(node)
            {
                open.extend(graph.node_inputs(node).into_iter().flatten());
                open.extend(graph.captures(node));
            }
        }
        let needed = |v: &ValueId| seen.contains(v) || inputs.contains(v);
        let own: Vec<ValueId> = graph.inputs().iter().copied().filter(needed).collect();
        let missing = own.iter().find(|v| !inputs.contains(v) && graph.value(**v).data.is_none());
        if let Some(&missing) = missing.filter(|_| !inputs.is_empty()) {
            let name = &graph.value(missing).name;
            anyhow::bail!("the outputs need `{name}` too: name it among the inputs, or a value between");
        }
        Ok(Self { nodes, inputs: own })
    }
}
