//! Seeded random inputs for a model.
//!
//! The same seed, name, element type and dims give the same elements on every platform.

use std::collections::BTreeMap;

use super::hints::{Draw, draw};
use super::random::Stream;
use super::{Bindings, EngineError};
use crate::ir::{DType, Dim, Graph, Model, TensorData, UnknownDim, ValueId};

/// The graph inputs that a run is given: those without an initializer, in order. The others keep their default.
pub fn fed(graph: &Graph) -> impl Iterator<Item = ValueId> + '_ {
    graph.inputs().iter().copied().filter(|&id| {
        let value = graph.value(id);
        value.data.is_none() && value.sparse.is_none()
    })
}

/// Sizes for dims that nothing binds. A batch is always 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultDims {
    /// Height, width and depth of images.
    pub spatial: u64,
    /// Everything else, such as the length of a sequence.
    pub other: u64,
}

impl DefaultDims {
    /// What verification tries, in order, until the original model runs.
    pub const ATTEMPTS: [Self; 4] = [
        Self { spatial: 64, other: 8 },
        Self { spatial: 224, other: 16 },
        Self { spatial: 32, other: 1 },
        Self { spatial: 320, other: 512 },
    ];
}

/// One input: what a tensor for it looks like.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSpec {
    /// The input's name.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its dims, all bound.
    pub dims: Vec<u64>,
    /// How its elements are drawn.
    pub draw: Draw,
}

/// Every input that a run of a model is given.
#[derive(Debug, Clone, PartialEq)]
pub struct InputPlan {
    /// The inputs, in the order of the graph's.
    pub inputs: Vec<InputSpec>,
}

/// The most bytes that a random input may take.
const LIMIT: u64 = 1 << 32;

impl InputPlan {
    /// The plan for a model.
    ///
    /// A dim is bound by its symbol, or as `name[axis]` where it has none. One that nothing binds is 1 on axis 0 and
    /// where its symbol speaks of a batch, and else what `defaults` say.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] for an input that is no tensor or whose type or rank is not known,
    /// [`EngineError::TooLarge`] for one that would not fit 4 GiB.
    pub fn of(model: &Model, bindings: &Bindings, defaults: DefaultDims) -> Result<Self, EngineError> {
        let mut binder = Binder { bindings, defaults, chosen: BTreeMap::new() };
        let graph = &model.graph;
        let inputs = fed(graph).map(|id| {
            let value = graph.value(id);
            let name = &value.name;
            let (Some(dtype), Some(shape)) = (value.ty.dtype(), value.ty.shape()) else {
                return Err(EngineError::Invalid(format!(
                    "input `{name}` is declared as {}: only tensors of known type and rank can be made up",
                    value.ty
                )));
            };
            let dims: Vec<u64> = (0..shape.len()).map(|axis| binder.bind(name, dtype, shape, axis)).collect();
            let bytes = dims.iter().try_fold(dtype.bits().max(8) / 8, |n, &d| n.checked_mul(d));
            if bytes.is_none_or(|n| n > LIMIT) {
                return Err(EngineError::TooLarge { bytes: bytes.unwrap_or(u64::MAX), limit: LIMIT });
            }
            Ok(InputSpec { name: name.clone(), dtype, dims, draw: draw(graph, id, dtype) })
        });
        Ok(Self { inputs: inputs.collect::<Result<_, _>>()? })
    }

    /// One tensor for every input.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] for an element type that no engine here takes: the 4- to 8-bit floats.
    pub fn sample(&self, seed: u64) -> Result<Vec<TensorData>, EngineError> {
        self.inputs.iter().map(|spec| spec.sample(seed)).collect()
    }
}

struct Binder<'a> {
    bindings: &'a Bindings,
    defaults: DefaultDims,
    chosen: BTreeMap<String, u64>,
}

impl Binder<'_> {
    fn bind(&mut self, input: &str, dtype: DType, shape: &[Dim], axis: usize) -> u64 {
        let fallback = self.fallback(dtype, shape, axis);
        match &shape[axis] {
            Dim::Known(n) => *n,
            Dim::Symbol(symbol) => match self.bindings.get(&**symbol) {
                Some(&n) => n,
                None => *self.chosen.entry(symbol.to_string()).or_insert(fallback),
            },
            Dim::Unknown(text) => self
                .bindings
                .get(&format!("{input}[{axis}]"))
                .copied()
                .or_else(|| match text {
                    Some(UnknownDim::Text(text)) => self.sum(text),
                    _ => None,
                })
                .unwrap_or(fallback),
        }
    }

    /// The value of a text like `past + 1`, where every term is known.
    fn sum(&self, text: &str) -> Option<u64> {
        text.split('+').map(str::trim).try_fold(0u64, |sum, term| {
            let known = || self.bindings.get(term).or_else(|| self.chosen.get(term)).copied();
            sum.checked_add(term.parse().ok().or_else(known)?)
        })
    }

    fn fallback(&self, dtype: DType, shape: &[Dim], axis: usize) -> u64 {
        let symbol = shape[axis].symbol().unwrap_or("").to_ascii_lowercase();
        let long = ["seq", "len", "time", "token"].iter().any(|part| symbol.contains(part));
        let batch = symbol.contains("batch") || ["n", "b", "bs"].contains(&symbol.as_str());
        let image = dtype.is_float() || matches!(dtype, DType::Uint8 | DType::Int8);
        let channels_last = shape.len() == 4 && shape[3].known().is_some_and(|c| c <= 4);
        let spatial = match shape.len() {
            3 => shape[0].known().is_some_and(|c| c <= 4) && axis > 0,
            4 if channels_last => axis == 1 || axis == 2,
            4 | 5 => axis >= 2,
            _ => false,
        };
        if batch || (axis == 0 && !long) {
            1
        } else if image && spatial && !long {
            self.defaults.spatial
        } else {
            self.defaults.other
        }
    }
}

