//! Folding what follows a layer into the scales of its weight.

use crate::prelude::*;

use super::pairs::{Editor, New, Params, Spread, made_by, range, tensor};

/// A layer whose constant weight comes out of a `DequantizeLinear`.
pub(super) struct Layer {
    /// The operator.
    pub node: NodeId,
    /// The `DequantizeLinear` of its weight.
    pub back: NodeId,
    /// What that computes with; a scale for every output channel.
    pub params: Params,
    /// The codes of its weight.
    pub codes: TensorData,
    /// The axis of the output channels in the weight.
    pub axis: usize,
    /// How many there are.
    pub channels: usize,
    /// Whether the zero points are written down.
    has_zero: bool,
}

impl Layer {
    /// What a node is as such a layer.
    pub fn of(graph: &Graph, id: NodeId) -> Result<Self, Skip> {
        let node = graph.node(id);
        let kind = ["Conv", "ConvTranspose", "Gemm"].into_iter().find(|op| node.is(op));
        let kind = kind.ok_or_else(Skip::no_concern)?;
        let back = graph.node_input(id, 1).and_then(|w| made_by(graph, w, "DequantizeLinear"));
        let back = back.ok_or_else(Skip::no_concern)?;
        let codes = graph.constant_input(back, 0).ok_or_else(Skip::no_concern)?.clone();
        let params = Params::of(graph, back);
        let mut params = params.ok_or_else(|| Skip::because("the scale of its weight is not constant"))?;
        let int = |name: &str, default: i64| node.attrs.int(name).unwrap_or(default);
        let axis = match kind {
            "Conv" => 0,
            "Gemm" => usize::from(int("transB", 0) == 0),
            _ => 1,
        };
        Skip::unless(
            kind != "ConvTranspose" || int("group", 1) == 1,
            "the channels of a grouped ConvTranspose cannot have a scale each",
        )?;
        if kind == "Gemm" {
            let unit = |name: &str| node.attrs.float(name).is_none_or(|x| x.to_bits() == 1f32.to_bits());
            Skip::unless(unit("alpha") && unit("beta"), "it scales its operands by alpha or beta")?;
        }
        let rank = if kind == "Gemm" { codes.rank() == 2 } else { codes.rank() >= 3 };
        let channels = codes.dims().get(axis).filter(|_| rank).copied().ok_or_else(Skip::no_concern)?;
        let channels = channels as usize;
        match params.spread {
            Spread::Tensor => {
                params.scales = vec![params.scales.first().copied().unwrap_or(1.0); channels];
                params.zeros = vec![params.zeros.first().copied().unwrap_or(0); channels];
            }
            Spread::Axis(a) if a.rem_euclid(codes.rank() as i64) == axis as i64 => {}
            Spread::Axis(_) => return Err(Skip::because("its weight has scales along another axis")),
            Spread::Blocks { .. } => return Err(Skip::because("its weight has a scale for every block")),
        }
        let whole = params.scales.len() == channels && params.zeros.len() == channels;
        whole.then_some(()).ok_or_else(Skip::no_concern)?;
        let has_zero = graph.node_input(back, 2).is_some();
        Ok(Self { node: id, back, params, codes, axis, channels, has_zero })
    }

    /// From the index of a code to its output channel.
    fn channel(&self) -> impl Fn(usize) -> usize + use<> {
        let inner: u64 = self.codes.dims().iter().skip(self.axis + 1).product();
        let (inner, channels) = (inner.max(1) as usize, self.channels.max(1));
        move |at| at / inner % channels
    }
}

/// `y = x·k + c`, channel by channel.
struct Affine {
    k: Vec<f64>,
    c: Vec<f64>,
}

/// A weight whose scales have taken factors over.
struct Scaled {
    /// The new codes, where they are others.
    codes: Option<TensorData>,
    scale: TensorData,
    zero: Option<TensorData>,
}

