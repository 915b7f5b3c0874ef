//! Constants of several operators, computed into one.

#![allow(clippy::float_cmp, reason = "one is meant exactly")]

use crate::prelude::*;

/// The dims of what two tensors make together.
pub(super) fn broadcast(a: &[u64], b: &[u64]) -> Option<Vec<u64>> {
    let rank = a.len().max(b.len());
    let dim = |dims: &[u64], axis: usize| (axis + dims.len()).checked_sub(rank).map_or(1, |at| dims[at]);
    let both = |axis: usize| match (dim(a, axis), dim(b, axis)) {
        (1, n) | (n, 1) => Some(n),
        (n, m) => (n == m).then_some(n),
    };
    (0..rank).map(both).collect()
}

/// Elements repeated to the dims that they broadcast to.
fn expanded<T: Copy>(items: &[T], from: &[u64], to: &[u64]) -> Vec<T> {
    let mut places = vec![0usize];
    let mut stride = items.len();
    for (axis, &size) in to.iter().enumerate() {
        let own = (axis + from.len()).checked_sub(to.len()).map_or(1, |at| from[at]);
        stride /= own.max(1) as usize;
        let step = if own == 1 { 0 } else { stride };
        places = places.iter().flat_map(|&place| (0..size as usize).map(move |i| place + i * step)).collect();
    }
    places.into_iter().map(|place| items[place]).collect()
}

/// Numbers of either kind.
#[derive(Debug, Clone)]
enum Numbers {
    Real(Vec<f64>),
    Whole(Vec<i64>),
}

impl Numbers {
    fn of(data: &TensorData, dims: &[u64]) -> Result<Self, Skip> {
        if let Some(items) = data.to_f64s() {
            let finite = items.iter().all(|x| x.is_finite());
            Skip::unless(finite, "a constant is not finite")?;
            return Ok(Self::Real(expanded(&items, data.dims(), dims)));
        }
        let items = data.to_i64s().filter(|_| data.dtype().is_int()).ok_or_else(Skip::no_concern)?;
        Ok(Self::Whole(expanded(&items, data.dims(), dims)))
    }

    fn with(
        &self,
        other: &Self,
        real: fn(f64, f64) -> f64,
        whole: fn(i64, i64) -> i64,
    ) -> Result<Self, Skip> {
        match (self, other) {
            (Self::Real(a), Self::Real(b)) => {
                Ok(Self::Real(a.iter().zip(b).map(|(a, b)| real(*a, *b)).collect()))
            }
            (Self::Whole(a), Self::Whole(b)) => {
                Ok(Self::Whole(a.iter().zip(b).map(|(a, b)| whole(*a, *b)).collect()))
            }
            _ => Err(Skip::no_concern()),
        }
    }

    fn one(&self) -> Self {
        match self {
            Self::Real(items) => Self::Real(vec![1.0; items.len()]),
            Self::Whole(items) => Self::Whole(vec![1; items.len()]),
        }
    }

    fn negated(&self) -> Self {
        match self {
            Self::Real(items) => Self::Real(items.iter().map(|x| -x).collect()),
            Self::Whole(items) => Self::Whole(items.iter().map(|x| x.wrapping_neg()).collect()),
        }
    }

    /// The tensor, in the low bits of whole numbers.
    fn data(&self, dtype: DType, dims: &[u64]) -> Result<TensorData, Skip> {
        let data = match self {
            Self::Real(items) => TensorData::from_f64s(dtype, dims, items),
            Self::Whole(items) => {
                let width = (dtype.bits() / 8) as usize;
                let bytes: Vec<u8> =
                    items.iter().flat_map(|x| x.to_le_bytes().into_iter().take(width)).collect();
                TensorData::new(dtype, dims, bytes).ok()
            }
        };
        let data = data.ok_or_else(Skip::no_concern)?;
        let finite = data.to_f64s().is_none_or(|items| items.iter().all(|x| x.is_finite()));
        Skip::unless(finite, "the constants make one that is too large or too small")?;
        Ok(data)
    }
}

/// `x + c`, or `c - x`.
pub(super) struct Term {
    dtype: DType,
    constant: Numbers,
    /// Whether `x` is subtracted.
    pub(super) negative: bool,
}

