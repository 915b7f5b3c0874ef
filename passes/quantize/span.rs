//! Channels that can be scaled: what makes them divides, the layers that read them multiply, and the answers stay.

use std::collections::BTreeMap;

use crate::prelude::*;

use super::codes::{Rows, scatter};
use super::layer::{Weight, plain_layer};
use super::place::float;

/// What makes channels, and everything up to the layers that read them.
pub(super) struct Span {
    /// How many channels there are.
    pub channels: usize,
    /// The weight that divides, where a layer makes the channels.
    pub maker: Option<Weight>,
    /// Constants of one number a channel that divide, by the slot that reads them.
    pub vectors: Vec<(NodeId, usize)>,
    /// The layers that multiply.
    pub readers: Vec<Reading>,
    /// The values between, whose numbers change.
    pub values: Vec<ValueId>,
    /// All operators.
    pub nodes: Vec<NodeId>,
}

/// A layer that reads channels.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    /// Its weight.
    pub weight: Weight,
    /// Where it finds the channels.
    pub way: Way,
}

/// Where channels are.
#[derive(Clone, Copy)]
pub(super) struct Way {
    /// The value.
    pub value: ValueId,
    /// The axis.
    pub axis: usize,
    /// How many neighbours on it belong to one channel.
    pub each: usize,
}

/// Operators whose result is multiplied where their first input is, by anything above zero.
const HOMOGENEOUS: &[&str] = &["Identity", "LeakyRelu", "PRelu", "Relu"];

/// The same of operators that look at one channel at a time, on axis 1.
const POOLS: &[&str] = &["AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"];

/// Operators that arrange elements.
const ARRANGING: &[&str] = &["Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"];

/// Operators with constants of one number a channel that scale their result: the slots, and the axis of the channels,
/// `None` for the last.
const NORMALIZATIONS: &[(&str, &[usize], Option<usize>)] = &[
    ("BatchNormalization", &[1, 2], Some(1)),
    ("InstanceNormalization", &[1, 2], Some(1)),
    ("LayerNormalization", &[1, 2], None),
    ("RMSNormalization", &[1], None),
];

/// Why channels cannot be scaled.
const OTHER: &str = "something else than a layer with a constant weight reads its channels";

fn other() -> Skip {
    Skip::because(OTHER)
}

impl Span {
    /// The channels of a layer with a constant weight; an empty reason where a node is none.
    pub fn of_layer(scope: &Scope<'_>, id: NodeId) -> Result<Self, Skip> {
        let graph = &*scope.graph;
        let layer = plain_layer(scope, id)?;
        let weight = layer.weight.ok_or_else(Skip::no_concern)?;
        Skip::unless(is_alone(graph, weight.value), "its weight is read by something else too")?;
        let value = graph.node_output(id, 0).ok_or_else(Skip::no_concern)?;
        let last = scope.facts.rank(value).and_then(|rank| rank.checked_sub(1));
        let axis = if weight.conv { Some(1) } else { last };
        let axis = axis.ok_or_else(|| Skip::because("the rank of its result is not known"))?;
        let channels = graph.constant(weight.value).map_or(0, |d| d.dims()[weight.axis] as usize);
        let vectors = layer.bias.map(|(slot, _)| (id, slot)).into_iter().collect();
        Self::new(id, channels, Some(weight), vectors).follow(scope, Way { value, axis, each: 1 })
    }

