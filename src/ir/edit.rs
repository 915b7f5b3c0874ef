//! Graphs: the only mutators.

use petgraph::Direction::{Incoming, Outgoing};
use petgraph::visit::EdgeRef;

use super::{Graph, IrError, Link, Node, NodeId, Origin, TensorData, Value, ValueId, ValueType, Vertex};

impl Graph {
    /// An empty graph.
    pub(crate) fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Adds a value.
    ///
    /// # Errors
    /// [`IrError::DuplicateValue`].
    pub(crate) fn add_value(&mut self, value: Value) -> Result<ValueId, IrError> {
        if self.names.contains_key(&value.name) {
            return Err(IrError::DuplicateValue { name: value.name, place: self.label() });
        }
        let name = value.name.clone();
        let id = ValueId(self.topo.add_node(Vertex::Value(value)));
        self.names.insert(name, id);
        Ok(id)
    }

    /// Adds a node over values of this graph, with an edge for every value that its bodies capture.
    ///
    /// # Errors
    /// [`IrError::TooManySlots`]; [`IrError::Dangling`] where a body captures what this graph lacks;
    /// [`IrError::DuplicateValue`] where an output has a producer already.
    pub(crate) fn add_node(
        &mut self,
        mut node: Node,
        inputs: &[Option<ValueId>],
        outputs: &[Option<ValueId>],
    ) -> Result<NodeId, IrError> {
        let present = inputs.iter().rposition(Option::is_some).map_or(0, |at| at + 1);
        let slots = |count: usize, label: String| {
            u16::try_from(count).map_err(|_| IrError::TooManySlots { node: label, count })
        };
        node.inputs = slots(present, node.label())?;
        node.outputs = slots(outputs.len(), node.label())?;
        for &value in outputs.iter().flatten() {
            if self.producer(value).is_some() {
                return Err(IrError::DuplicateValue {
                    name: self.value(value).name.clone(),
                    place: self.label(),
                });
            }
        }
        let captured = self.captured_by(&node)?;
        let id = NodeId(self.topo.add_node(Vertex::Node(Box::new(node))));
        for (slot, value) in (0..).zip(&inputs[..present]) {
            value.map(|v| self.topo.add_edge(v.0, id.0, Link::Input(slot)));
        }
        for (slot, value) in (0..).zip(outputs) {
            value.map(|v| self.topo.add_edge(id.0, v.0, Link::Output(slot)));
        }
        for value in captured {
            self.topo.add_edge(value.0, id.0, Link::Capture);
        }
        Ok(id)
    }

