//! Every step up and down.

use super::*;
use In::{Const, None as No, Of, Unknown};

const F: DType = DType::Float;

/// `opset Op attrs inputs outputs => newest form`; lowering the newest form to `opset` must give the old form again,
/// or the text after `lowers to`.
struct Up {
    node: (i64, &'static str, Attrs, Vec<In>, usize),
    newest: &'static str,
    lowered: Option<&'static str>,
}

fn up(
    opset: i64,
    op: &'static str,
    attrs: Attrs,
    inputs: Vec<In>,
    outputs: usize,
    newest: &'static str,
) -> Up {
    Up { node: (opset, op, attrs, inputs, outputs), newest, lowered: None }
}

impl Up {
    fn lowers_to(mut self, text: &'static str) -> Self {
        self.lowered = Some(text);
        self
    }
}

fn a() -> Attrs {
    Attrs::new()
}

fn x4() -> In {
    Of(F, &[1, 3, 4, 4])
}

fn ints(items: &[i64]) -> In {
    Const(TensorData::vector(items))
}

fn floats(items: &[f32]) -> In {
    Const(TensorData::vector(items))
}

fn check(cases: Vec<Up>) {
    for case in cases {
        let (opset, op, attrs, inputs, outputs) = case.node;
        let mut model = one_node(opset, op, attrs, inputs, outputs);
        let id = only_node(&model.graph);
        let before = node_text(&model.graph, id);
        upgrade(&mut model).unwrap();
        model.check().unwrap();
        let graph = &mut model.graph;
        assert_eq!(graph.node(id).opaque, Option::None, "{before}");
        assert_eq!(node_text(graph, id), case.newest, "{before} of opset {opset}");
        assert_eq!(graph.node(id).as_read.is_some(), before != case.newest, "{before}");
        assert_eq!(written_text(graph, id, opset).as_ref(), Ok(&before), "untouched");
        graph.node_mut(id).touch();
        let wanted = case.lowered.map_or(before, str::to_owned);
        assert_eq!(written_text(graph, id, opset), Ok(wanted), "lowering {} to {opset}", case.newest);
    }
}

#[test]
fn attributes_become_inputs() {
    check(vec![
        up(11, "Squeeze", a().with("axes", vec![0]), vec![x4()], 1, "Squeeze{}(a, int64:[0])"),
        up(11, "Squeeze", a(), vec![Unknown], 1, "Squeeze{}(a)"),
        up(1, "Squeeze", a().with("axes", vec![0]), vec![Unknown], 1, "Squeeze{}(a, int64:[0])"),
        up(9, "Unsqueeze", a().with("axes", vec![0, 2]), vec![Unknown], 1, "Unsqueeze{}(a, int64:[0, 2])"),
        up(11, "ReduceSum", a().with("axes", vec![-1]), vec![Unknown], 1, "ReduceSum{}(a, int64:[-1])"),
        up(
            12,
            "ReduceMean",
            a().with("axes", vec![2, 3]).with("keepdims", 0),
            vec![Unknown],
            1,
            "ReduceMean{keepdims=0}(a, int64:[2, 3])",
        ),
        up(17, "ReduceMax", a(), vec![Unknown], 1, "ReduceMax{}(a)"),
        up(
            9,
            "Slice",
            a().with("starts", vec![0]).with("ends", vec![9]).with("axes", vec![1]),
            vec![Unknown],
            1,
            "Slice{}(a, int64:[0], int64:[9], int64:[1])",
        ),
        up(
            11,
            "Split",
            a().with("axis", 1).with("split", vec![1, 2]),
            vec![Unknown],
            2,
            "Split{axis=1}(a, int64:[1, 2])",
        ),
        up(4, "Reshape", a().with("shape", vec![0, -1]), vec![x4()], 1, "Reshape{}(a, int64:[0, -1])"),
        up(9, "TopK", a().with("k", 3).with("axis", 1), vec![x4()], 2, "TopK{axis=1}(a, int64:[3])"),
        up(19, "DFT", a().with("axis", 2), vec![Unknown], 1, "DFT{}(a, -, int64:[2].)"),
        up(17, "DFT", a(), vec![Unknown], 1, "DFT{}(a, -, int64:[1].)").lowers_to("DFT{axis=1}(a)"),
        up(
            6,
            "Clip",
            a().with("min", 0.0).with("max", 6.0),
            vec![x4()],
            1,
            "Clip{}(a, float:[0.0]., float:[6.0].)",
        ),
        up(10, "Clip", a().with("max", 6.0), vec![x4()], 1, "Clip{}(a, -, float:[6.0].)"),
        up(9, "Clip", a(), vec![Unknown], 1, "Clip{}(a)"),
        up(
            9,
            "Pad",
            a().with("pads", vec![0, 1, 0, 1]).with("value", 0.5).with("mode", "constant"),
            vec![Of(F, &[2, 2])],
            1,
            "Pad{mode=constant}(a, int64:[0, 1, 0, 1], float:[0.5].)",
        ),
        up(1, "Pad", a().with("paddings", vec![1, 1]), vec![Unknown], 1, "Pad{}(a, int64:[1, 1])"),
        up(11, "Dropout", a().with("ratio", 0.25), vec![Unknown], 1, "Dropout{}(a, float:[0.25].)"),
    ]);
}

#[test]
fn split_without_sizes_counts_its_outputs() {
    check(vec![
        up(13, "Split", a().with("axis", 1), vec![Of(F, &[2, 4])], 2, "Split{axis=1,num_outputs=2}(a)"),
        up(2, "Split", a(), vec![Of(F, &[4])], 2, "Split{num_outputs=2}(a)"),
    ]);
    let mut model = one_node(18, "Split", a().with("num_outputs", 3), vec![Of(F, &[7])], 3);
    upgrade(&mut model).unwrap();
    let lowered = written_text(&model.graph, only_node(&model.graph), 13);
    assert_eq!(lowered.unwrap(), "Split{}(a, int64:[3, 3, 1])");
}

#[test]
fn hints_and_spellings_of_the_first_opsets_go() {
    let shape: &[u64] = &[2, 3];
    check(vec![
        up(5, "Relu", a().with("consumed_inputs", vec![0]), vec![Unknown], 1, "Relu{}(a)")
            .lowers_to("Relu{}(a)"),
        up(5, "Cast", a().with("to", "FLOAT16"), vec![Unknown], 1, "Cast{to=10}(a)"),
        up(3, "Concat", a(), vec![Unknown, Unknown], 1, "Concat{axis=1}(a, b)")
            .lowers_to("Concat{axis=1}(a, b)"),
        up(5, "Selu", a(), vec![Unknown], 1, "Selu{alpha=1.6732,gamma=1.0507}(a)")
            .lowers_to("Selu{alpha=1.6732,gamma=1.0507}(a)"),
        up(
            1,
            "LpPool",
            a().with("p", 2.0).with("kernel_shape", vec![2]),
            vec![Unknown],
            1,
            "LpPool{kernel_shape=[2],p=2}(a)",
        ),
        up(
            6,
            "LSTM",
            a().with("output_sequence", 1).with("hidden_size", 4),
            vec![Unknown, Unknown, Unknown],
            1,
            "LSTM{hidden_size=4}(a, b, c)",
        ),
        up(
            2,
            "GRU",
            a().with("direction", "foward"),
            vec![Unknown, Unknown, Unknown],
            1,
            "GRU{direction=forward}(a, b, c)",
        )
        .lowers_to("GRU{direction=forward,output_sequence=1}(a, b, c)"),
        up(6, "Add", a(), vec![Of(F, shape), Of(F, shape)], 1, "Add{}(a, b)"),
        up(6, "Mul", a().with("broadcast", 1), vec![Of(F, shape), Of(F, &[3])], 1, "Mul{}(a, b)"),
        up(
            6,
            "Mul",
            a().with("broadcast", 1).with("axis", 1),
            vec![Of(F, shape), Of(F, &[3])],
            1,
            "Mul{}(a, b)",
        )
        .lowers_to("Mul{broadcast=1}(a, b)"),
        up(6, "Gemm", a().with("broadcast", 1), vec![Unknown, Unknown, Of(F, &[3])], 1, "Gemm{}(a, b, c)"),
        up(6, "PRelu", a(), vec![x4(), floats(&[0.1])], 1, "PRelu{}(a, float:[0.10000000149011612])"),
    ]);
}

#[test]
fn normalisations_lose_their_modes() {
    let five = || vec![x4(), Unknown, Unknown, Unknown, Unknown];
    let newest = "BatchNormalization{epsilon=0.001}(a, b, c, d, e)";
    let eps = || a().with("epsilon", 0.001f32);
    check(vec![
        up(8, "BatchNormalization", eps().with("spatial", 1), five(), 1, newest).lowers_to(newest),
        up(6, "BatchNormalization", eps().with("is_test", 1), five(), 1, newest),
        up(9, "BatchNormalization", eps(), five(), 1, newest),
        up(
            6,
            "Dropout",
            a().with("is_test", 1).with("ratio", 0.5),
            vec![x4()],
            1,
            "Dropout{}(a, float:[0.5].)",
        ),
        up(12, "Softmax", a(), vec![Of(F, &[2, 3])], 1, "Softmax{axis=1}(a)").lowers_to("Softmax{axis=1}(a)"),
        up(11, "LogSoftmax", a().with("axis", -1), vec![Unknown], 1, "LogSoftmax{axis=-1}(a)"),
        up(9, "Softmax", a().with("axis", 1), vec![Of(F, &[1, 9, 1, 1])], 1, "Softmax{axis=1}(a)"),
    ]);
    let half = Of(DType::Float16, &[1, 3, 4, 4]);
    let groups = a().with("num_groups", 3);
    let mut model = one_node(20, "GroupNormalization", groups, vec![half, Unknown, Unknown], 1);
    upgrade(&mut model).unwrap();
    let newest = node_text(&model.graph, only_node(&model.graph));
    assert_eq!(newest, "GroupNormalization{num_groups=3,stash_type=10}(a, b, c)");
}

#[test]
fn resampling_becomes_resize() {
    let linear =
        "Resize{coordinate_transformation_mode=asymmetric,mode=linear}(a, -, float:[1.0, 1.0, 2.0, 2.0])";
    let nearest = "Resize{coordinate_transformation_mode=asymmetric,mode=nearest,nearest_mode=floor}(a, -, float:[1.0, 1.0, 2.0, 2.0])";
    let shrinking = "Resize{coordinate_transformation_mode=asymmetric,nearest_mode=ceil}(a, -, float:[1.0, 1.0, 0.5, 0.5])";
    let twice = || floats(&[1.0, 1.0, 2.0, 2.0]);
    let mode = |mode: &str| a().with("mode", mode);
    check(vec![
        up(9, "Upsample", mode("linear"), vec![x4(), twice()], 1, linear),
        up(9, "Upsample", mode("nearest"), vec![x4(), twice()], 1, nearest),
        up(7, "Upsample", mode("nearest").with("scales", vec![1.0, 1.0, 2.0, 2.0]), vec![x4()], 1, nearest),
        up(1, "Upsample", mode("bilinear").with("height_scale", 2.0).with("width_scale", 2.0), vec![x4()], 1, linear),
        up(10, "Resize", mode("nearest"), vec![x4(), twice()], 1, nearest),
        up(10, "Resize", a(), vec![x4(), floats(&[1.0, 1.0, 0.5, 0.5])], 1, shrinking),
        up(
            11,
            "Resize",
            a().with("coordinate_transformation_mode", "tf_half_pixel_for_nn").with("nearest_mode", "floor"),
            vec![x4(), floats(&[]), twice()],
            1,
            "Resize{coordinate_transformation_mode=half_pixel,nearest_mode=round_prefer_ceil}(a, float:[], float:[1.0, 1.0, 2.0, 2.0])",
        )
        .lowers_to("Resize{coordinate_transformation_mode=half_pixel,nearest_mode=round_prefer_ceil}(a, float:[], float:[1.0, 1.0, 2.0, 2.0])"),
        up(13, "Resize", a(), vec![x4(), No, twice()], 1, "Resize{}(a, -, float:[1.0, 1.0, 2.0, 2.0])"),
        up(16, "GridSample", mode("bilinear"), vec![x4(), Unknown], 1, "GridSample{mode=linear}(a, b)"),
        up(10, "RoiAlign", a(), vec![x4(), Unknown, Unknown], 1, "RoiAlign{coordinate_transformation_mode=output_half_pixel}(a, b, c)"),
        up(10, "Scatter", a().with("axis", 1), vec![Unknown, Unknown, Unknown], 1, "ScatterElements{axis=1}(a, b, c)"),
    ]);
    let mut model = one_node(13, "Resize", a(), vec![x4(), No, twice()], 1);
    upgrade(&mut model).unwrap();
    let lowered = written_text(&model.graph, only_node(&model.graph), 11).unwrap();
    assert_eq!(lowered, "Resize{}(a, float:[], float:[1.0, 1.0, 2.0, 2.0])");
}

#[test]
fn what_has_no_exact_newer_form_is_opaque() {
    let cases = vec![
        (11, "Softmax", a(), vec![Of(F, &[2, 3, 4])], 1),
        (11, "Softmax", a(), vec![Unknown], 1),
        (6, "BatchNormalization", a(), vec![Unknown, Unknown, Unknown, Unknown, Unknown], 1),
        (9, "BatchNormalization", a(), vec![Unknown, Unknown, Unknown, Unknown, Unknown], 3),
        (8, "BatchNormalization", a().with("spatial", 0), vec![x4(), Unknown, Unknown, Unknown, Unknown], 1),
        (7, "Dropout", a(), vec![Unknown], 2),
        (10, "Clip", a().with("min", 0.0), vec![Unknown], 1),
        (10, "Clip", a().with("min", 0), vec![x4()], 1),
        (6, "Add", a().with("broadcast", 1).with("axis", 0), vec![x4(), Unknown], 1),
        (6, "Add", a().with("broadcast", 1).with("axis", 1), vec![x4(), Of(F, &[3])], 1),
        (6, "PRelu", a(), vec![x4(), Of(F, &[3])], 1),
        (5, "Tile", a(), vec![Unknown, Unknown, Unknown], 1),
        (10, "Resize", a(), vec![x4(), Unknown], 1),
        (10, "Resize", a(), vec![x4(), floats(&[1.0, 1.0, 0.5, 2.0])], 1),
        (12, "Erf", a(), vec![Of(DType::Int32, &[2])], 1),
        (18, "GroupNormalization", a().with("num_groups", 1), vec![x4(), Unknown, Unknown], 1),
        (8, "Scan", a(), vec![Unknown, Unknown], 1),
        (11, "Upsample", a(), vec![x4(), floats(&[1.0, 1.0, 2.0, 2.0])], 1),
        (13, "NoSuchOperator", a(), vec![Unknown], 1),
        (99, "Relu", a(), vec![Unknown], 1),
    ];
    for (opset, op, attrs, inputs, outputs) in cases {
        let mut model = one_node(opset, op, attrs, inputs, outputs);
        let id = only_node(&model.graph);
        let before = node_text(&model.graph, id);
        upgrade(&mut model).unwrap();
        let node = model.graph.node(id);
        assert_eq!(node.opaque, Some(opset), "{before}");
        assert!(node.as_read.is_none(), "{before}");
        assert_eq!(node_text(&model.graph, id), before);
        assert_eq!(written_text(&model.graph, id, opset), Ok(before));
    }
}

#[test]
fn what_an_older_opset_cannot_say_is_refused() {
    let mode = |mode: &str| a().with("mode", mode);
    let cases = vec![
        ("HardSwish", a(), vec![Unknown], 13, Some(14)),
        ("Squeeze", a(), vec![Unknown, Unknown], 11, Some(13)),
        ("Squeeze", a(), vec![Unknown, ints(&[-1])], 9, Some(11)),
        ("ReduceSum", a(), vec![Unknown, Unknown], 11, Some(13)),
        ("ReduceMean", a().with("noop_with_empty_axes", 1), vec![Unknown], 13, Some(18)),
        ("Softmax", a().with("axis", 1), vec![x4()], 12, Some(13)),
        ("Softmax", a(), vec![Unknown], 10, Some(11)),
        ("Slice", a(), vec![x4(), ints(&[0]), ints(&[2]), No, ints(&[2])], 9, Some(10)),
        ("Pad", a(), vec![Unknown, ints(&[1, 1]), No, ints(&[1])], 13, Some(18)),
        ("Pad", mode("wrap"), vec![Unknown, ints(&[1, 1])], 18, Some(19)),
        ("Reshape", a().with("allowzero", 1), vec![Unknown, ints(&[0, 1])], 13, Some(14)),
        ("TopK", a().with("largest", 0), vec![Unknown, ints(&[1])], 10, Some(11)),
        ("Clip", a(), vec![Of(DType::Int64, &[1]), Unknown], 11, Some(12)),
        ("Clip", a(), vec![Of(DType::Double, &[1]), Const(TensorData::scalar(0.1f64))], 10, Some(11)),
        ("Resize", mode("cubic"), vec![x4(), No, floats(&[1.0, 1.0, 2.0, 2.0])], 10, Some(11)),
        ("Resize", a().with("antialias", 1), vec![x4(), No, floats(&[1.0, 1.0, 2.0, 2.0])], 17, Some(18)),
        ("Split", a().with("num_outputs", 2), vec![Unknown], 13, Some(18)),
        (
            "BatchNormalization",
            a().with("training_mode", 1),
            vec![Unknown, Unknown, Unknown, Unknown, Unknown],
            13,
            Some(14),
        ),
        ("QuantizeLinear", a(), vec![Of(DType::Int32, &[2]), Of(F, &[])], 21, Some(23)),
        ("GroupNormalization", a().with("num_groups", 3), vec![x4(), Unknown, Unknown], 20, Some(21)),
        ("ScatterElements", a().with("reduction", "max"), vec![Unknown, Unknown, Unknown], 16, Some(18)),
        ("DequantizeLinear", a(), vec![Unknown, floats(&[1.0, 2.0])], 12, Some(13)),
        ("Cast", a().with("to", 16), vec![Unknown], 12, Some(13)),
        ("Add", a(), vec![Of(F, &[2]), Of(DType::Double, &[2])], 13, Option::None),
        ("NoSuchOperator", a(), vec![Unknown], 13, Option::None),
    ];
    for (op, attrs, inputs, opset, lowest) in cases {
        let model = one_node(28, op, attrs, inputs, 1);
        let id = only_node(&model.graph);
        let refusal = written_text(&model.graph, id, opset).expect_err(op);
        assert_eq!(refusal.lowest, lowest, "{refusal}");
    }
}
