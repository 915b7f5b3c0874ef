//! Drop biases of zero.

use super::uniform::uniform_value;
use crate::prelude::*;

/// Drop optional inputs that are added, where they are zero everywhere (constants, also what
/// `ConstantOfShape` or `Expand` makes of one): the bias of `Conv`, `ConvTranspose`,
/// `DeformConv`, `QLinearConv`, `Gemm` and `LayerNormalization`, the bias and the first states of `LSTM`, `GRU` and `RNN`.
///
/// *Left alone:* the zero of a `Gemm` at an opset that asks for one, where it is one number already.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DropZeroBias {}

/// Operators with the slots of inputs that may be left out, which is as good as zeros.
const BIASES: &[(&str, &[usize])] = &[
    ("Conv", &[2]),
    ("ConvTranspose", &[2]),
    ("DeformConv", &[3]),
    ("GRU", &[3, 5]),
    ("Gemm", &[2]),
    ("LSTM", &[3, 5, 6, 7]),
    ("LayerNormalization", &[2]),
    ("QLinearConv", &[8]),
    ("RNN", &[3, 5]),
];

/// From here on a `Gemm` needs no third input.
const GEMM_WITHOUT_BIAS: i64 = 11;

impl Rule for DropZeroBias {
    const META: PassMeta = PassMeta::exact("drop-zero-bias", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let names: Vec<&'static str> = BIASES.iter().map(|(name, _)| *name).collect();
        let op = p.op_with_any_inputs(&names);
        rule_fn(move |m, rw| {
            let node = m.node(op);
            let slots = BIASES.iter().find(|(name, _)| node.is(name)).map_or(&[][..], |(_, slots)| slots);
            let inputs = m.graph().node_inputs(m.id(op));
            let zero =
                |slot: usize, value: &ValueId| slots.contains(&slot) && uniform_value(m, *value) == Some(0.0);
            let mut kept: Vec<Operand> = Vec::new();
            for (slot, input) in inputs.iter().enumerate() {
                let Some(bias) = input.filter(|value| zero(slot, value)) else {
                    kept.push((*input).into());
                    continue;
                };
                let opset = m.target().opset("").unwrap_or(GEMM_WITHOUT_BIAS);
                let single = m.constant_of(bias).is_some_and(|data| data.len() == 1);
                let asked = node.is("Gemm") && opset < GEMM_WITHOUT_BIAS && single;
                Skip::unless(!asked, "the written opset asks for a third input of Gemm")?;
                kept.push(Operand::Absent);
            }
            while kept.last() == Some(&Operand::Absent) {
                kept.pop();
            }
            let present = |kept: &Operand| *kept != Operand::Absent;
            if kept.iter().filter(|k| present(k)).count() == inputs.iter().flatten().count() {
                return Err(Skip::no_concern());
            }
            let outputs = m.graph().node_outputs(m.id(op));
            rw.emit_multi(node.op.clone(), node.attrs.clone(), kept, outputs);
            Ok(())
        })
    }
}