    /// The channels of a normalization, or of a product with one constant a channel; an empty reason where a node is
    /// neither.
    pub fn of_scaling(scope: &Scope<'_>, id: NodeId) -> Result<Self, Skip> {
        let graph = &*scope.graph;
        let node = graph.node(id);
        let value = graph.node_output(id, 0).ok_or_else(Skip::no_concern)?;
        let rank = scope.facts.rank(value).ok_or_else(Skip::no_concern)?;
        if node.is("Mul") {
            let slot = usize::from(graph.constant_input(id, 0).is_none());
            let from = graph.node_input(id, 1 - slot).ok_or_else(Skip::no_concern)?;
            let data = graph.constant_input(id, slot).filter(|d| d.len() > 1).ok_or_else(Skip::no_concern)?;
            let axis = vector_axis(data, rank).ok_or_else(Skip::no_concern)?;
            let keeps = scope.facts.same_shape(from, value) && graph.constant(from).is_none();
            keeps.then_some(()).ok_or_else(Skip::no_concern)?;
            let span = Self::new(id, data.len(), None, vec![(id, slot)]);
            return span.follow(scope, Way { value, axis, each: 1 });
        }
        let known = NORMALIZATIONS.iter().find(|(op, ..)| node.is(op));
        let &(_, slots, axis) = known.ok_or_else(Skip::no_concern)?;
        let last = rank.checked_sub(1).ok_or_else(Skip::no_concern)?;
        let over = node.attrs.int("axis").filter(|_| axis.is_none()).unwrap_or(-1);
        let alone = over == -1 || over == last as i64;
        Skip::unless(alone, "it normalizes over several axes")?;
        Skip::unless(
            node.attrs.int("training_mode").unwrap_or(0) == 0,
            "normalization runs in training mode",
        )?;
        let slots: Vec<usize> =
            slots.iter().copied().filter(|&s| graph.node_input(id, s).is_some()).collect();
        let lengths: Option<Vec<usize>> = slots
            .iter()
            .map(|&s| graph.constant_input(id, s).filter(|d| d.rank() == 1).map(TensorData::len))
            .collect();
        let channels = lengths.filter(|l| l.iter().all(|n| *n == l[0])).and_then(|l| l.first().copied());
        let channels =
            channels.ok_or_else(|| Skip::because("its scale and bias are not one constant a channel"))?;
        let vectors = slots.into_iter().map(|slot| (id, slot)).collect();
        let way = Way { value, axis: axis.unwrap_or(last), each: 1 };
        Self::new(id, channels, None, vectors).follow(scope, way)
    }

    fn new(id: NodeId, channels: usize, maker: Option<Weight>, vectors: Vec<(NodeId, usize)>) -> Self {
        Self { channels, maker, vectors, readers: Vec::new(), values: Vec::new(), nodes: vec![id] }
    }

    /// Follows the channels to the layers that read them.
    fn follow(mut self, scope: &Scope<'_>, start: Way) -> Result<Self, Skip> {
        let graph = &*scope.graph;
        let mut waiting = vec![start];
        while let Some(way) = waiting.pop() {
            if graph.use_count(way.value) == 0 {
                return Err(Skip::no_concern());
            }
            Skip::unless(!graph.is_pinned(way.value), "its channels are an output")?;
            for (node, slot) in graph.uses(way.value) {
                let slot = slot.ok_or_else(other)?;
                self.nodes.push(node);
                waiting.extend(self.step(scope, (node, slot), way)?);
            }
            self.values.push(way.value);
        }
        if self.readers.is_empty() { Err(Skip::no_concern()) } else { Ok(self) }
    }

    /// Where the channels are behind an operator; `None` where they end in a layer.
    fn step(
        &mut self,
        scope: &Scope<'_>,
        (node, slot): (NodeId, usize),
        way: Way,
    ) -> Result<Option<Way>, Skip> {
        let graph = &*scope.graph;
        let is = |ops: &[&str]| ops.iter().any(|op| graph.node(node).is(op));
        if is(&["Conv", "Gemm", "MatMul"]) {
            return self.read(scope, (node, slot), way).map(|()| None);
        }
        let value = graph.node_output(node, 0).ok_or_else(other)?;
        let next = Way { value, ..way };
        let whole = slot == 0;
        if whole && (is(HOMOGENEOUS) || (is(POOLS) && way.axis == 1 && way.each == 1)) {
            return Ok(Some(next));
        }
        if whole && is(&["Clip"]) {
            Skip::unless(cuts_at_zero(graph, node), "a Clip cuts its channels elsewhere than at zero")?;
            return Ok(Some(next));
        }
        if whole && is(ARRANGING) {
            return arranged(scope, node, next, way).map(Some).ok_or_else(other);
        }
        let beside = graph.constant_input(node, 1 - slot.min(1)).filter(|_| slot < 2);
        let same = scope.facts.same_shape(way.value, value);
        if is(&["Add", "Sub"])
            && let Some(data) = beside.filter(|_| same)
        {
            let rank = scope.facts.rank(value).unwrap_or(0);
            let fits = data.len() == self.channels
                && way.each == 1
                && (data.len() == 1 || vector_axis(data, rank) == Some(way.axis));
            Skip::unless(fits, "a constant that is not one number a channel is added to its channels")?;
            self.vectors.push((node, 1 - slot));
            return Ok(Some(next));
        }
        let multiplied = is(&["Mul"]) || (whole && is(&["Div"]));
        if multiplied && beside.is_some() && same { Ok(Some(next)) } else { Err(other()) }
    }

