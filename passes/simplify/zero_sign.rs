//! Whether the sign of a zero can be told.

use std::collections::BTreeSet;

use crate::prelude::*;

/// How many operators are looked at before the answer is that the sign may be told.
const HORIZON: usize = 64;

/// Operators whose result does not depend on the sign of a zero: they compare, count, round to integers, or add up
/// products in an order that the standard leaves open.
const FORGETS: &[&str] = &[
    "Abs",
    "ArgMax",
    "ArgMin",
    "Conv",
    "ConvTranspose",
    "Cos",
    "Cosh",
    "DynamicQuantizeLinear",
    "Equal",
    "Exp",
    "Gemm",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "IsInf",
    "IsNaN",
    "LSTM",
    "Less",
    "LessOrEqual",
    "Log",
    "LogSoftmax",
    "MatMul",
    "NonMaxSuppression",
    "NonZero",
    "Not",
    "QuantizeLinear",
    "Shape",
    "Sigmoid",
    "Size",
    "Softmax",
    "Softplus",
];

/// Operators that hand the sign on, or lose it.
const PASSES_ON: &[&str] = &[
    "Add",
    "Asin",
    "Atan",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Ceil",
    "Clip",
    "Concat",
    "DepthToSpace",
    "Dropout",
    "Elu",
    "Erf",
    "Expand",
    "Flatten",
    "Floor",
    "Gather",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSwish",
    "Identity",
    "InstanceNormalization",
    "LayerNormalization",
    "LeakyRelu",
    "Max",
    "MaxPool",
    "Mean",
    "Min",
    "Mul",
    "Neg",
    "PRelu",
    "Pad",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Resize",
    "Round",
    "Sign",
    "Sin",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Tanh",
    "Tile",
    "Transpose",
    "Unsqueeze",
    "Where",
];

/// Whether what reads a value may give another number for `-0.0` than for `0.0`: directly, or further downstream. Outputs
/// of the graph do not tell: the two are equal.
pub(super) fn may_tell_zeros(graph: &Graph, value: ValueId) -> bool {
    let mut seen = BTreeSet::new();
    let mut front = vec![value];
    while let Some(value) = front.pop() {
        for (user, slot) in graph.uses(value) {
            let node = graph.node(user);
            let is_one_of = |names: &[&str]| names.iter().any(|name| node.is(name));
            let tells = node.is("Div") && slot == Some(1)
                || node.is("Cast") && node.attrs.int("to") == Some(DType::String.code().into());
            if slot.is_none() || tells || seen.len() >= HORIZON {
                return true;
            }
            if is_one_of(FORGETS) || !seen.insert(user) {
                continue;
            }
            if !is_one_of(PASSES_ON) && !node.is("Div") {
                return true;
            }
            front.extend(graph.node_outputs(user).into_iter().flatten());
        }
    }
    false
}
