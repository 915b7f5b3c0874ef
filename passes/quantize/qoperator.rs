//! Operators on codes, in the place of operators on floats between `DequantizeLinear` and `QuantizeLinear`.

use crate::prelude::*;

use super::codes::{bounds, integers, nearest};
use super::pairs::{Editor, Params, Spread, made_by, only_reader};
use super::qtable::{FLOATS, KEEPING, Row, Slot, TABLE};

/// How quantized operators are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// As operators on floats between `DequantizeLinear` and `QuantizeLinear`.
    #[default]
    Qdq,
    /// As operators on codes, such as `QLinearConv`.
    QOperator,
}

/// Codes that an operator reads as floats, and how.
struct Input {
    codes: ValueId,
    scale: ValueId,
    zero: Option<ValueId>,
    params: Params,
}

/// Where the floats of an operator become codes.
struct Target {
    quantize: NodeId,
    params: Params,
    /// A `Relu` or `Clip` before that, and the codes at which it cuts, where they are not the last ones anyway.
    cut: Option<(NodeId, Option<i64>, Option<i64>)>,
}

/// The bias of an operator, as int32 on the scale of the products.
enum Bias {
    /// It is there.
    Stored(ValueId),
    /// It is to be rounded.
    Rounded(String, TensorData),
}

/// An operator that is to be written on codes.
struct Site {
    node: NodeId,
    inputs: Vec<Input>,
    bias: Option<Bias>,
    /// Nothing where it gives floats.
    target: Option<Target>,
}

/// Writes a quantized graph on codes; where there is no such operator, it stays as it is. `own`: onnxruntime's may be used.
/// The summary says what stays though it has a form on codes.
pub(super) fn write_on_codes(
    editor: &mut Editor<'_, '_, '_>,
    own: bool,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    editor.keep_codes()?;
    editor.drop_round_trips()?;
    for node in editor.order()? {
        if !editor.scope.graph.contains_node(node) {
            continue;
        }
        match find(editor.scope.graph, node, own) {
            Ok((row, site)) => editor.write(row, &site)?,
            Err(skip) => summary.leave(skip),
        }
    }
    Ok(())
}

/// The operator on codes that a node can be.
fn find(graph: &Graph, id: NodeId, own: bool) -> Result<(&'static Row, Site), Skip> {
    let node = graph.node(id);
    let is = |row: &&Row| node.is(row.op);
    let plain = TABLE.iter().find(is).ok_or_else(Skip::no_concern)?;
    let count = if plain.reads_all() { node.input_count() } else { plain.inputs() };
    let inputs: Option<Vec<Input>> =
        (0..count).map(|slot| Input::of(graph, graph.node_input(id, slot)?)).collect();
    let inputs = inputs.ok_or_else(Skip::no_concern)?;
    let output = graph.node_output(id, 0).ok_or_else(Skip::no_concern)?;
    let target = Target::of(graph, output);
    let row = match &target {
        Some(_) => plain,
        None => FLOATS.iter().find(is).ok_or_else(Skip::no_concern)?,
    };
    Skip::unless(own || row.domain.is_empty(), "the profile lacks onnxruntime's operators on codes")?;
    let bias = if row.slots.contains(&Slot::Bias) { Bias::of(graph, id, &inputs)? } else { None };
    let site = Site { node: id, inputs, bias, target };
    Skip::unless(site.has_types(graph), "its operator on codes lacks these types")?;
    Skip::unless(site.has_scales(graph), "its operator on codes lacks scales along this axis")?;
    Skip::unless(row.suits(node), "its operator on codes lacks one of its attributes")?;
    Ok((row, site))
}

impl Input {
    fn of(graph: &Graph, value: ValueId) -> Option<Self> {
        let back = made_by(graph, value, "DequantizeLinear")?;
        let params = Params::of(graph, back)?;
        let (codes, scale) = (graph.node_input(back, 0)?, graph.node_input(back, 1)?);
        Some(Self { codes, scale, zero: graph.node_input(back, 2), params })
    }
}

