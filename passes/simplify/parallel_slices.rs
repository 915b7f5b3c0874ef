//! Put one operator in the place of several that take parts of one value.

use std::collections::BTreeMap;

use crate::prelude::*;

/// Merge `Slice` operators that take parts of one value along one axis.
///
/// * A `Concat` that puts such parts together again in another order, as a shift of windows does, becomes one `Gather` with
///   constant indices, where whole runs of elements move.
/// * Parts that are next to each other and make up the whole axis become the outputs of one `Split`.
///
/// *Left alone:* parts of an axis of unknown size, indices that would grow the file, and single elements, which `Gather` is
/// slow to move.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MergeParallelSlices {}

/// A `Slice` along one axis of known size.
struct Part {
    node: NodeId,
    input: ValueId,
    axis: usize,
    start: i64,
    step: i64,
    count: i64,
    size: i64,
}

impl Pass for MergeParallelSlices {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta::exact("merge-parallel-slices", Family::Simplify) }
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        each_graph(model, cx, &mut |scope, cx| {
            let mut made: BTreeMap<Vec<i64>, ValueId> = BTreeMap::new();
            for node in scope.graph.order()? {
                if scope.graph.contains_node(node) && scope.graph.node(node).is("Concat") {
                    match joined(scope, node) {
                        Ok(parts) => gather(scope, cx, node, &parts, &mut made, &mut summary)?,
                        Err(skip) => summary.leave(skip),
                    }
                }
            }
            split_all(scope, &mut summary)
        })?;
        Ok(summary)
    }
}

/// What a `Slice` takes, where it is known.
fn part(scope: &Scope<'_>, id: NodeId) -> Option<Part> {
    let (graph, facts) = (&*scope.graph, &*scope.facts);
    if !graph.node(id).is("Slice") {
        return None;
    }
    let input = graph.node_input(id, 0)?;
    let one = |slot: usize| match facts.value_i64s(graph.node_input(id, slot)?)?[..] {
        [n] => Some(n),
        _ => None,
    };
    let (start, end) = (one(1)?, one(2)?);
    let axis = if graph.node_input(id, 3).is_some() { one(3)? } else { 0 };
    let step = if graph.node_input(id, 4).is_some() { one(4)? } else { 1 };
    let axis = axis_of(axis, facts.rank(input)?)?;
    let size = facts.dim(input, axis)?.known()?;
    let from_front = |n: i64| if n < 0 { n.saturating_add(size) } else { n };
    if step < 1 {
        return None;
    }
    let (start, end) = (from_front(start).clamp(0, size), from_front(end).clamp(0, size));
    let count = (end - start).max(0).checked_add(step - 1)? / step;
    Some(Part { node: id, input, axis, start, step, count, size })
}

/// The parts that a `Concat` puts together, where all are of one value along its axis, and nothing else reads them.
fn joined(scope: &Scope<'_>, concat: NodeId) -> Result<Vec<Part>, Skip> {
    let graph = &*scope.graph;
    let mut parts: Vec<Part> = Vec::new();
    for value in graph.node_inputs(concat).into_iter().flatten() {
        let (slice, _) = graph.producer(value).ok_or_else(Skip::no_concern)?;
        parts.push(part(scope, slice).ok_or_else(Skip::no_concern)?);
    }
    let [first, _, ..] = &parts[..] else { return Err(Skip::no_concern()) };
    let (input, axis) = (first.input, first.axis);
    let rank = scope.facts.rank(input).unwrap_or_default();
    let along = axis_of(graph.node(concat).attrs.int("axis").unwrap_or(0), rank);
    if parts.iter().any(|p| (p.input, p.axis) != (input, axis)) || along != Some(axis) {
        return Err(Skip::no_concern());
    }
    let read =
        |p: &Part| graph.node_output(p.node, 0).is_some_and(|v| graph.use_count(v) > 1 || graph.is_pinned(v));
    Skip::unless(!parts.iter().any(read), "a part is read elsewhere too")?;
    let inner = scope.facts.shape(input).unwrap_or_default().iter().skip(axis + 1);
    let inner = inner.map(|d| d.known().unwrap_or(1)).fold(1i64, i64::saturating_mul);
    Skip::unless(inner >= RUN, "the parts are of single elements")?;
    Ok(parts)
}

