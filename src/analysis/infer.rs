//! The walk that computes facts.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::calc::Calc;
use super::dtype::{Form, output_dtype};
use super::expr::Expr;
use super::fact::{Fact, Tensor};
use super::facts::{Facts, InferContext};
use super::rules::{Call, Input, keeps_shape, rule};
use super::sequence;
use crate::ir::{Graph, Node, NodeId, Origin, TensorData, ValueId, ValueType};

impl Facts {
    /// The facts of a main graph.
    pub fn of(graph: &Graph, cx: &InferContext) -> Self {
        let blank = Self { bindings: cx.bindings.clone(), prefix: "?".to_owned(), ..Self::default() };
        let mut facts = blank.clone();
        facts.walk(graph);
        if facts.caught {
            let problems = std::mem::take(&mut facts.problems);
            facts = Self { stale: true, ..blank };
            facts.walk(graph);
            facts.problems = problems;
        }
        facts
    }

    /// Fills the facts of a whole graph.
    pub(super) fn walk(&mut self, graph: &Graph) {
        self.grow(graph);
        for value in graph.values().filter(|&v| graph.producer(v).is_none()) {
            let fact = self.source(graph, value);
            self.put(value, fact);
        }
        match graph.order() {
            Ok(order) => {
                for node in order {
                    self.step(graph, node);
                }
            }
            Err(error) => self.problems.push(error.to_string()),
        }
    }

    /// Computes anew the facts of these nodes' outputs, and of what depends on them, as long as something changes.
    ///
    /// A rewrite hands in the nodes that it added, and those whose inputs it changed (nodes that read a value which
    /// became a constant among them). Nodes that are gone are skipped.
    pub fn refresh(&mut self, graph: &Graph, from: &[NodeId]) {
        self.grow(graph);
        let mut queue = BinaryHeap::new();
        let mut queued = BTreeSet::new();
        let add = |queue: &mut BinaryHeap<_>, queued: &mut BTreeSet<NodeId>, node: NodeId| {
            if graph.contains_node(node) && queued.insert(node) {
                queue.push(Reverse((graph.node(node).position, node)));
            }
        };
        for &node in from {
            add(&mut queue, &mut queued, node);
        }
        // Places in the file order the queue. Where they are no topological order, nodes are looked at again; this
        // many times at most before the whole graph is cheaper.
        let mut steps = 4 * graph.index_bound() + 64;
        while let Some(Reverse((_, node))) = queue.pop() {
            queued.remove(&node);
            for value in graph.node_inputs(node).into_iter().flatten() {
                if graph.producer(value).is_none() {
                    let fact = self.source(graph, value);
                    self.put(value, fact);
                }
            }
            for value in self.step(graph, node) {
                graph.uses(value).iter().for_each(|&(user, _)| add(&mut queue, &mut queued, user));
            }
            steps -= 1;
            if steps == 0 {
                return self.walk(graph);
            }
        }
    }

    /// Computes the outputs of one node. Returns those whose fact changed.
    fn step(&mut self, graph: &Graph, id: NodeId) -> Vec<ValueId> {
        let outputs = graph.node_outputs(id);
        let mut facts = self.outputs(graph, id).into_iter();
        let mut changed = Vec::new();
        for value in outputs {
            let fact = facts.next().unwrap_or_default();
            if let Some(value) = value {
                let fact = self.reconcile(graph, value, fact);
                if self.put(value, fact) {
                    changed.push(value);
                }
            }
        }
        changed
    }

    /// What the operator says of its outputs.
    fn outputs(&mut self, graph: &Graph, id: NodeId) -> Vec<Fact> {
        let node = graph.node(id);
        if node.op.domain.is_empty()
            && Form::of(node) == Form::Newest
            && let Some(facts) = self.control_flow(graph, id)
        {
            return facts;
        }
        let place = format!("{}{}", self.prefix, id.index());
        let mut sizes = std::mem::take(&mut self.sizes);
        let slots = graph.node_inputs(id);
        let inputs: Vec<_> = slots.iter().map(|v| v.map(|v| (self.fact(v), constant(graph, v)))).collect();
        let out = outputs_of(node, &inputs, &mut Calc::new(place, &mut sizes));
        self.sizes = sizes;
        out
    }

