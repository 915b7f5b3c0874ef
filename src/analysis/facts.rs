//! Facts about the values of one graph: element types, dims, and the elements of shape arithmetic.

use std::collections::{BTreeMap, HashSet};

use super::expr::{Bindings, Expr};
use super::fact::{Fact, Tensor};
use crate::ir::{DType, Graph, ValueId, ValueType};

/// What is known from outside the graph.
#[derive(Debug, Clone, Default)]
pub struct InferContext {
    /// Sizes for symbolic dims, by symbol.
    pub bindings: Bindings,
}

/// What is known of every value of one graph. Whatever is not provable is absent.
///
/// A fact says what holds on every run that succeeds. Equal symbols are equal sizes; a symbol that inference made up
/// starts with `?` and leaves no trace in [`Facts::ty`].
///
/// * Calls of model-local functions and operators outside the standard give what their outputs declare, and no more;
///   inlining functions first gives more.
/// * Declared types fill only what inference cannot know. Where one of them contradicts an inferred dim, or claims a
///   number for a dim that depends on an input, the file's declared dims are taken as stale, and none of them is used.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub(super) values: Vec<Fact>,
    /// Expressions that are the size of some dim.
    pub(super) sizes: HashSet<Expr>,
    pub(super) problems: Vec<String>,
    pub(super) bindings: Bindings,
    /// Facts of captured values, by name.
    pub(super) outer: BTreeMap<String, Fact>,
    /// In a body: facts of its inputs, in order.
    pub(super) given: Vec<Fact>,
    /// Starts the name of every symbol made up here.
    pub(super) prefix: String,
    /// How many graphs are around this one.
    pub(super) depth: u32,
    /// Whether declared dims of values that nodes produce are ignored.
    pub(super) stale: bool,
    /// Whether a declared dim was caught being wrong.
    pub(super) caught: bool,
}

impl Facts {
    pub(super) fn fact(&self, value: ValueId) -> &Fact {
        self.values.get(value.index()).unwrap_or(&Fact::Unknown)
    }

    fn tensor(&self, value: ValueId) -> Option<&Tensor> {
        self.fact(value).tensor()
    }

    /// The element type of a dense tensor.
    pub fn dtype(&self, value: ValueId) -> Option<DType> {
        self.tensor(value)?.dtype
    }

    /// The dims of a dense tensor; `None` where not even the rank is known.
    pub fn shape(&self, value: ValueId) -> Option<&[Expr]> {
        self.tensor(value)?.shape.as_deref()
    }

    /// One dim of a dense tensor.
    pub fn dim(&self, value: ValueId, axis: usize) -> Option<&Expr> {
        self.shape(value)?.get(axis)
    }

    /// The size of one dim of a dense tensor, where it is known.
    pub fn known_dim(&self, value: ValueId, axis: usize) -> Option<i64> {
        self.dim(value, axis)?.known()
    }

    /// The rank of a dense tensor.
    pub fn rank(&self, value: ValueId) -> Option<usize> {
        self.shape(value).map(<[Expr]>::len)
    }

    /// The dims of a dense tensor, where all are known.
    pub fn known_dims(&self, value: ValueId) -> Option<Vec<u64>> {
        self.shape(value)?.iter().map(|d| u64::try_from(d.known()?).ok()).collect()
    }

    /// The elements of a small tensor, in row-major order, where they are followed: integers, or floating-point
    /// numbers that are integers.
    pub fn value(&self, value: ValueId) -> Option<&[Expr]> {
        self.tensor(value)?.elems.as_deref()
    }

    /// The same, where all are known.
    pub fn value_i64s(&self, value: ValueId) -> Option<Vec<i64>> {
        self.value(value)?.iter().map(Expr::known).collect()
    }

    /// Whether two tensors have the same dims on every run.
    pub fn same_shape(&self, a: ValueId, b: ValueId) -> bool {
        a == b && self.tensor(a).is_some() || self.shape(a).is_some_and(|dims| Some(dims) == self.shape(b))
    }

    /// Whether two dims are the same on every run.
    pub fn same_dim(&self, a: (ValueId, usize), b: (ValueId, usize)) -> bool {
        self.dim(a.0, a.1).is_some_and(|dim| Some(dim) == self.dim(b.0, b.1))
    }

    /// The type as a file would declare it: symbols of the model keep their names, expressions become unknown dims.
    pub fn ty(&self, value: ValueId) -> ValueType {
        self.fact(value).ty()
    }

    /// What the file declares and inference refutes, one line each.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Makes room for values that were added.
    pub(super) fn grow(&mut self, graph: &Graph) {
        if self.values.len() < graph.index_bound() {
            self.values.resize(graph.index_bound(), Fact::Unknown);
        }
    }

    /// Stores a fact. Whether it is another one than before.
    pub(super) fn put(&mut self, value: ValueId, fact: Fact) -> bool {
        let Some(slot) = self.values.get_mut(value.index()) else { return false };
        let changed = *slot != fact;
        if changed {
            if let Some(dims) = fact.tensor().and_then(|t| t.shape.as_ref()) {
                let composite = |d: &&Expr| d.known().is_none() && d.symbol().is_none() && !d.is_fresh();
                self.sizes.extend(dims.iter().filter(composite).cloned());
            }
            *slot = fact;
        }
        changed
    }
}
