//! Inline calls of the model's own functions.

use std::collections::HashSet;

use crate::prelude::*;

/// Replace every call of a function that the model defines by the function's body, and drop the functions that nothing
/// calls any more.
///
/// *Left alone:* calls of a function that calls itself, and bodies with operators that have no exact form in the
/// model's opset.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InlineFunctions {}

const META: PassMeta = PassMeta::exact("inline-functions", Family::Simplify).growing();

impl Pass for InlineFunctions {
    fn meta(&self) -> &'static PassMeta {
        &META
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        let functions = std::mem::take(&mut model.functions);
        let inlinable: Vec<&Function> =
            functions.iter().filter(|f| why_not(f, &functions).is_none()).collect();
        each_graph(model, cx, &mut |scope, _| {
            loop {
                let calls: Vec<(NodeId, &Function)> = (scope.graph.order()?.into_iter())
                    .filter_map(|n| Some((n, *inlinable.iter().find(|f| calls(scope.graph.node(n), f))?)))
                    .collect();
                for &(node, function) in &calls {
                    let body = body_for(function, scope.graph.node(node));
                    let inputs = scope.graph.node_inputs(node);
                    scope.splice(node, body, &inputs, META.id)?;
                    summary.applied += 1;
                }
                if calls.is_empty() {
                    return Ok(());
                }
            }
        })?;
        let blocked: Vec<Function> =
            functions.iter().filter(|f| why_not(f, &functions).is_some()).cloned().collect();
        for function in &blocked {
            summary.skip(why_not(function, &functions).unwrap_or_default());
        }
        model.functions = if blocked.is_empty() { Vec::new() } else { functions };
        let mut used: HashSet<String> = model.functions.iter().map(|f| f.op.domain.to_string()).collect();
        collect_domains(&model.graph, &mut used);
        model.opsets.retain(|o| o.domain.is_empty() || used.contains(&o.domain));
        Ok(summary)
    }
}

fn calls(node: &Node, function: &Function) -> bool {
    node.op == function.op && node.overload() == function.overload
}

/// Why a function cannot be inlined.
fn why_not(function: &Function, all: &[Function]) -> Option<&'static str> {
    fn opaque(graph: &Graph) -> bool {
        graph.nodes().any(|n| graph.node(n).opaque.is_some() || graph.node(n).attrs.graphs().any(opaque))
    }
    fn reaches(graph: &Graph, goal: &Function, all: &[Function], depth: usize) -> bool {
        depth > all.len()
            || graph.nodes().map(|n| graph.node(n)).any(|node| {
                calls(node, goal)
                    || node.attrs.graphs().any(|g| reaches(g, goal, all, depth))
                    || all.iter().any(|f| calls(node, f) && reaches(&f.graph, goal, all, depth + 1))
            })
    }
    if opaque(&function.graph) {
        Some("the function holds an operator without an exact newer form")
    } else if reaches(&function.graph, function, all, 0) {
        Some("the function calls itself")
    } else {
        None
    }
}

/// The body of a function with the attributes of one call filled in.
fn body_for(function: &Function, call: &Node) -> Graph {
    let mut body = function.graph.clone();
    fill(&mut body, function, call);
    body
}

fn fill(graph: &mut Graph, function: &Function, call: &Node) {
    let nodes: Vec<NodeId> = graph.nodes().collect();
    for id in nodes {
        let mut attrs = Attrs::new();
        let mut filled = false;
        for mut attr in std::mem::take(&mut graph.node_mut(id).attrs) {
            if let AttrValue::Ref { name, .. } = &attr.value {
                filled = true;
                match call.attrs.get(name).or_else(|| function.defaults.get(name)) {
                    Some(value) => attr.value = value.clone(),
                    None => continue,
                }
            } else {
                attr.value.graphs_mut().iter_mut().for_each(|g| fill(g, function, call));
            }
            attrs.push(attr);
        }
        let node = graph.node_mut(id);
        node.attrs = attrs;
        if filled {
            node.touch();
        }
    }
}

fn collect_domains(graph: &Graph, used: &mut HashSet<String>) {
    for node in graph.nodes().map(|n| graph.node(n)) {
        used.insert(node.op.domain.to_string());
        node.attrs.graphs().for_each(|g| collect_domains(g, used));
    }
}
