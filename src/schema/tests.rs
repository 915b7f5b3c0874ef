//! Facts of the standard, checked by hand against its text.

use super::*;

const FLOAT: i32 = 1;
const INT32: i32 = 6;
const INT64: i32 = 7;
const BOOL: i32 = 9;
const FLOAT16: i32 = 10;
const BFLOAT16: i32 = 16;

fn get(name: &str, opset: i64) -> &'static OpSchema {
    lookup("", name, opset).unwrap_or_else(|| panic!("{name} of opset {opset}"))
}

fn since(name: &str, opset: i64) -> Option<i64> {
    lookup("", name, opset).map(|s| s.since_version)
}

#[test]
fn the_table_is_sorted_and_unique() {
    for pair in schemas().windows(2) {
        let key = |s: &OpSchema| (s.domain, s.name, s.since_version);
        assert!(key(&pair[0]) < key(&pair[1]), "{:?} before {:?}", key(&pair[0]), key(&pair[1]));
    }
}

#[test]
fn every_schema_is_consistent() {
    for s in schemas() {
        let what = format!("{:?} {} {}", s.domain, s.name, s.since_version);
        assert!(s.attributes.is_sorted_by(|a, b| a.name < b.name), "{what}: attributes");
        for (params, min, max) in
            [(s.inputs, s.min_inputs, s.max_inputs), (s.outputs, s.min_outputs, s.max_outputs)]
        {
            assert!(min <= max, "{what}: {min} to {max}");
            let variadic = params.iter().position(|p| p.option == ParamOption::Variadic);
            assert!(variadic.is_none_or(|at| at + 1 == params.len()), "{what}: variadic comes last");
            if variadic.is_none() {
                assert_eq!(max, params.len(), "{what}");
            }
            for p in params {
                let some = p.types.tensors().next().is_some() || p.types.has_container(u8::MAX);
                assert!(some, "{what}: {} has no type", p.name);
            }
        }
        for a in s.attributes {
            assert!(!(a.required && a.default.is_some()), "{what}: {} is required and has a default", a.name);
            let kind = a.default.map(|d| match d {
                AttrDefault::Float(_) => AttrKind::Float,
                AttrDefault::Int(_) => AttrKind::Int,
                AttrDefault::String(_) => AttrKind::String,
                AttrDefault::Floats(_) => AttrKind::Floats,
                AttrDefault::Ints(_) => AttrKind::Ints,
                AttrDefault::Strings(_) => AttrKind::Strings,
            });
            assert!(kind.is_none_or(|k| k == a.kind), "{what}: {} has a default of another type", a.name);
        }
        assert!(!s.domain.is_empty() || s.since_version <= NEWEST_OPSET, "{what}");
        assert!(s.domain != "ai.onnx.ml" || s.since_version <= NEWEST_ML_OPSET, "{what}");
        assert_eq!(lookup(s.domain, s.name, s.since_version), Some(s), "{what}");
    }
}

#[test]
fn lookup_takes_the_newest_version_of_the_opset() {
    assert_eq!(since("Softmax", 0), None);
    assert_eq!(since("Softmax", 1), Some(1));
    assert_eq!(since("Softmax", 10), Some(1));
    assert_eq!(since("Softmax", 11), Some(11));
    assert_eq!(since("Softmax", 12), Some(11));
    assert_eq!(since("Softmax", i64::MAX), Some(13));
    assert_eq!(since("LayerNormalization", 16), None);
    assert_eq!(since("LayerNormalization", 17), Some(17));
    assert_eq!(since("NoSuchOperator", 17), None);
    assert_eq!(since("", 17), None);
    assert_eq!(lookup("com.example", "Add", 17), None);
    assert_eq!(lookup("ai.onnx", "Add", 13), lookup("", "Add", 13));
    assert_eq!(lookup("ai.onnx.ml", "Scaler", 3).map(|s| s.since_version), Some(1));
}

#[test]
fn first_and_last_row_are_found() {
    for row in [schemas().first(), schemas().last()] {
        let row = row.expect("the table is not empty");
        assert_eq!(lookup(row.domain, row.name, row.since_version), Some(row));
    }
}

#[test]
fn versions_are_ascending() {
    let all: Vec<_> = versions("", "Resize").map(|s| s.since_version).collect();
    assert_eq!(all, [10, 11, 13, 18, 19]);
    assert_eq!(newest("", "Resize").map(|s| s.since_version), Some(19));
    assert_eq!(versions("", "Resiz").count(), 0);
    assert_eq!(newest("", "Resized"), None);
}

