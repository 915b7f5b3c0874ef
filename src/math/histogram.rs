//! Histograms of numbers that come bit by bit, and the ranges that are read off them.

/// Bins with zero at an edge and a power of two as their width: it doubles, and pairs of bins merge, where a number lies
/// outside. So what is counted does not depend on the order in which numbers come.
#[derive(Debug, Clone)]
pub struct Histogram {
    /// The width of a bin is `2^exponent`.
    exponent: i32,
    /// Half of them on each side of zero.
    counts: Vec<u32>,
    total: u64,
    low: f64,
    high: f64,
}

impl Histogram {
    /// Nothing counted yet, in so many bins: an even number.
    pub fn new(bins: usize) -> Self {
        Self {
            exponent: i32::MIN,
            counts: vec![0; bins.max(2).next_multiple_of(2)],
            total: 0,
            low: 0.0,
            high: 0.0,
        }
    }

    /// Counts finite numbers. Zeros are counted apart: they lie on every grid.
    pub fn add(&mut self, items: &[f32]) {
        let largest = items.iter().fold(0f32, |m, x| m.max(x.abs()));
        self.widen(f64::from(largest));
        let scale = (-f64::from(self.exponent)).exp2();
        let bins = self.counts.len() as i64;
        for &x in items.iter().filter(|x| **x != 0.0) {
            let x = f64::from(x);
            let bin = (x * scale).floor() as i64 + bins / 2;
            self.counts[bin.clamp(0, bins - 1) as usize] += 1;
            self.low = self.low.min(x);
            self.high = self.high.max(x);
        }
        self.total += items.len() as u64;
    }

    /// Lets the bins hold a magnitude.
    fn widen(&mut self, magnitude: f64) {
        let bins = self.counts.len();
        if magnitude == 0.0 {
            return;
        }
        // The smallest power of two whose bins reach beyond the magnitude.
        let needed = (magnitude / (bins / 2) as f64).log2().floor() as i32 + 1;
        if self.exponent == i32::MIN {
            self.exponent = needed;
        }
        let merges = (needed - self.exponent).max(0);
        for _ in 0..merges.min(bins.ilog2() as i32) {
            let half = bins / 2;
            let merged = |at: usize| -> u32 {
                // Bin `at` of the wider grid covers these two of the finer one.
                let first = 2 * at as i64 - half as i64;
                (first..first + 2).filter_map(|b| self.counts.get(usize::try_from(b).ok()?)).sum()
            };
            self.counts = (0..bins).map(merged).collect();
        }
        self.exponent += merges;
    }

    /// The smallest and the largest number, or zero.
    pub fn range(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// Bins that hold something: their middle, and how many numbers.
    fn bins(&self) -> Vec<(f64, f64)> {
        let bins = self.counts.len();
        let width = f64::from(self.exponent.max(-1000)).exp2();
        let bin = |(at, &count): (usize, &u32)| {
            let middle = (at as f64 - (bins / 2) as f64 + 0.5) * width;
            (count > 0).then_some((middle.clamp(self.low, self.high), f64::from(count)))
        };
        self.counts.iter().enumerate().filter_map(bin).collect()
    }

    /// The range in which this share of the numbers lies; as many of the others are on each side.
    pub fn percentile(&self, share: f64) -> (f64, f64) {
        let cut = (1.0 - share.clamp(0.0, 1.0)) / 2.0 * self.total as f64;
        let bins = self.bins();
        let end = |mut bins: Box<dyn Iterator<Item = &(f64, f64)> + '_>| {
            let mut left = cut;
            bins.find_map(|&(middle, count)| {
                left -= count;
                (left < 0.0).then_some(middle)
            })
        };
        let low = if cut < 1.0 { Some(self.low) } else { end(Box::new(bins.iter())) };
        let high = if cut < 1.0 { Some(self.high) } else { end(Box::new(bins.iter().rev())) };
        (low.unwrap_or(0.0).min(0.0), high.unwrap_or(0.0).max(0.0))
    }

