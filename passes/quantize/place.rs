//! Putting `QuantizeLinear` and `DequantizeLinear` where runtimes look for them.

use std::collections::BTreeMap;

use crate::prelude::*;

use super::codes::Grid;
use super::plan::Point;

/// Puts quantized values and constants into a graph.
pub(super) struct Placer {
    /// The pass.
    pub pass: &'static str,
    /// Every quantized value: where its integers are, and their grid.
    pub codes: BTreeMap<ValueId, (ValueId, Grid)>,
    /// The constants of equal grids, shared.
    grids: BTreeMap<(u32, i32, DTypeKey), (ValueId, ValueId)>,
}

type DTypeKey = i32;

impl Placer {
    /// Nothing placed yet.
    pub fn new(pass: &'static str) -> Self {
        Self { pass, codes: BTreeMap::new(), grids: BTreeMap::new() }
    }

    /// Quantizes a value: its integer readers, or all readers where its producer gives integers, read what comes back.
    pub fn point(
        &mut self,
        scope: &mut Scope<'_>,
        value: ValueId,
        point: &Point,
        grid: Grid,
    ) -> Result<(), IrError> {
        let name = scope.graph.value(value).name.clone();
        let producer: Vec<NodeId> = scope.graph.producer(value).map(|(n, _)| n).into_iter().collect();
        let (scale, zero) = self.grid(scope, &name, grid)?;
        let takes_over = point.from_layer && !producer.is_empty();
        let source = match takes_over {
            true => scope.detach(value, &format!("{name}_unquantized"))?.unwrap_or(value),
            false => value,
        };
        let stands_for: Vec<NodeId> =
            if producer.is_empty() { point.readers.iter().map(|r| r.0).take(1).collect() } else { producer };
        let inputs = [Some(source), Some(scale), Some(zero)];
        let new = |op: &str, inputs: &'_ [Option<ValueId>]| -> (OpName, Vec<Option<ValueId>>) {
            (OpName::onnx(op), inputs.to_vec())
        };
        let (op, inputs) = new("QuantizeLinear", &inputs);
        let op = NewOp { pass: self.pass, stands_for: &stands_for, op, attrs: Attrs::new(), inputs: &inputs };
        let codes = scope.append(op, &format!("{name}_quantized"))?;
        self.codes.insert(value, (codes, grid));
        let (op, inputs) = new("DequantizeLinear", &[Some(codes), Some(scale), Some(zero)]);
        let op = NewOp { pass: self.pass, stands_for: &stands_for, op, attrs: Attrs::new(), inputs: &inputs };
        if takes_over {
            scope.produce(op, value)?;
            return Ok(());
        }
        let back = scope.append(op, &format!("{name}_dequantized"))?;
        point.readers.iter().try_for_each(|&(node, slot)| scope.feed(node, slot, back))
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