    /// The values of this graph that the bodies of a node capture.
    fn captured_by(&self, node: &Node) -> Result<Vec<ValueId>, IrError> {
        let mut found = Vec::new();
        for body in node.attrs.graphs() {
            for value in body.captured_values() {
                let name = &body.value(value).name;
                let outer = self.find(name).ok_or_else(|| IrError::Dangling {
                    node: node.label(),
                    name: name.clone(),
                    place: self.label(),
                })?;
                found.push(outer);
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Draws the capture edges of a node anew, after its bodies changed what they capture.
    pub(crate) fn refresh_captures(&mut self, id: NodeId) -> Result<(), IrError> {
        let wanted = self.captured_by(self.node(id))?;
        let old: Vec<_> = (self.topo.edges_directed(id.0, Incoming))
            .filter(|e| *e.weight() == Link::Capture)
            .map(|e| e.id())
            .collect();
        for edge in old {
            self.topo.remove_edge(edge);
        }
        for value in wanted {
            self.topo.add_edge(value.0, id.0, Link::Capture);
        }
        Ok(())
    }

    /// Removes a node and its edges; its outputs stay, without a producer. Returns the node.
    pub(crate) fn remove_node(&mut self, id: NodeId) -> Option<Node> {
        let Vertex::Node(node) = self.bury(id.0) else { return None };
        Some(*node)
    }

    /// Removes a value and its edges.
    pub(crate) fn remove_value(&mut self, id: ValueId) -> Option<Value> {
        let Vertex::Value(value) = self.bury(id.0) else { return None };
        self.names.remove(&value.name);
        self.inputs.retain(|&v| v != id);
        self.outputs.retain(|&v| v != id);
        Some(value)
    }

    fn bury(&mut self, at: petgraph::stable_graph::NodeIndex) -> Vertex {
        let edges: Vec<_> = (self.topo.edges_directed(at, Incoming).map(|e| e.id()))
            .chain(self.topo.edges_directed(at, Outgoing).map(|e| e.id()))
            .collect();
        for edge in edges {
            self.topo.remove_edge(edge);
        }
        self.topo.node_weight_mut(at).map_or(Vertex::Dead, |v| std::mem::replace(v, Vertex::Dead))
    }

    /// Points an input slot at another value, or at none.
    pub(crate) fn set_input(
        &mut self,
        id: NodeId,
        slot: usize,
        value: Option<ValueId>,
    ) -> Result<(), IrError> {
        let too_many = |g: &Self| IrError::TooManySlots { node: g.node(id).label(), count: slot };
        let link = u16::try_from(slot).map_err(|_| too_many(self))?;
        let count = link.checked_add(1).ok_or_else(|| too_many(self))?;
        let edges = self.topo.edges_directed(id.0, Incoming);
        let old = edges.into_iter().find(|e| *e.weight() == Link::Input(link)).map(|e| e.id());
        old.map(|e| self.topo.remove_edge(e));
        if let Some(value) = value {
            self.topo.add_edge(value.0, id.0, Link::Input(link));
            let node = self.node_mut(id);
            node.inputs = node.inputs.max(count);
        }
        Ok(())
    }

    /// Lets a node produce another value in one of its output slots. The old value stays, without a producer.
    pub(crate) fn set_output(&mut self, id: NodeId, slot: usize, value: ValueId) -> Result<(), IrError> {
        if self.producer(value).is_some() {
            return Err(IrError::DuplicateValue {
                name: self.value(value).name.clone(),
                place: self.label(),
            });
        }
        let edge = self.topo.edges_directed(id.0, Outgoing).find_map(|e| match *e.weight() {
            Link::Output(s) if usize::from(s) == slot => Some((e.id(), *e.weight())),
            _ => None,
        });
        if let Some((edge, link)) = edge {
            self.topo.remove_edge(edge);
            self.topo.add_edge(id.0, value.0, link);
        }
        Ok(())
    }

    /// Moves every read of one value, those of bodies included, to another value of this graph.
    /// Being an output of the graph does not move.
    pub(crate) fn replace_uses(&mut self, old: ValueId, new: ValueId) -> Result<(), IrError> {
        if old == new {
            return Ok(());
        }
        let edges: Vec<_> =
            self.topo.edges_directed(old.0, Outgoing).map(|e| (e.id(), e.target(), *e.weight())).collect();
        let (from, to) = (self.value(old).name.clone(), self.value(new).name.clone());
        for (edge, target, link) in edges {
            self.topo.remove_edge(edge);
            if link == Link::Capture {
                let attrs = &mut self.node_mut(NodeId(target)).attrs;
                for body in attrs.iter_mut().flat_map(|a| a.value.graphs_mut()) {
                    body.rename_capture(&from, &to)?;
                }
                self.refresh_captures(NodeId(target))?;
            } else {
                self.topo.add_edge(new.0, target, link);
            }
        }
        Ok(())
    }

    /// In a body, and in the bodies inside it: reads `to` of the graph outside where it read `from`.
    pub(crate) fn rename_capture(&mut self, from: &str, to: &str) -> Result<(), IrError> {
        let Some(old) = self.find(from).filter(|&v| self.value(v).origin == Origin::Captured) else {
            return Ok(());
        };
        let new = match self.find(to) {
            Some(new) if self.value(new).origin == Origin::Captured => new,
            Some(_) => {
                let what = format!("body {} shadows `{to}`", self.label());
                return Err(IrError::Invariant { what, place: self.label() });
            }
            None => self.add_value(Value { name: to.to_owned(), ..self.value(old).clone() })?,
        };
        self.replace_uses(old, new)?;
        self.outputs.iter_mut().filter(|v| **v == old).for_each(|v| *v = new);
        self.remove_value(old);
        Ok(())
    }

    /// Gives a value another name, in the bodies that capture it too. The name must be free there and here.
    ///
    /// # Errors
    /// [`IrError::DuplicateValue`]; [`IrError::Invariant`] where a body has a value of its own of that name.
    pub(crate) fn rename_value(&mut self, id: ValueId, name: &str) -> Result<(), IrError> {
        if self.names.contains_key(name) {
            return Err(IrError::DuplicateValue { name: name.to_owned(), place: self.label() });
        }
        let old = std::mem::replace(&mut self.value_mut(id).name, name.to_owned());
        self.names.remove(&old);
        self.names.insert(name.to_owned(), id);
        for (user, slot) in self.uses(id) {
            if slot.is_none() {
                let attrs = &mut self.node_mut(user).attrs;
                for body in attrs.iter_mut().flat_map(|a| a.value.graphs_mut()) {
                    body.rename_capture(&old, name)?;
                }
            }
        }
        Ok(())
    }

    /// The operator behind an id, to be changed. Bodies that capture other values need [`Graph::refresh_captures`].
    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        match &mut self.topo[id.0] {
            Vertex::Node(node) => node,
            other => panic!("{id:?} is {other:?}, not a node"),
        }
    }

    fn value_mut(&mut self, id: ValueId) -> &mut Value {
        match &mut self.topo[id.0] {
            Vertex::Value(value) => value,
            other => panic!("{id:?} is {other:?}, not a value"),
        }
    }

    /// Changes what is known of a value. Its name stays.
    pub(crate) fn edit_value(&mut self, id: ValueId, edit: impl FnOnce(&mut Value)) {
        let value = self.value_mut(id);
        let name = value.name.clone();
        edit(value);
        value.name = name;
    }

    /// Gives a value its elements, and the type that goes with them unless a type is declared.
    pub(crate) fn set_data(&mut self, id: ValueId, data: TensorData) {
        self.edit_value(id, |v| {
            if !v.declared {
                v.ty = ValueType::of(&data);
            }
            v.data = Some(data);
        });
    }

    /// Sets the graph inputs.
    pub(crate) fn set_inputs(&mut self, inputs: Vec<ValueId>) {
        self.inputs = inputs;
    }

    /// Sets the graph outputs.
    pub(crate) fn set_outputs(&mut self, outputs: Vec<ValueId>) {
        self.outputs = outputs;
    }
}
