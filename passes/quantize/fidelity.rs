//! How far the results of layers are from the original's.

use crate::prelude::*;

use super::moments::floats;

/// What a channel of the original is, given what is there: `(x − offset) · factor`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Channel {
    /// What it was divided by.
    pub factor: f64,
    /// What was added then.
    pub offset: f64,
}

/// A value of the original, and where its numbers are now.
pub(super) struct Pair {
    /// In the original.
    pub before: ValueId,
    /// In the result.
    pub after: ValueId,
    /// How it follows from what is there, along an axis.
    pub channels: Option<(usize, Vec<Channel>)>,
}

/// The power of a value and of its error.
struct Judge<'p> {
    pair: &'p Pair,
    signal: f64,
    noise: f64,
}

impl Judge<'_> {
    fn see(&mut self, seen: &[&TensorData]) -> Result<(), String> {
        let (Some(wanted), Some(found)) = (floats(seen[0]), floats(seen[1])) else {
            return Err("neither float32 nor float16".to_owned());
        };
        let dims = seen[0].dims();
        let inner = |axis: usize| dims.iter().skip(axis + 1).product::<u64>().max(1) as usize;
        let channels = self.pair.channels.as_ref().map(|(axis, f)| (inner(*axis), f));
        let whole = Channel { factor: 1.0, offset: 0.0 };
        for (at, (&a, &b)) in wanted.iter().zip(&found).enumerate() {
            let channel = channels.map_or(whole, |(inner, c)| c[at / inner % c.len()]);
            let (a, b) = (f64::from(a), (f64::from(b) - channel.offset) * channel.factor);
            self.signal += a * a;
            self.noise += (a - b).powi(2);
        }
        Ok(())
    }
}

/// Batches that are judged by: more say the same.
const ENOUGH: usize = 32;

/// The signal to noise ratio of every pair on the samples, in dB; `None` where both are equal, or all is zero.
pub(super) fn ratios(
    before: &Model,
    after: &Model,
    pairs: &[Pair],
    samples: &Samples<'_>,
) -> anyhow::Result<Vec<Option<f64>>> {
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    let (old, new): (Vec<_>, Vec<_>) = pairs.iter().map(|p| (p.before, p.after)).unzip();
    let mut judges: Vec<_> = pairs.iter().map(|pair| Judge { pair, signal: 0.0, noise: 0.0 }).collect();
    let taps = [Tap { model: before, values: &old }, Tap { model: after, values: &new }];
    samples.few(ENOUGH).observe_all(&taps, &mut judges, Judge::see)?;
    let ratio = |judge: Judge<'_>| 10.0 * (judge.signal / judge.noise).log10();
    Ok(judges.into_iter().map(|judge| Some(ratio(judge)).filter(|r| r.is_finite())).collect())
}
