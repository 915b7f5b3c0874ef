//! Facts read off a graph. They never change it.

use crate::ir::{Attrs, DType, Graph, NodeId, OpName, TensorData, ValueId, ValueType};

/// What is known of every value of a graph.
#[derive(Debug, Default)]
pub struct Facts {
    types: std::collections::BTreeMap<ValueId, ValueType>,
}

/// What is known around a graph.
#[derive(Debug, Clone, Copy, Default)]
pub struct InferContext<'a> {
    outer: Option<(&'a Graph, &'a Facts)>,
}

impl<'a> InferContext<'a> {
    /// The context of a body.
    #[must_use]
    pub fn inside(self, graph: &'a Graph, facts: &'a Facts) -> Self {
        Self { outer: Some((graph, facts)) }
    }
}

impl Facts {
    /// Facts of a graph.
    pub fn of(graph: &Graph, _cx: &InferContext<'_>) -> Self {
        Self { types: graph.values().map(|v| (v, graph.value(v).ty.clone())).collect() }
    }

    /// The type of a value.
    pub fn ty(&self, value: ValueId) -> ValueType {
        self.types.get(&value).cloned().unwrap_or_default()
    }

    /// The element type of a value.
    pub fn dtype(&self, value: ValueId) -> Option<DType> {
        self.types.get(&value)?.dtype()
    }

    /// The rank of a value.
    pub fn rank(&self, value: ValueId) -> Option<usize> {
        self.types.get(&value)?.rank()
    }

    /// Known elements.
    pub fn value_i64s(&self, _value: ValueId) -> Option<Vec<i64>> {
        None
    }

    /// A known dim.
    pub fn known_dim(&self, value: ValueId, axis: usize) -> Option<u64> {
        self.types.get(&value)?.shape()?.get(axis)?.known()
    }

    /// Whether two dims are equal.
    pub fn same_dim(&self, a: (ValueId, usize), b: (ValueId, usize)) -> bool {
        self.known_dim(a.0, a.1).is_some_and(|n| self.known_dim(b.0, b.1) == Some(n))
    }

    /// Types of the outputs of a node that is not there yet.
    pub fn infer(
        &self,
        _op: &OpName,
        _attrs: &Attrs,
        _inputs: &[Option<(ValueType, Option<&TensorData>)>],
        outputs: usize,
    ) -> Vec<ValueType> {
        vec![ValueType::Unknown; outputs]
    }

    /// Facts after a change.
    pub fn refresh(&mut self, graph: &Graph, _from: &[NodeId]) {
        self.types = graph.values().map(|v| (v, graph.value(v).ty.clone())).collect();
    }
}
