//! Models as training with fake quantization leaves them, through `import-qat`: weights become the integers that they
//! were rounded to, scales stay, and so do the answers.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fmt::Write as _;

use onnxpress::engine::inputs::{DefaultDims, InputPlan};
use onnxpress::engine::interpret::Interpreter;
use onnxpress::engine::{Bindings, Engine};
use onnxpress::ir::{DType, Graph, Model, NodeId, TensorData};
use onnxpress::onnx;
use onnxpress::pass::{Pass, PassContext, Summary, run_set};
use onnxpress::passes::AnyPass;
use onnxpress::rewrite::Selector;

/// How a model was exported.
#[derive(Debug, Clone, Copy)]
struct Export {
    /// Type of the activations' codes.
    activations: &'static str,
    /// Whether layers have a bias of their own before the normalization.
    bias: bool,
    /// Whether a weight has a scale for every channel.
    per_channel: bool,
}

/// The text of a model that is being written.
struct Text {
    export: Export,
    constants: Vec<String>,
    nodes: String,
}

impl Text {
    fn constant(&mut self, text: String) {
        self.constants.push(text);
    }

    /// Fake quantization of an activation.
    fn fake(&mut self, x: &str, scale: f64, relu: bool) -> String {
        let zero = match (self.export.activations, relu) {
            ("uint8", true) => 0,
            ("uint8", false) => 121,
            (_, true) => -128,
            (_, false) => -7,
        };
        self.constant(format!("float {x}_s = {{{scale}}}"));
        self.constant(format!("{} {x}_z = {{{zero}}}", self.export.activations));
        writeln!(self.nodes, "{x}_q = QuantizeLinear ({x}, {x}_s, {x}_z)").unwrap();
        writeln!(self.nodes, "{x}_d = DequantizeLinear ({x}_q, {x}_s, {x}_z)").unwrap();
        format!("{x}_d")
    }

    /// Fake quantization of a weight whose output channels come first.
    fn weight(&mut self, name: &str, dims: &[u64]) -> String {
        let list = dims.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        self.constant(format!("float[{list}] {name}_w"));
        let (count, axis) = if self.export.per_channel {
            (format!("[{}]", dims[0]), " <axis = 0>")
        } else {
            (String::new(), "")
        };
        self.constant(format!("float{count} {name}_ws"));
        self.constant(format!("int8{count} {name}_wz"));
        let pair = format!("{name}_ws, {name}_wz");
        writeln!(self.nodes, "{name}_wq = QuantizeLinear{axis} ({name}_w, {pair})").unwrap();
        writeln!(self.nodes, "{name}_wd = DequantizeLinear{axis} ({name}_wq, {pair})").unwrap();
        format!("{name}_wd")
    }

    /// A convolution with its normalization, then perhaps a `Relu`, then fake quantization.
    fn conv(&mut self, x: &str, name: &str, dims: [u64; 4], group: u64, relu: bool) -> String {
        let weight = self.weight(name, &dims);
        let [channels, .., kernel] = dims;
        let bias = if self.export.bias {
            self.constant(format!("float[{channels}] {name}_b"));
            format!(", {name}_b")
        } else {
            String::new()
        };
        let pad = kernel / 2;
        writeln!(
            self.nodes,
            "{name}_c = Conv <group = {group}, pads = [{pad}, {pad}, {pad}, {pad}]> ({x}, {weight}{bias})"
        )
        .unwrap();
        for part in ["gamma", "beta", "mean", "var"] {
            self.constant(format!("float[{channels}] {name}_{part}"));
        }
        writeln!(
            self.nodes,
            "{name}_n = BatchNormalization ({name}_c, {name}_gamma, {name}_beta, {name}_mean, {name}_var)"
        )
        .unwrap();
        if !relu {
            return self.fake(&format!("{name}_n"), 0.05, false);
        }
        writeln!(self.nodes, "{name}_r = Relu ({name}_n)").unwrap();
        self.fake(&format!("{name}_r"), 0.02, true)
    }
}

/// Stem, depthwise and pointwise convolutions, a residual sum, and a `Gemm` for a head.
fn exported(export: Export) -> Model {
    let mut text = Text { export, constants: Vec::new(), nodes: String::new() };
    let x = text.fake("x", 0.025, false);
    let stem = text.conv(&x, "stem", [16, 3, 3, 3], 1, true);
    let depthwise = text.conv(&stem, "dw", [16, 1, 3, 3], 16, true);
    let pointwise = text.conv(&depthwise, "pw", [16, 16, 1, 1], 1, false);
    writeln!(text.nodes, "sum = Add ({stem}, {pointwise})").unwrap();
    let sum = text.fake("sum", 0.05, false);
    writeln!(text.nodes, "mean = GlobalAveragePool ({sum})").unwrap();
    let mean = text.fake("mean", 0.02, false);
    writeln!(text.nodes, "flat = Flatten ({mean})").unwrap();
    let weight = text.weight("head", &[10, 16]);
    text.constant("float[10] head_b".to_owned());
    writeln!(text.nodes, "y = Gemm <transB = 1> (flat, {weight}, head_b)").unwrap();
    let source = format!(
        "<ir_version: 8, opset_import: [\"\" : 17]>\ng (float[N,3,8,8] x) => (float[N,10] y)\n<{}>\n{{\n{}}}",
        text.constants.join(", "),
        text.nodes
    );
    onnx::from_text_with(&source, &mut trained).unwrap().model
}

