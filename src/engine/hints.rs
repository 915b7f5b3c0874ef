//! What a graph input of integers may hold, read off the operators that use it.

use crate::ir::{DType, Graph, NodeId, TensorData, ValueId};

/// How an input is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Draw {
    /// Standard normal numbers.
    Normal,
    /// Whole numbers from a range, both ends included.
    Ints(i64, i64),
    /// One of these numbers: those that the graph compares the input with.
    OneOf(Vec<i64>),
}

/// Operators that pass elements on as they are, with the input slots that they pass on.
const CARRIERS: &[(&str, &[usize])] = &[
    ("Identity", &[0]),
    ("Cast", &[0]),
    ("Reshape", &[0]),
    ("Unsqueeze", &[0]),
    ("Squeeze", &[0]),
    ("Flatten", &[0]),
    ("Transpose", &[0]),
    ("Expand", &[0]),
    ("Tile", &[0]),
    ("Slice", &[0]),
    ("Split", &[0]),
    ("Where", &[1, 2]),
];

/// Slots that hold an index into an axis of the value in slot 0.
const INDICES: &[(&str, usize)] = &[
    ("Gather", 1),
    ("GatherElements", 1),
    ("ScatterElements", 1),
    ("Scatter", 1),
    ("GatherND", 1),
    ("ScatterND", 1),
];

/// Slots that hold sizes or counts: 1 is right more often than anything else.
const SIZES: &[(&str, usize)] = &[
    ("Expand", 1),
    ("ConstantOfShape", 0),
    ("Tile", 1),
    ("TopK", 1),
    ("Reshape", 1),
    ("Range", 1),
    ("Range", 2),
    ("Loop", 0),
    ("Resize", 3),
    ("Slice", 4),
    ("OneHot", 1),
];

/// At most this many values are followed: what lies further away says little.
const REACH: usize = 256;

#[derive(Default)]
struct Uses {
    below: Option<u64>,
    compared: Vec<i64>,
    size: bool,
}

/// How to draw an input of this element type.
pub(crate) fn draw(graph: &Graph, input: ValueId, dtype: DType) -> Draw {
    let uses = follow(graph, input);
    let float = dtype.is_float() || matches!(dtype, DType::Complex64 | DType::Complex128);
    match uses {
        Uses { below: Some(n), .. } => {
            Draw::Ints(0, i64::try_from(n).unwrap_or(i64::MAX).saturating_sub(1).max(0))
        }
        Uses { compared, .. } if !compared.is_empty() && !float => Draw::OneOf(compared),
        Uses { size: true, .. } if !float => Draw::Ints(1, 1),
        _ if float => Draw::Normal,
        _ => match dtype {
            DType::Uint8 => Draw::Ints(0, 255),
            DType::Int8 => Draw::Ints(-128, 127),
            DType::Uint4 => Draw::Ints(0, 15),
            DType::Int4 => Draw::Ints(-8, 7),
            DType::Uint2 => Draw::Ints(0, 3),
            DType::Int2 => Draw::Ints(-2, 1),
            _ => Draw::Ints(0, 1),
        },
    }
}

fn follow(graph: &Graph, input: ValueId) -> Uses {
    let mut uses = Uses::default();
    let mut seen = vec![(graph, input)];
    let mut next = 0;
    while let Some(&(graph, value)) = seen.get(next) {
        next += 1;
        let mut found = Vec::new();
        for (node, slot) in graph.uses(value) {
            if let Some(slot) = slot {
                found.extend(look(graph, node, slot, &mut uses).into_iter().map(|v| (graph, v)));
            } else {
                let name = &graph.value(value).name;
                let bodies = graph.node(node).attrs.graphs();
                found.extend(bodies.filter_map(|body| Some((body, body.find(name)?))));
            }
        }
        for (graph, value) in found {
            let known = seen.iter().any(|&(g, v)| std::ptr::eq(g, graph) && v == value);
            if !known && seen.len() < REACH {
                seen.push((graph, value));
            }
        }
    }
    uses.compared.sort_unstable();
    uses.compared.dedup();
    uses
}

/// What one read says; returns the values that hold the same elements.
fn look(graph: &Graph, id: NodeId, slot: usize, uses: &mut Uses) -> Vec<ValueId> {
    let node = graph.node(id);
    if !node.op.domain.is_empty() {
        return Vec::new();
    }
    let name = &*node.op.name;
    if INDICES.contains(&(name, slot)) {
        let axis = (!name.ends_with("ND")).then(|| node.attrs.int("axis").unwrap_or(0));
        if let Some(n) = graph.node_input(id, 0).and_then(|data| axis_size(graph, data, axis)) {
            uses.below = Some(uses.below.map_or(n, |old| old.min(n)));
        }
    } else if name == "OneHot" && slot == 0 {
        if let Some(n) =
            graph.constant_input(id, 1).and_then(TensorData::to_i64).and_then(|d| u64::try_from(d).ok())
        {
            uses.below = Some(uses.below.map_or(n, |old| old.min(n)));
        }
    } else if name == "Equal" {
        uses.compared.extend(graph.constant_input(id, 1 - slot.min(1)).and_then(TensorData::to_i64));
    } else if SIZES.contains(&(name, slot)) {
        uses.size = true;
    } else if name == "Concat" || CARRIERS.iter().any(|(op, slots)| *op == name && slots.contains(&slot)) {
        return graph.node_outputs(id).into_iter().flatten().collect();
    }
    Vec::new()
}

/// The size of an axis; without one, of the shortest axis.
fn axis_size(graph: &Graph, value: ValueId, axis: Option<i64>) -> Option<u64> {
    let value = graph.value(value);
    let dims: Vec<Option<u64>> = match &value.data {
        Some(data) => data.dims().iter().map(|&d| Some(d)).collect(),
        None => value.ty.shape()?.iter().map(crate::ir::Dim::known).collect(),
    };
    let Some(axis) = axis else { return dims.into_iter().flatten().min() };
    let axis = if axis < 0 { axis.saturating_add(dims.len() as i64) } else { axis };
    *dims.get(usize::try_from(axis).ok()?)?
}
