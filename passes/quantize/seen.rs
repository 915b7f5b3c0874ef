//! Which grid every quantized value has, and how its channels are scaled before they are rounded.

use crate::prelude::*;

use super::codes::{Grid, Rows, bounds, usable};
use super::fidelity::Channel;
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
    /// The range of all channels, before any was chosen.
    whole: (f64, f64),
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

impl Scale {
    /// How every channel lies on the grid, where they have factors.
    pub fn channels(&self) -> Vec<Channel> {
        let step = f64::from(self.grid.scale);
        let offset = |zero: i32| f64::from(zero - self.grid.zero_point) * step;
        let zeros = self.zeros.as_deref();
        let channel = |(at, &factor): (usize, &f64)| Channel {
            factor,
            offset: zeros.and_then(|zeros| zeros.get(at)).map_or(0.0, |&zero| offset(zero)),
        };
        self.factors.iter().flatten().enumerate().map(channel).collect()
    }
}

/// The smallest factor of a channel: what is never seen must not drown in what it might be.
pub(super) const SMALLEST: f64 = 1.0 / 64.0;

/// The share of its width by which a channel may reach beyond what was seen of it, on either side: the samples show fewer
/// extremes of one channel than of all.
const HEADROOM: f64 = 0.1;

/// What the newest batch counts in a moving average.
const AVERAGING: f64 = 0.01;

/// How much of the difference between channels is levelled, tried in this order.
pub(super) const SHARES: [f64; 6] = [0.0, 0.25, 0.5, 0.75, 0.9, 1.0];

