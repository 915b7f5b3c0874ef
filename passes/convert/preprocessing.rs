//! What callers do to pictures, done by the model.

use crate::prelude::*;

use super::border::{Side, named, parts};
use super::pixels::{Pixels, spread};

/// Take raw pixels: the model scales and shifts them itself, in the weights of its first `Conv` where that is exact.
///
/// Until now callers gave `(pixel * scale - mean) / std`, and in the other order of channels where `reverse-channels` is set.
/// Scale and order go into the weights of the `Conv`. The shift goes into its bias where it pads nothing; else one `Sub`
/// stays before it, since zeros around the picture are not pixels of 0. Where no single `Conv` with constant weights reads
/// the input, all of it stays as operators. What became of it is told.
///
/// *Left alone:* inputs that are no tensors of floats with channels, that a caller may leave out or that are outputs at once.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct FoldPreprocessing {
    /// The input; without it the only one that the model has.
    pub input: Option<String>,
    /// What a pixel is multiplied by first: one number, or one for each channel of the model.
    pub scale: Vec<f64>,
    /// What is subtracted then.
    pub mean: Vec<f64>,
    /// What is divided by at last.
    pub std: Vec<f64>,
    /// Whether the pixels have their channels in the other order: BGR for RGB.
    pub reverse_channels: bool,
    /// Whether the pixels are bytes; else they are floats as before.
    pub uint8: bool,
}

impl Default for FoldPreprocessing {
    fn default() -> Self {
        let one = || vec![1.0];
        Self { input: None, scale: one(), mean: vec![0.0], std: one(), reverse_channels: false, uint8: true }
    }
}

const ID: &str = "fold-preprocessing";

impl Pass for FoldPreprocessing {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta { idempotent: false, ..PassMeta::lossy(ID, Family::Convert).growing() } }
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        main_graph(model, cx, &mut |scope, cx| {
            let input = match (&self.input, scope.graph.inputs()) {
                (Some(name), _) => named(scope.graph, Side::Input, std::slice::from_ref(name))?[0],
                (None, &[only]) => only,
                (None, _) => anyhow::bail!("the model has several inputs: name one as `input`"),
            };
            let dtype = match floats(scope.graph, input) {
                Ok(dtype) => dtype,
                Err(skip) => {
                    summary.skip(skip.0);
                    return Ok(());
                }
            };
            let conv = first_conv(scope.graph, input);
            let channels = conv.as_ref().map(|c| c.channels).or_else(|| known_channels(scope.graph, input));
            let mut pixels = Pixels::new(self, channels)?;
            let told = match conv {
                Some(conv) if !self.reverse_channels || conv.groups == 1 => fold(scope, &conv, &mut pixels)?,
                _ => "scale and shift stay as operators, for what reads it is no single Conv whose weights can take them"
                    .to_owned(),
            };
            cx.warnings.push(format!("input `{}`: {told}", scope.graph.value(input).name));
            build(scope, input, (dtype, self.uint8), &pixels)?;
            summary.applied += 1;
            Ok(())
        })?;
        Ok(summary)
    }
}

fn floats(graph: &Graph, input: ValueId) -> Result<DType, Skip> {
    let ty = &graph.value(input).ty;
    let dtype = ty.dtype().filter(|d| d.has_f64s() && ty.rank().is_some_and(|rank| rank >= 3));
    let dtype = dtype.ok_or(Skip::because("it is no tensor of floats with channels"))?;
    parts(graph, Side::Input, input)?;
    Ok(dtype)
}

fn known_channels(graph: &Graph, input: ValueId) -> Option<usize> {
    graph.value(input).ty.shape()?.get(1)?.known().and_then(|n| usize::try_from(n).ok())
}

/// The one operator that reads the input, where it is a `Conv` that can take more into its weights.
struct Conv {
    node: NodeId,
    weight: TensorData,
    bias: Option<TensorData>,
    groups: usize,
    channels: usize,
    pads: bool,
}

fn first_conv(graph: &Graph, input: ValueId) -> Option<Conv> {
    let uses = graph.uses(input);
    let &[(node, Some(0))] = &uses[..] else { return None };
    let conv = graph.node(node);
    let plain = conv.is("Conv") && conv.opaque.is_none() && !conv.attrs.has_refs();
    let weight = graph.constant_input(node, 1).filter(|w| plain && w.dtype().has_f64s())?.clone();
    let bias = graph.node_input(node, 2).map(|v| graph.constant(v).cloned());
    let bias = match bias {
        Some(data) => Some(data?),
        None => None,
    };
    let groups = usize::try_from(conv.attrs.int("group").unwrap_or(1)).ok().filter(|&g| g > 0)?;
    let channels = usize::try_from(*weight.dims().get(1)?).ok()?.checked_mul(groups)?;
    let outputs = usize::try_from(*weight.dims().first()?).ok()?;
    if !outputs.is_multiple_of(groups) || bias.as_ref().is_some_and(|b| b.len() != outputs) {
        return None;
    }
    let automatic = conv.attrs.str("auto_pad").is_some_and(|a| a != "NOTSET" && a != "VALID");
    let pads = automatic || conv.attrs.ints("pads").is_some_and(|pads| pads.iter().any(|&p| p != 0));
    Some(Conv { node, weight, bias, groups, channels, pads })
}

