//! How a weight lies on grids of integers: which of its elements share a scale, and how it is stored.

use crate::prelude::descent::RowGrid;
use crate::prelude::*;

use super::codes::{Rows, scatter};

/// Which elements of a weight share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// All.
    PerTensor,
    /// Those of an output channel.
    PerChannel,
    /// As many neighbours of an output channel as `block` says.
    Block,
}

/// How the integers of a weight are stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    /// The dims of the codes.
    pub dims: Vec<u64>,
    /// The axis of the output channels in them.
    pub axis: usize,
    /// Where the scales are.
    pub scales: Scales,
    /// The dims of the weight, where the codes have others.
    pub reshape: Option<Vec<u64>>,
    /// Whether the codes are those of the transposed matrix.
    pub transposed: bool,
}

/// Where scales are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scales {
    /// One.
    Tensor,
    /// One for each output channel.
    Channel,
    /// One for each run of this size along an axis.
    Block {
        /// The axis.
        axis: usize,
        /// The size.
        size: usize,
    },
}

impl Layout {
    /// The dims of the scales.
    pub fn scale_dims(&self) -> Vec<u64> {
        match self.scales {
            Scales::Tensor => vec![],
            Scales::Channel => vec![self.dims[self.axis]],
            Scales::Block { axis, size } => {
                let mut dims = self.dims.clone();
                dims[axis] = dims[axis].div_ceil(size as u64);
                dims
            }
        }
    }

    /// The block of every place of a row, as [`Rows::of`] puts them, numbered as the scales of a row are.
    pub fn blocks(&self, width: usize) -> Vec<usize> {
        let Scales::Block { axis, size } = self.scales else { return vec![0; width] };
        let rest: Vec<usize> =
            (0..self.dims.len()).filter(|&a| a != self.axis).map(|a| self.dims[a] as usize).collect();
        let axis = if axis > self.axis { axis - 1 } else { axis };
        let (length, inner) = (rest[axis], rest[axis + 1..].iter().product::<usize>());
        let count = length.div_ceil(size);
        let place = |at: usize| {
            let (outer, along) = (at / inner / length, at / inner % length);
            (outer * count + along / size) * inner + at % inner
        };
        (0..width).map(place).collect()
    }

    /// The attributes of its `DequantizeLinear`.
    pub fn attrs(&self) -> Attrs {
        match self.scales {
            Scales::Tensor => Attrs::new(),
            Scales::Channel => Attrs::new().with("axis", self.axis as i64),
            Scales::Block { axis, size } => {
                Attrs::new().with("axis", axis as i64).with("block_size", size as i64)
            }
        }
    }

    /// What a row says of each of its blocks, in the order of the scales.
    pub fn spread<T: Copy>(&self, rows: &[Vec<T>]) -> Vec<T> {
        match self.scales {
            Scales::Tensor => rows.iter().flatten().take(1).copied().collect(),
            Scales::Channel => rows.iter().flatten().copied().collect(),
            Scales::Block { .. } => scatter(&self.scale_dims(), self.axis, rows),
        }
    }
}

/// A weight on its grids.
pub(super) struct Gridded {
    /// Row by row, the grid of each block.
    pub grids: Vec<RowGrid>,
    /// Row by row, codes counted from the zero point.
    pub codes: Vec<Vec<f64>>,
}

/// How scales are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ScaleSearch {
    /// The finest that hold every weight.
    MinMax,
    /// Of these and finer ones, which cut the largest weights off, those with the smallest squared error; where samples
    /// are there, each weight counts as much as the power of what it is multiplied with.
    Mse,
    /// As `mse`, by the error of the products with what the samples show; `mse` without samples.
    Clip,
}

/// The integers that a weight becomes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Codes {
    /// Their type.
    pub dtype: DType,
    /// The smallest and the largest.
    pub bounds: (f64, f64),
    /// Whether the zero point is in the middle.
    pub symmetric: bool,
    /// The type of scales.
    pub scales: DType,
}

/// Shares of the range that are tried as the range of a finer grid.
const SHARES: std::ops::RangeInclusive<u32> = 16..=40;

