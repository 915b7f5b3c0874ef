//! Multiply by a weight without a reshape before or after it.

use super::dims::written;
use crate::prelude::*;

/// Take one or both of the two `Reshape` around a product with a weight away: `MatMul` with a matrix, with or without the
/// `Add` of a bias after it, or `Gemm`.
///
/// `MatMul` multiplies along the last axis whatever the axes before it are. Where the first `Reshape` keeps the last axis, only
/// the second one is needed, with dims of its own; where the second does, only the first. `Gemm` becomes `MatMul` and `Add`
/// where both go.
///
/// *Left alone:* dims that one `Reshape` cannot say, as when one of them is neither known nor one of the input and others are
/// copied; a bias that is not one number for every column; results between that others read.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FuseReshapedMatmul {}

impl Rule for FuseReshapedMatmul {
    const META: PassMeta = PassMeta::exact("fuse-reshaped-matmul", Family::Fuse);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let (x, w, b, c) = (p.any(), p.constant(), p.constant(), p.optional());
        let dims = p.any();
        let first = p.op("Reshape", (x, dims));
        let product = p.op("MatMul", (first, w));
        let sum = p.commutative(&["Add"], product, b);
        let gemm = p.op("Gemm", (first, w, c));
        let plain = p.either(sum, product);
        let inner = p.either(plain, gemm);
        let dims = p.any();
        let second = p.op("Reshape", (inner, dims));
        rule_fn(move |m, rw| {
            let of_gemm = m.matched(gemm);
            let bias = match (m.matched(sum), of_gemm) {
                (true, _) => Some(m.constant(b)),
                (_, true) => m.optional(c),
                _ => None,
            };
            let (input, output) = (m.value(x), m.output(second, 0)?);
            let transposed = of_gemm && m.node(gemm).attrs.int("transB").unwrap_or(0) != 0;
            let &[rows, columns] = m.tensor(w).dims() else { return Err(Skip::no_concern()) };
            let (rows, columns) = if transposed { (columns, rows) } else { (rows, columns) };
            let place = Place::of(m, [input, m.output(first, 0)?, output], rows, columns)?;
            let along_columns = bias.is_none_or(|v| is_row(m, v, columns));
            Skip::unless(along_columns, "the bias is not one number for every column")?;
            let fewer = !of_gemm || place == Place::Neither && is_plain(m, m.node(gemm), w);
            Skip::unless(fewer, "Gemm would not become fewer operators")?;

            // What stays keeps its name.
            let named = |op: OpVar| m.output(op, 0).map(|v| m.name(v));
            let of_product = named(if of_gemm { gemm } else { product })?;
            let of_dims = m.name(m.input(second, 1)?);
            let weight = if transposed {
                let perm = Attrs::new().with("perm", vec![1i64, 0]);
                rw.add("Transpose", perm, [m.constant(w).into()], m.name(m.constant(w)))
            } else {
                m.constant(w).into()
            };
            let mut value = input.into();
            if let Place::Before(dims) = &place {
                let dims = rw.constant(of_dims, TensorData::vector(dims));
                value = rw.add("Reshape", Attrs::new(), [value, dims], named(first)?);
            }
            let mut last = ("MatMul", [value, weight]);
            if let Some(bias) = bias {
                last = ("Add", [rw.add("MatMul", Attrs::new(), last.1, of_product), bias.into()]);
            }
            if let Place::After(dims) = &place {
                let of_rows = if m.matched(sum) { named(sum)? } else { of_product };
                let dims = rw.constant(of_dims, TensorData::vector(dims));
                last = ("Reshape", [rw.add(last.0, Attrs::new(), last.1, of_rows), dims]);
            }
            rw.emit(last.0, Attrs::new(), last.1, output);
            Ok(())
        })
    }
}

/// Where a `Reshape` is needed, with its dims.
#[derive(PartialEq)]
enum Place {
    Before(Vec<i64>),
    After(Vec<i64>),
    Neither,
}

impl Place {
    /// For the input of the first `Reshape`, its result, and that of the second.
    fn of(m: &Match<'_>, values: [ValueId; 3], rows: u64, columns: u64) -> Result<Self, Skip> {
        let shapes = values.map(|v| m.facts().shape(v));
        let [Some(from), Some(between), Some(to)] = shapes else { return Err(Skip::no_concern()) };
        let (rows, columns) = (Expr::of(rows as i64), Expr::of(columns as i64));
        let keeps_first = from.len() > 1 && from.last() == Some(&rows) && between.last() == Some(&rows);
        let keeps_second = to.len() > 1 && to.last() == Some(&columns);
        let with_last = |dims: &[Expr], last: &Expr| {
            let mut dims = dims.to_vec();
            dims.pop();
            dims.push(last.clone());
            dims
        };
        if !keeps_first && !keeps_second {
            return Err(Skip::no_concern());
        }
        let product = with_last(from, &columns);
        if keeps_first && product == to {
            return Ok(Self::Neither);
        }
        let after = if keeps_first { written(&product, to).map(Self::After) } else { None };
        let before =
            || if keeps_second { written(from, &with_last(to, &rows)).map(Self::Before) } else { None };
        after.or_else(before).ok_or_else(|| Skip::because("one Reshape cannot say the dims"))
    }
}

/// Whether a bias is one number for every column, or one for all.
fn is_row(m: &Match<'_>, bias: ValueId, columns: u64) -> bool {
    m.constant_of(bias).is_some_and(|data| {
        let len = data.len() as u64;
        data.rank() <= 2 && (len == 1 || len == columns && data.dims().last() == Some(&columns))
    })
}

/// Whether a `Gemm` does what `MatMul` and `Add` do, and its weight can be turned.
fn is_plain(m: &Match<'_>, node: &Node, weight: ConstVar) -> bool {
    let one = |name: &str| node.attrs.float(name).is_none_or(|x| x.to_bits() == 1f32.to_bits());
    let turned = node.attrs.int("transB").unwrap_or(0) != 0;
    let alone = m.graph().use_count(m.constant(weight)) == 1;
    one("alpha") && one("beta") && node.attrs.int("transA").unwrap_or(0) == 0 && (!turned || alone)
}
