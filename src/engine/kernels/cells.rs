//! Elements as opaque cells of bits: what an operator that only moves data needs to know about them.

use std::borrow::Cow;

use bytes::Bytes;

use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

/// The elements of a tensor, each in whole bytes: those below a byte are unpacked into the low bits of one.
#[derive(Debug, Clone)]
pub(crate) enum Cells<'a> {
    /// Elements of one width.
    Fixed {
        /// Bytes an element.
        width: usize,
        /// All of them, one after the other.
        bytes: Cow<'a, [u8]>,
    },
    /// Strings.
    Strings(Cow<'a, [Bytes]>),
}

impl<'a> Cells<'a> {
    /// The elements of a tensor, without a copy where they take whole bytes.
    pub(crate) fn of(tensor: &'a TensorData) -> Self {
        let bits = tensor.dtype().bits();
        match (tensor.bytes(), tensor.string_items()) {
            (Some(bytes), _) if bits < 8 => {
                Self::Fixed { width: 1, bytes: unpack(bytes, bits as usize, tensor.len()).into() }
            }
            (Some(bytes), _) => Self::Fixed { width: bits as usize / 8, bytes: Cow::Borrowed(bytes) },
            (None, items) => Self::Strings(Cow::Borrowed(items.unwrap_or(&[]))),
        }
    }

    /// No element yet, of an element type.
    pub(crate) fn new(dtype: DType, capacity: usize) -> Self {
        if dtype == DType::String {
            return Self::Strings(Vec::with_capacity(capacity).into());
        }
        let width = dtype.bits().div_ceil(8) as usize;
        Self::Fixed { width, bytes: Vec::with_capacity(capacity.saturating_mul(width)).into() }
    }

    /// One element whose bits are all zero: the number 0, false, the empty string.
    pub(crate) fn zero(dtype: DType) -> Self {
        match Self::new(dtype, 1) {
            Self::Fixed { width, .. } => Self::Fixed { width, bytes: vec![0; width].into() },
            Self::Strings(_) => Self::Strings(vec![Bytes::new()].into()),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Fixed { width, bytes } => bytes.len() / width,
            Self::Strings(items) => items.len(),
        }
    }

    /// The bytes of an element; none for a string, or past the end.
    pub(crate) fn get(&self, at: usize) -> &[u8] {
        match self {
            Self::Fixed { width, bytes } => bytes.get(at * width..(at + 1) * width).unwrap_or(&[]),
            Self::Strings(_) => &[],
        }
    }

    /// Appends `len` elements of another tensor of this element type. Past its end there is nothing to append.
    pub(crate) fn push(&mut self, from: &Cells<'_>, at: usize, len: usize) {
        match (self, from) {
            (Self::Fixed { width, bytes }, Cells::Fixed { bytes: from, .. }) => {
                let run = from.get(at * *width..(at + len) * *width).unwrap_or(&[]);
                bytes.to_mut().extend_from_slice(run);
            }
            (Self::Strings(items), Cells::Strings(from)) => {
                items.to_mut().extend_from_slice(from.get(at..at + len).unwrap_or(&[]));
            }
            _ => {}
        }
    }

    /// Appends the bytes of one element.
    pub(crate) fn push_bytes(&mut self, cell: &[u8]) {
        if let Self::Fixed { bytes, .. } = self {
            bytes.to_mut().extend_from_slice(cell);
        }
    }

    /// Overwrites the bytes of one element.
    pub(crate) fn set_bytes(&mut self, at: usize, cell: &[u8]) {
        if let Self::Fixed { width, bytes } = self
            && let Some(place) = bytes.to_mut().get_mut(at * *width..(at + 1) * *width)
            && place.len() == cell.len()
        {
            place.copy_from_slice(cell);
        }
    }

    /// Overwrites `len` elements with those of another tensor of this element type.
    pub(crate) fn set(&mut self, at: usize, from: &Cells<'_>, from_at: usize, len: usize) {
        match (self, from) {
            (Self::Fixed { width, bytes }, Cells::Fixed { bytes: from, .. }) => {
                let run = from.get(from_at * *width..(from_at + len) * *width);
                let place = bytes.to_mut().get_mut(at * *width..(at + len) * *width);
                if let (Some(run), Some(place)) = (run, place) {
                    place.copy_from_slice(run);
                }
            }
            (Self::Strings(items), Cells::Strings(from)) => {
                let run = from.get(from_at..from_at + len);
                if let (Some(run), Some(place)) = (run, items.to_mut().get_mut(at..at + len)) {
                    place.clone_from_slice(run);
                }
            }
            _ => {}
        }
    }

    /// The tensor of these elements.
    pub(crate) fn tensor(
        self,
        call: &NodeCall<'_>,
        dtype: DType,
        dims: &[u64],
    ) -> Result<TensorData, EngineError> {
        let made = match self {
            Self::Strings(items) => TensorData::strings(dims, items.into_owned()),
            Self::Fixed { bytes, .. } if dtype.bits() < 8 => {
                TensorData::new(dtype, dims, pack(&bytes, dtype.bits() as usize))
            }
            Self::Fixed { bytes, .. } => TensorData::new(dtype, dims, bytes.into_owned()),
        };
        made.map_err(|e| call.invalid(e))
    }
}

/// Takes elements of fewer than 8 bits apart: they follow each other from the least significant bit up.
fn unpack(bytes: &[u8], bits: usize, len: usize) -> Vec<u8> {
    let mask = (1u16 << bits) - 1;
    let byte = |at: usize| u16::from(bytes.get(at).copied().unwrap_or(0));
    let element = |i: usize| {
        let (at, shift) = (i * bits / 8, i * bits % 8);
        (((byte(at) | byte(at + 1) << 8) >> shift) & mask) as u8
    };
    (0..len).map(element).collect()
}

/// The reverse of [`unpack`].
fn pack(cells: &[u8], bits: usize) -> Vec<u8> {
    let mask = (1u16 << bits) - 1;
    let mut bytes = vec![0u8; (cells.len() * bits).div_ceil(8)];
    for (i, &cell) in cells.iter().enumerate() {
        let (at, shift) = (i * bits / 8, i * bits % 8);
        let [low, high] = ((u16::from(cell) & mask) << shift).to_le_bytes();
        bytes[at] |= low;
        if let Some(next) = bytes.get_mut(at + 1) {
            *next |= high;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_from_the_low_bits_up() {
        assert_eq!(pack(&[1, 2, 3], 4), [0x21, 0x03]);
        assert_eq!(pack(&[1, 2, 3, 0, 1], 2), [0b0011_1001, 1]);
        assert_eq!(pack(&[0x3f, 0, 0x21], 6), [0x3f, 0x10, 0x02]);
        for bits in [2, 4, 6] {
            let cells: Vec<u8> = (0..11).map(|i| (i * 37 + 5) as u8 & ((1 << bits) - 1)).collect();
            assert_eq!(unpack(&pack(&cells, bits), bits, cells.len()), cells);
        }
    }
}
