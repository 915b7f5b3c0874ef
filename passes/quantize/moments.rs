//! What a layer multiplies its weights with: second moments of its inputs, measured on samples.

use ndarray::{Array2, ArrayView2};

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

/// How a convolution looks at its input; for a matrix product, a window of one.
#[derive(Clone)]
struct Window {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads: Pads,
    group: usize,
    /// Channels of one group.
    channels: usize,
    conv: bool,
}

#[derive(Clone)]
enum Pads {
    /// Before each axis.
    Given(Vec<i64>, Vec<i64>),
    /// As much as makes the output the size of the input by the stride; the odd one at the end or at the start.
    Same { at_end: bool },
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
            Window::of(graph.node(layer.node), rows.dims.get(2..)?, rows.dims[axis] as usize, weight.group)?
        } else {
            Window {
                kernel: vec![],
                strides: vec![],
                dilations: vec![],
                pads: Pads::Given(vec![], vec![]),
                group: 1,
                channels: width,
                conv: false,
            }
        };
        let groups = vec![Moments::new(width); window.group];
        let rows_a_batch = (width * ROWS_EACH).max(LEAST_ROWS).div_ceil(batches.max(1)).max(1);
        Some(Self { window, groups, rows_a_batch, batches: 0 })
    }

    /// Looks at one more input of the layer.
    pub fn see(&mut self, tensor: &TensorData) -> Result<(), String> {
        let items = floats(tensor).ok_or("neither float32 nor float16")?;
        let dims: Vec<usize> = tensor.dims().iter().map(|&d| d as usize).collect();
        if !self.window.conv {
            let width = self.window.channels;
            let rows = items.len() / width;
            let (start, step) = self.taken(rows);
            let taken: Vec<f32> =
                items.chunks_exact(width).skip(start).step_by(step).flatten().copied().collect();
            self.add(0, &taken, width);
            return Ok(());
        }
        let (Some((&batch, rest)), kernel) = (dims.split_first(), self.window.kernel.len()) else {
            return Ok(());
        };
        if rest.len() != kernel + 1 || rest[0] != self.window.channels * self.window.group {
            return Err(format!("its dims are {dims:?}"));
        }
        let spatial = &rest[1..];
        let Some((starts, sizes)) = self.window.outputs(spatial) else { return Ok(()) };
        let positions: usize = sizes.iter().product::<usize>() * batch;
        let (start, step) = self.taken(positions);
        let plane: usize = spatial.iter().product();
        let width = self.window.channels * self.window.kernel.iter().product::<usize>();
        for group in 0..self.window.group {
            let mut taken = Vec::with_capacity(positions.div_ceil(step) * width);
            for at in (start..positions).step_by(step) {
                let image = at / sizes.iter().product::<usize>();
                let base = (image * rest[0] + group * self.window.channels) * plane;
                let corner = self.window.corner(at, &starts, &sizes);
                for channel in 0..self.window.channels {
                    let plane =
                        items.get(base + channel * plane..base + (channel + 1) * plane).unwrap_or_default();
                    self.window.take(plane, spatial, &corner, &mut taken);
                }
            }
            self.add(group, &taken, width);
        }
        Ok(())
    }

    /// Which of the places of a batch are taken: the first, and the distance. It is another first one in every batch, by
    /// the golden ratio, so that all places have their turn, edges and middle alike.
    fn taken(&mut self, places: usize) -> (usize, usize) {
        let step = places.div_ceil(self.rows_a_batch).max(1);
        let turn = (self.batches as f64 * 0.618_033_988_749_895).fract();
        self.batches += 1;
        ((turn * step as f64) as usize, step)
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
            own.squares += &other.squares;
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

/// The elements of a float tensor in float32.
pub(super) fn floats(tensor: &TensorData) -> Option<Vec<f32>> {
    let wide = || Some(tensor.to_f64s()?.iter().map(|&x| x as f32).collect());
    tensor.to_vec::<f32>().or_else(wide)
}

impl Window {
    fn of(node: &Node, kernel: &[u64], channels: usize, group: usize) -> Option<Self> {
        let kernel: Vec<usize> = kernel.iter().map(|&k| k as usize).collect();
        let rank = kernel.len();
        let list = |name: &str| -> Option<Vec<usize>> {
            match node.attrs.ints(name) {
                None => Some(vec![1; rank]),
                Some(items) => items.iter().map(|&x| usize::try_from(x).ok().filter(|&x| x > 0)).collect(),
            }
        };
        let pads = match node.attrs.str("auto_pad") {
            Some("SAME_UPPER") => Pads::Same { at_end: true },
            Some("SAME_LOWER") => Pads::Same { at_end: false },
            Some("VALID") => Pads::Given(vec![0; rank], vec![0; rank]),
            _ => match node.attrs.ints("pads") {
                Some(pads) if pads.len() == 2 * rank => {
                    Pads::Given(pads[..rank].to_vec(), pads[rank..].to_vec())
                }
                _ => Pads::Given(vec![0; rank], vec![0; rank]),
            },
        };
        let (strides, dilations) = (list("strides")?, list("dilations")?);
        let fits = strides.len() == rank && dilations.len() == rank;
        fits.then_some(Self { kernel, strides, dilations, pads, group, channels, conv: true })
    }

    /// Where the first window starts, and how many windows there are, on each axis.
    fn outputs(&self, spatial: &[usize]) -> Option<(Vec<i64>, Vec<usize>)> {
        let mut starts = Vec::new();
        let mut sizes = Vec::new();
        for (axis, &size) in spatial.iter().enumerate() {
            let (size, stride) = (size as i64, self.strides[axis] as i64);
            let reach = (self.kernel[axis] as i64 - 1) * self.dilations[axis] as i64 + 1;
            let (before, count) = match &self.pads {
                Pads::Given(before, after) => {
                    (before[axis], (size + before[axis] + after[axis] - reach).div_euclid(stride) + 1)
                }
                Pads::Same { at_end } => {
                    let count = (size + stride - 1) / stride;
                    let total = ((count - 1) * stride + reach - size).max(0);
                    (if *at_end { total / 2 } else { total - total / 2 }, count)
                }
            };
            starts.push(-before);
            sizes.push(usize::try_from(count).ok().filter(|&c| c > 0)?);
        }
        Some((starts, sizes))
    }

    /// The corner of a window in the input.
    fn corner(&self, at: usize, starts: &[i64], sizes: &[usize]) -> Vec<i64> {
        let mut rest = at;
        let mut corner = vec![0; sizes.len()];
        for axis in (0..sizes.len()).rev() {
            corner[axis] = starts[axis] + (rest % sizes[axis] * self.strides[axis]) as i64;
            rest /= sizes[axis];
        }
        corner
    }

    /// What the window at a corner holds of a channel; zeros outside.
    fn take(&self, plane: &[f32], spatial: &[usize], corner: &[i64], into: &mut Vec<f32>) {
        let total: usize = self.kernel.iter().product();
        for at in 0..total {
            let (mut rest, mut place, mut step, mut inside) = (at, 0usize, 1usize, true);
            for axis in (0..self.kernel.len()).rev() {
                let offset = corner[axis] + (rest % self.kernel[axis] * self.dilations[axis]) as i64;
                rest /= self.kernel[axis];
                inside &= offset >= 0 && offset < spatial[axis] as i64;
                place += usize::try_from(offset).unwrap_or(0) * step;
                step *= spatial[axis];
            }
            into.push(if inside { plane.get(place).copied().unwrap_or(0.0) } else { 0.0 });
        }
    }
}
