//! How far the results of layers are from the original's, and what their ranges leave out.

use crate::prelude::windows::floats;
use crate::prelude::*;

use super::told::{Line, Range};

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

/// What looks at a value of both models.
enum Judge<'p> {
    /// The power of the value and of its error.
    Noise { pair: &'p Pair, signal: f64, noise: f64 },
    /// How many numbers of the original lie outside a range, and of how many.
    Outside { range: &'p Range, outside: u64, all: u64 },
}

impl Judge<'_> {
    fn see(&mut self, seen: &[&TensorData]) -> Result<(), String> {
        match self {
            Self::Noise { pair, signal, noise } => {
                let (s, n) = powers(pair, seen)?;
                *signal += s;
                *noise += n;
            }
            Self::Outside { range, outside, all } => {
                let (found, of) = range.outside(seen[0]).ok_or("neither float32 nor float16")?;
                *outside += found;
                *all += of;
            }
        }
        Ok(())
    }
}

/// The power of a value, and of its error.
fn powers(pair: &Pair, seen: &[&TensorData]) -> Result<(f64, f64), String> {
    let (Some(wanted), Some(found)) = (floats(seen[0]), floats(seen[1])) else {
        return Err("neither float32 nor float16".to_owned());
    };
    let dims = seen[0].dims();
    let inner = |axis: usize| dims.iter().skip(axis + 1).product::<u64>().max(1) as usize;
    let whole = [Channel { factor: 1.0, offset: 0.0 }];
    let (inner, channels) =
        pair.channels.as_ref().map_or((wanted.len().max(1), &whole[..]), |(axis, c)| (inner(*axis), c));
    let (mut signal, mut noise) = (0.0, 0.0);
    let parts = wanted.chunks(inner).zip(found.chunks(inner));
    for ((wanted, found), channel) in parts.zip(channels.iter().cycle()) {
        let (s, n) = powers_of(wanted, found, *channel);
        signal += s;
        noise += n;
    }
    Ok((signal, noise))
}

/// The same of one channel, in lanes that do not wait for one another.
fn powers_of(wanted: &[f32], found: &[f32], channel: Channel) -> (f64, f64) {
    const LANES: usize = 8;
    let (mut signal, mut noise) = ([0.0; LANES], [0.0; LANES]);
    let mut look = |lane: usize, a: f32, b: f32| {
        let (a, b) = (f64::from(a), (f64::from(b) - channel.offset) * channel.factor);
        signal[lane] += a * a;
        noise[lane] += (a - b) * (a - b);
    };
    let (wanted, found) = (wanted.chunks_exact(LANES), found.chunks_exact(LANES));
    let rest = wanted.remainder().iter().zip(found.remainder());
    rest.enumerate().for_each(|(lane, (&a, &b))| look(lane, a, b));
    wanted.zip(found).for_each(|(a, b)| (0..LANES).for_each(|lane| look(lane, a[lane], b[lane])));
    (signal.iter().sum(), noise.iter().sum())
}

/// Batches that are judged by: more say the same.
const ENOUGH: usize = 32;

/// Tells of every layer how far its result is from the original's on the samples, and how much of its activations lies
/// outside their ranges; one pair for each layer.
pub(super) fn judge(
    (before, after): (&Model, &Model),
    lines: &mut [Line],
    pairs: &[Pair],
    samples: &Samples<'_>,
) -> anyhow::Result<()> {
    // Layers share activations.
    let mut ranges: Vec<Range> = Vec::new();
    for range in lines.iter().flat_map(|line| &line.ranges) {
        if !ranges.contains(range) {
            ranges.push(range.clone());
        }
    }
    let (ratios, shares) = look((before, after), pairs, &ranges, samples)?;
    for (line, sqnr_db) in lines.iter_mut().zip(ratios) {
        line.told.sqnr_db = sqnr_db;
    }
    for line in lines {
        for (range, told) in line.ranges.iter().zip(&mut line.told.activations) {
            told.saturated = ranges.iter().position(|r| r == range).and_then(|at| shares[at]);
        }
    }
    Ok(())
}

/// What the report says of layers, with the signal to noise ratio of what each makes, in dB, where there are samples; none
/// where both are equal, or all is zero.
pub(super) fn with_ratios(
    (before, after): (&Model, &Model),
    results: Vec<(LayerReport, ValueId)>,
    samples: Option<&Samples<'_>>,
) -> anyhow::Result<Vec<LayerReport>> {
    let pair = |&(_, v): &(LayerReport, ValueId)| Pair { before: v, after: v, channels: None };
    let ratios = match samples {
        Some(samples) => {
            let pairs: Vec<Pair> = results.iter().map(pair).collect();
            look((before, after), &pairs, &[], samples)?.0
        }
        None => vec![None; results.len()],
    };
    let lines = results.into_iter().zip(ratios);
    Ok(lines.map(|((line, _), sqnr_db)| LayerReport { sqnr_db, ..line }).collect())
}

/// What was found of every pair, or of every range.
type Found = Vec<Option<f64>>;

/// Ratios of pairs, and shares of the numbers of the original outside ranges.
fn look(
    (before, after): (&Model, &Model),
    pairs: &[Pair],
    ranges: &[Range],
    samples: &Samples<'_>,
) -> anyhow::Result<(Found, Found)> {
    let mut judges: Vec<_> =
        pairs.iter().map(|pair| Judge::Noise { pair, signal: 0.0, noise: 0.0 }).collect();
    judges.extend(ranges.iter().map(|range| Judge::Outside { range, outside: 0, all: 0 }));
    // Ranges are of the original alone: any value of the result is looked at beside.
    let Some(&any) = after.graph.outputs().first().filter(|_| !judges.is_empty()) else {
        return Ok((vec![None; pairs.len()], vec![None; ranges.len()]));
    };
    let old: Vec<ValueId> = pairs.iter().map(|p| p.before).chain(ranges.iter().map(|r| r.value)).collect();
    let new: Vec<ValueId> = pairs.iter().map(|p| p.after).chain(ranges.iter().map(|_| any)).collect();
    let taps = [Tap::of(before, &old), Tap::of(after, &new)];
    samples.few(ENOUGH).observe_all(&taps, &mut judges, Judge::see)?;
    let (mut ratios, mut shares) = (Vec::new(), Vec::new());
    for judge in judges {
        match judge {
            Judge::Noise { signal, noise, .. } => {
                ratios.push(Some(10.0 * (signal / noise).log10()).filter(|r| r.is_finite()));
            }
            Judge::Outside { outside, all, .. } => {
                shares.push((all > 0).then(|| outside as f64 / all as f64));
            }
        }
    }
    Ok((ratios, shares))
}
