use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

fn model(text: &str) -> Model {
    crate::onnx::from_text(text).unwrap_or_else(|e| panic!("{e}")).model
}

fn original() -> Model {
    model(
        r#"<ir_version: 10, opset_import: ["": 21]>
        g (float[N, 4] x) => (float[N, 2] y) <float[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}>
        { a = MatMul (x, w)  y = Relu (a) }"#,
    )
}

fn result() -> Model {
    model(
        r#"<ir_version: 10, opset_import: ["": 21]>
        g (float[N, 4] x) => (float[N, 2] y)
        <float s = {0.5}, uint8 z = {3}, int8[4, 2] c = {1, 2, 3, 4, 5, 6, 7, 8}, float[2] v = {0.5, 0.25}>
        { q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)
          w = DequantizeLinear <axis = 1> (c, v)
          a = MatMul (d, w)  y = Relu (a) }"#,
    )
}

fn blocks() -> Model {
    model(
        r#"<ir_version: 10, opset_import: ["": 21]>
        g (float[N, 4] x) => (float[N, 2] y)
        <int8[4, 2] c = {1, 2, 3, 4, 5, 6, 7, 8}, float[2, 2] v = {1, 2, 3, 4}>
        { w = DequantizeLinear <axis = 0, block_size = 2> (c, v)  y = MatMul (x, w) }"#,
    )
}

/// Version 0.6.1 as it is published, field by field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Old {
    version: String,
    activation_encodings: BTreeMap<String, Vec<OldEncoding>>,
    param_encodings: BTreeMap<String, Vec<OldEncoding>>,
    quantizer_args: OldArgs,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OldEncoding {
    bitwidth: u32,
    dtype: String,
    is_symmetric: String,
    max: f64,
    min: f64,
    offset: i64,
    scale: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OldArgs {
    activation_bitwidth: u32,
    dtype: String,
    is_symmetric: String,
    param_bitwidth: u32,
    per_channel_quantization: String,
    quant_scheme: String,
}

#[test]
fn encodings_are_read_back() {
    let text = ranges(&original(), &result(), RangeFormat::Encodings).unwrap();
    let file: Old = serde_json::from_str(&text).unwrap();
    assert_eq!(file.version, "0.6.1");
    let [x] = &file.activation_encodings["x"][..] else { panic!("{text}") };
    assert_eq!((x.bitwidth, &*x.dtype, &*x.is_symmetric), (8, "int", "False"));
    assert_eq!((x.offset, x.scale, x.min, x.max), (-3, 0.5, -1.5, 126.0), "the zero point, its sign turned");
    let [first, second] = &file.param_encodings["w"][..] else { panic!("{text}") };
    assert_eq!((first.offset, first.min, first.max), (-128, -64.0, 63.5), "counted from the smallest code");
    assert_eq!((second.scale, &*second.is_symmetric), (0.25, "True"));
    for encoding in file.activation_encodings.values().chain(file.param_encodings.values()).flatten() {
        assert!(
            (encoding.offset as f64 * encoding.scale - encoding.min).abs() < 1e-12,
            "min = offset · scale"
        );
        let steps = f64::from((1u32 << encoding.bitwidth) - 1);
        assert!((encoding.min + steps * encoding.scale - encoding.max).abs() < 1e-12);
    }
    let args = file.quantizer_args;
    assert_eq!((args.activation_bitwidth, args.param_bitwidth), (8, 8));
    let words = [&*args.dtype, &*args.is_symmetric, &*args.per_channel_quantization, &*args.quant_scheme];
    assert_eq!(words, ["int", "True", "True", "post_training_tf"]);
}

#[test]
fn blocks_need_the_newer_version() {
    let text = ranges(&original(), &blocks(), RangeFormat::Encodings).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(file["version"], "1.0.0");
    assert_eq!(file["activation_encodings"], json!([]));
    let wanted = json!([{
        "name": "w", "enc_type": "PER_BLOCK", "dtype": "INT", "bw": 8, "is_sym": true, "block_size": 2,
        "scale": [1.0, 3.0, 2.0, 4.0], "offset": [-128, -128, -128, -128],
    }]);
    assert_eq!(file["param_encodings"], wanted, "the blocks of an output channel are neighbours");
    assert_eq!(file["quantizer_args"]["is_symmetric"], true);
    assert_eq!(file["excluded_layers"], json!([]));
}

#[test]
fn tables_have_a_row_for_every_scale() {
    let text = ranges(&original(), &result(), RangeFormat::Csv).unwrap();
    let wanted = "\
tensor,kind,axis,index,block_size,dtype,scale,zero_point,min,max
x,activation,,,,uint8,0.5,3,-1.5,126
w,parameter,1,0,,int8,0.5,0,-64,63.5
w,parameter,1,1,,int8,0.25,0,-32,31.75
";
    assert_eq!(text, wanted);
    let tabs = ranges(&original(), &blocks(), RangeFormat::Tsv).unwrap();
    assert!(tabs.contains("\nw\tparameter\t0\t3\t2\tint8\t4\t0\t-512\t508\n"), "{tabs}");
    assert_eq!(quoted("a,\"b\"", ','), "\"a,\"\"b\"\"\"");
    assert_eq!(quoted("a,b", '\t'), "a,b");
}

#[test]
fn a_float_model_has_no_ranges_and_names_say_the_form() {
    assert_eq!(ranges(&original(), &original(), RangeFormat::Csv), None);
    for (name, form) in [
        ("a.encodings", Some(RangeFormat::Encodings)),
        ("A.JSON", Some(RangeFormat::Encodings)),
        ("a.csv", Some(RangeFormat::Csv)),
        ("a.b.tsv", Some(RangeFormat::Tsv)),
        ("a.txt", None),
        ("csv", None),
    ] {
        assert_eq!(RangeFormat::of(name), form, "{name}");
    }
}
