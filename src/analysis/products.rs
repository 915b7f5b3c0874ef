//! Multiply-accumulates as products of sizes of axes: what they come to, and how they change with a size.

use std::collections::BTreeMap;

use super::Facts;
use super::channels::Axis;
use crate::ir::{Graph, NodeId, ValueId};

/// The sizes of some axes, multiplied, times a fraction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// The axes; one may be there twice.
    pub axes: Vec<Axis>,
    /// The fraction.
    pub times: (u64, u64),
}

impl Product {
    /// What it comes to with these sizes; `None` where one is unknown, or the result does not fit.
    pub fn eval(&self, size: impl Fn(Axis) -> Option<u64>) -> Option<u64> {
        let all = self.axes.iter().try_fold(1u64, |n, &axis| n.checked_mul(size(axis)?))?;
        all.checked_mul(self.times.0)?.checked_div(self.times.1)
    }
}

/// Whether an operator of the standard is made of multiply-accumulates.
pub(super) fn multiplies(name: &str) -> bool {
    const COUNTED: [&str; 11] = [
        "Attention",
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "DeformConv",
        "Einsum",
        "Gemm",
        "MatMul",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
    ];
    COUNTED.contains(&name)
}

/// The multiply-accumulates of one node, as a sum of products; empty for an operator that is not made of them, `None`
/// where dims are unknown. Counted are convolutions, matrix products, `Einsum` and `Attention`; not what is in bodies.
pub fn node_products(graph: &Graph, facts: &Facts, id: NodeId) -> Option<Vec<Product>> {
    let node = graph.node(id);
    if !node.op.domain.is_empty() {
        return Some(Vec::new());
    }
    let site = Site { graph, facts, id };
    let one = |axes: Vec<Axis>| Some(vec![Product { axes, times: (1, 1) }]);
    match &*node.op.name {
        // Every output element reads one filter.
        "Conv" | "ConvInteger" | "DeformConv" => one([site.out(0)?, site.axes(1)?.split_off(1)].concat()),
        "QLinearConv" => one([site.out(0)?, site.axes(3)?.split_off(1)].concat()),
        "ConvTranspose" => one([site.axes(0)?, site.axes(1)?.split_off(1)].concat()),
        "MatMul" | "MatMulInteger" | "QLinearMatMul" => {
            one([site.out(0)?, vec![*site.axes(0)?.last()?]].concat())
        }
        "Gemm" => {
            let inner = usize::from(node.attrs.int("transA").unwrap_or(0) == 0);
            one([site.out(0)?, vec![*site.axes(0)?.get(inner)?]].concat())
        }
        "Einsum" => site.einsum(node.attrs.str("equation")?),
        "Attention" => site.attention(),
        _ => Some(Vec::new()),
    }
}

/// A node whose cost is asked for.
struct Site<'a> {
    graph: &'a Graph,
    facts: &'a Facts,
    id: NodeId,
}

impl Site<'_> {
    fn axes_of(&self, value: ValueId) -> Option<Vec<Axis>> {
        let rank = self.facts.rank(value)?;
        Some((0..rank).map(|axis| Axis { value, axis }).collect())
    }

    fn axes(&self, slot: usize) -> Option<Vec<Axis>> {
        self.axes_of(self.graph.node_input(self.id, slot)?).filter(|axes| !axes.is_empty())
    }

    fn out(&self, slot: usize) -> Option<Vec<Axis>> {
        self.axes_of(self.graph.node_output(self.id, slot)?)
    }

    /// The axes of all labels, of each the one that is not stretched.
    fn einsum(&self, equation: &str) -> Option<Vec<Product>> {
        let letters: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
        let terms: Vec<&str> = letters.split("->").next()?.split(',').collect();
        if terms.len() < 2 {
            return Some(Vec::new());
        }
        let mut found: BTreeMap<char, Axis> = BTreeMap::new();
        for (slot, term) in terms.iter().enumerate() {
            let axes = self.axes(slot)?;
            if axes.len() != term.chars().count() || term.contains('.') {
                return None;
            }
            for (label, axis) in term.chars().zip(axes) {
                let stretched = self.facts.dim(axis.value, axis.axis)?.is(1);
                if !stretched || !found.contains_key(&label) {
                    found.insert(label, axis);
                }
            }
        }
        Some(vec![Product { axes: found.into_values().collect(), times: (1, 1) }])
    }

    /// The scores, and the weighted sums of the values.
    fn attention(&self) -> Option<Vec<Product>> {
        let attrs = &self.graph.node(self.id).attrs;
        let count = |name: &str| u64::try_from(attrs.int(name)?).ok();
        let (q, k, v) = (self.axes(0)?, self.axes(1)?, self.axes(2)?);
        let heads = match q.len() {
            4 => (1, 1),
            _ => (count("q_num_heads")?, count("kv_num_heads")?),
        };
        let (mut rows, mut keys) = (q.clone(), vec![*k.get(k.len().checked_sub(2)?)?]);
        rows.pop();
        if let Some(past) = self.axes(4) {
            keys.push(*past.get(past.len().checked_sub(2)?)?);
        }
        let product =
            |key: &Axis, head: &Axis| Product { axes: [&rows[..], &[*key, *head]].concat(), times: heads };
        let heads = [*k.last()?, *v.last()?];
        Some(
            keys.iter()
                .flat_map(|key| heads.iter().map(|head| product(key, head)).collect::<Vec<_>>())
                .collect(),
        )
    }
}