/// The fewest elements that are worth to be moved as one.
const RUN: i64 = 8;
/// The most indices.
const MOST: i64 = 4096;

fn gather(
    scope: &mut Scope<'_>,
    cx: &mut PassContext<'_>,
    concat: NodeId,
    parts: &[Part],
    made: &mut BTreeMap<Vec<i64>, ValueId>,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    let (Some(first), Some(output)) = (parts.first(), scope.graph.node_output(concat, 0)) else {
        return Ok(());
    };
    let total = parts.iter().map(|p| p.count).fold(0i64, i64::saturating_add);
    let small = (1..=MOST).contains(&total);
    // An operator with its name and those of its inputs is larger than this.
    let gone = 32 * parts.len() as u64;
    let indices: Vec<i64> = if small {
        parts.iter().flat_map(|p| (0..p.count).map(|i| p.start + i * p.step)).collect()
    } else {
        Vec::new()
    };
    let bytes = if made.contains_key(&indices) { 0 } else { (8 * indices.len() as u64).saturating_sub(gone) };
    let Some(left) = cx.limits.growth.checked_sub(bytes).filter(|_| small) else {
        summary.skip("the indices would grow the file");
        return Ok(());
    };
    cx.limits.growth = left;
    cx.limits.grown += bytes;
    let index = if let Some(&value) = made.get(&indices) {
        value
    } else {
        let value = scope.add_constant("indices", TensorData::vector(&indices))?;
        made.insert(indices, value);
        value
    };
    let slices: Vec<NodeId> = parts.iter().map(|p| p.node).collect();
    let stands_for: Vec<NodeId> = slices.iter().copied().chain([concat]).collect();
    let new = NewOp {
        pass: "merge-parallel-slices",
        stands_for: &stands_for,
        op: OpName::onnx("Gather"),
        attrs: Attrs::new().with("axis", first.axis as i64),
        inputs: &[Some(first.input), Some(index)],
    };
    let pieces: Vec<ValueId> = slices.iter().filter_map(|&n| scope.graph.node_output(n, 0)).collect();
    scope.exchange(concat, new, output)?;
    pieces.into_iter().for_each(|value| scope.remove_unread(value));
    summary.applied += 1;
    Ok(())
}

/// Puts a `Split` in the place of parts that make up a whole axis.
fn split_all(scope: &mut Scope<'_>, summary: &mut Summary) -> anyhow::Result<()> {
    let mut by_axis: BTreeMap<(ValueId, usize), Vec<Part>> = BTreeMap::new();
    for node in scope.graph.order()? {
        if let Some(part) = part(scope, node).filter(|p| p.step == 1 && p.count > 0) {
            by_axis.entry((part.input, part.axis)).or_default().push(part);
        }
    }
    for ((input, axis), mut parts) in by_axis {
        parts.sort_by_key(|p| (p.start, p.node));
        let mut next = 0;
        let whole = parts.iter().all(|p| {
            let joins = p.start == next;
            next = p.start + p.count;
            joins
        });
        if parts.len() < 2 || !whole || parts.first().map(|p| p.size) != Some(next) {
            continue;
        }
        let sizes: Vec<i64> = parts.iter().map(|p| p.count).collect();
        let slices: Vec<NodeId> = parts.iter().map(|p| p.node).collect();
        // Sizes that are taken apart are followed through slices.
        let dtype = scope.facts.dtype(input).filter(|_| scope.facts.value(input).is_none());
        if !dtype.is_some_and(|dtype| scope.target.supports_type("Split", dtype)) {
            continue;
        }
        let bounds: Vec<ValueId> =
            slices.iter().flat_map(|&n| scope.graph.node_inputs(n).into_iter().skip(1).flatten()).collect();
        let outputs: Vec<Option<ValueId>> = slices.iter().map(|&n| scope.graph.node_output(n, 0)).collect();
        let sizes = scope.add_constant("split", TensorData::vector(&sizes))?;
        let new = NewOp {
            pass: "merge-parallel-slices",
            stands_for: &slices,
            op: OpName::onnx("Split"),
            attrs: Attrs::new().with("axis", axis as i64),
            inputs: &[Some(input), Some(sizes)],
        };
        scope.exchange_all(&slices, new, &outputs)?;
        bounds.into_iter().for_each(|value| scope.remove_unread(value));
        summary.applied += 1;
    }
    Ok(())
}
