//! Which grid every quantized value has, and how its channels are scaled before they are rounded.

use crate::prelude::*;

use super::codes::{Grid, Rows, bounds, usable};
use super::measure::Calibrator;

/// What was seen of a value, channel by channel; one channel where they are not told apart.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// The axis of the channels.
    axis: Option<usize>,
    /// Smallest number of each channel, or 0.
    lows: Vec<f64>,
    /// Largest number of each channel, or 0.
    highs: Vec<f64>,
    /// Sum of squares of each channel.
    squares: Vec<f64>,
    /// Numbers seen in a channel.
    count: u64,
    /// How ranges are chosen.
    calibrator: Calibrator,
    /// The numbers of every channel, where the choice needs them.
    histograms: Vec<Histogram>,
    /// The moving average of the ranges of batches.
    average: Option<(f64, f64)>,
}

/// How a value is quantized: `code = round(x / (grid.scale · factor of its channel)) + grid.zero_point`.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    /// The grid.
    pub grid: Grid,
    /// A factor for every channel, at most 1; `None` for 1 everywhere.
    pub factors: Option<Vec<f64>>,
    /// The code of zero in every channel; `None` for that of the grid.
    pub zeros: Option<Vec<i32>>,
}

/// The smallest factor of a channel: what is never seen must not drown in what it might be.
const SMALLEST: f64 = 1.0 / 64.0;

/// What the newest batch counts in a moving average.
const AVERAGING: f64 = 0.01;

/// How much of the difference between channels is levelled, tried in this order.
const SHARES: [f64; 6] = [0.0, 0.25, 0.5, 0.75, 0.9, 1.0];

impl Seen {
    /// Nothing seen yet.
    pub fn new(axis: Option<usize>, calibrator: Calibrator) -> Self {
        let (lows, highs, squares) = (Vec::new(), Vec::new(), Vec::new());
        Self { axis, lows, highs, squares, count: 0, calibrator, histograms: Vec::new(), average: None }
    }

    /// Looks at one more tensor.
    pub fn see(&mut self, tensor: &TensorData) -> Result<(), String> {
        let items = tensor.to_vec::<f32>().ok_or("not float32")?;
        let dims = tensor.dims();
        let (channels, inner) = match self.axis {
            Some(axis) if axis < dims.len() => {
                (dims[axis] as usize, dims[axis + 1..].iter().product::<u64>() as usize)
            }
            _ => (1, items.len()),
        };
        if self.lows.is_empty() {
            (self.lows, self.highs, self.squares) =
                (vec![0.0; channels], vec![0.0; channels], vec![0.0; channels]);
            let counts =
                matches!(self.calibrator, Calibrator::Percentile | Calibrator::Entropy | Calibrator::Mse);
            let bins = if channels == 1 { 4096 } else { 1024 };
            self.histograms = vec![Histogram::new(bins); if counts { channels } else { 0 }];
        }
        if self.lows.len() != channels {
            return Err(format!("it had {} channels and has {channels}", self.lows.len()));
        }
        let (mut lows, mut highs) = (vec![0f32; channels], vec![0f32; channels]);
        for (at, part) in items.chunks(inner.max(1)).enumerate() {
            let channel = at % channels;
            let (mut low, mut high, mut squares) = (0f32, 0f32, 0f64);
            for &x in part {
                if !x.is_finite() {
                    return Err(format!("a number is {x}"));
                }
                low = low.min(x);
                high = high.max(x);
                squares += f64::from(x) * f64::from(x);
            }
            if let Some(histogram) = self.histograms.get_mut(channel) {
                histogram.add(part);
            }
            lows[channel] = lows[channel].min(low);
            highs[channel] = highs[channel].max(high);
            self.squares[channel] += squares;
        }
        self.count += (items.len() / channels.max(1)) as u64;
        let batch = (lows.iter().copied().fold(0.0, f32::min), highs.iter().copied().fold(0.0, f32::max));
        let near = |old: f64, new: f32| old + AVERAGING * (f64::from(new) - old);
        self.average = Some(match self.average {
            None => (f64::from(batch.0), f64::from(batch.1)),
            Some((low, high)) => (near(low, batch.0), near(high, batch.1)),
        });
        self.lows.iter_mut().zip(lows).for_each(|(old, new)| *old = old.min(f64::from(new)));
        self.highs.iter_mut().zip(highs).for_each(|(old, new)| *old = old.max(f64::from(new)));
        Ok(())
    }

    /// Chooses the range, now that everything was seen.
    pub fn settle(&mut self, levels: u32, percentile: f64, symmetric: bool) {
        if let Some(range) = self.average.filter(|_| self.calibrator == Calibrator::MovingAverage) {
            self.cut(range);
        }
        for (at, histogram) in self.histograms.iter().enumerate() {
            let (low, high) = match self.calibrator {
                Calibrator::MinMax | Calibrator::MovingAverage => continue,
                Calibrator::Percentile => histogram.percentile(percentile),
                Calibrator::Entropy => histogram.least_divergence(levels),
                Calibrator::Mse => histogram.least_squares(levels, symmetric),
            };
            self.lows[at] = self.lows[at].max(low);
            self.highs[at] = self.highs[at].min(high);
        }
    }

    /// The range of all channels together.
    pub fn range(&self) -> (f64, f64) {
        (self.lows.iter().copied().fold(0.0, f64::min), self.highs.iter().copied().fold(0.0, f64::max))
    }

    /// Widens the range to that of another value.
    pub fn join(&mut self, (low, high): (f64, f64)) {
        self.lows.iter_mut().for_each(|x| *x = x.min(low));
        self.highs.iter_mut().for_each(|x| *x = x.max(high));
    }

