//! The way up: every node in the newest form of its operator.

use std::collections::HashSet;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::ir::{
    AsRead, Function, Graph, IrError, Model, NodeId, Origin, TensorData, Value, ValueType, opset_of,
};
use crate::schema::{self, NEWEST_OPSET};

use super::draft::{Draft, Input, Outcome, Source, refuse};
use super::facts::{Captured, Facts};
use super::table::{RENAMINGS, Step, step_after};

/// Raises every operator of the standard to the newest form that means exactly the same, in the main graph, in bodies
/// and in functions. A node without such a form is marked opaque. The names of new constants are new in the model.
///
/// # Errors
/// [`IrError::Cycle`] and what the mutators of a graph refuse.
pub(crate) fn upgrade(model: &mut Model) -> Result<(), IrError> {
    let mut names = model.value_names();
    let opset = opset_of(&model.opsets, "").unwrap_or(1);
    let clashes = |f: &&Function| f.op.domain.is_empty() && schema::versions("", &f.op.name).next().is_some();
    let clashes: HashSet<Arc<str>> =
        model.functions.iter().filter(clashes).map(|f| Arc::clone(&f.op.name)).collect();
    if !clashes.is_empty() {
        set_aside(&mut model.graph, &clashes, opset);
        model.functions.iter_mut().for_each(|f| set_aside(&mut f.graph, &clashes, opset));
    }
    upgrade_graph(&mut model.graph, opset, Facts::default(), &mut names)?;
    for function in &mut model.functions {
        let opset = opset_of(&function.opsets, "").unwrap_or(opset);
        upgrade_graph(&mut function.graph, opset, Facts::default(), &mut names)?;
    }
    Ok(())
}

/// Makes nodes opaque that may mean a function of the model as well as the standard's operator of that name: the
/// standard leaves it to the runtime which one is taken.
fn set_aside(graph: &mut Graph, clashes: &HashSet<Arc<str>>, opset: i64) {
    let nodes: Vec<NodeId> = graph.nodes().collect();
    for id in nodes {
        let node = graph.node_mut(id);
        if node.op.domain.is_empty() && clashes.contains(&node.op.name) {
            (node.opaque, node.read_at) = (Some(opset), Some(opset));
        }
        let bodies = node.attrs.iter_mut().flat_map(|a| a.value.graphs_mut());
        bodies.for_each(|body| set_aside(body, clashes, opset));
    }
}

fn upgrade_graph(
    graph: &mut Graph,
    opset: i64,
    mut facts: Facts,
    names: &mut HashSet<String>,
) -> Result<(), IrError> {
    for id in graph.order()? {
        let outer = facts.for_bodies(graph, id);
        if graph.node(id).op.domain.is_empty() && graph.node(id).opaque.is_none() {
            facts.follow(graph, id, opset);
            graph.node_mut(id).read_at = Some(opset);
            upgrade_node(graph, id, opset, &facts, names)?;
        }
        upgrade_bodies(graph, id, opset, &outer, names)?;
    }
    Ok(())
}

fn upgrade_bodies(
    graph: &mut Graph,
    id: NodeId,
    opset: i64,
    outer: &Captured,
    names: &mut HashSet<String>,
) -> Result<(), IrError> {
    for attr in graph.node_mut(id).attrs.iter_mut() {
        for body in attr.value.graphs_mut() {
            let facts = Facts::of_body(body, outer);
            upgrade_graph(body, opset, facts, names)?;
        }
    }
    Ok(())
}

/// What lies between a form and the newest one.
enum Path {
    /// Nothing that changes a node.
    Free,
    /// Steps, in order.
    Steps(Vec<Step>),
    /// The operator is unknown or withdrawn.
    None,
}

fn path(op: &str, opset: i64) -> Path {
    let Some(schema) = schema::lookup("", op, opset).filter(|_| opset <= NEWEST_OPSET) else {
        return Path::None;
    };
    let (mut op, mut version, mut steps) = (op, schema.since_version, Vec::new());
    while let Some(next) = schema::versions("", op).find(|s| s.since_version > version) {
        steps.extend(step_after(op, version));
        (op, version) = match RENAMINGS.iter().find(|r| r.old == (op, version)) {
            Some(renaming) => renaming.new,
            None => (op, next.since_version),
        };
    }
    if schema::lookup("", op, version).is_none_or(|s| s.deprecated) {
        return Path::None;
    }
    if steps.is_empty() { Path::Free } else { Path::Steps(steps) }
}

