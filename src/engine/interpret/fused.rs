//! The groups that onnxruntime computes on integers on x86: `Conv`, `MatMul` and `Gemm` between `DequantizeLinear` and
//! `QuantizeLinear`. Found as it finds them; what it would leave in floats is no group.
//!
//! A group hands on the floats of its codes, so that everything around it runs as it stands.

use std::collections::HashMap;

use super::grid::Grid;
use crate::ir::{DType, Graph, NodeId, TensorData, ValueId};

/// Quantization passes through these in both directions.
const TRANSPARENT: &[&str] =
    &["Dropout", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"];

/// A `Gemm` before one of these becomes one operator with it, in floats.
const WITH_GEMM: &[&str] = &[
    "Elu",
    "HardSigmoid",
    "LeakyRelu",
    "Relu",
    "Selu",
    "Sigmoid",
    "Softplus",
    "Softsign",
    "Tanh",
    "ThresholdedRelu",
];

/// How far the scale of a bias may be from that of the products, as a share of it.
const BIAS_TOLERANCE: f32 = 0.0125;

/// An operator that is computed on integers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) x: Grid,
    pub(super) w: Grid,
    pub(super) bias: Option<Vec<i32>>,
    /// Where its result is quantized.
    pub(super) y: Option<Grid>,
    /// The `Add` of a bias after a `MatMul`.
    pub(super) added: Option<Added>,
}

/// An `Add` after a `MatMul`: onnxruntime makes one `Gemm` of them where it knows the dims.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Added {
    pub(super) node: NodeId,
    /// The input of the `Add` that the product is.
    pub(super) slot: usize,
    /// All dims of the model are fixed.
    pub(super) is_static: bool,
    /// With an integer bias; without, the two are computed in floats.
    pub(super) gemm: Option<(Vec<i32>, Option<Grid>)>,
    /// A `Relu` or `Clip` comes before the quantization.
    pub(super) clipped: bool,
}

/// What is computed on codes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Work {
    /// Sums of products.
    Products(Box<Group>),
    /// An operator between layers: onnxruntime's, the grids of its inputs and that of its result.
    Between(&'static str, Vec<Grid>, Grid),
}

/// The groups of a graph by the operator that computes.
pub(super) fn groups(graph: &Graph) -> HashMap<NodeId, Work> {
    let work = |id| {
        let products = group(graph, id).map(|group| Work::Products(Box::new(group)));
        products.or_else(|| between(graph, id))
    };
    graph.nodes().filter_map(|id| Some((id, work(id)?))).collect()
}

/// `Add`, `GlobalAveragePool`, `Mul` and `Softmax`, which onnxruntime rounds in its own way on codes.
fn between(graph: &Graph, id: NodeId) -> Option<Work> {
    let node = graph.node(id);
    let op = match &*node.op.name {
        "Add" => "QLinearAdd",
        "GlobalAveragePool" => "QLinearGlobalAveragePool",
        "Mul" => "QLinearMul",
        "Softmax" => "QLinearSoftmax",
        _ => return None,
    };
    if !node.op.domain.is_empty() || node.opaque.is_some() {
        return None;
    }
    let Reader::Quantized { grid, .. } = reader(graph, graph.node_output(id, 0)?) else { return None };
    let inputs = graph.node_inputs(id);
    let grids: Vec<Grid> = inputs.iter().map(|v| dequantized(graph, (*v)?)).collect::<Option<_>>()?;
    let fits = grids.iter().all(|g| g.is_whole() && g.dtype == grid.dtype);
    fits.then_some(Work::Between(op, grids, grid))
}

fn group(graph: &Graph, id: NodeId) -> Option<Group> {
    let node = graph.node(id);
    if !node.op.domain.is_empty() || node.opaque.is_some() {
        return None;
    }
    let find: fn(&Site<'_>) -> Option<Group> = match &*node.op.name {
        "Conv" => conv,
        "Gemm" => gemm,
        "MatMul" => matmul,
        _ => return None,
    };
    let (x, w) =
        (dequantized(graph, graph.node_input(id, 0)?)?, dequantized(graph, graph.node_input(id, 1)?)?);
    let types = x.dtype == DType::Uint8 || (node.is("Gemm") && w.dtype == DType::Int8);
    let result = graph.node_output(id, 0)?;
    (types && x.is_whole()).then(|| find(&Site { graph, id, x, w, result }))?
}

/// An operator with quantized operands.
struct Site<'g> {
    graph: &'g Graph,
    id: NodeId,
    x: Grid,
    w: Grid,
    result: ValueId,
}

fn conv(site: &Site<'_>) -> Option<Group> {
    let Reader::Quantized { grid, .. } = reader(site.graph, site.result) else { return None };
    if !(site.w.is_whole() || site.w.axis == 0) || grid.dtype != site.x.dtype {
        return None;
    }
    let bias = match site.graph.node_input(site.id, 2) {
        Some(value) => Some(site.stored_bias(value, true).or_else(|| site.float_bias(value))?),
        None => None,
    };
    Some(site.group(bias, Some(grid)))
}

