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

/// Numbers that look random, the same on every run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    pub(super) fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.roll(items.len())]
    }

    fn int(&mut self) -> i64 {
        const ODD: &[i64] = &[i64::MIN, i64::MAX, 1 << 60, -(1 << 40), 1 << 31, 255, 6];
        if self.roll(8) == 0 { self.of(ODD) } else { self.roll(8) as i64 - 3 }
    }

    pub(super) fn tensor(&mut self) -> TensorData {
        if self.roll(2) == 0 {
            let items: Vec<i64> = (0..self.roll(5)).map(|_| self.int()).collect();
            return if items.len() == 1 { TensorData::scalar(items[0]) } else { TensorData::vector(&items) };
        }
        let mut dims: Vec<u64> = (0..self.roll(5)).map(|_| self.of(&[0, 1, 1, 2, 2, 3, 4])).collect();
        if dims.contains(&0) && self.roll(2) == 0 {
            dims.push(1 << 59);
        }
        let dtype = if self.roll(3) == 0 { DType::Float } else { self.of(DType::ALL) };
        let len: u64 = if dims.contains(&0) { 0 } else { dims.iter().product() };
        if dtype == DType::String {
            return TensorData::strings(&dims, (0..len).map(|i| format!("{i} a").into()).collect()).unwrap();
        }
        let bytes: Vec<u8> = (0..dtype.byte_len(len).unwrap()).map(|_| self.roll(256) as u8).collect();
        TensorData::new(dtype, &dims, bytes).unwrap()
    }

    pub(super) fn attr(&mut self) -> AttrValue {
        match self.roll(8) {
            0 => AttrValue::Tensor(self.tensor()),
            1 => {
                self.of(&["add", "max", "CRD", "edge", "reflect", "wrap", "circular", "[a-", "LOWER"]).into()
            }
            2 => AttrValue::Ints((0..self.roll(5)).map(|_| self.int()).collect()),
            _ => self.int().into(),
        }
    }
}