    /// Ends in a layer.
    fn read(&mut self, scope: &Scope<'_>, (node, slot): (NodeId, usize), way: Way) -> Result<(), Skip> {
        let graph = &*scope.graph;
        let layer =
            plain_layer(scope, node).map_err(|skip| if skip.0.is_empty() { other() } else { skip })?;
        let weight = layer.weight.filter(|w| slot == 0 && w.inputs.is_some()).ok_or_else(other)?;
        Skip::unless(is_alone(graph, weight.value), "its weight is read by something else too")?;
        let fits = if weight.conv {
            way.axis == 1 && way.each == 1
        } else {
            scope.facts.rank(way.value) == Some(way.axis + 1)
        };
        fits.then_some(()).ok_or_else(other)?;
        self.readers.push(Reading { weight, way });
        Ok(())
    }

    /// The largest magnitude that the layers multiply every channel with.
    pub fn largest_read(&self, weights: &Weights) -> Vec<f64> {
        let mut largest = vec![0f64; self.channels];
        for reading in &self.readers {
            let Some(rows) = weights.get(&reading.weight.value) else { continue };
            let inputs = reading.weight.inputs(rows);
            for (row, items) in rows.items.iter().enumerate() {
                for (at, x) in items.iter().enumerate() {
                    if let Some(most) = largest.get_mut(inputs.channel(row, at) / reading.way.each) {
                        *most = most.max(x.abs());
                    }
                }
            }
        }
        largest
    }
}

/// Weights by output channel.
pub(super) type Weights = BTreeMap<ValueId, Rows>;

/// All weights that spans begin and end with.
pub(super) fn weights(graph: &Graph, spans: &[Span]) -> Weights {
    let all = spans.iter().flat_map(|span| span.readers.iter().map(|r| r.weight).chain(span.maker));
    all.filter_map(|w| Some((w.value, Rows::of(graph.constant(w.value)?, w.axis)?))).collect()
}

/// Whether only one slot of one operator reads a constant.
fn is_alone(graph: &Graph, value: ValueId) -> bool {
    graph.use_count(value) == 1 && !graph.is_pinned(value)
}

/// The axis, in a result of this rank, along which a constant of one number a channel lies.
fn vector_axis(data: &TensorData, rank: usize) -> Option<usize> {
    let mut wide = data.dims().iter().enumerate().filter(|(_, d)| **d != 1).map(|(at, _)| at);
    let (at, None) = (wide.next()?, wide.next()) else { return None };
    (rank + at).checked_sub(data.rank())
}

/// Whether a `Clip` has no bound but zero.
fn cuts_at_zero(graph: &Graph, node: NodeId) -> bool {
    let at = |slot: usize, free: &dyn Fn(f64) -> bool| match graph.node_input(node, slot) {
        None => true,
        Some(bound) => graph.constant(bound).and_then(TensorData::to_f64).is_some_and(free),
    };
    let none = f64::from(f32::MAX);
    at(1, &|x| x == 0.0 || x <= -none) && at(2, &|x| x >= none)
}

