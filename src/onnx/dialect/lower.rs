//! The way down: a node of the newest form as an older opset says it.

use std::borrow::Cow;

use crate::ir::{AttrValue, Attrs, DType, Graph, IrError, Node, NodeId, OpName, TensorData};
use crate::schema::{self, AttrDefault, OpSchema, ParamOption};

use super::Unsayable;
use super::draft::{Draft, Fact, Outcome, Refusal, Source, refuse};
use super::facts::{Captured, Facts};
use super::table::{RENAMINGS, SUBSTITUTES, step_after};

/// A node as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Form<'a> {
    /// The operator.
    pub op: Cow<'a, OpName>,
    /// Its attributes. Bodies in them are written by the same rules.
    pub attrs: Cow<'a, Attrs>,
    /// Its inputs by slot.
    pub inputs: Vec<FormInput>,
    /// Its outputs by slot: the output slot of the node that holds the value; `None` for an unused one.
    pub outputs: Vec<Option<u16>>,
}

/// An input of a written node.
#[derive(Debug, Clone)]
pub(crate) enum FormInput {
    /// None: an empty name.
    Absent,
    /// The value in that input slot of the node.
    Slot(u16),
    /// A constant that only the written form has: what to call it, and its elements.
    New(&'static str, TensorData),
}

/// How a node is written at an opset: as the file had it where it is untouched and the opset is the file's, else lowered.
///
/// # Errors
/// [`Unsayable`] where no form of that opset means exactly the same.
pub(crate) fn form_of<'a>(
    graph: &'a Graph,
    id: NodeId,
    facts: &Facts,
    opset: i64,
) -> Result<Form<'a>, Box<Unsayable>> {
    let node = graph.node(id);
    if !node.op.domain.is_empty() {
        return Ok(plain(graph, id));
    }
    if let Some(read_at) = node.opaque {
        return opaque_form(graph, id, read_at, opset);
    }
    if is_untouched(node, opset) {
        return Ok(match &node.as_read {
            Some(read) => Form {
                op: Cow::Borrowed(&read.op),
                attrs: Cow::Borrowed(&read.attrs),
                inputs: read.inputs.iter().map(|s| s.map_or(FormInput::Absent, FormInput::Slot)).collect(),
                outputs: read.outputs.to_vec(),
            },
            None => plain(graph, id),
        });
    }
    let draft = || Draft::of_node(graph, id, |v| facts.get(graph, v));
    lower(draft(), opset).map(form).map_err(|refusal| {
        let versions = schema::versions("", &node.op.name).map(|s| s.since_version);
        let lowest = versions.filter(|&v| v > opset).find(|&v| lower(draft(), v).is_ok());
        Box::new(unsayable(graph, id, opset, (refusal, lowest)))
    })
}

/// Whether the node is written as the file had it.
fn is_untouched(node: &Node, opset: i64) -> bool {
    node.made_by.is_none() && node.read_at == Some(opset)
}

/// What is known of the values of a graph, where writing it at an opset may need to know it.
///
/// # Errors
/// [`IrError::Cycle`].
pub(crate) fn facts_for(graph: &Graph, captured: &Captured, opset: i64) -> Result<Facts, IrError> {
    fn is_plain(graph: &Graph, opset: i64) -> bool {
        let mut nodes = graph.nodes().map(|id| graph.node(id));
        nodes.all(|n| {
            let as_is = !n.op.domain.is_empty() || n.opaque.is_some() || is_untouched(n, opset);
            as_is && n.attrs.graphs().all(|body| is_plain(body, opset))
        })
    }
    if is_plain(graph, opset) { Ok(Facts::default()) } else { Facts::of_graph(graph, captured) }
}

/// A call in the newest form as another opset says it.
#[allow(dead_code, reason = "for engines that evaluate nodes at an opset of their own")]
#[derive(Debug, Clone)]
pub(crate) struct LoweredCall<'a> {
    /// The operator.
    pub op: Cow<'a, OpName>,
    /// Its attributes.
    pub attrs: Cow<'a, Attrs>,
    /// Its inputs by slot.
    pub inputs: Vec<Option<TensorData>>,
    /// Its outputs by slot: the output of the call; `None` for one that the call does not have.
    pub outputs: Vec<Option<u16>>,
}

