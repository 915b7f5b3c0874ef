//! Drop outputs that nothing reads.

use crate::prelude::*;

/// Drop optional outputs that nothing reads, so that runtimes do not compute them: the indices of `MaxPool`, the mask of
/// `Dropout`, the mean and deviation of `LayerNormalization`, the states of `LSTM`, `GRU` and `RNN`, the indices of `Unique`, the
/// caches of `Attention`.
///
/// *Left alone:* the first output, even where only others are read; those of `BatchNormalization` in training mode.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DropOutputs {}

impl Rule for DropOutputs {
    const META: PassMeta = PassMeta::exact("drop-outputs", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let names =
            &["Attention", "Dropout", "GRU", "LSTM", "LayerNormalization", "MaxPool", "RNN", "Unique"];
        let op = p.op_with_any_inputs(names);
        rule_fn(move |m, rw| {
            let (node, id) = (m.node(op), m.id(op));
            let outputs = m.graph().node_outputs(id);
            let kept = |(slot, output): (usize, &Option<ValueId>)| {
                output.filter(|_| slot == 0 || m.output_is_used(op, slot))
            };
            let mut kept: Vec<Option<ValueId>> = outputs.iter().enumerate().map(kept).collect();
            if kept.iter().flatten().count() == outputs.iter().flatten().count() {
                return Err(Skip::no_concern());
            }
            while kept.last() == Some(&None) {
                kept.pop();
            }
            let inputs = m.graph().node_inputs(id).into_iter().map(Operand::from);
            rw.emit_multi(node.op.clone(), node.attrs.clone(), inputs, kept);
            Ok(())
        })
    }
}
