//! `QuantizeLinear` and `DequantizeLinear` as a model has them: their parameters, and changing what is around them.

use crate::prelude::*;

/// What a `QuantizeLinear` or `DequantizeLinear` with constant parameters computes with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Params {
    /// The scales, in the order of their tensor.
    pub scales: Vec<f64>,
    /// As many zero points.
    pub zeros: Vec<i64>,
    /// The integer type.
    pub codes: DType,
    /// The float type.
    pub floats: DType,
    /// Which elements have which scale.
    pub spread: Spread,
}

/// Which elements have which scale.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Spread {
    /// All have the same.
    Tensor,
    /// Each index of this axis has its own.
    Axis(i64),
    /// Each block of an axis has its own.
    Blocks { axis: i64, size: i64, dims: Vec<u64> },
}

impl Params {
    /// Those of a node; `None` where it is none of the two operators, or they are not constant.
    pub fn of(graph: &Graph, id: NodeId) -> Option<Self> {
        let node = graph.node(id);
        let quantizes = node.is("QuantizeLinear");
        if !quantizes && !node.is("DequantizeLinear") {
            return None;
        }
        let scale = graph.constant_input(id, 1)?;
        let scales = scale.to_f64s()?;
        let (zeros, codes) = match graph.node_input(id, 2) {
            Some(zero) => {
                let zero = graph.constant(zero)?;
                (zero.to_i64s()?, zero.dtype())
            }
            None => (vec![0; scales.len()], codes_of(graph, id)?),
        };
        let int = |name: &str| node.attrs.int(name).unwrap_or(0);
        let floats = scale.dtype();
        let widened = int("precision") != 0 || (!quantizes && int("output_dtype") != 0);
        let plain = !widened || (!quantizes && int("output_dtype") == i64::from(floats.code()));
        let axis = node.attrs.int("axis").unwrap_or(1);
        let spread = match int("block_size") {
            0 if scale.len() == 1 && scale.rank() <= 1 => Spread::Tensor,
            0 => Spread::Axis(axis),
            size => Spread::Blocks { axis, size, dims: scale.dims().to_vec() },
        };
        let fits = zeros.len() == scales.len() && codes.is_int() && plain;
        fits.then_some(Self { scales, zeros, codes, floats, spread })
    }

    /// Scale and zero point of a whole tensor.
    pub fn of_tensor(&self) -> Option<(f64, i64)> {
        let first = || Some((*self.scales.first()?, *self.zeros.first()?));
        first().filter(|_| self.spread == Spread::Tensor)
    }

    /// The code of a float: what the kernel of `QuantizeLinear` makes of a finite one.
    pub fn code(&self, x: f64, at: usize) -> Option<i64> {
        let (scale, zero) = (*self.scales.get(at)? as f32, *self.zeros.get(at)?);
        let steps = (self.floats == DType::Float).then(|| (x as f32 / scale).round_ties_even())?;
        let (low, high) = range(self.codes);
        (!steps.is_nan()).then(|| (steps as i64).saturating_add(zero).clamp(low, high))
    }

    /// Whether every code, turned into a float and back, is the same code.
    pub fn survives_floats(&self) -> bool {
        let (low, high) = range(self.codes);
        let narrow = self.codes.bits() <= 16 && self.floats == DType::Float;
        let widest = |zero: i64| (high.saturating_sub(zero)).max(zero.saturating_sub(low)) as f64;
        let sound = |(&scale, &zero): (&f64, &i64)| {
            (scale as f32).is_normal() && scale > 0.0 && ((scale * widest(zero)) as f32).is_finite()
        };
        narrow && self.scales.iter().zip(&self.zeros).all(sound)
    }
}

/// The integer type of the codes of a node without a zero point.
fn codes_of(graph: &Graph, id: NodeId) -> Option<DType> {
    let node = graph.node(id);
    if node.is("QuantizeLinear") {
        let asked = node.attrs.int("output_dtype").filter(|&code| code != 0);
        return asked.map_or(Some(DType::Uint8), |code| DType::from_code(i32::try_from(code).ok()?));
    }
    let codes = graph.node_input(id, 0)?;
    if let Some(data) = graph.constant(codes) {
        return Some(data.dtype());
    }
    let (producer, _) = graph.producer(codes)?;
    graph.node(producer).is("QuantizeLinear").then(|| Params::of(graph, producer)).flatten().map(|p| p.codes)
}

