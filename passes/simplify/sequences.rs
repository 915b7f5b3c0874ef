//! Resolve sequences and optionals of which the parts are known.

use super::axes::integers;
use crate::prelude::*;

/// Read the parts of a sequence, and what an optional holds, where they come from.
///
/// * `SequenceAt`, `SequenceLength` and `ConcatFromSequence` of a `SequenceConstruct`: the part, a number, a `Concat`.
/// * `SequenceAt` of a `SplitToSequence` into parts of known sizes: a `Slice` or, where the parts lose the axis, a `Gather`;
///   `ConcatFromSequence` of one along the same axis: what was split.
/// * `OptionalGetElement` and `OptionalHasElement` of what `Optional` holds, or of a tensor.
///
/// *Left alone:* an index and sizes that are not constant, an index from the back of parts whose number is not known.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResolveSequences {}

impl Rule for ResolveSequences {
    const META: PassMeta = PassMeta::exact("resolve-sequences", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let names = &[
            "ConcatFromSequence",
            "OptionalGetElement",
            "OptionalHasElement",
            "SequenceAt",
            "SequenceLength",
        ];
        let op = p.op_with_any_inputs(names);
        rule_fn(move |m, rw| {
            let (graph, node, output) = (m.graph(), m.node(op), m.output(op, 0)?);
            let read = m.input(op, 0)?;
            if node.is("OptionalGetElement") || node.is("OptionalHasElement") {
                return optional(m, rw, node, read, output);
            }
            let (made, _) = graph.producer(read).ok_or_else(Skip::no_concern)?;
            let parts = graph.node_inputs(made);
            let stacks = node.attrs.int("new_axis").unwrap_or(0) != 0;
            let listed = graph.node(made).is("SequenceConstruct");
            let split = graph.node(made).is("SplitToSequence");
            match &*node.op.name {
                "SequenceAt" if listed => {
                    let index = index_of(m, op)?;
                    let index = if index < 0 { index.saturating_add(parts.len() as i64) } else { index };
                    let part = usize::try_from(index).ok().and_then(|at| parts.get(at).copied().flatten());
                    rw.replace(output, part.ok_or_else(Skip::no_concern)?);
                }
                "SequenceAt" if split => return part(m, rw, made, index_of(m, op)?, output),
                "SequenceLength" if listed => rw.fold(output, TensorData::scalar(parts.len() as i64)),
                "ConcatFromSequence" if listed && !stacks => {
                    let axis = node.attrs.int("axis").ok_or_else(Skip::no_concern)?;
                    let parts = parts.into_iter().map(Operand::from);
                    rw.emit("Concat", Attrs::new().with("axis", axis), parts, output);
                }
                "ConcatFromSequence" if split && !stacks => {
                    let from = graph.node(made);
                    let loses = parts.len() < 2 && from.attrs.int("keepdims") == Some(0);
                    let same = node.attrs.int("axis") == Some(from.attrs.int("axis").unwrap_or(0));
                    let whole = parts.first().copied().flatten().filter(|_| same && !loses);
                    rw.replace(output, whole.ok_or_else(Skip::no_concern)?);
                }
                _ => return Err(Skip::no_concern()),
            }
            Ok(())
        })
    }
}

fn index_of(m: &Match<'_>, op: OpVar) -> Result<i64, Skip> {
    let index = integers(m, m.id(op), 1).and_then(|index| index.first().copied());
    index.ok_or_else(|| Skip::because("the index is not constant"))
}

/// One part of a `SplitToSequence`.
fn part(m: &Match<'_>, rw: &mut Rewrite, made: NodeId, index: i64, output: ValueId) -> Result<(), Skip> {
    let (graph, node) = (m.graph(), m.graph().node(made));
    Skip::unless(index >= 0, "the number of parts is not known")?;
    let x = graph.node_input(made, 0).ok_or_else(Skip::no_concern)?;
    let axis = node.attrs.int("axis").unwrap_or(0);
    let (start, end) = match graph.node_input(made, 1) {
        None if node.attrs.int("keepdims") == Some(0) => {
            let index = rw.constant("index", TensorData::scalar(index));
            rw.emit("Gather", Attrs::new().with("axis", axis), [x.into(), index], output);
            return Ok(());
        }
        None => (index, index + 1),
        Some(sizes) => {
            let data = m.constant_of(sizes).and_then(|data| Some((data.rank(), data.to_i64s()?)));
            let (rank, sizes) =
                data.ok_or_else(|| Skip::because("the sizes of the parts are not constant"))?;
            let before = |count: i64| match (rank, sizes.first()) {
                (0, Some(&size)) => size.checked_mul(count),
                _ => sizes.get(..usize::try_from(count).ok()?).map(|sizes| sizes.iter().sum()),
            };
            before(index).zip(before(index + 1)).ok_or_else(Skip::no_concern)?
        }
    };
    let mut inputs = vec![Operand::Old(x)];
    for (name, value) in [("slice_starts", start), ("slice_ends", end), ("slice_axes", axis)] {
        inputs.push(rw.constant(name, TensorData::vector(&[value])));
    }
    rw.emit("Slice", Attrs::new(), inputs, output);
    Ok(())
}

fn optional(
    m: &Match<'_>,
    rw: &mut Rewrite,
    node: &Node,
    read: ValueId,
    output: ValueId,
) -> Result<(), Skip> {
    let graph = m.graph();
    let made = graph.producer(read).map(|(made, _)| made).filter(|&made| graph.node(made).is("Optional"));
    let held = match made {
        Some(made) => graph.node_input(made, 0),
        None => m.dtype(read).map(|_| read),
    };
    let held = held.ok_or_else(Skip::no_concern)?;
    if node.is("OptionalGetElement") {
        rw.replace(output, held);
    } else {
        rw.fold(output, TensorData::scalar(true));
    }
    Ok(())
}
