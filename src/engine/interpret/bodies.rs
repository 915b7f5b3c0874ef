//! `If`, `Loop` and `Scan`.

use super::frame::{Frame, Machine, Plan, Step};
use super::unsupported;
use super::value::Runtime;
use crate::engine::EngineError;
use crate::ir::{Attrs, Dim, Graph, TensorData, ValueId};

/// A loop that runs longer is taken for one that never ends.
const MAX_ROUNDS: u64 = 1 << 20;

impl Machine<'_> {
    /// The outputs of an operator with bodies; `None` for any other.
    pub(super) fn control_flow(&self, step: &Step<'_>) -> Result<Option<Vec<Runtime>>, EngineError> {
        match &*step.node.op.name {
            "If" => self.branch(step).map(Some),
            "Loop" => self.repeat(step).map(Some),
            "Scan" => self.scan(step).map(Some),
            _ => Ok(None),
        }
    }

    /// Runs a body once.
    pub(super) fn body(
        &self,
        plan: &Plan<'_>,
        inputs: Vec<Option<Runtime>>,
        step: &Step<'_>,
    ) -> Result<Vec<Runtime>, EngineError> {
        let graph = plan.graph;
        if inputs.len() != graph.inputs().len() {
            let what = format!("its body has {} inputs, not {}", graph.inputs().len(), inputs.len());
            return Err(EngineError::Invalid(what));
        }
        let mut frame = Frame::new(graph, Some(step.frame), step.frame.call());
        for (&id, value) in graph.inputs().iter().zip(inputs) {
            if let Some(value) = value {
                frame.set(id, value);
            }
        }
        self.run(plan, frame, step.depth + 1)
    }

    fn branch(&self, step: &Step<'_>) -> Result<Vec<Runtime>, EngineError> {
        let name = if step.need(0)?.int()? != 0 { "then_branch" } else { "else_branch" };
        self.body(&self.plan(graph(step, name)?)?, Vec::new(), step)
    }

    fn repeat(&self, step: &Step<'_>) -> Result<Vec<Runtime>, EngineError> {
        let body = graph(step, "body")?;
        let plan = self.plan(body)?;
        let limit = step.input(0).map(Runtime::int).transpose()?;
        let condition = step.input(1).map(Runtime::int).transpose()?;
        let mut go_on = condition.is_none_or(|c| c != 0);
        let mut carried: Vec<Option<Runtime>> = step.inputs.iter().skip(2).cloned().collect();
        let count = body.inputs().len().saturating_sub(2);
        carried.resize(count, None);
        let mut stacks: Vec<Vec<TensorData>> = vec![Vec::new(); scans(body, count + 1)?];
        let mut round = 0u64;
        while go_on && limit.is_none_or(|n| (round as i64) < n) {
            if round >= MAX_ROUNDS {
                return Err(unsupported(format!("a loop of more than {MAX_ROUNDS} rounds")));
            }
            let mut inputs = vec![
                Some(scalar_for(body, 0, TensorData::scalar(round as i64))),
                Some(scalar_for(body, 1, TensorData::scalar(true))),
            ];
            inputs.append(&mut carried);
            let mut outputs = self.body(&plan, inputs, step)?.into_iter();
            go_on = outputs.next().map(|c| c.int()).transpose()?.unwrap_or(0) != 0;
            carried = outputs.by_ref().take(count).map(Some).collect();
            for (stack, item) in stacks.iter_mut().zip(outputs) {
                stack.push(item.into_tensor()?);
            }
            round += 1;
            if !go_on && condition.is_none() && limit.is_none_or(|n| (round as i64) < n) {
                // The standard says to ignore the body's condition then; the engines that are in use obey it.
                return Err(unsupported("a loop without a condition whose body ends it early"));
            }
        }
        let carried = carried.into_iter().map(|value| {
            value.ok_or_else(|| EngineError::Invalid("a carried value has no initial value".to_owned()))
        });
        let mut results: Vec<Runtime> = carried.collect::<Result<_, _>>()?;
        for (at, stack) in stacks.into_iter().enumerate() {
            let output = body.outputs().get(count + 1 + at).copied();
            results.push(Runtime::Tensor(self.stack(body, output, &stack, 0)?));
        }
        Ok(results)
    }

    /// Puts equal tensors one after the other along a new axis.
    fn stack(
        &self,
        body: &Graph,
        output: Option<ValueId>,
        items: &[TensorData],
        axis: i64,
    ) -> Result<TensorData, EngineError> {
        if items.is_empty() {
            let ty = output.map(|v| &body.value(v).ty);
            let none = || unsupported("a loop of no rounds whose scan output has dims that are not declared");
            let (dtype, shape) = ty.and_then(|t| Some((t.dtype()?, t.shape()?))).ok_or_else(none)?;
            let mut dims: Vec<u64> = shape.iter().map(Dim::known).collect::<Option<_>>().ok_or_else(none)?;
            let at = if axis < 0 { axis + dims.len() as i64 + 1 } else { axis };
            let at = usize::try_from(at).ok().filter(|&at| at <= dims.len());
            dims.insert(at.ok_or_else(|| EngineError::Invalid(format!("{axis} is no axis")))?, 0);
            let empty = if dtype == crate::ir::DType::String {
                TensorData::strings(&dims, Vec::new())
            } else {
                TensorData::new(dtype, &dims, Vec::new())
            };
            return empty.map_err(|e| EngineError::Invalid(e.to_string()));
        }
        self.join(items, axis, true)
    }

    /// `Concat`, along an axis that is there or along a new one.
    pub(super) fn join(
        &self,
        items: &[TensorData],
        axis: i64,
        new_axis: bool,
    ) -> Result<TensorData, EngineError> {
        let axes = TensorData::vector(&[axis]);
        let raised: Vec<TensorData> = if new_axis {
            let raise = |item: &TensorData| self.apply("Unsqueeze", &Attrs::new(), &[item, &axes]);
            items.iter().map(raise).collect::<Result<_, _>>()?
        } else {
            items.to_vec()
        };
        self.apply("Concat", &Attrs::new().with("axis", axis), &raised.iter().collect::<Vec<_>>())
    }

    /// One slice of a tensor along an axis, without that axis.
    pub(super) fn slice(&self, data: &TensorData, axis: i64, at: i64) -> Result<TensorData, EngineError> {
        self.apply("Gather", &Attrs::new().with("axis", axis), &[data, &TensorData::scalar(at)])
    }

    fn scan(&self, step: &Step<'_>) -> Result<Vec<Runtime>, EngineError> {
        let body = graph(step, "body")?;
        let plan = self.plan(body)?;
        let wrong = || EngineError::Invalid("num_scan_inputs does not fit the inputs".to_owned());
        let scanned = step.attrs.int("num_scan_inputs").and_then(|n| usize::try_from(n).ok());
        let scanned = scanned.filter(|&n| n > 0).ok_or_else(wrong)?;
        let states = step.inputs.len().checked_sub(scanned).ok_or_else(wrong)?;
        let mut carried: Vec<Option<Runtime>> = step.inputs[..states].to_vec();
        let sources = (states..step.inputs.len()).map(|slot| step.need(slot)?.tensor());
        let sources: Vec<&TensorData> = sources.collect::<Result<_, _>>()?;
        let (axes, reversed) = (list(step, "scan_input_axes"), list(step, "scan_input_directions"));
        let lengths = sources.iter().enumerate().map(|(i, data)| {
            let axis = axis_of(at(axes, i), data.rank());
            axis.and_then(|a| data.dims().get(a).copied()).ok_or_else(wrong)
        });
        let lengths: Vec<u64> = lengths.collect::<Result<_, _>>()?;
        let rounds = lengths.first().copied().unwrap_or(0);
        if lengths.iter().any(|&n| n != rounds) {
            return Err(EngineError::Invalid(format!("its scan inputs have lengths {lengths:?}")));
        }
        let mut stacks: Vec<Vec<TensorData>> = vec![Vec::new(); scans(body, states)?];
        for round in 0..rounds as i64 {
            let mut inputs = std::mem::take(&mut carried);
            for (i, data) in sources.iter().enumerate() {
                let place = if at(reversed, i) == 1 { rounds as i64 - 1 - round } else { round };
                inputs.push(Some(Runtime::Tensor(self.slice(data, at(axes, i), place)?)));
            }
            let mut outputs = self.body(&plan, inputs, step)?.into_iter();
            carried = outputs.by_ref().take(states).map(Some).collect();
            for (stack, item) in stacks.iter_mut().zip(outputs) {
                stack.push(item.into_tensor()?);
            }
        }
        let mut results: Vec<Runtime> = carried.into_iter().flatten().collect();
        let (axes, reversed) = (list(step, "scan_output_axes"), list(step, "scan_output_directions"));
        for (i, mut stack) in stacks.into_iter().enumerate() {
            if at(reversed, i) == 1 {
                stack.reverse();
            }
            let output = body.outputs().get(states + i).copied();
            results.push(Runtime::Tensor(self.stack(body, output, &stack, at(axes, i))?));
        }
        Ok(results)
    }
}

