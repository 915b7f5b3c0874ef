//! Which constants to fold together, and what that costs.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::prelude::*;

/// The operators of a graph that could be folded.
pub(super) struct Plan {
    /// In topological order.
    order: Vec<NodeId>,
    foldable: HashSet<NodeId>,
    from_dims: HashMap<NodeId, TensorData>,
}

/// Operators that are folded together, or not at all.
pub(super) enum Region {
    /// Fold these, in this order; these values stay, as constants.
    Fold { nodes: Vec<NodeId>, frontier: Vec<ValueId>, growth: i64 },
    /// An operator that stays, and why.
    TooLarge(String),
}

/// Bytes of a `NodeProto` besides its names and tensors: tags, lengths and small attributes. An estimate from below.
const NODE_BYTES: i64 = 16;

impl Plan {
    /// Finds the foldable operators; `failed` ones were tried and could not be evaluated.
    pub(super) fn of(scope: &Scope<'_>, cx: &PassContext<'_>, failed: &BTreeSet<NodeId>) -> Self {
        let order = scope.graph.order().unwrap_or_default();
        let mut plan = Self { order, foldable: HashSet::new(), from_dims: HashMap::new() };
        let mut made: HashSet<ValueId> = HashSet::new();
        for &id in &plan.order {
            if failed.contains(&id) || !is_pure(scope.graph, id) {
                continue;
            }
            let node = scope.graph.node(id);
            let constant = |v: ValueId| made.contains(&v) || scope.graph.constant(v).is_some();
            let given = scope.graph.node_inputs(id).into_iter().flatten().all(constant);
            if given && node.opaque.is_none() && !node.attrs.has_refs() && cx.can_evaluate(&node.op) {
                plan.foldable.insert(id);
            } else if let Some(data) = known_from_dims(scope, id) {
                plan.from_dims.insert(id, data);
                plan.foldable.insert(id);
            } else {
                continue;
            }
            made.extend(scope.graph.node_outputs(id).into_iter().flatten());
        }
        plan.keep_quantization(scope);
        plan
    }

    /// The result of an operator that is known from the dims of its input.
    pub(super) fn known_result(&self, node: NodeId) -> Option<&TensorData> {
        self.from_dims.get(&node)
    }

    /// `QuantizeLinear` and `DequantizeLinear` say how a model is to be computed: they are folded only into outputs.
    fn keep_quantization(&mut self, scope: &Scope<'_>) {
        let graph = &*scope.graph;
        let mut read_outside: HashSet<NodeId> = HashSet::new();
        let mut lost: HashSet<NodeId> = HashSet::new();
        for &id in self.order.iter().rev().filter(|id| self.foldable.contains(id)) {
            let mut users = graph.node_outputs(id).into_iter().flatten().flat_map(|v| graph.uses(v));
            if users.any(|(user, _)| !self.foldable.contains(&user) || read_outside.contains(&user)) {
                read_outside.insert(id);
                if matches!(&*graph.node(id).op.name, "QuantizeLinear" | "DequantizeLinear") {
                    lost.insert(id);
                }
            }
        }
        for &id in &self.order {
            let inputs = graph.node_inputs(id);
            let depends =
                inputs.iter().flatten().any(|&v| graph.producer(v).is_some_and(|(n, _)| lost.contains(&n)));
            if depends && !self.from_dims.contains_key(&id) {
                lost.insert(id);
            }
        }
        self.foldable.retain(|id| !lost.contains(id));
    }

    /// The regions, each judged against the budget; a region that does not fit gives up the operator that costs most.
    pub(super) fn regions(&self, scope: &Scope<'_>, budget: u64) -> Vec<Region> {
        let mut regions = Vec::new();
        let mut left = i64::try_from(budget).unwrap_or(i64::MAX);
        let mut foldable = self.foldable.clone();
        let mut open = vec![self.order.iter().copied().filter(|n| foldable.contains(n)).collect::<Vec<_>>()];
        while let Some(nodes) = open.pop() {
            for nodes in self.components(scope, &nodes, &foldable) {
                let judged = judge(scope, &nodes);
                if judged.frontier.is_empty() {
                    continue;
                }
                if judged.growth <= 0 || judged.growth <= left {
                    left -= judged.growth.max(0);
                    regions.push(Region::Fold { nodes, frontier: judged.frontier, growth: judged.growth });
                    continue;
                }
                let Some(costly) = judged.costly else { continue };
                let op = &scope.graph.node(costly).op;
                regions.push(Region::TooLarge(format!("folding the {op} would grow the file")));
                foldable.remove(&costly);
                open.push(self.without(scope, &nodes, costly, &mut foldable));
            }
        }
        regions
    }

    /// Drops an operator, and those that need its result.
    fn without(
        &self,
        scope: &Scope<'_>,
        nodes: &[NodeId],
        costly: NodeId,
        foldable: &mut HashSet<NodeId>,
    ) -> Vec<NodeId> {
        let graph = &*scope.graph;
        let mut gone: HashSet<ValueId> = graph.node_outputs(costly).into_iter().flatten().collect();
        let mut rest = Vec::new();
        for &id in nodes.iter().filter(|&&id| id != costly) {
            let needs = graph.node_inputs(id).iter().flatten().any(|v| gone.contains(v));
            if needs && !self.from_dims.contains_key(&id) {
                foldable.remove(&id);
                gone.extend(graph.node_outputs(id).into_iter().flatten());
            } else {
                rest.push(id);
            }
        }
        rest
    }