    /// The range with the least mean squared error of rounding to so many levels: what lies inside errs by a twelfth of
    /// the squared step, what lies outside by the squared distance.
    pub fn least_squares(&self, levels: u32, symmetric: bool) -> (f64, f64) {
        let bins = self.bins();
        let error = |low: f64, high: f64| -> f64 {
            let step = (high - low) / f64::from(levels.max(2) - 1);
            let inside = step * step / 12.0;
            bins.iter().map(|&(x, n)| n * (inside + (low - x).max(x - high).max(0.0).powi(2))).sum()
        };
        let shares = || (1..=100).map(|percent| f64::from(percent) / 100.0);
        if symmetric {
            let reach = self.high.max(-self.low);
            let best = best(shares(), |s| error(-reach * s, reach * s));
            return ((-reach * best).max(self.low), (reach * best).min(self.high));
        }
        let (mut low, mut high) = (self.low, self.high);
        for _ in 0..3 {
            high = self.high * best(shares(), |s| error(low, self.high * s));
            low = self.low * best(shares(), |s| error(self.low * s, high));
        }
        (low, high)
    }

    /// The range that keeps most of the information: the magnitude at which cutting, with what lies beyond counted at the
    /// edge, and then rounding to so many levels gives the distribution with the least Kullback–Leibler divergence from
    /// the cut one (S. Migacz, *8-bit inference with `TensorRT`*, GTC 2017).
    pub fn least_divergence(&self, levels: u32) -> (f64, f64) {
        let half = self.counts.len() / 2;
        let magnitude = |at: usize| f64::from(self.counts[half + at]) + f64::from(self.counts[half - 1 - at]);
        let magnitudes: Vec<f64> = (0..half).map(magnitude).collect();
        // Both signs share the levels.
        let both = self.low < 0.0 && self.high > 0.0;
        let levels = if both { levels / 2 } else { levels } as usize;
        let Some(used) = magnitudes.iter().rposition(|&n| n > 0.0).map(|last| last + 1) else {
            return (self.low, self.high);
        };
        if used <= levels {
            return (self.low, self.high);
        }
        let mut least = (f64::INFINITY, used);
        for reach in (levels..used).step_by(((used - levels) / 256).max(1)).chain([used]) {
            let divergence = divergence(&magnitudes, reach, levels);
            if divergence < least.0 {
                least = (divergence, reach);
            }
        }
        let reach = least.1 as f64 * f64::from(self.exponent).exp2();
        (self.low.max(-reach), self.high.min(reach))
    }
}

/// The candidate with the least cost; the last one of equals, which cuts least.
fn best(candidates: impl Iterator<Item = f64>, cost: impl Fn(f64) -> f64) -> f64 {
    let mut least = (f64::INFINITY, 1.0);
    for candidate in candidates {
        let cost = cost(candidate);
        if cost <= least.0 {
            least = (cost, candidate);
        }
    }
    least.1
}