impl Editor<'_, '_, '_> {
    /// Folds every normalization and every arithmetic with channel constants into the quantized layer before it.
    pub fn fold_affines(&mut self) -> anyhow::Result<()> {
        for node in self.order()? {
            if !self.scope.graph.contains_node(node) {
                continue;
            }
            if ["Add", "BatchNormalization", "Div", "Mul", "Sub"]
                .iter()
                .any(|op| self.scope.graph.node(node).is(op))
            {
                let outcome = self.fold_affine(node)?;
                self.count(outcome);
            }
        }
        Ok(())
    }

    fn fold_affine(&mut self, node: NodeId) -> anyhow::Result<Result<(), Skip>> {
        let found = self.foldable(node).and_then(|(layer, affine, output)| {
            let scaled = scaled(&layer, &affine.k)?;
            let graph = &*self.scope.graph;
            let weight = graph.node_input(layer.node, 1).map_or(0, |w| graph.use_count(w));
            let codes = graph.node_input(layer.back, 0).map_or(0, |c| graph.use_count(c));
            Skip::unless(
                scaled.codes.is_none() || (weight == 1 && codes == 1),
                "a factor needs other codes in a weight that is read elsewhere",
            )?;
            let bias = self.folded_bias(&layer, &affine)?;
            Ok((layer, scaled, bias, output))
        });
        let (layer, scaled, bias, output) = match found {
            Ok(found) => found,
            Err(skip) => return Ok(Err(skip)),
        };
        let weight = self.rescale(&layer, scaled)?;
        let graph = &*self.scope.graph;
        let (x, old_bias) = (graph.node_input(layer.node, 0), graph.node_input(layer.node, 2));
        let (op, attrs) = (graph.node(layer.node).op.clone(), graph.node(layer.node).attrs.clone());
        let name = format!("{}_bias", graph.value(output).name);
        let read: Vec<ValueId> = graph.node_inputs(node).into_iter().flatten().collect();
        let bias = bias.map(|bias| self.renew(old_bias, &name, bias)).transpose()?;
        let new =
            NewOp { pass: self.pass, stands_for: &[layer.node, node], op, attrs, inputs: &[x, weight, bias] };
        self.scope.exchange(node, new, output)?;
        read.into_iter().for_each(|value| self.bury(value));
        Ok(Ok(()))
    }

    /// Gives the weight of a layer other scales; for this layer alone, where others read it. What the layer has to read.
    fn rescale(&mut self, layer: &Layer, scaled: Scaled) -> Result<Option<ValueId>, IrError> {
        let graph = &*self.scope.graph;
        let [codes, scale, zero] = [0, 1, 2].map(|slot| graph.node_input(layer.back, slot));
        let Some(weight) = graph.node_input(layer.node, 1) else { return Ok(None) };
        let name = graph.value(weight).name.clone();
        let own = graph.use_count(weight) == 1 && !graph.is_pinned(weight);
        // Where others read the weight, they go on reading its old parameters.
        let renewed = |old: Option<ValueId>| old.filter(|_| own);
        let codes = match scaled.codes {
            Some(data) => Some(self.renew(renewed(codes), &format!("{name}_quantized"), data)?),
            None => codes,
        };
        let scale = self.renew(renewed(scale), &format!("{name}_scale"), scaled.scale)?;
        let zero = match scaled.zero {
            Some(data) => Some(self.renew(renewed(zero), &format!("{name}_zero_point"), data)?),
            None => None,
        };
        let inputs = [codes, Some(scale), zero];
        let attrs = Attrs::new().with("axis", layer.axis as i64);
        let new = New { op: "DequantizeLinear", attrs, inputs: &inputs, from: &[layer.back] };
        if !own {
            return self.append(new, &name).map(Some);
        }
        let read = self.scope.graph.node_inputs(layer.back);
        self.exchange(layer.back, new, weight)?;
        read.into_iter().flatten().for_each(|value| self.bury(value));
        Ok(Some(weight))
    }

    /// The layer before a node and what the node does to its result.
    fn foldable(&self, node: NodeId) -> Result<(Layer, Affine, ValueId), Skip> {
        let graph = &*self.scope.graph;
        let inputs = graph.node_inputs(node);
        let output = graph.node_output(node, 0).ok_or_else(Skip::no_concern)?;
        let normalizes = graph.node(node).is("BatchNormalization");
        let slots = if normalizes { 1 } else { 2 };
        let found = (0..slots).find_map(|slot| {
            let value = inputs.get(slot).copied().flatten()?;
            let (producer, _) = graph.producer(value)?;
            match Layer::of(graph, producer) {
                Err(skip) if skip == Skip::no_concern() => None,
                layer => Some((slot, value, layer)),
            }
        });
        let Some((slot, value, layer)) = found else {
            let late =
                normalizes && inputs.first().copied().flatten().is_some_and(|v| is_quantized_layer(graph, v));
            Skip::unless(!late, "the result of the layer is quantized before its normalization")?;
            return Err(Skip::no_concern());
        };
        let other = inputs.get(1 - slot.min(1)).copied().flatten();
        if !normalizes && other.is_none_or(|v| graph.constant(v).is_none()) {
            return Err(Skip::no_concern());
        }
        let layer = layer?;
        self.may(&[layer.node, node]).then_some(()).ok_or_else(Skip::no_concern)?;
        let alone = graph.use_count(value) == 1 && !graph.is_pinned(value);
        Skip::unless(alone, "the result of the layer has other readers")?;
        let affine = if normalizes {
            normalization(graph, node, layer.channels)?
        } else {
            let rank = layer.codes.rank();
            arithmetic(graph, (node, slot), rank, layer.channels)?
        };
        Ok((layer, affine, output))
    }

    /// The bias of a layer after what follows it; `None` where it had none and gets none.
    fn folded_bias(&self, layer: &Layer, affine: &Affine) -> Result<Option<TensorData>, Skip> {
        let graph = &*self.scope.graph;
        let old = graph.node_input(layer.node, 2);
        let items = match old {
            Some(value) => self.bias_items(value, layer.channels)?,
            None => vec![0.0; layer.channels],
        };
        let folded: Vec<f64> =
            items.iter().zip(&affine.k).zip(&affine.c).map(|((b, k), c)| b * k + c).collect();
        if old.is_none() && folded.iter().all(|&b| b == 0.0) {
            return Ok(None);
        }
        let bias = TensorData::from_f64s(layer.params.floats, &[layer.channels as u64], &folded);
        let finite = |b: &TensorData| b.to_f64s().is_some_and(|items| items.iter().all(|x| x.is_finite()));
        let bias =
            bias.filter(finite).ok_or_else(|| Skip::because("a fused parameter would not be finite"))?;
        Ok(Some(bias))
    }

    /// The numbers of a constant bias, stored as floats or as codes.
    pub fn bias_items(&self, value: ValueId, channels: usize) -> Result<Vec<f64>, Skip> {
        let graph = &*self.scope.graph;
        let made = made_by(graph, value, "DequantizeLinear")
            .and_then(|back| self.evaluate_on(back, graph.constant_input(back, 0)?));
        let items = graph.constant(value).or(made.as_ref()).and_then(TensorData::to_f64s);
        let items = items.ok_or_else(|| Skip::because("its bias is not constant"))?;
        Skip::unless(items.len() == channels, "its bias is not one number a channel")?;
        Ok(items)
    }
}

