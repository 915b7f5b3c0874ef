//! Drop an `Expand` in front of an operator that broadcasts.

use crate::prelude::*;

/// Let an operator that works element by element read what an `Expand` before it starts from, where its result has the same
/// dims without.
///
/// Along every axis, either that or another input has to have the size of the result.
///
/// *Left alone:* an axis along which only the `Expand` widens the result, or may do so.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DropBroadcastExpand {}

/// Operators whose inputs broadcast to each other.
const BROADCAST: &[&str] = &[
    "Add",
    "And",
    "BitShift",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Or",
    "Pow",
    "Sub",
    "Sum",
    "Where",
    "Xor",
];

impl Rule for DropBroadcastExpand {
    const META: PassMeta = PassMeta::exact("drop-broadcast-expand", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let op = p.op_with_any_inputs(BROADCAST);
        rule_fn(move |m, rw| {
            let graph = m.graph();
            let inputs: Vec<ValueId> = graph.node_inputs(m.id(op)).into_iter().flatten().collect();
            let start = |v: ValueId| {
                let (id, _) = graph.producer(v).filter(|&(id, _)| graph.node(id).is("Expand"))?;
                graph.node_input(id, 0)
            };
            let expanded = inputs.iter().any(|&v| start(v).is_some());
            if !expanded {
                return Err(Skip::no_concern());
            }
            let output = m.output(op, 0)?;
            let fits = |inputs: &[ValueId]| same_dims(m.facts(), inputs, output);
            let mut narrow = inputs.clone();
            for slot in 0..inputs.len() {
                if let Some(from) = start(inputs[slot]) {
                    let wide = std::mem::replace(&mut narrow[slot], from);
                    if fits(&narrow) != Some(true) {
                        narrow[slot] = wide;
                    }
                }
            }
            Skip::unless(narrow != inputs, "only the Expand is known to make the result as wide as it is")?;
            let node = m.node(op);
            rw.emit(&node.op.name, node.attrs.clone(), narrow.into_iter().map(Operand::from), output);
            Ok(())
        })
    }
}

/// Whether inputs broadcast to the dims of a value for certain; they are known to broadcast to no more.
fn same_dims(facts: &Facts, inputs: &[ValueId], value: ValueId) -> Option<bool> {
    let dims = facts.shape(value)?;
    let shapes: Vec<&[Expr]> = inputs.iter().map(|&v| facts.shape(v)).collect::<Option<_>>()?;
    Some(
        dims.iter().rev().enumerate().all(|(from_back, dim)| {
            shapes.iter().any(|shape| shape.iter().rev().nth(from_back) == Some(dim))
        }),
    )
}
