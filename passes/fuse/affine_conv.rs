//! Fold arithmetic with channel constants into the convolution after it.

use super::channels::{Affine, finite, range};
use super::conv_affine::per_channel;
use super::terms::is;
use super::windows::Windows;
use crate::prelude::*;

/// Fuse `BatchNormalization`, or `Add`, `Sub`, `Mul` or `Div` with one constant per channel (or one for all), into the
/// `Conv` or `ConvTranspose` that reads it.
///
/// A factor goes into the weight, by input channel; what is added goes through the weight into the bias. Both are
/// computed in f64 and rounded once. Where the convolution pads, zeros are padded after the shift and not before: so
/// there is none to be had, and a `ConvTranspose`, which sums fewer elements at its border, takes none either. Of
/// `x * k + c`, the factor goes all the same, and `x + c / k` stays.
///
/// *Left alone:* a shift before padding; a constant that varies along another axis than the channels or that might widen
/// its input; `c / x`; normalization in training mode; and a result that anything else reads.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FuseAffineConv {}

impl Rule for FuseAffineConv {
    const META: PassMeta = PassMeta::exact("fuse-affine-conv", Family::Fuse);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let (x, w, b) = (p.any(), p.constant(), p.optional());
        let conv = p.one_of(&["Conv", "ConvTranspose"], (x, w, b));

        rule_fn(move |m, rw| {
            let affine = m.made_by(m.value(x), &["BatchNormalization", "Add", "Sub", "Mul", "Div"]);
            let affine = affine.ok_or_else(Skip::no_concern)?;
            let weight = m.tensor(w);
            if weight.rank() < 3 || weight.is_empty() || !weight.dtype().has_f64s() {
                return Err(Skip::no_concern());
            }
            let group = m.node(conv).attrs.int("group").unwrap_or(1);
            let group = usize::try_from(group).ok().filter(|&g| g > 0).ok_or_else(Skip::no_concern)?;
            let sums = Sums { transposed: m.node(conv).is("ConvTranspose"), group, dims: weight.dims() };
            let channels = sums.inputs().ok_or_else(Skip::no_concern)?;
            let (mut source, Affine { mut scale, mut shift }) = read(m, affine, channels, weight.rank())?;
            rw.remove(affine);

            let shifts = shift.iter().any(|&s| s != 0.0);
            let unpadded = || Windows::of(m.node(conv), &weight.dims()[2..]).is_some_and(|w| w.is_unpadded());
            let exact = !shifts || !sums.transposed && unpadded();
            let mut input = Operand::from(source);
            if !exact {
                let inner = m.made_by(source, &["Mul", "Div"]).filter(|_| scale.iter().all(|&k| is(k, 1.0)));
                let inner = inner
                    .ok_or_else(|| Skip::because("the shift would be missing where the convolution pads"))?;
                let factors = read(m, inner, channels, weight.rank())?;
                (source, scale) = (factors.0, factors.1.scale);
                rw.remove(inner);
                let quotients: Vec<f64> = shift.iter().zip(&scale).map(|(c, k)| c / k).collect();
                input = shifted(m, rw, affine, source, &quotients, weight)?;
                shift = vec![0.0; channels];
            }
            let shifts = shift.iter().any(|&s| s != 0.0);
            let bias = if shifts {
                let output = m.output(conv, 0)?;
                let bias = sums.bias(m, m.optional(b), weight, &shift)?;
                let data = finite(weight.dtype(), &[bias.len() as u64], &bias)?;
                let name = m
                    .optional(b)
                    .map_or_else(|| format!("{}_bias", m.name(output)), |b| m.name(b).to_owned());
                rw.constant(name, data)
            } else {
                m.optional(b).into()
            };
            let weight = if scale.iter().all(|&k| is(k, 1.0)) {
                m.constant(w).into()
            } else {
                rw.constant(m.name(m.constant(w)), sums.scaled(weight, &scale)?)
            };
            let node = m.node(conv);
            rw.emit(&node.op.name, node.attrs.clone(), [input, weight, bias], m.output(conv, 0)?);
            Ok(())
        })
    }
}

/// `x + c / k`, for an addend that was added to `x * k`.
fn shifted(
    m: &Match<'_>,
    rw: &mut Rewrite,
    add: NodeId,
    x: ValueId,
    quotients: &[f64],
    weight: &TensorData,
) -> Result<Operand, Skip> {
    let one = quotients.iter().all(|q| q.to_bits() == quotients[0].to_bits());
    let dims = if one { vec![] } else { [vec![quotients.len() as u64], vec![1; weight.rank() - 2]].concat() };
    let numbers = if one { &quotients[..1] } else { quotients };
    let data = finite(weight.dtype(), &dims, numbers)?;
    let slots: Vec<ValueId> = m.graph().node_inputs(add).into_iter().flatten().collect();
    let old = slots.iter().copied().find(|&v| m.constant_of(v).is_some());
    let output = m.graph().node_output(add, 0);
    let (old, output) = old.zip(output).ok_or_else(Skip::no_concern)?;
    let addend = rw.constant(m.name(old), data);
    Ok(rw.add("Add", Attrs::new(), [x.into(), addend], m.name(output)))
}

