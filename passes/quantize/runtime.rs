//! Operators on integers whose activations are quantized while the model runs.

use std::collections::BTreeMap;

use crate::prelude::*;

use super::place::Stored;
use super::sites::{Kind, Reader, Site, View};

/// What every operator of a graph that reads an activation computes with.
struct Activation {
    /// Who reads it so.
    readers: Vec<NodeId>,
    /// Codes, scale and zero point; nothing as long as nobody asked for them.
    made: Vec<ValueId>,
}

/// Puts operators on integers into a graph: `DynamicQuantizeLinear` once for every activation; for each operator the sums
/// of products as int32, which become floats, times the product of the scales, plus the bias.
///
/// onnxruntime makes one operator of a matrix product with all that follows, where the scale of the activation is the first
/// operand of its `Mul`, and the bias the second of its `Add`.
pub(super) struct Runtime {
    pass: &'static str,
    activations: BTreeMap<ValueId, Activation>,
}

/// A weight, as an operator reads it.
struct Operand {
    codes: ValueId,
    scale: ValueId,
    zero: Option<ValueId>,
}

impl Runtime {
    /// For the readers of some weights.
    pub fn new(pass: &'static str, sites: &[Site]) -> Self {
        let mut activations: BTreeMap<ValueId, Activation> = BTreeMap::new();
        for reader in sites.iter().flat_map(|site| &site.readers) {
            let none = || Activation { readers: Vec::new(), made: Vec::new() };
            activations.entry(reader.input).or_insert_with(none).readers.push(reader.node);
        }
        Self { pass, activations }
    }

    /// Lets all readers of a weight read its integers.
    pub fn place(&mut self, scope: &mut Scope<'_>, site: &Site, stored: Stored) -> Result<(), IrError> {
        let name = scope.graph.value(site.value).name.clone();
        let rank = scope.graph.constant(site.value).map_or(0, TensorData::rank);
        let codes = scope.add_constant(&format!("{name}_quantized"), stored.codes)?;
        let zero =
            stored.zero.map(|zero| scope.add_constant(&format!("{name}_zero_point"), zero)).transpose()?;
        let mut scales: BTreeMap<u32, ValueId> = BTreeMap::new();
        for reader in &site.readers {
            let alpha = factor(scope.graph, reader.node, "alpha");
            let scale = if let Some(&known) = scales.get(&alpha.to_bits()) {
                known
            } else {
                let scale = stored.scale.map_f64(|_, step| step * f64::from(alpha));
                let scale = by_channel(scale.unwrap_or_else(|| stored.scale.clone()), site.view, rank);
                let value = scope.add_constant(&format!("{name}_scale"), scale)?;
                scales.insert(alpha.to_bits(), value);
                value
            };
            self.operator(scope, (site.view, rank), reader, &Operand { codes, scale, zero })?;
        }
        scope.remove_if_dead(site.value);
        Ok(())
    }

    /// Puts operators in the place of one that reads floats.
    fn operator(
        &mut self,
        scope: &mut Scope<'_>,
        (view, rank): (View, usize),
        reader: &Reader,
        weight: &Operand,
    ) -> Result<(), IrError> {
        let Some(output) = scope.graph.node_output(reader.node, 0) else { return Ok(()) };
        let name = scope.graph.value(output).name.clone();
        let seen = self.activation(scope, reader.input)?;
        let [codes, scale, zero] = seen[..] else { return Ok(()) };
        let old = scope.graph.node_input(reader.node, BIAS);
        let bias = bias(scope, (view, rank), reader)?;
        let (op, attrs) = if view.kind == Kind::Conv {
            ("ConvInteger", scope.graph.node(reader.node).attrs.clone())
        } else {
            ("MatMulInteger", Attrs::new())
        };
        let stands_for = [reader.node];
        let new = |op: &str, attrs| NewOp {
            pass: self.pass,
            stands_for: &stands_for,
            op: OpName::onnx(op),
            attrs,
            inputs: &[],
        };
        let inputs = [Some(codes), Some(weight.codes), Some(zero), weight.zero];
        let sums = scope.append(NewOp { inputs: &inputs, ..new(op, attrs) }, &format!("{name}_sums"))?;
        let cast = new("Cast", Attrs::new().with("to", i64::from(DType::Float.code())));
        let floats = scope.append(NewOp { inputs: &[Some(sums)], ..cast }, &format!("{name}_floats"))?;
        let inputs = [Some(scale), Some(weight.scale)];
        let steps = NewOp { inputs: &inputs, ..new("Mul", Attrs::new()) };
        let steps = scope.append(steps, &format!("{name}_scale"))?;
        let inputs = [Some(floats), Some(steps)];
        let product = NewOp { inputs: &inputs, ..new("Mul", Attrs::new()) };
        if let Some(bias) = bias {
            let product = scope.append(product, &format!("{name}_product"))?;
            let inputs = [Some(product), Some(bias)];
            scope.exchange(reader.node, NewOp { inputs: &inputs, ..new("Add", Attrs::new()) }, output)?;
        } else {
            scope.exchange(reader.node, product, output)?;
            put_second(scope, reader)?;
        }
        old.into_iter().for_each(|v| {
            scope.remove_if_dead(v);
        });
        Ok(())
    }