    /// Whether its channels are told apart, and these are they.
    pub fn has_axis(&self, axis: Option<usize>) -> bool {
        axis.is_some() && axis == self.axis
    }

    /// The scale of all channels together.
    pub fn one_for_all(&self, dtype: DType, symmetric: bool) -> Scale {
        Scale { grid: Grid::of(self.range(), dtype, symmetric), factors: None, zeros: None }
    }

    /// The scale that costs the layers which read the value least.
    ///
    /// A factor `f` in front of the rounding of a channel divides its noise, `(scale·f)²/12` an element, and multiplies
    /// the weights that read it, whose own rounding has the noise `(largest·/127)²/12` times what they are multiplied
    /// with. Both are known from the samples; the share of levelling with the smaller sum is taken.
    pub fn scale(&self, readers: &[Reader<'_>], dtype: DType, symmetric: bool) -> Scale {
        let (low, high) = self.range();
        let plain = self.one_for_all(dtype, symmetric);
        let grid = plain.grid;
        if self.axis.is_none() || self.lows.len() < 2 || high <= low {
            return plain;
        }
        let (low, high) = if symmetric { (-high.max(-low), high.max(-low)) } else { (low, high) };
        let share = |x: f64, of: f64| if of == 0.0 { 0.0 } else { x / of };
        let ratios: Vec<f64> = (self.lows.iter().zip(&self.highs))
            .map(|(&l, &h)| {
                let ratio = if symmetric { h.max(-l) / high } else { share(h, high).max(share(l, low)) };
                ratio.clamp(SMALLEST, 1.0)
            })
            .collect();
        let squares: Vec<f64> = self.squares.iter().map(|s| s / self.count.max(1) as f64).collect();
        let cost = |exponent: f64| -> f64 {
            let factors: Vec<f64> = ratios.iter().map(|r| r.powf(exponent)).collect();
            readers.iter().map(|r| r.noise(&factors, &squares, f64::from(grid.scale))).sum()
        };
        let mut best = (f64::INFINITY, 0.0);
        for exponent in SHARES {
            let cost = cost(exponent);
            if cost < best.0 {
                best = (cost, exponent);
            }
        }
        if best.1 == 0.0 {
            return plain;
        }
        Scale { grid, factors: Some(ratios.iter().map(|r| r.powf(best.1)).collect()), zeros: None }
    }

    /// The scale of a value that no layer reads: every channel has the whole range of codes for itself.
    pub fn own_channels(&self, dtype: DType) -> Scale {
        let grid = Grid::of(self.range(), dtype, false);
        let (first, last) = bounds(dtype);
        let widths: Vec<f64> = self.highs.iter().zip(&self.lows).map(|(h, l)| h - l).collect();
        let widest = widths.iter().copied().fold(0.0, f64::max);
        let step = usable(widest / (last - first) as f64);
        if self.axis.is_none() || widths.len() < 2 || f64::from(step) > f64::from(grid.scale) {
            return Scale { grid, factors: None, zeros: None };
        }
        let factors: Vec<f64> = widths.iter().map(|w| (w / widest).clamp(SMALLEST, 1.0)).collect();
        let zero = |(low, f): (&f64, &f64)| {
            let zero = first as f64 - low / (f64::from(step) * f);
            zero.round_ties_even().clamp(first as f64, last as f64) as i32
        };
        let zeros = self.lows.iter().zip(&factors).map(zero).collect();
        Scale { grid: Grid { scale: step, ..grid }, factors: Some(factors), zeros: Some(zeros) }
    }

    /// Cuts the range where the readers do not tell numbers apart any more.
    pub fn cut(&mut self, (low, high): (f64, f64)) {
        self.lows.iter_mut().for_each(|x| *x = x.max(low));
        self.highs.iter_mut().for_each(|x| *x = x.min(high));
    }
}

/// What reads a quantized value.
pub(super) enum Reader<'r> {
    /// Operators on floats: every channel counts alike.
    Float,
    /// A layer, with its weight by output channel, each of which reads `inputs` channels of a group.
    Layer { rows: &'r Rows, inputs: Inputs },
}

/// Which input channel every element of a row of a weight is multiplied with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inputs {
    /// Elements of a row for one input channel.
    pub each: usize,
    /// Input channels of a group.
    pub per_group: usize,
    /// Rows of a group.
    pub rows_per_group: usize,
}

impl Inputs {
    /// The channel of an element.
    pub fn channel(self, row: usize, at: usize) -> usize {
        row / self.rows_per_group.max(1) * self.per_group + at / self.each.max(1)
    }
}

impl Reader<'_> {
    /// What rounding the value and the weight costs the results of the reader, per element of its outputs.
    fn noise(&self, factors: &[f64], squares: &[f64], step: f64) -> f64 {
        let (rows, inputs) = match self {
            Self::Float => return factors.iter().map(|f| (f * step).powi(2)).sum(),
            Self::Layer { rows, inputs } => (rows, inputs),
        };
        let mut total = 0.0;
        for (row, weights) in rows.items.iter().enumerate() {
            let (mut largest, mut rounding, mut power) = (0f64, 0f64, 0f64);
            for (at, w) in weights.iter().enumerate() {
                let Some((f, s)) =
                    factors.get(inputs.channel(row, at)).zip(squares.get(inputs.channel(row, at)))
                else {
                    continue;
                };
                largest = largest.max((w * f).abs());
                rounding += (w * f).powi(2);
                power += s / (f * f);
            }
            total += rounding * step * step + (largest / 127.0).powi(2) * power;
        }
        total
    }
}
