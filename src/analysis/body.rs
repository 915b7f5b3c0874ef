//! Bodies of If, Loop and Scan: their facts, and what their nodes return.

use super::calc::Calc;
use super::expr::Expr;
use super::fact::{Fact, Tensor};
use super::facts::Facts;
use super::rules::axis_of;
use crate::ir::{DType, Graph, NodeId};

/// Bodies this deep are not looked into.
const MAX_DEPTH: u32 = 40;

/// Loops this deep take everything that they carry as unknown.
const MAX_LOOP_DEPTH: u32 = 3;

/// How often the body of a loop is looked at before everything that it carries is taken as unknown.
const ROUNDS: usize = 4;

/// What a body is called with, made from what the loop carries.
type Given<'a> = dyn Fn(&[Fact]) -> Vec<Fact> + 'a;

impl Facts {
    /// The facts of a body, which is an attribute of a node of this graph.
    pub fn body(&self, graph: &Graph, node: NodeId, attribute: &str) -> Option<Facts> {
        match &*graph.node(node).op.name {
            "Loop" if attribute == "body" => self.looped(graph, node).map(|(facts, _)| facts),
            "Scan" if attribute == "body" => self.scanned(graph, node).map(|(facts, _)| facts),
            _ => self.enter(graph, node, attribute, Vec::new()),
        }
    }

    /// Walks a body whose inputs have these facts.
    fn enter(&self, graph: &Graph, node: NodeId, attribute: &str, given: Vec<Fact>) -> Option<Facts> {
        let body = graph.node(node).attrs.graph(attribute).filter(|_| self.depth < MAX_DEPTH)?;
        let captured = body.captured_values().filter_map(|v| {
            let name = &body.value(v).name;
            Some((name.clone(), self.fact(graph.find(name)?).clone()))
        });
        let mut facts = Facts {
            bindings: self.bindings.clone(),
            outer: captured.collect(),
            given,
            prefix: format!("{}{}/{attribute}/", self.prefix, node.index()),
            depth: self.depth + 1,
            stale: self.stale,
            sizes: self.sizes.clone(),
            ..Facts::default()
        };
        facts.walk(body);
        Some(facts)
    }

    /// The outputs of a node with bodies; `None` for any other node.
    pub(super) fn control_flow(&mut self, graph: &Graph, node: NodeId) -> Option<Vec<Fact>> {
        let outputs = graph.node(node).output_count();
        let facts = match &*graph.node(node).op.name {
            "If" => self.branches(graph, node),
            "Loop" => self.loop_outputs(graph, node),
            "Scan" => self.scan_outputs(graph, node),
            _ => return None,
        };
        Some(facts.unwrap_or_else(|| vec![Fact::Unknown; outputs]))
    }

    /// Takes over what a body found wrong.
    fn hear(&mut self, inner: &Facts) {
        self.caught |= inner.caught;
        self.problems.extend_from_slice(&inner.problems);
    }

    /// Facts of a body's outputs, without the symbols that the body made up.
    fn results(&mut self, node: NodeId, inner: &Facts, body: &Graph) -> Vec<Fact> {
        self.hear(inner);
        let mut calc = Calc::new(format!("{}{}", self.prefix, node.index()), &mut self.sizes);
        let local = |e: &Expr| e.is_local_to(&inner.prefix);
        body.outputs().iter().map(|&v| inner.fact(v).forget(&mut calc, &local)).collect()
    }

    fn branches(&mut self, graph: &Graph, node: NodeId) -> Option<Vec<Fact>> {
        let attrs = &graph.node(node).attrs;
        let condition = graph.node_input(node, 0).and_then(|v| self.value_i64s(v));
        let certain = match condition.as_deref() {
            Some([0]) => Some("else_branch"),
            Some([_]) => Some("then_branch"),
            _ => None,
        };
        if let Some(name) = certain {
            let inner = self.enter(graph, node, name, Vec::new())?;
            return Some(self.results(node, &inner, attrs.graph(name)?));
        }
        let (then, other) = (attrs.graph("then_branch")?, attrs.graph("else_branch")?);
        let then_facts = self.enter(graph, node, "then_branch", Vec::new())?;
        let other_facts = self.enter(graph, node, "else_branch", Vec::new())?;
        self.hear(&then_facts);
        self.hear(&other_facts);
        let place = format!("{}{}", self.prefix, node.index());
        let mut calc = Calc::new(place, &mut self.sizes);
        let pairs = then.outputs().iter().zip(other.outputs());
        // No symbol of one body is a symbol of the other: what is equal is known outside.
        Some(pairs.map(|(&a, &b)| then_facts.fact(a).join(other_facts.fact(b), &mut calc)).collect())
    }

