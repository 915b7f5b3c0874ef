//! Channels that hold one and the same number, whatever the inputs are.

use std::collections::BTreeMap;

use crate::prelude::*;

/// Operators that make a number of a number, and read nothing but parameters besides.
pub(super) const FUNCTIONS: &[&str] = &[
    "Abs",
    "Add",
    "Celu",
    "Clip",
    "Div",
    "Elu",
    "Erf",
    "Exp",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Max",
    "Min",
    "Mish",
    "Mul",
    "Neg",
    "PRelu",
    "Relu",
    "Selu",
    "Sigmoid",
    "Softplus",
    "Softsign",
    "Sub",
    "Tanh",
];

/// More of them, which keep a constant one.
const MORE: &[&str] = &["Identity", "Sqrt", "Sum"];

/// Operators that move numbers and change none.
const MOVES: &[&str] = &[
    "Concat",
    "Expand",
    "Flatten",
    "Gather",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "MaxPool",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
];

/// Operators with a weight.
pub(super) const WEIGHTED: &[&str] = &["Conv", "ConvTranspose", "Gemm", "MatMul"];

/// For every index of the axes of constants, the number that the whole slice holds, where it holds but one.
pub(super) struct Slices(BTreeMap<Axis, Vec<Option<f64>>>);

impl Slices {
    /// Of the constants of some groups.
    pub fn of(graph: &Graph, groups: &[Group]) -> Self {
        let axes = groups.iter().flat_map(|group| &group.axes);
        let of = |axis: &Axis| {
            let data = graph.constant(axis.value).filter(|data| data.dtype().has_f64s())?;
            let size = *data.dims().get(axis.axis)? as usize;
            let inner = data.dims()[axis.axis + 1..].iter().product::<u64>().max(1) as usize;
            let (mut first, mut same) = (vec![None; size], vec![true; size]);
            let data = TensorData::new(data.dtype(), data.dims(), data.passing_bytes()?).ok()?;
            data.each_f64(|at, x| {
                let at = at / inner % size;
                let first = *first[at].get_or_insert(x + 0.0);
                same[at] &= first.total_cmp(&(x + 0.0)).is_eq();
            });
            let both = first.into_iter().zip(same);
            Some((*axis, both.map(|(first, same)| first.filter(|_| same)).collect()))
        };
        Self(axes.filter_map(of).collect())
    }

    /// The number that some slices hold together.
    pub fn number(&self, axis: Axis, indices: &[u32]) -> Option<f64> {
        let all = self.0.get(&axis)?;
        let mut numbers = indices.iter().map(|&i| all.get(i as usize).copied().flatten());
        let first = numbers.next()??;
        numbers.all(|x| x == Some(first)).then_some(first)
    }
}

/// An atom of a group, and the numbers that its channels hold.
pub(super) struct Steady<'s> {
    scope: &'s Scope<'s>,
    channels: &'s Channels,
    slices: &'s Slices,
    group: &'s Group,
    atom: &'s Atom,
    known: BTreeMap<ValueId, f64>,
}

impl<'s> Steady<'s> {
    /// Follows the nodes, which are those around the group in the order of the graph.
    pub fn of(
        scope: &'s Scope<'s>,
        cx: &PassContext<'_>,
        (channels, slices): (&'s Channels, &'s Slices),
        (group, atom): (&'s Group, &'s Atom),
        nodes: &[NodeId],
    ) -> Self {
        let mut found = Self { scope, channels, slices, group, atom, known: BTreeMap::new() };
        for &node in nodes {
            let Some(number) = found.result(cx, node).filter(|x| x.is_finite()) else { continue };
            // The second result of a MaxPool are places.
            let parts = if scope.graph.node(node).is("Split") { usize::MAX } else { 1 };
            let outputs = scope.graph.node_outputs(node);
            for output in outputs.into_iter().take(parts).flatten() {
                if found.place(output).is_some() {
                    found.known.insert(output, number);
                }
            }
        }
        found
    }

    /// The number that a value holds in the channels of the atom.
    pub fn number(&self, value: ValueId) -> Option<f64> {
        self.known.get(&value).copied().or_else(|| {
            let data = self.scope.graph.constant(value)?;
            let (axis, indices) = self.place(value).unwrap_or((Axis { value, axis: 0 }, &[]));
            if indices.is_empty() { data.to_f64() } else { self.slices.number(axis, indices) }
        })
    }

    /// The one axis of a value that is of the group, and the indices there.
    pub fn place(&self, value: ValueId) -> Option<(Axis, &'s [u32])> {
        let mut all = self.group.axes.iter().zip(&self.atom.0).filter(|(axis, _)| axis.value == value);
        let (axis, indices) = all.next()?;
        all.next().is_none().then_some((*axis, &indices[..]))
    }

