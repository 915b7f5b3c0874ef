//! Stack parallel convolutions.

use super::windows::Windows;
use crate::prelude::*;

/// Fuse convolutions of the same input whose results stand side by side in a `Concat` of channels into one `Conv`.
///
/// Their kernels have the same size, strides, dilations and padding, and no groups: so the weights are put one after the
/// other. The `Concat` goes where nothing else is in it.
///
/// *Left alone:* weights or biases that are not constant, padding that depends on the size of the input, and results
/// that anything else reads.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FuseConcatenatedConvs {}

impl Rule for FuseConcatenatedConvs {
    const META: PassMeta = PassMeta::exact("fuse-concatenated-convs", Family::Fuse);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let concat = p.op_with_any_inputs(&["Concat"]);

        rule_fn(move |m, rw| {
            let axis = m.node(concat).attrs.int("axis").unwrap_or(0);
            let inputs: Vec<ValueId> = m.graph().node_inputs(m.id(concat)).into_iter().flatten().collect();
            let layers: Vec<Option<Layer>> = inputs.iter().map(|&v| Layer::of(m, v, axis)).collect();
            let run = longest_run(&layers);
            if run.len() < 2 {
                return Err(Skip::no_concern());
            }
            let parts: Vec<&Layer> = layers[run.clone()].iter().flatten().collect();
            let (attrs, operands) = stack(m, rw, &parts)?;
            parts.iter().for_each(|part| rw.remove(part.node));
            let output = m.output(concat, 0)?;
            if run.len() == inputs.len() {
                rw.emit("Conv", attrs, operands, output);
                return Ok(());
            }
            let stacked = rw.add("Conv", attrs, operands, m.name(inputs[run.start]));
            let rest = inputs[run.end..].iter().map(|&v| v.into());
            let rest: Vec<Operand> =
                inputs[..run.start].iter().map(|&v| v.into()).chain([stacked]).chain(rest).collect();
            rw.emit("Concat", m.node(concat).attrs.clone(), rest, output);
            Ok(())
        })
    }
}

/// A convolution whose result only the `Concat` reads.
struct Layer<'a> {
    node: NodeId,
    source: ValueId,
    weight: (ValueId, &'a TensorData),
    bias: Option<(ValueId, &'a TensorData)>,
    windows: Windows,
}

impl<'a> Layer<'a> {
    fn of(m: &Match<'a>, value: ValueId, axis: i64) -> Option<Self> {
        let node = m.made_by(value, &["Conv"]).filter(|_| m.is_private(value))?;
        let slot = |slot: usize| m.graph().node_input(node, slot);
        let weight = (slot(1)?, m.constant_of(slot(1)?)?);
        let bias = match slot(2) {
            None => None,
            Some(b) => Some((b, m.constant_of(b).filter(|d| d.dims() == [weight.1.dims()[0]])?)),
        };
        let dims = weight.1.dims();
        let channels = axis == 1 || axis == 1 - dims.len() as i64;
        let plain = dims.len() >= 3 && m.graph().node(node).attrs.int("group").unwrap_or(1) == 1;
        let windows = Windows::of(m.graph().node(node), dims.get(2..)?)?;
        (channels && plain).then_some(Self { node, source: slot(0)?, weight, bias, windows })
    }

    fn goes_with(&self, other: &Self) -> bool {
        let (a, b) = (self.weight.1, other.weight.1);
        self.source == other.source
            && self.windows == other.windows
            && a.dtype() == b.dtype()
            && a.dims()[1..] == b.dims()[1..]
    }
}

/// The longest run of neighbours that go together; the first of several.
fn longest_run(layers: &[Option<Layer<'_>>]) -> std::ops::Range<usize> {
    let mut best = 0..0;
    let mut start = 0;
    for end in 1..=layers.len() {
        let joined = layers.get(end).and_then(Option::as_ref).zip(layers[start].as_ref());
        if !joined.is_some_and(|(next, first)| first.goes_with(next)) {
            if layers[start].is_some() && end - start > best.len() {
                best = start..end;
            }
            start = end;
        }
    }
    best
}

/// The attributes and the inputs of all of them in one.
fn stack(m: &Match<'_>, rw: &mut Rewrite, parts: &[&Layer<'_>]) -> Result<(Attrs, [Operand; 3]), Skip> {
    let first = parts.first().ok_or_else(Skip::no_concern)?;
    let (dtype, mut dims) = (first.weight.1.dtype(), first.weight.1.dims().to_vec());
    let rows = |part: &Layer<'_>| part.weight.1.dims()[0];
    dims[0] = parts.iter().map(|part| rows(part)).sum();
    let mut weight = Vec::new();
    let mut bias = Vec::new();
    for part in parts {
        weight.extend_from_slice(part.weight.1.bytes().ok_or_else(Skip::no_concern)?);
        match part.bias {
            Some((_, data)) => bias.extend_from_slice(data.bytes().ok_or_else(Skip::no_concern)?),
            // Zero is nothing but zeros in every type.
            None => bias.extend(vec![0; (rows(part) * dtype.bits() / 8) as usize]),
        }
    }
    let tensor =
        |dims: &[u64], bytes: Vec<u8>| TensorData::new(dtype, dims, bytes).map_err(|_| Skip::no_concern());
    let named = parts.iter().find_map(|part| part.bias).map(|(value, _)| m.name(value));
    let bias = match named {
        None => Operand::Absent,
        Some(name) => rw.constant(name, tensor(&dims[..1], bias)?),
    };
    let weight = rw.constant(m.name(first.weight.0), tensor(&dims, weight)?);
    Ok((m.graph().node(first.node).attrs.clone(), [first.source.into(), weight, bias]))
}
