//! The quantized tensors of a model, read off its `QuantizeLinear`, `DequantizeLinear` and `QLinear…` operators.

use std::collections::BTreeSet;

use crate::ir::{DType, Graph, Model, NodeId, TensorData, ValueId};

/// A tensor whose numbers are integers somewhere in a model: `x = (code − zero_point) · scale`.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    /// Its name: that of the original model, where the tensor is there too.
    pub tensor: String,
    /// Whether it is constant.
    pub is_parameter: bool,
    /// The integer type.
    pub dtype: DType,
    /// The scales, in the order of their tensor.
    pub scales: Vec<f64>,
    /// As many zero points.
    pub zero_points: Vec<i64>,
    /// Which elements have which scale.
    pub spread: Spread,
}

/// Which elements of a tensor have which scale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spread {
    /// All have the same.
    Tensor,
    /// Each index of this axis has its own. It may be counted from the end.
    Axis(i64),
    /// Each block of an axis has its own.
    Blocks {
        /// The axis.
        axis: i64,
        /// Elements of a block.
        size: u64,
        /// The dims of the tensor of scales.
        dims: Vec<u64>,
    },
}

impl Quantized {
    /// The smallest and the largest code.
    pub fn codes(&self) -> (i64, i64) {
        let bits = self.dtype.bits();
        if self.dtype.is_signed_int() {
            (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        } else {
            (0, (1 << bits) - 1)
        }
    }

    /// Scale and zero point, and the numbers that the smallest and the largest code stand for, one by one.
    pub fn grids(&self) -> impl Iterator<Item = (f64, i64, f64, f64)> + '_ {
        let (first, last) = self.codes();
        self.scales.iter().zip(&self.zero_points).map(move |(&scale, &zero)| {
            (scale, zero, (first - zero) as f64 * scale, (last - zero) as f64 * scale)
        })
    }
}

/// The quantized tensors of a model, in topological order, each name once. The original says which names count.
pub fn quantized(original: &Model, result: &Model) -> Vec<Quantized> {
    let mut names = BTreeSet::new();
    all_names(&original.graph, &mut names);
    let mut found = Collector { names, known: BTreeSet::new(), all: Vec::new() };
    found.graph(&result.graph);
    found.all
}

fn all_names<'g>(graph: &'g Graph, into: &mut BTreeSet<&'g str>) {
    into.extend(graph.values().map(|v| graph.value(v).name.as_str()));
    graph.nodes().for_each(|n| graph.node(n).attrs.graphs().for_each(|body| all_names(body, into)));
}

struct Collector<'o> {
    names: BTreeSet<&'o str>,
    known: BTreeSet<String>,
    all: Vec<Quantized>,
}

/// The integer operators of the standard.
const INTEGER: &[&str] = &["QLinearConv", "QLinearMatMul"];
/// Their slots of a tensor, its scale and its zero point.
const READ: [[usize; 3]; 2] = [[0, 1, 2], [3, 4, 5]];
/// Their slots of the scale and the zero point of the result.
const MADE: (usize, usize) = (6, 7);

