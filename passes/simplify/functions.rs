//! Inline calls of the model's own functions.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::prelude::*;

/// Replace every call of a function that the model defines by the function's body, and drop the functions that nothing
/// calls any more.
///
/// *Left alone:* calls of a function in the standard's own domain (a runtime may take it for an operator) or that calls itself, whose body holds operators that have no exact form in the model's
/// opset, or that imports another version of a domain than the model; calls that leave out an input which the function
/// returns, or ask for more outputs than it has; and functions that would become more than a million operators.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InlineFunctions {}

const META: PassMeta = PassMeta::exact("inline-functions", Family::Simplify).growing();

/// Functions that call functions that call functions multiply: no model is larger.
const MOST_NODES: u64 = 1_000_000;

impl Pass for InlineFunctions {
    fn meta(&self) -> &'static PassMeta {
        &META
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        let functions = std::mem::take(&mut model.functions);
        let library = Library::of(&functions, model);
        if library.blocked.iter().all(Option::is_none) {
            for function in &functions {
                cx.names.release_locals(&function.graph);
            }
        }
        summary.applied += functions.len() - library.reachable(&model.graph).len();
        let mut inlined: BTreeSet<usize> = BTreeSet::new();
        each_bare_graph(model, cx, &mut |scope, _| {
            let mut left: HashSet<NodeId> = HashSet::new();
            loop {
                let nodes = scope.graph.order()?.into_iter();
                let calls: Vec<(NodeId, usize)> = nodes
                    .filter(|n| !left.contains(n))
                    .filter_map(|n| Some((n, library.called_by(scope.graph.node(n))?)))
                    .collect();
                let before = summary.applied;
                for (node, index) in calls {
                    let function = &functions[index];
                    if let Some(why) = library.why_not(index, function, scope.graph, node) {
                        left.insert(node);
                        summary.skip(why);
                        continue;
                    }
                    let body = body_for(function, scope.graph.node(node));
                    let inputs = scope.graph.node_inputs(node);
                    scope.splice(node, body, &inputs, META.id)?;
                    inlined.insert(index);
                    summary.applied += 1;
                }
                if summary.applied == before {
                    return Ok(());
                }
            }
        })?;
        let kept = library.reachable(&model.graph);
        let mut used: HashSet<String> = kept.iter().map(|&i| functions[i].op.domain.to_string()).collect();
        collect_domains(&model.graph, &mut used);
        let needed = inlined.iter().flat_map(|&i| &functions[i].opsets);
        import(model, needed.filter(|o| used.contains(&o.domain)));
        let gone: HashSet<String> = functions.iter().map(|f| f.op.domain.to_string()).collect();
        model.functions =
            functions.into_iter().enumerate().filter(|(i, _)| kept.contains(i)).map(|(_, f)| f).collect();
        model.opsets.retain(|o| o.domain.is_empty() || used.contains(&o.domain) || !gone.contains(&o.domain));
        Ok(summary)
    }
}

/// The functions of a model, and who calls whom.
struct Library<'f> {
    index: HashMap<(&'f OpName, &'f str), usize>,
    callees: Vec<BTreeSet<usize>>,
    /// Why a function cannot be inlined anywhere.
    blocked: Vec<Option<&'static str>>,
}

impl<'f> Library<'f> {
    fn of(functions: &'f [Function], model: &Model) -> Self {
        let index = functions.iter().enumerate().map(|(i, f)| ((&f.op, f.overload.as_str()), i)).collect();
        let mut library = Self { index, callees: Vec::new(), blocked: Vec::new() };
        let calls: Vec<Vec<usize>> = functions.iter().map(|f| library.calls(&f.graph)).collect();
        library.callees = calls.iter().map(|c| c.iter().copied().collect()).collect();
        let sizes = sizes(functions, &calls);
        let in_all = library.calls(&model.graph).into_iter().fold(0u64, |n, i| n.saturating_add(sizes[i]));
        for (at, function) in functions.iter().enumerate() {
            let other_version = |o: &OpsetId| {
                !o.domain.is_empty() && model.opset(&o.domain).is_some_and(|version| version != o.version)
            };
            let why = if function.op.domain.is_empty() {
                Some("runtimes differ in whether the function or an operator of the standard is meant")
            } else if has_opaque(&function.graph) {
                Some("the function holds an operator without an exact newer form")
            } else if library.reach(library.callees[at].iter().copied()).contains(&at) {
                Some("the function calls itself")
            } else if function.opsets.iter().any(other_version) {
                Some("the function imports another version of a domain than the model")
            } else if sizes[at].max(in_all) > MOST_NODES {
                Some("inlining the function would make more than a million operators")
            } else {
                None
            };
            library.blocked.push(why);
        }
        library
    }