/// What the whole range is on that scale.
const WHOLE: f64 = 40.0;

/// The error that the gaps of a block's numbers make.
pub(super) type ErrorOf<'e> = dyn Fn(&[f64]) -> f64 + 'e;

impl Codes {
    /// The code of the middle.
    pub fn middle(&self) -> f64 {
        f64::midpoint(self.bounds.0, self.bounds.1).ceil()
    }

    /// A step as it can be stored.
    pub fn fit(&self, step: f64) -> f64 {
        let stored = TensorData::from_f64s(self.scales, &[1], &[step]).and_then(|t| t.to_f64());
        stored.filter(|s| *s > 0.0 && s.is_finite()).unwrap_or(1.0)
    }

    /// The step, and the bounds of the codes counted from the zero point, of the finest grid that holds a range.
    fn holding(&self, (lo, hi): (f64, f64)) -> (f64, (f64, f64)) {
        let (low, high) = self.bounds;
        let (lo, hi) = (lo.min(0.0), hi.max(0.0));
        if self.symmetric {
            let middle = self.middle();
            let step = self.fit((hi / (high - middle)).max(lo / (low - middle)));
            return (step, (low - middle, high - middle));
        }
        let step = self.fit((hi - lo) / (high - low));
        let zero = (low - lo / step).round_ties_even().clamp(low, high);
        (step, (low - zero, high - zero))
    }

    /// The grid of a block: the finest that holds it; or one of the finer ones, where `error` is smallest.
    pub fn grid(&self, items: &[f64], error: Option<&ErrorOf<'_>>) -> (f64, (f64, f64)) {
        let lo = items.iter().copied().fold(0.0, f64::min);
        let hi = items.iter().copied().fold(0.0, f64::max);
        let whole = self.holding((lo, hi));
        let Some(error) = error else { return whole };
        let mut gaps = vec![0.0; items.len()];
        let mut judge = |(step, (low, high)): (f64, (f64, f64))| {
            let gap = |x: &f64| x - (x / step).round_ties_even().clamp(low, high) * step;
            gaps.iter_mut().zip(items).for_each(|(g, x)| *g = gap(x));
            error(&gaps)
        };
        let mut best = (judge(whole), whole);
        for share in SHARES.rev().skip(1) {
            let found = self.holding((lo * f64::from(share) / WHOLE, hi * f64::from(share) / WHOLE));
            let cost = judge(found);
            if cost < best.0 {
                best = (cost, found);
            }
        }
        best.1
    }

    /// The tensor of codes of a layout.
    pub fn tensor(&self, dims: &[u64], codes: &[f64]) -> Option<TensorData> {
        let bytes: Vec<u8> = match self.dtype.bits() {
            4 => codes
                .chunks(2)
                .map(|pair| pair.iter().rev().fold(0, |byte, &c| byte << 4 | nibble(c)))
                .collect(),
            _ => codes.iter().map(|&c| c as i64 as u8).collect(),
        };
        TensorData::new(self.dtype, dims, bytes).ok()
    }
}

/// The four bits of a code.
pub(super) fn nibble(code: f64) -> u8 {
    (code as i64 & 0xf) as u8
}

impl Gridded {
    /// What the report says of it.
    pub fn told(&self, layout: &Layout, rows: &Rows) -> WeightReport {
        let grids = if layout.scales == Scales::Tensor { &self.grids[..1] } else { &self.grids[..] };
        let scales = grids.iter().flat_map(|grid| grid.steps.iter().copied());
        WeightReport::of(scales).reaching(&rows.reaches())
    }

    /// Every weight at its nearest code on the grids.
    pub fn nearest(rows: &Rows, grids: Vec<RowGrid>, blocks: &[usize]) -> Self {
        let row = |(items, grid): (&Vec<f64>, &RowGrid)| {
            items.iter().zip(blocks).map(|(&x, &block)| grid.code(block, x)).collect()
        };
        let codes = rows.items.iter().zip(&grids).map(row).collect();
        Self { grids, codes }
    }
}
