//! Groups that the same weights make: their widths are chosen together.

use std::collections::{BTreeMap, BTreeSet};

use crate::prelude::*;

/// Groups that share a weight which makes their channels, and all their atoms, the first to go first.
pub(super) struct Cluster {
    /// Pairs of a group and an atom of it, with the score.
    pub order: Vec<(usize, usize, f64)>,
    /// How many indices of its axes an atom takes, where that is the same for all.
    pub each: Option<usize>,
    /// The nodes whose weights make the channels.
    pub makers: BTreeSet<NodeId>,
}

impl Cluster {
    /// The clusters of some groups, in their order. `scores`: for every atom of every group.
    pub fn all(graph: &Graph, channels: &Channels, groups: &[Group], scores: &[Vec<f64>]) -> Vec<Self> {
        let makers: Vec<BTreeSet<NodeId>> =
            groups.iter().map(|group| makers(graph, channels, group)).collect();
        let mut first: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut head: Vec<usize> = (0..groups.len()).collect();
        for (group, nodes) in makers.iter().enumerate() {
            for node in nodes {
                let other = *first.entry(*node).or_insert(group);
                let (a, b) = (root(&head, group), root(&head, other));
                head[a.max(b)] = a.min(b);
            }
        }
        let mut clusters: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for group in 0..groups.len() {
            clusters.entry(root(&head, group)).or_default().push(group);
        }
        clusters.into_values().map(|members| Self::of(groups, scores, &makers, &members)).collect()
    }

    fn of(groups: &[Group], scores: &[Vec<f64>], makers: &[BTreeSet<NodeId>], members: &[usize]) -> Self {
        let atoms = members.iter().flat_map(|&g| (0..groups[g].atoms.len()).map(move |atom| (g, atom)));
        let mut order: Vec<(usize, usize, f64)> = atoms.map(|(g, atom)| (g, atom, scores[g][atom])).collect();
        order.sort_by(|a, b| a.2.total_cmp(&b.2));
        let first =
            |group: &usize| groups[*group].atoms.first().and_then(|atom| atom.0.first()).map(Vec::len);
        let each = if let [one] = members { first(one) } else { None };
        let makers = members.iter().flat_map(|&g| makers[g].iter().copied()).collect();
        Self { order, each, makers }
    }

    /// What the report says of it, with so many atoms gone.
    pub fn told(&self, graph: &Graph, gone: usize) -> WidthReport {
        let before = self.order.len();
        WidthReport { layers: labels(graph, &self.makers), before, after: before - gone, kept: None }
    }

    /// How many atoms of every group are gone, after so many of every cluster.
    pub fn by_group(clusters: &[Self], gone: &[usize], groups: usize) -> Vec<usize> {
        let mut counts = vec![0; groups];
        for (cluster, &gone) in clusters.iter().zip(gone) {
            cluster.order[..gone].iter().for_each(|&(group, ..)| counts[group] += 1);
        }
        counts
    }
}

/// What the report says of a group whose channels stay.
pub(super) fn kept(graph: &Graph, makers: &BTreeSet<NodeId>, group: &Group, why: String) -> WidthReport {
    let width = group.atoms.len();
    WidthReport { layers: labels(graph, makers), before: width, after: width, kept: Some(why) }
}

fn labels(graph: &Graph, nodes: &BTreeSet<NodeId>) -> Vec<String> {
    nodes.iter().map(|&node| graph.node_label(node)).collect()
}

fn root(head: &[usize], mut at: usize) -> usize {
    while head[at] != at {
        at = head[at];
    }
    at
}

/// The nodes whose weights make the channels of a group: those that do not sum over them.
pub(super) fn makers(graph: &Graph, channels: &Channels, group: &Group) -> BTreeSet<NodeId> {
    let made = group.axes.iter().filter(|axis| graph.constant(axis.value).is_some());
    let nodes = made.flat_map(|axis| {
        let summing = channels.sums.get(axis).cloned().unwrap_or_default();
        graph.uses(axis.value).into_iter().map(|(node, _)| node).filter(move |node| !summing.contains(node))
    });
    nodes.filter(|&node| multiplies(graph.node(node))).collect()
}

/// Whether it is a layer, with a weight that it multiplies by.
pub(super) fn multiplies(node: &Node) -> bool {
    ["Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum"].iter().any(|op| node.is(op))
}
