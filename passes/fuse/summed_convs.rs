//! Sum parallel convolutions into one.

use super::channels::{Affine, finite};
use super::windows::Windows;
use crate::prelude::*;

/// Fuse convolutions of the same input whose results are added (or subtracted) into one `Conv`.
///
/// Where the kernel of one fits into that of the other, as a 1×1 kernel into the middle of a 3×3 kernel, their weights
/// are summed in f64 and rounded once. A `BatchNormalization` of the input, and the input itself, count as convolutions
/// of one element with a group for each channel: so the blocks of `RepVGG`, `MobileOne` and `FastViT` become what their
/// authors call re-parameterized. A sum with something else between, `(z + a) + b`, becomes `z + (a and b)`. The `Conv`
/// that is left computes what the larger one did, so there are never more multiplications.
///
/// *Left alone:* kernels of which none fits into the other, weights that are not constant, padding that depends on the
/// size of the input, and results that anything else reads.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FuseSummedConvs {}

impl Rule for FuseSummedConvs {
    const META: PassMeta = PassMeta::exact("fuse-summed-convs", Family::Fuse);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let sum = p.op_with_any_inputs(&["Add", "Sub"]);

        rule_fn(move |m, rw| {
            let (left, right) = (m.input(sum, 0)?, m.input(sum, 1)?);
            let sign = if m.node(sum).is("Add") { 1.0 } else { -1.0 };
            let output = m.output(sum, 0)?;
            if let Some(pair) = Pair::of(m, (left, 1.0), (right, sign)) {
                let (attrs, inputs) = pair?.merge(m, rw, output)?;
                rw.emit("Conv", attrs, inputs, output);
                return Ok(());
            }
            // One of the two is itself a sum with one of the branches in it.
            for (inner, outer) in [((left, 1.0), (right, sign)), ((right, sign), (left, 1.0))] {
                let Some(add) = m.made_by(inner.0, &["Add"]).filter(|_| m.is_private(inner.0)) else {
                    continue;
                };
                let parts: Vec<ValueId> = m.graph().node_inputs(add).into_iter().flatten().collect();
                let &[a, b] = parts.as_slice() else { continue };
                for (part, other) in [(a, b), (b, a)] {
                    if inner.1 < 0.0 {
                        continue;
                    }
                    let Some(Ok(pair)) = Pair::of(m, (part, 1.0), outer) else { continue };
                    let (attrs, inputs) = pair.merge(m, rw, output)?;
                    let merged = rw.add("Conv", attrs, inputs, m.name(part));
                    rw.remove(add);
                    rw.emit("Add", Attrs::new(), [other.into(), merged], output);
                    return Ok(());
                }
            }
            Err(Skip::no_concern())
        })
    }
}

/// Two branches that read the same value.
struct Pair {
    /// The one whose kernel holds the other's.
    wide: Branch,
    narrow: Branch,
    /// Where the elements of the narrow kernel lie in the wide one.
    places: Vec<usize>,
}

/// A linear function of a value, as a convolution of it.
struct Branch {
    /// The operator; none for the value itself.
    node: Option<NodeId>,
    sign: f64,
    channels: usize,
    /// Input channels of a group.
    columns: usize,
    group: usize,
    windows: Windows,
    weight: Vec<f64>,
    bias: Vec<f64>,
}

impl Pair {
    /// `None` where the two are no branches of one value, one of them a convolution.
    fn of(m: &Match<'_>, a: (ValueId, f64), b: (ValueId, f64)) -> Option<Result<Self, Skip>> {
        let conv = |v: ValueId| {
            let id = m.made_by(v, &["Conv"])?;
            Some((id, m.graph().node_input(id, 0)?))
        };
        let norm = |v: ValueId| {
            let id = m.made_by(v, &["BatchNormalization"])?;
            Some((id, m.graph().node_input(id, 0)?))
        };
        let (first, second) = if conv(a.0).is_some() { (a, b) } else { (b, a) };
        let (first_conv, source) = conv(first.0)?;
        let first = Branch::conv(m, first_conv, first.1)?;
        let (rank, channels) = (first.windows.kernel.len(), first.channels);
        let second = match (conv(second.0), norm(second.0)) {
            (Some((id, from)), _) if from == source => Branch::conv(m, id, second.1)?,
            (_, Some((id, from))) if from == source => Branch::norm(m, id, second.1, rank)?,
            _ if second.0 == source => {
                let fits = first.columns * first.group == channels;
                fits.then(|| Branch::point(None, second.1, rank, vec![1.0; channels], vec![0.0; channels]))?
            }
            _ => return None,
        };
        if first.channels != second.channels || first.columns * first.group != second.columns * second.group {
            return None;
        }
        let fit = |wide: &Branch, narrow: &Branch| {
            let is_conv = wide.node.is_some_and(|n| m.graph().node(n).is("Conv"));
            let nested = is_conv && narrow.group.is_multiple_of(wide.group);
            if nested { wide.windows.places_of(&narrow.windows) } else { None }
        };
        if let Some(places) = fit(&first, &second) {
            return Some(Ok(Self { wide: first, narrow: second, places }));
        }
        Some(match fit(&second, &first) {
            Some(places) => Ok(Self { wide: second, narrow: first, places }),
            None => Err(Skip::because("none of the kernels holds the other")),
        })
    }

