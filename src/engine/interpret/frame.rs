//! Running the nodes of one graph.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;

use super::fused::{Work, groups};
use super::value::{Runtime, dense};
use super::{NAME, unsupported};
use crate::engine::arithmetic::Arithmetic;
use crate::engine::{EngineError, NodeCall, kernels};
use crate::ir::{
    AttrValue, Attrs, Function, Graph, Model, Node, NodeId, OpName, Origin, TensorData, ValueId,
};

/// How many nodes a run may take, those of every round of a loop and of every call counted: a few bytes can ask for
/// more rounds than there is time.
const MAX_STEPS: u64 = 1 << 19;

/// Bodies and calls nest no deeper.
const MAX_DEPTH: usize = 48;

/// The order in which a graph is run, and how often each value is read: made once for a body that runs many times.
pub(super) struct Plan<'m> {
    pub(super) graph: &'m Graph,
    order: Vec<NodeId>,
    reads: Vec<u32>,
    /// What is computed on integers.
    groups: HashMap<NodeId, Work>,
}

impl<'m> Plan<'m> {
    fn of(graph: &'m Graph, arithmetic: Option<Arithmetic>) -> Result<Self, EngineError> {
        let order = graph.order().map_err(|e| EngineError::Invalid(e.to_string()))?;
        let mut reads = vec![0; graph.index_bound()];
        for value in graph.values() {
            let kept = if graph.is_output(value) { u32::MAX } else { graph.use_count(value) as u32 };
            if let Some(slot) = reads.get_mut(value.index()) {
                *slot = kept;
            }
        }
        let groups = if arithmetic.is_some() { groups(graph) } else { HashMap::new() };
        Ok(Self { graph, order, reads, groups })
    }
}

/// The values of a graph while it runs.
pub(super) struct Frame<'f> {
    graph: &'f Graph,
    values: Vec<Option<Runtime>>,
    /// The frame around a body.
    outer: Option<&'f Frame<'f>>,
    /// In a function: the attributes of the call.
    call: Option<&'f Attrs>,
}

impl<'f> Frame<'f> {
    pub(super) fn new(graph: &'f Graph, outer: Option<&'f Frame<'f>>, call: Option<&'f Attrs>) -> Self {
        Self { graph, values: vec![None; graph.index_bound()], outer, call }
    }

    pub(super) fn set(&mut self, id: ValueId, value: Runtime) {
        if let Some(slot) = self.values.get_mut(id.index()) {
            *slot = Some(value);
        }
    }

    /// What a value holds; `None` for an input that was left out.
    pub(super) fn get(&self, id: ValueId, limit: u64) -> Result<Option<Runtime>, EngineError> {
        if let Some(Some(value)) = self.values.get(id.index()) {
            return Ok(Some(value.clone()));
        }
        let value = self.graph.value(id);
        if value.origin == Origin::Captured {
            let missing =
                || EngineError::Invalid(format!("nothing around the body produces `{}`", value.name));
            let outer = self.outer.ok_or_else(missing)?;
            return outer.get(outer.graph.find(&value.name).ok_or_else(missing)?, limit);
        }
        if let Some(data) = &value.data {
            return Ok(Some(Runtime::Tensor(data.clone())));
        }
        value.sparse.as_ref().map(|sparse| dense(sparse, limit).map(Runtime::Tensor)).transpose()
    }

    /// The attributes of a node, those of the call filled in.
    fn attrs(&self, node: &'f Node) -> Cow<'f, Attrs> {
        if !node.attrs.iter().any(|a| matches!(a.value, AttrValue::Ref { .. })) {
            return Cow::Borrowed(&node.attrs);
        }
        let mut attrs = Attrs::new();
        for attr in node.attrs.iter() {
            let mut attr = attr.clone();
            if let AttrValue::Ref { name, .. } = &attr.value {
                let Some(value) = self.call.and_then(|call| call.get(name)) else { continue };
                attr.value = value.clone();
            }
            attrs.push(attr);
        }
        Cow::Owned(attrs)
    }

    pub(super) fn call(&self) -> Option<&'f Attrs> {
        self.call
    }
}

