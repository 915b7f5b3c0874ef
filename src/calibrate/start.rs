//! Where runs of a model start: what comes before is run once, however often what comes after changes.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::{Batches, CalibrateError, Part, Probe, Samples, Tap, Tensors, excerpt};
use crate::engine::inputs::fed;
use crate::ir::{Dim, Graph, IrError, Model, NodeId, TensorData, ValueId, ValueType};

/// What was at some values of a model on every batch of a part of the samples. Other models that have these values run from
/// there.
pub struct Start {
    /// The values; `None` for what the model is fed.
    values: Option<Vec<(ValueId, ValueType)>>,
    pub(super) batches: Batches,
}

impl Start {
    /// Batches of what a model is fed.
    pub(super) fn fed(batches: Batches) -> Self {
        Self { values: None, batches }
    }
}

/// What the runs of a model start from.
pub(super) fn inputs_of(tap: &Tap<'_>) -> Vec<(ValueId, ValueType)> {
    let graph = &tap.model.graph;
    let known = tap.start.and_then(|start| start.values.clone());
    known.unwrap_or_else(|| fed(graph).map(|value| (value, graph.value(value).ty.clone())).collect())
}

/// The part of a model that leads from some values to others.
pub(super) fn tail(
    model: &Model,
    inputs: &[(ValueId, ValueType)],
    outputs: &[ValueId],
) -> Result<Model, IrError> {
    let known: BTreeSet<ValueId> = inputs.iter().map(|(value, _)| *value).collect();
    excerpt(model, &between(&model.graph, &known, outputs), inputs, outputs)
}

/// The nodes that some outputs need, back to values that are known.
fn between(graph: &Graph, known: &BTreeSet<ValueId>, outputs: &[ValueId]) -> BTreeSet<NodeId> {
    let (mut nodes, mut open) = (BTreeSet::new(), outputs.to_vec());
    while let Some(value) = open.pop() {
        let Some((node, _)) = graph.producer(value).filter(|_| !known.contains(&value)) else { continue };
        if nodes.insert(node) {
            open.extend(graph.node_inputs(node).into_iter().flatten());
            open.extend(graph.captures(node));
        }
    }
    nodes
}

/// The places of the nodes of a graph in the order in which they run, and what each place needs of those before.
pub struct Course {
    order: Vec<NodeId>,
    places: BTreeMap<NodeId, usize>,
}

impl Course {
    /// Of a graph.
    ///
    /// # Errors
    /// Where it has a cycle.
    pub fn of(graph: &Graph) -> Result<Self, IrError> {
        let order = graph.order()?;
        let places = order.iter().enumerate().map(|(place, &node)| (node, place)).collect();
        Ok(Self { order, places })
    }

    /// The place of a node.
    pub fn place(&self, node: NodeId) -> Option<usize> {
        self.places.get(&node).copied()
    }

    /// The values that the nodes from a place on read of what comes before, and the outputs among these: a model runs from
    /// there with nothing else.
    pub fn needs(&self, graph: &Graph, place: usize) -> Vec<ValueId> {
        let after = |value: ValueId| {
            graph.uses(value).iter().any(|&(node, _)| self.place(node).is_some_and(|at| at >= place))
        };
        let made = self.order.iter().take(place).flat_map(|&node| graph.node_outputs(node)).flatten();
        fed(graph).chain(made).filter(|&value| after(value) || graph.is_output(value)).collect()
    }
}

impl Samples<'_> {
    /// Where every model starts.
    pub fn start(&self, part: Part) -> Start {
        Start::fed(self.part(part).clone())
    }

    /// Moves a start on to other values of a model, which what it holds leads to. What was there of every batch takes the
    /// place of what it held, unless that would be more than so many elements: then nothing changes, and the answer is no.
    ///
    /// # Errors
    /// Where the engine cannot run what lies between.
    pub fn advance(
        &self,
        start: &mut Start,
        (model, values): (&Model, &[ValueId]),
        most: usize,
    ) -> Result<bool, CalibrateError> {
        let count = start.batches.len();
        if count == 0 || values.is_empty() {
            return Ok(false);
        }
        let threads = rayon::current_num_threads().clamp(1, count);
        let probes = self.probes(&Tap { model, values, start: Some(start) }, threads)?;
        let first = probes[0].run(&start.batches.get(0)?)?;
        let size: usize = first.iter().map(TensorData::len).sum();
        if size.saturating_mul(count) > most {
            return Ok(false);
        }
        let mut before = std::mem::replace(&mut start.batches, Batches::Held(Vec::new()));
        // What is held goes batch by batch, as what takes its place comes.
        let mut held: Vec<Option<Tensors>> = match &mut before {
            Batches::Held(batches) => std::mem::take(batches).into_iter().map(Some).collect(),
            Batches::Read(..) => vec![None; count],
        };
        let each = count.div_ceil(threads);
        let run = |((number, part), probe): ((usize, &mut [Option<Tensors>]), Probe)| {
            part.iter_mut().enumerate().try_for_each(|(at, batch)| {
                let inputs = match batch.take() {
                    Some(held) => held,
                    None => before.get(number * each + at)?.into_owned(),
                };
                *batch = Some(probe.run(&inputs)?);
                Ok::<(), CalibrateError>(())
            })
        };
        held.par_chunks_mut(each).enumerate().zip(probes).try_for_each(run)?;
        let held: Vec<Tensors> = held.into_iter().flatten().collect();
        start.values = Some(values.iter().enumerate().map(|(at, &value)| (value, ty(&held, at))).collect());
        start.batches = Batches::Held(held);
        Ok(true)
    }
}

/// The type of a tensor in all batches; a dim that differs is open.
fn ty(batches: &[Tensors], at: usize) -> ValueType {
    let Some(first) = batches.first().and_then(|batch| batch.get(at)) else { return ValueType::default() };
    let dim = |(axis, &size): (usize, &u64)| {
        let same = |batch: &Tensors| batch[at].dims().get(axis) == Some(&size);
        if batches.iter().all(same) { Dim::Known(size) } else { Dim::UNKNOWN }
    };
    ValueType::tensor(first.dtype(), first.dims().iter().enumerate().map(dim))
}
