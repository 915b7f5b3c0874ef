//! Let arithmetic take up signs and reciprocals.

use super::zero_sign::may_tell_zeros;
use crate::prelude::*;

/// Let the arithmetic that reads a `Neg` or a `Reciprocal` do its work.
///
/// * `a + (-b)` becomes `a - b`, `a - (-b)` becomes `a + b`, `(-a) * (-b)` and `(-a) / (-b)` lose both signs, `-(a - b)` becomes
///   `b - a`.
/// * `a * (1 / b)` becomes `a / b`, `a / (1 / b)` becomes `a * b`, which is one rounding less.
///
/// *Left alone:* a `Neg`, `Reciprocal` or `Sub` that others read; `-(a - b)` whose zeros, which change their sign, an operator
/// downstream may tell apart.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AbsorbSigns {}

impl Rule for AbsorbSigns {
    const META: PassMeta = PassMeta::exact("absorb-signs", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let op = p.op_with_any_inputs(&["Add", "Div", "Mul", "Neg", "Sub"]);
        rule_fn(move |m, rw| {
            let (graph, output) = (m.graph(), m.output(op, 0)?);
            let under = |value: ValueId, name: &str| {
                let node =
                    graph.producer(value).map(|(node, _)| node).filter(|&id| graph.node(id).is(name))?;
                Some((node, graph.node_input(node, 0)?))
            };
            let a = m.input(op, 0)?;
            if m.node(op).is("Neg") {
                let (difference, a) = under(a, "Sub").ok_or_else(Skip::no_concern)?;
                let b = graph.node_input(difference, 1).ok_or_else(Skip::no_concern)?;
                let told = may_tell_zeros(graph, output);
                Skip::unless(!told, "an operator downstream may tell 0.0 from -0.0")?;
                rw.remove(difference);
                rw.emit("Sub", Attrs::new(), [b.into(), a.into()], output);
                return Ok(());
            }
            let b = m.input(op, 1)?;
            let (negated, inverse) = (|value| under(value, "Neg"), |value| under(value, "Reciprocal"));
            let name = &*m.node(op).op.name;
            let (gone, name, a, b) = match name {
                "Add" => match (negated(a), negated(b)) {
                    (_, Some((node, b))) => (vec![node], "Sub", a, b),
                    (Some((node, a)), None) => (vec![node], "Sub", b, a),
                    _ => return Err(Skip::no_concern()),
                },
                "Sub" => {
                    let (node, b) = negated(b).ok_or_else(Skip::no_concern)?;
                    (vec![node], "Add", a, b)
                }
                _ => match (negated(a), negated(b), inverse(a), inverse(b)) {
                    (Some((one, a)), Some((other, b)), ..) => (vec![one, other], name, a, b),
                    (.., Some((node, b))) => (vec![node], if name == "Mul" { "Div" } else { "Mul" }, a, b),
                    (.., Some((node, a)), None) if name == "Mul" => (vec![node], "Div", b, a),
                    _ => return Err(Skip::no_concern()),
                },
            };
            gone.iter().for_each(|&node| rw.remove(node));
            rw.emit(name, Attrs::new(), [a.into(), b.into()], output);
            Ok(())
        })
    }
}
