//! What the convolution fusions share: where the output channels of a weight are, and how to scale them.

use crate::prelude::*;

/// The output channels of a `Conv` or `ConvTranspose` whose weight is constant.
pub(super) struct Layer {
    /// How many there are.
    pub channels: usize,
    weight: TensorData,
    weight_name: String,
    /// Rows and columns of output channels: `Conv` has the channels in axis 0 for every group; `ConvTranspose` has
    /// `[input channels, output channels / group, …]`.
    layout: Layout,
    bias: Option<ValueId>,
}

#[derive(Clone, Copy)]
enum Layout {
    Rows,
    Transposed { group: usize },
}

impl Layer {
    /// Reads the geometry off the weight and the bias of a matched convolution.
    pub(super) fn of(m: &Match<'_>, node: &Node, weight: ConstVar, bias: OptVar) -> Result<Self, Skip> {
        let data = m.tensor(weight).clone();
        let dims: Vec<usize> = data.dims().iter().map(|&d| d as usize).collect();
        Skip::unless(dims.len() >= 3, "the weight has fewer than three dims")?;
        Skip::unless(data.dtype().has_f64s(), "the weight is not floating point")?;
        let group = usize::try_from(node.attrs.int("group").unwrap_or(1)).unwrap_or(0);
        let (channels, layout) = if node.is("Conv") {
            (dims[0], Layout::Rows)
        } else {
            Skip::unless(group > 0 && dims[0] % group == 0, "group does not divide the input channels")?;
            (dims[1] * group, Layout::Transposed { group })
        };
        let weight_name = m.name(m.constant(weight)).to_owned();
        Ok(Self { channels, weight: data, weight_name, layout, bias: m.optional(bias) })
    }

    /// The bias per output channel; zeros where there is none.
    pub(super) fn bias(&self, m: &Match<'_>, bias: OptVar) -> Result<Vec<f64>, Skip> {
        let bias = m.f64s_if_present(bias)?.unwrap_or_else(|| vec![0.0; self.channels]);
        Skip::unless(bias.len() == self.channels, "the bias has another length than the output channels")?;
        Ok(bias)
    }

    /// A new weight with each output channel scaled, and a new bias, under the old names where there were some.
    pub(super) fn rebuild(
        &self,
        m: &Match<'_>,
        rw: &mut Rewrite,
        output: ValueId,
        scale: Option<&[f64]>,
        bias: &[f64],
    ) -> Result<[Operand; 2], Skip> {
        let finite = scale.unwrap_or_default().iter().chain(bias).all(|x| x.is_finite());
        Skip::unless(finite, "a fused parameter would not be finite")?;
        let not_float = || Skip::because("the weight is not floating point");
        let weight = match scale {
            None => self.weight.clone(),
            Some(k) => self.scaled(k).ok_or_else(not_float)?,
        };
        let data = TensorData::from_f64s(self.weight.dtype(), &[self.channels as u64], bias)
            .ok_or_else(not_float)?;
        let name = self.bias.map_or_else(|| format!("{}_bias", m.name(output)), |v| m.name(v).to_owned());
        Ok([rw.constant(&self.weight_name, weight), rw.constant(name, data)])
    }

    /// The weight with each output channel scaled; a large one is computed when it is written.
    fn scaled(&self, scale: &[f64]) -> Option<TensorData> {
        const DEFER: u64 = 64 << 10;
        let (layout, k) = (self.layout, scale.to_vec());
        let apply = move |weight: &TensorData| {
            let channel_of = layout.channels(weight.dims());
            weight.map_f64(|i, x| x * k[channel_of(i)])
        };
        if self.weight.byte_len() < DEFER {
            return apply(&self.weight);
        }
        let group = if let Layout::Transposed { group } = layout { group as u64 } else { 0 };
        let what = [group].into_iter().chain(scale.iter().map(|k| k.to_bits())).collect();
        let bytes = move |weight: &TensorData| apply(weight)?.bytes().cloned();
        TensorData::deferred(self.weight.dtype(), self.weight.dims(), &self.weight, what, bytes).ok()
    }
}

impl Layout {
    /// From the index of an element of the weight to its output channel.
    fn channels(self, dims: &[u64]) -> impl Fn(usize) -> usize {
        let (rows, cols) = (dims[0] as usize, dims[1] as usize);
        let inner: usize = dims[2..].iter().product::<u64>() as usize;
        move |index| {
            let (row, col) = (index / (inner * cols), index / inner % cols);
            match self {
                Layout::Rows => row,
                Layout::Transposed { group } => row / (rows / group) * cols + col,
            }
        }
    }
}