/// What stays the same while a model runs.
#[derive(Clone, Copy)]
pub(super) struct Machine<'m> {
    pub(super) model: &'m Model,
    pub(super) limit: u64,
    pub(super) arithmetic: Option<Arithmetic>,
    /// How many nodes have been run.
    pub(super) steps: &'m Cell<u64>,
}

/// One node that is being run.
pub(super) struct Step<'s> {
    pub(super) node: &'s Node,
    pub(super) attrs: &'s Attrs,
    pub(super) inputs: &'s [Option<Runtime>],
    /// For each output slot, whether there is a value in it.
    pub(super) wanted: &'s [bool],
    pub(super) frame: &'s Frame<'s>,
    pub(super) depth: usize,
}

impl Step<'_> {
    pub(super) fn input(&self, slot: usize) -> Option<&Runtime> {
        self.inputs.get(slot)?.as_ref()
    }

    pub(super) fn need(&self, slot: usize) -> Result<&Runtime, EngineError> {
        self.input(slot).ok_or_else(|| EngineError::Invalid(format!("input {slot} is absent")))
    }
}

impl Machine<'_> {
    /// How a graph is run.
    pub(super) fn plan<'g>(&self, graph: &'g Graph) -> Result<Plan<'g>, EngineError> {
        Plan::of(graph, self.arithmetic)
    }

    /// Runs a graph whose inputs are set; returns its outputs.
    pub(super) fn run(
        &self,
        plan: &Plan<'_>,
        mut frame: Frame<'_>,
        depth: usize,
    ) -> Result<Vec<Runtime>, EngineError> {
        if depth > MAX_DEPTH {
            return Err(unsupported(format!("bodies and calls that nest deeper than {MAX_DEPTH}")));
        }
        self.count_step()?;
        let graph = plan.graph;
        let mut left = plan.reads.clone();
        // Nodes that another took the place of, and the input that holds the result.
        let mut taken: HashMap<NodeId, usize> = HashMap::new();
        for &id in &plan.order {
            self.count_step()?;
            let node = graph.node(id);
            let outputs = graph.node_outputs(id);
            let wanted: Vec<bool> = outputs.iter().map(Option::is_some).collect();
            let slots = graph.node_inputs(id);
            let inputs: Vec<Option<Runtime>> = (slots.iter())
                .map(|v| v.map_or(Ok(None), |v| frame.get(v, self.limit)))
                .collect::<Result<_, _>>()?;
            let made = {
                let attrs = frame.attrs(node);
                let step =
                    Step { node, attrs: &attrs, inputs: &inputs, wanted: &wanted, frame: &frame, depth };
                let made = match taken.get(&id) {
                    Some(&slot) => step.need(slot).map(|made| vec![made.clone()]),
                    None => self.integer_step(plan.groups.get(&id), &step, &mut taken),
                };
                made.map_err(|error| within(node, error))?
            };
            let mut made = made.into_iter();
            for value in outputs {
                let result = made.next();
                let Some(value) = value else { continue };
                let missing = || EngineError::Invalid(format!("{}: it has too few outputs", node.label()));
                let result = result.ok_or_else(missing)?;
                if left.get(value.index()).is_some_and(|&n| n > 0) {
                    frame.set(value, result);
                }
            }
            for value in slots.into_iter().flatten().chain(graph.captures(id)) {
                release(&mut left, &mut frame, value);
            }
        }
        let output = |&id: &ValueId| {
            let missing = || EngineError::Invalid(format!("output `{}` has no value", graph.value(id).name));
            frame.get(id, self.limit)?.ok_or_else(missing)
        };
        graph.outputs().iter().map(output).collect()
    }

    /// A node, or a round of a body: which may have no nodes.
    fn count_step(&self) -> Result<(), EngineError> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() <= MAX_STEPS {
            return Ok(());
        }
        Err(unsupported(format!("a run of more than {MAX_STEPS} nodes")))
    }

    /// A node that may be computed on integers.
    fn integer_step(
        &self,
        work: Option<&Work>,
        step: &Step<'_>,
        taken: &mut HashMap<NodeId, usize>,
    ) -> Result<Vec<Runtime>, EngineError> {
        let Some(work) = work else { return self.step(step) };
        let Some((made, place)) = self.on_codes(work, step)? else { return self.step(step) };
        taken.extend(place);
        Ok(vec![Runtime::Tensor(made)])
    }

    fn step(&self, step: &Step<'_>) -> Result<Vec<Runtime>, EngineError> {
        let node = step.node;
        if let Some(function) = self.model.function(&node.op, node.overload()) {
            if node.op.domain.is_empty() {
                return Err(unsupported(format!("{} is a function in the standard's own domain", node.op)));
            }
            return self.call_function(function, step);
        }
        if let Some(opset) = node.opaque {
            return Err(unsupported(format!("{} in the form of opset {opset}", node.op)));
        }
        if node.op.domain.is_empty() {
            if let Some(made) = self.control_flow(step)? {
                return Ok(made);
            }
            if let Some(made) = self.on_sequences(step)? {
                return Ok(made);
            }
        }
        let tensors: Vec<Option<&TensorData>> = (step.inputs.iter())
            .map(|i| i.as_ref().map(Runtime::tensor).transpose())
            .collect::<Result<_, _>>()?;
        let made = self.kernel(&node.op, step.attrs, &tensors, step.wanted)?;
        Ok(made.into_iter().map(Runtime::Tensor).collect())
    }

    /// One call of a kernel.
    pub(super) fn kernel(
        &self,
        op: &OpName,
        attrs: &Attrs,
        inputs: &[Option<&TensorData>],
        outputs: &[bool],
    ) -> Result<Vec<TensorData>, EngineError> {
        let call = NodeCall { op, attrs, inputs, outputs, limit: self.limit };
        // What onnxruntime's own operators compute, no standard says.
        let exact = (&*op.domain == kernels::integer::MICROSOFT).then_some(Arithmetic::Exact);
        let made = self.arithmetic.or(exact).and_then(|arithmetic| kernels::integer::eval(&call, arithmetic));
        made.unwrap_or_else(|| kernels::eval(&call))
    }

    /// One call of a kernel of the standard with one output.
    pub(super) fn apply(
        &self,
        op: &str,
        attrs: &Attrs,
        inputs: &[&TensorData],
    ) -> Result<TensorData, EngineError> {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        let made = self.kernel(&OpName::onnx(op), attrs, &inputs, &[true])?;
        made.into_iter().next().ok_or_else(|| EngineError::Invalid(format!("{op} made nothing")))
    }

    fn call_function(&self, function: &Function, step: &Step<'_>) -> Result<Vec<Runtime>, EngineError> {
        let mut attrs = step.attrs.clone();
        for default in function.defaults.iter() {
            if attrs.get(&default.name).is_none() {
                attrs.push(default.clone());
            }
        }
        let mut frame = Frame::new(&function.graph, None, Some(&attrs));
        for (slot, &input) in function.graph.inputs().iter().enumerate() {
            if let Some(value) = step.input(slot) {
                frame.set(input, value.clone());
            }
        }
        // An output that the call does not ask for may be one that it cannot make, for want of an optional input.
        self.run(&self.plan(&function.graph)?, frame, step.depth + 1)
    }
}

fn release(left: &mut [u32], frame: &mut Frame<'_>, value: ValueId) {
    let Some(count) = left.get_mut(value.index()).filter(|n| **n != u32::MAX) else { return };
    *count = count.saturating_sub(1);
    if *count == 0
        && let Some(slot) = frame.values.get_mut(value.index())
    {
        *slot = None;
    }
}

/// The same error, with the node that it is about.
fn within(node: &Node, error: EngineError) -> EngineError {
    let label = node.label();
    match error {
        EngineError::Unsupported { what, .. } => unsupported(format!("{label}: {what}")),
        EngineError::Invalid(what) => EngineError::Invalid(format!("{label}: {what}")),
        EngineError::Failed { what, .. } => {
            EngineError::Failed { engine: NAME, what: format!("{label}: {what}") }
        }
        error @ EngineError::TooLarge { .. } => error,
    }
}