    /// What a node that is not there yet would say of its outputs, over values of the graph and others. `place` tells
    /// it from other such nodes.
    pub(crate) fn propose(
        &self,
        place: usize,
        node: &Node,
        inputs: &[Option<(&Fact, Option<&TensorData>)>],
    ) -> Vec<Fact> {
        let mut sizes = self.sizes.clone();
        let mut calc = Calc::new(format!("{}new{place}", self.prefix), &mut sizes);
        let tidy = |fact| if let Fact::Tensor(tensor) = fact { Fact::Tensor(tensor.tidy()) } else { fact };
        outputs_of(node, inputs, &mut calc).into_iter().map(tidy).collect()
    }

    /// What is known of a value, as [`Facts::propose`] takes and gives it.
    pub(crate) fn known(&self, value: ValueId) -> &Fact {
        self.fact(value)
    }

    /// What is known of a value that no node produces.
    fn source(&self, graph: &Graph, id: ValueId) -> Fact {
        let value = graph.value(id);
        if value.origin == Origin::Captured
            && let Some(fact) = self.outer.get(&value.name)
        {
            return fact.clone();
        }
        if let Some(data) = graph.constant(id) {
            return Fact::Tensor(Tensor::constant(data).tidy());
        }
        if let Some(sparse) = value.sparse.as_ref().filter(|_| !graph.is_input(id)) {
            let dims = sparse.dims.iter().map(|&d| i64::try_from(d).map(Expr::of)).collect::<Result<_, _>>();
            return Fact::Tensor(Tensor {
                dtype: Some(sparse.values.dtype()),
                shape: dims.ok(),
                elems: None,
            });
        }
        let declared = self.declared(id, &value.ty, false);
        let at = graph.inputs().iter().position(|&v| v == id);
        match (at.and_then(|at| self.given.get(at)), declared) {
            (Some(Fact::Tensor(given)), Fact::Tensor(declared)) if given.dtype.is_none() => {
                Fact::Tensor(Tensor { dtype: declared.dtype, ..given.clone() })
            }
            (Some(Fact::Unknown) | None, declared) => declared,
            (Some(given), _) => given.clone(),
        }
    }

    /// A declared type as a fact; `blank` keeps only the rank of its dims.
    fn declared(&self, id: ValueId, ty: &ValueType, blank: bool) -> Fact {
        let size_of = |name: &str| match self.bindings.get(name) {
            Some(&n) => i64::try_from(n).ok().map(Expr::of),
            // A symbol of a body may be another size each time the body runs.
            None => (self.depth == 0 && !blank).then(|| Expr::size(name)),
        };
        let unknown = |axis: usize| Expr::fresh(&format!("{}v{}.{axis}", self.prefix, id.index()));
        let fact = Fact::declared(ty, &size_of, &unknown);
        match fact {
            Fact::Tensor(Tensor { dtype, shape: Some(shape), .. }) if blank => {
                Fact::Tensor(Tensor { dtype, ..Tensor::of((0..shape.len()).map(unknown).collect()) })
            }
            fact => fact,
        }
    }

    /// Fills what inference cannot know from what the file declares.
    fn reconcile(&mut self, graph: &Graph, id: ValueId, inferred: Fact) -> Fact {
        let value = graph.value(id);
        let declared = self.declared(id, &value.ty, self.stale);
        match (inferred, declared) {
            (Fact::Tensor(inferred), Fact::Tensor(declared)) => {
                Fact::Tensor(self.reconcile_tensor(&value.name, inferred, declared).tidy())
            }
            (Fact::Tensor(inferred), _) => {
                let checked = self.reconcile_tensor(&value.name, inferred, Tensor::UNKNOWN);
                Fact::Tensor(checked.tidy())
            }
            (Fact::Unknown, declared) => declared,
            (Fact::Sequence(a), Fact::Sequence(b)) if *a == Fact::Unknown => Fact::Sequence(b),
            (Fact::Optional(a), Fact::Optional(b)) if *a == Fact::Unknown => Fact::Optional(b),
            (inferred, _) => inferred,
        }
    }