impl Term {
    /// A constant added to `x`, subtracted from it, or, where it leads, `x` subtracted from the constant.
    pub(super) fn of(a: &TensorData, dims: &[u64], subtracts: bool, leads: bool) -> Result<Self, Skip> {
        let a = (a.dtype(), Numbers::of(a, dims)?);
        let constant = if subtracts && !leads { a.1.negated() } else { a.1 };
        Ok(Self { dtype: a.0, constant, negative: subtracts && leads })
    }

    /// The same with another constant.
    pub(super) fn then(
        self,
        b: &TensorData,
        dims: &[u64],
        subtracts: bool,
        leads: bool,
    ) -> Result<Self, Skip> {
        let next = Self::of(b, dims, subtracts, leads)?;
        let own = if next.negative { self.constant.negated() } else { self.constant };
        let sum = own.with(&next.constant, |a, b| a + b, i64::wrapping_add)?;
        let cancels = match (&own, &next.constant, &sum) {
            (Numbers::Real(a), Numbers::Real(b), Numbers::Real(sum)) => {
                a.iter().zip(b).zip(sum).any(|((a, b), sum)| cancel(*a, *b, *sum))
            }
            _ => false,
        };
        Skip::unless(!cancels, "the constants nearly cancel: they may be there to round")?;
        Ok(Self { dtype: self.dtype, constant: sum, negative: self.negative != next.negative })
    }

    pub(super) fn data(&self, dims: &[u64]) -> Result<TensorData, Skip> {
        self.constant.data(self.dtype, dims)
    }
}

/// The largest constants that round nothing but noise when they cancel.
const SMALL: f64 = 256.0;

fn cancel(a: f64, b: f64, sum: f64) -> bool {
    let most = a.abs().max(b.abs());
    most > SMALL && sum.abs() < most / 2.0
}

/// `x * over / under`, or `over / under / x`.
pub(super) struct Factor {
    dtype: DType,
    over: Numbers,
    under: Numbers,
    /// Whether `x` divides.
    pub(super) inverse: bool,
}

impl Factor {
    /// A constant that multiplies `x`, divides it, or, where it leads, is divided by it.
    pub(super) fn of(a: &TensorData, dims: &[u64], divides: bool, leads: bool) -> Result<Self, Skip> {
        let (dtype, a) = (a.dtype(), Numbers::of(a, dims)?);
        let one = a.one();
        let (over, under) = if divides && !leads { (one, a) } else { (a, one) };
        Ok(Self { dtype, over, under, inverse: divides && leads })
    }

    /// The same with another constant.
    pub(super) fn then(self, b: &TensorData, dims: &[u64], divides: bool, leads: bool) -> Result<Self, Skip> {
        let next = Self::of(b, dims, divides, leads)?;
        let product = |a: &Numbers, b: &Numbers| a.with(b, |a, b| a * b, i64::wrapping_mul);
        let (over, under) = if next.inverse { (&self.under, &self.over) } else { (&self.over, &self.under) };
        let (over, under) = (product(over, &next.over)?, product(under, &next.under)?);
        Ok(Self { dtype: self.dtype, over, under, inverse: self.inverse != next.inverse })
    }

    /// Whether nothing multiplies `x`, so that a division says it with one rounding less.
    pub(super) fn only_divides(&self) -> bool {
        let all_one =
            |numbers: &Numbers| matches!(numbers, Numbers::Real(items) if items.iter().all(|&x| x == 1.0));
        !self.inverse && all_one(&self.over) && !all_one(&self.under)
    }

    pub(super) fn data(&self, dims: &[u64]) -> Result<TensorData, Skip> {
        if matches!(self.over, Numbers::Whole(_)) {
            return self.over.data(self.dtype, dims);
        }
        let quotient = self.over.with(&self.under, |a, b| a / b, |a, _| a)?;
        let data = if self.only_divides() { &self.under } else { &quotient }.data(self.dtype, dims)?;
        let least = match self.dtype {
            DType::Float16 => 2f64.powi(-14),
            DType::Double => f64::MIN_POSITIVE,
            _ => f64::from(f32::MIN_POSITIVE),
        };
        let zeros = |numbers: &Numbers| match numbers {
            Numbers::Real(items) => items.contains(&0.0),
            Numbers::Whole(_) => false,
        };
        let normal = data.to_f64s().is_some_and(|items| items.iter().all(|x| *x == 0.0 || x.abs() >= least));
        let lost = data.to_f64s().is_some_and(|items| items.contains(&0.0)) && !zeros(&self.over);
        let sound = normal && !lost && !zeros(&self.under);
        Skip::unless(sound, "the constants make one that is too large or too small")?;
        Ok(data)
    }
}
