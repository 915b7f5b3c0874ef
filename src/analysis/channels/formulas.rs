//! Which formula goes with which operator of the standard.
//!
//! A formula sees a node in the newest form of its operator. It speaks of every axis of every input and output: ties it,
//! frees it or freezes it; what it leaves out is frozen. `None`: the form is not understood, and all is frozen.

use super::ties::{Site, Ties};
use super::{layout, linear, norm, pointwise, reshape, select, sizes};

/// What an operator ties together.
pub(super) type Formula = fn(&Site<'_>, &mut Ties) -> Option<()>;

/// The formula of an operator; `None` where there is none.
pub(super) fn formula(name: &str) -> Option<Formula> {
    let at = FORMULAS.binary_search_by(|(op, _)| (*op).cmp(name)).ok()?;
    FORMULAS.get(at).map(|(_, formula)| *formula)
}

/// The operators that have a formula.
#[cfg(test)]
pub(crate) fn operators() -> impl Iterator<Item = &'static str> {
    FORMULAS.iter().map(|(op, _)| *op)
}

/// Sorted by name.
const FORMULAS: &[(&str, Formula)] = &[
    ("Abs", pointwise::each),
    ("Acos", pointwise::each),
    ("Acosh", pointwise::each),
    ("Add", pointwise::broadcast),
    ("And", pointwise::broadcast),
    ("ArgMax", norm::reduce),
    ("ArgMin", norm::reduce),
    ("Asin", pointwise::each),
    ("Asinh", pointwise::each),
    ("Atan", pointwise::each),
    ("Atanh", pointwise::each),
    ("Attention", linear::attention),
    ("AveragePool", layout::pool),
    ("BatchNormalization", norm::batch),
    ("BitShift", pointwise::broadcast),
    ("BitwiseAnd", pointwise::broadcast),
    ("BitwiseNot", pointwise::each),
    ("BitwiseOr", pointwise::broadcast),
    ("BitwiseXor", pointwise::broadcast),
    ("Cast", pointwise::each),
    ("CastLike", pointwise::first),
    ("Ceil", pointwise::each),
    ("Celu", pointwise::each),
    ("Clip", pointwise::first),
    ("Concat", select::concat),
    ("ConstantOfShape", select::made),
    ("Conv", linear::conv),
    ("ConvTranspose", linear::conv_transpose),
    ("Cos", pointwise::each),
    ("Cosh", pointwise::each),
    ("CumSum", norm::along_input),
    ("DepthToSpace", layout::depth_to_space),
    ("DequantizeLinear", norm::quantize),
    ("Div", pointwise::broadcast),
    ("Dropout", pointwise::first),
    ("Einsum", linear::einsum),
    ("Elu", pointwise::each),
    ("Equal", pointwise::broadcast),
    ("Erf", pointwise::each),
    ("Exp", pointwise::each),
    ("Expand", layout::expand),
    ("Flatten", reshape::later),
    ("Floor", pointwise::each),
    ("Gather", select::gather),
    ("Gelu", pointwise::each),
    ("Gemm", linear::gemm),
    ("GlobalAveragePool", layout::pool),
    ("GlobalLpPool", layout::pool),
    ("GlobalMaxPool", layout::pool),
    ("Greater", pointwise::broadcast),
    ("GreaterOrEqual", pointwise::broadcast),
    ("GridSample", layout::pool),
    ("GroupNormalization", norm::group),
    ("HardSigmoid", pointwise::each),
    ("HardSwish", pointwise::each),
    ("Hardmax", norm::along),
    ("Identity", pointwise::each),
    ("InstanceNormalization", norm::instance),
    ("IsInf", pointwise::each),
    ("IsNaN", pointwise::each),
    ("LayerNormalization", norm::layer),
    ("LeakyRelu", pointwise::each),
    ("Less", pointwise::broadcast),
    ("LessOrEqual", pointwise::broadcast),
    ("Log", pointwise::each),
    ("LogSoftmax", norm::along),
    ("LpNormalization", norm::along),
    ("LpPool", layout::pool),
    ("MatMul", linear::matmul),
    ("Max", pointwise::broadcast),
    ("MaxPool", layout::pool),
    ("Mean", pointwise::broadcast),
    ("Min", pointwise::broadcast),
    ("Mish", pointwise::each),
    ("Mod", pointwise::broadcast),
    ("Mul", pointwise::broadcast),
    ("Neg", pointwise::each),
    ("Not", pointwise::each),
    ("Or", pointwise::broadcast),
    ("PRelu", pointwise::broadcast),
    ("Pad", layout::pad),
    ("Pow", pointwise::broadcast),
    ("QuantizeLinear", norm::quantize),
    ("RMSNormalization", norm::layer),
    ("Reciprocal", pointwise::each),
    ("ReduceL1", norm::reduce),
    ("ReduceL2", norm::reduce),
    ("ReduceLogSum", norm::reduce),
    ("ReduceLogSumExp", norm::reduce),
    ("ReduceMax", norm::reduce),
    ("ReduceMean", norm::reduce),
    ("ReduceMin", norm::reduce),
    ("ReduceProd", norm::reduce),
    ("ReduceSum", norm::reduce),
    ("ReduceSumSquare", norm::reduce),
    ("Relu", pointwise::each),
    ("Reshape", reshape::later),
    ("Resize", layout::resize),
    ("RoiAlign", layout::roi_align),
    ("Round", pointwise::each),
    ("Selu", pointwise::each),
    ("Shape", sizes::dims),
    ("Shrink", pointwise::each),
    ("Sigmoid", pointwise::each),
    ("Sign", pointwise::each),
    ("Sin", pointwise::each),
    ("Sinh", pointwise::each),
    ("Size", sizes::dims),
    ("Slice", select::slice),
    ("Softmax", norm::along),
    ("Softplus", pointwise::each),
    ("Softsign", pointwise::each),
    ("SpaceToDepth", layout::space_to_depth),
    ("Split", select::split),
    ("Sqrt", pointwise::each),
    ("Squeeze", reshape::later),
    ("Sub", pointwise::broadcast),
    ("Sum", pointwise::broadcast),
    ("Swish", pointwise::each),
    ("Tan", pointwise::each),
    ("Tanh", pointwise::each),
    ("ThresholdedRelu", pointwise::each),
    ("Tile", layout::tile),
    ("Transpose", layout::transpose),
    ("Unsqueeze", reshape::later),
    ("Where", pointwise::broadcast),
    ("Xor", pointwise::broadcast),
];

#[cfg(test)]
mod tests {
    use super::FORMULAS;

    #[test]
    fn the_table_is_sorted_and_of_the_standard() {
        assert!(FORMULAS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (name, _) in FORMULAS {
            assert!(crate::schema::newest("", name).is_some(), "{name}");
        }
    }
}
