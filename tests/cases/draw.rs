//! Elements made from a seed: weights that a case declares, and inputs that it wants drawn in another way.

use anyhow::{Context, Result, bail};
use onnxpress::ir::{DType, TensorData};
use serde::Deserialize;

/// How to make the elements of a tensor.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Recipe {
    /// Every element is this number.
    Number(f64),
    /// `normal`, `zeros`, `ones` or `arange`.
    Named(String),
    /// Uniform between two numbers.
    Range(f64, f64),
    /// Integers, from the first to the last, both included.
    Ints {
        /// The two ends.
        ints: (i64, i64),
    },
}

impl Recipe {
    /// What is drawn where nothing is said.
    pub fn default_for(dtype: DType) -> Self {
        if dtype.is_float() { Self::Named("normal".to_owned()) } else { Self::Ints { ints: (0, 1) } }
    }

    /// A tensor, as a function of seed and name.
    pub fn make(&self, seed: u64, name: &str, dtype: DType, dims: &[u64]) -> Result<TensorData> {
        let count = usize::try_from(dims.iter().product::<u64>())?;
        let mut random = Random::new(seed, name);
        let mut next = |i: usize| -> Result<f64> {
            Ok(match self {
                Self::Number(x) => *x,
                Self::Range(low, high) => low + (high - low) * random.unit(),
                Self::Ints { ints: (low, high) } => {
                    (low + (random.unit() * (high - low + 1) as f64).floor() as i64).min(*high) as f64
                }
                Self::Named(name) => match name.as_str() {
                    "normal" => random.normal(),
                    "zeros" => 0.0,
                    "ones" => 1.0,
                    "arange" => i as f64,
                    other => bail!(
                        "`{other}` is no way to fill a tensor; use normal, zeros, ones, arange, a number, \
                        [low, high] or {{ ints: [low, high] }}"
                    ),
                },
            })
        };
        let items: Vec<f64> = (0..count).map(&mut next).collect::<Result<_>>()?;
        tensor(dtype, dims, &items)
    }
}

/// A tensor of any element type of at least one byte from numbers.
pub fn tensor(dtype: DType, dims: &[u64], items: &[f64]) -> Result<TensorData> {
    if dtype.has_f64s() {
        return TensorData::from_f64s(dtype, dims, items)
            .context("the number of elements does not fit the dims");
    }
    if !(dtype.is_int() || dtype == DType::Bool) || dtype.bits() < 8 {
        bail!("elements of {dtype} cannot be made up");
    }
    let width = (dtype.bits() / 8) as usize;
    let bytes: Vec<u8> =
        items.iter().flat_map(|&x| (x as i64).to_le_bytes().into_iter().take(width)).collect();
    Ok(TensorData::new(dtype, dims, bytes)?)
}

/// A small generator: the same numbers on every platform.
struct Random(u64);

impl Random {
    fn new(seed: u64, name: &str) -> Self {
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        Self(hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `0..1`.
    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Mean 0, variance 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}
