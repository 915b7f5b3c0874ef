//! Let a convolution or a pooling pad by itself.

use super::windows::Windows;
use crate::prelude::*;

/// Fuse `Pad` with zeros into the `Conv` or `AveragePool` that reads it, and `Pad` with negative infinity into
/// `MaxPool`.
///
/// An `AveragePool` counts what the `Pad` added, so it gets `count_include_pad`.
///
/// *Left alone:* a `Pad` that anything else reads; padding of batch or channels, padding that cuts, another mode or value, padding that is not constant; an
/// operator whose own padding depends on the size of its input; a pooling that rounds up, that pads by itself without
/// counting, or that would have windows of nothing but padding.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FusePad {}

impl Rule for FusePad {
    const META: PassMeta = PassMeta::exact("fuse-pad", Family::Fuse);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let op = p.op_with_any_inputs(&["Conv", "AveragePool", "MaxPool"]);

        rule_fn(move |m, rw| {
            let pad = m.made_by(m.input(op, 0)?, &["Pad"]).ok_or_else(Skip::no_concern)?;
            let node = m.node(op);
            let kernel: Vec<u64> = if node.is("Conv") {
                let weight = m.facts().known_dims(m.input(op, 1)?);
                weight.and_then(|dims| Some(dims.get(2..)?.to_vec())).unwrap_or_default()
            } else {
                node.attrs
                    .ints("kernel_shape")
                    .unwrap_or_default()
                    .iter()
                    .map(|&k| k.unsigned_abs())
                    .collect()
            };
            Skip::unless(!kernel.is_empty(), "the kernel is not known")?;
            let fixed = matches!(node.attrs.str("auto_pad").unwrap_or("NOTSET"), "NOTSET" | "" | "VALID");
            let windows = Windows::of(node, &kernel).filter(|_| fixed);
            let windows =
                windows.ok_or_else(|| Skip::because("the padding depends on the size of the input"))?;
            let (before, after) = amounts(m, pad, kernel.len())?;
            check_value(m, pad, node.is("MaxPool"))?;

            let mut attrs = node.attrs.clone();
            if !node.is("Conv") {
                let counts = node.attrs.int("count_include_pad").unwrap_or(0) != 0;
                let average = node.is("AveragePool");
                let own = windows.is_unpadded() || counts || !average;
                Skip::unless(own, "the pooling leaves its own padding out of the average")?;
                let up = node.attrs.int("ceil_mode").unwrap_or(0) != 0;
                Skip::unless(!up, "the pooling rounds the number of windows up")?;
                Skip::unless(!m.output_is_used(op, 1), "the indices of the pooling are used")?;
                let sums = |own: &[i64], more: &[i64]| -> bool {
                    own.iter().zip(more).zip(&windows.kernel).all(|((own, more), k)| own + more < *k)
                };
                let full = sums(&windows.before, &before) && sums(&windows.after, &after);
                Skip::unless(full, "a window would hold nothing but padding")?;
                if average {
                    let counting = m.target().opset("").is_some_and(|opset| opset >= 7);
                    Skip::unless(counting, "the opset that is written cannot count padding")?;
                    attrs.set("count_include_pad", 1i64);
                }
            }
            let add =
                |own: &[i64], more: &[i64]| own.iter().zip(more).map(|(a, b)| a + b).collect::<Vec<i64>>();
            let pads: Vec<i64> =
                [add(&windows.before, &before), add(&windows.after, &after)].into_iter().flatten().collect();
            attrs.remove("auto_pad");
            attrs.set("pads", pads);
            let source = m.graph().node_input(pad, 0).ok_or_else(Skip::no_concern)?;
            let rest = m.graph().node_inputs(m.id(op)).into_iter().skip(1).map(Operand::from);
            let inputs: Vec<Operand> = [source.into()].into_iter().chain(rest).collect();
            rw.remove(pad);
            rw.emit(&node.op.name, attrs, inputs, m.output(op, 0)?);
            Ok(())
        })
    }
}

/// What a `Pad` adds before and after each spatial axis.
fn amounts(m: &Match<'_>, pad: NodeId, spatial: usize) -> Result<(Vec<i64>, Vec<i64>), Skip> {
    let mode = m.graph().node(pad).attrs.str("mode").unwrap_or("constant");
    Skip::unless(mode == "constant", "the Pad repeats its input")?;
    let ints = |slot: usize| m.graph().constant_input(pad, slot).and_then(TensorData::to_i64s);
    let pads = ints(1).ok_or_else(|| Skip::because("the padding is not constant"))?;
    let rank = spatial + 2;
    let axes: Vec<i64> = match m.graph().node_input(pad, 3) {
        None => (0..rank as i64).collect(),
        Some(_) => ints(3).ok_or_else(|| Skip::because("the padding is not constant"))?,
    };
    if pads.len() != 2 * axes.len() {
        return Err(Skip::no_concern());
    }
    let mut all = [vec![0i64; rank], vec![0i64; rank]];
    for (i, &axis) in axes.iter().enumerate() {
        let axis = axis_of(axis, rank).ok_or_else(Skip::no_concern)?;
        (all[0][axis], all[1][axis]) = (pads[i], pads[axes.len() + i]);
    }
    let [before, after] = all;
    let in_range = before.iter().chain(&after).all(|p| (0..1 << 31).contains(p));
    Skip::unless(in_range, "the padding cuts")?;
    let outer = before[..2].iter().chain(&after[..2]).all(|&p| p == 0);
    Skip::unless(outer, "batch or channels are padded")?;
    Ok((before[2..].to_vec(), after[2..].to_vec()))
}

/// Whether a `Pad` adds what the operator would: zeros, or what is less than every number.
fn check_value(m: &Match<'_>, pad: NodeId, least: bool) -> Result<(), Skip> {
    let value = match m.graph().node_input(pad, 2) {
        None => Some(0.0),
        Some(v) => m.constant_of(v).and_then(TensorData::to_f64),
    };
    let wanted = if least { f64::NEG_INFINITY } else { 0.0 };
    Skip::unless(value == Some(wanted), "the padded value is another one than the operator pads with")
}
