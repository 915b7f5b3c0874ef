//! Operators that ask for the impossible, over constants, so that folding meets them.

use std::time::Instant;

use onnxpress::{Optimizer, Recipe, from_text};

/// Each is one wrong node, and what it needs.
const NONSENSE: &[&str] = &[
    "y = Conv <group = 0> (x4, w4)",
    "y = Conv <group = -1> (x4, w4)",
    "y = Conv <group = 3> (x4, w4)",
    "y = Conv <strides = [-1, -1]> (x4, w4)",
    "y = Conv <strides = [0, 0]> (x4, w4)",
    "y = Conv <strides = [1]> (x4, w4)",
    "y = Conv <dilations = [0, 1]> (x4, w4)",
    "y = Conv <dilations = [9223372036854775807, 2]> (x4, w4)",
    "y = Conv <kernel_shape = [5, 5]> (x4, w4)",
    "y = Conv <kernel_shape = [-3, 3]> (x4, w4)",
    "y = Conv <pads = [-9, -9, -9, -9]> (x4, w4)",
    "y = Conv <pads = [1]> (x4, w4)",
    "y = Conv <auto_pad = \"SOMEHOW\"> (x4, w4)",
    "y = Conv (x4, v3)",
    "y = Conv (x4)",
    "y = Conv (v3, v3)",
    "y = ConvTranspose <output_padding = [-9, 9]> (x4, w4)",
    "y = ConvTranspose <strides = [-1, 0]> (x4, w4)",
    "y = MaxPool <kernel_shape = [0, 0]> (x4)",
    "y = MaxPool <kernel_shape = [9, 9]> (x4)",
    "y = MaxPool (x4)",
    "y = AveragePool <kernel_shape = [-1, 2]> (x4)",
    "y = LpPool <kernel_shape = [2, 2], p = 0> (v3)",
    "y = BatchNormalization (x4, v3, v3, v3, v3)",
    "y = Reshape (v3, two_unknown)",
    "y = Reshape (v3, i4)",
    "y = Reshape (v3, minus_two)",
    "y = Reshape (v3, v3)",
    "y = Transpose <perm = [0, 0, 1, 2]> (x4)",
    "y = Transpose <perm = [1]> (x4)",
    "y = Transpose <perm = [0, 1, 2, 9]> (x4)",
    "y = Transpose <perm = [0, 1, 2, -1]> (x4)",
    "y, z = Split (v3, bad_split)",
    "y, z = Split <num_outputs = 0> (v3)",
    "y, z = Split <axis = 7> (v3)",
    "y, z = Split (v3, negative_split)",
    "y = Concat <axis = 5> (v3, v3)",
    "y = Concat <axis = -9223372036854775808> (v3, v3)",
    "y = Concat <axis = 0> (v3, x4)",
    "y = Concat (v3, v3)",
    "y = Concat <axis = 0> ()",
    "y = Squeeze (v3, i0)",
    "y = Squeeze (v3, i9)",
    "y = Unsqueeze (v3, i9)",
    "y = Unsqueeze (v3, twice)",
    "y = Gather (v3, i9)",
    "y = Gather <axis = 9> (v3, i0)",
    "y = GatherElements (v3, i9)",
    "y = GatherElements (v3, x4)",
    "y = GatherND (v3, i9)",
    "y = GatherND <batch_dims = 9> (v3, i0)",
    "y = ScatterElements (v3, i9, f1)",
    "y = ScatterND (v3, i9, f1)",
    "y = Slice (v3, i0)",
    "y = Slice (v3, i0, i9, i9)",
    "y = Slice (v3, i0, i9, i0, i0)",
    "y = Expand (v3, i0)",
    "y = Expand (v3, i4)",
    "y = Tile (v3, negative)",
    "y = Tile (v3, i4)",
    "y = Pad (v3, i4)",
    "y = Pad (v3, deep_cut)",
    "y = Pad <mode = \"reflect\"> (v3, wide)",
    "y = Pad <mode = \"so-so\"> (v3, wide)",
    "y = Add (v3, x4b)",
    "y = Add (v3, i0)",
    "y = Add (v3)",
    "y = Add (v3, v3, v3)",
    "y = MatMul (v3, x4)",
    "y = MatMul (scalar, v3)",
    "y = Gemm (v3, v3)",
    "y = Gemm (m23, m23)",
    "y = Einsum <equation = \"ij,jk->il\"> (m23, m23)",
    "y = Einsum <equation = \"...(((\"> (m23)",
    "y = Einsum <equation = \"\"> (m23)",
    "y = Div (i0, i0)",
    "y = Mod (i0, i0)",
    "y = Cast <to = 0> (v3)",
    "y = Cast <to = 999> (v3)",
    "y = Cast (v3)",
    "y = CastLike (v3)",
    "y = BitShift <direction = \"UP\"> (u8, u8)",
    "y = OneHot (i9, negative, f2)",
    "y = OneHot <axis = 9> (i9, i4, f2)",
    "y = TopK (v3, negative)",
    "y = TopK (v3, i9)",
    "y = TopK <axis = 3> (v3, i0)",
    "y = ReduceSum (v3, i9)",
    "y = ReduceSum (v3, twice)",
    "y = ArgMax <axis = 4> (v3)",
    "y = Softmax <axis = 4> (v3)",
    "y = CumSum (v3, i9)",
    "y = Trilu (v3)",
    "y = SpaceToDepth <blocksize = 0> (x4)",
    "y = SpaceToDepth <blocksize = 7> (x4)",
    "y = DepthToSpace <blocksize = -2> (x4)",
    "y = Flatten <axis = 9> (v3)",
    "y = Shape <start = 9, end = -9> ()",
    "y = Range (i0, i9, i0)",
    "y = Resize (x4, , f1)",
    "y = Resize (x4, , f2)",
    "y = Resize (x4, , minus4)",
    "y = Resize (x4)",
    "y = QuantizeLinear (v3, zero3)",
    "y = DequantizeLinear <axis = 9> (u8, v3)",
    "y = InstanceNormalization (x4, v3, v3)",
    "y = LayerNormalization <axis = 9> (x4, v3)",
    "y = GroupNormalization <num_groups = 0> (x4, v3, v3)",
    "y = LSTM <hidden_size = -1> (v3, v3, v3)",
    "y = GRU (x4, x4, x4)",
    "y = If (v3)",
    "y = Loop (i9, v3)",
    "y = Scan <num_scan_inputs = 9> (v3)",
    "y = Constant <value_ints = [1], value_int = 2> ()",
    "y = ConstantOfShape (negative)",
    "y = ConstantOfShape (v3)",
    "y = NonMaxSuppression (v3, v3)",
    "y = RoiAlign (x4, v3, i0)",
    "y = GridSample (x4, v3)",
    "y = MeanVarianceNormalization <axes = [9]> (x4)",
    "y = Where (v3, v3, v3)",
    "y = StringNormalizer (v3)",
    "y = SequenceAt (v3, i0)",
    "y = NotAnOperator (v3)",
];

