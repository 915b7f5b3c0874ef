//! What the convolution fusions share: where the output channels of a weight are, and how to scale them.

use crate::prelude::*;

/// The output channels of a `Conv` or `ConvTranspose` whose weight is constant.
pub(super) struct Layer {
    /// How many there are.
    pub channels: usize,
    weight: TensorData,
    weight_value: ValueId,
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
    /// Reads the geometry off the weight and the bias of a convolution.
    pub(super) fn of(m: &Match<'_>, conv: NodeId) -> Result<Self, Skip> {
        let (node, slot) = (m.graph().node(conv), |slot| m.graph().node_input(conv, slot));
        let weight_value = slot(1).ok_or_else(Skip::no_concern)?;
        let data = m.constant_of(weight_value).ok_or_else(Skip::no_concern)?.clone();
        let dims: Vec<usize> = data.dims().iter().map(|&d| d as usize).collect();
        Skip::unless(dims.len() >= 3, "the weight has fewer than three dims")?;
        Skip::unless(data.dtype().has_f64s(), "the weight is not floating point")?;
        let group = usize::try_from(node.attrs.int("group").unwrap_or(1)).unwrap_or(0);
        let (channels, layout) = if node.is("Conv") {
            (dims[0], Layout::Rows)
        } else {
            Skip::unless(
                group > 0 && dims[0].is_multiple_of(group),
                "group does not divide the input channels",
            )?;
            let channels = dims[1].checked_mul(group);
            let channels =
                channels.ok_or_else(|| Skip::because("group does not divide the input channels"))?;
            (channels, Layout::Transposed { group })
        };
        Ok(Self { channels, weight: data, weight_value, layout, bias: slot(2) })
    }

    /// The rank of the weight, and of the result.
    pub(super) fn rank(&self) -> usize {
        self.weight.rank()
    }

    /// The bias per output channel; zeros where there is none.
    pub(super) fn bias(&self, m: &Match<'_>) -> Result<Vec<f64>, Skip> {
        let Some(bias) = self.bias else { return Ok(vec![0.0; self.channels]) };
        let bias = m.constant_of(bias).ok_or_else(|| Skip::because("the bias is not constant"))?;
        let bias = bias.to_f64s().ok_or_else(Skip::no_concern)?;
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
        let data = TensorData::from_f64s(self.weight.dtype(), &[self.channels as u64], bias);
        let data = data.ok_or_else(|| Skip::because("the weight is not floating point"))?;
        let finite = data.to_f64s().is_some_and(|items| items.iter().all(|x| x.is_finite()));
        let finite = finite && scale.unwrap_or_default().iter().all(|x| x.is_finite());
        Skip::unless(finite, "a fused parameter would not be finite")?;
        let weight = match scale {
            None => self.weight_value.into(),
            Some(k) => {
                let weight = self.scaled(k)?;
                rw.constant(m.name(self.weight_value), weight)
            }
        };
        if self.bias.is_none() && bias.iter().all(|&b| b == 0.0) {
            return Ok([weight, Operand::Absent]);
        }
        let name = self.bias.map_or_else(|| format!("{}_bias", m.name(output)), |v| m.name(v).to_owned());
        Ok([weight, rw.constant(name, data)])
    }

    /// The weight with each output channel scaled; a large one is computed when it is written. Rounding to the element
    /// type must not overflow, and must not leave a channel nothing but the few bits of the smallest numbers.
    fn scaled(&self, scale: &[f64]) -> Result<TensorData, Skip> {
        const DEFER: u64 = 64 << 10;
        self.check_range(scale)?;
        let (layout, k) = (self.layout, scale.to_vec());
        let apply = move |weight: &TensorData| {
            let channel_of = layout.channels(weight.dims());
            weight.map_f64(|i, x| x * k[channel_of(i)])
        };
        // Passes look for zeros in what a deferred tensor is computed from.
        if self.weight.byte_len() < DEFER || scale.contains(&0.0) {
            return apply(&self.weight).ok_or_else(|| Skip::because("the weight is not floating point"));
        }
        let group = if let Layout::Transposed { group } = layout { group as u64 } else { 0 };
        let what = [group].into_iter().chain(scale.iter().map(|k| k.to_bits())).collect();
        let bytes = move |weight: &TensorData| apply(weight)?.bytes().cloned();
        TensorData::deferred(self.weight.dtype(), self.weight.dims(), &self.weight, what, bytes)
            .map_err(|e| Skip::because(e.to_string()))
    }

    fn check_range(&self, k: &[f64]) -> Result<(), Skip> {
        let (least, most) = range(self.weight.dtype());
        let channel_of = self.layout.channels(self.weight.dims());
        let (mut finite, mut largest) = (true, vec![0f64; self.channels]);
        self.weight.each_f64(|i, x| {
            let channel = channel_of(i);
            let product = (x * k[channel]).abs();
            finite &= product <= most;
            largest[channel] = largest[channel].max(product);
        });
        let tiny = largest.iter().any(|&x| x > 0.0 && x < least);
        Skip::unless(finite, "a fused parameter would not be finite")?;
        Skip::unless(!tiny, "a fused parameter would be too small for its type")
    }
}

/// The least number of an element type that has all its bits, and the greatest.
pub(super) fn range(dtype: DType) -> (f64, f64) {
    match dtype {
        DType::Float16 => (6.103_515_625e-5, 65504.0),
        DType::Double => (f64::MIN_POSITIVE, f64::MAX),
        // bfloat16 has the exponents of float.
        _ => (f64::from(f32::MIN_POSITIVE), 3.389_531_389_251_535_5e38),
    }
}

/// A tensor of numbers, all of which stay finite in its type.
pub(super) fn finite(dtype: DType, dims: &[u64], items: &[f64]) -> Result<TensorData, Skip> {
    let data = TensorData::from_f64s(dtype, dims, items).ok_or_else(Skip::no_concern)?;
    let mut finite = true;
    data.each_f64(|_, x| finite &= x.is_finite());
    Skip::unless(finite, "a fused parameter would not be finite")?;
    Ok(data)
}

/// `x * scale + shift` for every channel.
pub(super) struct Affine {
    pub scale: Vec<f64>,
    pub shift: Vec<f64>,
}

impl Affine {
    /// A normalization with constant statistics; `None` where it trains.
    pub(super) fn of_norm(m: &Match<'_>, id: NodeId) -> Option<Self> {
        let node = m.graph().node(id);
        let trains = node.attrs.int("training_mode").unwrap_or(0) != 0;
        let used = |slot| m.graph().node_output(id, slot).is_some();
        if trains || (1..5).any(used) {
            return None;
        }
        let numbers = |slot: usize| m.graph().constant_input(id, slot)?.to_f64s();
        let (scale, shift, mean, var) = (numbers(1)?, numbers(2)?, numbers(3)?, numbers(4)?);
        if [&shift, &mean, &var].iter().any(|n| n.len() != scale.len()) {
            return None;
        }
        let epsilon = f64::from(node.attrs.float("epsilon").unwrap_or(1e-5));
        let scale: Vec<f64> = scale.iter().zip(&var).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
        let shift = shift.iter().zip(&mean).zip(&scale).map(|((s, m), k)| s - m * k).collect();
        Some(Self { scale, shift })
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
