//! How kernels read attributes and inputs, and how they say what is wrong with them.

use std::fmt::Display;

use super::index::count;
use crate::engine::{EngineError, NodeCall};
use crate::ir::{AttrValue, DType, TensorData};

impl NodeCall<'_> {
    /// An error: the node or its inputs are wrong.
    pub(crate) fn invalid(&self, what: impl Display) -> EngineError {
        EngineError::Invalid(format!("{}: {what}", self.op))
    }

    /// An error: no kernel does this.
    pub(crate) fn unsupported(&self, what: impl Display) -> EngineError {
        EngineError::Unsupported { engine: "kernels", what: format!("{}: {what}", self.op) }
    }

    /// An error: no kernel does this operator in this element type.
    pub(crate) fn no_type(&self, dtype: DType) -> EngineError {
        self.unsupported(format_args!("element type {dtype}"))
    }

    fn attr<T>(&self, name: &str, read: impl Fn(&AttrValue) -> Option<T>) -> Result<Option<T>, EngineError> {
        let Some(value) = self.attrs.get(name) else { return Ok(None) };
        let wrong =
            || self.invalid(format_args!("attribute `{name}` must not be of kind {:?}", value.kind()));
        read(value).map(Some).ok_or_else(wrong)
    }

    /// An integer attribute that may be absent.
    pub(crate) fn int_attr(&self, name: &str) -> Result<Option<i64>, EngineError> {
        self.attr(name, |v| if let AttrValue::Int(x) = v { Some(*x) } else { None })
    }

    /// An integer attribute with a default.
    pub(crate) fn int_or(&self, name: &str, default: i64) -> Result<i64, EngineError> {
        Ok(self.int_attr(name)?.unwrap_or(default))
    }

    /// A boolean attribute, which the standard keeps as an integer.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, EngineError> {
        Ok(self.int_or(name, i64::from(default))? != 0)
    }

    /// A float attribute with a default.
    pub(crate) fn float_or(&self, name: &str, default: f32) -> Result<f32, EngineError> {
        let read = |v: &AttrValue| if let AttrValue::Float(x) = v { Some(*x) } else { None };
        Ok(self.attr(name, read)?.unwrap_or(default))
    }

    /// A list of integers that may be absent.
    pub(crate) fn ints_attr(&self, name: &str) -> Result<Option<Vec<i64>>, EngineError> {
        self.attr(name, |v| if let AttrValue::Ints(x) = v { Some(x.clone()) } else { None })
    }

    /// A string attribute with a default.
    pub(crate) fn str_or(&self, name: &str, default: &str) -> Result<String, EngineError> {
        let read = |v: &AttrValue| match v {
            AttrValue::String(x) => std::str::from_utf8(x).ok().map(str::to_owned),
            _ => None,
        };
        Ok(self.attr(name, read)?.unwrap_or_else(|| default.to_owned()))
    }

    /// An attribute that holds the code of an element type; the code 0 counts as absent.
    pub(crate) fn dtype_attr(&self, name: &str) -> Result<Option<DType>, EngineError> {
        let Some(code) = self.int_attr(name)?.filter(|&code| code != 0) else { return Ok(None) };
        let known = i32::try_from(code).ok().and_then(DType::from_code);
        let unknown = || self.invalid(format_args!("attribute `{name}` is {code}, which is no element type"));
        known.map(Some).ok_or_else(unknown)
    }

    /// The integers of an input that may be absent.
    pub(crate) fn ints(&self, slot: usize) -> Result<Option<Vec<i64>>, EngineError> {
        let Some(tensor) = self.input(slot) else { return Ok(None) };
        let wrong = || self.invalid(format_args!("input {slot} must hold integers, not {}", tensor.dtype()));
        tensor.to_i64s().map(Some).ok_or_else(wrong)
    }

    /// The integers of an input that the operator needs.
    pub(crate) fn need_ints(&self, slot: usize) -> Result<Vec<i64>, EngineError> {
        self.need(slot)?;
        Ok(self.ints(slot)?.unwrap_or_default())
    }

    /// The integer of an input of one element that may be absent.
    pub(crate) fn int(&self, slot: usize) -> Result<Option<i64>, EngineError> {
        match self.ints(slot)?.as_deref() {
            None => Ok(None),
            Some([x]) => Ok(Some(*x)),
            Some(all) => {
                Err(self.invalid(format_args!("input {slot} must hold one integer, not {}", all.len())))
            }
        }
    }

    /// Two inputs that must have one element type.
    pub(crate) fn same_type(&self, a: &TensorData, b: &TensorData) -> Result<DType, EngineError> {
        if a.dtype() == b.dtype() {
            return Ok(a.dtype());
        }
        Err(self.invalid(format_args!("its inputs have element types {} and {}", a.dtype(), b.dtype())))
    }

    /// An axis, counted from the back where negative.
    pub(crate) fn axis(&self, axis: i64, rank: usize) -> Result<usize, EngineError> {
        let size = rank as i64;
        let axis_of = |a: i64| usize::try_from(if a < 0 { a.checked_add(size)? } else { a }).ok();
        let wrong = || self.invalid(format_args!("axis {axis} is not one of a tensor of rank {rank}"));
        axis_of(axis).filter(|&a| a < rank).ok_or_else(wrong)
    }

    /// Axes without repeats, in the order given.
    pub(crate) fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>, EngineError> {
        let mut result = Vec::new();
        for &axis in axes {
            let axis = self.axis(axis, rank)?;
            if result.contains(&axis) {
                return Err(self.invalid(format_args!("axis {axis} is listed twice")));
            }
            result.push(axis);
        }
        Ok(result)
    }

    /// A place along an axis of some size, counted from the back where negative.
    pub(crate) fn place(&self, index: i64, size: u64) -> Result<usize, EngineError> {
        let place = if index < 0 { index.checked_add_unsigned(size).unwrap_or(-1) } else { index };
        let wrong = || self.invalid(format_args!("index {index} is outside an axis of size {size}"));
        u64::try_from(place).ok().filter(|&p| p < size).map(|p| p as usize).ok_or_else(wrong)
    }

    /// Dims from integers.
    pub(crate) fn dims(&self, sizes: &[i64]) -> Result<Vec<u64>, EngineError> {
        let wrong = |d: i64| self.invalid(format_args!("{d} is not a size"));
        sizes.iter().map(|&d| u64::try_from(d).map_err(|_| wrong(d))).collect()
    }

    /// The number of elements of an output, once it is known to stay within the limit of the call.
    pub(crate) fn sized(&self, dtype: DType, dims: &[u64]) -> Result<usize, EngineError> {
        let bytes = count(dims).and_then(|n| match dtype {
            DType::String => (n as u64).checked_mul(size_of::<bytes::Bytes>() as u64),
            _ => dtype.byte_len(n as u64),
        });
        match (bytes, count(dims)) {
            (Some(bytes), Some(n)) if bytes <= self.limit => Ok(n),
            (bytes, _) => Err(EngineError::TooLarge { bytes: bytes.unwrap_or(u64::MAX), limit: self.limit }),
        }
    }
}