/// Lowers a call on constants. Since all inputs are constant, those that were attributes can become attributes again.
///
/// # Errors
/// A clause that says why no form of that opset means exactly the same.
#[allow(dead_code, reason = "for engines that evaluate nodes at an opset of their own")]
pub(crate) fn lower_call<'a>(
    op: &'a OpName,
    attrs: &'a Attrs,
    inputs: &[Option<&TensorData>],
    outputs: &[bool],
    opset: i64,
) -> Result<LoweredCall<'a>, String> {
    let mut draft = Draft::of_call(op, attrs, inputs, outputs);
    if op.domain.is_empty() {
        draft = lower(draft, opset).map_err(|refusal| refusal.0.into_owned())?;
    }
    Ok(LoweredCall {
        op: draft.op,
        attrs: draft.attrs,
        inputs: draft.inputs.into_iter().map(|i| i.fact.data).collect(),
        outputs: draft.outputs.iter().map(|o| o.slot).collect(),
    })
}

fn unsayable(graph: &Graph, id: NodeId, opset: i64, (refusal, lowest): (Refusal, Option<i64>)) -> Unsayable {
    let node = graph.node(id);
    Unsayable {
        node: graph.node_label(id),
        op: node.op.to_string(),
        what: refusal.0.into_owned(),
        opset,
        lowest,
        made_by: node.made_by.as_ref().map(|p| p.pass),
    }
}

/// The node as it is.
fn plain(graph: &Graph, id: NodeId) -> Form<'_> {
    form(Draft::of_node(graph, id, |_| Fact::default()))
}

fn form(draft: Draft<'_>) -> Form<'_> {
    let newest = schema::newest("", &draft.op.name);
    let input = |(slot, input): (usize, super::draft::Input)| match (input.source, input.fact.data) {
        (Source::Slot(slot), _) => FormInput::Slot(slot),
        (Source::New, Some(data)) => {
            let formal = newest.and_then(|s| s.input(slot));
            FormInput::New(formal.map_or("constant", |p| p.name), data)
        }
        _ => FormInput::Absent,
    };
    Form {
        inputs: draft.inputs.into_iter().enumerate().map(input).collect(),
        outputs: draft.outputs.iter().map(|o| o.slot).collect(),
        op: draft.op,
        attrs: draft.attrs,
    }
}

/// A node without a newer form can be written where its version is still the current one.
fn opaque_form(graph: &Graph, id: NodeId, read_at: i64, opset: i64) -> Result<Form<'_>, Box<Unsayable>> {
    let node = graph.node(id);
    let version = |opset| schema::lookup("", &node.op.name, opset).map(|s| s.since_version);
    if read_at == opset || (version(read_at).is_some() && version(read_at) == version(opset)) {
        return Ok(plain(graph, id));
    }
    let lowest = version(read_at).unwrap_or(read_at);
    let what = format!("its form of opset {read_at} means something else, or nothing, at this one");
    let lowest = Some(lowest).filter(|&v| v > opset);
    Err(Box::new(unsayable(graph, id, opset, (Refusal(what.into()), lowest))))
}

