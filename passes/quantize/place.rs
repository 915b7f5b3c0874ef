//! Putting `QuantizeLinear` and `DequantizeLinear` where runtimes look for them.

use std::collections::BTreeMap;

use crate::prelude::*;

use super::codes::{Grid, integers, usable};
use super::fidelity::{Channel, Pair};
use super::layer::Layer;
use super::plan::Point;
use super::seen::Scale;
use super::turn::Turn;

/// Puts quantized values and constants into a graph.
pub(super) struct Placer {
    /// The pass.
    pub pass: &'static str,
    /// The constants of equal grids, shared.
    grids: BTreeMap<(u32, i32, DTypeKey), (ValueId, ValueId)>,
    /// Constants that are stored as integers, and what comes back from those: readers that agree on the integers share
    /// them.
    stored: BTreeMap<ValueId, Vec<(Stored, ValueId)>>,
    /// For values that are gone, because only what comes back from their codes is read: that, and how its channels were
    /// scaled and shifted.
    stand_ins: BTreeMap<ValueId, (ValueId, usize, Vec<Channel>)>,
}

type DTypeKey = i32;

/// Integers that stand for floats: the inputs and attributes of a `DequantizeLinear`.
#[derive(Clone)]
pub(super) struct Stored {
    /// The integers.
    pub codes: TensorData,
    /// The scale, or the scales.
    pub scale: TensorData,
    /// The zero point, where it is not zero.
    pub zero: Option<TensorData>,
    /// Its attributes.
    pub attrs: Attrs,
}

impl Stored {
    /// How many bytes that takes.
    pub fn bytes(&self) -> u64 {
        self.codes.byte_len() + self.scale.byte_len() + self.zero.as_ref().map_or(0, TensorData::byte_len)
    }

    fn is(&self, other: &Self) -> bool {
        let zeros = match (&self.zero, &other.zero) {
            (Some(a), Some(b)) => a.same_data(b),
            (a, b) => a.is_none() && b.is_none(),
        };
        zeros
            && self.codes.same_data(&other.codes)
            && self.scale.same_data(&other.scale)
            && ["axis", "block_size"].iter().all(|name| self.attrs.int(name) == other.attrs.int(name))
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Quantize,
    Dequantize,
}

/// What an operator of either kind works with: scale and zero point, along an axis where they are lists.
struct On<'n> {
    stands_for: &'n [NodeId],
    grid: (ValueId, ValueId),
    axis: Option<usize>,
}

/// An operator that is about to be added.
struct Made<'n> {
    pass: &'static str,
    stands_for: &'n [NodeId],
    op: OpName,
    attrs: Attrs,
    inputs: [Option<ValueId>; 3],
}

impl Made<'_> {
    fn as_new(&self) -> NewOp<'_> {
        let (op, attrs) = (self.op.clone(), self.attrs.clone());
        NewOp { pass: self.pass, stands_for: self.stands_for, op, attrs, inputs: &self.inputs }
    }
}

impl Placer {
    /// Nothing placed yet.
    pub fn new(pass: &'static str) -> Self {
        Self { pass, grids: BTreeMap::new(), stored: BTreeMap::new(), stand_ins: BTreeMap::new() }
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
        let own = point.axis.filter(|_| scale.factors.is_some());
        let on = |grid: (ValueId, ValueId), axis| On { stands_for: &stands_for, grid, axis };
        if let Some(axis) = own.filter(|_| !takes_over && point.sums.is_some()) {
            return self.sum(scope, value, point, (scale, axis), &on(plain, None));
        }
        let source = if takes_over {
            scope.detach(value, &format!("{name}_unquantized"))?.unwrap_or(value)
        } else {
            value
        };
        let channels = scale.channels();
        // A producer of integers gives what is divided by the factors already.
        let source = match own.filter(|_| !takes_over) {
            Some(axis) => {
                let rank = scope.facts.rank(value).unwrap_or(axis + 1);
                let trailing = rank.saturating_sub(axis + 1);
                let turn = Turn { pass: self.pass, stands_for: &stands_for, channels: &channels, trailing };
                turn.append(scope, source, &name)?
            }
            None => source,
        };
        let quantize = self.node(Kind::Quantize, source, &on(plain, None));
        let codes = scope.append(quantize.as_new(), &format!("{name}_quantized"))?;
        let back = self.node(Kind::Dequantize, codes, &on(plain, None));
        let Some(axis) = own.filter(|_| takes_over) else {
            if takes_over {
                scope.produce(back.as_new(), value)?;
            } else if !point.readers.is_empty() {
                feed(scope, point.readers.iter().copied(), (&back, &name))?;
            }
            return Ok(());
        };
        if point.on_grid().next().is_some() {
            let back = feed(scope, point.on_grid(), (&back, &name))?;
            if scope.graph.use_count(value) == 0 && !scope.graph.is_pinned(value) {
                self.stand_ins.insert(value, (back, axis, channels));
                scope.remove_if_dead(value);
                return Ok(());
            }
        }
        let grid = grids(scope, &name, scale)?;
        scope.produce(self.node(Kind::Dequantize, codes, &on(grid, Some(axis))).as_new(), value)?;
        Ok(())
    }