    fn reconcile_tensor(&mut self, name: &str, mut inferred: Tensor, declared: Tensor) -> Tensor {
        match (inferred.dtype, declared.dtype) {
            (None, dtype) => inferred.dtype = dtype,
            (Some(a), Some(b)) if a != b => {
                self.problems.push(format!("value `{name}` is declared {b}, but is {a}"));
            }
            _ => {}
        }
        if inferred.shape.iter().flatten().any(|d| d.known().is_some_and(|n| n < 0)) {
            self.problems.push(format!("value `{name}` would have a negative dim"));
            (inferred.shape, inferred.elems) = (None, None);
        }
        let Some(claimed) = declared.shape else { return inferred };
        let Some(dims) = &mut inferred.shape else {
            inferred.shape = Some(claimed);
            return inferred;
        };
        let mut wrong = dims.len() != claimed.len();
        let mut caught = wrong;
        for (dim, claim) in dims.iter_mut().zip(claimed).filter(|_| !wrong) {
            match (dim.known(), claim.known()) {
                (Some(a), Some(b)) => caught |= a != b,
                // A number for what depends on the size of an input: true of one input only.
                (None, Some(_)) if !dim.has_fresh() => caught = true,
                (None, Some(_)) => *dim = claim,
                (None, None) if dim.is_fresh() && !claim.has_fresh() => *dim = claim,
                _ => {}
            }
        }
        wrong |= caught;
        if wrong {
            let dims: Vec<_> = inferred.shape.iter().flatten().map(ToString::to_string).collect();
            self.problems.push(format!("the declared dims of value `{name}` are not [{}]", dims.join(",")));
            self.caught = true;
        }
        inferred
    }
}

/// What an operator without bodies says of its outputs.
fn outputs_of(
    node: &Node,
    inputs: &[Option<(&Fact, Option<&TensorData>)>],
    calc: &mut Calc<'_>,
) -> Vec<Fact> {
    if node.attrs.has_refs() {
        return vec![Fact::Unknown; node.output_count()];
    }
    let form = Form::of(node);
    let standard = node.op.domain.is_empty();
    let plain = standard && form == Form::Newest;
    let facts: Vec<Option<&Fact>> = inputs.iter().map(|i| i.map(|(fact, _)| fact)).collect();
    if plain && let Some(facts) = sequence::outputs(node, &facts, calc) {
        return facts;
    }
    let dtypes: Vec<_> = facts.iter().map(|f| f.and_then(Fact::tensor).and_then(|t| t.dtype)).collect();
    let tensors = inputs.iter().map(|input| {
        let (fact, data) = (*input)?;
        Some(Input { fact: fact.tensor().unwrap_or(&Tensor::UNKNOWN), data })
    });
    let call = Call { node, inputs: tensors.collect() };
    let tensors = if plain {
        rule(&node.op.name).and_then(|rule| rule(&call, calc))
    } else if standard && keeps_shape(&node.op.name) {
        call.shape(0).map(|s| vec![Tensor::of(s.to_vec())])
    } else {
        None
    };
    let mut tensors = tensors.unwrap_or_default();
    tensors.resize(node.output_count(), Tensor::UNKNOWN);
    let typed = tensors.into_iter().enumerate().map(|(slot, tensor)| {
        let dtype = output_dtype(node, form, slot, &dtypes);
        match (dtype, &tensor.shape) {
            (None, None) => Fact::Unknown,
            _ => Fact::Tensor(Tensor { dtype, ..tensor }),
        }
    });
    typed.collect()
}

/// The data of a constant, an initializer or the output of a `Constant` node.
fn constant(graph: &Graph, value: ValueId) -> Option<&TensorData> {
    graph.constant(value).or_else(|| {
        let (node, _) = graph.producer(value)?;
        let node = graph.node(node);
        if node.is("Constant") { node.attrs.tensor("value") } else { None }
    })
}
