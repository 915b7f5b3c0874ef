//! Where runs of a model start: what comes before is run once, however often what comes after changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

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

    /// A model from here to some of its values. They are in the order of `outputs`.
    pub(super) fn tail(&self, model: &Model, outputs: &[ValueId]) -> Result<Model, IrError> {
        let Some(values) = &self.values else {
            let mut model = model.clone();
            model.graph.set_outputs(outputs.to_vec());
            super::drop_unneeded(&mut model.graph)?;
            model.check()?;
            return Ok(model);
        };
        let known: BTreeSet<ValueId> = values.iter().map(|(value, _)| *value).collect();
        let nodes = between(&model.graph, &known, outputs);
        excerpt(model, &nodes, values, outputs)
    }

    /// What can be found without a run.
    pub(super) fn place(&self, model: &Model, value: ValueId) -> Option<usize> {
        match &self.values {
            Some(values) => values.iter().position(|(v, _)| *v == value),
            None => fed(&model.graph).position(|v| v == value),
        }
    }
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
        let probes: Vec<Mutex<Probe>> = probes.into_iter().map(Mutex::new).collect();
        let mut held = match std::mem::replace(&mut start.batches, Batches::Held(Vec::new())) {
            Batches::Held(batches) => batches.into_iter().map(Some).collect(),
            read @ Batches::Read(..) => {
                start.batches = read;
                vec![None; count]
            }
        };
        let run = |(number, part): (usize, &mut [Option<Tensors>])| -> Result<(), CalibrateError> {
            let size = count.div_ceil(probes.len());
            let probe = probes[number].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            for (at, batch) in part.iter_mut().enumerate() {
                let inputs = match batch.take() {
                    Some(held) => held,
                    None => start.batches.get(number * size + at)?.into_owned(),
                };
                *batch = Some(probe.run(&inputs)?);
            }
            Ok(())
        };
        held.par_chunks_mut(count.div_ceil(probes.len())).enumerate().try_for_each(run)?;
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
