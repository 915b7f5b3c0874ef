//! What callers give and get, where a pass changes its types or the order of its axes.

use anyhow::{Context, Result, ensure};
use onnxpress::engine::Bindings;
use onnxpress::engine::inputs::{DefaultDims, InputPlan};
use onnxpress::ir::{DType, Model, TensorData};

/// The same inputs as another model wants them.
pub fn inputs_of(model: &Model, bindings: &Bindings, inputs: &[TensorData]) -> Result<Vec<TensorData>> {
    let plan = InputPlan::of(model, bindings, DefaultDims { spatial: 8, other: 4 })?;
    ensure!(plan.inputs.len() == inputs.len(), "the number of inputs changed; say `differs: true`");
    inputs.iter().zip(&plan.inputs).map(|(data, spec)| like(data, spec.dtype, &spec.dims)).collect()
}

/// Answers as another model gives them.
pub fn answers_like(answers: &[TensorData], wanted: &[TensorData]) -> Result<Vec<TensorData>> {
    answers.iter().zip(wanted).map(|(data, other)| like(data, other.dtype(), other.dims())).collect()
}

/// The tensor in another element type, with its axes in another order where only that gives it those dims.
fn like(data: &TensorData, dtype: DType, dims: &[u64]) -> Result<TensorData> {
    if data.dtype() == dtype && data.dims() == dims {
        return Ok(data.clone());
    }
    let numbers =
        |t: &TensorData| t.to_f64s().or_else(|| Some(t.to_i64s()?.iter().map(|&x| x as f64).collect()));
    let items = numbers(data).context("a tensor of no numbers changed its type")?;
    let rank = dims.len();
    let orders = [(0..rank).collect::<Vec<_>>(), last(rank), second(rank)];
    let moved = |order: &Vec<usize>| order.iter().map(|&axis| data.dims()[axis]).collect::<Vec<_>>();
    ensure!(rank == data.dims().len(), "the rank of an input or output changed");
    let order = orders.iter().find(|order| moved(order) == dims).context("dims changed")?;
    crate::draw::tensor(dtype, dims, &transposed(&items, data.dims(), order))
}

fn last(rank: usize) -> Vec<usize> {
    (0..1.min(rank)).chain(2..rank).chain((1..rank).take(1)).collect()
}

fn second(rank: usize) -> Vec<usize> {
    (0..1.min(rank)).chain((1..rank).rev().take(1)).chain(1..rank.max(2) - 1).collect()
}

fn transposed(items: &[f64], dims: &[u64], order: &[usize]) -> Vec<f64> {
    let dims: Vec<usize> = dims.iter().map(|&d| d as usize).collect();
    let stride = |axis: usize| dims[axis + 1..].iter().product::<usize>();
    let place = |mut at: usize| {
        let mut from = 0;
        for &axis in order.iter().rev() {
            from += at % dims[axis] * stride(axis);
            at /= dims[axis];
        }
        from
    };
    (0..items.len()).map(|at| items[place(at)]).collect()
}
