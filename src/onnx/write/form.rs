//! The form in which a node is written.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;

use crate::ir::{Attrs, Graph, Model, NodeId, OpName, Slots, TensorData, ValueId};
use crate::onnx::dialect::{self, Captured, Facts, FormInput};
use crate::onnx::error::OnnxError;

/// What the form of a node depends on besides the node.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    /// The opset of the standard's operators.
    pub opset: i64,
    /// The names that are taken.
    pub names: &'a Names<'a>,
    /// What is known of the values that a body captures.
    pub captured: &'a Captured,
    /// Whether a body may hold initializers: before IR 4 each is an input too, and the inputs of a body are its caller's.
    pub body_initializers: bool,
}

/// The names of a model's values, and those that were made up since.
pub(super) struct Names<'a> {
    model: &'a Model,
    taken: RefCell<Option<HashSet<String>>>,
}

impl<'a> Names<'a> {
    pub(super) fn of(model: &'a Model) -> Self {
        Self { model, taken: RefCell::new(None) }
    }

    fn fresh(&self, stem: &str, what: &str) -> String {
        let mut taken = self.taken.borrow_mut();
        dialect::fresh_name(stem, what, taken.get_or_insert_with(|| self.model.value_names()))
    }
}

/// A node as the file will have it.
pub(super) struct Form<'a> {
    pub op: Cow<'a, OpName>,
    pub attrs: Cow<'a, Attrs>,
    pub inputs: Vec<Argument>,
    pub outputs: Slots,
}

/// An input of a written node.
pub(super) enum Argument {
    /// None.
    Absent,
    /// A value of the graph.
    Value(ValueId),
    /// A constant that the graph does not have.
    Made(String, TensorData),
}

impl Form<'_> {
    /// The values of the graph that the written node reads.
    pub(super) fn reads(&self) -> impl Iterator<Item = ValueId> {
        self.inputs.iter().filter_map(|i| if let Argument::Value(id) = i { Some(*id) } else { None })
    }

    /// The constants that the graph does not have.
    pub(super) fn made(&self) -> impl Iterator<Item = (&str, &TensorData)> {
        self.inputs.iter().filter_map(|i| match i {
            Argument::Made(name, data) => Some((name.as_str(), data)),
            _ => None,
        })
    }
}

/// The form of a node at the opset that is written.
///
/// Its result alone decides which constants are written: those that a lowering turned into attributes are left out.
pub(super) fn form_of<'a>(
    graph: &'a Graph,
    id: NodeId,
    facts: &Facts,
    target: Target<'_>,
) -> Result<Form<'a>, OnnxError> {
    let form = dialect::form_of(graph, id, facts, target.opset)?;
    let (inputs, outputs) = (graph.node_inputs(id), graph.node_outputs(id));
    let at = |slots: &Slots, slot: u16| slots.get(usize::from(slot)).copied().flatten();
    let stem = || match outputs.iter().flatten().next() {
        Some(&value) => graph.value(value).name.clone(),
        None => form.op.name.to_string(),
    };
    let argument = |input: FormInput| match input {
        FormInput::Absent => Argument::Absent,
        FormInput::Slot(slot) => at(&inputs, slot).map_or(Argument::Absent, Argument::Value),
        FormInput::New(what, data) => Argument::Made(target.names.fresh(&stem(), what), data),
    };
    Ok(Form {
        inputs: form.inputs.into_iter().map(argument).collect(),
        outputs: form.outputs.iter().map(|slot| slot.and_then(|slot| at(&outputs, slot))).collect(),
        op: form.op,
        attrs: form.attrs,
    })
}