    /// Whether a node sums over an axis.
    pub fn sums(&self, node: NodeId, axis: Axis) -> bool {
        self.channels.sums.get(&axis).is_some_and(|nodes| nodes.contains(&node))
    }

    fn result(&self, cx: &PassContext<'_>, id: NodeId) -> Option<f64> {
        let graph = &*self.scope.graph;
        let node = graph.node(id);
        let output = graph.node_output(id, 0)?;
        let is = |list: &[&str]| node.op.domain.is_empty() && list.contains(&&*node.op.name);
        let input = |slot: usize| graph.node_input(id, slot);
        if is(WEIGHTED) {
            return self.product(id);
        }
        if is(&["BatchNormalization"]) {
            return self.normalized(id);
        }
        if is(MOVES) {
            let inputs: Vec<ValueId> = graph.node_inputs(id).into_iter().flatten().collect();
            let mut touched =
                inputs.into_iter().filter(|&v| self.place(v).is_some_and(|(_, i)| !i.is_empty()));
            let first = self.known.get(&touched.next()?).copied()?;
            return touched.all(|v| self.known.get(&v) == Some(&first)).then_some(first);
        }
        if is(&["AveragePool", "Pad"]) {
            let zeros = node.is("AveragePool")
                || input(2).is_none_or(|v| graph.constant(v).and_then(TensorData::to_f64) == Some(0.0));
            let number = self.known.get(&input(0)?).copied()?;
            return (number == 0.0 && zeros).then_some(0.0);
        }
        if !is(FUNCTIONS) && !is(MORE) {
            return None;
        }
        let inputs: Vec<Option<ValueId>> = graph.node_inputs(id).into_iter().collect();
        let numbers: Vec<Option<f64>> = inputs.iter().map(|v| v.and_then(|v| self.number(v))).collect();
        if node.is("Mul") && numbers.contains(&Some(0.0)) {
            return Some(0.0);
        }
        let dtype = self.scope.facts.ty(output).dtype()?;
        let tensors: Vec<Option<TensorData>> = (inputs.iter().zip(&numbers))
            .map(|(value, number)| match value {
                None => Some(None),
                Some(_) => Some(Some(TensorData::from_f64s(dtype, &[1], &[(*number)?])?)),
            })
            .collect::<Option<_>>()?;
        let read: Vec<Option<&TensorData>> = tensors.iter().map(Option::as_ref).collect();
        let call = NodeCall {
            op: &node.op,
            attrs: &node.attrs,
            inputs: &read,
            outputs: &[true],
            limit: cx.limits.tensor,
        };
        cx.evaluate(&call).ok()?.first()?.to_f64()
    }

    /// A product whose weights are zero, or whose input is: the bias.
    fn product(&self, id: NodeId) -> Option<f64> {
        let graph = &*self.scope.graph;
        let weight = graph.node_input(id, 1)?;
        let (axis, indices) = self.place(weight)?;
        let input = graph.node_input(id, 0)?;
        // Depthwise: the channel of the input is that of the result.
        let conv = graph.node(id).is("Conv") || graph.node(id).is("ConvTranspose");
        let quiet = conv
            && graph.constant(weight).is_some()
            && self.known.get(&input) == Some(&0.0)
            && self.place(input).is_some_and(|(axis, _)| !self.sums(id, axis));
        let none = graph.constant(weight).is_some() && self.slices.number(axis, indices) == Some(0.0);
        let plain = graph.node(id).attrs.float("beta").is_none_or(|x| x.to_bits() == 1f32.to_bits());
        if self.sums(id, axis) || !(none || quiet) || !plain {
            return None;
        }
        graph.node_input(id, 2).map_or(Some(0.0), |bias| self.number(bias))
    }

    fn normalized(&self, id: NodeId) -> Option<f64> {
        let graph = &*self.scope.graph;
        let node = graph.node(id);
        if node.attrs.int("training_mode").unwrap_or(0) != 0 {
            return None;
        }
        let at = |slot: usize| self.number(graph.node_input(id, slot)?);
        let (scale, shift) = (at(1)?, at(2)?);
        if scale == 0.0 {
            return Some(shift);
        }
        let (x, mean, var) = (self.known.get(&graph.node_input(id, 0)?)?, at(3)?, at(4)?);
        let epsilon = f64::from(node.attrs.float("epsilon").unwrap_or(1e-5));
        Some((x - mean) * scale / (var + epsilon).sqrt() + shift)
    }
}
