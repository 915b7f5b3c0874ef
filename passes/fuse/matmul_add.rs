//! Fuse `MatMul` and `Add` into `Gemm`.

use crate::prelude::*;

/// Fuse `MatMul` of two matrices followed by `Add` into one `Gemm`.
///
/// *Left alone:* operands that are not known to have rank 2, an addend that would widen the product, integers
/// (which most runtimes multiply in `MatMul` only) and other element types that `Gemm` lacks at the written opset, and a
/// product that is read by anything else.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FuseMatmulAdd {}

impl Rule for FuseMatmulAdd {
    const META: PassMeta = PassMeta::exact("fuse-matmul-add", Family::Fuse);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let (a, b, c) = (p.any(), p.any(), p.any());
        let product = p.op("MatMul", (a, b));
        let sum = p.commutative(&["Add"], product, c);

        rule_fn(move |m, rw| {
            let (facts, a, b, c) = (m.facts(), m.value(a), m.value(b), m.value(c));
            let ranks = [facts.rank(a), facts.rank(b)];
            if ranks.iter().any(|r| r.is_some_and(|r| r != 2)) {
                return Err(Skip::no_concern());
            }
            Skip::unless(ranks == [Some(2); 2], "an operand is not known to have rank 2")?;
            let dtype = m.dtype(a).ok_or_else(|| Skip::because("the element type is not known"))?;
            let allowed = dtype.has_f64s() && m.target().supports_type("Gemm", dtype);
            Skip::unless(allowed, "Gemm lacks the element type, or few runtimes have it")?;
            let rank = facts.rank(c).ok_or_else(|| Skip::because("the rank of the addend is not known"))?;
            let fits = rank <= 2 && {
                let fits = |axis_from_back: usize, of: ValueId, of_axis: usize| {
                    rank < axis_from_back || {
                        let axis = rank - axis_from_back;
                        facts.dim(c, axis).is_some_and(|d| d.is(1))
                            || facts.same_dim((c, axis), (of, of_axis))
                    }
                };
                fits(1, b, 1) && fits(2, a, 0)
            };
            Skip::unless(fits, "the addend might widen the product")?;
            rw.emit("Gemm", Attrs::new(), [a.into(), b.into(), c.into()], m.output(sum, 0)?);
            Ok(())
        })
    }
}