#[test]
fn withdrawn_operators_are_marked() {
    assert!(!get("Upsample", 9).deprecated);
    assert!(get("Upsample", 10).deprecated);
    assert!(get("Scatter", 11).deprecated);
    assert!(get("GroupNormalization", 20).deprecated);
    assert!(!get("GroupNormalization", 21).deprecated);
}

#[test]
fn parameters_and_counts() {
    let conv = get("Conv", 17);
    assert_eq!(conv.inputs.iter().map(|p| p.name).collect::<Vec<_>>(), ["X", "W", "B"]);
    assert_eq!((conv.min_inputs, conv.max_inputs, conv.min_outputs, conv.max_outputs), (2, 3, 1, 1));
    assert_eq!(conv.inputs[2].option, ParamOption::Optional);
    assert_eq!(conv.input(3), None);

    let concat = get("Concat", 13);
    assert_eq!((concat.min_inputs, concat.max_inputs), (1, UNBOUNDED));
    assert_eq!(concat.input(40).map(|p| (p.name, p.homogeneous)), Some(("inputs", true)));
    assert_eq!(get("Loop", 21).input(7).map(|p| p.homogeneous), Some(false));
    assert_eq!(get("Split", 18).output(5).map(|p| p.option), Some(ParamOption::Variadic));
}

#[test]
fn attributes_and_defaults() {
    let gemm = get("Gemm", 13);
    assert_eq!(gemm.attribute("alpha").and_then(|a| a.default), Some(AttrDefault::Float(1.0)));
    assert_eq!(gemm.attribute("gamma"), None);
    assert_eq!(get("Softmax", 11).attribute("axis").and_then(|a| a.default), Some(AttrDefault::Int(1)));
    assert_eq!(get("Softmax", 13).attribute("axis").and_then(|a| a.default), Some(AttrDefault::Int(-1)));
    let mode = get("Resize", 13).attribute("mode").expect("Resize has a mode");
    assert_eq!((mode.kind, mode.default), (AttrKind::String, Some(AttrDefault::String("nearest"))));
    let axis = get("Concat", 13).attribute("axis").expect("Concat has an axis");
    assert!(axis.required && axis.default.is_none());
    assert_eq!(get("Clip", 6).attribute("max").and_then(|a| a.default), Some(AttrDefault::Float(f32::MAX)));
    assert_eq!(get("Clip", 11).attribute("max"), None);
    let epsilon = get("BatchNormalization", 15).attribute("epsilon").and_then(|a| a.default);
    assert_eq!(epsilon, Some(AttrDefault::Float(1e-5)));
    assert_eq!(get("If", 13).attribute("then_branch").map(|a| a.kind.code()), Some(5));
    let activations = get("RNN", 14).attribute("activations").and_then(|a| a.default);
    assert_eq!(activations, Some(AttrDefault::Strings(&["Tanh", "Tanh"])));
}

#[test]
fn element_types() {
    let x = &get("Conv", 11).inputs[0];
    assert!(x.allows(FLOAT) && x.allows(FLOAT16) && !x.allows(BFLOAT16) && !x.allows(INT32));
    assert!(get("Conv", 22).inputs[0].allows(BFLOAT16));
    for code in [-1, 0, 29, 31, 32, i32::MAX, i32::MIN] {
        assert!(!get("Identity", 25).inputs[0].allows(code), "{code}");
    }
    let indices = &get("Gather", 13).inputs[1];
    assert_eq!(indices.types.tensors().collect::<Vec<_>>(), [INT32, INT64]);
    assert!(get("SequenceLength", 11).inputs[0].types.has_container(TypeSet::SEQUENCE));
    assert!(!get("Identity", 13).inputs[0].types.has_container(TypeSet::SEQUENCE));
    assert!(get("Identity", 16).inputs[0].types.has_container(TypeSet::OPTIONAL));
}

