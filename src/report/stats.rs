//! What a model consists of.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::analysis::cost::{self, Sizes};
use crate::analysis::{Bindings, Facts, InferContext};
use crate::ir::{AttrValue, Graph, Model, Origin, TensorData};

/// What a model consists of, bodies and functions included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Opset of `ai.onnx`.
    pub opset: Option<i64>,
    /// `ir_version`.
    pub ir_version: i64,
    /// Operators, `Constant` not counted: it is one way to write an initializer.
    pub nodes: usize,
    /// Operators by type, `Constant` included.
    pub operators: BTreeMap<String, usize>,
    /// Elements of floating-point constants.
    pub parameters: u64,
    /// Bytes of all constants.
    pub weight_bytes: u64,
    /// Multiply–accumulates of one run; `None` where dims are open.
    pub macs: Option<u64>,
    /// Bytes of the file and its external data.
    pub file_bytes: Option<u64>,
}

impl Stats {
    /// Counts a model.
    pub fn of(model: &Model) -> Self {
        let mut stats = Self {
            opset: model.opset(""),
            ir_version: model.meta.ir_version,
            macs: macs(model),
            ..Self::default()
        };
        stats.add(&model.graph);
        model.functions.iter().for_each(|f| stats.add(&f.graph));
        stats
    }

    fn add(&mut self, graph: &Graph) {
        for node in graph.nodes().map(|n| graph.node(n)) {
            let op = node.as_read.as_ref().map_or(&node.op, |r| &r.op);
            self.nodes += usize::from(!op.is("Constant"));
            *self.operators.entry(op.to_string()).or_default() += 1;
            for attr in node.attrs.iter() {
                if let AttrValue::Tensor(data) = &attr.value {
                    self.add_tensor(data);
                }
            }
            node.attrs.graphs().for_each(|body| self.add(body));
        }
        for value in graph.values().map(|v| graph.value(v)).filter(|v| v.origin == Origin::Local) {
            if let Some(data) = &value.data {
                self.add_tensor(data);
            }
        }
    }

    fn add_tensor(&mut self, data: &TensorData) {
        self.weight_bytes += data.byte_len();
        if data.dtype().is_float() {
            self.parameters += data.len() as u64;
        }
    }
}

/// Multiply–accumulates with a batch of one.
fn macs(model: &Model) -> Option<u64> {
    let facts = Facts::of(&model.graph, &InferContext::default());
    let sizes = Sizes::batch_of_one(&model.graph, &facts, Bindings::default());
    cost::macs(&model.graph, &facts, &sizes)
}
