//! Fold factors into the weights around them.

use super::scale_into::weight;
use super::scale_walk::{Change, Factor, above};
use crate::prelude::*;

/// Fold a multiplication with, or division by, a constant into the weights of the `MatMul`, `Gemm` or
/// `LayerNormalization` that it can be moved to.
///
/// The constant is one number, or one for every place along an axis. It moves up, as through the heads of an attention,
/// over `Transpose`, `Reshape`, `Squeeze`, `Unsqueeze` and `Flatten`, over `Split` and `Gather` that take one part of a
/// projection (the columns of that part are scaled), over the addition of a constant, which is scaled too, and over a
/// product of two computed values to one of them; or down into the weights of the products that read the result.
///
/// *Left alone:* weights that others read, factors that move to no weight, half precision, and parameters that would not
/// be normal numbers any more.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FuseMatmulScale {}

impl Pass for FuseMatmulScale {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta::exact("fuse-matmul-scale", Family::Fuse) }
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        each_graph(model, cx, &mut |scope, _| {
            for node in scope.graph.order()? {
                let Some((input, result, factor)) = scaling(scope, node) else { continue };
                let found = above(scope, input, &[node], factor.clone());
                let found = match found {
                    Ok(Some(changes)) => Ok(Some(changes)),
                    other => match below(scope, result, &factor) {
                        Ok(Some(changes)) => Ok(Some(changes)),
                        Err(skip) => Err(skip),
                        Ok(None) => other,
                    },
                };
                match found {
                    Ok(Some(changes)) => match scope.merge_value(result, input)? {
                        Ok(()) => {
                            for (node, slot, data) in changes {
                                let old = scope.graph.node_input(node, slot);
                                let wish =
                                    old.map_or_else(String::new, |v| scope.graph.value(v).name.clone());
                                scope.set_parameter((node, slot), &wish, data)?;
                            }
                            summary.applied += 1;
                        }
                        Err(skip) => summary.skip(skip.0),
                    },
                    Ok(None) => {}
                    Err(skip) => summary.skip(skip.0),
                }
            }
            Ok(())
        })?;
        Ok(summary)
    }
}

/// What a `Mul` or `Div` by a constant scales, its result, and the factor.
fn scaling(scope: &Scope<'_>, id: NodeId) -> Option<(ValueId, ValueId, Factor)> {
    let (graph, node) = (&*scope.graph, scope.graph.node(id));
    let divides = node.is("Div");
    if !divides && !node.is("Mul") {
        return None;
    }
    let (a, b, result) = (graph.node_input(id, 0)?, graph.node_input(id, 1)?, graph.node_output(id, 0)?);
    let (input, data) = match (graph.constant(a), graph.constant(b)) {
        (None, Some(data)) => (a, data),
        (Some(data), None) if !divides => (b, data),
        _ => return None,
    };
    let facts = &*scope.facts;
    let rank = facts.rank(result)?;
    if !matches!(data.dtype(), DType::Float | DType::Double) || !facts.same_shape(input, result) {
        return None;
    }
    let values: Vec<f64> = data.to_f64s()?.into_iter().map(|x| if divides { 1.0 / x } else { x }).collect();
    if values.iter().any(|x| !x.is_normal()) {
        return None;
    }
    if let [k] = values[..] {
        return Some((input, result, Factor::All(k)));
    }
    let at = data.dims().iter().position(|&d| d != 1)?;
    let one_axis = data.dims().get(at) == Some(&(values.len() as u64));
    let axis = (at + rank).checked_sub(data.rank())?;
    one_axis.then_some((input, result, Factor::Along { axis, values }))
}

/// The weights of the products that read a value, which take a factor of the value.
fn below(scope: &Scope<'_>, value: ValueId, factor: &Factor) -> Result<Option<Vec<Change>>, Skip> {
    let (graph, facts) = (&*scope.graph, &*scope.facts);
    let Some(rank) = facts.rank(value).filter(|_| !graph.is_pinned(value)) else { return Ok(None) };
    let mut changes = Vec::new();
    for (reader, slot) in graph.uses(value) {
        let node = graph.node(reader);
        let ranks = [0, 1].map(|slot| graph.node_input(reader, slot).and_then(|v| facts.rank(v)));
        let of_product = slot == Some(0)
            && graph.node_input(reader, 1) != Some(value)
            && graph.node_input(reader, 2) != Some(value)
            && ranks.iter().all(|&r| r >= Some(2));
        let rows = match (node.is("MatMul"), node.is("Gemm")) {
            (true, _) => ranks[1].unwrap_or(0).wrapping_sub(2),
            (_, true) if node.attrs.int("transA").unwrap_or(0) == 0 => {
                usize::from(node.attrs.int("transB").unwrap_or(0) != 0)
            }
            _ => return Ok(None),
        };
        let factor = match factor {
            Factor::All(k) => Factor::All(*k),
            Factor::Along { axis, values } if axis + 1 == rank => {
                Factor::Along { axis: rows, values: values.clone() }
            }
            Factor::Along { .. } => return Ok(None),
        };
        if !of_product {
            return Ok(None);
        }
        let Some(change) = weight(scope, reader, 1, &factor)? else { return Ok(None) };
        changes.push(change);
    }
    Ok((!changes.is_empty()).then_some(changes))
}