/// Where channels are behind an operator that arranges elements.
fn arranged(scope: &Scope<'_>, node: NodeId, next: Way, way: Way) -> Option<Way> {
    let (facts, attrs) = (&scope.facts, &scope.graph.node(node).attrs);
    if scope.graph.node(node).is("Transpose") {
        let rank = facts.rank(way.value)?;
        let axis = match attrs.ints("perm") {
            Some(perm) => perm.iter().position(|&from| from == way.axis as i64)?,
            None => rank.checked_sub(way.axis + 1)?,
        };
        return Some(Way { axis, ..next });
    }
    let kept = (0..way.axis).all(|axis| facts.same_dim((way.value, axis), (next.value, axis)));
    let size = |value: ValueId, axis: usize| facts.dim(value, axis)?.known();
    let (before, after) = (size(way.value, way.axis)?, size(next.value, way.axis)?);
    if kept && before == after {
        return Some(next);
    }
    let mut rest = (way.axis + 1..facts.rank(way.value)?).map(|axis| size(way.value, axis));
    let rest = rest.try_fold(1i64, |n, d| n.checked_mul(d?))?;
    let joined = kept && facts.rank(next.value)? == way.axis + 1 && before.checked_mul(rest)? == after;
    joined.then_some(Way { each: way.each * usize::try_from(rest).ok()?, ..next })
}

/// A weight that is to be scaled: by what its input channels and its output channels are.
type Scaled = (Weight, Option<Vec<f64>>, Option<Vec<f64>>);

/// Divides the channels of spans by factors. What lies between gets other names: under the old ones one would look for
/// the old numbers.
pub(super) fn scale(scope: &mut Scope<'_>, spans: &[(Span, Vec<f64>)]) -> Result<Result<(), Skip>, IrError> {
    let mut weights: BTreeMap<ValueId, Scaled> = BTreeMap::new();
    let mut vectors: Vec<((NodeId, usize), Option<TensorData>)> = Vec::new();
    let graph = &*scope.graph;
    for (span, factors) in spans {
        if let Some(weight) = span.maker {
            weights.entry(weight.value).or_insert((weight, None, None)).2 = Some(factors.clone());
        }
        for Reading { weight, way } in &span.readers {
            let by: Vec<f64> = factors.iter().flat_map(|f| std::iter::repeat_n(*f, way.each)).collect();
            weights.entry(weight.value).or_insert((*weight, None, None)).1 = Some(by);
        }
        for &(node, slot) in &span.vectors {
            let divided = |data: &TensorData| data.map_f64(|at, x| x / factors[at]);
            vectors.push(((node, slot), graph.constant_input(node, slot).and_then(divided)));
        }
    }
    let weight = |(&value, (weight, input, output)): (&ValueId, &Scaled)| {
        let data = graph.constant(value)?;
        let rows = Rows::of(data, weight.axis)?;
        let rows = rows.scaled(weight.inputs(&rows), input.as_deref(), output.as_deref());
        TensorData::from_f64s(data.dtype(), data.dims(), &scatter(&rows.dims, rows.axis, &rows.items))
    };
    let made: Vec<(ValueId, Option<TensorData>)> =
        weights.iter().map(|entry| (*entry.0, weight(entry))).collect();
    let all = made.iter().map(|(_, data)| data).chain(vectors.iter().map(|(_, data)| data));
    let finite = |data: &TensorData| data.to_f64s().is_some_and(|items| items.iter().all(|x| x.is_finite()));
    if !all.into_iter().all(|data| data.as_ref().is_some_and(finite)) {
        return Ok(Err(Skip::because("a scaled constant would not be finite")));
    }
    for (value, data) in made {
        data.into_iter().for_each(|data| scope.set_constant(value, data));
    }
    for (place, data) in vectors {
        data.map_or(Ok(()), |data| float(scope, place, data))?;
    }
    for &value in spans.iter().flat_map(|(span, _)| &span.values) {
        rename(scope, value)?;
    }
    Ok(Ok(()))
}

/// Puts a new value in the place of one.
fn rename(scope: &mut Scope<'_>, value: ValueId) -> Result<(), IrError> {
    let wish = format!("{}_scaled", scope.graph.value(value).name);
    let Some(fresh) = scope.detach(value, &wish)? else { return Ok(()) };
    for (node, slot) in scope.graph.uses(value) {
        slot.map_or(Ok(()), |slot| scope.feed(node, slot, fresh))?;
    }
    scope.remove_if_dead(value);
    Ok(())
}