/// Lowers a form from the newest version of its operator to an opset.
fn lower(mut draft: Draft<'_>, opset: i64) -> Outcome<Draft<'_>> {
    let mut last = i64::MAX;
    let schema = loop {
        let name = draft.op.name.clone();
        let versions = schema::versions("", &name).map(|s| s.since_version);
        let versions: Vec<_> = versions.filter(|&v| v <= last).collect();
        for pair in versions.windows(2).rev() {
            let &[from, to] = pair else { continue };
            if let Some(step) = step_after(&name, from).filter(|_| to > opset) {
                (step.down)(&mut draft)?;
            }
        }
        let is_missing = versions.iter().all(|&v| v > opset);
        if let Some((_, substitute)) = SUBSTITUTES.iter().find(|s| is_missing && s.0 == &*name) {
            substitute(&mut draft)?;
            last = i64::MAX;
            continue;
        }
        match RENAMINGS.iter().find(|r| r.new.0 == &*name && is_missing) {
            None => break schema::lookup("", &name, opset),
            Some(renaming) => {
                if let Some(step) = step_after(renaming.old.0, renaming.old.1) {
                    (step.down)(&mut draft)?;
                }
                last = renaming.old.1;
            }
        }
    };
    match schema {
        None => refuse("the operator is not in that opset"),
        Some(schema) if schema.deprecated => refuse("the operator is withdrawn in that opset"),
        Some(schema) => {
            conform(&mut draft, schema)?;
            Ok(draft)
        }
    }
}

/// Whether the form is one that a version of the operator allows. Attributes that the version lacks are left out where
/// they say what it means anyway.
fn conform(draft: &mut Draft<'_>, schema: &OpSchema) -> Outcome {
    let later = |a: &&crate::ir::Attr| schema.attribute(&a.name).is_none();
    let names: Vec<_> = draft.attrs.iter().filter(later).map(|a| a.name.clone()).collect();
    for name in names {
        let defined = schema::versions("", schema.name)
            .filter(|s| s.since_version > schema.since_version)
            .find_map(|s| s.attribute(&name));
        let Some(defined) = defined else { continue };
        let value = draft.attrs.get(&name);
        if !value.zip(defined.default).is_some_and(|(value, default)| is_default(value, default)) {
            return Err(Refusal(format!("its attribute `{name}` came later").into()));
        }
        draft.drop_attr(&name);
    }
    conform_inputs(draft, schema)?;
    conform_outputs(draft, schema)
}

fn is_default(value: &AttrValue, default: AttrDefault) -> bool {
    match (value, default) {
        (AttrValue::Int(a), AttrDefault::Int(b)) => *a == b,
        (AttrValue::Float(a), AttrDefault::Float(b)) => a.to_bits() == b.to_bits(),
        (AttrValue::String(a), AttrDefault::String(b)) => a == b.as_bytes(),
        (AttrValue::Ints(a), AttrDefault::Ints(b)) => a == b,
        (AttrValue::Floats(a), AttrDefault::Floats(b)) => a == b,
        _ => false,
    }
}

fn conform_inputs(draft: &Draft<'_>, schema: &OpSchema) -> Outcome {
    let too_new = |name: &str| Err(Refusal(format!("its input `{name}` came later").into()));
    let count = draft.inputs.iter().rposition(|i| !i.is_absent()).map_or(0, |at| at + 1);
    if count > schema.max_inputs {
        let newest = schema::newest("", schema.name).and_then(|s| s.input(count - 1));
        return too_new(newest.map_or("?", |p| p.name));
    }
    if count < schema.min_inputs {
        let wanted = schema.input(count).map_or("?", |p| p.name);
        return Err(Refusal(format!("its input `{wanted}` is needed there").into()));
    }
    let mut bound: Vec<(&str, DType)> = Vec::new();
    for (slot, input) in draft.inputs.iter().enumerate().take(count) {
        let Some(param) = schema.input(slot) else { continue };
        if input.is_absent() {
            if param.option == ParamOption::Single {
                return Err(Refusal(format!("its input `{}` is needed there", param.name).into()));
            }
            continue;
        }
        let Some(dtype) = input.fact.dtype else { continue };
        if !param.allows(dtype.code()) {
            return Err(Refusal(format!("its input `{}` must not be {dtype} there", param.name).into()));
        }
        let Some(variable) = param.type_variable() else { continue };
        match bound.iter().find(|(v, _)| *v == variable) {
            Some(&(_, other)) if other != dtype => {
                return Err(Refusal(format!("its inputs must not be {other} and {dtype} there").into()));
            }
            Some(_) => {}
            None => bound.push((variable, dtype)),
        }
    }
    Ok(())
}

fn conform_outputs(draft: &mut Draft<'_>, schema: &OpSchema) -> Outcome {
    while draft.outputs.len() > schema.max_outputs && !draft.uses_output(draft.outputs.len() - 1) {
        draft.outputs.pop();
    }
    if draft.outputs.len() > schema.max_outputs {
        return refuse("it has more outputs than there");
    }
    for (slot, output) in draft.outputs.iter().enumerate() {
        let Some(param) = schema.output(slot) else { continue };
        let said = match slot {
            0 if draft.op.is("Cast") => draft.int("to").ok().flatten(),
            _ => None,
        };
        let said = said.and_then(|c| i32::try_from(c).ok()).and_then(DType::from_code);
        let Some(dtype) = said.or(output.fact.dtype) else { continue };
        if !param.allows(dtype.code()) {
            return Err(Refusal(format!("its output `{}` must not be {dtype} there", param.name).into()));
        }
    }
    Ok(())
}
