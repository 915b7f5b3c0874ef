//! Biases of quantized layers.

use crate::prelude::*;

use super::affine::Layer;
use super::pairs::{Editor, New, Params, made_by, range, tensor};

impl Editor<'_, '_, '_> {
    /// Stores the constant bias of every quantized layer as int32 on the product of the scales of its input and its
    /// weight, where it is not there yet.
    pub fn biases_to_int32(&mut self) -> anyhow::Result<()> {
        for node in self.order()? {
            if !self.scope.graph.contains_node(node) {
                continue;
            }
            let outcome = match self.int32_bias(node) {
                Ok((layer, codes, scale, per_channel)) => {
                    self.put_bias(&layer, codes, scale, per_channel)?;
                    Ok(())
                }
                Err(skip) => Err(skip),
            };
            self.count(outcome);
        }
        Ok(())
    }

    /// Stores the bias of every quantized layer as floats.
    pub fn biases_to_float(&mut self) -> anyhow::Result<()> {
        for node in self.order()? {
            if !self.scope.graph.contains_node(node) {
                continue;
            }
            let graph = &*self.scope.graph;
            let Ok(layer) = Layer::of(graph, node) else { continue };
            let Some(old) = graph.node_input(node, 2) else { continue };
            let back = made_by(graph, old, "DequantizeLinear").filter(|&back| self.may(&[node, back]));
            let Some(items) = back.and_then(|_| self.bias_items(old, layer.channels).ok()) else { continue };
            let dims = [layer.channels as u64];
            let Some(data) = TensorData::from_f64s(layer.params.floats, &dims, &items) else { continue };
            let name = graph.value(old).name.clone();
            let bias = self.scope.add_constant(&name, data)?;
            self.scope.feed(node, 2, bias)?;
            self.bury(old);
            self.count(Ok(()));
        }
        Ok(())
    }

    /// The bias of a layer as integers: codes, scales, and whether there is one for every channel.
    pub fn int32_bias(&self, node: NodeId) -> Result<(Layer, TensorData, TensorData, bool), Skip> {
        let graph = &*self.scope.graph;
        let bias = graph.node_input(node, 2).ok_or_else(Skip::no_concern)?;
        let layer = Layer::of(graph, node)?;
        let known = self.may(&[node]) && !graph.node(node).is("ConvTranspose");
        known.then_some(()).ok_or_else(Skip::no_concern)?;
        let input = graph.node_input(node, 0).and_then(|x| made_by(graph, x, "DequantizeLinear"));
        let input = input.and_then(|back| Params::of(graph, back)).and_then(|p| p.of_tensor());
        let (input, _) = input.ok_or_else(|| Skip::because("its input is not quantized with one scale"))?;
        let items = self.bias_items(bias, layer.channels)?;
        let per_channel = !is_tensor_wide(graph, layer.back);
        // Runtimes multiply the scales in the type that they have.
        let steps: Vec<f64> =
            layer.params.scales.iter().map(|w| f64::from(input as f32 * *w as f32)).collect();
        let steps = if per_channel { steps } else { steps.into_iter().take(1).collect() };
        let stored = made_by(graph, bias, "DequantizeLinear").and_then(|back| Params::of(graph, back));
        if stored.is_some_and(|p| p.codes == DType::Int32 && same(&p.scales, &steps)) {
            return Err(Skip::no_concern());
        }
        let (low, high) = range(DType::Int32);
        let codes: Vec<f64> = (items.iter().enumerate())
            .map(|(at, x)| (x / steps[if per_channel { at } else { 0 }]).round_ties_even())
            .collect();
        let fits = codes.iter().all(|&c| c >= low as f64 && c <= high as f64);
        Skip::unless(fits, "its bias does not fit int32 on the product of the scales")?;
        let codes: Vec<i64> = codes.into_iter().map(|c| c as i64).collect();
        let codes = tensor(DType::Int32, &[layer.channels as u64], &codes).ok_or_else(Skip::no_concern)?;
        let dims: &[u64] = if per_channel { &[steps.len() as u64] } else { &[] };
        let scale = TensorData::from_f64s(layer.params.floats, dims, &steps).ok_or_else(Skip::no_concern)?;
        Ok((layer, codes, scale, per_channel))
    }

    pub fn put_bias(
        &mut self,
        layer: &Layer,
        codes: TensorData,
        scale: TensorData,
        per_channel: bool,
    ) -> Result<(), IrError> {
        let graph = &*self.scope.graph;
        let Some(old) = graph.node_input(layer.node, 2) else { return Ok(()) };
        let name = graph.value(old).name.clone();
        let codes = self.scope.add_constant(&format!("{name}_quantized"), codes)?;
        let scale = self.scope.add_constant(&format!("{name}_scale"), scale)?;
        let attrs = if per_channel { Attrs::new().with("axis", 0i64) } else { Attrs::new() };
        let inputs = [Some(codes), Some(scale)];
        let new = New { op: "DequantizeLinear", attrs, inputs: &inputs, from: &[layer.node] };
        let bias = self.append(new, &format!("{name}_dequantized"))?;
        self.scope.feed(layer.node, 2, bias)?;
        self.bury(old);
        Ok(())
    }
}

/// Whether a `DequantizeLinear` has one scale.
fn is_tensor_wide(graph: &Graph, back: NodeId) -> bool {
    Params::of(graph, back).is_some_and(|p| p.of_tensor().is_some())
}

/// Whether these are the same scales: one for all counts as one for every channel.
fn same(stored: &[f64], wanted: &[f64]) -> bool {
    let one = |list: &[f64], at: usize| list.get(if list.len() == 1 { 0 } else { at }).map(|x| x.to_bits());
    (0..stored.len().max(wanted.len())).all(|at| one(stored, at) == one(wanted, at))
}
