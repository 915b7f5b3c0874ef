//! Recognize `DepthToSpace` and `SpaceToDepth`.

use crate::prelude::*;

/// Fuse `Reshape`, `Transpose` and `Reshape` that move blocks of channels into the plane, or back, into `DepthToSpace`
/// or `SpaceToDepth`.
///
/// *Left alone:* another order of the axes, a height or width that is not known, blocks that are not square, an opset
/// older than 11 where the order of the channels needs it, integers, and parts that something else reads.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FuseDepthToSpace {}

impl Rule for FuseDepthToSpace {
    const META: PassMeta = PassMeta::exact("fuse-depth-to-space", Family::Fuse);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let (x, first, second) = (p.any(), p.any(), p.any());
        let split = p.op("Reshape", (x, first));
        let moved = p.op("Transpose", split);
        let joined = p.op("Reshape", (moved, second));

        rule_fn(move |m, rw| {
            let dims = |v: ValueId| {
                m.facts().shape(v).map(|dims| (0..dims.len()).map(|i| dims[i].known()).collect::<Vec<_>>())
            };
            let (from, output) = (m.value(x), m.output(joined, 0)?);
            let shapes = dims(from).zip(dims(m.output(split, 0)?)).zip(dims(output));
            let ((input, inner), outer) = shapes.ok_or_else(Skip::no_concern)?;
            if [input.len(), inner.len(), outer.len()] != [4, 6, 4] {
                return Err(Skip::no_concern());
            }
            let same_batch = m.facts().same_dim((from, 0), (m.output(split, 0)?, 0))
                && m.facts().same_dim((from, 0), (output, 0));
            let whole = |dims: &[Option<i64>]| dims[1..].iter().copied().collect::<Option<Vec<i64>>>();
            let known = whole(&input).zip(whole(&inner)).zip(whole(&outer));
            let ((input, inner), outer) = known.ok_or_else(Skip::no_concern)?;
            let perm = m.node(moved).attrs.ints("perm").ok_or_else(Skip::no_concern)?;
            let (op, block, mode) = form(perm, &input, &inner, &outer).ok_or_else(Skip::no_concern)?;
            let dtype = m.dtype(from).ok_or_else(Skip::no_concern)?;
            if !same_batch || !m.target().supports_type(op, dtype) {
                return Err(Skip::no_concern());
            }
            let common = matches!(dtype, DType::Float | DType::Float16 | DType::Double);
            Skip::unless(common, "few runtimes move blocks of this element type")?;
            let mut attrs = Attrs::new().with("blocksize", block);
            if mode == "CRD" {
                let newer = m.target().opset("").is_some_and(|opset| opset >= 11);
                Skip::unless(newer, "the order of the channels needs opset 11")?;
                attrs.set("mode", mode);
            }
            rw.emit(op, attrs, [from.into()], output);
            Ok(())
        })
    }
}

/// The operator, its block size and its mode, by the order of the axes and the dims without the batch.
fn form(
    perm: &[i64],
    input: &[i64],
    inner: &[i64],
    outer: &[i64],
) -> Option<(&'static str, i64, &'static str)> {
    let (&[c, h, w], &[oc, oh, ow]) = (input, outer) else { return None };
    let (op, mode, block) = match perm {
        [0, 3, 4, 1, 5, 2] => ("DepthToSpace", "DCR", inner[0]),
        [0, 1, 4, 2, 5, 3] => ("DepthToSpace", "CRD", inner[1]),
        [0, 3, 5, 1, 2, 4] => ("SpaceToDepth", "DCR", inner[2]),
        _ => return None,
    };
    let area = block.checked_mul(block).filter(|&a| a > 0)?;
    let (deep, wide) =
        if op == "DepthToSpace" { ((c, h, w), (oc, oh, ow)) } else { ((oc, oh, ow), (c, h, w)) };
    let fits = deep.0 == wide.0.checked_mul(area)?
        && wide.1 == deep.1.checked_mul(block)?
        && wide.2 == deep.2.checked_mul(block)?;
    let expected = match (op, mode) {
        ("SpaceToDepth", _) => [wide.0, deep.1, block, deep.2, block],
        (_, "DCR") => [block, block, wide.0, deep.1, deep.2],
        _ => [wide.0, block, block, deep.1, deep.2],
    };
    (fits && inner == expected).then_some((op, block, mode))
}
