//! What the samples show of the inputs of layers that sum over channels which may go.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2};

use crate::prelude::windows::{Window, floats, spread};
use crate::prelude::*;

use super::layers::{Bias, Layer, layers};

/// The widest row whose moments are kept.
const WIDEST: usize = 4608;

/// Rows that are taken for every number of a row, over all samples.
const ROWS_EACH: usize = 4;

/// Rows that are taken even where a row has few numbers.
const LEAST_ROWS: usize = 4096;

/// The share of the mean power of an input that is added to each: what the samples do not show.
const DAMPING: f64 = 1e-3;

/// A layer, with the second moments of its inputs for every group of channels.
pub(super) struct Reader {
    pub layer: Layer,
    /// How many neighbours of a row belong to one input channel.
    pub each: usize,
    /// Its weights: a row for every output channel.
    pub weights: Array2<f64>,
    window: Window,
    moments: Vec<Moments>,
    wanted: usize,
    batches: usize,
}

impl Reader {
    fn of(graph: &Graph, layer: Layer, batches: usize) -> Option<Self> {
        let data = graph.constant(layer.weight)?;
        let window = layer.window(graph)?;
        let (width, each) = (window.width(), layer.each(data));
        let weights = layer.matrix(data)?;
        if width == 0 || width > WIDEST || weights.ncols() != width {
            return None;
        }
        let moments = vec![Moments::new(width); window.groups()];
        let wanted = (width * ROWS_EACH).max(LEAST_ROWS).div_ceil(batches.max(1)).max(1);
        Some(Self { layer, each, weights, window, moments, wanted, batches: 0 })
    }

    fn see(&mut self, tensor: &TensorData) -> Result<(), String> {
        let items = floats(tensor).ok_or("neither float32 nor float16")?;
        if let Some(bad) = items.iter().find(|x| !x.is_finite()) {
            return Err(format!("a number is {bad}"));
        }
        let places = self.window.places(tensor.dims())?;
        let taken = spread(places, self.wanted, self.batches);
        self.batches += 1;
        let width = self.window.width();
        for (group, moments) in self.moments.iter_mut().enumerate() {
            let rows = self.window.rows((&items, tensor.dims()), group, taken.clone());
            if let Ok(rows) = ArrayView2::from_shape((rows.len() / width, width), &rows) {
                moments.add(&rows);
            }
        }
        Ok(())
    }

    /// Groups of channels.
    pub fn groups(&self) -> usize {
        self.moments.len()
    }

    /// The mean products of the inputs of a group, those of deviations from the mean where a bias can give the mean back,
    /// damped.
    pub fn products(&self, group: usize) -> Array2<f64> {
        self.damped(group, self.layer.bias != Bias::None)
    }

    /// The mean products of the inputs of a group, those of deviations from the mean where `centred`, damped.
    pub fn damped(&self, group: usize, centred: bool) -> Array2<f64> {
        let mut products = self.moments[group].products(centred);
        let power = products.diag().sum() / products.nrows().max(1) as f64;
        let added = (DAMPING * power).max(f64::MIN_POSITIVE);
        products.diag_mut().mapv_inplace(|x| x + added);
        products
    }

    /// The mean of the inputs of a group.
    pub fn mean(&self, group: usize) -> Vec<f64> {
        self.moments[group].mean()
    }
}

/// The layers that sum over an axis of these groups, by weight, with what the samples show of their inputs.
pub(super) fn observe(
    model: &Model,
    channels: &Channels,
    groups: &[Group],
    samples: &Samples<'_>,
) -> anyhow::Result<BTreeMap<ValueId, Reader>> {
    let readers = watch(model, summing(&model.graph, channels, groups)?.into_iter(), samples)?;
    Ok(readers.into_iter().map(|reader| (reader.layer.weight, reader)).collect())
}

/// The layers that sum over an axis of these groups with a weight of their own, in topological order.
pub(super) fn summing(graph: &Graph, channels: &Channels, groups: &[Group]) -> anyhow::Result<Vec<Layer>> {
    let mut all = layers(graph)?;
    all.retain(|layer| {
        let axis = Axis { value: layer.weight, axis: layer.sums };
        channels.sums.contains_key(&axis)
            && graph.use_count(layer.weight) == 1
            && groups.iter().any(|group| group.axes.contains(&axis))
    });
    Ok(all)
}

/// What the samples show of the inputs of layers; those whose rows are too wide are left out.
pub(super) fn watch(
    model: &Model,
    layers: impl Iterator<Item = Layer>,
    samples: &Samples<'_>,
) -> anyhow::Result<Vec<Reader>> {
    let batches = samples.count(Part::Calibration);
    let mut readers: Vec<Reader> =
        layers.filter_map(|layer| Reader::of(&model.graph, layer, batches)).collect();
    let values: Vec<ValueId> = readers.iter().map(|reader| reader.layer.input).collect();
    if !readers.is_empty() {
        samples.observe(Tap { model, values: &values }, &mut readers, Reader::see)?;
    }
    Ok(readers)
}
