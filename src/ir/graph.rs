//! Graphs: reading.

use std::collections::{HashMap, HashSet};

use petgraph::Direction::{Incoming, Outgoing};
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;
use smallvec::{SmallVec, smallvec};

use super::{Metadata, Node, Origin, Slots, TensorData, Value};

/// A vertex of a graph.
#[derive(Debug, Clone)]
pub enum Vertex {
    /// An operator.
    Node(Box<Node>),
    /// A value.
    Value(Value),
    /// Removed. It stays, so that no id is ever handed out twice.
    Dead,
}

/// An edge of a graph, with the slot that it fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// A value is read by a node.
    Input(u16),
    /// A value is produced by a node.
    Output(u16),
    /// A body of the node reads the value by name.
    Capture,
}

/// An operator of one graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(super) NodeIndex);

/// A value of one graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(super) NodeIndex);

impl NodeId {
    /// The place in tables indexed by id; below [`Graph::index_bound`].
    pub(crate) fn index(self) -> usize {
        self.0.index()
    }
}

impl ValueId {
    /// The place in tables indexed by id; below [`Graph::index_bound`].
    pub(crate) fn index(self) -> usize {
        self.0.index()
    }
}

/// A graph: the main one, a body, or the body of a function.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// `GraphProto.name`.
    pub name: String,
    /// `doc_string`.
    pub doc: Option<String>,
    /// `metadata_props`.
    pub metadata: Metadata,
    /// `quantization_annotation`. The values that it names stay alive.
    pub annotations: Vec<QuantAnnotation>,
    /// Which constants an IR version before 4 also lists as inputs.
    pub listed: ListedConstants,
    pub(super) topo: StableDiGraph<Vertex, Link>,
    pub(super) inputs: Vec<ValueId>,
    pub(super) outputs: Vec<ValueId>,
    pub(super) names: HashMap<String, ValueId>,
}

/// A quantization annotation: which values are the scale and zero point of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantAnnotation {
    /// The annotated value.
    pub tensor: Option<String>,
    /// `quant_parameter_tensor_names`: keys such as `SCALE_TENSOR`, and names of values.
    pub params: Metadata,
}

/// The constants that the input list of a file names besides the true inputs. Before IR 4 a file has to name them all,
/// and no caller can override them; from IR 4 on such an input is overridable, hence no constant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ListedConstants {
    /// None of them: IR 4 and later, bodies, and older files that do not keep the rule.
    #[default]
    None,
    /// These, in order of creation.
    Some(Vec<ValueId>),
    /// All, those that a pass makes included.
    All,
}

impl Graph {
    /// The operator behind an id.
    ///
    /// # Panics
    /// On an id of another graph or of a removed node, which only a bug in this crate can produce.
    pub fn node(&self, id: NodeId) -> &Node {
        match &self.topo[id.0] {
            Vertex::Node(node) => node,
            other => panic!("{id:?} is {other:?}, not a node of graph `{}`", self.name),
        }
    }

    /// The value behind an id.
    ///
    /// # Panics
    /// On an id of another graph or of a removed value, which only a bug in this crate can produce.
    pub fn value(&self, id: ValueId) -> &Value {
        match &self.topo[id.0] {
            Vertex::Value(value) => value,
            other => panic!("{id:?} is {other:?}, not a value of graph `{}`", self.name),
        }
    }

    /// Whether the node is still there.
    pub fn contains_node(&self, id: NodeId) -> bool {
        matches!(self.topo.node_weight(id.0), Some(Vertex::Node(_)))
    }

    /// Whether the value is still there.
    pub fn contains_value(&self, id: ValueId) -> bool {
        matches!(self.topo.node_weight(id.0), Some(Vertex::Value(_)))
    }

