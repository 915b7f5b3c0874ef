//! Drop operators that their attributes, or the dims of their input, keep from doing anything.

#![allow(clippy::float_cmp, reason = "one is meant exactly")]

use super::axes::integers;
use super::clips::Bounds;
use crate::prelude::*;

/// Drop operators that hand on their input as it is: the elements, the order and the dims.
///
/// * `Reshape`, `Flatten`, `Squeeze`, `Unsqueeze`, `Expand`, `Tile`, and `Slice` with positive steps, whose result has the
///   dims of the input; `Transpose` that moves only axes of size 1, and leaves the dims as they were.
/// * `ReduceSum`, `ReduceMean`, `ReduceMax`, `ReduceMin`, `ReduceProd`, `GlobalAveragePool` and `GlobalMaxPool` over axes
///   of size 1; `AveragePool` and `MaxPool` of single elements.
/// * `Pad` by nothing, `Resize` by 1, `Split` into one part, `Sum`, `Mean`, `Max`, `Min` and `Concat` of one input,
///   `DepthToSpace` and `SpaceToDepth` with blocks of 1, `Clip` without bounds.
///
/// A `Concat` loses its empty inputs. The dims may be symbols: they need to be the same ones.
///
/// *Left alone:* what is not known to have the dims of its input.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DropNoOps {}

const OPS: &[&str] = &[
    "AveragePool",
    "Clip",
    "Concat",
    "DepthToSpace",
    "Expand",
    "Flatten",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Max",
    "MaxPool",
    "Mean",
    "Min",
    "Pad",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "Reshape",
    "Resize",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Sum",
    "Tile",
    "Transpose",
    "Unsqueeze",
];

impl Rule for DropNoOps {
    const META: PassMeta = PassMeta::exact("drop-no-ops", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let op = p.op_with_any_inputs(OPS);
        rule_fn(move |m, rw| {
            let node = m.node(op);
            if node.is("Concat") {
                return concat(m, rw, op);
            }
            let (input, output) = (m.input(op, 0)?, m.output(op, 0)?);
            if !does_nothing(m, op, input, output)? {
                return Err(Skip::no_concern());
            }
            Skip::unless(!m.output_is_used(op, 1), "the indices of the MaxPool are used")?;
            rw.replace(output, input);
            Ok(())
        })
    }
}

fn does_nothing(m: &Match<'_>, op: OpVar, input: ValueId, output: ValueId) -> Result<bool, Skip> {
    let node = m.node(op);
    let facts = m.facts();
    let list = |slot: usize| integers(m, m.id(op), slot);
    Ok(match &*node.op.name {
        "Sum" | "Mean" | "Max" | "Min" => node.input_count() == 1,
        "Split" => node.output_count() == 1,
        "DepthToSpace" | "SpaceToDepth" => node.attrs.int("blocksize") == Some(1),
        "Pad" => list(1).is_some_and(|pads| pads.iter().all(|&n| n == 0)),
        "Clip" => Bounds::of_clip(m, m.id(op)).is_some_and(Bounds::are_open),
        "AveragePool" | "MaxPool" => takes_single_elements(node),
        "Resize" => is_by_one(m, op, input, output),
        "Transpose" => moves_only_ones(m, node, input) && facts.same_shape(input, output),
        "Slice" => {
            let forwards = m.graph().node_input(m.id(op), 4).is_none()
                || list(4).is_some_and(|steps| steps.iter().all(|&n| n > 0));
            forwards && facts.same_shape(input, output)
        }
        _ => {
            let known = facts.shape(input).is_some() && facts.shape(output).is_some();
            Skip::unless(known, "the dims of its input or of its result are not known")?;
            facts.same_shape(input, output)
        }
    })
}

fn takes_single_elements(node: &Node) -> bool {
    let all =
        |name: &str, value: i64| node.attrs.ints(name).is_none_or(|list| list.iter().all(|&n| n == value));
    node.attrs.ints("kernel_shape").is_some() && all("kernel_shape", 1) && all("strides", 1) && all("pads", 0)
}

/// A `Resize` may give the dims of its input by factors other than 1, which move every element: so where there are
/// factors, each has to be 1.
fn is_by_one(m: &Match<'_>, op: OpVar, input: ValueId, output: ValueId) -> bool {
    let attrs = &m.node(op).attrs;
    let plain = attrs.str("coordinate_transformation_mode") != Some("tf_crop_and_resize")
        && matches!(attrs.str("keep_aspect_ratio_policy"), None | Some("stretch"));
    plain
        && match m.graph().node_input(m.id(op), 2) {
            Some(scales) => {
                let scales = m.constant_of(scales).and_then(TensorData::to_f64s);
                let axes = attrs.ints("axes").map(<[i64]>::len).or_else(|| m.facts().rank(input));
                scales.is_some_and(|s| Some(s.len()) == axes && s.iter().all(|&s| s == 1.0))
            }
            None => m.facts().same_shape(input, output),
        }
}

/// Whether the order of the axes that are not of size 1 stays.
pub(super) fn moves_only_ones(m: &Match<'_>, node: &Node, input: ValueId) -> bool {
    let Some(dims) = m.facts().shape(input) else { return false };
    let perm = perm_of(node, dims.len());
    perm.is_some_and(|perm| perm.into_iter().filter(|&axis| !dims[axis].is(1)).is_sorted())
}

fn concat(m: &Match<'_>, rw: &mut Rewrite, op: OpVar) -> Result<(), Skip> {
    let (node, output) = (m.node(op), m.output(op, 0)?);
    let inputs: Vec<ValueId> = m.graph().node_inputs(m.id(op)).into_iter().flatten().collect();
    let axis = node.attrs.int("axis").ok_or_else(Skip::no_concern)?;
    let is_empty = |value: ValueId| {
        let axis = axis_of(axis, m.facts().rank(value).unwrap_or(0));
        axis.and_then(|axis| m.facts().dim(value, axis)).is_some_and(|dim| dim.is(0))
    };
    let mut kept: Vec<ValueId> = inputs.iter().copied().filter(|&v| !is_empty(v)).collect();
    if kept.is_empty() {
        kept.extend(inputs.first());
    }
    match kept[..] {
        [only] => rw.replace(output, only),
        _ if kept.len() == inputs.len() => return Err(Skip::no_concern()),
        _ => rw.emit("Concat", node.attrs.clone(), kept.into_iter().map(Operand::Old), output),
    }
    Ok(())
}
