use bytes::Bytes;

use super::{attribute, initializer, model_of, parse, print};
use crate::onnx::proto::tensor_proto::DataType;
use crate::onnx::proto::{GraphProto, ModelProto, TensorProto};
use crate::onnx::text::{PrintOptions, print_model};

/// Each is printed exactly as it stands here.
const CANONICAL: &[&str] = &[
    "<ir_version: 8, opset_import: [\"\" : 17]>
g (float[N,4,8,8] x) => (float[N,6,6,6] y)
<float[6,2,3,3] w, float[6] b>
{
  c = Conv <group = 2> (x, w, b)
  y = BatchNormalization <epsilon = 0.001> (c)
}
",
    "<
  ir_version: 10,
  opset_import: [\"\" : 21, \"com.microsoft\" : 1],
  producer_name: \"a \\\"quoted\\\" \\\\ name\",
  producer_version: \"1.0\",
  domain: \"test\",
  model_version: -3,
  doc_string: \"two
lines\",
  metadata_props: [\"key\": \"value\", \"\": \"\"]
>
\"a graph\" () => ()
{
}
",
    "g (untyped, float scalar, float[] unranked, int64[1,?,N,\"a+b\",-1] \"/layer1/Conv_output_0\") => (bool \"a:0\")
{
}
",
    "g (seq(float[2]) a, map(int64, string) b, optional(seq(map(string, float[N]))) c, sparse_tensor(double[3,4]) d, \
     sparse_tensor(double[]) e, opaque() f, opaque(a.b) h, opaque(ai.onnx.ml, x) i) => ()
{
}
",
    "g (float8e4m3fn a, float8e4m3fnuz b, float8e5m2 c, float8e5m2fnuz d, float8e8m0 e, float4e2m1 f, int4 h, uint4 i, \
     int2 j, uint2 k, float6e2m3 l, float6e3m2 m, bfloat16 n, float16 o, complex64 p, complex128 q, string r) => ()
{
}
",
    "g () => ()
<
  float[7] a = {1, -0, 0.1, 1e-10, inf, -inf, 3.4028235e38},
  double[3] b = {nan, -nan, 1.7976931348623157e308},
  string[3] c = {\"\", \"a \\\"b\\\" \\\\\", \"ä\"},
  int64[2] d = {-9223372036854775808, 9223372036854775807},
  uint64[1] e = {18446744073709551615},
  uint32 f = {4294967295},
  int8[2] g = {-128, 127},
  float16[1] h = {15360},
  bool[2] i = {0, 1},
  complex64[2] j = {1, 2, 3, 4},
  complex128 k = {0.5, -0.5},
  int4[3] l = {225, 3},
  uint2[5] m = {228, 1},
  float4e2m1[2] n = {16},
  float6e2m3[2] o = {63, 0},
  float8e8m0[1] p = {255},
  bfloat16[1] q = {16256},
  float[0] r = {},
  float[2,2] s = [\"location\": \"weights.bin\", \"offset\": \"4096\"],
  float[2] \"map\",
  v
>
{
}
",
    "g () => ()
{
  = Nothing ()
  \"\", y = com.microsoft.Gelu (\"\", x, \"\")
  [label] y = Op (\"float\", \"nan\", seq_)
  [\"/a/b\"] y = \"pkg.torch.2.9\".Op:v1 (x)
  y = \"odd op\":\"odd overload\" <\"odd attribute\" = 1, optional = 2> (x)
}
",
    "g () => ()
{
  y = Op <a = 1, b = -2, c = 1.0, d = 1e-5, e = nan, f = -inf, g = \"a \\\"b\\\"\", h = [1, 2], i = [1.0, 2.5], j = [\"x\", \"\"]> ()
  y = Op <a: ints = [], b: floats = [], c: strings = [], d: graphs = [], e: tensors = []> ()
  y = Op <a: float = @alpha, b: graphs = @\"odd name\", c = @untyped> ()
  y = Op <a = float[2] {1, 2.5}, b = int64 {3}, c = string[1] name {\"s\"}, d = float[2] = [\"location\": \"f\"], e = int32[5] {}> ()
  y = Op <a = float[N,?], b = seq(float), c = float, d = optional(float[])> ()
  y = Op <a = [float[1] {1}, float {2}], b = [float[1], seq(int64)], c = [sparse_tensor(float[3]) {float[1] {1}, int64[1] {2}}]> ()
  y = Op <a = sparse_tensor(float[3,4]) {float[2] v {1, 2}, int64[2] {0, 5}}> ()
}
",
    "g (bool c, float x) => (float y)
{
  y = If (c) <
    then_branch = g1 () => (float y1)
    <float k = {2}, float y2>
    {
      y2 = Identity (k)
      y1 = Loop () <
        body = \"inner graph\" (float i) => ()
        {
        }
      >
    },
    else_branch = g2 () => (float y3)
    {
      y3 = Identity (x)
    },
    n = 3
  >
}
",
    "g () => ()
{
}
<domain: \"local\", overload: \"v1\", opset_import: [\"\" : 18], doc_string: \"what it does\">
f <alpha, \"odd name\", beta = 1.5, gamma: ints = []> (x, \"float\") => (y)
<float[N] x, float[N] y, t>
{
  y = Elu <alpha: float = @alpha> (x)
}
h () => ()
{
}
",
];

#[test]
fn canonical_text_is_printed_as_it_was_read() {
    for text in CANONICAL {
        let model = parse(text);
        let printed = print(&model);
        assert_eq!(printed, *text);
        // NaN is unequal to itself; the text that stands for it is not.
        assert_eq!(format!("{:?}", parse(&printed)), format!("{model:?}"));
    }
}

/// Other spellings of what is printed in one way.
#[test]
fn other_spellings_mean_the_same() {
    let same: &[(&str, &str)] = &[
        ("g()=>(){}", "g () => ()\n{\n}\n"),
        ("# a comment\ng () # and\r\n => \t()\x0c{ # more }\n}#end", "g () => ()\n{\n}\n"),
        ("<> g () => () <> {}", "g () => ()\n{\n}\n"),
        ("g () => () { y = Op (x) <a = 1> }", "g () => ()\n{\n  y = Op <a = 1> (x)\n}\n"),
        ("g () => () { y = Op (,x,) z = Op(,) }", "g () => ()\n{\n  y = Op (\"\", x)\n  z = Op (\"\")\n}\n"),
        ("g () => () { [] y, = Op () }", "g () => ()\n{\n  y = Op ()\n}\n"),
        ("g (float[1] x = {2}) => () {}", "g (float[1] x) => ()\n<float[1] x = {2}>\n{\n}\n"),
        (
            "g () => () { y = Op <a : int = 1, b : float = 2, c: floats = [1, 2.0, INF], d : tensor = float[1] \"a/b\" = {1}> () }",
            "g () => ()\n{\n  y = Op <a = 1, b = 2.0, c = [1.0, 2.0, inf], d = float[1] {1}> ()\n}\n",
        ),
        ("g () => () { y = Op <a = [1.5, 2]> () }", "g () => ()\n{\n  y = Op <a = [1.5, 2.0]> ()\n}\n"),
        (
            "g () => () {} f (float x, y) => (int64[2] z) {}",
            "g () => ()\n{\n}\nf (x, y) => (z)\n<float x, int64[2] z>\n{\n}\n",
        ),
        ("g () => () <int4[3] q = {1, -2, 3}> {}", "g () => ()\n<int4[3] q = {225, 3}>\n{\n}\n"),
        ("g () => () <uint2[5] q = {0, 1, 2, 3, 1}> {}", "g () => ()\n<uint2[5] q = {228, 1}>\n{\n}\n"),
        (
            "g () => () <float[3] a = {1., 1E2, Infinity}> {}",
            "g () => ()\n<float[3] a = {1, 100, inf}>\n{\n}\n",
        ),
        ("g () => () <string s = {\"\\n\"}> {}", "g () => ()\n<string s = {\"n\"}>\n{\n}\n"),
    ];
    for (text, printed) in same {
        assert_eq!(print(&parse(text)), *printed, "{text}");
    }
}

#[test]
fn floats_keep_their_bits() {
    let mut bits: Vec<u32> = (0..=255).map(|exponent| exponent << 23 | 0x0035_1234).collect();
    bits.extend([0, 1, 0x8000_0000, 0x007f_ffff, 0x7f7f_ffff, 0x7f80_0000, 0xff80_0000, 0x3f80_0000]);
    let data: Vec<f32> = bits.iter().map(|bits| f32::from_bits(*bits)).filter(|f| !f.is_nan()).collect();
    let tensor = TensorProto {
        dims: vec![data.len() as i64],
        data_type: Some(DataType::Float as i32),
        name: Some("w".to_owned()),
        float_data: data.clone(),
        ..TensorProto::default()
    };
    let read = parse(&print(&model_of(tensor))).graph.unwrap().initializer.remove(0).float_data;
    assert!(read.iter().map(|f| f.to_bits()).eq(data.iter().map(|f| f.to_bits())));
    for f in data {
        let mut read = attribute(&format!("a = {f:?}"));
        assert_eq!(read.f.take().map(f32::to_bits), Some(f.to_bits()));
    }
}

/// Data in `raw_data` are read back in the typed field of the same type.
#[test]
fn raw_data_are_printed_as_elements() {
    let cases: &[(DataType, i64, &[u8], &str)] = &[
        (DataType::Float, 1, &[0, 0, 0x80, 0x3f], "float[1] w = {1}"),
        (DataType::Double, 1, &[0, 0, 0, 0, 0, 0, 0xf8, 0xbf], "double[1] w = {-1.5}"),
        (DataType::Float16, 1, &[0, 0xbc], "float16[1] w = {48128}"),
        (DataType::Bfloat16, 1, &[0x80, 0x3f], "bfloat16[1] w = {16256}"),
        (DataType::Int8, 2, &[0xff, 1], "int8[2] w = {-1, 1}"),
        (DataType::Uint8, 2, &[0xff, 1], "uint8[2] w = {255, 1}"),
        (DataType::Bool, 3, &[0, 1, 7], "bool[3] w = {0, 1, 1}"),
        (DataType::Int16, 1, &[0xfe, 0xff], "int16[1] w = {-2}"),
        (DataType::Int32, 1, &[0xfe, 0xff, 0xff, 0xff], "int32[1] w = {-2}"),
        (DataType::Uint32, 1, &[0xfe, 0xff, 0xff, 0xff], "uint32[1] w = {4294967294}"),
        (DataType::Int64, 1, &[0xff; 8], "int64[1] w = {-1}"),
        (DataType::Uint64, 1, &[0xff; 8], "uint64[1] w = {18446744073709551615}"),
        (DataType::Int4, 3, &[0xe1, 3], "int4[3] w = {225, 3}"),
        (DataType::Uint2, 5, &[0xe4, 1], "uint2[5] w = {228, 1}"),
        (DataType::Float6e2m3, 5, &[0x41, 0x20, 0xfc, 0x05], "float6e2m3[5] w = {1, 1, 2, 63, 5}"),
        (DataType::Complex64, 1, &[0, 0, 0x80, 0x3f, 0, 0, 0, 0x40], "complex64[1] w = {1, 2}"),
        // What does not fit its dims is declared only.
        (DataType::Float, 2, &[0, 0, 0x80, 0x3f], "float[2] w"),
        (DataType::Int4, 3, &[1], "int4[3] w"),
        (DataType::Float, -1, &[], "float[-1] w"),
        (DataType::Undefined, 1, &[0], "w"),
    ];
    for (data_type, dim, raw, expected) in cases {
        let tensor = TensorProto {
            dims: vec![*dim],
            data_type: Some(*data_type as i32),
            name: Some("w".to_owned()),
            raw_data: Some(Bytes::from_static(raw)),
            ..TensorProto::default()
        };
        let text = print(&model_of(tensor));
        assert_eq!(text, format!("\"\" () => ()\n<{expected}>\n{{\n}}\n"));
        assert_eq!(print(&parse(&text)), text);
    }
}

#[test]
fn large_tensors_are_declared_without_data() {
    let model = parse(
        "g () => () <float[3] w = {1, 2, 3}, float[2] b = {1, 2}, float[3] w> { y = Op <a = int64[3] {1, 2, 3}> () }",
    );
    let text = print_model(&model, &PrintOptions { max_elements: 2 });
    assert_eq!(text, "g () => ()\n<float[2] b = {1, 2}, float[3] w>\n{\n  y = Op <a = int64[3] {}> ()\n}\n");
    let read = parse(&text).graph.unwrap();
    assert_eq!((read.initializer.len(), read.value_info.len()), (1, 1));
}

#[test]
fn int32_data_out_of_range_wrap_as_readers_do() {
    let mut tensor = initializer("int8[2] w = {1, 2}");
    tensor.int32_data = vec![200, -1];
    assert_eq!(print(&model_of(tensor)), "\"\" () => ()\n<int8[2] w = {-56, -1}>\n{\n}\n");
}

#[test]
fn a_model_without_anything_is_printed_and_read() {
    let text = print(&ModelProto::default());
    let graph = GraphProto { name: Some(String::new()), ..GraphProto::default() };
    assert_eq!(parse(&text), ModelProto { graph: Some(graph), ..ModelProto::default() });
}