/// Parameters as training leaves them: normal weights, scales that just cover them, a few negative factors.
fn trained(name: &str, dtype: DType, dims: &[u64]) -> Option<TensorData> {
    let count = dims.iter().product::<u64>() as usize;
    if dtype == DType::Int8 {
        return TensorData::new(dtype, dims, vec![0u8; count]).ok();
    }
    let mut state =
        name.bytes().fold(0x9e37_79b9u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let mut unit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1u32 << 31)
    };
    let mut item = |at: usize| match name.rsplit('_').next() {
        Some("w") => (unit() + unit() + unit() - 1.5) * 0.6,
        // The largest weight is 0.9.
        Some("ws") => 0.9 / 127.0 * (1.0 + 0.1 * unit()),
        Some("gamma") if at % 5 == 3 => -0.5 - unit(),
        Some("gamma" | "var") => 0.5 + unit(),
        _ => unit() - 0.5,
    };
    TensorData::from_f64s(dtype, dims, &(0..count).map(&mut item).collect::<Vec<_>>())
}

fn imported(original: &Model, options: serde_json::Value) -> (Model, Summary) {
    let pass = AnyPass::deserialize_options("import-qat", options).unwrap();
    let mut model = original.clone();
    let mut cx = PassContext::with_kernels(&model);
    let pass: &dyn Pass = pass.as_pass();
    let mut report = run_set(&mut model, &[pass], &mut cx).unwrap();
    model.check().unwrap();
    (model, report.remove("import-qat").unwrap())
}

fn count(graph: &Graph, op: &str) -> usize {
    graph.nodes().filter(|&n| graph.node(n).is(op)).count()
}

fn answers(model: &Model, seed: u64) -> Vec<f64> {
    let bindings = Bindings::from([("N".to_owned(), 2)]);
    let plan = InputPlan::of(model, &bindings, DefaultDims { spatial: 8, other: 4 }).unwrap();
    let inputs: Vec<TensorData> = plan.inputs.iter().map(|spec| spec.sample(seed).unwrap()).collect();
    let session = Interpreter::default().prepare(model, &bindings).unwrap();
    session.run(&inputs).unwrap()[0].to_f64s().unwrap()
}

/// Signal to noise, in dB, over a few runs.
fn sqnr(a: &Model, b: &Model) -> f64 {
    let (mut signal, mut noise) = (0.0, 0.0);
    for seed in 1..5 {
        for (x, y) in answers(a, seed).into_iter().zip(answers(b, seed)) {
            signal += x * x;
            noise += (x - y) * (x - y);
        }
    }
    10.0 * (signal / noise).log10()
}

const EXPORTS: [Export; 4] = [
    Export { activations: "uint8", bias: false, per_channel: true },
    Export { activations: "uint8", bias: true, per_channel: false },
    Export { activations: "int8", bias: true, per_channel: true },
    Export { activations: "int8", bias: false, per_channel: false },
];

/// The scale and zero point of an activation.
fn grid(graph: &Graph, quantize: NodeId) -> (String, Vec<f64>, Vec<i64>) {
    let name = graph.value(graph.node_input(quantize, 1).unwrap()).name.clone();
    let scale = graph.constant_input(quantize, 1).unwrap().to_f64s().unwrap();
    (name, scale, graph.constant_input(quantize, 2).unwrap().to_i64s().unwrap())
}