    /// The attributes and the inputs of the sum, and what vanishes for it.
    fn merge(self, m: &Match<'_>, rw: &mut Rewrite, output: ValueId) -> Result<(Attrs, [Operand; 3]), Skip> {
        let Self { wide, narrow, places } = self;
        let id = wide.node.ok_or_else(Skip::no_concern)?;
        let (node, slot) = (m.graph().node(id), |slot| m.graph().node_input(id, slot));
        let (x, w) = slot(0).zip(slot(1)).ok_or_else(Skip::no_concern)?;
        let mut weight: Vec<f64> = wide.weight.iter().map(|w| w * wide.sign).collect();
        let (wide_size, narrow_size) = (wide.windows.size(), narrow.windows.size());
        for row in 0..wide.channels {
            let start = |b: &Branch| row / (b.channels / b.group) * b.columns;
            let shift = start(&narrow) - start(&wide);
            for column in 0..narrow.columns {
                for (tap, place) in places.iter().enumerate() {
                    let to = (row * wide.columns + shift + column) * wide_size + place;
                    weight[to] +=
                        narrow.sign * narrow.weight[(row * narrow.columns + column) * narrow_size + tap];
                }
            }
        }
        let bias = wide.bias.iter().zip(&narrow.bias).map(|(a, b)| a * wide.sign + b * narrow.sign);
        let bias: Vec<f64> = bias.collect();
        let old = m.constant_of(w).ok_or_else(Skip::no_concern)?;
        let weight = finite(old.dtype(), old.dims(), &weight)?;
        let data = finite(old.dtype(), &[bias.len() as u64], &bias)?;
        let weight = rw.constant(m.name(w), weight);
        let bias = match slot(2) {
            None if bias.iter().all(|&b| b == 0.0) => Operand::Absent,
            None => rw.constant(format!("{}_bias", m.name(output)), data),
            Some(old) => rw.constant(m.name(old), data),
        };
        wide.node.into_iter().chain(narrow.node).for_each(|n| rw.remove(n));
        Ok((node.attrs.clone(), [x.into(), weight, bias]))
    }
}

impl Branch {
    fn conv(m: &Match<'_>, id: NodeId, sign: f64) -> Option<Self> {
        let (node, w) = (m.graph().node(id), m.graph().constant_input(id, 1)?);
        let [channels, columns, kernel @ ..] = w.dims() else { return None };
        let windows = Windows::of(node, kernel)?;
        let (channels, columns) = (*channels as usize, *columns as usize);
        let group = usize::try_from(node.attrs.int("group").unwrap_or(1)).ok().filter(|&g| g > 0)?;
        let bias = match m.graph().node_input(id, 2) {
            None => vec![0.0; channels],
            Some(b) => m.constant_of(b)?.to_f64s()?,
        };
        let fits = !w.is_empty() && channels.is_multiple_of(group) && bias.len() == channels;
        let weight = fits.then(|| w.to_f64s())??;
        columns.checked_mul(group)?;
        Some(Self { node: Some(id), sign, channels, columns, group, windows, weight, bias })
    }

    /// A normalization with fixed statistics multiplies every channel, and adds to it.
    fn norm(m: &Match<'_>, id: NodeId, sign: f64, rank: usize) -> Option<Self> {
        let Affine { scale, shift } = Affine::of_norm(m, id)?;
        Some(Self::point(Some(id), sign, rank, scale, shift))
    }

    fn point(node: Option<NodeId>, sign: f64, rank: usize, weight: Vec<f64>, bias: Vec<f64>) -> Self {
        let channels = weight.len();
        let windows = Windows::point(rank);
        Self { node, sign, channels, columns: 1, group: channels, windows, weight, bias }
    }
}
