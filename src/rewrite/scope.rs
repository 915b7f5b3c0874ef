//! Visiting every graph of a model, each with what is known around it, and changing it in whole steps.

use std::sync::Arc;

use super::alias::{can_alias, remove_if_dead};
use super::select::original_label;
use super::{Names, Outcome, alias};
use crate::analysis::{Facts, InferContext};
use crate::ir::{
    Attrs, DType, Dim, Graph, IrError, Model, Node, NodeId, OpName, Origin, Provenance, Slots, SparseTensor,
    TensorData, Value, ValueId, ValueType,
};
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

/// An operator that a pass over whole graphs adds.
pub struct NewOp<'n> {
    /// The pass.
    pub pass: &'static str,
    /// The nodes that it stands for, in reports.
    pub stands_for: &'n [NodeId],
    /// The operator.
    pub op: OpName,
    /// Its attributes.
    pub attrs: Attrs,
    /// Its inputs by slot.
    pub inputs: &'n [Option<ValueId>],
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

/// Calls a function on the main graph alone.
pub(crate) fn with_main_graph(
    model: &mut Model,
    names: &mut Names,
    f: &mut dyn FnMut(&mut Scope<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let target = Target::of(model);
    let mut facts = Facts::of(&model.graph, &InferContext::default());
    f(&mut Scope { graph: &mut model.graph, facts: &mut facts, target: &target, names })
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

    /// Gives a value a name that no graph of the model uses.
    pub(crate) fn rename(&mut self, value: ValueId, name: &str) -> Result<(), IrError> {
        self.names.release(&self.graph.value(value).name);
        self.names.fresh(name);
        self.graph.rename_value(value, name)
    }

    /// A name that no graph of the model uses, like the wished one.
    pub(crate) fn free_name(&mut self, wish: &str) -> String {
        let name = self.names.fresh(wish);
        self.names.release(&name);
        name
    }

    /// Takes its name away from an operator; reports and selectors still know what it was called. Whether it had one.
    pub(crate) fn unname(&mut self, node: NodeId) -> bool {
        !std::mem::take(&mut self.remember(node).name).is_empty()
    }

    /// Keeps what an operator was called first, for its name is about to change.
    fn remember(&mut self, node: NodeId) -> &mut Node {
        let formerly = original_label(self.graph, node);
        let node = self.graph.node_mut(node);
        node.formerly = Some(formerly);
        node
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

    /// Removes the operator that makes a value, its only one, and lets what reads it read an equal one.
    pub(crate) fn merge_value(&mut self, old: ValueId, new: ValueId) -> Result<Outcome, IrError> {
        if let Err(skip) = can_alias(self.graph, old, new) {
            return Ok(Err(skip));
        }
        if let Some((node, _)) = self.graph.producer(old) {
            self.graph.remove_node(node);
        }
        alias(self.graph, old, new)?;
        Ok(Ok(()))
    }

    /// Gives a value its elements; the operator that produced it must be gone, or go next.
    pub(crate) fn set_constant(&mut self, value: ValueId, data: TensorData) {
        self.graph.set_data(value, data);
    }

    /// Adds a constant, named as wished or nearly so.
    pub(crate) fn add_constant(&mut self, wish: &str, data: TensorData) -> Result<ValueId, IrError> {
        let mut value = Value::named(self.names.fresh(wish));
        value.ty = ValueType::of(&data);
        value.data = Some(data);
        self.graph.add_value(value)
    }

    /// Adds an operator whose one result is a new value, named as wished or nearly so.
    pub(crate) fn append(&mut self, new: NewOp<'_>, wish: &str) -> Result<ValueId, IrError> {
        let output = self.add_value(wish)?;
        self.produce(new, output)?;
        Ok(output)
    }

    /// Adds a value that nothing makes yet, named as wished or nearly so.
    pub(crate) fn add_value(&mut self, wish: &str) -> Result<ValueId, IrError> {
        self.graph.add_value(Value::named(self.names.fresh(wish)))
    }

    /// Adds an operator whose results are new values, named as wished or nearly so.
    pub(crate) fn append_all(&mut self, new: NewOp<'_>, wishes: &[String]) -> Result<Vec<ValueId>, IrError> {
        let outputs: Vec<ValueId> =
            wishes.iter().map(|wish| self.add_value(wish)).collect::<Result<_, _>>()?;
        self.produce_all(new, &outputs.iter().copied().map(Some).collect::<Slots>())?;
        Ok(outputs)
    }

    /// Adds an operator that makes a value which nothing produces yet.
    pub(crate) fn produce(&mut self, new: NewOp<'_>, output: ValueId) -> Result<NodeId, IrError> {
        self.produce_all(new, &[Some(output)])
    }

    /// Adds an operator that makes values which nothing produces yet; it is named as the first.
    fn produce_all(&mut self, new: NewOp<'_>, outputs: &[Option<ValueId>]) -> Result<NodeId, IrError> {
        let made_by = self.provenance(new.pass, new.stands_for);
        let first = outputs.iter().flatten().next();
        let name = first.map_or_else(String::new, |&v| self.graph.value(v).name.clone());
        let mut node = Node::new(new.op, name, new.attrs);
        node.position = new.stands_for.iter().map(|&n| self.graph.node(n).position).max().unwrap_or_default();
        node.made_by = Some(Arc::new(made_by));
        self.graph.add_node(node, new.inputs, outputs)
    }

    /// Lets the producer of a value make a new one instead; the old one is left without a producer, with its readers
    /// and its name. `None` where nothing produces it. A producer that is named as the value goes by the new name: what
    /// makes the old one next is named as that, and runtimes refuse two operators of one name.
    pub(crate) fn detach(&mut self, value: ValueId, wish: &str) -> Result<Option<ValueId>, IrError> {
        let Some((node, slot)) = self.graph.producer(value) else { return Ok(None) };
        let mut fresh = Value::named(self.names.fresh(wish));
        fresh.ty = self.graph.value(value).ty.clone();
        if self.graph.node(node).name == self.graph.value(value).name {
            self.remember(node).name.clone_from(&fresh.name);
        }
        let fresh = self.graph.add_value(fresh)?;
        self.graph.set_output(node, slot, fresh)?;
        Ok(Some(fresh))
    }

    /// Puts an operator in the place of another, whose result it makes.
    pub(crate) fn exchange(&mut self, old: NodeId, new: NewOp<'_>, output: ValueId) -> Result<(), IrError> {
        self.exchange_all(&[old], new, &[Some(output)])
    }

    /// Puts an operator in the place of several, whose results it makes; it is named as the first.
    pub(crate) fn exchange_all(
        &mut self,
        old: &[NodeId],
        new: NewOp<'_>,
        outputs: &[Option<ValueId>],
    ) -> Result<(), IrError> {
        let made_by = Arc::new(self.provenance(new.pass, new.stands_for));
        let mut node = Node::new(new.op, "", new.attrs);
        for old in old.iter().rev().filter_map(|&old| self.graph.remove_node(old)) {
            (node.name, node.position) = (old.name, old.position);
        }
        node.made_by = Some(made_by);
        self.graph.add_node(node, new.inputs, outputs).map(|_| ())
    }

    /// Lets an operator read another value in one of its slots. The old one may be left without readers.
    pub(crate) fn feed(&mut self, node: NodeId, slot: usize, value: ValueId) -> Result<(), IrError> {
        self.graph.set_input(node, slot, Some(value))
    }

    /// Gives a constant other elements, of other dims too, also where a type is declared.
    pub(crate) fn set_constant_and_type(&mut self, value: ValueId, data: TensorData) {
        self.graph.edit_value(value, |v| {
            v.ty = ValueType::of(&data);
            v.data = Some(data);
        });
    }

    /// Keeps the elements of a constant sparsely: passes do not look inside any more.
    pub(crate) fn set_sparse(&mut self, value: ValueId, data: SparseTensor) {
        let shape = Some(data.dims.iter().map(|&d| Dim::Known(d)).collect());
        self.graph.edit_value(value, |v| {
            v.ty = ValueType::SparseTensor { dtype: Some(data.values.dtype()), shape };
            (v.data, v.sparse) = (None, Some(Arc::new(data)));
        });
    }

    /// Gives the declared dims of a value other sizes, where they are known.
    pub(crate) fn resize(&mut self, value: ValueId, size: impl Fn(usize, u64) -> u64) {
        self.graph.edit_value(value, |v| {
            if let ValueType::Tensor { shape: Some(dims), .. } = &mut v.ty {
                for (axis, dim) in dims.iter_mut().enumerate() {
                    if let Dim::Known(old) = dim {
                        *dim = Dim::Known(size(axis, *old));
                    }
                }
            }
        });
    }

    /// Gives an operator another number as an attribute.
    pub(crate) fn set_attr(&mut self, node: NodeId, name: &str, value: i64) {
        let node = self.graph.node_mut(node);
        node.attrs.set(name, value);
        node.touch();
    }

    /// Gives an operator another constant in one of its slots, for itself alone: under the name of the old one, where
    /// nothing else reads that. Else the old one may be left without readers.
    pub(crate) fn set_parameter(
        &mut self,
        (node, slot): (NodeId, usize),
        wish: &str,
        data: TensorData,
    ) -> Result<(), IrError> {
        self.graph.node_mut(node).touch();
        let old = self.graph.node_input(node, slot);
        let own = |v: &ValueId| {
            let value = self.graph.value(*v);
            let free = !self.graph.is_pinned(*v) && self.graph.constant(*v).is_some();
            free && value.origin == Origin::Local && self.graph.use_count(*v) == 1
        };
        if let Some(own) = old.filter(own) {
            self.set_constant_and_type(own, data);
            return Ok(());
        }
        let value = self.add_constant(wish, data)?;
        self.feed(node, slot, value)?;
        old.into_iter().for_each(|old| {
            self.remove_if_dead(old);
        });
        Ok(())
    }

    /// Takes its elements from a constant; an operator is about to produce it.
    pub(crate) fn clear_constant(&mut self, value: ValueId) {
        self.graph.edit_value(value, |v| v.data = None);
    }

    /// Gives a value another element type: its producer, and a declaration, say so from now on.
    pub(crate) fn retype(&mut self, value: ValueId, dtype: DType) {
        self.graph.edit_value(value, |v| {
            if let ValueType::Tensor { dtype: old, .. } = &mut v.ty {
                *old = Some(dtype);
            }
        });
    }

    /// Which nodes of the file a node stands for.
    pub(crate) fn provenance(&self, pass: &'static str, nodes: &[NodeId]) -> Provenance {
        Provenance { pass, from: super::commit::origins(self.graph, nodes.iter().copied()) }
    }
}
