//! Elements that are computed when they are written.

use std::collections::HashMap;

use bytes::Bytes;

use crate::ir::{Graph, Model, TensorData};
use crate::onnx::error::OnnxError;
use crate::onnx::proto::ModelProto;
use crate::onnx::visit;

/// A model in protobuf form, and the tensors that have a stand-in there.
pub(in crate::onnx) struct Written {
    /// The message.
    pub proto: ModelProto,
    /// What its stand-ins stand for.
    pub deferred: Deferrals,
}

/// Tensors that are still to be computed, by the address of their stand-in.
#[derive(Default)]
pub(in crate::onnx) struct Deferrals(HashMap<usize, TensorData>);

impl Deferrals {
    pub(super) fn of(model: &Model) -> Self {
        let mut found = Self::default();
        found.add(&model.graph);
        model.functions.iter().for_each(|f| found.add(&f.graph));
        found
    }

    fn add(&mut self, graph: &Graph) {
        for data in graph.values().filter_map(|v| graph.value(v).data.as_ref()).filter(|d| d.is_deferred()) {
            if let Some(stand_in) = data.stand_in() {
                self.0.insert(stand_in.as_ptr() as usize, data.clone());
            }
        }
        graph.nodes().for_each(|n| graph.node(n).attrs.graphs().for_each(|body| self.add(body)));
    }

    /// The elements for which these bytes stand, computed and not kept; `None` for bytes that are what they are.
    pub(in crate::onnx) fn resolve(&self, bytes: &[u8]) -> Option<Bytes> {
        self.0.get(&(bytes.as_ptr() as usize)).filter(|d| d.byte_len() == bytes.len() as u64)?.passing_bytes()
    }
}

impl Written {
    /// The message with all elements in it.
    pub(in crate::onnx) fn resolved(mut self) -> Result<ModelProto, OnnxError> {
        if !self.deferred.0.is_empty() {
            visit::model(&mut self.proto, &mut |tensor, _| {
                let real = tensor.raw_data.as_ref().and_then(|bytes| self.deferred.resolve(bytes));
                tensor.raw_data = real.or_else(|| tensor.raw_data.take());
                Ok(())
            })?;
        }
        Ok(self.proto)
    }
}
