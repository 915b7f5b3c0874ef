//! `QuantizeLinear` and `DequantizeLinear` put where runtimes look for them, without changing a result.

use std::collections::HashMap;

use crate::prelude::*;

use super::pairs::{Editor, New, Params, Spread, made_by, only_reader, range};
use super::stored::LAYOUT;

/// Operators whose integer kernels take in what stands around them.
const LAYERS: &[&str] = &["Conv", "ConvTranspose", "Gemm", "MatMul"];

/// A node, its parameters, and whether it saturates.
type Seen = (NodeId, Params, bool);

impl Editor<'_, '_, '_> {
    /// Merges pairs of `QuantizeLinear`, and of `DequantizeLinear`, that do the same to the same value.
    pub fn merge_duplicates(&mut self) -> anyhow::Result<()> {
        let mut seen: HashMap<(ValueId, bool), Vec<Seen>> = HashMap::new();
        for node in self.order()? {
            if !self.scope.graph.contains_node(node) {
                continue;
            }
            let graph = &*self.scope.graph;
            let Some(params) = Params::of(graph, node) else { continue };
            let Some(from) = graph.node_input(node, 0) else { continue };
            let saturates = graph.node(node).attrs.int("saturate").unwrap_or(1) != 0;
            let of_value = seen.entry((from, graph.node(node).is("QuantizeLinear"))).or_default();
            match of_value.iter().find(|(_, other, s)| *other == params && *s == saturates) {
                Some(&(first, ..)) if self.may(&[first, node]) => {
                    let outcome = self.scope.merge_nodes(node, first)?;
                    self.count(outcome);
                }
                _ => of_value.push((node, params, saturates)),
            }
        }
        Ok(())
    }

    /// Lets the readers of a `QuantizeLinear` that only undoes a `DequantizeLinear` read the codes that are there.
    pub fn drop_round_trips(&mut self) -> anyhow::Result<()> {
        for node in self.order()? {
            if !self.scope.graph.contains_node(node) {
                continue;
            }
            let graph = &*self.scope.graph;
            let found = graph.node(node).is("QuantizeLinear").then(|| {
                let (from, to) = (graph.node_input(node, 0)?, graph.node_output(node, 0)?);
                let back = made_by(graph, from, "DequantizeLinear")?;
                let (there, here) = (Params::of(graph, back)?, Params::of(graph, node)?);
                let same = there == here && here.survives_floats() && !graph.is_pinned(to);
                (same && self.may(&[back, node])).then_some((from, graph.node_input(back, 0)?, to))
            });
            let Some((from, codes, to)) = found.flatten() else { continue };
            let outcome = self.scope.replace(to, codes)?;
            if outcome.is_ok() {
                self.scope.remove_node(node);
                self.bury(from);
            }
            self.count(outcome);
        }
        Ok(())
    }

    /// Drops a `Relu` or `Clip` before a `QuantizeLinear` that saturates where it cuts.
    pub fn drop_saturated(&mut self) -> anyhow::Result<()> {
        for node in self.order()? {
            if !self.scope.graph.contains_node(node) {
                continue;
            }
            let graph = &*self.scope.graph;
            if !graph.node(node).is("QuantizeLinear") {
                continue;
            }
            let found = graph.node_input(node, 0).and_then(|cut| {
                let (by, _) = graph.producer(cut)?;
                let (low, high) = bounds(graph, by)?;
                let params = Params::of(graph, node)?;
                let (least, most) = range(params.codes);
                let holds = (0..params.scales.len()).all(|at| {
                    low.is_none_or(|x| params.code(x, at) == Some(least))
                        && high.is_none_or(|x| params.code(x, at) == Some(most))
                });
                (holds && only_reader(graph, cut) == Some(node) && self.may(&[by, node])).then_some(())?;
                Some((cut, graph.node_input(by, 0)?))
            });
            if let Some((cut, uncut)) = found {
                self.scope.feed(node, 0, uncut)?;
                self.bury(cut);
                self.count(Ok(()));
            }
        }
        Ok(())
    }

    /// Moves `QuantizeLinear` and `DequantizeLinear` between a layer and its `Relu` or `Clip` behind that: the layer
    /// and its activation function then are what is quantized.
    pub fn move_past_activations(&mut self) -> anyhow::Result<()> {
        for node in self.order()? {
            if !self.scope.graph.contains_node(node) {
                continue;
            }
            if let Some((quantize, back, result)) = self.movable(node) {
                self.move_past(node, quantize, back, result)?;
                self.count(Ok(()));
            }
        }
        Ok(())
    }

    /// The pair before an activation function that can as well follow it, and the result of the layer.
    fn movable(&self, node: NodeId) -> Option<(NodeId, NodeId, ValueId)> {
        let graph = &*self.scope.graph;
        let (low, high) = bounds(graph, node)?;
        let from = graph.node_input(node, 0)?;
        let back = made_by(graph, from, "DequantizeLinear")?;
        let codes = graph.node_input(back, 0)?;
        let quantize = made_by(graph, codes, "QuantizeLinear")?;
        let result = graph.node_input(quantize, 0)?;
        let (layer, _) = graph.producer(result)?;
        let params = Params::of(graph, quantize)?;
        let alone = only_reader(graph, from) == Some(node)
            && only_reader(graph, codes) == Some(back)
            && only_reader(graph, result) == Some(quantize);
        let on_layer = LAYERS.iter().any(|op| graph.node(layer).is(op));
        let (least, most) = range(params.codes);
        let exact = |bound: Option<f64>, end: i64, below: bool| {
            bound.is_none_or(|x| {
                (0..params.scales.len()).all(|at| {
                    let float =
                        |code: i64| f64::from(((code - params.zeros[at]) as f64 * params.scales[at]) as f32);
                    let code = params.code(x, at);
                    let beyond = if below { x <= float(end) } else { x >= float(end) };
                    beyond || code.is_some_and(|code| float(code).to_bits() == (x + 0.0).to_bits())
                })
            })
        };
        let same = Params::of(graph, back)? == params && params.survives_floats();
        let holds = same && exact(low, least, true) && exact(high, most, false);
        (alone && on_layer && holds && self.may(&[quantize, back, node])).then_some((quantize, back, result))
    }

    fn move_past(
        &mut self,
        node: NodeId,
        quantize: NodeId,
        back: NodeId,
        result: ValueId,
    ) -> Result<(), IrError> {
        let graph = &*self.scope.graph;
        let Some(output) = graph.node_output(node, 0) else { return Ok(()) };
        let name = graph.value(output).name.clone();
        let replace_first = |id: NodeId, value: ValueId| {
            let mut inputs = graph.node_inputs(id);
            if let Some(first) = inputs.first_mut() {
                *first = Some(value);
            }
            inputs
        };
        let act = (
            graph.node(node).op.name.to_string(),
            graph.node(node).attrs.clone(),
            replace_first(node, result),
        );
        let pair = [quantize, back].map(|id| (graph.node(id).attrs.clone(), graph.node_inputs(id)));
        let [(to_codes, mut first), (from_codes, mut second)] = pair;
        let old = self.scope.detach(output, &format!("{name}_old"))?;
        let new = New { op: &act.0, attrs: act.1, inputs: &act.2, from: &[node] };
        first[0] = Some(self.append(new, &format!("{name}_unquantized"))?);
        let new = New { op: "QuantizeLinear", attrs: to_codes, inputs: &first, from: &[quantize] };
        second[0] = Some(self.append(new, &format!("{name}_quantized"))?);
        let new = New { op: "DequantizeLinear", attrs: from_codes, inputs: &second, from: &[back] };
        self.produce(new, output)?;
        if let Some(old) = old {
            self.bury(old);
        }
        Ok(())
    }

    /// Lets operators that only arrange elements work on codes, so that the `DequantizeLinear` stands right before the
    /// layer.
    pub fn arrange_codes(&mut self) -> anyhow::Result<()> {
        for node in self.order()? {
            if !self.scope.graph.contains_node(node) {
                continue;
            }
            if !LAYERS.iter().any(|op| self.scope.graph.node(node).is(op)) {
                continue;
            }
            for slot in 0..2 {
                if let Some((back, chain)) = self.chain_before(node, slot) {
                    self.move_behind(back, &chain)?;
                    self.count(Ok(()));
                }
            }
        }
        Ok(())
    }

    /// The operators between a `DequantizeLinear` with one scale and a slot of a layer, from the first on.
    fn chain_before(&self, layer: NodeId, slot: usize) -> Option<(NodeId, Vec<NodeId>)> {
        let graph = &*self.scope.graph;
        let mut value = graph.node_input(layer, slot)?;
        let mut chain = Vec::new();
        loop {
            let (node, _) = graph.producer(value)?;
            if graph.node(node).is("DequantizeLinear") {
                let whole = Params::of(graph, node).is_some_and(|p| p.spread == Spread::Tensor);
                let variable = graph.constant_input(node, 0).is_none();
                chain.reverse();
                let allowed = self.may(&[&chain[..], &[node]].concat());
                return (whole && variable && allowed && !chain.is_empty()).then_some((node, chain));
            }
            let arranges = LAYOUT.iter().any(|op| graph.node(node).is(op));
            let read_once = graph.use_count(value) == 1 && !graph.is_pinned(value);
            if !arranges || !read_once {
                return None;
            }
            chain.push(node);
            value = graph.node_input(node, 0)?;
        }
    }

    fn move_behind(&mut self, back: NodeId, chain: &[NodeId]) -> Result<(), IrError> {
        let graph = &*self.scope.graph;
        let params = graph.node_inputs(back);
        let attrs = graph.node(back).attrs.clone();
        let last = chain.last().and_then(|&n| graph.node_output(n, 0));
        let (Some(output), Some(Some(mut codes))) = (last, params.first().copied()) else { return Ok(()) };
        for &node in chain {
            let graph = &*self.scope.graph;
            let mut inputs = graph.node_inputs(node);
            if let Some(first) = inputs.first_mut() {
                *first = Some(codes);
            }
            let op = graph.node(node).op.name.to_string();
            let attrs = graph.node(node).attrs.clone();
            let name = graph.node_output(node, 0).map_or_else(String::new, |v| graph.value(v).name.clone());
            let new = New { op: &op, attrs, inputs: &inputs, from: &[node] };
            codes = self.append(new, &format!("{name}_quantized"))?;
        }
        let name = self.scope.graph.value(output).name.clone();
        let old = self.scope.detach(output, &format!("{name}_old"))?;
        let inputs: Slots = [Some(codes)].into_iter().chain(params.into_iter().skip(1)).collect();
        let new = New { op: "DequantizeLinear", attrs, inputs: &inputs, from: &[back] };
        self.produce(new, output)?;
        if let Some(old) = old {
            self.bury(old);
        }
        Ok(())
    }
}

/// Between which constants an operator cuts its input: a `Relu` or a `Clip` of floats.
fn bounds(graph: &Graph, id: NodeId) -> Option<(Option<f64>, Option<f64>)> {
    let node = graph.node(id);
    if node.is("Relu") {
        return Some((Some(0.0), None));
    }
    if !node.is("Clip") {
        return None;
    }
    let bound = |slot: usize| match graph.node_input(id, slot) {
        None => Some(None),
        Some(value) => graph.constant(value)?.to_f64().map(Some),
    };
    let (low, high) = (bound(1)?, bound(2)?);
    let ordered = low.zip(high).is_none_or(|(low, high)| low <= high);
    (ordered && (low.is_some() || high.is_some())).then_some((low, high))
}
