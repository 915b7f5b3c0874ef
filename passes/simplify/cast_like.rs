//! Turn `CastLike` into `Cast` where the type is known.

use crate::prelude::*;

/// Replace `CastLike` by `Cast` to the element type of its second input.
///
/// The newer `PyTorch` exporter emits hundreds of them; as a `Cast` they fold, or vanish where the type is already right.
///
/// A `Cast` that does not vanish takes a few bytes more than the `CastLike`: it names the type.
///
/// *Left alone:* a `CastLike` whose target type is not known before the model runs.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResolveCastLike {}

impl Rule for ResolveCastLike {
    const META: PassMeta = PassMeta::exact("resolve-cast-like", Family::Simplify).growing();

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let (x, like) = (p.any(), p.any());
        let cast = p.op("CastLike", (x, like));
        rule_fn(move |m, rw| {
            let to = m.dtype(m.value(like)).ok_or_else(|| Skip::because("the target type is not known"))?;
            let attrs = m.node(cast).attrs.clone().with("to", i64::from(to.code()));
            rw.emit("Cast", attrs, [m.value(x).into()], m.output(cast, 0)?);
            Ok(())
        })
    }
}