    /// Codes, scale and zero point of an activation.
    fn activation(&mut self, scope: &mut Scope<'_>, value: ValueId) -> Result<Vec<ValueId>, IrError> {
        let Some(activation) = self.activations.get_mut(&value) else { return Ok(Vec::new()) };
        if activation.made.is_empty() {
            let name = scope.graph.value(value).name.clone();
            let wishes = ["quantized", "scale", "zero_point"].map(|what| format!("{name}_{what}"));
            let new = NewOp {
                pass: self.pass,
                stands_for: &activation.readers,
                op: OpName::onnx("DynamicQuantizeLinear"),
                attrs: Attrs::new(),
                inputs: &[Some(value)],
            };
            activation.made = scope.append_all(new, &wishes)?;
        }
        Ok(activation.made.clone())
    }
}

/// The slot of the bias of `Conv` and `Gemm`.
const BIAS: usize = 2;

/// A factor of a `Gemm`.
pub(super) fn factor(graph: &Graph, node: NodeId, name: &str) -> f32 {
    graph.node(node).attrs.float(name).unwrap_or(1.0)
}

/// A list by output channel, with the dims that lay it along the channels of a result.
fn by_channel(list: TensorData, view: View, rank: usize) -> TensorData {
    if view.kind != Kind::Conv || list.rank() != 1 {
        return list;
    }
    let dims: Vec<u64> =
        list.dims().iter().copied().chain(std::iter::repeat_n(1, rank.saturating_sub(2))).collect();
    list.with_dims(&dims).unwrap_or(list)
}

/// What is to be added to the products of an operator.
fn bias(
    scope: &mut Scope<'_>,
    (view, rank): (View, usize),
    reader: &Reader,
) -> Result<Option<ValueId>, IrError> {
    let beta = factor(scope.graph, reader.node, "beta");
    let Some(value) = scope.graph.node_input(reader.node, BIAS).filter(|_| beta.abs() > 0.0) else {
        return Ok(None);
    };
    let Some(data) = scope.graph.constant(value) else { return Ok(Some(value)) };
    let scaled = if beta.to_bits() == 1f32.to_bits() {
        data.clone()
    } else {
        data.map_f64(|_, x| x * f64::from(beta)).unwrap_or_else(|| data.clone())
    };
    let made = by_channel(scaled, view, rank);
    if made.dims() == data.dims() && made.same_data(data) {
        return Ok(Some(value));
    }
    let name = scope.graph.value(value).name.clone();
    scope.add_constant(&name, made).map(Some)
}

/// Lets the `Add` after a product read its constant second.
fn put_second(scope: &mut Scope<'_>, reader: &Reader) -> Result<(), IrError> {
    let Some((add, 0)) = reader.bias else { return Ok(()) };
    if let (Some(bias), Some(product)) = (scope.graph.node_input(add, 0), scope.graph.node_input(add, 1)) {
        scope.feed(add, 0, product)?;
        scope.feed(add, 1, bias)?;
    }
    Ok(())
}
