//! How much of the heavy work of a result is in integers, and why the rest is not.

use serde::Serialize;

use super::StepLog;
use crate::analysis::cost::{Sizes, node_macs};
use crate::analysis::{Bindings, Facts, InferContext};
use crate::ir::{DType, Graph, Model, NodeId, TensorData, ValueId};
use crate::pass::Profile;
use crate::rewrite::original_label;

/// How much of a model's heavy work is in integers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IntegerLog {
    /// Multiply-accumulates of the main graph, for a batch of one.
    pub macs: u64,
    /// Those in integers.
    pub integer_macs: u64,
    /// The operators whose are not, the dearest first.
    pub floats: Vec<FloatLog>,
}

/// A heavy operator that computes in floats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FloatLog {
    /// The node's name; its first output where it has none.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// Its multiply-accumulates.
    pub macs: u64,
    /// Why.
    pub why: String,
}

impl IntegerLog {
    /// The share of the multiply-accumulates in integers.
    pub fn share(&self) -> f64 {
        self.integer_macs as f64 / self.macs.max(1) as f64
    }
}

/// Counts the multiply-accumulates of a model whose kernels have integers to compute with, as far as the file and the
/// profile tell. `None` where nothing is quantized, or sizes are unknown.
pub(super) fn count(model: &Model, steps: &[StepLog], profile: Option<&Profile>) -> Option<IntegerLog> {
    let graph = &model.graph;
    let quantizes = |n: NodeId| {
        let name = &*graph.node(n).op.name;
        ["QuantizeLinear", "DequantizeLinear", "MatMulNBits"].contains(&name) || computes_integers(name)
    };
    graph.nodes().any(quantizes).then_some(())?;
    let facts = Facts::of(graph, &InferContext::default());
    let sizes = Sizes::batch_of_one(graph, &facts, Bindings::default());
    let mut log = IntegerLog { macs: 0, integer_macs: 0, floats: Vec::new() };
    for node in graph.order().ok()? {
        let macs = node_macs(graph, &facts, &sizes, node)?;
        log.macs = log.macs.checked_add(macs)?;
        if macs == 0 {
            continue;
        }
        match why_float(graph, node, profile) {
            None => log.integer_macs += macs,
            Some(why) => {
                let name = original_label(graph, node).to_string();
                let why = told(steps, &name).unwrap_or(why);
                log.floats.push(FloatLog { node: name, op: graph.node(node).op.to_string(), macs, why });
            }
        }
    }
    log.floats.sort_by_key(|float| std::cmp::Reverse(float.macs));
    Some(log)
}

/// Why a pass left a layer float, in its own words.
fn told(steps: &[StepLog], name: &str) -> Option<String> {
    let layers = steps.iter().rev().flat_map(|step| step.passes.values()).flat_map(|summary| &summary.layers);
    layers.filter(|l| l.layer == name && l.form == "float").find_map(|l| l.note.clone())
}

fn computes_integers(op: &str) -> bool {
    op.starts_with("QLinear") || op == "QGemm" || op.ends_with("Integer")
}

/// Why an operator has no integers to compute with; `None` where it has.
fn why_float(graph: &Graph, id: NodeId, profile: Option<&Profile>) -> Option<String> {
    let node = graph.node(id);
    let name = &*node.op.name;
    if computes_integers(name) {
        return None;
    }
    if name == "MatMulNBits" {
        let rounds = node.attrs.int("accuracy_level") == Some(4);
        return (!rounds).then(|| "its weights alone are integers".to_owned());
    }
    let codes = [0, 1].map(|slot| graph.node_input(id, slot).and_then(|v| codes_of(graph, v)));
    let known = ["Conv", "Gemm", "MatMul"].iter().any(|op| node.is(op));
    let bound = profile.is_some_and(|p| p.integer_results.iter().any(|op| node.is(op)));
    match codes {
        [None, None] if !known => Some("no pass quantizes this operator".to_owned()),
        [Some(_), Some(_)] if !known => Some("onnxruntime has no integer kernel for it".to_owned()),
        [Some(a), Some(b)] if a.bits() > 8 || b.bits() > 8 => {
            Some(format!("its codes have {} bits", a.bits().max(b.bits())))
        }
        [Some(_), Some(_)] if bound && !is_quantized(graph, graph.node_output(id, 0)?) => {
            Some("its result is not quantized".to_owned())
        }
        [Some(_), Some(_)] => None,
        [None, Some(_)] => Some("its weights alone are integers".to_owned()),
        _ => Some("it is not quantized".to_owned()),
    }
}

/// The type of the codes that a value comes from, also behind the operator that unfolds or turns a stored weight.
fn codes_of(graph: &Graph, value: ValueId) -> Option<DType> {
    let (mut back, _) = graph.producer(value)?;
    if ["Reshape", "Transpose"].iter().any(|op| graph.node(back).is(op)) {
        back = graph.producer(graph.node_input(back, 0)?)?.0;
    }
    graph.node(back).is("DequantizeLinear").then_some(())?;
    let zero = graph.constant_input(back, 2).map(TensorData::dtype);
    let codes = || graph.value(graph.node_input(back, 0)?).ty.dtype();
    Some(zero.or_else(codes).unwrap_or(DType::Uint8))
}

