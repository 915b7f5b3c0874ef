//! Which operators can compute in 16-bit floats.

use std::collections::{BTreeMap, BTreeSet};

use crate::prelude::*;

use super::float16::{ConvertFloat16, Half};

/// The operators of a graph that are converted, and their slots.
#[derive(Default)]
pub(super) struct Halves {
    nodes: BTreeMap<NodeId, Typed>,
    /// The values that are floats, in order of creation.
    pub floats: Vec<ValueId>,
}

/// The names of values that bodies capture, and whether all that read them do so as halves.
#[derive(Default)]
pub(super) struct Votes {
    owned: BTreeMap<String, bool>,
    captured: BTreeMap<String, bool>,
}

impl Votes {
    /// Adds what one graph says.
    pub fn count(&mut self, graph: &Graph, halves: &Halves) {
        for &value in &halves.floats {
            let uses = graph.uses(value);
            let (inner, own): (Vec<_>, Vec<_>) = uses.into_iter().partition(|(_, slot)| slot.is_none());
            let agrees = !graph.is_pinned(value) && own.iter().all(|&(node, slot)| halves.reads(node, slot));
            let name = graph.value(value).name.clone();
            let vote = if graph.value(value).origin == Origin::Captured {
                self.captured.entry(name).or_insert(true)
            } else if inner.is_empty() {
                continue;
            } else {
                self.owned.entry(name).or_insert(true)
            };
            let can_be = graph.constant(value).is_some() || halves.makes(graph, value);
            *vote &= agrees && (can_be || graph.value(value).origin == Origin::Captured);
        }
    }

    /// Whether a captured value is a half, in the graph that has it and in the bodies.
    pub fn carry(&self, name: &str) -> bool {
        let agree = |votes: &BTreeMap<String, bool>| votes.get(name) == Some(&true);
        agree(&self.owned) && agree(&self.captured)
    }
}

/// The slots of an operator that hold halves.
#[derive(Default)]
struct Typed {
    inputs: Vec<usize>,
    outputs: Vec<usize>,
}

/// Inputs that may be halves but gain nothing by it.
const FLOAT: &[(&str, usize)] = &[("Resize", 1)];

/// Operators that say how a model is quantized.
const QUANTIZED: &[&str] = &["DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"];

/// Operators whose results are numbers that they read.
const PASSING: &[&str] = &[
    "Concat",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "Max",
    "Min",
    "Pad",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
    "Where",
];

impl Halves {
    /// Decides for every operator of a graph.
    pub fn of(
        scope: &Scope<'_>,
        cx: &PassContext<'_>,
        options: &ConvertFloat16,
        ranges: &mut Ranges,
        summary: &mut Summary,
    ) -> anyhow::Result<Self> {
        let graph = &*scope.graph;
        let is_float = |&v: &ValueId| scope.facts.dtype(v) == Some(DType::Float);
        let mut halves = Self { nodes: BTreeMap::new(), floats: graph.values().filter(is_float).collect() };
        let (mut shapes, mut doubtful) = (BTreeSet::new(), BTreeSet::new());
        for node in graph.order()? {
            let on_shapes = follows_shapes(graph, node, &mut shapes);
            let doubts = reads_any(graph, node, &doubtful);
            if doubts && PASSING.iter().any(|op| graph.node(node).is(op)) {
                doubtful.extend(graph.node_outputs(node).into_iter().flatten());
            }
            let typed = match typed(scope, node, options.half) {
                Ok(typed) => typed,
                Err(skip) if skip == Skip::no_concern() => continue,
                Err(skip) => {
                    summary.skip(skip.0);
                    continue;
                }
            };
            // What gives no floats is converted only to spare a conversion of what it reads.
            if typed.outputs.is_empty() && !halves.all_read(graph, node, &typed) {
                continue;
            }
            let kept = options.keep_ops.iter().any(|op| graph.node(node).is(op));
            let large = ranges.has_large_weight(graph, node);
            if large && !ranges.are_measured() {
                doubtful.extend(graph.node_outputs(node).into_iter().flatten());
            }
            let allowed = Skip::unless(!kept, "its operator is to be kept")
                .and_then(|()| Skip::unless(!on_shapes, "it computes with dims"))
                .and_then(|()| Skip::unless(!large, "a weight is too large for the type"))
                .and_then(|()| Skip::unless(!doubts, "it reads what a too large weight makes"))
                .and_then(|()| ranges.allow(graph, node));
            match allowed {
                _ if !cx.may_change(graph, &[node]) => {}
                Ok(()) => {
                    ranges.count(graph, node);
                    halves.nodes.insert(node, typed);
                }
                Err(skip) => summary.skip(skip.0),
            }
        }
        halves.drop_idle(graph);
        Ok(halves)
    }

