//! Giving values another type, with `Cast` where the two meet.

use std::collections::BTreeSet;

use crate::prelude::*;

use super::float16::Half;
use super::halves::{Halves, Votes};

/// Converts one graph.
pub(super) struct Caster<'c, 'g> {
    /// The graph.
    pub scope: &'c mut Scope<'g>,
    /// What of it is converted.
    pub halves: &'c Halves,
    /// What of it bodies capture as halves.
    pub votes: &'c Votes,
    /// The type.
    pub half: Half,
    /// The pass.
    pub pass: &'static str,
    /// Whether inputs and outputs of the graph keep their types.
    pub keeps_io: bool,
}

/// Who reads a value.
struct Readers {
    halves: Vec<(NodeId, usize)>,
    floats: Vec<(NodeId, Option<usize>)>,
}

impl Caster<'_, '_> {
    /// Gives every value of the graph the type that its producer and its readers need. Names of captured constants that
    /// now have a copy in the graph are noted.
    pub fn convert(&mut self, captured: &mut BTreeSet<String>) -> anyhow::Result<()> {
        for &value in &self.halves.floats {
            let graph = &*self.scope.graph;
            let carried = self.votes.carry(&graph.value(value).name);
            if carried && graph.value(value).origin == Origin::Captured {
                continue;
            }
            let (mut halves, mut floats) = (Vec::new(), Vec::new());
            for (node, slot) in graph.uses(value) {
                match slot {
                    Some(at) if self.halves.reads(node, slot) => halves.push((node, at)),
                    None if carried => {}
                    _ => floats.push((node, slot)),
                }
            }
            let readers = Readers { halves, floats };
            if graph.constant(value).is_some() {
                self.constant(value, &readers, captured)?;
            } else if self.halves.makes(graph, value) {
                self.made_half(value, &readers)?;
            } else if !readers.halves.is_empty() {
                self.made_float(value, &readers)?;
            }
        }
        Ok(())
    }

    fn constant(
        &mut self,
        value: ValueId,
        readers: &Readers,
        captured: &mut BTreeSet<String>,
    ) -> anyhow::Result<()> {
        let graph = &*self.scope.graph;
        let read = !readers.halves.is_empty() || self.votes.carry(&graph.value(value).name);
        let data = graph.constant(value).filter(|_| read);
        let Some(data) = data.and_then(|data| converted(data, self.half)) else { return Ok(()) };
        let (origin, name) = (graph.value(value).origin, graph.value(value).name.clone());
        let free = readers.floats.is_empty() && !graph.is_pinned(value) && origin != Origin::Captured;
        if free {
            self.scope.set_constant(value, data);
            self.scope.retype(value, self.half.dtype());
            return Ok(());
        }
        let copy = self.scope.add_constant(&self.half_name(&name), data)?;
        self.feed(&readers.halves, copy)?;
        if self.scope.remove_if_dead(value) {
            captured.insert(name);
        }
        Ok(())
    }

    fn made_half(&mut self, value: ValueId, readers: &Readers) -> anyhow::Result<()> {
        let graph = &*self.scope.graph;
        let pinned = graph.is_pinned(value) && (self.keeps_io || !graph.is_output(value));
        if readers.floats.is_empty() && !pinned {
            self.scope.retype(value, self.half.dtype());
            return Ok(());
        }
        let name = self.half_name(&graph.value(value).name);
        let Some((producer, _)) = graph.producer(value) else { return Ok(()) };
        let Some(made) = self.scope.detach(value, &name)? else { return Ok(()) };
        self.scope.retype(made, self.half.dtype());
        self.feed(&readers.halves, made)?;
        let (from, inputs) = ([producer], [Some(made)]);
        self.scope.produce(cast(self.pass, &from, &inputs, DType::Float), value)?;
        Ok(())
    }

    fn made_float(&mut self, value: ValueId, readers: &Readers) -> anyhow::Result<()> {
        let graph = &*self.scope.graph;
        let Some(&(first, _)) = readers.halves.first() else { return Ok(()) };
        let by_slot: Option<Vec<(NodeId, usize)>> = (readers.floats.iter())
            .map(|&(node, slot)| {
                slot.filter(|_| graph.node(node).attrs.graphs().next().is_none()).map(|s| (node, s))
            })
            .collect();
        let own_input = graph.is_input(value) && graph.value(value).data.is_none() && !graph.is_pinned(value);
        let name = graph.value(value).name.clone();
        let inputs = [Some(value)];
        let Some(floats) = by_slot.filter(|_| own_input && !self.keeps_io) else {
            let (from, wish) = ([first], self.half_name(&name));
            let cast = cast(self.pass, &from, &inputs, self.half.dtype());
            let converted = self.scope.append(cast, &wish)?;
            return self.feed(&readers.halves, converted);
        };
        self.scope.retype(value, self.half.dtype());
        if let Some(&(first, _)) = floats.first() {
            let from = [first];
            let cast = cast(self.pass, &from, &inputs, DType::Float);
            let back = self.scope.append(cast, &format!("{name}_float"))?;
            self.feed(&floats, back)?;
        }
        Ok(())
    }

    fn feed(&mut self, readers: &[(NodeId, usize)], value: ValueId) -> anyhow::Result<()> {
        Ok(readers.iter().try_for_each(|&(node, slot)| self.scope.feed(node, slot, value))?)
    }

    fn half_name(&self, name: &str) -> String {
        format!("{name}_{}", self.half.dtype().name())
    }
}

fn cast<'n>(
    pass: &'static str,
    stands_for: &'n [NodeId],
    inputs: &'n [Option<ValueId>],
    to: DType,
) -> NewOp<'n> {
    let attrs = Attrs::new().with("to", i64::from(to.code()));
    NewOp { pass, stands_for, op: OpName::onnx("Cast"), attrs, inputs }
}

/// The same elements, each rounded once. A large tensor is computed when it is written.
fn converted(data: &TensorData, half: Half) -> Option<TensorData> {
    const DEFER: u64 = 64 << 10;
    let to = half.dtype();
    let convert = move |data: &TensorData| TensorData::from_f64s(to, data.dims(), &data.to_f64s()?);
    if data.byte_len() < DEFER {
        return convert(data);
    }
    let what = vec![u64::from(b'h'), to.code() as u64];
    TensorData::deferred(to, data.dims(), data, what, move |data| convert(data)?.bytes().cloned()).ok()
}