    /// Splits operators into those that are connected by values which they produce themselves.
    fn components(
        &self,
        scope: &Scope<'_>,
        nodes: &[NodeId],
        foldable: &HashSet<NodeId>,
    ) -> Vec<Vec<NodeId>> {
        let index: HashMap<NodeId, usize> = nodes.iter().enumerate().map(|(i, &n)| (n, i)).collect();
        let mut parent: Vec<usize> = (0..nodes.len()).collect();
        for (at, &id) in nodes.iter().enumerate() {
            if self.from_dims.contains_key(&id) {
                continue;
            }
            for value in scope.graph.node_inputs(id).into_iter().flatten() {
                let producer = scope.graph.producer(value).map(|(n, _)| n).filter(|n| foldable.contains(n));
                if let Some(&other) = producer.and_then(|n| index.get(&n)) {
                    let (a, b) = (root(&mut parent, at), root(&mut parent, other));
                    parent[a.max(b)] = a.min(b);
                }
            }
        }
        let mut groups: BTreeMap<usize, Vec<NodeId>> = BTreeMap::new();
        for (at, &id) in nodes.iter().enumerate() {
            groups.entry(root(&mut parent, at)).or_default().push(id);
        }
        groups.into_values().collect()
    }
}

fn root(parent: &mut [usize], mut at: usize) -> usize {
    while parent[at] != at {
        parent[at] = parent[parent[at]];
        at = parent[at];
    }
    at
}

struct Judged {
    frontier: Vec<ValueId>,
    growth: i64,
    /// The operator behind the largest value of the frontier.
    costly: Option<NodeId>,
}

/// What folding these operators adds to the file, less what dies with them.
fn judge(scope: &Scope<'_>, nodes: &[NodeId]) -> Judged {
    let graph = &*scope.graph;
    let inside: HashSet<NodeId> = nodes.iter().copied().collect();
    let outside = |v: ValueId| {
        graph.is_pinned(v) || graph.uses(v).iter().any(|(n, slot)| slot.is_none() || !inside.contains(n))
    };
    let mut judged = Judged { frontier: Vec::new(), growth: 0, costly: None };
    let mut dying: BTreeSet<ValueId> = BTreeSet::new();
    let mut largest = -1;
    for &id in nodes {
        let node = graph.node(id);
        let tensors: i64 = node.attrs.iter().map(|a| attr_bytes(&a.value)).sum();
        judged.growth -= NODE_BYTES + node.name.len() as i64 + node.op.name.len() as i64 + tensors;
        dying.extend(graph.node_inputs(id).into_iter().flatten().filter(|&v| graph.constant(v).is_some()));
        for value in graph.node_outputs(id).into_iter().flatten().filter(|&v| outside(v)) {
            let bytes = bytes_of(scope, value);
            judged.frontier.push(value);
            judged.growth = judged.growth.saturating_add(bytes);
            if bytes > largest {
                (largest, judged.costly) = (bytes, Some(id));
            }
        }
    }
    for value in dying.into_iter().filter(|&v| !outside(v) && graph.value(v).origin == Origin::Local) {
        judged.growth -= graph.constant(value).map_or(0, |d| d.byte_len() as i64);
    }
    judged
}

/// Bytes of a value that inference knows the dims of; one whose size is not known is small enough to try: the
/// evaluation has a limit of its own.
fn bytes_of(scope: &Scope<'_>, value: ValueId) -> i64 {
    let ty = scope.facts.ty(value);
    let Some((dims, dtype)) = ty.known_dims().zip(ty.dtype()) else { return 0 };
    let count = dims.iter().fold(1u64, |n, &d| n.saturating_mul(d));
    let bytes = if dtype == DType::String { Some(count) } else { dtype.byte_len(count) };
    bytes.and_then(|n| i64::try_from(n).ok()).unwrap_or(i64::MAX)
}

fn attr_bytes(value: &AttrValue) -> i64 {
    match value {
        AttrValue::Tensor(data) => data.byte_len() as i64,
        AttrValue::Ints(items) => items.len() as i64,
        AttrValue::Floats(items) => 4 * items.len() as i64,
        _ => 2,
    }
}

/// The result of an operator whose elements follow from dims that are known: `Shape`, and what is computed from it.
fn known_from_dims(scope: &Scope<'_>, id: NodeId) -> Option<TensorData> {
    let outputs = scope.graph.node_outputs(id);
    let &[Some(output)] = outputs.as_slice() else { return None };
    let items = scope.facts.value_i64s(output)?;
    let dims: Vec<u64> = scope.facts.ty(output).known_dims()?;
    match scope.facts.dtype(output)? {
        DType::Int64 => TensorData::from_slice(&dims, &items).ok(),
        DType::Int32 => {
            let items: Vec<i32> = items.iter().map(|&x| i32::try_from(x).ok()).collect::<Option<_>>()?;
            TensorData::from_slice(&dims, &items).ok()
        }
        _ => None,
    }
}