    /// Quantizes a sum in floats whose operands are divided by the factors of its channels, so that it is too. What reads
    /// it and knows nothing of them gets it multiplied back.
    fn sum(
        &mut self,
        scope: &mut Scope<'_>,
        value: ValueId,
        point: &Point,
        (scale, axis): (&Scale, usize),
        on: &On<'_>,
    ) -> Result<(), IrError> {
        let name = scope.graph.value(value).name.clone();
        let divided = scope.detach(value, &format!("{name}_scaled"))?.unwrap_or(value);
        for &(node, slot) in point.sums.iter().flatten() {
            scope.feed(node, slot, divided)?;
        }
        let codes =
            scope.append(self.node(Kind::Quantize, divided, on).as_new(), &format!("{name}_quantized"))?;
        let back = self.node(Kind::Dequantize, codes, on);
        feed(scope, point.readers.iter().copied(), (&back, &name))?;
        let channels = scale.channels();
        if scope.graph.use_count(value) == 0 && !scope.graph.is_pinned(value) {
            self.stand_ins.insert(value, (divided, axis, channels));
            scope.remove_if_dead(value);
            return Ok(());
        }
        let trailing = scope.facts.rank(value).unwrap_or(axis + 1).saturating_sub(axis + 1);
        let turn = Turn { pass: self.pass, stands_for: on.stands_for, channels: &channels, trailing };
        turn.undo(scope, divided, value)
    }

    /// Where the numbers of a value of the original are now.
    pub fn pair(&self, value: ValueId) -> Pair {
        match self.stand_ins.get(&value) {
            Some((stand_in, axis, channels)) => {
                Pair { before: value, after: *stand_in, channels: Some((*axis, channels.clone())) }
            }
            None => Pair { before: value, after: value, channels: None },
        }
    }

