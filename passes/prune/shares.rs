//! How many weights of every layer become zero.

use ndarray::s;

use crate::prelude::*;

use super::layers::Layer;
use super::seen::{Reader, watch};
use super::thin::has_bias;
use super::weights::{Scoping, TURNS};

/// Scores in so many steps that neighbours differ by less than a percent.
const STEPS: usize = 1 << 16;

/// What a layer keeps at least, as a share of what all keep on average: no layer is lost as a whole.
const LEAST: f64 = 0.25;

/// How many weights of a layer have which score, and how many there are.
struct Scores {
    counts: Vec<u32>,
    all: usize,
}

impl Scores {
    /// Of scores that are not negative.
    fn of(scores: impl IntoIterator<Item = f64>) -> Self {
        let mut found = Self { counts: vec![0; STEPS], all: 0 };
        for score in scores {
            // The bits of floats that are not negative are in their order.
            let step = (score as f32).to_bits() >> 15;
            found.counts[(step as usize).min(STEPS - 1)] += 1;
            found.all += 1;
        }
        found
    }
}

/// How many weights of every layer become zero. What is known of its inputs decides where the share is one of all layers
/// together; layers of which nothing is known get the share that they would alone.
pub(super) fn counts(
    model: &Model,
    layers: &[Layer],
    share: f64,
    scoping: Scoping,
    samples: Option<&Samples<'_>>,
) -> anyhow::Result<Vec<usize>> {
    let constant = |layer: &Layer| model.graph.constant(layer.weight);
    let size = |layer: &Layer| constant(layer).map_or(0, TensorData::len);
    let mut counts: Vec<usize> = layers.iter().map(|layer| of_one(share, size(layer))).collect();
    if scoping == Scoping::Uniform {
        return Ok(counts);
    }
    let mut scores: Vec<Option<Scores>> = Vec::new();
    for part in layers.chunks(layers.len().div_ceil(TURNS).max(1)) {
        if let Some(samples) = samples {
            let readers = watch(model, part.iter().cloned(), samples)?;
            let find = |layer: &Layer| readers.iter().find(|reader| reader.layer.weight == layer.weight);
            scores.extend(part.iter().map(|layer| find(layer).map(by_power)));
        } else {
            let items = part.iter().map(|layer| constant(layer).and_then(TensorData::to_f64s));
            scores.extend(items.map(|items| Some(Scores::of(items?.into_iter().map(f64::abs)))));
        }
    }
    let known = scores.into_iter().enumerate().filter_map(|(at, scores)| Some((at, scores?)));
    let (places, scores): (Vec<usize>, Vec<Scores>) = known.unzip();
    places.into_iter().zip(of_all(share, &scores)).for_each(|(at, count)| counts[at] = count);
    Ok(counts)
}

/// What the weights of a layer add to its answers, each alone, as a share of their power.
fn by_power(reader: &Reader) -> Scores {
    let rows = reader.weights.nrows() / reader.groups().max(1);
    let groups = (0..reader.groups()).map(|group| {
        let part = reader.weights.slice(s![group * rows..(group + 1) * rows, ..]);
        (part, reader.damped(group, has_bias(&reader.layer)))
    });
    let groups: Vec<_> = groups.collect();
    let power: f64 = groups.iter().map(|(part, products)| (part * &part.dot(products)).sum()).sum();
    let power = power.max(f64::MIN_POSITIVE);
    let alone = groups.iter().flat_map(|(part, products)| {
        part.indexed_iter().map(move |((_, at), w)| w * w * products[[at, at]] / power)
    });
    Scores::of(alone)
}

/// The same share of every layer.
fn of_one(share: f64, weights: usize) -> usize {
    (share * weights as f64).round() as usize
}

/// A share of all, the least scores first, wherever they are.
fn of_all(share: f64, layers: &[Scores]) -> Vec<usize> {
    let most: Vec<usize> = layers
        .iter()
        .map(|layer| (layer.all as f64 * (1.0 - LEAST * (1.0 - share))).ceil() as usize)
        .collect();
    let mut left = of_one(share, layers.iter().map(|layer| layer.all).sum());
    let mut gone = vec![0; layers.len()];
    for step in 0..STEPS {
        for ((gone, layer), most) in gone.iter_mut().zip(layers).zip(&most) {
            let more = (layer.counts[step] as usize).min(most - *gone).min(left);
            *gone += more;
            left -= more;
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_scores_go_and_no_layer_is_lost() {
        let low = Scores::of((0..100).map(|i| 1e-3 * f64::from(i)));
        let high = Scores::of((0..300).map(|i| 1.0 + f64::from(i)));
        let gone = of_all(0.5, &[low, high]);
        assert_eq!(gone, [88, 112], "an eighth of the first layer stays");
        let equal = || Scores::of((0..1000).map(f64::from));
        let gone = of_all(0.3, &[equal(), equal()]);
        assert_eq!(gone.iter().sum::<usize>(), 600);
        assert!(gone[0].abs_diff(300) < 4, "{gone:?}");
        assert_eq!(of_all(0.5, &[Scores::of([0.0; 8])]), [4]);
    }
}
