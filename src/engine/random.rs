//! Counter-based random numbers: a function of seed, name and position, the same on every platform.

/// One stream of random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    key: u64,
    at: u64,
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finalizer of `SplitMix64`.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Stream {
    /// The stream of a seed and a name: streams of other names do not depend on each other, nor on their order.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let fnv = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        Self { key: mix(mix(seed.wrapping_add(STEP)) ^ fnv), at: 0 }
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.at = self.at.wrapping_add(1);
        mix(self.key.wrapping_add(self.at.wrapping_mul(STEP)))
    }

    /// A number in `low..=high`, each equally likely up to one part in 2^64 by the width.
    pub(crate) fn int(&mut self, low: i64, high: i64) -> i64 {
        let width = high.wrapping_sub(low) as u64;
        let bits = self.bits();
        match width.checked_add(1) {
            None => bits as i64,
            Some(n) => low.wrapping_add(((u128::from(bits) * u128::from(n)) >> 64) as i64),
        }
    }

    /// A number of mean 0 and variance 1 that is normal but for the tails, which end at ±6.
    ///
    /// The sum of twelve uniform numbers: integer additions only, where a logarithm and a cosine could differ in the
    /// last bit from one platform to the next.
    pub(crate) fn normal(&mut self) -> f64 {
        const BITS: u32 = 21;
        let mut sum = 0;
        for _ in 0..4 {
            let word = self.bits();
            sum += (0..3).map(|i| (word >> (i * BITS)) & ((1 << BITS) - 1)).sum::<u64>();
        }
        (sum as f64 + 6.0) / f64::from(1u32 << BITS) - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_mean_0_and_variance_1() {
        let mut stream = Stream::new(7, "x");
        let items: Vec<f64> = (0..100_000).map(|_| stream.normal()).collect();
        let mean = items.iter().sum::<f64>() / 1e5;
        let variance = items.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((variance - 1.0).abs() < 0.02, "{variance}");
    }

    #[test]
    fn integers_fill_their_range_and_stay_in_it() {
        let mut stream = Stream::new(7, "x");
        let mut seen = [0u32; 5];
        (0..5000).for_each(|_| seen[(stream.int(-2, 2) + 2) as usize] += 1);
        assert!(seen.iter().all(|&n| (900..1100).contains(&n)), "{seen:?}");
        let _ = stream.int(i64::MIN, i64::MAX);
    }

    #[test]
    fn the_numbers_are_pinned() {
        let mut stream = Stream::new(0, "input");
        assert_eq!([stream.bits(), stream.bits()], [PINNED[0], PINNED[1]]);
        assert_ne!(Stream::new(0, "a").bits(), Stream::new(0, "b").bits());
        assert_ne!(Stream::new(0, "a").bits(), Stream::new(1, "a").bits());
    }

    /// What an independent implementation of the same formula (in Python) gives.
    const PINNED: [u64; 2] = [0xe373_a8dd_5b0b_c77f, 0x94c4_8546_125f_26cc];
}