/// The smallest and the largest code of an integer type of up to 32 bits.
pub(super) fn range(codes: DType) -> (i64, i64) {
    let bits = codes.bits().min(32);
    if codes.is_signed_int() { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

/// Codes of any integer type of up to 32 bits as a tensor.
pub(super) fn tensor(codes: DType, dims: &[u64], items: &[i64]) -> Option<TensorData> {
    let bits = codes.bits();
    let bytes: Vec<u8> = if bits >= 8 {
        items.iter().flat_map(|x| x.to_le_bytes().into_iter().take((bits / 8) as usize)).collect()
    } else {
        let mask = (1u8 << bits) - 1;
        let place = |at: usize, x: &i64| (*x as u8 & mask) << (at as u64 * bits);
        items
            .chunks((8 / bits) as usize)
            .map(|byte| byte.iter().enumerate().fold(0, |all, (at, x)| all | place(at, x)))
            .collect()
    };
    TensorData::new(codes, dims, bytes).ok()
}

/// The node of this operator that makes a value.
pub(super) fn made_by(graph: &Graph, value: ValueId, op: &str) -> Option<NodeId> {
    graph.producer(value).filter(|&(n, slot)| slot == 0 && graph.node(n).is(op)).map(|(n, _)| n)
}

/// The one node that reads a value, in its first slot, where nothing else holds on to it.
pub(super) fn only_reader(graph: &Graph, value: ValueId) -> Option<NodeId> {
    let [(reader, Some(0))] = graph.uses(value)[..] else { return None };
    (!graph.is_pinned(value)).then_some(reader)
}

/// One graph that is changed, with what is counted.
pub(super) struct Editor<'e, 'g, 'c> {
    /// The graph.
    pub scope: &'e mut Scope<'g>,
    /// What the step may do.
    pub cx: &'e PassContext<'c>,
    /// What it did.
    pub summary: &'e mut Summary,
    /// The pass.
    pub pass: &'static str,
}

impl Editor<'_, '_, '_> {
    /// The nodes in topological order. On the way some may go.
    pub fn order(&self) -> Result<Vec<NodeId>, IrError> {
        self.scope.graph.order()
    }

    /// Counts a change, or why there was none.
    pub fn count(&mut self, outcome: Result<(), Skip>) {
        match outcome {
            Ok(()) => self.summary.applied += 1,
            Err(skip) => self.summary.leave(skip),
        }
    }

    /// Whether the step may change these nodes.
    pub fn may(&self, nodes: &[NodeId]) -> bool {
        self.cx.may_change(self.scope.graph, nodes)
    }

    /// The first output of a node on constants.
    pub fn evaluate(&self, id: NodeId, inputs: &[Option<&TensorData>]) -> Option<TensorData> {
        let node = self.scope.graph.node(id);
        let call = NodeCall {
            op: &node.op,
            attrs: &node.attrs,
            inputs,
            outputs: &[true],
            limit: self.cx.limits.tensor,
        };
        self.cx.evaluate(&call).ok()?.into_iter().next()
    }

    /// A node's first output, where its first input is this and the others are constant.
    pub fn evaluate_on(&self, id: NodeId, first: &TensorData) -> Option<TensorData> {
        let graph = &*self.scope.graph;
        let rest = graph.node_inputs(id).into_iter().skip(1);
        let rest: Option<Vec<Option<&TensorData>>> =
            rest.map(|v| v.map_or(Some(None), |v| graph.constant(v).map(Some))).collect();
        let inputs: Vec<Option<&TensorData>> = [Some(first)].into_iter().chain(rest?).collect();
        self.evaluate(id, &inputs)
    }

    /// Adds an operator that stands for others, with a new result.
    pub fn append(&mut self, new: New<'_>, wish: &str) -> Result<ValueId, IrError> {
        let new = new.op(self.pass);
        self.scope.append(new, wish)
    }

    /// Adds an operator that stands for others, with a result that nothing makes yet.
    pub fn produce(&mut self, new: New<'_>, output: ValueId) -> Result<(), IrError> {
        let new = new.op(self.pass);
        self.scope.produce(new, output).map(|_| ())
    }

    /// Puts an operator in the place of another, whose result it makes.
    pub fn exchange(&mut self, old: NodeId, new: New<'_>, output: ValueId) -> Result<(), IrError> {
        let new = new.op(self.pass);
        self.scope.exchange(old, new, output)
    }

    /// A constant in the place of one that only the operator reads which reads this one from now on: under the old name
    /// where there is no other reader.
    pub fn renew(&mut self, old: Option<ValueId>, wish: &str, data: TensorData) -> Result<ValueId, IrError> {
        let graph = &*self.scope.graph;
        let Some(old) = old.filter(|&v| graph.constant(v).is_some()) else {
            return self.scope.add_constant(wish, data);
        };
        let value = graph.value(old);
        let free = graph.use_count(old) == 1 && !graph.is_pinned(old) && !value.declared;
        if free && value.origin == Origin::Local {
            self.scope.set_constant(old, data);
            return Ok(old);
        }
        let name = value.name.clone();
        self.scope.add_constant(&name, data)
    }

    /// Removes a value that nothing reads, the node that makes only such values, and what only that node read.
    pub fn bury(&mut self, value: ValueId) {
        let mut waiting = vec![value];
        while let Some(value) = waiting.pop() {
            let graph = &*self.scope.graph;
            if !graph.contains_value(value) || graph.use_count(value) > 0 || graph.is_pinned(value) {
                continue;
            }
            if let Some((node, _)) = graph.producer(value) {
                let outputs = graph.node_outputs(node);
                let needed = |&v: &ValueId| graph.use_count(v) > 0 || graph.is_pinned(v);
                if outputs.iter().flatten().any(needed) {
                    continue;
                }
                waiting.extend(graph.node_inputs(node).into_iter().flatten());
                waiting.extend(graph.captures(node));
                self.scope.remove_node(node);
                outputs.into_iter().flatten().for_each(|v| {
                    self.scope.remove_if_dead(v);
                });
            } else {
                self.scope.remove_if_dead(value);
            }
        }
    }
}

/// An operator of the standard to be added.
pub(super) struct New<'n> {
    /// Its name.
    pub op: &'n str,
    /// Its attributes.
    pub attrs: Attrs,
    /// Its inputs by slot.
    pub inputs: &'n [Option<ValueId>],
    /// The nodes that it stands for.
    pub from: &'n [NodeId],
}

impl<'n> New<'n> {
    fn op(self, pass: &'static str) -> NewOp<'n> {
        NewOp {
            pass,
            stands_for: self.from,
            op: OpName::onnx(self.op),
            attrs: self.attrs,
            inputs: self.inputs,
        }
    }
}
