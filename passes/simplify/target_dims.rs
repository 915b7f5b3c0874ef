//! Write down the dims that `Reshape` and `Expand` ask for.

use std::collections::{BTreeMap, BTreeSet};

use crate::prelude::*;

/// Give `Reshape` and `Expand` a constant in the place of dims that the model computes, so that the computation can go.
///
/// A dim that is known is written as it is. In a `Reshape`, 0 says that a dim is that of the input in its place, and -1
/// one dim at most that is neither; in an `Expand`, 1 says that a dim stays. What the dims are is read off the
/// arithmetic on shapes that leads to them, with sizes of the model as symbols.
///
/// *Left alone:* dims that one constant cannot say; a -1 beside a 0, unless the model writes it, as that would not do for
/// an empty tensor; and constants that would grow the file as others still need the computed dims.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResolveTargetDims {}

/// An operator whose dims are computed, and what they come to.
struct Site {
    node: NodeId,
    target: ValueId,
    dims: Vec<i64>,
}

impl Pass for ResolveTargetDims {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta::exact("resolve-target-dims", Family::Simplify) }
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        each_graph(model, cx, &mut |scope, cx| {
            let mut sites = Vec::new();
            for node in scope.graph.order()? {
                match look(scope, node) {
                    Ok(site) => sites.push(site),
                    Err(skip) => summary.leave(skip),
                }
            }
            resolve(scope, cx, sites, &mut summary)
        })?;
        Ok(summary)
    }
}

fn look(scope: &Scope<'_>, id: NodeId) -> Result<Site, Skip> {
    let (graph, node) = (&*scope.graph, scope.graph.node(id));
    let slots = [graph.node_input(id, 0), graph.node_input(id, 1), graph.node_output(id, 0)];
    let [Some(input), Some(target), Some(output)] = slots else { return Err(Skip::no_concern()) };
    if !(node.is("Reshape") || node.is("Expand")) || graph.constant(target).is_some() {
        return Err(Skip::no_concern());
    }
    let unknown = || Skip::because("the rank of the result is not known");
    let result = scope.facts.shape(output).ok_or_else(unknown)?;
    let dims = if node.is("Reshape") {
        reshaped(scope.facts, input, target, result)?
    } else {
        expanded(scope.facts, input, target, result)?
    };
    Ok(Site { node: id, target, dims })
}

/// The dims of a `Reshape`: numbers, 0 for a dim of the input in its place, and -1 for what is left.
fn reshaped(facts: &Facts, input: ValueId, target: ValueId, result: &[Expr]) -> Result<Vec<i64>, Skip> {
    let of_input = |axis: usize| facts.dim(input, axis);
    let mut dims = Vec::with_capacity(result.len());
    for (axis, dim) in result.iter().enumerate() {
        dims.push(match dim.known() {
            Some(n) if n > 0 => n,
            Some(_) if of_input(axis).is_none_or(|d| !d.is(0)) => {
                return Err(Skip::because("a dim is 0, which would copy one of the input"));
            }
            Some(_) => 0,
            None if of_input(axis) == Some(dim) => 0,
            None => -1,
        });
    }
    let mut open = dims.iter().enumerate().filter(|&(_, &dim)| dim == -1).map(|(axis, _)| axis);
    let Some(open_axis) = open.next() else { return Ok(dims) };
    Skip::unless(open.next().is_none(), "more than one dim is neither known nor one of the input")?;
    // What a copied dim of 0 does to a -1, it did before only if the model had a -1 beside the same dims.
    let written = facts.value(target).and_then(|elems| elems.iter().position(|e| e.is(-1)));
    let as_before = written.is_some_and(|axis| axis == open_axis || dims.get(axis).is_some_and(|&n| n > 0));
    Skip::unless(
        as_before || !dims.contains(&0),
        "a -1 beside a dim of the input would not do for an empty tensor",
    )?;
    Ok(dims)
}

/// The dims of an `Expand`: numbers, and 1 for a dim that stays.
fn expanded(facts: &Facts, input: ValueId, target: ValueId, result: &[Expr]) -> Result<Vec<i64>, Skip> {
    let unknown = || Skip::because("the dims that the Expand starts from are not known");
    let from = facts.shape(input).ok_or_else(unknown)?;
    let asked = facts.dim(target, 0).and_then(Expr::known).and_then(|n| usize::try_from(n).ok());
    let asked = asked.filter(|&n| n <= result.len()).ok_or_else(unknown)?;
    let added = result.len().saturating_sub(from.len());
    let dims = result.iter().enumerate().skip(result.len() - asked).map(|(axis, dim)| {
        let stays = axis.checked_sub(added).and_then(|axis| from.get(axis)) == Some(dim);
        if stays { Some(1) } else { dim.known() }
    });
    let dims: Option<Vec<i64>> = dims.collect();
    dims.ok_or_else(|| Skip::because("a dim that the Expand adds is not known"))
}

/// Gives the operators their constants. Where nothing else reads the computed dims, they go, and with them more bytes than
/// the constant has.
fn resolve(
    scope: &mut Scope<'_>,
    cx: &mut PassContext<'_>,
    sites: Vec<Site>,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    let resolved: BTreeSet<NodeId> = sites.iter().map(|s| s.node).collect();
    let mut made: BTreeMap<Vec<i64>, ValueId> = BTreeMap::new();
    for Site { node, target, dims } in sites {
        let readers = scope.graph.uses(target);
        let goes = scope.graph.producer(target).is_some()
            && !scope.graph.is_pinned(target)
            && readers.iter().all(|&(n, slot)| slot == Some(1) && resolved.contains(&n));
        let value = if let Some(&value) = made.get(&dims) {
            value
        } else {
            let bytes = if goes { 0 } else { 8 * dims.len() as u64 };
            let Some(left) = cx.limits.growth.checked_sub(bytes) else {
                summary.skip("the new dims would grow the file");
                continue;
            };
            cx.limits.growth = left;
            cx.limits.grown += bytes;
            let wish = scope.graph.value(target).name.clone();
            let value = scope.add_constant(&wish, TensorData::vector(&dims))?;
            made.insert(dims, value);
            value
        };
        if scope.graph.node(node).attrs.int("allowzero") == Some(1) {
            scope.set_attr(node, "allowzero", 0);
        }
        scope.feed(node, 1, value)?;
        scope.remove_unread(target);
        summary.applied += 1;
    }
    Ok(())
}