fn upgrade_node(
    graph: &mut Graph,
    id: NodeId,
    opset: i64,
    facts: &Facts,
    names: &mut HashSet<String>,
) -> Result<(), IrError> {
    let steps = match path(&graph.node(id).op.name, opset) {
        Path::Free => return Ok(()),
        Path::Steps(steps) => steps,
        Path::None => {
            graph.node_mut(id).opaque = Some(opset);
            return Ok(());
        }
    };
    let mut draft = Draft::of_node(graph, id, |v| facts.get(graph, v));
    let outcome = steps.iter().try_for_each(|step| (step.up)(&mut draft));
    match outcome.and_then(|()| Change::of(draft, graph.node_inputs(id).len())) {
        Ok(Some(change)) => change.apply(graph, id, names),
        Ok(None) => Ok(()),
        Err(_) => {
            graph.node_mut(id).opaque = Some(opset);
            Ok(())
        }
    }
}

/// What an upgrade changes in a node.
struct Change {
    op: crate::ir::OpName,
    attrs: crate::ir::Attrs,
    inputs: Vec<Input>,
    /// Where the values of the file's input slots are now.
    slots: SmallVec<[Option<u16>; 4]>,
}

impl Change {
    /// `None` where nothing changes. Refuses where an input would get lost: the form of the file needs it.
    fn of(draft: Draft<'_>, old_inputs: usize) -> Outcome<Option<Self>> {
        use std::borrow::Cow::Borrowed;
        let kept = (0..).zip(&draft.inputs).all(|(slot, i)| i.is_absent() || i.source == Source::Slot(slot));
        if kept && matches!((&draft.op, &draft.attrs), (Borrowed(_), Borrowed(_))) {
            return Ok(None);
        }
        let mut slots: SmallVec<[Option<u16>; 4]> = smallvec::smallvec![None; old_inputs];
        for (now, input) in (0u16..).zip(&draft.inputs) {
            if let Source::Slot(was) = input.source {
                match slots.get_mut(usize::from(was)) {
                    Some(slot) => *slot = Some(now),
                    None => return refuse("its inputs do not match its slots"),
                }
            }
        }
        Ok(Some(Self {
            op: draft.op.into_owned(),
            attrs: draft.attrs.into_owned(),
            inputs: draft.inputs,
            slots,
        }))
    }

    fn apply(self, graph: &mut Graph, id: NodeId, names: &mut HashSet<String>) -> Result<(), IrError> {
        let old = graph.node_inputs(id);
        let outputs = graph.node_outputs(id);
        let lost = (self.slots.iter().zip(&old)).any(|(now, was)| now.is_none() && was.is_some());
        if lost {
            let node = graph.node_mut(id);
            node.opaque = node.read_at;
            return Ok(());
        }
        let stem = constant_stem(graph, id);
        for slot in 0..old.len() {
            graph.set_input(id, slot, None)?;
        }
        for (slot, input) in self.inputs.iter().enumerate() {
            let value = match (input.source, &input.fact.data) {
                (Source::Slot(was), _) => old.get(usize::from(was)).copied().flatten(),
                (Source::New, Some(data)) => {
                    let formal = schema::newest("", &self.op.name).and_then(|s| s.input(slot));
                    let name = fresh_name(&stem, formal.map_or("constant", |p| p.name), names);
                    Some(graph.add_value(synthetic(name, data))?)
                }
                _ => None,
            };
            if value.is_some() {
                graph.set_input(id, slot, value)?;
            }
        }
        let node = graph.node_mut(id);
        let as_read = AsRead {
            op: std::mem::replace(&mut node.op, self.op),
            attrs: std::mem::replace(&mut node.attrs, self.attrs),
            inputs: self.slots,
            outputs: (0..).zip(&outputs).map(|(slot, v)| v.map(|_| slot)).collect(),
        };
        node.as_read = Some(Box::new(as_read));
        Ok(())
    }
}

fn synthetic(name: String, data: &TensorData) -> Value {
    Value {
        ty: ValueType::of(data),
        data: Some(data.clone()),
        origin: Origin::Synthetic,
        ..Value::named(name)
    }
}

/// What the names of a node's constants begin with: its first output.
fn constant_stem(graph: &Graph, id: NodeId) -> String {
    match graph.node_outputs(id).iter().flatten().next() {
        Some(&value) => graph.value(value).name.clone(),
        None => graph.node(id).op.name.to_string(),
    }
}

/// A name that no value of the model has: `stem_what`, with a number where that is taken.
pub(crate) fn fresh_name(stem: &str, what: &str, names: &mut HashSet<String>) -> String {
    let plain = format!("{stem}_{what}");
    if names.insert(plain.clone()) {
        return plain;
    }
    let mut numbered = (2u64..).map(|n| format!("{plain}_{n}"));
    numbered.find(|name| names.insert(name.clone())).unwrap_or(plain)
}