    /// Leaves operators alone that only pass on numbers, from floats to floats.
    fn drop_idle(&mut self, graph: &Graph) {
        let idle = |halves: &Self, node: NodeId| {
            let reads = |&v: &ValueId| graph.uses(v).iter().any(|&(n, slot)| halves.reads(n, slot));
            PASSING.iter().any(|op| graph.node(node).is(op))
                && !graph.node_inputs(node).iter().flatten().any(|&v| halves.makes(graph, v))
                && !graph.node_outputs(node).iter().flatten().any(reads)
        };
        while let Some(node) = self.nodes.keys().copied().find(|&node| idle(self, node)) {
            self.nodes.remove(&node);
        }
    }

    /// How many operators are converted.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether an operator reads a half in this slot.
    pub fn reads(&self, node: NodeId, slot: Option<usize>) -> bool {
        slot.is_some_and(|slot| self.nodes.get(&node).is_some_and(|t| t.inputs.contains(&slot)))
    }

    /// Whether a value is made as a half.
    pub fn makes(&self, graph: &Graph, value: ValueId) -> bool {
        graph
            .producer(value)
            .is_some_and(|(node, slot)| self.nodes.get(&node).is_some_and(|t| t.outputs.contains(&slot)))
    }

    /// Whether all that an operator would read as halves and that is not constant is made as halves.
    fn all_read(&self, graph: &Graph, node: NodeId, typed: &Typed) -> bool {
        let inputs = graph.node_inputs(node);
        let mut read = typed.inputs.iter().filter_map(|&slot| inputs.get(slot).copied().flatten());
        let mut any = false;
        let all = read.all(|v| {
            let made = self.makes(graph, v);
            any |= made;
            made || graph.constant(v).is_some()
        });
        all && any
    }
}

/// The slots of an operator that can hold halves, where it is one of the standard that has such.
fn typed(scope: &Scope<'_>, id: NodeId, half: Half) -> Result<Typed, Skip> {
    let graph = &*scope.graph;
    let node = graph.node(id);
    let plain = is_pure(graph, id) && node.opaque.is_none() && !node.attrs.has_refs();
    let quantized = QUANTIZED.iter().any(|op| node.is(op));
    (plain && !quantized && node.output_count() > 0).then_some(()).ok_or_else(Skip::no_concern)?;
    let present = |slots: Slots| -> Vec<(usize, ValueId)> {
        slots.into_iter().enumerate().filter_map(|(slot, v)| Some((slot, v?))).collect()
    };
    let (inputs, outputs) = (present(graph.node_inputs(id)), present(graph.node_outputs(id)));
    let known = inputs.iter().chain(&outputs).all(|&(_, v)| scope.facts.dtype(v).is_some());
    known.then_some(()).ok_or_else(Skip::no_concern)?;
    let is_float = |&(_, v): &(usize, ValueId)| scope.facts.dtype(v) == Some(DType::Float);
    let (mut typed, mut variables) = (Typed::default(), Vec::new());
    for (slot, _) in inputs.into_iter().filter(is_float) {
        if FLOAT.iter().any(|&(op, at)| node.is(op) && at == slot) {
            continue;
        }
        if let Some((variable, allowed)) = scope.target.input_variable(&node.op.name, slot, half.dtype()) {
            Skip::unless(allowed, "its operator has no such form at this opset")?;
            variables.push(variable);
            typed.inputs.push(slot);
        }
    }
    for (slot, _) in outputs.into_iter().filter(is_float) {
        // The type of any other output is fixed, or said by an attribute.
        if scope.target.output_variable(&node.op.name, slot).is_some_and(|v| variables.contains(&v)) {
            typed.outputs.push(slot);
        }
    }
    if typed.inputs.is_empty() { Err(Skip::no_concern()) } else { Ok(typed) }
}

/// Whether an operator reads one of these values.
fn reads_any(graph: &Graph, id: NodeId, values: &BTreeSet<ValueId>) -> bool {
    !values.is_empty() && graph.node_inputs(id).iter().flatten().any(|v| values.contains(v))
}

/// Whether an operator computes from dims alone; its outputs are noted then.
fn follows_shapes(graph: &Graph, id: NodeId, shapes: &mut BTreeSet<ValueId>) -> bool {
    let node = graph.node(id);
    let mut variable =
        graph.node_inputs(id).into_iter().flatten().filter(|&v| graph.constant(v).is_none()).peekable();
    let on_shapes = is_pure(graph, id) && variable.peek().is_some() && variable.all(|v| shapes.contains(&v));
    if on_shapes || node.is("Shape") || node.is("Size") {
        shapes.extend(graph.node_outputs(id).into_iter().flatten());
    }
    on_shapes
}

/// What is known of the magnitude of values.
pub(super) struct Ranges {
    half: Half,
    /// Values of the main graph that a half cannot hold, on the samples.
    large: BTreeSet<ValueId>,
    is_main: bool,
    measured: bool,
    weights: u64,
    underflown: u64,
    seen: BTreeMap<ValueId, Weight>,
}

