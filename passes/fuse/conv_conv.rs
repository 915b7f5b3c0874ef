//! Multiply two convolutions that follow each other.

use super::channels::finite;
use super::windows::Windows;
use crate::prelude::*;

/// Fuse two `Conv` with nothing between into one, where that takes no more multiplications.
///
/// One of the two has a kernel of one element. The weights are multiplied in f64 and rounded once; the bias of the first
/// goes through the second. A first `Conv` of one element whose result is padded has no bias, or the border would
/// differ.
///
/// *Left alone:* two wide kernels, groups, a narrow layer between two wide ones, a first `Conv` whose result anything
/// else reads, padding that depends on the size of the input, and weights that are not constant.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FuseConvConv {}

/// Multiplications that two weights may take: less than a second.
const WORK: usize = 1 << 28;

impl Rule for FuseConvConv {
    const META: PassMeta = PassMeta::exact("fuse-conv-conv", Family::Fuse);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let (x, w, b) = (p.any(), p.constant(), p.optional());
        let (v, c) = (p.constant(), p.optional());
        let first = p.op("Conv", (x, w, b));
        let second = p.op("Conv", (first, v, c));

        rule_fn(move |m, rw| {
            let one = Half::of(m, m.id(first))?;
            let two = Half::of(m, m.id(second))?;
            if two.inputs != one.outputs {
                return Err(Skip::no_concern());
            }
            Skip::unless(one.windows.is_point() || two.windows.is_point(), "both kernels are wide")?;
            let windows = one.then(&two)?;
            let taps = windows.size();
            Skip::unless(saves(&one, &two, taps), "together they would take more multiplications")?;

            let work =
                [two.outputs, two.inputs, one.inputs, taps].iter().try_fold(1usize, |n, &d| n.checked_mul(d));
            Skip::unless(work.is_some_and(|n| n <= WORK), "the weights are too large to be multiplied")?;

            let output = m.output(second, 0)?;
            let (weight, bias) = one.times(&two, taps);
            let (dtype, kernel) = (m.tensor(w).dtype(), windows.kernel.iter().map(|&k| k as u64));
            let dims: Vec<u64> = [two.outputs as u64, one.inputs as u64].into_iter().chain(kernel).collect();
            let weight = finite(dtype, &dims, &weight)?;
            let weight = rw.constant(m.name(m.constant(v)), weight);
            let bias = match m.optional(c).or(m.optional(b)) {
                None => Operand::Absent,
                Some(old) => rw.constant(m.name(old), finite(dtype, &[two.outputs as u64], &bias)?),
            };
            let attrs = Attrs::new()
                .with("kernel_shape", windows.kernel.as_slice())
                .with("strides", windows.strides.as_slice())
                .with("dilations", windows.dilations.as_slice())
                .with("pads", windows.pads());
            rw.emit("Conv", attrs, [m.value(x).into(), weight, bias], output);
            Ok(())
        })
    }
}

/// Whether the two take no more multiplications together, with `taps` elements in the kernel, than apart. Where there are
/// no more windows of the second than of the first, weights count as multiplications do.
fn saves(one: &Half, two: &Half, taps: usize) -> bool {
    let count = |outputs: usize, inputs: usize, taps: usize| outputs.checked_mul(inputs)?.checked_mul(taps);
    let more = two.windows.slack().iter().any(|&s| s > 0);
    let first = if more { Some(0) } else { count(one.outputs, one.inputs, one.windows.size()) };
    let apart = first.zip(count(two.outputs, two.inputs, two.windows.size()));
    let together = count(two.outputs, one.inputs, taps);
    apart.zip(together).is_some_and(|((a, b), together)| together <= a.saturating_add(b))
}

/// One of the two.
struct Half {
    outputs: usize,
    inputs: usize,
    windows: Windows,
    weight: Vec<f64>,
    bias: Option<Vec<f64>>,
}

impl Half {
    fn of(m: &Match<'_>, id: NodeId) -> Result<Self, Skip> {
        let (node, w) = (m.graph().node(id), m.graph().constant_input(id, 1));
        let w = w.filter(|w| w.rank() >= 3 && !w.is_empty()).ok_or_else(Skip::no_concern)?;
        Skip::unless(node.attrs.int("group").unwrap_or(1) == 1, "one of the two has groups")?;
        let windows = Windows::of(node, &w.dims()[2..]);
        let windows = windows.ok_or_else(|| Skip::because("the padding depends on the size of the input"))?;
        let bias = match m.graph().node_input(id, 2) {
            None => None,
            Some(b) => {
                let b = m.constant_of(b).ok_or_else(|| Skip::because("the bias is not constant"))?;
                Some(b.to_f64s().ok_or_else(Skip::no_concern)?)
            }
        };
        let (outputs, inputs) = (w.dims()[0] as usize, w.dims()[1] as usize);
        if bias.as_ref().is_some_and(|b| b.len() != outputs) {
            return Err(Skip::no_concern());
        }
        let weight = w.to_f64s().ok_or_else(Skip::no_concern)?;
        Ok(Self { outputs, inputs, windows, weight, bias })
    }

    /// The windows of both together.
    fn then(&self, two: &Self) -> Result<Windows, Skip> {
        if two.windows.is_point() {
            // The second picks some of the results of the first.
            Skip::unless(two.windows.is_unpadded(), "the second pads the result of the first")?;
            let steps = self.windows.strides.iter().zip(&two.windows.strides);
            let strides = steps.map(|(a, b)| a.checked_mul(*b).filter(|&s| s < 1 << 31));
            let strides = strides.collect::<Option<_>>().ok_or_else(Skip::no_concern)?;
            return Ok(Windows { strides, ..self.windows.clone() });
        }
        let moves = self.windows.strides.iter().any(|&s| s != 1) || !self.windows.is_unpadded();
        Skip::unless(!moves, "the first, of one element, pads or skips")?;
        let silent = self.bias.iter().flatten().all(|&b| b == 0.0);
        Skip::unless(silent || two.windows.is_unpadded(), "the second pads what has a bias")?;
        Ok(two.windows.clone())
    }

    /// Weight and bias of both together, with `taps` elements in the kernel.
    fn times(&self, two: &Self, taps: usize) -> (Vec<f64>, Vec<f64>) {
        let (own, other) = (self.windows.size(), two.windows.size());
        let mut weight = vec![0.0; two.outputs * self.inputs * taps];
        let mut bias = two.bias.clone().unwrap_or_else(|| vec![0.0; two.outputs]);
        for (o, bias) in bias.iter_mut().enumerate() {
            for middle in 0..two.inputs {
                for second in 0..other {
                    let factor = two.weight[(o * two.inputs + middle) * other + second];
                    *bias += factor * self.bias.as_ref().map_or(0.0, |b| b[middle]);
                    for i in 0..self.inputs {
                        for first in 0..own {
                            // One of the two kernels has one element.
                            weight[(o * self.inputs + i) * taps + first + second] +=
                                factor * self.weight[(middle * self.inputs + i) * own + first];
                        }
                    }
                }
            }
        }
        (weight, bias)
    }
}