fn gemm(site: &Site<'_>) -> Option<Group> {
    let attrs = &site.graph.node(site.id).attrs;
    let axis = usize::from(attrs.int("transB").unwrap_or(0) == 0);
    if !(site.w.is_whole() || site.w.axis == axis) {
        return None;
    }
    let y = match reader(site.graph, site.result) {
        Reader::Quantized { grid, .. } if grid.dtype == site.x.dtype => Some(grid),
        Reader::Floats(op) if !op.is_some_and(|op| WITH_GEMM.contains(&op)) => None,
        _ => return None,
    };
    let Some(value) = site.graph.node_input(site.id, 2) else { return Some(site.group(None, y)) };
    let plain = |name: &str| attrs.float(name).is_none_or(|x| (x - 1.0).abs() == 0.0);
    if !plain("alpha") || !plain("beta") {
        return None;
    }
    let bias = site.stored_bias(value, false).or_else(|| site.float_bias(value).filter(|_| y.is_some()))?;
    Some(site.group(Some(bias), y))
}

fn matmul(site: &Site<'_>) -> Option<Group> {
    if !(site.w.is_whole() || site.w.axis == 1 && site.width().is_some()) {
        return None;
    }
    let y = match reader(site.graph, site.result) {
        Reader::Quantized { grid, .. } if grid.dtype == site.x.dtype => Some(grid),
        Reader::Floats(_) => None,
        _ => return None,
    };
    Some(Group { added: site.added(), ..site.group(None, y) })
}

impl Site<'_> {
    fn group(&self, bias: Option<Vec<i32>>, y: Option<Grid>) -> Group {
        Group { x: self.x.clone(), w: self.w.clone(), bias, y, added: None }
    }

    /// The columns of a constant matrix on the right.
    fn width(&self) -> Option<u64> {
        let (from, _) = self.graph.producer(self.graph.node_input(self.id, 1)?)?;
        match self.graph.constant_input(from, 0)?.dims() {
            &[_, width] => Some(width),
            _ => None,
        }
    }

    /// The scale of the products, by output channel.
    fn steps(&self) -> impl Iterator<Item = f32> + '_ {
        let x = self.x.scales.first().copied().unwrap_or(1.0);
        let repeat = if self.w.is_whole() { usize::MAX } else { 1 };
        self.w.scales.iter().cycle().take(self.w.scales.len().saturating_mul(repeat)).map(move |w| x * w)
    }

    /// A bias that is stored as int32; where told, on the scale of the products.
    fn stored_bias(&self, value: ValueId, matching: bool) -> Option<Vec<i32>> {
        let (from, _) = self.graph.producer(value)?;
        let is_dequantized = self.graph.node(from).is("DequantizeLinear");
        let codes: Vec<i32> = self.graph.constant_input(from, 0).filter(|_| is_dequantized)?.to_vec()?;
        if let Some(zeros) = self.graph.node_input(from, 2) {
            let zeros = self.graph.constant(zeros)?.to_i64s()?;
            zeros.iter().all(|&z| z == 0).then_some(())?;
        }
        let scales: Vec<f32> = self.graph.constant_input(from, 1)?.to_vec()?;
        let near = |(bias, step): (&f32, f32)| (bias - step).abs() <= BIAS_TOLERANCE * step.abs();
        let mut pairs = scales.iter().cycle().zip(self.steps()).take(codes.len());
        (!matching || pairs.all(near)).then_some(codes)
    }

    /// A constant bias in float32, put on the scale of the products.
    fn float_bias(&self, value: ValueId) -> Option<Vec<i32>> {
        let bias = self.graph.constant(value).filter(|b| b.rank() == 1)?;
        let items: Vec<f32> = bias.to_vec()?;
        let fits = self.w.is_whole() || self.w.scales.len() == items.len();
        let code = |(x, step): (&f32, f32)| (x / step).round_ties_even() as i32;
        fits.then(|| items.iter().zip(self.steps()).map(code).collect())
    }

    /// The bias that is added to a product of matrices.
    fn added(&self) -> Option<Added> {
        let graph = self.graph;
        let width = self.width()?;
        let (node, slot) = only_reader(graph, self.result)?;
        if !graph.node(node).is("Add") || slot > 1 {
            return None;
        }
        let other = graph.node_input(node, 1 - slot)?;
        let stored = self.stored_bias(other, false);
        let bias = stored.clone().or_else(|| self.float_bias(other))?;
        (bias.len() as u64 == width).then_some(())?;
        let (y, clipped) = match reader(graph, graph.node_output(node, 0)?) {
            Reader::Quantized { grid, clipped } if grid.dtype == self.x.dtype => (Some(grid), clipped),
            Reader::Floats(_) => (None, false),
            _ => return Some(Added { node, slot, is_static: is_static(graph), gemm: None, clipped: false }),
        };
        let gemm = (y.is_some() || stored.is_some()).then_some((bias, y));
        Some(Added { node, slot, is_static: is_static(graph), gemm, clipped })
    }
}

