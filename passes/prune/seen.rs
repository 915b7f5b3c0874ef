//! What the samples show of the inputs of layers that sum over channels which may go.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2};

use crate::prelude::windows::{Window, floats, spread};
use crate::prelude::*;

use super::layers::{Bias, Layer, layers};

/// The widest row whose moments are kept.
const WIDEST: usize = 4608;

/// The widest row of a kernel of several cells that is looked at as a whole, where that is only to choose: beyond it all
/// cells share the moments of the channels.
const WIDEST_WHOLE: usize = 1152;

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
    /// Its weights: a row for every output channel, or for every cell of the kernel of every output channel.
    pub weights: Array2<f64>,
    /// How many rows of the weights belong to one output channel.
    cells: usize,
    window: Window,
    moments: Vec<Moments>,
    wanted: usize,
    batches: usize,
}

impl Reader {
    /// A layer of a graph, seen on so many batches; its rows in cells where they are wider than that.
    fn of(graph: &Graph, layer: Layer, batches: usize, whole: usize) -> Option<Self> {
        let data = graph.constant(layer.weight)?;
        let window = layer.window(graph)?;
        let (width, each) = (window.width(), layer.each(data).max(1));
        let weights = layer.matrix(data)?;
        let cells = if width > whole { each } else { 1 };
        if width == 0 || width / cells > WIDEST || weights.ncols() != width {
            return None;
        }
        let (width, weights) = (width / cells, in_cells(&weights.view(), cells));
        let moments = vec![Moments::new(width); window.groups()];
        let wanted = (width * ROWS_EACH).max(LEAST_ROWS).div_ceil(batches.max(1) * cells).max(1);
        Some(Self { layer, each: each / cells, weights, cells, window, moments, wanted, batches: 0 })
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
            let Ok(rows) = ArrayView2::from_shape((rows.len() / width, width), &rows) else { continue };
            if self.cells == 1 {
                moments.add(&rows);
            } else {
                moments.add(&in_cells(&rows, self.cells).view());
            }
        }
        Ok(())
    }

    /// How many output channels it has.
    pub fn outputs(&self) -> usize {
        self.weights.nrows() / self.cells
    }

    /// Rows of weights, and a number for each, as those of output channels.
    pub fn by_output(&self, weights: &Array2<f64>, numbers: &[f64]) -> (Array2<f64>, Vec<f64>) {
        let sums = numbers.chunks(self.cells).map(|cells| cells.iter().sum()).collect();
        (out_of_cells(weights, self.cells), sums)
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
    let layers = summing(&model.graph, channels, groups)?.into_iter();
    let readers = look(model, layers, samples, WIDEST_WHOLE)?;
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
    look(model, layers, samples, usize::MAX)
}

fn look(
    model: &Model,
    layers: impl Iterator<Item = Layer>,
    samples: &Samples<'_>,
    whole: usize,
) -> anyhow::Result<Vec<Reader>> {
    let batches = samples.count(Part::Calibration);
    let mut readers: Vec<Reader> =
        layers.filter_map(|layer| Reader::of(&model.graph, layer, batches, whole)).collect();
    let values: Vec<ValueId> = readers.iter().map(|reader| reader.layer.input).collect();
    if !readers.is_empty() {
        samples.observe(Tap::of(model, &values), &mut readers, Reader::see)?;
    }
    Ok(readers)
}

/// Rows of numbers, channel by channel and each cell by cell, as a row for every cell.
fn in_cells<T: Copy>(rows: &ArrayView2<'_, T>, cells: usize) -> Array2<T> {
    let width = rows.ncols() / cells;
    Array2::from_shape_fn((rows.nrows() * cells, width), |(row, at)| {
        rows[[row / cells, at * cells + row % cells]]
    })
}

/// The inverse of [`in_cells`].
fn out_of_cells(rows: &Array2<f64>, cells: usize) -> Array2<f64> {
    let shape = (rows.nrows() / cells, rows.ncols() * cells);
    Array2::from_shape_fn(shape, |(row, at)| rows[[row * cells + at % cells, at / cells]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_in_cells_are_the_same_rows() {
        let rows = Array2::from_shape_fn((2, 6), |(r, c)| (r * 6 + c) as f64);
        let cells = in_cells(&rows.view(), 3);
        assert_eq!(cells.dim(), (6, 2));
        assert_eq!(cells.row(1).to_vec(), [1.0, 4.0], "the second cell of both channels");
        assert_eq!(out_of_cells(&cells, 3), rows);
    }
}
