//! Inputs and outputs by name.

use crate::prelude::*;

/// What a value of the border is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Input,
    Output,
}

/// The inputs, or the outputs, of these names.
pub(super) fn named(graph: &Graph, side: Side, names: &[String]) -> anyhow::Result<Vec<ValueId>> {
    let (all, what) = match side {
        Side::Input => (graph.inputs(), "input"),
        Side::Output => (graph.outputs(), "output"),
    };
    let find = |name: &String| {
        all.iter().copied().find(|&v| graph.value(v).name == *name).ok_or_else(|| {
            let all: Vec<String> = all.iter().map(|&v| format!("`{}`", graph.value(v).name)).collect();
            anyhow::anyhow!("no {what} is called `{name}`; the model has: {}", all.join(", "))
        })
    };
    names.iter().map(find).collect()
}

/// Whether something can stand between a value of the border and the model.
pub(super) fn parts(graph: &Graph, side: Side, value: ValueId) -> Result<(), Skip> {
    match side {
        Side::Input => {
            Skip::unless(graph.value(value).data.is_none(), "a caller may leave it out")?;
            Skip::unless(!graph.is_pinned(value), "it is an input and an output at once")?;
        }
        Side::Output => {
            Skip::unless(graph.producer(value).is_some(), "no operator makes it")?;
        }
    }
    Ok(())
}

/// Puts an operator between a value of the border, which gets another type, and the model.
pub(super) fn insert(
    scope: &mut Scope<'_>,
    (side, value): (Side, ValueId),
    ty: ValueType,
    (pass, op, attrs): (&'static str, &str, Attrs),
) -> anyhow::Result<()> {
    let name = scope.graph.value(value).name.clone();
    let beside = match side {
        Side::Input => scope.graph.uses(value).first().map(|&(node, _)| node),
        Side::Output => scope.graph.producer(value).map(|(node, _)| node),
    };
    let from: Vec<NodeId> = beside.into_iter().collect();
    let (read, made) = match side {
        Side::Input => (value, scope.behind_input(value, &format!("{name}_inner"))?),
        Side::Output => match scope.before_output(value, &format!("{name}_inner"))? {
            Some(inner) => (inner, value),
            None => return Ok(()),
        },
    };
    scope.declare(value, ty);
    let inputs = [Some(read)];
    scope.produce(NewOp { pass, stands_for: &from, op: OpName::onnx(op), attrs, inputs: &inputs }, made)?;
    Ok(())
}
