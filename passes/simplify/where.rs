//! Resolve selections that are decided.

use super::uniform::uniform_value;
use crate::prelude::*;

/// Replace a `Where` whose condition is constant, and the same everywhere, by the branch that is taken; one whose branches
/// are one value by that; and let a `Where` of a `Not` do without the `Not`, its branches swapped.
///
/// *Left alone:* a branch that is not known to have the dims of the result.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResolveWhere {}

impl Rule for ResolveWhere {
    const META: PassMeta = PassMeta::exact("resolve-where", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let (condition, a, b) = (p.any(), p.any(), p.any());
        let op = p.op("Where", (condition, a, b));
        rule_fn(move |m, rw| {
            let (condition, a, b, output) = (m.value(condition), m.value(a), m.value(b), m.output(op, 0)?);
            let decided = uniform_value(m, condition);
            if m.dtype(condition).is_some_and(|dtype| dtype != DType::Bool) {
                return Err(Skip::no_concern());
            }
            let taken = match decided {
                _ if a == b => Some(a),
                Some(number) => Some(if number == 0.0 { b } else { a }),
                None => None,
            };
            if let Some(taken) = taken {
                let same = m.facts().same_shape(taken, output);
                Skip::unless(same, "the branch that is taken may have other dims than the result")?;
                rw.replace(output, taken);
                return Ok(());
            }
            let graph = m.graph();
            let not = graph.producer(condition).map(|(node, _)| node).filter(|&id| graph.node(id).is("Not"));
            let opposite = not.and_then(|id| graph.node_input(id, 0)).ok_or_else(Skip::no_concern)?;
            rw.emit("Where", Attrs::new(), [opposite.into(), b.into(), a.into()], output);
            Ok(())
        })
    }
}