    fn node<'n>(&self, kind: Kind, input: ValueId, on: &On<'n>) -> Made<'n> {
        let op = match kind {
            Kind::Quantize => "QuantizeLinear",
            Kind::Dequantize => "DequantizeLinear",
        };
        let attrs = on.axis.map_or_else(Attrs::new, |axis| Attrs::new().with("axis", axis as i64));
        let inputs = [Some(input), Some(on.grid.0), Some(on.grid.1)];
        Made { pass: self.pass, stands_for: on.stands_for, op: OpName::onnx(op), attrs, inputs }
    }

    /// Lets a slot of an operator read integers through a `DequantizeLinear`. The constant that it read keeps its name,
    /// as the result, where nothing else reads it. Returns how many bytes that adds: none where another reader of the
    /// constant has the same integers.
    pub fn constant(
        &mut self,
        scope: &mut Scope<'_>,
        (node, slot): (NodeId, usize),
        stored: Stored,
    ) -> Result<u64, IrError> {
        let Some(old) = scope.graph.node_input(node, slot) else { return Ok(0) };
        let known = self.stored.get(&old).into_iter().flatten();
        if let Some(&(_, back)) = known.clone().find(|(known, _)| known.is(&stored)) {
            scope.feed(node, slot, back)?;
            scope.remove_if_dead(old);
            return Ok(0);
        }
        let bytes = stored.bytes();
        let name = scope.graph.value(old).name.clone();
        let alone =
            scope.graph.use_count(old) == 1 && !scope.graph.is_pinned(old) && !scope.graph.is_input(old);
        if !alone {
            let back = format!("{name}_dequantized");
            let kept = stored.clone();
            let back = self.stored_as(scope, node, &name, stored, |scope, op| scope.append(op, &back))?;
            scope.feed(node, slot, back)?;
            self.stored.entry(old).or_default().push((kept, back));
            return Ok(bytes);
        }
        self.stored_as(scope, node, &name, stored, |scope, op| {
            scope.clear_constant(old);
            scope.produce(op, old).map(|_| ())
        })?;
        Ok(bytes)
    }

    /// Adds integers and the `DequantizeLinear` that reads them.
    fn stored_as<T>(
        &self,
        scope: &mut Scope<'_>,
        node: NodeId,
        name: &str,
        stored: Stored,
        add: impl FnOnce(&mut Scope<'_>, NewOp<'_>) -> Result<T, IrError>,
    ) -> Result<T, IrError> {
        let Stored { codes, scale, zero, attrs } = stored;
        let codes = scope.add_constant(&format!("{name}_quantized"), codes)?;
        let scale = scope.add_constant(&format!("{name}_scale"), scale)?;
        let zero = zero.map(|zero| scope.add_constant(&format!("{name}_zero_point"), zero)).transpose()?;
        let inputs = [Some(codes), Some(scale), zero];
        let op = OpName::onnx("DequantizeLinear");
        add(scope, NewOp { pass: self.pass, stands_for: &[node], op, attrs, inputs: &inputs })
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

/// Lets readers of a value read what a `DequantizeLinear` makes.
fn feed(
    scope: &mut Scope<'_>,
    mut readers: impl Iterator<Item = (NodeId, usize)>,
    (back, name): (&Made<'_>, &str),
) -> Result<ValueId, IrError> {
    let back = scope.append(back.as_new(), &format!("{name}_dequantized"))?;
    readers.try_for_each(|(node, slot)| scope.feed(node, slot, back))?;
    Ok(back)
}

/// The upper bound of the function after a layer whose channels are scaled is where the quantized range ends.
pub(super) fn unclip(pass: &'static str, scope: &mut Scope<'_>, layer: &Layer) -> Result<(), IrError> {
    let Some(node) = layer.activation.filter(|&n| scope.graph.node(n).is("Clip")) else { return Ok(()) };
    let (Some(input), Some(output)) = (scope.graph.node_input(node, 0), scope.graph.node_output(node, 0))
    else {
        return Ok(());
    };
    let stands_for = [node];
    let made = NewOp {
        pass,
        stands_for: &stands_for,
        op: OpName::onnx("Relu"),
        attrs: Attrs::new(),
        inputs: &[Some(input)],
    };
    scope.exchange(node, made, output)
}

/// Scales and zero points of a grid for every channel.
fn grids(scope: &mut Scope<'_>, name: &str, scale: &Scale) -> Result<(ValueId, ValueId), IrError> {
    let grid = scale.grid;
    let factors = scale.factors.as_deref().unwrap_or_default();
    let steps: Vec<f32> = factors.iter().map(|f| usable(f64::from(grid.scale) * f)).collect();
    let zeros = scale.zeros.clone().unwrap_or_else(|| vec![grid.zero_point; steps.len()]);
    let step = scope.add_constant(&format!("{name}_channel_scales"), TensorData::vector(&steps))?;
    let zeros = integers(grid.dtype, &[steps.len() as u64], &zeros);
    Ok((step, scope.add_constant(&format!("{name}_channel_zero_points"), zeros)?))
}

/// Gives a slot of an operator another constant of floats.
pub(super) fn float(
    scope: &mut Scope<'_>,
    (node, slot): (NodeId, usize),
    data: TensorData,
) -> Result<(), IrError> {
    let Some(old) = scope.graph.node_input(node, slot) else { return Ok(()) };
    let name = scope.graph.value(old).name.clone();
    if scope.graph.use_count(old) == 1 && !scope.graph.is_pinned(old) && !scope.graph.is_input(old) {
        scope.set_constant(old, data);
        return Ok(());
    }
    let value = scope.add_constant(&name, data)?;
    scope.feed(node, slot, value)
}

/// Gives a layer an input that it lacks, for [`Placer::constant`] to fill.
pub(super) fn lacking(
    scope: &mut Scope<'_>,
    (node, slot): (NodeId, usize),
    name: &str,
) -> Result<(), IrError> {
    let value = scope.add_constant(name, TensorData::scalar(0f32))?;
    scope.feed(node, slot, value)
}
