//! The original with zeros where weights read what goes, and what the operators sum over by the text of the standard.

use crate::analysis::Expr;
use crate::prelude::*;

use super::super::cut::Cut;

/// The inputs of a node over which it sums, with the axis.
fn summed(graph: &Graph, facts: &Facts, id: NodeId) -> Vec<(usize, usize)> {
    let node = graph.node(id);
    let int = |name: &str| node.attrs.int(name).unwrap_or(0);
    let rank = |slot: usize| graph.node_input(id, slot).and_then(|v| facts.rank(v)).unwrap_or(0);
    match &*node.op.name {
        "Conv" => vec![(0, 1), (1, 1)],
        "ConvTranspose" => vec![(0, 1), (1, 0)],
        "Gemm" => vec![(0, usize::from(int("transA") == 0)), (1, usize::from(int("transB") != 0))],
        "MatMul" => vec![(0, rank(0) - 1), (1, rank(1).saturating_sub(2))],
        "Einsum" => {
            let equation = node.attrs.str("equation").unwrap().replace(' ', "");
            let (inputs, output) = equation.split_once("->").unwrap();
            let term = |(slot, term): (usize, &str)| {
                let axes = term.char_indices().filter(|(_, label)| !output.contains(*label));
                axes.map(|(axis, _)| (slot, axis)).collect::<Vec<_>>()
            };
            inputs.split(',').enumerate().flat_map(term).collect()
        }
        "ReduceSum" => {
            let axes = graph.constant_input(id, 1).and_then(TensorData::to_i64s).unwrap();
            axes.iter().map(|&a| (0, if a < 0 { a + rank(0) as i64 } else { a } as usize)).collect()
        }
        _ => Vec::new(),
    }
}

/// The mask of an axis, as a constant that broadcasts with its value.
fn mask(facts: &Facts, axis: Axis, gone: &[u32]) -> TensorData {
    let size = facts.dim(axis.value, axis.axis).and_then(Expr::known).unwrap() as usize;
    let mut shape = vec![1; facts.rank(axis.value).unwrap()];
    shape[axis.axis] = size as u64;
    let kept: Vec<f32> = (0..size as u32).map(|i| if gone.contains(&i) { 0.0 } else { 1.0 }).collect();
    TensorData::from_slice(&shape, &kept).unwrap()
}

/// The model with zeros in the weights that read what goes; of two activations that are multiplied, in both.
pub fn masked(model: &Model, cut: &Cut) -> Model {
    let mut model = model.clone();
    let mut cx = PassContext::with_kernels(&model);
    main_graph(&mut model, &mut cx, &mut |scope, _| {
        for id in scope.graph.order()? {
            let read = summed(scope.graph, scope.facts, id).into_iter();
            let read = read.filter_map(|(slot, axis)| {
                Some((slot, Axis { value: scope.graph.node_input(id, slot)?, axis }))
            });
            let read: Vec<(usize, Axis)> = read.filter(|(_, axis)| !cut.gone(*axis).is_empty()).collect();
            let is_weight = |axis: &Axis| scope.graph.constant(axis.value).is_some();
            let weights: Vec<(usize, Axis)> =
                read.iter().copied().filter(|(_, axis)| is_weight(axis)).collect();
            for (slot, axis) in if weights.is_empty() { read } else { weights } {
                let mask = mask(scope.facts, axis, cut.gone(axis));
                let mask = scope.add_constant("mask", mask)?;
                let inputs = [Some(axis.value), Some(mask)];
                let (op, attrs) = (OpName::onnx("Mul"), Attrs::new());
                let new = NewOp { pass: "test", stands_for: &[id], op, attrs, inputs: &inputs };
                let product = scope.append(new, "masked")?;
                scope.feed(id, slot, product)?;
            }
        }
        Ok(())
    })
    .unwrap();
    model
}