/// Those of every `QuantizeLinear` of something that is not constant.
fn grids(model: &Model) -> Vec<(String, Vec<f64>, Vec<i64>)> {
    let graph = &model.graph;
    let quantizes = |&n: &NodeId| graph.node(n).is("QuantizeLinear") && graph.constant_input(n, 0).is_none();
    let mut found: Vec<_> = graph.nodes().filter(quantizes).map(|n| grid(graph, n)).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn weights_become_integers_and_scales_stay() {
    for export in EXPORTS {
        let original = exported(export);
        let (result, summary) = imported(&original, serde_json::json!({ "bias": "keep" }));
        assert!(summary.skipped.is_empty(), "{export:?}: {summary:?}");
        let graph = &result.graph;
        assert_eq!(count(graph, "BatchNormalization"), 0, "{export:?}");
        assert_eq!(count(graph, "Relu"), 0, "{export:?}: codes saturate where it cuts");
        assert_eq!(grids(&result), grids(&original), "{export:?}");
        for layer in graph.nodes().filter(|&n| graph.node(n).is("Conv") || graph.node(n).is("Gemm")) {
            let (back, _) = graph.producer(graph.node_input(layer, 1).unwrap()).unwrap();
            assert_eq!(graph.constant_input(back, 0).unwrap().dtype(), DType::Int8, "{export:?}");
            let (input, _) = graph.producer(graph.node_input(layer, 0).unwrap()).unwrap();
            assert!(graph.node(input).is("DequantizeLinear"), "{export:?}");
        }
        // A weight of a residual block, as it was used in training: w / scale, rounded.
        let value = graph.find("head_wq").unwrap();
        let codes = graph.constant(value).unwrap().to_i64s().unwrap();
        let weight = original.graph.constant(original.graph.find("head_w").unwrap()).unwrap();
        let scale =
            original.graph.constant(original.graph.find("head_ws").unwrap()).unwrap().to_f64s().unwrap();
        for (at, (code, w)) in codes.iter().zip(weight.to_f64s().unwrap()).enumerate() {
            let scale = scale[if export.per_channel { at / 16 } else { 0 }];
            assert_eq!(*code, ((w as f32 / scale as f32).round_ties_even() as i64).clamp(-128, 127));
        }
    }
}

#[test]
fn answers_stay() {
    for export in EXPORTS {
        let original = exported(export);
        let (result, _) = imported(&original, serde_json::json!({ "bias": "keep" }));
        let apart = sqnr(&original, &result);
        // A rounding that turns over moves an answer by a step of its input, 0.02, times a weight: 40 dB at least.
        assert!(apart > 60.0, "{export:?}: {apart} dB");
        let (result, _) = imported(&original, serde_json::json!({}));
        let apart = sqnr(&original, &result);
        assert!(apart > 30.0, "{export:?}: int32 biases: {apart} dB");
    }
}

#[test]
fn activations_change_their_sign() {
    for export in EXPORTS {
        let original = exported(export);
        let (kept, _) = imported(&original, serde_json::json!({ "bias": "keep" }));
        let other = if export.activations == "int8" { "uint8" } else { "int8" };
        let (result, _) = imported(&original, serde_json::json!({ "bias": "keep", "activations": other }));
        let graph = &result.graph;
        for quantize in graph.nodes().filter(|&n| graph.node(n).is("QuantizeLinear")) {
            assert_eq!(graph.constant_input(quantize, 2).unwrap().dtype().name(), other);
        }
        assert_eq!(answers(&kept, 1), answers(&result, 1), "{export:?}: equal bits");
    }
}

#[test]
fn selectors_keep_what_they_name() {
    let original = exported(EXPORTS[0]);
    let pass = AnyPass::deserialize_options("import-qat", serde_json::json!({ "bias": "keep" })).unwrap();
    let mut result = original.clone();
    let mut cx = PassContext::with_kernels(&result);
    cx.select.ignore =
        ["op:BatchNormalization", "op:Relu", "op:Flatten"].map(|s| Selector::parse(s).unwrap()).into();
    run_set(&mut result, &[pass.as_pass()], &mut cx).unwrap();
    assert_eq!(count(&result.graph, "BatchNormalization"), 3);
    assert_eq!(count(&result.graph, "Relu"), 2);
    let graph = &result.graph;
    let flatten = graph.nodes().find(|&n| graph.node(n).is("Flatten")).unwrap();
    let (before, _) = graph.producer(graph.node_input(flatten, 0).unwrap()).unwrap();
    assert!(graph.node(before).is("DequantizeLinear"));
    assert_eq!(graph.constant(graph.find("head_wq").unwrap()).unwrap().dtype(), DType::Int8);
}

#[test]
fn files_shrink() {
    for export in EXPORTS {
        let original = exported(export);
        let before = onnx::encode(original.check().unwrap()).unwrap().len();
        for bias in ["keep", "float", "int32"] {
            let (result, _) = imported(&original, serde_json::json!({ "bias": bias }));
            let after = onnx::encode(result.check().unwrap()).unwrap().len();
            assert!(after * 10 < before * 8, "{export:?}: {before} to {after} bytes");
        }
    }
}

#[test]
fn int32_biases_are_on_the_product_of_the_scales() {
    for export in EXPORTS {
        let (result, _) = imported(&exported(export), serde_json::json!({ "bias": "int32" }));
        let graph = &result.graph;
        let scale = |layer: NodeId, slot: usize| {
            let (back, _) = graph.producer(graph.node_input(layer, slot)?)?;
            graph.constant_input(back, 1)?.to_f64s()
        };
        let mut seen = 0;
        for layer in graph.nodes().filter(|&n| graph.node(n).is("Conv") || graph.node(n).is("Gemm")) {
            let (input, weight) = (scale(layer, 0).unwrap(), scale(layer, 1).unwrap());
            let bias = scale(layer, 2).unwrap();
            let product: Vec<f64> = weight.iter().map(|w| f64::from(input[0] as f32 * *w as f32)).collect();
            assert_eq!(bias, product, "{export:?}");
            seen += 1;
        }
        assert_eq!(seen, 4);
    }
}