/// Whether a value is the quantized and dequantized result of a quantized layer.
fn is_quantized_layer(graph: &Graph, value: ValueId) -> bool {
    let layer = || {
        let back = made_by(graph, value, "DequantizeLinear")?;
        let quantize = made_by(graph, graph.node_input(back, 0)?, "QuantizeLinear")?;
        let (layer, _) = graph.producer(graph.node_input(quantize, 0)?)?;
        Layer::of(graph, layer).ok()
    };
    layer().is_some()
}

/// What a `BatchNormalization` does.
fn normalization(graph: &Graph, id: NodeId, channels: usize) -> Result<Affine, Skip> {
    let node = graph.node(id);
    let training = node.attrs.int("training_mode").unwrap_or(0) != 0;
    let extra = graph
        .node_outputs(id)
        .into_iter()
        .skip(1)
        .flatten()
        .any(|v| graph.use_count(v) > 0 || graph.is_pinned(v));
    Skip::unless(!training && !extra, "normalization runs in training mode")?;
    let read = |slot: usize| {
        let items = graph.constant_input(id, slot).and_then(TensorData::to_f64s);
        let items =
            items.ok_or_else(|| Skip::because("the parameters of the normalization are not constant"))?;
        Skip::unless(items.len() == channels, "the number of channels differs")?;
        Ok(items)
    };
    let (scale, shift, mean, var) = (read(1)?, read(2)?, read(3)?, read(4)?);
    let epsilon = f64::from(node.attrs.float("epsilon").unwrap_or(1e-5));
    let k: Vec<f64> = scale.iter().zip(&var).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
    let c = (0..channels).map(|at| shift[at] - mean[at] * k[at]).collect();
    Ok(Affine { k, c })
}