    /// Finds facts of what a loop carries that hold before and after every round of its body.
    fn settle(
        &self,
        graph: &Graph,
        node: NodeId,
        first: &[Fact],
        skip: usize,
        given: &Given<'_>,
    ) -> Option<(Facts, Vec<Fact>)> {
        let body = graph.node(node).attrs.graph("body")?;
        if self.depth >= MAX_LOOP_DEPTH {
            let unknown = vec![Fact::Unknown; first.len()];
            return Some((self.enter(graph, node, "body", given(&unknown))?, unknown));
        }
        let mut carried: Vec<Fact> = first.iter().map(|f| f.widen(f, "")).collect();
        for round in 0..2 * ROUNDS {
            if round == ROUNDS {
                carried = carried.iter().map(Fact::only_dtype).collect();
            }
            let inner = self.enter(graph, node, "body", given(&carried))?;
            let outs = body.outputs().get(skip..)?;
            let next: Vec<Fact> = (carried.iter().zip(outs).enumerate())
                .map(|(i, (fact, &out))| fact.widen(inner.fact(out), &format!("{}c{i}", inner.prefix)))
                .collect();
            if next.len() != carried.len() {
                return None;
            }
            if next == carried {
                return Some((inner, next));
            }
            carried = next;
        }
        None
    }

    fn looped(&self, graph: &Graph, node: NodeId) -> Option<(Facts, Vec<Fact>)> {
        let body = graph.node(node).attrs.graph("body")?;
        let count = body.inputs().len().checked_sub(2)?;
        let inputs = graph.node_inputs(node);
        let first = (0..count).map(|i| match inputs.get(i + 2).copied().flatten() {
            Some(value) => self.fact(value).clone(),
            None => Fact::Unknown,
        });
        let scalar = |dtype| Fact::Tensor(Tensor { dtype: Some(dtype), ..Tensor::of(Vec::new()) });
        let given = |carried: &[Fact]| {
            let mut all = vec![scalar(DType::Int64), scalar(DType::Bool)];
            all.extend_from_slice(carried);
            all
        };
        self.settle(graph, node, &first.collect::<Vec<_>>(), 1, &given)
    }

    fn loop_outputs(&mut self, graph: &Graph, node: NodeId) -> Option<Vec<Fact>> {
        let (inner, carried) = self.looped(graph, node)?;
        let body = graph.node(node).attrs.graph("body")?;
        let stacked =
            self.results(node, &inner, body).split_off((1 + carried.len()).min(body.outputs().len()));
        let mut calc = Calc::new(format!("{}{}.out", self.prefix, node.index()), &mut self.sizes);
        let local = |e: &Expr| e.is_local_to(&inner.prefix);
        let mut outs: Vec<Fact> = carried.iter().map(|f| f.forget(&mut calc, &local)).collect();
        outs.extend(stacked.iter().map(|f| stack(f, 0, calc.unknown())));
        Some(outs)
    }

    fn scanned(&self, graph: &Graph, node: NodeId) -> Option<(Facts, Vec<Fact>)> {
        let attrs = &graph.node(node).attrs;
        let inputs = graph.node_inputs(node);
        let scanned = usize::try_from(attrs.int("num_scan_inputs")?).ok()?;
        let states = inputs.len().checked_sub(scanned)?;
        let fact = |slot: usize| match inputs.get(slot).copied().flatten() {
            Some(value) => self.fact(value).clone(),
            None => Fact::Unknown,
        };
        let slices: Vec<Fact> = (0..scanned)
            .map(|i| {
                let axis = attrs.ints("scan_input_axes").and_then(|a| a.get(i)).copied().unwrap_or(0);
                unstack(&fact(states + i), axis)
            })
            .collect();
        let given = |carried: &[Fact]| [carried, &slices].concat();
        self.settle(graph, node, &(0..states).map(fact).collect::<Vec<_>>(), 0, &given)
    }