    fn called_by(&self, node: &Node) -> Option<usize> {
        self.index.get(&(&node.op, node.overload())).copied()
    }

    /// The functions that a graph and its bodies call, once a call.
    fn calls(&self, graph: &Graph) -> Vec<usize> {
        let nodes = graph.nodes().map(|n| graph.node(n));
        nodes
            .flat_map(|node| {
                self.called_by(node).into_iter().chain(node.attrs.graphs().flat_map(|g| self.calls(g)))
            })
            .collect()
    }

    /// Everything that is called, directly or by what is called.
    fn reach(&self, from: impl Iterator<Item = usize>) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut open: Vec<usize> = from.collect();
        while let Some(at) = open.pop() {
            if found.insert(at) {
                open.extend(self.callees.get(at).into_iter().flatten());
            }
        }
        found
    }

    fn reachable(&self, graph: &Graph) -> BTreeSet<usize> {
        self.reach(self.calls(graph).into_iter())
    }

    fn why_not(&self, at: usize, function: &Function, graph: &Graph, call: NodeId) -> Option<&'static str> {
        let returns_absent = || {
            let inputs = graph.node_inputs(call);
            let absent = |slot: usize| inputs.get(slot).copied().flatten().is_none();
            let (takes, returns) = (function.graph.inputs(), function.graph.outputs());
            returns.iter().any(|v| takes.iter().position(|i| i == v).is_some_and(absent))
        };
        let blocked = self.blocked.get(at).copied().flatten();
        if graph.node(call).output_count() > function.graph.outputs().len() {
            return blocked.or(Some("the call asks for more outputs than the function has"));
        }
        blocked
            .or_else(|| returns_absent().then_some("the call leaves out an input that the function returns"))
    }
}

/// The number of operators that a call of each function becomes. One that calls itself counts as its body once.
fn sizes(functions: &[Function], calls: &[Vec<usize>]) -> Vec<u64> {
    let mut sizes = vec![0; functions.len()];
    let mut seen = vec![false; functions.len()];
    for start in 0..functions.len() {
        // A function, and how many of its calls are done.
        let mut open = vec![(start, 0)];
        while let Some((at, done)) = open.pop() {
            if done == 0 && std::mem::replace(&mut seen[at], true) {
                continue;
            }
            if let Some(&callee) = calls[at].get(done) {
                open.push((at, done + 1));
                open.push((callee, 0));
            } else {
                let inner = calls[at].iter().fold(0u64, |n, &callee| n.saturating_add(sizes[callee]));
                sizes[at] = inner.saturating_add(count(&functions[at].graph));
            }
        }
    }
    sizes
}

fn count(graph: &Graph) -> u64 {
    graph.nodes().map(|n| 1 + graph.node(n).attrs.graphs().map(count).sum::<u64>()).sum()
}

fn has_opaque(graph: &Graph) -> bool {
    graph.nodes().any(|n| graph.node(n).opaque.is_some() || graph.node(n).attrs.graphs().any(has_opaque))
}

/// Lets the model import what the bodies that it holds now need.
fn import<'f>(model: &mut Model, needed: impl Iterator<Item = &'f OpsetId>) {
    let own = model.opsets.clone();
    for opset in needed {
        match model.opsets.iter_mut().find(|o| o.domain == opset.domain) {
            None => model.opsets.push(opset.clone()),
            Some(known) if !own.contains(known) => known.version = known.version.max(opset.version),
            Some(_) => {}
        }
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