impl InputSpec {
    /// A tensor for this input.
    ///
    /// # Errors
    /// As [`InputPlan::sample`].
    pub fn sample(&self, seed: u64) -> Result<TensorData, EngineError> {
        let mut stream = Stream::new(seed, &self.name);
        let count = self.dims.iter().try_fold(1usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?));
        let count = count.ok_or(EngineError::TooLarge { bytes: u64::MAX, limit: LIMIT })?;
        let mut float = |_| match &self.draw {
            Draw::Normal => stream.normal(),
            Draw::Ints(low, high) => stream.int(*low, *high) as f64,
            Draw::OneOf(items) => pick(items, &mut stream) as f64,
        };
        let tensor = match self.dtype {
            DType::Float | DType::Double | DType::Float16 | DType::Bfloat16 => {
                let items: Vec<f64> = (0..count).map(float).collect();
                TensorData::from_f64s(self.dtype, &self.dims, &items)
            }
            DType::Complex64 => {
                let bytes: Vec<u8> = (0..2 * count).flat_map(|i| (float(i) as f32).to_le_bytes()).collect();
                TensorData::new(self.dtype, &self.dims, bytes).ok()
            }
            DType::Complex128 => {
                let bytes: Vec<u8> = (0..2 * count).flat_map(|i| float(i).to_le_bytes()).collect();
                TensorData::new(self.dtype, &self.dims, bytes).ok()
            }
            DType::String => {
                const WORDS: [&str; 6] = ["a", "b", "abc", "0", "42", ""];
                let items = (0..count).map(|_| WORDS[stream.int(0, 5) as usize].into()).collect();
                TensorData::strings(&self.dims, items).ok()
            }
            dtype if dtype == DType::Bool || dtype.is_int() => {
                let (low, high) = representable(dtype);
                let items: Vec<i64> = (0..count)
                    .map(|_| match &self.draw {
                        Draw::Ints(a, b) => stream.int((*a).max(low), (*b).min(high).max(low)),
                        Draw::OneOf(items) => pick(items, &mut stream).clamp(low, high),
                        Draw::Normal => stream.int(0, 1),
                    })
                    .collect();
                TensorData::new(dtype, &self.dims, pack(dtype, &items)).ok()
            }
            _ => None,
        };
        tensor.ok_or_else(|| {
            EngineError::Invalid(format!("input `{}`: no values are made up for {}", self.name, self.dtype))
        })
    }
}

fn pick(items: &[i64], stream: &mut Stream) -> i64 {
    let last = items.len().saturating_sub(1) as i64;
    items.get(stream.int(0, last) as usize).copied().unwrap_or(0)
}

/// The least and the greatest number of an integer type, as far as 64 signed bits go.
fn representable(dtype: DType) -> (i64, i64) {
    let bits = if dtype == DType::Bool { 1 } else { dtype.bits() as u32 };
    match (dtype.is_signed_int(), bits) {
        (true, _) => (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits)),
        (false, 64) => (0, i64::MAX),
        (false, _) => (0, (1i64 << bits) - 1),
    }
}

/// Integers as `raw_data` lays them out, those of less than a byte packed.
fn pack(dtype: DType, items: &[i64]) -> Vec<u8> {
    let bits = dtype.bits() as usize;
    if bits >= 8 {
        return items.iter().flat_map(|x| x.to_le_bytes().into_iter().take(bits / 8)).collect();
    }
    let mask = (1u8 << bits) - 1;
    let byte = |chunk: &[i64]| {
        chunk.iter().enumerate().fold(0, |byte, (i, &x)| byte | ((x as u8 & mask) << (i * bits)))
    };
    items.chunks(8 / bits).map(byte).collect()
}

/// The same inputs with every float a little larger: by one part in 10^6, or by about two units in the last place
/// where the type is too narrow for that. What this changes in the outputs is the model's own noise.
pub fn scaled(inputs: &[TensorData]) -> Vec<TensorData> {
    let scale = |input: &TensorData| {
        let factor = match input.dtype() {
            DType::Float16 => 1.0 + 1e-3,
            DType::Bfloat16 => 1.0 + 8e-3,
            _ => 1.0 + 1e-6,
        };
        let items: Vec<f64> = input.to_f64s()?.into_iter().map(|x| x * factor).collect();
        TensorData::from_f64s(input.dtype(), input.dims(), &items)
    };
    inputs.iter().map(|input| scale(input).unwrap_or_else(|| input.clone())).collect()
}

#[cfg(test)]
#[path = "inputs_tests.rs"]
mod tests;
