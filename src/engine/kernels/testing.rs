//! How the tests of kernels call them.

use bytes::Bytes;

use super::eval;
use crate::engine::{EngineError, NodeCall};
use crate::ir::{AttrValue, Attrs, DType, OpName, TensorData};

/// A call in the making.
pub(super) struct Case {
    op: OpName,
    attrs: Attrs,
    inputs: Vec<Option<TensorData>>,
    outputs: usize,
    limit: u64,
}

impl Case {
    pub(super) fn new(op: &str) -> Self {
        Self { op: OpName::onnx(op), attrs: Attrs::new(), inputs: Vec::new(), outputs: 1, limit: 1 << 20 }
    }

    pub(super) fn input(mut self, tensor: &TensorData) -> Self {
        self.inputs.push(Some(tensor.clone()));
        self
    }

    pub(super) fn absent(mut self) -> Self {
        self.inputs.push(None);
        self
    }

    pub(super) fn outputs(mut self, outputs: usize) -> Self {
        self.outputs = outputs;
        self
    }

    pub(super) fn limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    pub(super) fn attr(mut self, name: &str, value: impl Into<AttrValue>) -> Self {
        self.attrs.set(name, value);
        self
    }

    pub(super) fn int(self, name: &str, value: i64) -> Self {
        self.attr(name, value)
    }

    pub(super) fn run(&self) -> Result<Vec<TensorData>, EngineError> {
        let inputs: Vec<_> = self.inputs.iter().map(Option::as_ref).collect();
        let outputs = vec![true; self.outputs];
        eval(&NodeCall {
            op: &self.op,
            attrs: &self.attrs,
            inputs: &inputs,
            outputs: &outputs,
            limit: self.limit,
        })
    }

    /// All outputs.
    pub(super) fn all(&self) -> Vec<TensorData> {
        self.run().unwrap()
    }

    /// The only output.
    pub(super) fn one(&self) -> TensorData {
        self.all().remove(0)
    }

    pub(super) fn invalid(&self) {
        let error = self.run().unwrap_err();
        assert!(matches!(&error, EngineError::Invalid(what) if what.contains(&*self.op.name)), "{error}");
    }

    pub(super) fn unsupported(&self) {
        assert!(matches!(self.run(), Err(EngineError::Unsupported { .. })));
    }

    pub(super) fn too_large(&self) {
        assert!(matches!(self.run(), Err(EngineError::TooLarge { .. })));
    }
}

pub(super) fn ints(dims: &[u64], items: &[i64]) -> TensorData {
    TensorData::from_slice(dims, items).unwrap()
}

pub(super) fn floats(dims: &[u64], items: &[f32]) -> TensorData {
    TensorData::from_slice(dims, items).unwrap()
}

pub(super) fn bools(dims: &[u64], items: &[bool]) -> TensorData {
    TensorData::from_slice(dims, items).unwrap()
}

pub(super) fn strings(dims: &[u64], items: &[&str]) -> TensorData {
    TensorData::strings(dims, items.iter().map(|s| Bytes::copy_from_slice(s.as_bytes())).collect()).unwrap()
}

/// A tensor of any type that is not a string, from its bytes.
pub(super) fn raw(dtype: DType, dims: &[u64], bytes: &[u8]) -> TensorData {
    TensorData::new(dtype, dims, bytes.to_vec()).unwrap()
}
