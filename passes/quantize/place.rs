//! Putting `QuantizeLinear` and `DequantizeLinear` where runtimes look for them.

use std::collections::BTreeMap;

use crate::prelude::*;

use super::codes::{Grid, integers, usable};
use super::plan::{Layer, Point};
use super::scales::Scale;

/// Puts quantized values and constants into a graph.
pub(super) struct Placer {
    /// The pass.
    pub pass: &'static str,
    /// The constants of equal grids, shared.
    grids: BTreeMap<(u32, i32, DTypeKey), (ValueId, ValueId)>,
}

type DTypeKey = i32;

impl Placer {
    /// Nothing placed yet.
    pub fn new(pass: &'static str) -> Self {
        Self { pass, grids: BTreeMap::new() }
    }

    /// Quantizes a value. Its integer readers read what comes back on its grid; where its producer gives integers, the
    /// other readers get what comes back too, with the factors of its channels.
    pub fn point(
        &mut self,
        scope: &mut Scope<'_>,
        value: ValueId,
        point: &Point,
        scale: &Scale,
    ) -> Result<(), IrError> {
        let name = scope.graph.value(value).name.clone();
        let producer: Vec<NodeId> = scope.graph.producer(value).map(|(n, _)| n).into_iter().collect();
        let takes_over = point.from_layer && !producer.is_empty();
        let stands_for: Vec<NodeId> =
            if producer.is_empty() { point.readers.iter().map(|r| r.0).take(1).collect() } else { producer };
        let plain = self.grid(scope, &name, scale.grid)?;
        let factors = scale.factors.as_deref().zip(point.axis);
        let own = match factors {
            Some((factors, axis)) => Some((self.channels(scope, &name, scale, factors)?, axis)),
            None => None,
        };
        let op = |op: &str, axis: Option<usize>| {
            let attrs = axis.map_or_else(Attrs::new, |axis| Attrs::new().with("axis", axis as i64));
            (OpName::onnx(op), attrs)
        };
        let source = if takes_over {
            scope.detach(value, &format!("{name}_unquantized"))?.unwrap_or(value)
        } else {
            value
        };
        // The producer gives what is divided by the factors already.
        let ((step, zero), axis) = match own {
            Some((own, axis)) if !takes_over => (own, Some(axis)),
            _ => (plain, None),
        };
        let inputs = [Some(source), Some(step), Some(zero)];
        let (quantize, attrs) = op("QuantizeLinear", axis);
        let new = NewOp { pass: self.pass, stands_for: &stands_for, op: quantize, attrs, inputs: &inputs };
        let codes = scope.append(new, &format!("{name}_quantized"))?;
        if own.is_none() && takes_over {
            let (dequantize, attrs) = op("DequantizeLinear", None);
            let inputs = [Some(codes), Some(plain.0), Some(plain.1)];
            let new =
                NewOp { pass: self.pass, stands_for: &stands_for, op: dequantize, attrs, inputs: &inputs };
            scope.produce(new, value)?;
            return Ok(());
        }
        if !point.readers.is_empty() {
            let (dequantize, attrs) = op("DequantizeLinear", None);
            let inputs = [Some(codes), Some(plain.0), Some(plain.1)];
            let new =
                NewOp { pass: self.pass, stands_for: &stands_for, op: dequantize, attrs, inputs: &inputs };
            let back = scope.append(new, &format!("{name}_dequantized"))?;
            point.readers.iter().try_for_each(|&(node, slot)| scope.feed(node, slot, back))?;
        }
        if let (Some(((step, zero), axis)), true) = (own, takes_over) {
            if scope.graph.use_count(value) == 0 && !scope.graph.is_pinned(value) {
                scope.remove_if_dead(value);
                return Ok(());
            }
            let (dequantize, attrs) = op("DequantizeLinear", Some(axis));
            let inputs = [Some(codes), Some(step), Some(zero)];
            let new =
                NewOp { pass: self.pass, stands_for: &stands_for, op: dequantize, attrs, inputs: &inputs };
            scope.produce(new, value)?;
        }
        Ok(())
    }

