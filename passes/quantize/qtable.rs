//! Which operator on codes stands for which one on floats.

use crate::prelude::*;

use super::packed::MICROSOFT;

/// An input of an operator on codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// The codes of an input.
    Codes(usize),
    /// Their scale.
    Scale(usize),
    /// Their zero point.
    Zero(usize),
    /// Codes, scale and zero point of all inputs, one after the other.
    All,
    /// The bias as int32, if there is one.
    Bias,
    /// Scale and zero point of the result.
    Result,
}

use self::Slot::{All, Bias, Codes, Result, Scale, Zero};

/// An operator on floats, and what does the same on codes.
pub(super) struct Row {
    /// The operator on floats.
    pub op: &'static str,
    /// The domain of the one on codes.
    pub domain: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its inputs.
    pub slots: &'static [Slot],
}

const ONE: &[Slot] = &[Codes(0), Scale(0), Zero(0), Result];
const BOTH: &[Slot] = &[Codes(0), Scale(0), Zero(0), Codes(1), Scale(1), Zero(1), Result];
const CONV: &[Slot] = &[Codes(0), Scale(0), Zero(0), Codes(1), Scale(1), Zero(1), Result, Bias];
const GEMM: &[Slot] = &[Codes(0), Scale(0), Zero(0), Codes(1), Scale(1), Zero(1), Bias, Result];
const TO_FLOATS: &[Slot] = &[Codes(0), Codes(1), Scale(0), Scale(1), Zero(0), Zero(1)];

const fn row(op: &'static str, (domain, name): (&'static str, &'static str), slots: &'static [Slot]) -> Row {
    Row { op, domain, name, slots }
}

/// Operators that give codes.
pub(super) const TABLE: &[Row] = &[
    row("Add", (MICROSOFT, "QLinearAdd"), BOTH),
    row("AveragePool", (MICROSOFT, "QLinearAveragePool"), ONE),
    row("Concat", (MICROSOFT, "QLinearConcat"), &[Result, All]),
    row("Conv", ("", "QLinearConv"), CONV),
    row("Gemm", (MICROSOFT, "QGemm"), GEMM),
    row("GlobalAveragePool", (MICROSOFT, "QLinearGlobalAveragePool"), ONE),
    row("LeakyRelu", (MICROSOFT, "QLinearLeakyRelu"), ONE),
    row("MatMul", ("", "QLinearMatMul"), BOTH),
    row("Mul", (MICROSOFT, "QLinearMul"), BOTH),
    row("Sigmoid", (MICROSOFT, "QLinearSigmoid"), ONE),
    row("Softmax", (MICROSOFT, "QLinearSoftmax"), ONE),
];

/// Operators that read codes and give floats.
pub(super) const FLOATS: &[Row] =
    &[row("Gemm", (MICROSOFT, "QGemm"), GEMM), row("MatMul", (MICROSOFT, "MatMulIntegerToFloat"), TO_FLOATS)];

/// Operators whose result holds elements of their first input and nothing else, in whatever type: they do the same to codes.
/// A `Resize` is one of them where it takes the nearest.
pub(super) const KEEPING: &[&str] = &[
    "DepthToSpace",
    "Flatten",
    "Gather",
    "Identity",
    "MaxPool",
    "Reshape",
    "Resize",
    "Slice",
    "SpaceToDepth",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// The opset whose `Softmax` normalizes along one axis.
const SOFTMAX: i64 = 13;

impl Row {
    /// Whether every input is an activation.
    pub fn reads_all(&self) -> bool {
        self.slots.contains(&All)
    }

    /// How many inputs have codes.
    pub fn inputs(&self) -> usize {
        self.slots.iter().filter(|p| matches!(p, Codes(_))).count()
    }

    /// Whether it knows the attributes of an operator.
    pub fn suits(&self, node: &Node) -> bool {
        let all = |name: &str, wanted: i64| {
            node.attrs.ints(name).is_none_or(|items| items.iter().all(|&x| x == wanted))
        };
        let unit = |name: &str| node.attrs.float(name).is_none_or(|x| x.to_bits() == 1f32.to_bits());
        match self.op {
            "AveragePool" => all("dilations", 1),
            "Gemm" => unit("alpha") && unit("beta") && node.attrs.int("transA").unwrap_or(0) == 0,
            _ => true,
        }
    }

    /// Its attributes.
    pub fn attrs(&self, node: &Node) -> Attrs {
        let mut attrs = node.attrs.clone();
        match self.op {
            "AveragePool" => {
                attrs.remove("dilations");
                attrs
            }
            "Gemm" => {
                attrs.remove("beta");
                attrs
            }
            "Softmax" => attrs.with("opset", SOFTMAX),
            _ => attrs,
        }
    }
}