/// What an operator with one constant for every channel, or one for all, does to the value in a slot.
fn arithmetic(
    graph: &Graph,
    (id, slot): (NodeId, usize),
    rank: usize,
    channels: usize,
) -> Result<Affine, Skip> {
    let constant = graph.constant_input(id, 1 - slot).ok_or_else(Skip::no_concern)?;
    let items = constant.to_f64s().ok_or_else(Skip::no_concern)?;
    // The channels are axis 1, counted from the front of the result.
    let dim = (constant.rank() + 1).checked_sub(rank).and_then(|at| constant.dims().get(at)).copied();
    let fits = constant.rank() <= rank
        && (items.len() == 1 || (items.len() == channels && dim == Some(channels as u64)));
    Skip::unless(fits, "the constant is not one number a channel")?;
    let items = if items.len() == 1 { vec![items[0]; channels] } else { items };
    let (ones, zeros) = (vec![1.0; channels], vec![0.0; channels]);
    let (k, c) = match (&*graph.node(id).op.name, slot) {
        ("Add", _) => (ones, items),
        ("Sub", 0) => (ones, items.iter().map(|c| -c).collect()),
        ("Sub", _) => (vec![-1.0; channels], items),
        ("Mul", _) => (items, zeros),
        ("Div", 0) => (items.iter().map(|c| 1.0 / c).collect(), zeros),
        _ => return Err(Skip::because("the constant is divided by the result")),
    };
    Ok(Affine { k, c })
}

/// The weight of a layer with every output channel multiplied: in its scale; a sign, which no scale can have, and zero
/// in the codes.
fn scaled(layer: &Layer, k: &[f64]) -> Result<Scaled, Skip> {
    let Params { scales, zeros, codes, floats, .. } = &layer.params;
    let steps: Vec<f64> =
        scales.iter().zip(k).map(|(s, k)| if *k == 0.0 { *s } else { s * k.abs() }).collect();
    Skip::unless(steps.iter().all(|s| s.is_finite()), "a fused parameter would not be finite")?;
    let dims = [layer.channels as u64];
    let scale = TensorData::from_f64s(*floats, &dims, &steps).ok_or_else(Skip::no_concern)?;
    let least = if *floats == DType::Float16 { 6.103_515_625e-5 } else { f64::from(f32::MIN_POSITIVE) };
    let stored = scale.to_f64s().unwrap_or_default();
    let normal = stored.iter().all(|s| s.is_finite() && s.abs() >= least);
    Skip::unless(normal, "a fused scale would leave the range of its type")?;
    let zero = layer.has_zero.then(|| tensor(*codes, &dims, zeros));
    let zero = zero.map(|zero| zero.ok_or_else(Skip::no_concern)).transpose()?;
    if k.iter().all(|&k| k > 0.0) {
        return Ok(Scaled { codes: None, scale, zero });
    }
    let items = layer.codes.to_i64s().ok_or_else(Skip::no_concern)?;
    let (channel, (low, high)) = (layer.channel(), range(*codes));
    let turned: Vec<i64> = (items.iter().enumerate())
        .map(|(at, &code)| {
            let (k, zero) = (k[channel(at)], zeros[channel(at)]);
            if k > 0.0 {
                code
            } else if k < 0.0 {
                2 * zero - code
            } else {
                zero
            }
        })
        .collect();
    let fits = turned.iter().all(|code| (low..=high).contains(code));
    Skip::unless(fits, "a negative factor needs a code that the type lacks")?;
    let turned = tensor(*codes, layer.codes.dims(), &turned).ok_or_else(Skip::no_concern)?;
    Ok(Scaled { codes: Some(turned), scale, zero })
}
