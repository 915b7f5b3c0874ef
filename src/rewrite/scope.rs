//! Visiting every graph of a model, each with what is known around it, and changing it in whole steps.

use super::alias::{can_alias, remove_if_dead};
use super::{Names, Outcome, alias};
use crate::analysis::{Facts, InferContext};
use crate::ir::{Graph, IrError, Model, NodeId, Provenance, TensorData, ValueId};
use crate::schema::Target;

/// One graph of a model, on behalf of a pass over whole graphs.
pub struct Scope<'a> {
    /// The graph. A pass reads it, and changes it through the methods of the scope.
    pub graph: &'a mut Graph,
    /// What the written graph may contain: a function has opsets of its own.
    pub target: &'a Target,
    /// What inference knows; nothing, for a pass that did not ask.
    pub facts: &'a mut Facts,
    /// The names of the whole model.
    pub(crate) names: &'a mut Names,
}

/// Calls a function on the main graph, on every body, and on the bodies of functions: outer graphs before inner ones.
/// In a body, a captured constant has its data, so that it counts as a constant there.
pub(crate) fn visit_graphs(
    model: &mut Model,
    names: &mut Names,
    with_facts: bool,
    f: &mut dyn FnMut(&mut Scope<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut visitor = Visitor { names, f, target: Target::of(model), with_facts };
    visitor.visit(&mut model.graph, None)?;
    model.functions.iter_mut().try_for_each(|function| {
        visitor.target = Target::asking_for(&function.opsets);
        visitor.visit(&mut function.graph, None)
    })
}

struct Visitor<'v> {
    names: &'v mut Names,
    target: Target,
    with_facts: bool,
    f: &'v mut dyn FnMut(&mut Scope<'_>) -> anyhow::Result<()>,
}

impl Visitor<'_> {
    /// `around`: the facts of a body, from those of the graph outside.
    fn visit(&mut self, graph: &mut Graph, around: Option<Facts>) -> anyhow::Result<()> {
        let mut facts = match around {
            None if self.with_facts => Facts::of(graph, &InferContext::default()),
            facts => facts.unwrap_or_default(),
        };
        (self.f)(&mut Scope { graph, facts: &mut facts, target: &self.target, names: self.names })?;
        let holders: Vec<NodeId> =
            graph.nodes().filter(|&n| graph.node(n).attrs.graphs().next().is_some()).collect();
        for id in holders {
            let names: Vec<String> = graph.node(id).attrs.iter().map(|a| a.name.clone()).collect();
            let mut known: Vec<Option<Facts>> =
                names.iter().map(|name| facts.body(graph, id, name).filter(|_| self.with_facts)).collect();
            let mut attrs = std::mem::take(&mut graph.node_mut(id).attrs);
            let result = attrs.iter_mut().zip(&mut known).try_for_each(|(attr, known)| {
                attr.value.graphs_mut().iter_mut().try_for_each(|body| {
                    inform(body, graph, self.with_facts.then_some(&facts));
                    self.visit(body, Some(known.take().unwrap_or_default()))
                })
            });
            graph.node_mut(id).attrs = attrs;
            graph.refresh_captures(id)?;
            result?;
        }
        Ok(())
    }
}

/// Copies what the graph outside knows onto the values that a body captures.
fn inform(body: &mut Graph, outer: &Graph, facts: Option<&Facts>) {
    let captured: Vec<_> = body.captured_values().collect();
    for value in captured {
        if let Some(source) = outer.find(&body.value(value).name) {
            let data = outer.constant(source).cloned();
            body.edit_value(value, |v| {
                v.data = data;
                if let Some(facts) = facts {
                    v.ty = facts.ty(source);
                }
            });
        }
    }
}

impl Scope<'_> {
    /// Removes an operator. Its outputs stay, without a producer, for the caller to replace or remove.
    pub(crate) fn remove_node(&mut self, node: NodeId) {
        self.graph.remove_node(node);
    }

    /// Removes a value that nothing produces, reads or promises any more; says whether it did.
    pub(crate) fn remove_if_dead(&mut self, value: ValueId) -> bool {
        if !self.graph.contains_value(value) {
            return false;
        }
        remove_if_dead(self.graph, value, self.names)
    }

    /// Lets everything that reads one value read another, and removes the one that is left over.
    pub(crate) fn replace(&mut self, old: ValueId, new: ValueId) -> Result<Outcome, IrError> {
        if let Err(skip) = can_alias(self.graph, old, new) {
            return Ok(Err(skip));
        }
        alias(self.graph, old, new)?;
        Ok(Ok(()))
    }

    /// Removes an operator whose outputs equal those of another one.
    pub(crate) fn merge_nodes(&mut self, node: NodeId, first: NodeId) -> Result<Outcome, IrError> {
        let pairs: Vec<_> =
            self.graph.node_outputs(node).into_iter().zip(self.graph.node_outputs(first)).collect();
        for pair in &pairs {
            match *pair {
                (Some(old), Some(new)) => {
                    if let Err(skip) = can_alias(self.graph, old, new) {
                        return Ok(Err(skip));
                    }
                }
                (Some(_), None) => return Ok(Err(super::Skip::because("its equal leaves an output out"))),
                (None, _) => {}
            }
        }
        self.graph.remove_node(node);
        for (old, new) in pairs {
            if let (Some(old), Some(new)) = (old, new) {
                alias(self.graph, old, new)?;
            }
        }
        Ok(Ok(()))
    }

    /// Gives a value its elements; the operator that produced it must be gone, or go next.
    pub(crate) fn set_constant(&mut self, value: ValueId, data: TensorData) {
        self.graph.set_data(value, data);
    }

    /// Which nodes of the file a node stands for.
    pub(crate) fn provenance(&self, pass: &'static str, nodes: &[NodeId]) -> Provenance {
        Provenance { pass, from: super::commit::origins(self.graph, nodes.iter().copied()) }
    }
}
