//! Operators on sequences and optionals.

use super::bodies::graph;
use super::frame::{Machine, Step};
use super::value::Runtime;
use crate::engine::EngineError;
use crate::ir::{Attrs, TensorData};

impl Machine<'_> {
    /// The outputs of an operator that makes or takes what is no tensor; `None` for any other.
    pub(super) fn on_sequences(&self, step: &Step<'_>) -> Result<Option<Vec<Runtime>>, EngineError> {
        let one = |value: Runtime| Ok(Some(vec![value]));
        match &*step.node.op.name {
            "SequenceEmpty" => one(Runtime::Sequence(Vec::new())),
            "SequenceConstruct" => one(Runtime::Sequence(step.inputs.iter().flatten().cloned().collect())),
            "SequenceLength" => {
                let length = step.need(0)?.items()?.len();
                one(Runtime::Tensor(TensorData::scalar(length as i64)))
            }
            "SequenceAt" => {
                let items = step.need(0)?.items()?;
                let at = place(step.need(1)?.int()?, items.len(), items.len())?;
                one(items.get(at).cloned().ok_or_else(|| outside(at as i64))?)
            }
            "SequenceInsert" => {
                let mut items = step.need(0)?.items()?.to_vec();
                let at = match step.input(2) {
                    Some(at) => place(at.int()?, items.len(), items.len() + 1)?,
                    None => items.len(),
                };
                items.insert(at, step.need(1)?.clone());
                one(Runtime::Sequence(items))
            }
            "SequenceErase" => {
                let mut items = step.need(0)?.items()?.to_vec();
                let at = step.input(1).map_or(Ok(-1), Runtime::int)?;
                items.remove(place(at, items.len(), items.len())?);
                one(Runtime::Sequence(items))
            }
            "ConcatFromSequence" => {
                let items = step.need(0)?.items()?.iter();
                let items: Vec<TensorData> = items.map(|i| i.tensor().cloned()).collect::<Result<_, _>>()?;
                let axis = step.attrs.int("axis").unwrap_or(0);
                let new_axis = step.attrs.int("new_axis").unwrap_or(0) != 0;
                one(Runtime::Tensor(self.join(&items, axis, new_axis)?))
            }
            "SplitToSequence" => one(Runtime::Sequence(self.split(step)?)),
            "SequenceMap" => self.map_sequence(step).map(Some),
            "Optional" => one(Runtime::Optional(step.input(0).cloned().map(Box::new))),
            "OptionalHasElement" => {
                let has = !matches!(step.input(0), None | Some(Runtime::Optional(None)));
                one(Runtime::Tensor(TensorData::scalar(has)))
            }
            "OptionalGetElement" => match step.need(0)? {
                Runtime::Optional(Some(inner)) => one((**inner).clone()),
                Runtime::Optional(None) => Err(EngineError::Invalid("the optional is empty".to_owned())),
                value => one(value.clone()),
            },
            "Identity" => match step.need(0)? {
                Runtime::Tensor(_) => Ok(None),
                value => one(value.clone()),
            },
            _ => Ok(None),
        }
    }

    fn split(&self, step: &Step<'_>) -> Result<Vec<Runtime>, EngineError> {
        let data = step.need(0)?.tensor()?;
        let axis = step.attrs.int("axis").unwrap_or(0);
        let at = if axis < 0 { axis + data.rank() as i64 } else { axis };
        let size = usize::try_from(at).ok().and_then(|at| data.dims().get(at).copied());
        let size = size.ok_or_else(|| EngineError::Invalid(format!("{axis} is no axis of {data:?}")))? as i64;
        let wrong = || EngineError::Invalid(format!("its split does not fit an axis of size {size}"));
        let Some(split) = step.input(1) else {
            let keep = step.attrs.int("keepdims").unwrap_or(1) != 0;
            let part =
                |i: i64| if keep { self.range(data, axis, i, i + 1) } else { self.slice(data, axis, i) };
            return (0..size).map(|i| part(i).map(Runtime::Tensor)).collect();
        };
        let split = split.tensor()?;
        let sizes = split.to_i64s().ok_or_else(wrong)?;
        let sizes: Vec<i64> = match (split.rank(), sizes.as_slice()) {
            (0, &[chunk]) if chunk > 0 => {
                (0..size).step_by(chunk as usize).map(|from| chunk.min(size - from)).collect()
            }
            (1, sizes) => sizes.to_vec(),
            _ => return Err(wrong()),
        };
        let total = sizes.iter().try_fold(0i64, |sum, &n| sum.checked_add(n).filter(|_| n >= 0));
        if total != Some(size) {
            return Err(wrong());
        }
        let mut from = 0;
        let parts = sizes.into_iter().map(|n| {
            from += n;
            self.range(data, axis, from - n, from).map(Runtime::Tensor)
        });
        parts.collect()
    }

    fn range(&self, data: &TensorData, axis: i64, from: i64, to: i64) -> Result<TensorData, EngineError> {
        let [from, to, axis] = [from, to, axis].map(|n| TensorData::vector(&[n]));
        self.apply("Slice", &Attrs::new(), &[data, &from, &to, &axis])
    }

    fn map_sequence(&self, step: &Step<'_>) -> Result<Vec<Runtime>, EngineError> {
        let body = graph(step, "body")?;
        let plan = self.plan(body)?;
        let length = step.need(0)?.items()?.len();
        let mut results: Vec<Vec<Runtime>> = vec![Vec::new(); body.outputs().len()];
        for at in 0..length {
            let item = |input: &Option<Runtime>| match input {
                Some(Runtime::Sequence(items)) => {
                    items.get(at).cloned().map(Some).ok_or_else(|| outside(at as i64))
                }
                other => Ok(other.clone()),
            };
            let inputs = step.inputs.iter().map(item).collect::<Result<_, _>>()?;
            for (result, item) in results.iter_mut().zip(self.body(&plan, inputs, step)?) {
                result.push(item);
            }
        }
        Ok(results.into_iter().map(Runtime::Sequence).collect())
    }
}

/// A place in a sequence, counted from the back where negative.
fn place(at: i64, length: usize, end: usize) -> Result<usize, EngineError> {
    let from_front = if at < 0 { at.saturating_add(length as i64) } else { at };
    usize::try_from(from_front).ok().filter(|&i| i < end).ok_or_else(|| outside(at))
}

fn outside(at: i64) -> EngineError {
    EngineError::Invalid(format!("there is no item {at} in the sequence"))
}
