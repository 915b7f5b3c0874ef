//! What a layer multiplies its weights with: the windows of its input, as rows.

use crate::ir::{Node, TensorData};

/// How a convolution looks at its input; for a matrix product, the rows of its input themselves.
#[derive(Debug, Clone)]
pub struct Window {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads: Pads,
    group: usize,
    /// Channels of one group.
    channels: usize,
    conv: bool,
}

#[derive(Debug, Clone)]
enum Pads {
    /// Before and after each axis.
    Given(Vec<i64>, Vec<i64>),
    /// As much as makes the output the size of the input by the stride; the odd one at the end or at the start.
    Same { at_end: bool },
}

/// Which of so many places of a batch are looked at, `wanted` at most: evenly spread, and other ones in every batch, by the
/// golden ratio, so that all places have their turn, edges and middle alike.
pub fn spread(places: usize, wanted: usize, batch: usize) -> impl Iterator<Item = usize> + Clone {
    let step = places.div_ceil(wanted.max(1)).max(1);
    let turn = (batch as f64 * 0.618_033_988_749_895).fract();
    ((turn * step as f64) as usize..places).step_by(step)
}

/// The elements of a float tensor in float32.
pub fn floats(tensor: &TensorData) -> Option<Vec<f32>> {
    let wide = || Some(tensor.to_f64s()?.iter().map(|&x| x as f32).collect());
    tensor.to_vec::<f32>().or_else(wide)
}

impl Window {
    /// The windows of a `Conv` whose kernel has these dims and so many input channels of a group.
    pub fn of_conv(node: &Node, kernel: &[u64], channels: usize) -> Option<Self> {
        let group = usize::try_from(node.attrs.int("group").unwrap_or(1)).ok().filter(|&g| g > 0)?;
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

    /// Rows of so many numbers, along the last axis.
    pub fn of_rows(width: usize) -> Self {
        Self {
            kernel: vec![],
            strides: vec![],
            dilations: vec![],
            pads: Pads::Given(vec![], vec![]),
            group: 1,
            channels: width,
            conv: false,
        }
    }

    /// How many groups of channels there are.
    pub fn groups(&self) -> usize {
        self.group
    }

    /// How many numbers a row has: those of one group, channel by channel, each cell by cell of the kernel.
    pub fn width(&self) -> usize {
        self.channels * self.kernel.iter().product::<usize>()
    }

    /// How many rows a tensor of these dims has.
    ///
    /// # Errors
    /// Where the dims do not suit.
    pub fn places(&self, dims: &[u64]) -> Result<usize, String> {
        let dims: Vec<usize> = dims.iter().map(|&d| d as usize).collect();
        if !self.conv {
            let fits = dims.last() == Some(&self.channels);
            return if fits { Ok(dims[..dims.len() - 1].iter().product()) } else { Err(unsuited(&dims)) };
        }
        let fits = dims.len() == self.kernel.len() + 2 && dims[1] == self.channels * self.group;
        let sizes = self.outputs(dims.get(2..).unwrap_or_default()).filter(|_| fits);
        let (_, sizes) = sizes.ok_or_else(|| unsuited(&dims))?;
        Ok(sizes.iter().product::<usize>() * dims[0])
    }

    /// The rows of a group at some places, one after the other, of a tensor whose dims [`Window::places`] takes.
    pub fn rows(
        &self,
        (items, dims): (&[f32], &[u64]),
        group: usize,
        places: impl Iterator<Item = usize>,
    ) -> Vec<f32> {
        let dims: Vec<usize> = dims.iter().map(|&d| d as usize).collect();
        if !self.conv {
            let row = |at: usize| items.get(at * self.channels..(at + 1) * self.channels).unwrap_or_default();
            return places.flat_map(row).copied().collect();
        }
        let spatial = dims.get(2..).unwrap_or_default();
        let Some((starts, sizes)) = self.outputs(spatial) else { return Vec::new() };
        let plane: usize = spatial.iter().product();
        let mut taken = Vec::new();
        for at in places {
            let image = at / sizes.iter().product::<usize>();
            let base = (image * dims[1] + group * self.channels) * plane;
            let corner = self.corner(at, &starts, &sizes);
            for channel in 0..self.channels {
                let plane =
                    items.get(base + channel * plane..base + (channel + 1) * plane).unwrap_or_default();
                self.take(plane, spatial, &corner, &mut taken);
            }
        }
        taken
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

fn unsuited(dims: &[usize]) -> String {
    format!("its dims are {dims:?}")
}