/// What becomes of a constant.
#[derive(Clone, Copy, Default)]
struct Weight {
    overflows: bool,
    count: u64,
    underflown: u64,
}

/// So many values are looked at in a run over the samples.
const TOGETHER: usize = 256;

impl Ranges {
    /// What the samples show of the values of the main graph, where there are samples.
    pub fn of(model: &Model, half: Half, cx: &mut PassContext<'_>) -> Self {
        let (large, seen) = (BTreeSet::new(), BTreeMap::new());
        let mut ranges =
            Self { half, large, is_main: true, measured: false, weights: 0, underflown: 0, seen };
        let Ok(samples) = cx.samples() else { return ranges };
        let mut found = None;
        let looked = main_graph(&mut model.clone(), cx, &mut |scope, _| {
            let graph = &*scope.graph;
            let float = |&v: &ValueId| {
                let made = graph.producer(v).is_some() || graph.is_input(v);
                made && graph.constant(v).is_none() && scope.facts.dtype(v) == Some(DType::Float)
            };
            found = Some(graph.values().filter(float).collect::<Vec<_>>());
            Ok(())
        });
        let mut failure = looked.err().map(|e| e.to_string());
        for values in found.unwrap_or_default().chunks(TOGETHER) {
            let mut large = vec![false; values.len()];
            let see = |large: &mut bool, data: &TensorData| {
                data.each_f64(|_, x| *large |= half.overflows(x));
                Ok(())
            };
            match samples.observe(Tap::of(model, values), &mut large, see) {
                Ok(()) => ranges.large.extend(values.iter().zip(large).filter(|(_, l)| *l).map(|(v, _)| *v)),
                Err(error) => failure = Some(error.to_string()),
            }
        }
        ranges.measured = failure.is_none();
        if let Some(why) = failure {
            cx.warnings.push(format!("the samples do not say which values are too large: {why}"));
        }
        ranges
    }

    /// From now on values are those of other graphs.
    pub fn leave_main_graph(&mut self) {
        self.is_main = false;
        self.seen.clear();
    }

    /// Whether the samples show the values of the graph that is looked at.
    fn are_measured(&self) -> bool {
        self.is_main && self.measured
    }

    /// Whether an operator can be converted, by what is around it and by the samples.
    fn allow(&self, graph: &Graph, id: NodeId) -> Result<(), Skip> {
        let (inputs, outputs) = (graph.node_inputs(id), graph.node_outputs(id));
        let from = inputs.iter().flatten().filter_map(|&v| graph.producer(v));
        let to = outputs.iter().flatten().flat_map(|&v| graph.uses(v));
        let mut beside = from.map(|(n, _)| n).chain(to.map(|(n, _)| n));
        let quantized = beside.any(|n| QUANTIZED.iter().any(|op| graph.node(n).is(op)));
        Skip::unless(!quantized, "it is quantized")?;
        let large = |v: &ValueId| self.is_main && self.large.contains(v);
        let exceeds = inputs.iter().chain(&outputs).flatten().any(large);
        Skip::unless(!exceeds, "a value is too large for the type on the samples")?;
        Ok(())
    }

    /// Whether the type cannot hold a weight of an operator.
    fn has_large_weight(&self, graph: &Graph, id: NodeId) -> bool {
        let mut weights =
            graph.node_inputs(id).into_iter().flatten().filter_map(|v| Some((v, graph.constant(v)?)));
        weights.any(|(value, data)| self.weight(value, data).overflows)
    }

    /// Counts the weights of an operator that is converted.
    fn count(&mut self, graph: &Graph, id: NodeId) {
        for value in graph.node_inputs(id).into_iter().flatten() {
            let Some(data) = graph.constant(value) else { continue };
            let weight = self.weight(value, data);
            if self.seen.insert(value, weight).is_none() {
                self.weights += weight.count;
                self.underflown += weight.underflown;
            }
        }
    }

    fn weight(&self, value: ValueId, data: &TensorData) -> Weight {
        if let Some(known) = self.seen.get(&value) {
            return *known;
        }
        if data.dtype() != DType::Float {
            return Weight::default();
        }
        // Half of the smallest number rounds to zero.
        let least = match self.half {
            Half::Float16 => 2f64.powi(-25),
            Half::Bfloat16 => 2f64.powi(-134),
        };
        let mut weight = Weight { count: data.len() as u64, ..Weight::default() };
        data.each_f64(|_, x| {
            weight.overflows |= self.half.overflows(x);
            weight.underflown += u64::from(x != 0.0 && x.abs() <= least);
        });
        weight
    }

    /// A line on the weights that became zero.
    pub fn lost(&self) -> Option<String> {
        let name = self.half.dtype().name();
        let (lost, all) = (self.underflown, self.weights);
        (lost > 0).then(|| format!("{lost} of {all} weights are too small for {name} and became zero"))
    }
}