/// Takes what it can into the weights, and says what became of it.
fn fold(scope: &mut Scope<'_>, conv: &Conv, pixels: &mut Pixels) -> anyhow::Result<String> {
    let name = scope.graph.node_label(conv.node);
    let shifts = pixels.shifts();
    let keeps_shift = shifts && conv.pads;
    let weights = conv.weight.to_f64s().unwrap_or_default();
    let outputs = usize::try_from(conv.weight.dims()[0])?;
    let each = conv.channels / conv.groups;
    let kernel = weights.len() / (outputs * each).max(1);
    let mut folded = vec![0.0; weights.len()];
    let mut bias = match &conv.bias {
        Some(bias) => bias.to_f64s().unwrap_or_default(),
        None => vec![0.0; outputs],
    };
    for (output, total) in bias.iter_mut().enumerate() {
        let group = output / (outputs / conv.groups).max(1);
        for inner in 0..each {
            let channel = group * each + inner;
            let to = if pixels.is_reversed { each - 1 - inner } else { inner };
            let (from, to) = ((output * each + inner) * kernel, (output * each + to) * kernel);
            let sum: f64 = weights[from..from + kernel].iter().sum();
            *total += if keeps_shift { 0.0 } else { sum * pixels.offset(channel) };
            for at in 0..kernel {
                folded[to + at] = weights[from + at] * pixels.factor(channel);
            }
        }
    }
    let rounded = |dims: &[u64], items: &[f64]| {
        let data = TensorData::from_f64s(conv.weight.dtype(), dims, items);
        data.ok_or_else(|| anyhow::anyhow!("the weights of {name} have no place for the result"))
    };
    let weight = rounded(conv.weight.dims(), &folded)?;
    scope.set_parameter((conv.node, 1), "preprocessed", weight)?;
    if shifts && !keeps_shift {
        let bias = rounded(&[outputs as u64], &bias)?;
        scope.set_parameter((conv.node, 2), "preprocessed_bias", bias)?;
    }
    pixels.is_folded(keeps_shift);
    Ok(if keeps_shift {
        format!("the scale is in the weights of {name}, and one Sub stays before it, since it pads")
    } else {
        format!("scale and shift are in the weights of {name}")
    })
}

/// Puts what is left between the input and its readers.
fn build(
    scope: &mut Scope<'_>,
    input: ValueId,
    (dtype, uint8): (DType, bool),
    pixels: &Pixels,
) -> anyhow::Result<()> {
    let rank = scope.graph.value(input).ty.rank().unwrap_or(0);
    let mut steps: Vec<(&str, Attrs, Option<TensorData>)> = Vec::new();
    if uint8 {
        steps.push(("Cast", Attrs::new().with("to", i64::from(dtype.code())), None));
    }
    if let Some(indices) = pixels.order() {
        steps.push(("Gather", Attrs::new().with("axis", 1), Some(TensorData::vector(&indices))));
    }
    if let Some(shift) = pixels.shift() {
        steps.push(("Sub", Attrs::new(), spread(&shift, dtype, rank)));
    }
    if let Some(factors) = pixels.factors() {
        steps.push(("Mul", Attrs::new(), spread(&factors, dtype, rank)));
    }
    if steps.is_empty() {
        return Ok(());
    }
    let (name, ty) = (scope.graph.value(input).name.clone(), scope.graph.value(input).ty.clone());
    let from: Vec<NodeId> = scope.graph.uses(input).first().map(|u| u.0).into_iter().collect();
    let inner = scope.behind_input(input, &format!("{name}_inner"))?;
    if let (true, ValueType::Tensor { shape, .. }) = (uint8, ty) {
        scope.declare(input, ValueType::Tensor { dtype: Some(DType::Uint8), shape });
    }
    let (mut value, last) = (input, steps.len() - 1);
    for (at, (op, attrs, constant)) in steps.into_iter().enumerate() {
        let mut inputs = vec![Some(value)];
        if let Some(data) = constant {
            inputs.push(Some(scope.add_constant(&format!("{name}_{}", op.to_lowercase()), data)?));
        }
        let new = NewOp { pass: ID, stands_for: &from, op: OpName::onnx(op), attrs, inputs: &inputs };
        if at == last {
            scope.produce(new, inner)?;
        } else {
            value = scope.append(new, &format!("{name}_{at}"))?;
        }
    }
    Ok(())
}