/// The divergence of the rounded distribution from the cut one.
fn divergence(counts: &[f64], reach: usize, levels: usize) -> f64 {
    let mut cut = counts[..reach].to_vec();
    cut[reach - 1] += counts[reach..].iter().sum::<f64>();
    let total: f64 = cut.iter().sum();
    let (mut rounded, mut kept) = (vec![0.0; reach], 0.0);
    for level in 0..levels {
        let span = level * reach / levels..(level + 1) * reach / levels;
        let part = &counts[span.clone()];
        let filled = part.iter().filter(|n| **n > 0.0).count();
        let sum: f64 = part.iter().sum();
        for at in span.filter(|&at| counts[at] > 0.0) {
            rounded[at] = sum / filled as f64;
        }
        kept += sum;
    }
    let term = |(p, q): (&f64, &f64)| {
        let (p, q) = (p / total, q / kept);
        // A bin that only what was cut off fills has no counterpart: as little as one count is assumed.
        if p > 0.0 { p * (p / q.max(1.0 / (total + 1.0))).ln() } else { 0.0 }
    };
    cut.iter().zip(&rounded).map(term).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look like a normal distribution, and a few far outside.
    fn bell(outliers: &[f32]) -> Vec<f32> {
        let mut state = 1u64;
        let mut unit = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        let mut items: Vec<f32> = (0..40_000).map(|_| (0..12).map(|_| unit()).sum::<f32>() - 6.0).collect();
        items.extend(outliers);
        items
    }

    #[test]
    fn order_does_not_matter() {
        let items = bell(&[40.0, -3e-3]);
        let (mut once, mut bits, mut reversed) =
            (Histogram::new(4096), Histogram::new(4096), Histogram::new(4096));
        once.add(&items);
        items.chunks(7).for_each(|part| bits.add(part));
        items.chunks(1000).rev().for_each(|part| reversed.add(part));
        assert_eq!((&once.counts, once.exponent, once.range()), (&bits.counts, bits.exponent, bits.range()));
        assert_eq!((&once.counts, once.exponent), (&reversed.counts, reversed.exponent));
        assert_eq!(once.total, 40_002);
        assert_eq!(
            once.counts.iter().map(|&n| n as usize).sum::<usize>(),
            40_002 - items.iter().filter(|x| **x == 0.0).count()
        );
    }

    #[test]
    fn outliers_are_cut_off_by_all_but_the_full_range() {
        let mut seen = Histogram::new(4096);
        seen.add(&bell(&[30.0]));
        assert!(seen.range().1 > 29.9);
        let few = [seen.least_squares(16, false), seen.least_squares(16, true)];
        for (low, high) in few.into_iter().chain([seen.percentile(0.999), seen.least_divergence(256)]) {
            assert!((2.0..20.0).contains(&high), "{high}");
            assert!((-6.0..-2.0).contains(&low), "{low}");
        }
        assert_eq!(seen.percentile(1.0), seen.range());
    }

    #[test]
    fn least_squares_is_the_least_of_all_ranges() {
        let mut seen = Histogram::new(4096);
        let items = bell(&[]);
        seen.add(&items);
        let error = |(low, high): (f64, f64), levels: f64| -> f64 {
            let step = (high - low) / (levels - 1.0);
            let rounded = |x: f64| (((x - low) / step).round().clamp(0.0, levels - 1.0)) * step + low;
            items.iter().map(|&x| (f64::from(x) - rounded(f64::from(x))).powi(2)).sum::<f64>()
        };
        // With 16 levels much has to be cut, with 256 little: 2.5 sigma and 4, in the usual tables.
        for (levels, expected) in [(16, 2.7), (256, 4.0)] {
            let found = seen.least_squares(levels, true);
            assert!((found.1 - expected).abs() < 0.4, "{levels}: {found:?}");
            let count = f64::from(levels);
            for other in [0.8, 0.9, 1.1, 1.2] {
                let (low, high) = (found.0 * other, found.1 * other);
                assert!(error(found, count) < error((low, high), count) * 1.02, "{levels} {other}");
            }
        }
    }

    #[test]
    fn what_holds_nothing_has_no_range() {
        let mut seen = Histogram::new(4096);
        for range in [seen.percentile(0.9), seen.least_squares(256, false), seen.least_divergence(256)] {
            assert_eq!(range, (0.0, 0.0));
        }
        seen.add(&[0.0, 0.0]);
        for range in [seen.percentile(0.9), seen.least_squares(256, true), seen.least_divergence(256)] {
            assert_eq!(range, (0.0, 0.0));
        }
        seen.add(&[5.0]);
        for range in [seen.percentile(1.0), seen.least_squares(256, false), seen.least_divergence(256)] {
            assert!(range.1 > 4.0 && range.0 == 0.0, "{range:?}");
        }
    }
}