impl Seen {
    /// Nothing seen yet.
    pub fn new(axis: Option<usize>, calibrator: Calibrator) -> Self {
        let (lows, highs, squares) = (Vec::new(), Vec::new(), Vec::new());
        let (histograms, whole) = (Vec::new(), (0.0, 0.0));
        Self { axis, lows, highs, squares, count: 0, calibrator, histograms, average: None, whole }
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
            let (low, high, squares) = extremes(part);
            if !squares.is_finite()
                && let Some(x) = part.iter().find(|x| !x.is_finite())
            {
                return Err(format!("a number is {x}"));
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

    /// Chooses the range, now that everything was seen. The numbers themselves are forgotten.
    pub fn settle(&mut self, levels: u32, percentile: f64, symmetric: bool) {
        self.whole = self.range();
        self.widen();
        if let Some(range) = self.average.filter(|_| self.calibrator == Calibrator::MovingAverage) {
            self.cut(range);
        }
        for (at, histogram) in std::mem::take(&mut self.histograms).iter().enumerate() {
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

    /// Lets channels reach beyond what was seen of them, though not beyond what was seen of all.
    fn widen(&mut self) {
        let (lowest, highest) = self.range();
        for (low, high) in self.lows.iter_mut().zip(&mut self.highs) {
            let more = HEADROOM * (*high - *low);
            (*low, *high) = ((*low - more).max(lowest), (*high + more).min(highest));
        }
    }

    /// The range of all channels together.
    pub fn range(&self) -> (f64, f64) {
        (self.lows.iter().copied().fold(0.0, f64::min), self.highs.iter().copied().fold(0.0, f64::max))
    }

    /// The largest magnitude of every channel.
    pub fn magnitudes(&self) -> impl Iterator<Item = f64> + '_ {
        self.lows.iter().zip(&self.highs).map(|(low, high)| high.max(-low))
    }

    /// What was seen of all channels together, whatever range was chosen.
    pub fn report(&self) -> SeenReport {
        let count = self.count * self.lows.len() as u64;
        let rms = (self.squares.iter().sum::<f64>() / count.max(1) as f64).sqrt();
        SeenReport { low: self.whole.0, high: self.whole.1, rms }
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

    /// The scale that costs the readers least.
    ///
    /// A factor `f` in front of the rounding of a channel divides its noise, `(scale·f)²/12` an element, and multiplies
    /// the weights that read it, whose own rounding has the noise `(largest·/127)²/12` times what they are multiplied
    /// with. Both are known from the samples; the share of levelling with the smaller sum is taken. Where `shifts` says
    /// that readers and producer can take it, channels may also have a zero of their own.
    pub fn scale(&self, readers: &[Reader<'_>], dtype: DType, (symmetric, shifts): (bool, bool)) -> Scale {
        let plain = self.one_for_all(dtype, symmetric);
        let (low, high) = self.range();
        if self.axis.is_none() || self.lows.len() < 2 || high <= low {
            return plain;
        }
        let squares = self.powers();
        let mut best = (f64::INFINITY, plain.clone());
        let shared = (plain.grid, self.ratios(symmetric));
        let own = (shifts && !symmetric).then(|| self.widths(dtype));
        for (at, (grid, ratios)) in [Some(shared), own].into_iter().flatten().enumerate() {
            for exponent in SHARES {
                let factors: Vec<f64> = ratios.iter().map(|r| r.powf(exponent)).collect();
                let noise = |r: &Reader<'_>| r.noise(&factors, &squares, f64::from(grid.scale));
                let cost: f64 = readers.iter().map(noise).sum();
                if cost < best.0 {
                    let zeros = (at == 1).then(|| self.zeros(grid, &factors));
                    let factors = (exponent > 0.0 || zeros.is_some()).then_some(factors);
                    best = (cost, Scale { grid, factors, zeros });
                }
            }
        }
        best.1
    }

    /// The mean square of every channel.
    pub fn powers(&self) -> Vec<f64> {
        self.squares.iter().map(|s| s / self.count.max(1) as f64).collect()
    }

    /// The grid of all channels, each divided by its factor.
    pub fn divided(&self, factors: &[f64], dtype: DType, symmetric: bool) -> Grid {
        let least = |ends: &[f64]| ends.iter().zip(factors).map(|(x, f)| x / f).fold(0.0, f64::min);
        let most = |ends: &[f64]| ends.iter().zip(factors).map(|(x, f)| x / f).fold(0.0, f64::max);
        Grid::of((least(&self.lows), most(&self.highs)), dtype, symmetric)
    }

    /// How much of the range of all channels each of them takes, the code of zero being the same.
    pub fn ratios(&self, symmetric: bool) -> Vec<f64> {
        let (low, high) = self.range();
        let share = |x: f64, of: f64| if of == 0.0 { 0.0 } else { x / of };
        let ratio = |(&l, &h): (&f64, &f64)| {
            let ratio =
                if symmetric { h.max(-l) / high.max(-low) } else { share(h, high).max(share(l, low)) };
            ratio.clamp(SMALLEST, 1.0)
        };
        self.lows.iter().zip(&self.highs).map(ratio).collect()
    }

    /// The grid of the widest channel, and how much of its width each of them takes.
    fn widths(&self, dtype: DType) -> (Grid, Vec<f64>) {
        let (first, last) = bounds(dtype);
        let widths: Vec<f64> = self.highs.iter().zip(&self.lows).map(|(h, l)| h - l).collect();
        let widest = widths.iter().copied().fold(0.0, f64::max);
        let grid =
            Grid { scale: usable(widest / (last - first) as f64), ..Grid::of(self.range(), dtype, false) };
        (grid, widths.iter().map(|w| (w / widest).clamp(SMALLEST, 1.0)).collect())
    }

    /// The code of zero in every channel, so that each has the whole range of codes for itself.
    fn zeros(&self, grid: Grid, factors: &[f64]) -> Vec<i32> {
        let (first, last) = bounds(grid.dtype);
        let zero = |(low, f): (&f64, &f64)| {
            let zero = first as f64 - low / (f64::from(grid.scale) * f);
            zero.round_ties_even().clamp(first as f64, last as f64) as i32
        };
        self.lows.iter().zip(factors).map(zero).collect()
    }

    /// Cuts the range where the readers do not tell numbers apart any more.
    pub fn cut(&mut self, (low, high): (f64, f64)) {
        self.lows.iter_mut().for_each(|x| *x = x.max(low));
        self.highs.iter_mut().for_each(|x| *x = x.min(high));
    }
}

/// The smallest number or 0, the largest or 0, and the sum of squares. Sums of 64 squares are kept in f32.
fn extremes(items: &[f32]) -> (f32, f32, f64) {
    const LANES: usize = 8;
    let (mut low, mut high, mut squares) = ([0f32; LANES], [0f32; LANES], 0f64);
    for block in items.chunks(64 * LANES) {
        let mut sums = [0f32; LANES];
        let mut look = |lane: usize, x: f32| {
            low[lane] = if x < low[lane] { x } else { low[lane] };
            high[lane] = if x > high[lane] { x } else { high[lane] };
            sums[lane] += x * x;
        };
        let parts = block.chunks_exact(LANES);
        parts.remainder().iter().enumerate().for_each(|(lane, &x)| look(lane, x));
        parts.for_each(|part| (0..LANES).for_each(|lane| look(lane, part[lane])));
        squares += sums.iter().map(|&s| f64::from(s)).sum::<f64>();
    }
    (low.into_iter().fold(0.0, f32::min), high.into_iter().fold(0.0, f32::max), squares)
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
    pub fn noise(&self, factors: &[f64], squares: &[f64], step: f64) -> f64 {
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
