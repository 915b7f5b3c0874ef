//! What a graph costs: parameters, bytes, multiply-accumulates, and the most memory that activations take.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::calc::Calc;
use super::channels::Axis;
use super::expr::{Bindings, Expr};
use super::facts::Facts;
use super::products::{multiplies, node_products};
use super::rules::einsum_labels;
use crate::ir::{AttrValue, DType, Graph, Node, NodeId, Origin, TensorData, ValueId};

/// Sizes for the symbols that inference left.
#[derive(Debug, Clone, Default)]
pub struct Sizes {
    bindings: Bindings,
}

impl Sizes {
    /// Sizes by symbol; a cost that needs another symbol is unknown.
    pub fn of(bindings: Bindings) -> Self {
        Self { bindings }
    }

    /// These sizes, and 1 for every unknown first dim of a graph input: a batch of one.
    pub fn batch_of_one(graph: &Graph, facts: &Facts, bindings: Bindings) -> Self {
        let mut sizes = Self::of(bindings);
        for dim in graph.inputs().iter().filter_map(|&v| facts.dim(v, 0)) {
            if let [symbol] = dim.symbols().as_slice() {
                sizes.bindings.entry((*symbol).to_owned()).or_insert(1);
            }
        }
        sizes
    }

    /// The number that a size stands for.
    pub fn eval(&self, size: &Expr) -> Option<u64> {
        let of = |name: &str| self.bindings.get(name).and_then(|&n| i64::try_from(n).ok());
        u64::try_from(size.eval(&of)?).ok()
    }

    fn product<'e>(&self, dims: impl IntoIterator<Item = &'e Expr>) -> Option<u64> {
        dims.into_iter().try_fold(1u64, |n, d| n.checked_mul(self.eval(d)?))
    }
}

/// Constants: how many elements, and how many bytes by element type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Elements.
    pub count: u64,
    /// Bytes in a file, by element type.
    pub bytes: BTreeMap<DType, u64>,
}

impl Parameters {
    /// All bytes.
    pub fn total_bytes(&self) -> u64 {
        self.bytes.values().sum()
    }

    fn add(&mut self, data: &TensorData) {
        self.count += data.len() as u64;
        *self.bytes.entry(data.dtype()).or_default() += data.byte_len();
    }

    fn add_graph(&mut self, graph: &Graph) {
        for value in graph.values().map(|v| graph.value(v)).filter(|v| v.origin == Origin::Local) {
            value.data.iter().for_each(|data| self.add(data));
            value.sparse.iter().for_each(|sparse| self.add(&sparse.values));
        }
        for node in graph.nodes().map(|n| graph.node(n)) {
            let constant = node.op.is("Constant").then(|| node.attrs.get("value")).flatten();
            if let Some(AttrValue::Tensor(data)) = constant {
                self.add(data);
            }
            node.attrs.graphs().for_each(|body| self.add_graph(body));
        }
    }
}

/// The constants of a graph and its bodies. Constants that only the newest form of an operator needs do not count.
pub fn parameters(graph: &Graph) -> Parameters {
    let mut all = Parameters::default();
    all.add_graph(graph);
    all
}

/// The multiply-accumulates of one node: 0 for an operator that is not made of them, `None` where dims are unknown.
///
/// Counted are convolutions, matrix products (onnxruntime's `MatMulNBits` too), `Einsum` and `Attention`; an `If` counts as its dearer branch. A loop whose
/// body has any is unknown.
pub fn node_macs(graph: &Graph, facts: &Facts, sizes: &Sizes, id: NodeId) -> Option<u64> {
    let node = graph.node(id);
    if is_n_bits(node) {
        let columns = u64::try_from(node.attrs.int("N")?).ok()?;
        return sizes.product(facts.shape(graph.node_input(id, 0)?)?)?.checked_mul(columns);
    }
    if node.op.is("Einsum") {
        return einsum(graph, facts, sizes, id);
    }
    if node.op.is("If") {
        let branch = |name: &str| macs(node.attrs.graph(name)?, &facts.body(graph, id, name)?, sizes);
        return Some(branch("then_branch")?.max(branch("else_branch")?));
    }
    if node.op.domain.is_empty() && node.attrs.graphs().any(has_macs) {
        return None;
    }
    let size = |axis: Axis| sizes.eval(facts.dim(axis.value, axis.axis)?);
    let products = node_products(graph, facts, id)?;
    products.iter().try_fold(0u64, |sum, product| sum.checked_add(product.eval(size)?))
}