/// Whether the dims of all inputs are fixed.
fn is_static(graph: &Graph) -> bool {
    graph.inputs().iter().all(|&v| graph.value(v).ty.known_dims().is_some())
}

/// Whether onnxruntime turns int8 codes into uint8: those between one `QuantizeLinear` and one `DequantizeLinear`. It makes
/// a `DequantizeLinear` for every reader first, so that codes that are read twice stay.
fn turns_unsigned(graph: &Graph, codes: ValueId) -> bool {
    let Some((from, _)) = graph.producer(codes) else { return false };
    let Some((by, 0)) = only_reader(graph, codes) else { return false };
    let pair = graph.node(from).is("QuantizeLinear") && graph.node(by).is("DequantizeLinear");
    let zero = |id| graph.constant_input(id, 2).filter(|z| z.len() == 1).and_then(TensorData::to_i64s);
    pair && zero(from).is_some()
        && zero(from) == zero(by)
        && graph.node_output(by, 0).is_some_and(|v| graph.use_count(v) + usize::from(graph.is_output(v)) == 1)
}

/// The grid of a value that comes from `DequantizeLinear`.
fn dequantized(graph: &Graph, mut value: ValueId) -> Option<Grid> {
    loop {
        let (from, slot) = graph.producer(value)?;
        let node = graph.node(from);
        if node.is("DequantizeLinear") {
            let grid = Grid::of(graph, from)?;
            let codes = graph.node_input(from, 0)?;
            return Some(if turns_unsigned(graph, codes) { grid.unsigned() } else { grid });
        }
        let passes = node.op.domain.is_empty() && TRANSPARENT.contains(&&*node.op.name) && slot == 0;
        value = graph.node_input(from, 0).filter(|_| passes)?;
    }
}

/// What reads the result of a group.
enum Reader<'g> {
    /// A `QuantizeLinear`, after operators that do nothing on its grid.
    Quantized { grid: Grid, clipped: bool },
    /// Others; the operator, where it is only one.
    Floats(Option<&'g str>),
    /// A `QuantizeLinear` in another way.
    Unfit,
}

fn only_reader(graph: &Graph, value: ValueId) -> Option<(NodeId, usize)> {
    match graph.uses(value).as_slice() {
        &[(node, Some(slot))] if !graph.is_output(value) => Some((node, slot)),
        _ => None,
    }
}

fn reader(graph: &Graph, result: ValueId) -> Reader<'_> {
    let first = only_reader(graph, result).map(|(node, _)| &*graph.node(node).op.name);
    let quantizes =
        |&(by, slot): &(NodeId, Option<usize>)| slot == Some(0) && graph.node(by).is("QuantizeLinear");
    let floats = |value: ValueId| {
        if graph.uses(value).iter().any(quantizes) && value == result {
            Reader::Unfit
        } else {
            Reader::Floats(first)
        }
    };
    let (mut value, mut bounds) = (result, Vec::new());
    loop {
        let Some((by, 0)) = only_reader(graph, value) else { return floats(value) };
        let node = graph.node(by);
        if !node.op.domain.is_empty() {
            return Reader::Floats(first);
        }
        match &*node.op.name {
            "QuantizeLinear" => {
                let grid = grid_of_result(graph, by);
                let fits = |grid: &Grid| bounds.iter().all(|&b| covers(b, grid));
                return match grid.filter(fits) {
                    Some(grid) => Reader::Quantized { grid, clipped: !bounds.is_empty() },
                    None if value == result => Reader::Unfit,
                    None => Reader::Floats(first),
                };
            }
            "Relu" => bounds.push((0.0, f32::INFINITY)),
            "Clip" => {
                let bound = |slot, none: f32| match graph.node_input(by, slot) {
                    Some(v) => graph.constant(v).and_then(TensorData::to_f64s)?.first().map(|x| *x as f32),
                    None => Some(none),
                };
                let ends = (bound(1, f32::NEG_INFINITY), bound(2, f32::INFINITY));
                let (Some(low), Some(high)) = ends else { return Reader::Floats(first) };
                bounds.push((low, high));
            }
            op if TRANSPARENT.contains(&op) => {}
            _ => return Reader::Floats(first),
        }
        let Some(next) = graph.node_output(by, 0) else { return Reader::Floats(first) };
        value = next;
    }
}

/// The grid of a `QuantizeLinear` after a group: one for all.
fn grid_of_result(graph: &Graph, id: NodeId) -> Option<Grid> {
    let codes = graph.node_output(id, 0)?;
    let grid = Grid::of(graph, id)?;
    let grid = if turns_unsigned(graph, codes) { grid.unsigned() } else { grid };
    grid.is_whole().then_some(grid)
}

/// Whether clipping to these bounds does nothing that quantizing does not.
fn covers((low, high): (f32, f32), grid: &Grid) -> bool {
    grid.range().is_some_and(|(least, most)| low - least <= f32::EPSILON && most - high <= f32::EPSILON)
}
