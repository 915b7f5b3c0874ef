//! Drop operators that hand their input on unchanged.

use crate::prelude::*;

/// Drop `Identity`, `Dropout` in inference, and `Cast` to the type that the value already has.
///
/// Whatever read the result reads the input instead. Where the result is an output of the graph, the producer of the
/// input takes over the output's name.
///
/// *Left alone:* a `Dropout` that may run in training mode or whose mask is used, a `Cast` whose input type is not
/// known, and an operator that connects an input of the graph straight to an output.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DropIdentity {}

impl Rule for DropIdentity {
    const META: PassMeta = PassMeta::exact("drop-identity", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let op = p.op_with_any_inputs(&["Identity", "Dropout", "Cast"]);
        rule_fn(move |m, rw| {
            let node = m.node(op);
            let input = m.input(op, 0)?;
            if node.is("Dropout") {
                let training = m.graph().node_input(m.id(op), 2);
                let off = training.is_none_or(|v| m.constant_of(v).and_then(TensorData::to_i64) == Some(0));
                Skip::unless(off, "the Dropout may run in training mode")?;
                Skip::unless(!m.output_is_used(op, 1), "the mask of the Dropout is used")?;
            }
            if node.is("Cast") {
                let to = node.attrs.int("to").and_then(|code| DType::from_code(code as i32));
                match (m.dtype(input), to) {
                    (Some(from), Some(to)) if from == to => {}
                    (None, _) => return Err(Skip::because("the type of the Cast's input is not known")),
                    _ => return Err(Skip::no_concern()),
                }
            }
            rw.replace(m.output(op, 0)?, input);
            Ok(())
        })
    }
}