/// The input of an affine operator, and its factors and shifts.
fn read(m: &Match<'_>, id: NodeId, channels: usize, rank: usize) -> Result<(ValueId, Affine), Skip> {
    let node = m.graph().node(id);
    let slot = |slot: usize| m.graph().node_input(id, slot).ok_or_else(Skip::no_concern);
    if node.is("BatchNormalization") {
        let affine = Affine::of_norm(m, id).filter(|a| a.scale.len() == channels);
        return Ok((slot(0)?, affine.ok_or_else(Skip::no_concern)?));
    }
    let (a, b) = (slot(0)?, slot(1)?);
    let (source, constant, first) = match (m.constant_of(a), m.constant_of(b)) {
        (None, Some(c)) => (a, c, false),
        (Some(c), None) => (b, c, true),
        _ => return Err(Skip::no_concern()),
    };
    let c = per_channel(constant, rank, channels)?;
    let same_rank = constant.rank() == 0 || m.facts().rank(source) == Some(rank);
    let one = constant.len() == 1 || m.facts().dim(source, 1).is_some_and(|d| d.is(channels as i64));
    Skip::unless(same_rank && one, "the constant might widen its input")?;
    let (ones, zeros) = (vec![1.0; channels], vec![0.0; channels]);
    let (scale, shift) = match (&*node.op.name, first) {
        ("Add", _) => (ones, c),
        ("Sub", false) => (ones, c.iter().map(|c| -c).collect()),
        ("Sub", true) => (vec![-1.0; channels], c),
        ("Mul", _) => (c, zeros),
        ("Div", false) => (c.iter().map(|c| 1.0 / c).collect(), zeros),
        _ => return Err(Skip::because("the constant is divided by the input")),
    };
    Ok((source, Affine { scale, shift }))
}

/// Where the input channels of a weight are.
struct Sums<'a> {
    transposed: bool,
    group: usize,
    dims: &'a [u64],
}

impl Sums<'_> {
    fn inputs(&self) -> Option<usize> {
        let (rows, columns) = (self.dims[0] as usize, self.dims[1] as usize);
        let whole = rows.is_multiple_of(self.group);
        whole.then(|| if self.transposed { Some(rows) } else { columns.checked_mul(self.group) })?
    }

    /// From the index of an element to its input channel.
    fn channel(&self) -> impl Fn(usize) -> usize + use<> {
        let (rows, columns) = (self.dims[0] as usize, self.dims[1] as usize);
        let inner = self.dims[2..].iter().product::<u64>() as usize;
        let (transposed, group) = (self.transposed, self.group);
        move |index| {
            let (row, column) = (index / (inner * columns), index / inner % columns);
            if transposed { row } else { row / (rows / group) * columns + column }
        }
    }

    /// The weight with every input channel scaled. Rounding must not overflow, nor leave a channel nothing but the few
    /// bits of the smallest numbers.
    fn scaled(&self, weight: &TensorData, scale: &[f64]) -> Result<TensorData, Skip> {
        let (least, most) = range(weight.dtype());
        let channel = self.channel();
        let mut largest = vec![0f64; scale.len()];
        let mut finite = true;
        weight.each_f64(|i, x| {
            let product = (x * scale[channel(i)]).abs();
            finite &= product <= most;
            largest[channel(i)] = largest[channel(i)].max(product);
        });
        Skip::unless(finite, "a fused parameter would not be finite")?;
        let tiny = largest.iter().any(|&x| x > 0.0 && x < least);
        Skip::unless(!tiny, "a fused parameter would be too small for its type")?;
        weight.map_f64(|i, x| x * scale[channel(i)]).ok_or_else(Skip::no_concern)
    }

    /// The bias with what the shift comes to; of a `Conv`.
    fn bias(
        &self,
        m: &Match<'_>,
        bias: Option<ValueId>,
        weight: &TensorData,
        shift: &[f64],
    ) -> Result<Vec<f64>, Skip> {
        let rows = self.dims[0] as usize;
        let mut sums = match bias {
            None => vec![0.0; rows],
            Some(b) => {
                let data = m.constant_of(b).ok_or_else(|| Skip::because("the bias is not constant"))?;
                data.to_f64s().filter(|b| b.len() == rows).ok_or_else(Skip::no_concern)?
            }
        };
        let (channel, row) = (self.channel(), weight.len() / rows);
        weight.each_f64(|i, x| sums[i / row] += x * shift[channel(i)]);
        Ok(sums)
    }
}