    /// The upper bound of the function after a layer whose channels are scaled is where the quantized range ends.
    pub fn unclip(&mut self, scope: &mut Scope<'_>, layer: &Layer) -> Result<(), IrError> {
        let Some(node) = layer.activation.filter(|&n| scope.graph.node(n).is("Clip")) else { return Ok(()) };
        let (Some(input), Some(output)) = (scope.graph.node_input(node, 0), scope.graph.node_output(node, 0))
        else {
            return Ok(());
        };
        let stands_for = [node];
        let made = NewOp {
            pass: self.pass,
            stands_for: &stands_for,
            op: OpName::onnx("Relu"),
            attrs: Attrs::new(),
            inputs: &[Some(input)],
        };
        scope.exchange(node, made, output)
    }

    /// Scales and zero points of a grid for every channel.
    fn channels(
        &mut self,
        scope: &mut Scope<'_>,
        name: &str,
        scale: &Scale,
        factors: &[f64],
    ) -> Result<(ValueId, ValueId), IrError> {
        let grid = scale.grid;
        let steps: Vec<f32> = factors.iter().map(|f| usable(f64::from(grid.scale) * f)).collect();
        let zeros = scale.zeros.clone().unwrap_or_else(|| vec![grid.zero_point; steps.len()]);
        let step = scope.add_constant(&format!("{name}_channel_scales"), TensorData::vector(&steps))?;
        let zeros = integers(grid.dtype, &[steps.len() as u64], &zeros);
        Ok((step, scope.add_constant(&format!("{name}_channel_zero_points"), zeros)?))
    }

    /// Lets a slot of an operator read integers through a `DequantizeLinear`. The constant that it read keeps its name,
    /// as the result, where nothing else reads it.
    pub fn constant(
        &mut self,
        scope: &mut Scope<'_>,
        (node, slot): (NodeId, usize),
        codes: TensorData,
        scale: TensorData,
        zero: Option<TensorData>,
        attrs: Attrs,
    ) -> Result<(), IrError> {
        let Some(old) = scope.graph.node_input(node, slot) else { return Ok(()) };
        let name = scope.graph.value(old).name.clone();
        let codes = scope.add_constant(&format!("{name}_quantized"), codes)?;
        let scale = scope.add_constant(&format!("{name}_scale"), scale)?;
        let zero = zero.map(|zero| scope.add_constant(&format!("{name}_zero_point"), zero)).transpose()?;
        let inputs = [Some(codes), Some(scale), zero];
        let op = NewOp {
            pass: self.pass,
            stands_for: &[node],
            op: OpName::onnx("DequantizeLinear"),
            attrs,
            inputs: &inputs,
        };
        if scope.graph.use_count(old) == 1 && !scope.graph.is_pinned(old) && !scope.graph.is_input(old) {
            scope.clear_constant(old);
            scope.produce(op, old)?;
            return Ok(());
        }
        let back = scope.append(op, &format!("{name}_dequantized"))?;
        scope.feed(node, slot, back)
    }

    /// Gives a layer an input that it lacks, for [`Placer::constant`] to fill.
    pub fn lacking(
        &mut self,
        scope: &mut Scope<'_>,
        (node, slot): (NodeId, usize),
        name: &str,
    ) -> Result<(), IrError> {
        let value = scope.add_constant(name, TensorData::scalar(0f32))?;
        scope.feed(node, slot, value)
    }

    /// The scale and zero point of a grid as constants.
    fn grid(&mut self, scope: &mut Scope<'_>, name: &str, grid: Grid) -> Result<(ValueId, ValueId), IrError> {
        let key = (grid.scale.to_bits(), grid.zero_point, grid.dtype.code());
        if let Some(&known) = self.grids.get(&key) {
            return Ok(known);
        }
        let scale = scope.add_constant(&format!("{name}_scale"), TensorData::scalar(grid.scale))?;
        let zero = scope.add_constant(&format!("{name}_zero_point"), grid.zero())?;
        self.grids.insert(key, (scale, zero));
        Ok((scale, zero))
    }
}