impl Collector<'_> {
    fn graph(&mut self, graph: &Graph) {
        for node in graph.order().unwrap_or_else(|_| graph.nodes().collect()) {
            if graph.node(node).is("QuantizeLinear") {
                self.pair(graph, node);
            } else if graph.node(node).is("DequantizeLinear") {
                let of_pair = graph.node_input(node, 0).and_then(|codes| graph.producer(codes));
                if of_pair.is_none_or(|(maker, _)| !graph.node(maker).is("QuantizeLinear")) {
                    self.dequantized(graph, node);
                }
            }
            self.integer_operator(graph, node);
            graph.node(node).attrs.graphs().for_each(|body| self.graph(body));
        }
    }

    /// What is quantized, and the same after it came back: the one whose name the original has.
    fn pair(&mut self, graph: &Graph, node: NodeId) {
        let (Some(input), Some(codes)) = (graph.node_input(node, 0), graph.node_output(node, 0)) else {
            return;
        };
        let back = graph
            .uses(codes)
            .into_iter()
            .filter(|&(n, slot)| slot == Some(0) && graph.node(n).is("DequantizeLinear"));
        let back = back.filter_map(|(n, _)| Some((graph.node_output(n, 0)?, n)));
        let all: Vec<(ValueId, NodeId)> = [(input, node)].into_iter().chain(back).collect();
        let old = all.iter().find(|(value, _)| self.names.contains(graph.value(*value).name.as_str()));
        let &(value, node) = old.unwrap_or(&all[0]);
        let is_parameter = graph.constant(input).is_some();
        self.add(graph, value, is_parameter, read(graph, node));
    }

    /// What comes out of constant codes, or out of an operator on integers.
    fn dequantized(&mut self, graph: &Graph, node: NodeId) {
        let (Some(codes), Some(output)) = (graph.node_input(node, 0), graph.node_output(node, 0)) else {
            return;
        };
        let named = |v: ValueId| self.names.contains(graph.value(v).name.as_str());
        // Blocks of a convolution's weight lie in a matrix, which `Reshape` unfolds.
        let unfolded = match graph.uses(output)[..] {
            [(reader, Some(0))] if graph.node(reader).is("Reshape") => graph.node_output(reader, 0),
            _ => None,
        };
        let value = if named(output) { output } else { unfolded.filter(|&v| named(v)).unwrap_or(output) };
        self.add(graph, value, graph.constant(codes).is_some(), read(graph, node));
    }

    fn integer_operator(&mut self, graph: &Graph, node: NodeId) {
        if !INTEGER.iter().any(|op| graph.node(node).is(op)) {
            return;
        }
        for [tensor, scale, zero] in READ {
            let Some(value) = graph.node_input(node, tensor) else { continue };
            // The weight of a convolution has a scale for each of its first axis, that of a product for each column.
            let axis = if graph.node(node).is("QLinearConv") { 0 } else { -1 };
            let read = grid(graph, node, (scale, zero)).map(|g| with_axis(g, axis));
            self.add(graph, value, graph.constant(value).is_some(), read);
        }
        if let Some(value) = graph.node_output(node, 0) {
            let read = grid(graph, node, MADE).map(|g| with_axis(g, -1));
            self.add(graph, value, false, read);
        }
    }

    fn add(&mut self, graph: &Graph, value: ValueId, is_parameter: bool, read: Option<Quantized>) {
        let name = &graph.value(value).name;
        let Some(read) = read.filter(|_| !self.known.contains(name)) else { return };
        self.known.insert(name.clone());
        self.all.push(Quantized { tensor: name.clone(), is_parameter, ..read });
    }
}

/// The grid of a `QuantizeLinear` or `DequantizeLinear`; `None` where it is computed.
fn read(graph: &Graph, node: NodeId) -> Option<Quantized> {
    let found = grid(graph, node, (1, 2))?;
    let attrs = &graph.node(node).attrs;
    let axis = attrs.int("axis").unwrap_or(1);
    let size = u64::try_from(attrs.int("block_size").unwrap_or(0)).unwrap_or(0);
    let scale = graph.constant_input(node, 1)?;
    if size > 0 {
        return Some(Quantized {
            spread: Spread::Blocks { axis, size, dims: scale.dims().to_vec() },
            ..found
        });
    }
    Some(with_axis(found, axis))
}

fn with_axis(found: Quantized, axis: i64) -> Quantized {
    let spread = if found.scales.len() == 1 { Spread::Tensor } else { Spread::Axis(axis) };
    Quantized { spread, ..found }
}

/// Constant scales and zero points in two slots.
fn grid(graph: &Graph, node: NodeId, (scale, zero): (usize, usize)) -> Option<Quantized> {
    let scales = graph.constant_input(node, scale)?.to_f64s()?;
    let (zero_points, dtype) = match graph.node_input(node, zero) {
        Some(zero) => graph.constant(zero).and_then(|z| Some((z.to_i64s()?, z.dtype())))?,
        None => (vec![0; scales.len()], implied(graph, node)?),
    };
    let fits = dtype.is_int() && dtype.bits() <= 32 && !scales.is_empty();
    // One zero point may do for all.
    let zero_points = if zero_points.len() == 1 { vec![zero_points[0]; scales.len()] } else { zero_points };
    (fits && zero_points.len() == scales.len()).then_some(Quantized {
        tensor: String::new(),
        is_parameter: false,
        dtype,
        scales,
        zero_points,
        spread: Spread::Tensor,
    })
}

