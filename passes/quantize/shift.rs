//! The same activations in codes of the other 8-bit type.

use crate::prelude::*;

use super::pairs::{Editor, New, Params, Spread, tensor};
use super::stored::LAYOUT;

/// A `QuantizeLinear`, and all that its codes reach.
struct Reach {
    quantize: NodeId,
    /// The `DequantizeLinear` that read them.
    back: Vec<NodeId>,
    /// The values that hold them.
    codes: Vec<ValueId>,
}

impl Editor<'_, '_, '_> {
    /// Stores the codes of every quantized activation of the one 8-bit type in the other: codes and zero points move by
    /// 128, and what they stand for stays.
    pub fn shift_codes(&mut self, to: DType) -> anyhow::Result<()> {
        for node in self.order()? {
            if !self.scope.graph.contains_node(node) {
                continue;
            }
            let outcome = match self.reach(node, to) {
                Ok(reach) => {
                    self.shift(&reach, to)?;
                    Ok(())
                }
                Err(skip) => Err(skip),
            };
            self.count(outcome);
        }
        Ok(())
    }

    /// What the codes of a node reach, where it makes codes of the other type.
    fn reach(&self, quantize: NodeId, to: DType) -> Result<Reach, Skip> {
        let graph = &*self.scope.graph;
        let from = if to == DType::Uint8 { DType::Int8 } else { DType::Uint8 };
        let moves = graph.node(quantize).is("QuantizeLinear") && graph.node_input(quantize, 2).is_some();
        let params = Params::of(graph, quantize).filter(|p| moves && p.codes == from);
        let variable = graph.constant_input(quantize, 0).is_none();
        params.filter(|_| variable).ok_or_else(Skip::no_concern)?;
        let mut reach = Reach { quantize, back: Vec::new(), codes: Vec::new() };
        let mut waiting = vec![graph.node_output(quantize, 0).ok_or_else(Skip::no_concern)?];
        while let Some(codes) = waiting.pop() {
            let mut known = !graph.is_pinned(codes);
            for (node, _) in graph.uses(codes) {
                if graph.node(node).is("DequantizeLinear") && Params::of(graph, node).is_some() {
                    reach.back.push(node);
                } else if LAYOUT.iter().any(|op| graph.node(node).is(op)) {
                    waiting.extend(graph.node_output(node, 0));
                } else {
                    known = false;
                }
            }
            Skip::unless(known, "its codes are read by other operators than DequantizeLinear")?;
            reach.codes.push(codes);
        }
        self.may(&[&reach.back[..], &[quantize]].concat()).then_some(reach).ok_or_else(Skip::no_concern)
    }

    fn shift(&mut self, reach: &Reach, to: DType) -> Result<(), IrError> {
        for &node in reach.back.iter().chain([&reach.quantize]) {
            let graph = &*self.scope.graph;
            let Some(params) = Params::of(graph, node) else { continue };
            let by = if to == DType::Uint8 { 128 } else { -128 };
            let zeros: Vec<i64> = params.zeros.iter().map(|z| z + by).collect();
            let scale = graph.constant_input(node, 1);
            let dims = match &params.spread {
                Spread::Blocks { dims, .. } => dims.clone(),
                _ => scale.map_or_else(Vec::new, |s| s.dims().to_vec()),
            };
            let Some(data) = tensor(to, &dims, &zeros) else { continue };
            let mut inputs = graph.node_inputs(node);
            let Some(output) = graph.node_output(node, 0) else { continue };
            let old = inputs.get(2).copied().flatten();
            let zero = self.zero_point(old, output, data)?;
            inputs.truncate(2);
            inputs.push(Some(zero));
            let graph = &*self.scope.graph;
            let (op, attrs) = (graph.node(node).op.name.to_string(), graph.node(node).attrs.clone());
            let new = New { op: &op, attrs, inputs: &inputs, from: &[node] };
            self.exchange(node, new, output)?;
            if let Some(old) = old {
                self.bury(old);
            }
        }
        reach.codes.iter().for_each(|&codes| self.scope.retype(codes, to));
        Ok(())
    }

    /// A zero point: one that a pair shares with others is made once.
    fn zero_point(
        &mut self,
        old: Option<ValueId>,
        output: ValueId,
        data: TensorData,
    ) -> Result<ValueId, IrError> {
        let graph = &*self.scope.graph;
        let name = match old {
            Some(old) => graph.value(old).name.clone(),
            None => format!("{}_zero_point", graph.value(output).name),
        };
        let wish = format!("{name}_{}", data.dtype().name());
        let made = graph.find(&wish).filter(|&v| graph.constant(v).is_some_and(|d| d.same_data(&data)));
        match made {
            Some(made) => Ok(made),
            None => self.scope.add_constant(&wish, data),
        }
    }
}