/// Whether a result becomes codes, behind its `Relu` or `Clip`.
fn is_quantized(graph: &Graph, value: ValueId) -> bool {
    graph.uses(value).into_iter().any(|(reader, _)| {
        let node = graph.node(reader);
        let function = ["Relu", "Clip"].iter().any(|op| node.is(op)) && graph.use_count(value) == 1;
        node.is("QuantizeLinear")
            || (function && graph.node_output(reader, 0).is_some_and(|v| is_quantized(graph, v)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::{LayerReport, Summary};

    const HEAD: &str = r#"<ir_version: 10, opset_import: ["": 21]>
        g (float[N, 4] x) => (float[N, 2] y)
        <float s = {0.5}, uint8 z = {3}, int8 k = {0}, int8[4, 4] c, float[4, 4] w, float[4, 2] v, uint16 t = {3}>"#;

    fn log(body: &str, profile: Option<&Profile>) -> Option<IntegerLog> {
        let text = format!("{HEAD} {{ {body} }}");
        let mut fill = |_: &str, dtype: DType, dims: &[u64]| {
            let count = dims.iter().product::<u64>();
            Some(if dtype == DType::Int8 {
                TensorData::new(dtype, dims, vec![1u8; count as usize]).unwrap()
            } else {
                TensorData::from_f64s(dtype, dims, &vec![0.5; count as usize]).unwrap()
            })
        };
        let model = crate::onnx::from_text_with(&text, &mut fill).unwrap().model;
        let note = Some("it was too dear".to_owned());
        let layer = LayerReport { layer: "y".into(), form: "float".into(), note, ..LayerReport::default() };
        let summary = Summary { layers: vec![layer], ..Summary::default() };
        let passes = [("quantize-static", summary)].into();
        count(&model, &[StepLog { id: "q".into(), passes, ..StepLog::default() }], profile)
    }

    const PAIR: &str =
        "q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) e = DequantizeLinear (c, s, k)";

    #[test]
    fn what_has_codes_on_both_sides_counts() {
        assert_eq!(log("a = MatMul (x, w) y = MatMul (a, v)", None), None, "nothing is quantized");
        let found = log(&format!("{PAIR} a = MatMul (d, e) y = MatMul (a, v)"), None).unwrap();
        assert_eq!((found.macs, found.integer_macs), (24, 16));
        assert!((found.share() - 2.0 / 3.0).abs() < 1e-12);
        let why = "it was too dear".to_owned();
        assert_eq!(found.floats, [FloatLog { node: "y".into(), op: "MatMul".into(), macs: 8, why }]);
    }

    #[test]
    fn what_stays_float_says_why() {
        let why = |body: &str, profile: Option<&Profile>| {
            let found = log(body, profile).unwrap();
            assert_eq!(found.integer_macs, 0);
            found.floats[0].why.clone()
        };
        let rest = "a = MatMul (d, e) y = MatMul (a, v)";
        let wide =
            "q = QuantizeLinear (x, s, t) d = DequantizeLinear (q, s, t) e = DequantizeLinear (c, s, k)";
        assert_eq!(why(&format!("{wide} {rest}"), None), "its codes have 16 bits");
        assert_eq!(
            why("e = DequantizeLinear (c, s, k) a = MatMul (x, e) y = MatMul (a, v)", None),
            "its weights alone are integers"
        );
        let unfolded = "e = DequantizeLinear (c, s, k) u = Transpose (e) a = MatMul (x, u) y = MatMul (a, v)";
        assert_eq!(why(unfolded, None), "its weights alone are integers");
        let profile = Profile::default();
        assert_eq!(why(&format!("{PAIR} {rest}"), Some(&profile)), "its result is not quantized");
        let both = r#"a = Einsum <equation = "ij,jk->ik"> (d, e) y = MatMul (a, v)"#;
        assert_eq!(why(&format!("{PAIR} {both}"), None), "onnxruntime has no integer kernel for it");
        let einsum =
            r#"e = DequantizeLinear (c, s, k) a = Einsum <equation = "ij,jk->ik"> (x, w) y = MatMul (a, v)"#;
        assert_eq!(why(einsum, None), "no pass quantizes this operator");
    }

    #[test]
    fn products_of_few_bits_round_activations_where_they_say_so() {
        let product = |level: &str| {
            let text = format!(
                r#"<ir_version: 10, opset_import: ["": 21, "com.microsoft": 1]>
                g (float[N, 32] x) => (float[N, 2] y) <uint8[2, 1, 16] c, float[2] s = {{1, 2}}>
                {{ y = com.microsoft.MatMulNBits <K = 32, N = 2, bits = 4, block_size = 32{level}> (x, c, s) }}"#
            );
            let mut fill = |_: &str, dtype: DType, dims: &[u64]| {
                TensorData::new(dtype, dims, vec![0; dims.iter().product::<u64>() as usize]).ok()
            };
            let model = crate::onnx::from_text_with(&text, &mut fill).unwrap().model;
            count(&model, &[], None).unwrap()
        };
        let found = product("");
        assert_eq!(
            (found.macs, found.integer_macs, &*found.floats[0].why),
            (64, 0, "its weights alone are integers")
        );
        assert_eq!(product(", accuracy_level = 4").integer_macs, 64);
    }
}