    fn scan_outputs(&mut self, graph: &Graph, node: NodeId) -> Option<Vec<Fact>> {
        let (inner, carried) = self.scanned(graph, node)?;
        let attrs = &graph.node(node).attrs;
        let body = attrs.graph("body")?;
        let stacked = self.results(node, &inner, body).split_off(carried.len().min(body.outputs().len()));
        let first = attrs.ints("scan_input_axes").and_then(|a| a.first()).copied().unwrap_or(0);
        let length = graph.node_input(node, carried.len()).and_then(|v| {
            let shape = self.shape(v)?;
            shape.get(axis_of(first, shape.len())?).cloned()
        });
        let mut calc = Calc::new(format!("{}{}.out", self.prefix, node.index()), &mut self.sizes);
        let length = length.unwrap_or_else(|| calc.unknown());
        let local = |e: &Expr| e.is_local_to(&inner.prefix);
        let mut outs: Vec<Fact> = carried.iter().map(|f| f.forget(&mut calc, &local)).collect();
        let axes = attrs.ints("scan_output_axes").unwrap_or_default();
        let axis = |i: usize| axes.get(i).copied().unwrap_or(0);
        outs.extend(stacked.iter().enumerate().map(|(i, f)| stack(f, axis(i), length.clone())));
        Some(outs)
    }
}

/// A tensor of one more axis.
fn stack(fact: &Fact, axis: i64, length: Expr) -> Fact {
    let Fact::Tensor(tensor) = fact else { return Fact::Unknown };
    let shape = tensor.shape.clone().and_then(|mut dims| {
        let axis = axis_of(axis, dims.len() + 1)?;
        dims.insert(axis, length);
        Some(dims)
    });
    Fact::Tensor(Tensor { dtype: tensor.dtype, shape, elems: None })
}

/// A tensor of one axis less.
fn unstack(fact: &Fact, axis: i64) -> Fact {
    let Fact::Tensor(tensor) = fact else { return Fact::Unknown };
    let shape = tensor.shape.clone().and_then(|mut dims| {
        dims.remove(axis_of(axis, dims.len())?);
        Some(dims)
    });
    Fact::Tensor(Tensor { dtype: tensor.dtype, shape, elems: None })
}

impl Fact {
    /// What holds of a value that is one or the other, over and over: a dim that differs is unknown each time.
    fn widen(&self, other: &Fact, place: &str) -> Fact {
        match (self, other) {
            (Fact::Tensor(a), Fact::Tensor(b)) => {
                let shape = a.shape.as_ref().zip(b.shape.as_ref()).filter(|(a, b)| a.len() == b.len());
                let dim = |(axis, (a, b)): (usize, (&Expr, &Expr))| {
                    if a == b { a.clone() } else { Expr::fresh(&format!("{place}.{axis}")) }
                };
                let shape = shape.map(|(a, b)| a.iter().zip(b).enumerate().map(dim).collect());
                Fact::Tensor(Tensor { dtype: a.dtype.filter(|_| a.dtype == b.dtype), shape, elems: None })
            }
            (Fact::Sequence(_), Fact::Sequence(_)) if self != other => Fact::Sequence(Box::default()),
            (Fact::Optional(_), Fact::Optional(_)) if self != other => Fact::Optional(Box::default()),
            _ if self == other => self.clone(),
            _ => Fact::Unknown,
        }
    }

    fn only_dtype(&self) -> Fact {
        match self {
            Fact::Tensor(tensor) => Fact::Tensor(Tensor { dtype: tensor.dtype, ..Tensor::UNKNOWN }),
            _ => Fact::Unknown,
        }
    }
}