const CONSTANTS: &str = "<float[1,2,3,3] x4 = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9}, float[2,2,1,1] w4 = {1,2,3,4},
    float[3] v3 = {1,2,3}, float[3] zero3 = {0,0,0}, float[1,1,2,2] x4b = {1,2,3,4}, float[2,3] m23 = {1,2,3,4,5,6},
    float scalar = {1}, float[1] f1 = {1}, float[2] f2 = {0.5, -1}, float[4] minus4 = {-1,-1,-1,-1},
    int64[2] two_unknown = {-1,-1}, int64[1] minus_two = {-2}, int64[1] i0 = {0}, int64[1] i4 = {4}, int64[1] i9 = {9},
    int64[1] negative = {-3}, int64[2] twice = {0,0}, int64[2] bad_split = {2,2}, int64[2] negative_split = {4,-1},
    int64[2] deep_cut = {-9,-9}, int64[2] wide = {9,9}, uint8[3] u8 = {1,2,9}>";

/// Those of the list that are not wrong after all, for which any answer is right.
const FINE: &[&str] = &["y = Slice (v3, i0, i9, i0, i0)", "y = Shape <start = 9, end = -9> ()"];

#[test]
fn nonsense_is_refused_or_left_alone() {
    let mut wrong = Vec::new();
    for node in NONSENSE {
        let outputs = if node.starts_with("y, z") { "y, z" } else { "y" };
        let op = node.split(" = ").nth(1).unwrap().split([' ', '<', '(']).next().unwrap();
        for opset in [7, 11, 13, 18, 21] {
            let text = format!(
                "<ir_version: 10, opset_import: [\"\": {opset}]> g () => ({outputs}) {CONSTANTS} {{ {node} }}"
            );
            let start = Instant::now();
            let found = std::panic::catch_unwind(|| outcome(&text, op));
            match found {
                Ok(None) => {}
                Ok(Some(what)) if !FINE.contains(node) => wrong.push(format!("{node} at {opset}: {what}")),
                Ok(Some(_)) => {}
                Err(_) => wrong.push(format!("{node} at {opset}: panics")),
            }
            if start.elapsed().as_secs() >= 2 {
                wrong.push(format!("{node} at {opset}: takes {:?}", start.elapsed()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What is wrong with how a model is treated.
fn outcome(text: &str, op: &str) -> Option<String> {
    let one_line = |message: String| (message.lines().count() != 1).then(|| format!("says {message:?}"));
    let model = match from_text(text) {
        Ok(loaded) => loaded.model,
        Err(error) => return one_line(error.to_string()),
    };
    let engine = onnxpress::engine::interpret::Interpreter::default();
    let optimizer = Optimizer::new(Recipe::builtin("simplify").unwrap()).verify_with(&engine);
    let (result, report) = match optimizer.run(&model) {
        Ok(done) => done,
        Err(error) => return one_line(error.to_string()),
    };
    if report.differs() {
        return Some(format!("answers differ: {:?}", report.run.verification));
    }
    let left = result.graph.nodes().any(|n| result.graph.node(n).op.is(op));
    (!left && !report.is_equal())
        .then(|| format!("is gone, and the original does not run: {:?}", report.run.verification))
}