/// The integer type of an operator without a zero point.
fn implied(graph: &Graph, node: NodeId) -> Option<DType> {
    let asked = graph.node(node).attrs.int("output_dtype").filter(|&code| code != 0);
    if graph.node(node).is("QuantizeLinear") {
        return asked.map_or(Some(DType::Uint8), |code| DType::from_code(i32::try_from(code).ok()?));
    }
    let codes = graph.node_input(node, 0)?;
    let made = || {
        let (maker, _) = graph.producer(codes).filter(|(n, _)| graph.node(*n).is("QuantizeLinear"))?;
        grid(graph, maker, (1, 2)).map(|g| g.dtype)
    };
    graph.constant(codes).map(TensorData::dtype).or_else(made).or_else(|| graph.value(codes).ty.dtype())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(text: &str) -> Model {
        crate::onnx::from_text(text).unwrap_or_else(|e| panic!("{e}")).model
    }

    fn told(original: &str, result: &str) -> Vec<String> {
        let found = quantized(&model(original), &model(result));
        let one = |q: &Quantized| format!("{} {:?} {} {:?}", q.tensor, q.dtype, q.is_parameter, q.spread);
        found.iter().map(one).collect()
    }

    const ORIGINAL: &str = r#"<ir_version: 10, opset_import: ["": 21]>
        g (float[N, 4] x) => (float[N, 2] y) <float[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}>
        { a = MatMul (x, w)  y = Relu (a) }"#;

    #[test]
    fn tensors_have_the_names_of_the_original() {
        let result = r#"<ir_version: 10, opset_import: ["": 21]>
            g (float[N, 4] x) => (float[N, 2] y)
            <float s = {0.5}, uint8 z = {3}, int8[4, 2] c = {1, 2, 3, 4, 5, 6, 7, 8}, float[2] v = {0.5, 0.25}>
            { q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)
              w = DequantizeLinear <axis = 1> (c, v)
              a = MatMul (d, w)
              y_unquantized = Relu (a)
              p = QuantizeLinear (y_unquantized, s, z)  y = DequantizeLinear (p, s, z) }"#;
        let all = told(ORIGINAL, result);
        assert_eq!(all.len(), 3, "{all:?}");
        for wanted in ["x uint8 false Tensor", "w int8 true Axis(1)", "y uint8 false Tensor"] {
            assert!(all.contains(&wanted.to_owned()), "{all:?}");
        }
        let found = quantized(&model(ORIGINAL), &model(result));
        let x = found.iter().find(|q| q.tensor == "x").unwrap();
        assert_eq!(x.grids().collect::<Vec<_>>(), [(0.5, 3, -1.5, 126.0)]);
        let w = found.iter().find(|q| q.tensor == "w").unwrap();
        assert_eq!(w.grids().nth(1), Some((0.25, 0, -32.0, 31.75)));
    }

    #[test]
    fn integer_operators_and_blocks_are_read_too() {
        let result = r#"<ir_version: 10, opset_import: ["": 21]>
            g (uint8[N, 4] x) => (uint8[N, 2] y)
            <float s = {0.5}, uint8 z = {3}, int8[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}, float v = {0.25}, int8 u = {0}>
            { y = QLinearMatMul (x, s, z, w, v, u, s, z) }"#;
        assert_eq!(
            told(ORIGINAL, result),
            ["x uint8 false Tensor", "w int8 true Tensor", "y uint8 false Tensor"]
        );
        let blocks = r#"<ir_version: 10, opset_import: ["": 21]>
            g (float[N, 4] x) => (float[N, 2] y)
            <int8[4, 2] c = {1, 2, 3, 4, 5, 6, 7, 8}, float[2, 2] v = {0.5, 0.25, 1, 2}>
            { w = DequantizeLinear <axis = 0, block_size = 2> (c, v)  y = MatMul (x, w) }"#;
        assert_eq!(told(ORIGINAL, blocks), ["w int8 true Blocks { axis: 0, size: 2, dims: [2, 2] }"]);
        let computed = r#"<ir_version: 10, opset_import: ["": 21]>
            g (float[N, 4] x, float s) => (float[N, 4] y) { q = QuantizeLinear (x, s)  y = DequantizeLinear (q, s) }"#;
        assert_eq!(told(ORIGINAL, computed), [""; 0], "a scale that is computed has no number");
    }
}
