//! Splicing a body into the graph around it: for `If` with a constant condition, and for calls of functions.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Scope, alias};
use crate::ir::{
    Attrs, Graph, IrError, Node, NodeId, OpName, Origin, Provenance, QuantAnnotation, Slots, Value, ValueId,
};

impl Scope<'_> {
    /// Replaces a node by a body: the body's inputs become the node's (`inputs`, by position; an absent one makes the
    /// reads of it absent), captured values are those of this graph, and the body's outputs take over the node's. Returns the
    /// operators that came out of the body.
    pub(crate) fn splice(
        &mut self,
        node: NodeId,
        mut body: Graph,
        inputs: &Slots,
        pass: &'static str,
    ) -> Result<Vec<NodeId>, IrError> {
        let outputs = self.graph.node_outputs(node);
        let made_by = Arc::new(self.provenance(pass, &[node]));
        let position = self.graph.node(node).position;
        let Some(removed) = self.graph.remove_node(node) else { return Ok(Vec::new()) };
        removed.attrs.graphs().for_each(|g| self.names.release_locals(g));
        self.names.claim_inner(&mut body)?;
        let mut splicer = Splicer { scope: self, map: HashMap::new(), made_by, position };
        splicer.bind_inputs(&body, inputs);
        splicer.bind_outputs(&body, &outputs);
        splicer.copy_values(&body)?;
        let nodes = splicer.copy_nodes(&body)?;
        splicer.finish_outputs(&body, &outputs)?;
        let renamed = splicer.annotations(body);
        self.graph.annotations.extend(renamed);
        Ok(nodes)
    }
}

struct Splicer<'s, 'g> {
    scope: &'s mut Scope<'g>,
    /// Values of the body → values of the graph; `None` for an absent input.
    map: HashMap<ValueId, Option<ValueId>>,
    made_by: Arc<Provenance>,
    position: u64,
}

impl Splicer<'_, '_> {
    fn bind_inputs(&mut self, body: &Graph, inputs: &Slots) {
        for (slot, &inner) in body.inputs().iter().enumerate() {
            self.map.insert(inner, inputs.get(slot).copied().flatten());
        }
    }

    /// A value that a node of the body produces, and that is an output, becomes the outer value at once.
    fn bind_outputs(&mut self, body: &Graph, outputs: &Slots) {
        for (&inner, outer) in body.outputs().iter().zip(outputs) {
            if let Some(outer) = outer
                && body.producer(inner).is_some()
            {
                self.map.entry(inner).or_insert(Some(*outer));
            }
        }
    }

    fn copy_values(&mut self, body: &Graph) -> Result<(), IrError> {
        for id in body.values() {
            if self.map.contains_key(&id) {
                continue;
            }
            let value = body.value(id);
            let outer = if value.origin == Origin::Captured {
                self.scope.graph.find(&value.name).ok_or_else(|| IrError::Dangling {
                    node: "an inlined body".to_owned(),
                    name: value.name.clone(),
                    place: self.scope.graph.label(),
                })?
            } else {
                let name = self.scope.names.fresh(&value.name);
                self.scope.graph.add_value(Value { name, ..value.clone() })?
            };
            self.map.insert(id, Some(outer));
        }
        Ok(())
    }

    fn copy_nodes(&mut self, body: &Graph) -> Result<Vec<NodeId>, IrError> {
        let mut nodes = Vec::new();
        let renames: Vec<(String, String)> = (body.values())
            .filter_map(|v| {
                let new = self.map.get(&v).copied().flatten()?;
                let (from, to) = (&body.value(v).name, &self.scope.graph.value(new).name);
                (from != to).then(|| (from.clone(), to.clone()))
            })
            .collect();
        for id in body.order()? {
            let translate = |slots: Slots| -> Vec<Option<ValueId>> {
                slots.into_iter().map(|v| v.and_then(|v| self.map.get(&v).copied().flatten())).collect()
            };
            let (inputs, outputs) = (translate(body.node_inputs(id)), translate(body.node_outputs(id)));
            let mut node: Node = body.node(id).clone();
            node.position = self.position;
            node.as_read = None;
            node.made_by = Some(Arc::clone(&self.made_by));
            rename_captures(&mut node.attrs, &renames)?;
            nodes.push(self.scope.graph.add_node(node, &inputs, &outputs)?);
        }
        Ok(nodes)
    }

    /// The quantization annotations of the body, under the names that its values have now.
    fn annotations(&self, mut body: Graph) -> Vec<QuantAnnotation> {
        let mut annotations = std::mem::take(&mut body.annotations);
        let rename = |name: &mut String| {
            let value = body.find(name).and_then(|v| self.map.get(&v).copied().flatten());
            if let Some(value) = value.filter(|&v| self.scope.graph.contains_value(v)) {
                name.clone_from(&self.scope.graph.value(value).name);
            }
        };
        for annotation in &mut annotations {
            annotation.tensor.iter_mut().chain(annotation.params.iter_mut().map(|(_, v)| v)).for_each(rename);
        }
        annotations
    }

    /// Outputs of the body that no node of it produces, and values that are two outputs at once.
    fn finish_outputs(&mut self, body: &Graph, outputs: &Slots) -> Result<(), IrError> {
        for (&inner, outer) in body.outputs().iter().zip(outputs) {
            let (Some(outer), Some(Some(inner))) = (*outer, self.map.get(&inner).copied()) else { continue };
            if outer == inner {
                continue;
            }
            let graph = &mut *self.scope.graph;
            if super::alias::can_alias(graph, outer, inner).is_ok() {
                let left = alias(graph, outer, inner)?;
                self.map
                    .values_mut()
                    .filter(|v| **v == Some(outer) || **v == Some(inner))
                    .for_each(|v| *v = Some(left));
            } else {
                let mut node = Node::new(OpName::onnx("Identity"), "", Attrs::new());
                node.position = self.position;
                node.made_by = Some(Arc::clone(&self.made_by));
                graph.add_node(node, &[Some(inner)], &[Some(outer)])?;
            }
        }
        Ok(())
    }
}

/// Lets the bodies inside these attributes capture values under their new names. All at once: a new name may be the
/// old name of another.
fn rename_captures(attrs: &mut Attrs, renames: &[(String, String)]) -> Result<(), IrError> {
    if renames.is_empty() {
        return Ok(());
    }
    for body in attrs.iter_mut().flat_map(|a| a.value.graphs_mut()) {
        for (index, (from, _)) in renames.iter().enumerate() {
            body.rename_capture(from, &format!("\u{0}{index}"))?;
        }
        for (index, (_, to)) in renames.iter().enumerate() {
            body.rename_capture(&format!("\u{0}{index}"), to)?;
        }
    }
    Ok(())
}
