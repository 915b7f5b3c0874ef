//! What a layer multiplies its weights with: second moments of its inputs, measured on samples.

use ndarray::{Array2, ArrayView2};

use crate::prelude::windows::{Window, floats, spread};
use crate::prelude::*;

use super::codes::Rows;
use super::layer::{Layer, Weight};

/// The widest row whose moments are kept: beyond it their matrix takes too much memory and time.
const WIDEST: usize = 2304;

/// Rows that are taken for every element of a row, over all samples: more tell little.
const ROWS_EACH: usize = 6;

/// Rows that are taken even where a row has few elements.
const LEAST_ROWS: usize = 8192;

/// The second moments of what the weights of a layer are multiplied with, group by group.
#[derive(Clone)]
pub(super) struct Inputs {
    window: Window,
    groups: Vec<Moments>,
    rows_a_batch: usize,
    batches: usize,
}

impl Inputs {
    /// For a layer; `None` where its rows are too wide, or are not told apart.
    pub fn of(graph: &Graph, layer: &Layer, weight: Weight, rows: &Rows, batches: usize) -> Option<Self> {
        let width = rows.items.first()?.len();
        let axis = weight.inputs?;
        if width > WIDEST || width == 0 {
            return None;
        }
        let window = if weight.conv {
            Window::of_conv(graph.node(layer.node), rows.dims.get(2..)?, rows.dims[axis] as usize)?
        } else {
            Window::of_rows(width)
        };
        let groups = vec![Moments::new(width); window.groups()];
        let rows_a_batch = (width * ROWS_EACH).max(LEAST_ROWS).div_ceil(batches.max(1)).max(1);
        Some(Self { window, groups, rows_a_batch, batches: 0 })
    }

    /// Looks at one more input of the layer.
    pub fn see(&mut self, tensor: &TensorData) -> Result<(), String> {
        let items = floats(tensor).ok_or("neither float32 nor float16")?;
        let places = self.window.places(tensor.dims())?;
        let taken = spread(places, self.rows_a_batch, self.batches);
        self.batches += 1;
        for group in 0..self.groups.len() {
            let rows = self.window.rows((&items, tensor.dims()), group, taken.clone());
            self.add(group, &rows, self.window.width());
        }
        Ok(())
    }

    fn add(&mut self, group: usize, taken: &[f32], width: usize) {
        if let Ok(rows) = ArrayView2::from_shape((taken.len() / width.max(1), width), taken) {
            self.groups[group].add(&rows);
        }
    }

    /// For the rows of a group: mean products of deviations from the mean (of the products themselves where not
    /// `centred`), and the mean, of inputs that are divided by `factors`.
    pub fn of_group(&self, group: usize, factors: &[f64], centred: bool) -> (Array2<f64>, Vec<f64>) {
        let moments = &self.groups[group];
        let mut products = moments.products(centred);
        for (i, mut row) in products.outer_iter_mut().enumerate() {
            row.iter_mut().zip(factors).for_each(|(x, f)| *x /= factors[i] * f);
        }
        let mean = moments.mean().iter().zip(factors).map(|(m, f)| m / f).collect();
        (products, mean)
    }

    /// Takes in what another layer multiplies the same weight with.
    pub fn join(&mut self, other: &Self) {
        for (own, other) in self.groups.iter_mut().zip(&other.groups) {
            own.squares.join(&other.squares);
            own.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a += b);
            own.count += other.count;
        }
    }

    /// How many groups of channels there are.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Whether anything was seen.
    pub fn is_empty(&self) -> bool {
        self.groups.iter().all(|g| g.count == 0)
    }
}
