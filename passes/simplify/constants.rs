//! Gather constants that are added, or multiplied with, one after the other.

use super::gathered::{Factor, Term, broadcast};
use crate::prelude::*;

/// Gather two constants into one: of `Add` and `Sub` (`(x + a) - b` is `x + (a - b)`), or of `Mul` and `Div` (`(x / a) * b` is
/// `x * (b / a)`), in whatever order they stand: `a - x` and `a / x` too.
///
/// The new constant is computed in f64 and rounded once; integers wrap as the operators do.
///
/// *Left alone:* an inner result that others read; constants that together are larger than each; a division of integers;
/// constants of opposite signs that nearly cancel, and may be there to round what lies between them; and constants that
/// are not finite, or make one that is not a normal number.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MergeConstants {}

impl Rule for MergeConstants {
    const META: PassMeta = PassMeta::exact("merge-constants", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let names = &["Add", "Div", "Mul", "Sub"];
        let (x, a, b) = (p.any(), p.constant(), p.constant());
        let inner = p.commutative(names, x, a);
        let outer = p.commutative(names, inner, b);
        rule_fn(move |m, rw| {
            let (x, output) = (m.value(x), m.output(outer, 0)?);
            let (first, second) = (m.node(inner), m.node(outer));
            let adds = |node: &Node| node.is("Add") || node.is("Sub");
            if m.constant_of(x).is_some() || adds(first) != adds(second) {
                return Err(Skip::no_concern());
            }
            let leads = [m.input(inner, 0)? == m.constant(a), m.input(outer, 0)? == m.constant(b)];
            let name = m.name(m.constant(if m.tensor(a).len() < m.tensor(b).len() { b } else { a }));
            let (a, b) = (m.tensor(a), m.tensor(b));
            let divides = first.is("Div") || second.is("Div");
            Skip::unless(!divides || a.dtype().is_float(), "integers are divided")?;
            let dims = broadcast(a.dims(), b.dims()).ok_or_else(Skip::no_concern)?;
            let len: u64 = dims.iter().product();
            Skip::unless(len as usize <= a.len().max(b.len()), "the constants would widen each other")?;
            let (op, data, constant_leads) = if adds(first) {
                let term = Term::of(a, &dims, first.is("Sub"), leads[0]);
                let term = term.and_then(|term| term.then(b, &dims, second.is("Sub"), leads[1]))?;
                (if term.negative { "Sub" } else { "Add" }, term.data(&dims)?, term.negative)
            } else {
                let factor = Factor::of(a, &dims, first.is("Div"), leads[0]);
                let factor = factor.and_then(|factor| factor.then(b, &dims, second.is("Div"), leads[1]))?;
                let divides = factor.inverse || factor.only_divides();
                (if divides { "Div" } else { "Mul" }, factor.data(&dims)?, factor.inverse)
            };
            let constant = rw.constant(name, data);
            let inputs = if constant_leads { [constant, x.into()] } else { [x.into(), constant] };
            rw.emit(op, Attrs::new(), inputs, output);
            Ok(())
        })
    }
}