/// Whether a node is onnxruntime's product with a weight of few bits.
fn is_n_bits(node: &Node) -> bool {
    &*node.op.domain == "com.microsoft" && &*node.op.name == "MatMulNBits"
}

/// The product of the sizes of all labels, where there is more than one input.
fn einsum(graph: &Graph, facts: &Facts, sizes: &Sizes, id: NodeId) -> Option<u64> {
    let inputs = graph.node_inputs(id);
    let shapes: Vec<&[Expr]> = inputs.iter().map(|v| facts.shape((*v)?)).collect::<Option<_>>()?;
    if shapes.len() < 2 {
        return Some(0);
    }
    let mut made = HashSet::new();
    let equation = graph.node(id).attrs.str("equation")?;
    let (labels, _) = einsum_labels(equation, &shapes, &mut Calc::new("?".to_owned(), &mut made))?;
    sizes.product(labels.values())
}

/// Whether a graph or its bodies hold an operator that is made of multiply-accumulates.
fn has_macs(graph: &Graph) -> bool {
    graph.nodes().map(|n| graph.node(n)).any(|node| {
        (node.op.domain.is_empty() && multiplies(&node.op.name))
            || is_n_bits(node)
            || node.attrs.graphs().any(has_macs)
    })
}

/// The multiply-accumulates of a graph; `None` where those of one node are unknown.
pub fn macs(graph: &Graph, facts: &Facts, sizes: &Sizes) -> Option<u64> {
    graph.nodes().try_fold(0u64, |sum, id| sum.checked_add(node_macs(graph, facts, sizes, id)?))
}

/// The most bytes that inputs and activations take together while the nodes run in order, each value from where it is
/// made to its last use. `None` where the size of one is unknown.
pub fn peak_memory(graph: &Graph, facts: &Facts, sizes: &Sizes) -> Option<u64> {
    let bytes = |value: ValueId| {
        let elements = sizes.product(facts.shape(value)?)?;
        facts.dtype(value)?.byte_len(elements)
    };
    let order = graph.order().ok()?;
    let (read, dies) = lifetimes(graph, &order);
    let inputs: Option<Vec<u64>> = graph.inputs().iter().map(|&v| bytes(v)).collect();
    let mut live: u64 = inputs?.iter().sum();
    let mut peak = live;
    for (&node, dead) in order.iter().zip(&dies) {
        let made: Vec<ValueId> = graph.node_outputs(node).into_iter().flatten().collect();
        for &value in &made {
            live = live.checked_add(bytes(value)?)?;
        }
        peak = peak.max(live);
        let unread = made.iter().filter(|v| !read.contains(v) && !graph.is_output(**v));
        for &value in unread.chain(dead) {
            live = live.saturating_sub(bytes(value)?);
        }
    }
    Some(peak)
}

/// The values that are read at all, and for each place in the order the activations whose last use is there.
fn lifetimes(graph: &Graph, order: &[NodeId]) -> (BTreeSet<ValueId>, Vec<Vec<ValueId>>) {
    let mut last_use: BTreeMap<ValueId, usize> = BTreeMap::new();
    for (at, &node) in order.iter().enumerate() {
        let read = graph.node_inputs(node).into_iter().flatten().chain(graph.captures(node));
        last_use.extend(read.map(|value| (value, at)));
    }
    let outputs: BTreeSet<ValueId> = graph.outputs().iter().copied().collect();
    let inputs: BTreeSet<ValueId> = graph.inputs().iter().copied().collect();
    let mut dies = vec![Vec::new(); order.len()];
    for (&value, &at) in &last_use {
        let activation = graph.producer(value).is_some() || inputs.contains(&value);
        if let Some(dead) = dies.get_mut(at).filter(|_| activation && !outputs.contains(&value)) {
            dead.push(value);
        }
    }
    (last_use.into_keys().collect(), dies)
}
