//! The form in which a node is written.

use std::borrow::Cow;

use crate::ir::{Attrs, Graph, NodeId, OpName, Slots};

/// A node as the file will have it, over values of its graph.
pub(super) struct Form<'a> {
    pub op: Cow<'a, OpName>,
    pub attrs: Cow<'a, Attrs>,
    pub inputs: Slots,
    pub outputs: Slots,
}

/// The form of a node: as it was read where that form is kept, else as it is.
///
/// This is where the opset dialect hooks in: a node without an as-read form is in the newest form of its operator here,
/// and has to be lowered to the opset that is written. What decides which synthetic constants are written is the result
/// of this function alone, so a lowering that turns an input into an attribute only has to leave the input out.
pub(super) fn form_of(graph: &Graph, id: NodeId) -> Form<'_> {
    let node = graph.node(id);
    let (inputs, outputs) = (graph.node_inputs(id), graph.node_outputs(id));
    let Some(as_read) = &node.as_read else {
        return Form { op: Cow::Borrowed(&node.op), attrs: Cow::Borrowed(&node.attrs), inputs, outputs };
    };
    let pick =
        |slots: &Slots, at: &Option<u16>| at.and_then(|at| slots.get(usize::from(at)).copied().flatten());
    Form {
        op: Cow::Borrowed(&as_read.op),
        attrs: Cow::Borrowed(&as_read.attrs),
        inputs: as_read.inputs.iter().map(|at| pick(&inputs, at)).collect(),
        outputs: as_read.outputs.iter().map(|at| pick(&outputs, at)).collect(),
    }
}