/// A body of the node.
pub(super) fn graph<'s>(step: &Step<'s>, name: &str) -> Result<&'s Graph, EngineError> {
    let found = step.attrs.graph(name);
    found.ok_or_else(|| EngineError::Invalid(format!("attribute `{name}` is no body")))
}

/// How many outputs of a body are stacked up, after those that are carried.
fn scans(body: &Graph, carried: usize) -> Result<usize, EngineError> {
    let wrong = || EngineError::Invalid("its body has fewer outputs than it carries values".to_owned());
    body.outputs().len().checked_sub(carried).ok_or_else(wrong)
}

/// The number of a round, or the condition: a scalar, or a tensor of one element where the body declares that.
fn scalar_for(body: &Graph, input: usize, scalar: TensorData) -> Runtime {
    let rank = body.inputs().get(input).and_then(|&v| body.value(v).ty.rank());
    let vector = if rank == Some(1) { scalar.with_dims(&[1]) } else { None };
    Runtime::Tensor(vector.unwrap_or(scalar))
}

fn list<'s>(step: &Step<'s>, name: &str) -> &'s [i64] {
    step.attrs.ints(name).unwrap_or_default()
}

fn at(items: &[i64], index: usize) -> i64 {
    items.get(index).copied().unwrap_or(0)
}

fn axis_of(axis: i64, rank: usize) -> Option<usize> {
    usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok().filter(|&a| a < rank)
}
