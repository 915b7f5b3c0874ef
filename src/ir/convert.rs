//! Elements as numbers, and numbers as elements.

use half::{bf16, f16};

use super::round::{bf16_from, f16_from};
use super::{DType, Element, TensorData};

impl TensorData {
    /// The elements of any integer or boolean type that fits 64 signed bits, packed types included.
    pub fn to_i64s(&self) -> Option<Vec<i64>> {
        use DType::{
            Bool, Int2, Int4, Int8, Int16, Int32, Int64, Uint2, Uint4, Uint8, Uint16, Uint32, Uint64,
        };
        let bytes = self.bytes()?;
        Some(match self.dtype() {
            Int64 => self.to_vec()?,
            Int32 => widen(self.to_vec::<i32>()?),
            Int16 => widen(self.to_vec::<i16>()?),
            Int8 => widen(self.to_vec::<i8>()?),
            Uint8 => widen(self.to_vec::<u8>()?),
            Uint16 => widen(self.to_vec::<u16>()?),
            Uint32 => widen(self.to_vec::<u32>()?),
            Bool => self.to_vec::<bool>()?.into_iter().map(i64::from).collect(),
            Uint64 => self.to_vec::<u64>()?.into_iter().map(i64::try_from).collect::<Result<_, _>>().ok()?,
            Uint4 | Uint2 => unpack(bytes, self.dtype().bits(), self.len()).map(i64::from).collect(),
            Int4 | Int2 => {
                let shift = 8 - self.dtype().bits() as u32;
                unpack(bytes, self.dtype().bits(), self.len())
                    .map(|x| i64::from(((x << shift) as i8) >> shift))
                    .collect()
            }
            _ => return None,
        })
    }

    /// The elements of a `float`, `double`, `float16` or `bfloat16` tensor, exactly.
    pub fn to_f64s(&self) -> Option<Vec<f64>> {
        Some(match self.dtype() {
            DType::Float => widen(self.to_vec::<f32>()?),
            DType::Double => self.to_vec()?,
            DType::Float16 => self.to_vec::<f16>()?.into_iter().map(f16::to_f64).collect(),
            DType::Bfloat16 => self.to_vec::<bf16>()?.into_iter().map(bf16::to_f64).collect(),
            _ => return None,
        })
    }

    /// A `float`, `double`, `float16` or `bfloat16` tensor from numbers, each rounded once, to nearest even.
    ///
    /// `None` for another element type, or where the count does not fit the dims.
    pub fn from_f64s(dtype: DType, dims: &[u64], items: &[f64]) -> Option<Self> {
        match dtype {
            DType::Float => Self::from_slice(dims, &items.iter().map(|&x| x as f32).collect::<Vec<_>>()),
            DType::Double => Self::from_slice(dims, items),
            DType::Float16 => Self::from_slice(dims, &items.iter().map(|&x| f16_from(x)).collect::<Vec<_>>()),
            DType::Bfloat16 => {
                Self::from_slice(dims, &items.iter().map(|&x| bf16_from(x)).collect::<Vec<_>>())
            }
            _ => return None,
        }
        .ok()
    }

    /// The single element of an integer tensor with one element.
    pub fn to_i64(&self) -> Option<i64> {
        if self.len() == 1 { self.to_i64s()?.first().copied() } else { None }
    }

    /// The single element of a floating-point tensor with one element.
    pub fn to_f64(&self) -> Option<f64> {
        if self.len() == 1 { self.to_f64s()?.first().copied() } else { None }
    }

    /// The same tensor with every element passed through a function of its index and value, rounded once.
    ///
    /// Streams: at no time is the whole tensor held in f64. `None` for a type that is no 16- to 64-bit float.
    pub fn map_f64(&self, mut f: impl FnMut(usize, f64) -> f64) -> Option<Self> {
        match self.dtype() {
            DType::Float => self.map_elements(|i, x: f32| f(i, f64::from(x)) as f32),
            DType::Double => self.map_elements(|i, x: f64| f(i, x)),
            DType::Float16 => self.map_elements(|i, x: f16| f16_from(f(i, x.to_f64()))),
            DType::Bfloat16 => self.map_elements(|i, x: bf16| bf16_from(f(i, x.to_f64()))),
            _ => None,
        }
    }

    /// Calls a function with the index and value of every element of a 16- to 64-bit float tensor.
    pub fn each_f64(&self, mut f: impl FnMut(usize, f64)) {
        match self.dtype() {
            DType::Float => self.each_element(|i, x: f32| f(i, f64::from(x))),
            DType::Double => self.each_element(f),
            DType::Float16 => self.each_element(|i, x: f16| f(i, x.to_f64())),
            DType::Bfloat16 => self.each_element(|i, x: bf16| f(i, x.to_f64())),
            _ => {}
        }
    }

    /// The slices along an axis with these numbers, in this order. `None` for strings and packed elements, and for a number
    /// or an axis that there is not.
    pub fn take(&self, axis: usize, numbers: &[u32]) -> Option<Self> {
        let size = *self.dims().get(axis)?;
        let bits = self.dtype().bits();
        if !bits.is_multiple_of(8) || numbers.iter().any(|&i| u64::from(i) >= size) {
            return None;
        }
        let bytes = self.bytes()?;
        let inner = self.dims()[axis + 1..].iter().product::<u64>() as usize * (bits / 8) as usize;
        let outer = size as usize * inner;
        let mut out = Vec::with_capacity(bytes.len() / (size as usize).max(1) * numbers.len());
        for block in bytes.chunks_exact(outer.max(1)) {
            numbers.iter().for_each(|&i| out.extend_from_slice(&block[i as usize * inner..][..inner]));
        }
        let mut dims = self.dims().to_vec();
        dims[axis] = numbers.len() as u64;
        Self::new(self.dtype(), &dims, out).ok()
    }

    fn each_element<T: Element>(&self, mut f: impl FnMut(usize, T)) {
        let items = self.bytes().into_iter().flat_map(|bytes| bytes.chunks_exact(size_of::<T>()));
        items.enumerate().for_each(|(index, item)| f(index, T::read(item)));
    }

    fn map_elements<T: Element>(&self, mut f: impl FnMut(usize, T) -> T) -> Option<Self> {
        let bytes = self.bytes()?;
        let mut out = vec![0; bytes.len()];
        let size = size_of::<T>();
        for (index, (item, out)) in bytes.chunks_exact(size).zip(out.chunks_exact_mut(size)).enumerate() {
            f(index, T::read(item)).write(out);
        }
        Self::new(self.dtype(), self.dims(), out).ok()
    }
}

fn widen<T: Into<U>, U>(items: Vec<T>) -> Vec<U> {
    items.into_iter().map(Into::into).collect()
}

/// Elements of less than a byte, from the least significant bits of each byte up.
fn unpack(bytes: &[u8], bits: u64, len: usize) -> impl Iterator<Item = u8> + '_ {
    let per_byte = (8 / bits) as usize;
    let mask = (1u8 << bits) - 1;
    (0..len).map(move |i| (bytes[i / per_byte] >> ((i % per_byte) as u64 * bits)) & mask)
}