impl Target {
    /// Where a result becomes codes on one grid, if nothing else reads it.
    fn of(graph: &Graph, result: ValueId) -> Option<Self> {
        let first = only_reader(graph, result)?;
        let cuts = ["Clip", "Relu"].iter().any(|op| graph.node(first).is(op));
        let (cut, quantize) = if cuts {
            (Some(first), only_reader(graph, graph.node_output(first, 0)?)?)
        } else {
            (None, first)
        };
        let params = Params::of(graph, quantize).filter(|p| p.spread == Spread::Tensor)?;
        let cut = match cut {
            Some(node) => Some(ends(graph, node, &params).map(|(low, high)| (node, low, high))?),
            None => None,
        };
        graph.node(quantize).is("QuantizeLinear").then_some(Self { quantize, params, cut })
    }
}

/// The codes at which a `Relu` or `Clip` cuts, where they are not the last ones anyway; `None` where that is not constant.
fn ends(graph: &Graph, node: NodeId, params: &Params) -> Option<(Option<i64>, Option<i64>)> {
    let (least, most) = bounds(params.codes);
    let bound = |slot: usize| match graph.node_input(node, slot) {
        None => Some(None),
        Some(value) => Some(Some(params.code(graph.constant(value)?.to_f64()?, 0)?)),
    };
    let (low, high) =
        if graph.node(node).is("Relu") { (params.code(0.0, 0), None) } else { (bound(1)?, bound(2)?) };
    Some((low.filter(|&low| low > least), high.filter(|&high| high < most)))
}

impl Bias {
    /// That of an operator with two quantized inputs; it may have none.
    fn of(graph: &Graph, id: NodeId, inputs: &[Input]) -> Result<Option<Self>, Skip> {
        let Some(value) = graph.node_input(id, 2) else { return Ok(None) };
        let [x, w] = inputs else { return Err(Skip::no_concern()) };
        let x = x.params.scales.first().copied().unwrap_or(1.0) as f32;
        let steps: Vec<f32> = w.params.scales.iter().map(|&w| x * w as f32).collect();
        let back = made_by(graph, value, "DequantizeLinear");
        let stored = back.and_then(|b| Some((graph.node_input(b, 0)?, Params::of(graph, b)?)));
        let items = match &stored {
            Some((codes, params)) => {
                let same = params.scales.len() == steps.len()
                    && params.scales.iter().zip(&steps).all(|(&a, &b)| (a as f32).to_bits() == b.to_bits());
                if same && params.codes == DType::Int32 && params.zeros.iter().all(|&z| z == 0) {
                    return Ok(Some(Self::Stored(*codes)));
                }
                let items =
                    graph.constant(*codes).and_then(TensorData::to_i64s).ok_or_else(Skip::no_concern)?;
                let at = |list: usize, at: usize| if list == 1 { 0 } else { at };
                let (scales, zeros) = (&params.scales, &params.zeros);
                let float = |(k, &c): (usize, &i64)| {
                    Some((c - zeros.get(at(zeros.len(), k))?) as f64 * scales.get(at(scales.len(), k))?)
                };
                items.iter().enumerate().map(float).collect::<Option<Vec<f64>>>()
            }
            None => graph.constant(value).filter(|b| b.rank() == 1).and_then(TensorData::to_f64s),
        };
        let items = items.ok_or_else(Skip::no_concern)?;
        let step = |at: usize| if steps.len() == 1 { steps.first() } else { steps.get(at) };
        let range = bounds(DType::Int32);
        let codes: Option<Vec<i32>> =
            items.iter().enumerate().map(|(at, &b)| Some(nearest(b, *step(at)?, range))).collect();
        let codes = codes.ok_or_else(Skip::no_concern)?;
        let name = format!("{}_quantized", graph.value(value).name);
        Ok(Some(Self::Rounded(name, integers(DType::Int32, &[codes.len() as u64], &codes))))
    }
}

impl Site {
    /// Whether all codes have 8 bits and the same type, but for weights, which may be signed where activations are not.
    fn has_types(&self, graph: &Graph) -> bool {
        let Some(first) = self.inputs.first().map(|x| x.params.codes) else { return false };
        let multiplies = ["Conv", "Gemm", "MatMul"].iter().any(|op| graph.node(self.node).is(op));
        let bytes = matches!(first, DType::Uint8 | DType::Int8);
        let fits = |input: &Input| {
            let codes = input.params.codes;
            let weight = multiplies && first == DType::Uint8 && codes == DType::Int8;
            input.params.floats == DType::Float && (codes == first || weight)
        };
        bytes && self.inputs.iter().all(fits) && self.target.as_ref().is_none_or(|t| t.params.codes == first)
    }