    /// Every node, in order of creation. For a topological order see [`Graph::order`].
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.topo.node_indices().filter(|&i| matches!(self.topo[i], Vertex::Node(_))).map(NodeId)
    }

    /// Every value, in order of creation.
    pub fn values(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.topo.node_indices().filter(|&i| matches!(self.topo[i], Vertex::Value(_))).map(ValueId)
    }

    /// Graph inputs, in order.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// Graph outputs, in order. A value may be listed twice.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// The value of that name.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied()
    }

    /// The values in a node's input slots.
    pub fn node_inputs(&self, id: NodeId) -> Slots {
        let mut slots: Slots = smallvec![None; self.node(id).input_count()];
        for edge in self.topo.edges_directed(id.0, Incoming) {
            if let Link::Input(slot) = *edge.weight() {
                slots[usize::from(slot)] = Some(ValueId(edge.source()));
            }
        }
        slots
    }

    /// The value in one input slot of a node.
    pub fn node_input(&self, id: NodeId, slot: usize) -> Option<ValueId> {
        self.topo
            .edges_directed(id.0, Incoming)
            .find(|e| matches!(*e.weight(), Link::Input(s) if usize::from(s) == slot))
            .map(|e| ValueId(e.source()))
    }

    /// The values in a node's output slots.
    pub fn node_outputs(&self, id: NodeId) -> Slots {
        let mut slots: Slots = smallvec![None; self.node(id).output_count()];
        for edge in self.topo.edges_directed(id.0, Outgoing) {
            if let Link::Output(slot) = *edge.weight() {
                slots[usize::from(slot)] = Some(ValueId(edge.target()));
            }
        }
        slots
    }

    /// The value in one output slot of a node.
    pub fn node_output(&self, id: NodeId, slot: usize) -> Option<ValueId> {
        self.topo
            .edges_directed(id.0, Outgoing)
            .find(|e| matches!(*e.weight(), Link::Output(s) if usize::from(s) == slot))
            .map(|e| ValueId(e.target()))
    }

    /// The values that the bodies of a node capture, in order of creation, each once.
    pub fn captures(&self, id: NodeId) -> Vec<ValueId> {
        let mut found: Vec<_> = (self.topo.edges_directed(id.0, Incoming))
            .filter(|e| *e.weight() == Link::Capture)
            .map(|e| ValueId(e.source()))
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What messages call a node: by its name, or by what it makes.
    pub fn node_label(&self, id: NodeId) -> String {
        let node = self.node(id);
        match self.node_outputs(id).into_iter().flatten().next() {
            Some(output) if node.name.is_empty() => {
                format!("the {} node that makes `{}`", node.op, self.value(output).name)
            }
            _ => node.label(),
        }
    }

    /// The node that produces a value, and the output slot.
    pub fn producer(&self, id: ValueId) -> Option<(NodeId, usize)> {
        self.topo.edges_directed(id.0, Incoming).find_map(|e| match *e.weight() {
            Link::Output(slot) => Some((NodeId(e.source()), usize::from(slot))),
            _ => None,
        })
    }

    /// Every read of a value: the node, and the input slot (`None` for a capture by a body). In order of node and slot.
    pub fn uses(&self, id: ValueId) -> SmallVec<[(NodeId, Option<usize>); 4]> {
        let mut uses: SmallVec<_> = (self.topo.edges_directed(id.0, Outgoing))
            .map(|e| match *e.weight() {
                Link::Input(slot) => (NodeId(e.target()), Some(usize::from(slot))),
                _ => (NodeId(e.target()), None),
            })
            .collect();
        uses.sort_unstable();
        uses
    }

    /// How many reads a value has, those of bodies included; being an output of the graph is no read.
    pub fn use_count(&self, id: ValueId) -> usize {
        self.topo.edges_directed(id.0, Outgoing).count()
    }

    /// Whether the value is an input of the graph.
    pub fn is_input(&self, id: ValueId) -> bool {
        self.inputs.contains(&id)
    }

    /// Whether the value is an output of the graph.
    pub fn is_output(&self, id: ValueId) -> bool {
        self.outputs.contains(&id)
    }

    /// Whether something outside the operators holds on to the value's name: an output, or a quantization annotation.
    pub fn is_pinned(&self, id: ValueId) -> bool {
        self.is_output(id)
            || (!self.annotations.is_empty() && {
                let name = &self.value(id).name;
                self.annotations
                    .iter()
                    .any(|a| a.tensor.as_ref() == Some(name) || a.params.iter().any(|(_, v)| v == name))
            })
    }

    /// The elements of a value that no caller can override: an initializer that is no input, or a constant captured
    /// from the graph outside. (`onnx::read` takes initializers of IR 3 and older off the input list.)
    pub fn constant(&self, id: ValueId) -> Option<&TensorData> {
        self.value(id).data.as_ref().filter(|_| !self.is_input(id))
    }

    /// The elements of the constant in an input slot.
    pub fn constant_input(&self, id: NodeId, slot: usize) -> Option<&TensorData> {
        self.constant(self.node_input(id, slot)?)
    }

    /// Whether a file of an IR version before 4 names the constant in its input list.
    pub fn is_listed(&self, id: ValueId) -> bool {
        match &self.listed {
            ListedConstants::None => false,
            ListedConstants::Some(ids) => ids.binary_search(&id).is_ok(),
            ListedConstants::All => true,
        }
    }

    /// How messages call this graph.
    pub fn label(&self) -> String {
        if self.name.is_empty() { "the graph".to_owned() } else { format!("graph `{}`", self.name) }
    }

    /// Adds the names of all values, bodies included.
    pub(crate) fn collect_names(&self, names: &mut HashSet<String>) {
        names.extend(self.values().map(|v| self.value(v).name.clone()));
        for id in self.nodes() {
            self.node(id).attrs.graphs().for_each(|g| g.collect_names(names));
        }
    }

    /// The local values of this graph that come from the graph outside.
    pub fn captured_values(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.values().filter(|&v| self.value(v).origin == Origin::Captured)
    }
}
