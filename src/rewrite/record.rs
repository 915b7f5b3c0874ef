//! What a rule wants changed. Recorded first, so that the driver can refuse it as a whole.

use smallvec::SmallVec;

use crate::ir::{Attrs, NodeId, OpName, TensorData, ValueId};

/// An input of a new node: a value of the graph, one that the same rewrite makes, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// A value of the graph.
    Old(ValueId),
    /// A value that this rewrite makes.
    New(NewValue),
    /// An absent optional input.
    Absent,
}

/// A value that a rewrite makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewValue(pub(super) usize);

impl From<ValueId> for Operand {
    fn from(value: ValueId) -> Self {
        Self::Old(value)
    }
}

impl From<Option<ValueId>> for Operand {
    fn from(value: Option<ValueId>) -> Self {
        value.map_or(Self::Absent, Self::Old)
    }
}

/// A value to be made: its name, as far as that is free, and its elements if it is a constant.
#[derive(Debug, Clone)]
pub(super) struct NewValueSpec {
    pub name: String,
    pub data: Option<TensorData>,
}

/// Where an output of a new node goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    /// It takes over a value of the graph: name, type, uses and output status survive.
    Takes(ValueId),
    /// It is a new value.
    New(NewValue),
}

#[derive(Debug, Clone)]
pub(super) struct NewNode {
    pub op: OpName,
    pub attrs: Attrs,
    pub inputs: Vec<Operand>,
    pub outputs: SmallVec<[Option<Target>; 2]>,
}

/// A recorded change.
#[derive(Debug, Default)]
pub struct Rewrite {
    pub(super) values: Vec<NewValueSpec>,
    pub(super) nodes: Vec<NewNode>,
    pub(super) aliases: Vec<(ValueId, Operand)>,
    pub(super) constants: Vec<(ValueId, TensorData)>,
    pub(super) removed: Vec<NodeId>,
}

impl Rewrite {
    fn value(&mut self, name: String, data: Option<TensorData>) -> NewValue {
        self.values.push(NewValueSpec { name, data });
        NewValue(self.values.len() - 1)
    }

    /// A new constant. The name is a wish: the driver makes it unique.
    pub fn constant(&mut self, name: impl Into<String>, data: TensorData) -> Operand {
        Operand::New(self.value(name.into(), Some(data)))
    }

    /// A new node of the standard, in the newest form of its operator, whose first output takes over a value:
    /// name, type, uses and output status of that value survive.
    pub fn emit(
        &mut self,
        op: &str,
        attrs: Attrs,
        inputs: impl IntoIterator<Item = Operand>,
        replaces: ValueId,
    ) {
        self.emit_multi(OpName::onnx(op), attrs, inputs, [Some(replaces)]);
    }

    /// A new node of any domain whose outputs take over values; `None` for an output that nothing reads.
    pub fn emit_multi(
        &mut self,
        op: OpName,
        attrs: Attrs,
        inputs: impl IntoIterator<Item = Operand>,
        replaces: impl IntoIterator<Item = Option<ValueId>>,
    ) {
        let outputs = replaces.into_iter().map(|v| v.map(Target::Takes)).collect();
        self.nodes.push(NewNode { op, attrs, inputs: inputs.into_iter().collect(), outputs });
    }

    /// A new node of the standard with a new output. The name is a wish: the driver makes it unique.
    pub fn add(
        &mut self,
        op: &str,
        attrs: Attrs,
        inputs: impl IntoIterator<Item = Operand>,
        name: impl Into<String>,
    ) -> Operand {
        let value = self.value(name.into(), None);
        let outputs = SmallVec::from_elem(Some(Target::New(value)), 1);
        self.nodes.push(NewNode {
            op: OpName::onnx(op),
            attrs,
            inputs: inputs.into_iter().collect(),
            outputs,
        });
        Operand::New(value)
    }

    /// Everything that reads one value reads another from now on.
    pub fn replace(&mut self, old: ValueId, with: impl Into<Operand>) {
        self.aliases.push((old, with.into()));
    }

    /// A value becomes a constant, under its own name.
    pub fn fold(&mut self, value: ValueId, data: TensorData) {
        self.constants.push((value, data));
    }

    /// An operator that vanishes with those of the pattern, as if it were one of them: its results must have no reader
    /// that stays.
    pub fn remove(&mut self, node: NodeId) {
        self.removed.push(node);
    }
}