    /// Whether every input has one scale, or the weight one for every output channel.
    fn has_scales(&self, graph: &Graph) -> bool {
        let node = graph.node(self.node);
        let fits = |(slot, input): (usize, &Input)| match input.params.spread {
            Spread::Tensor => true,
            Spread::Axis(axis) if slot == 1 => {
                let rank = graph.constant(input.codes).map(TensorData::rank);
                let wanted = match &*node.op.name {
                    "Conv" => Some(0),
                    "Gemm" => Some(i64::from(node.attrs.int("transB").unwrap_or(0) == 0)),
                    "MatMul" if rank == Some(2) => Some(1),
                    _ => None,
                };
                rank.is_some_and(|rank| wanted == Some(axis.rem_euclid(rank.max(1) as i64)))
            }
            _ => false,
        };
        self.inputs.iter().enumerate().all(fits)
    }
}

impl Editor<'_, '_, '_> {
    /// Lets operators that keep elements as they are work on codes, where what they make becomes codes on the same grid.
    fn keep_codes(&mut self) -> anyhow::Result<()> {
        for node in self.order()? {
            let graph = &*self.scope.graph;
            if !graph.contains_node(node) {
                continue;
            }
            let (Some(value), Some(output)) = (graph.node_input(node, 0), graph.node_output(node, 0)) else {
                continue;
            };
            let Some(input) = Input::of(graph, value).filter(|_| keeps(graph, node)) else { continue };
            let whole = input.params.spread == Spread::Tensor && input.params.survives_floats();
            if !whole || !becomes_codes(graph, output, &input.params) {
                continue;
            }
            let op = graph.node(node).op.clone();
            let attrs = graph.node(node).attrs.clone();
            let mut inputs = graph.node_inputs(node);
            if let Some(first) = inputs.first_mut() {
                *first = Some(input.codes);
            }
            let name = graph.value(output).name.clone();
            let old = self.scope.detach(output, &format!("{name}_old"))?;
            let new = NewOp { pass: self.pass, stands_for: &[node], op, attrs, inputs: &inputs };
            let codes = self.scope.append(new, &format!("{name}_quantized"))?;
            let inputs = [Some(codes), Some(input.scale), input.zero];
            let op = OpName::onnx("DequantizeLinear");
            let back =
                NewOp { pass: self.pass, stands_for: &[node], op, attrs: Attrs::new(), inputs: &inputs };
            self.scope.produce(back, output)?;
            old.into_iter().for_each(|old| self.bury(old));
        }
        Ok(())
    }

    /// Puts an operator on codes in the place of one on floats and of what is around it.
    fn write(&mut self, row: &Row, site: &Site) -> Result<(), IrError> {
        let graph = &*self.scope.graph;
        let Some(result) = graph.node_output(site.node, 0) else { return Ok(()) };
        let floats: Vec<ValueId> = graph.node_inputs(site.node).into_iter().flatten().collect();
        let attrs = row.attrs(graph.node(site.node));
        let inputs = self.slots(row, site)?;
        let cut = site.target.as_ref().and_then(|t| t.cut);
        let stands_for: Vec<NodeId> = [Some(site.node), cut.map(|(n, ..)| n)].into_iter().flatten().collect();
        let op = OpName::new(row.domain, row.name);
        let new = NewOp { pass: self.pass, stands_for: &stands_for, op, attrs, inputs: &inputs };
        let mut left = floats;
        if let Some(target) = &site.target {
            let Some(codes) = self.scope.graph.node_output(target.quantize, 0) else { return Ok(()) };
            let made = self.cut(target, codes, &stands_for)?;
            self.scope.exchange(site.node, new, made)?;
            left.extend(cut.and_then(|(n, ..)| self.scope.graph.node_output(n, 0)));
            cut.into_iter().for_each(|(n, ..)| self.scope.remove_node(n));
            left.push(result);
        } else {
            self.scope.exchange(site.node, new, result)?;
        }
        left.into_iter().for_each(|v| self.bury(v));
        Ok(())
    }

    /// Takes a `QuantizeLinear` away. Returns the value of codes that is to be made: that which it made, or where a
    /// `Clip` has to cut codes, what this reads.
    fn cut(&mut self, target: &Target, codes: ValueId, stands_for: &[NodeId]) -> Result<ValueId, IrError> {
        let (low, high) = target.cut.map_or((None, None), |(_, low, high)| (low, high));
        if low.is_none() && high.is_none() {
            self.scope.remove_node(target.quantize);
            return Ok(codes);
        }
        let name = self.scope.graph.value(codes).name.clone();
        let mut end = |code: Option<i64>, which: &str| {
            let tensor = code.map(|code| integers(target.params.codes, &[], &[code as i32]));
            tensor.map(|tensor| self.scope.add_constant(&format!("{name}_{which}"), tensor)).transpose()
        };
        let (low, high) = (end(low, "low")?, end(high, "high")?);
        let uncut = self.scope.add_value(&format!("{name}_uncut"))?;
        let inputs = [Some(uncut), low, high];
        let (op, attrs) = (OpName::onnx("Clip"), Attrs::new());
        let clip = NewOp { pass: self.pass, stands_for, op, attrs, inputs: &inputs };
        self.scope.exchange(target.quantize, clip, codes)?;
        Ok(uncut)
    }

    /// The inputs of an operator on codes.
    fn slots(&mut self, row: &Row, site: &Site) -> Result<Vec<Option<ValueId>>, IrError> {
        let zero = |input: &Input| self.zero(input.zero, (input.scale, input.params.codes));
        let zeros: Vec<ValueId> = site.inputs.iter().map(zero).collect::<Result<_, _>>()?;
        let bias = match &site.bias {
            Some(Bias::Stored(codes)) => Some(*codes),
            Some(Bias::Rounded(name, codes)) => Some(self.scope.add_constant(name, codes.clone())?),
            None => None,
        };
        let result = match &site.target {
            Some(target) => {
                let slot = |slot| self.scope.graph.node_input(target.quantize, slot);
                let (scale, zero) = (slot(1), slot(2));
                let zero = scale.map(|scale| self.zero(zero, (scale, target.params.codes))).transpose()?;
                [scale, zero]
            }
            None => [None, None],
        };
        let mut inputs = Vec::new();
        for part in row.slots {
            match *part {
                Slot::Codes(at) => inputs.push(Some(site.inputs[at].codes)),
                Slot::Scale(at) => inputs.push(Some(site.inputs[at].scale)),
                Slot::Zero(at) => inputs.push(Some(zeros[at])),
                Slot::Bias => inputs.push(bias),
                Slot::Result => inputs.extend(result),
                Slot::All => {
                    for (input, &zero) in site.inputs.iter().zip(&zeros) {
                        inputs.extend([Some(input.codes), Some(input.scale), Some(zero)]);
                    }
                }
            }
        }
        while inputs.last() == Some(&None) {
            inputs.pop();
        }
        Ok(inputs)
    }

    /// A zero point, written down.
    fn zero(&mut self, zero: Option<ValueId>, (scale, codes): (ValueId, DType)) -> Result<ValueId, IrError> {
        if let Some(zero) = zero {
            return Ok(zero);
        }
        let graph = &*self.scope.graph;
        let dims = graph.constant(scale).map_or_else(Vec::new, |s| s.dims().to_vec());
        let count = dims.iter().product::<u64>() as usize;
        let name = format!("{}_zero_point", graph.value(scale).name);
        self.scope.add_constant(&name, integers(codes, &dims, &vec![0; count]))
    }
}

/// Whether an operator gives elements of its first input and nothing else.
fn keeps(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let nearest = !node.is("Resize") || node.attrs.str("mode").unwrap_or("nearest") == "nearest";
    let alone = graph.node_outputs(id).iter().skip(1).all(Option::is_none);
    KEEPING.iter().any(|op| node.is(op)) && nearest && alone
}

/// Whether all that reads a value makes codes of it on a grid, perhaps behind operators that keep elements as they are.
fn becomes_codes(graph: &Graph, value: ValueId, on: &Params) -> bool {
    let uses = graph.uses(value);
    let reads = |&(node, slot): &(NodeId, Option<usize>)| {
        let quantizes = graph.node(node).is("QuantizeLinear");
        slot == Some(0)
            && ((quantizes && Params::of(graph, node).as_ref() == Some(on))
                || (keeps(graph, node)
                    && graph.node_output(node, 0).is_some_and(|v| becomes_codes(graph, v, on))))
    };
    !uses.is_empty() && !graph.is_pinned(value) && uses.iter().all(reads)
}