#[test]
fn output_types_follow_the_inputs() {
    let dtype = |name, opset, inputs: &[Option<i32>]| get(name, opset).output_dtype(0, inputs);
    assert_eq!(dtype("Add", 13, &[Some(FLOAT16), None]), Some(FLOAT16));
    assert_eq!(dtype("Add", 13, &[None, Some(FLOAT16)]), Some(FLOAT16));
    assert_eq!(dtype("Add", 13, &[None, None]), None);
    assert_eq!(dtype("Where", 16, &[Some(BOOL), None, Some(INT64)]), Some(INT64));
    assert_eq!(dtype("Gather", 13, &[None, Some(INT64)]), None);
    assert_eq!(dtype("Shape", 15, &[Some(FLOAT)]), Some(INT64));
    assert_eq!(dtype("Equal", 13, &[Some(FLOAT), Some(FLOAT)]), Some(BOOL));
    assert_eq!(dtype("CastLike", 15, &[Some(FLOAT), Some(INT64)]), Some(INT64));
    assert_eq!(dtype("Concat", 13, &[None, None, Some(INT32)]), Some(INT32));
    let split = get("Split", 18);
    assert_eq!(split.output_dtype(3, &[Some(FLOAT), Some(INT64)]), Some(FLOAT));
    let pool = get("MaxPool", 12);
    assert_eq!(pool.output_dtype(1, &[Some(FLOAT)]), Some(INT64));
    assert_eq!(pool.output_dtype(2, &[Some(FLOAT)]), None);
    let top = get("TopK", 11);
    assert_eq!((top.output_dtype(0, &[Some(FLOAT)]), top.output_dtype(1, &[])), (Some(FLOAT), Some(INT64)));
    // A type that the operator does not take proves nothing.
    assert_eq!(dtype("Conv", 11, &[Some(INT32), None]), None);
}

#[test]
fn types_decided_elsewhere_stay_open() {
    for (name, opset) in [("Cast", 13), ("ConstantOfShape", 9), ("EyeLike", 9), ("If", 13), ("Loop", 13)] {
        assert_eq!(get(name, opset).output_dtype(0, &[Some(FLOAT), Some(FLOAT)]), None, "{name}");
    }
    assert_eq!(get("RandomNormal", 1).output_dtype(0, &[]), None);
    assert_eq!(get("Constant", 13).output_dtype(0, &[]), None);
    // Without a zero point the attribute or the convention decides.
    let quantize = get("QuantizeLinear", 21);
    assert_eq!(quantize.output_dtype(0, &[Some(FLOAT), Some(FLOAT)]), None);
    assert_eq!(quantize.output_dtype(0, &[Some(FLOAT), Some(FLOAT), Some(3)]), Some(3));
}

#[test]
fn shared_type_variables() {
    let shared = |name, opset, output| get(name, opset).inputs_typed_as_output(output).collect::<Vec<_>>();
    assert_eq!(shared("Where", 16, 0), [1, 2]);
    assert_eq!(shared("Shape", 15, 0), [0_usize; 0]);
    assert_eq!(shared("Loop", 13, 0), [0_usize; 0]);
    assert_eq!(get("Where", 16).output_type_param(0), Some("T"));
    assert_eq!(get("NonMaxSuppression", 11).output_type_param(0), None);
    assert_eq!(get("Where", 16).output_type_param(1), None);
}

#[test]
fn functions_are_marked() {
    assert!(get("LayerNormalization", 17).is_function);
    assert!(get("CastLike", 19).is_function);
    assert!(!get("Conv", 11).is_function);
    assert!(!get("Softmax", 11).is_function && get("Softmax", 13).is_function);
}

#[test]
fn releases_give_ir_versions() {
    assert!(releases().is_sorted_by_key(|r| (r.opset, r.ir_version)));
    assert_eq!(releases().last().map(|r| r.opset), Some(NEWEST_OPSET));
    let expected =
        [(1, 3), (2, 3), (8, 3), (9, 4), (13, 7), (15, 8), (18, 8), (19, 9), (21, 10), (23, 11), (28, 14)];
    for (opset, ir_version) in expected {
        assert_eq!(ir_version_for_opset(opset), ir_version, "opset {opset}");
    }
    assert_eq!(ir_version_for_opset(i64::MAX), 14);
    assert_eq!(
        (ir_version_for_ml_opset(1), ir_version_for_ml_opset(3), ir_version_for_ml_opset(5)),
        (3, 8, 10)
    );
}

#[test]
fn random_operators() {
    for name in
        ["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"]
    {
        assert!(is_random("", name) && is_random("ai.onnx", name), "{name}");
        assert!(newest("", name).is_some(), "{name} exists");
    }
    assert!(!is_random("", "Dropout") && !is_random("com.example", "RandomNormal"));
}
