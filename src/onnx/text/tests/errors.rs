use crate::onnx::text::{MAX_DEPTH, TextError, parse_model, print_model};

const CASES: &[(&str, &str)] = &[
    ("", "1:1: expected the name of the graph, found the end of the text"),
    ("g () =>\n  (float[2 x) => () {}", "2:12: expected `,` or `]`, found `x`"),
    ("g () = > () {}", "1:6: expected `=>`, found `=`"),
    ("g () => () {", "1:13: expected a node or `}`, found the end of the text"),
    ("g () => () {}\n}", "2:1: expected the name of a function, found `}`"),
    ("g () => () { y = Op (x }", "1:24: expected `,` or `)`, found `}`"),
    ("g () => () { y = Op x }", "1:21: expected `<` or `(`, found `x`"),
    ("g () => () { y = (x) }", "1:18: expected an operator, found `(`"),
    ("g () => () { y Op (x) }", "1:16: expected `=`, found `Op`"),
    ("g () => () { y = Op <> () }", "1:22: expected the name of an attribute, found `>`"),
    ("g () => () { y = Op <a = 1> () <b = 2> }", "1:32: expected a node or `}`, found `<`"),
    (
        "<ir: 3> g () => () {}",
        "1:2: expected a property of the model: ir_version, opset_import, producer_name, producer_version, domain, model_version, doc_string or metadata_props, found `ir`",
    ),
    ("<ir_version: 3.0> g () => () {}", "1:14: expected an integer, found the number 3.0"),
    (
        "<ir_version: 9223372036854775808> g () => () {}",
        "1:14: expected a number that fits int64, found 9223372036854775808",
    ),
    (
        "<opset_import: [ai : 3]> g () => () {}",
        "1:17: expected the domain of an operator set, as a string, found `ai`",
    ),
    (
        "g () => () {} <ir_version: 3> f () => () {}",
        "1:16: expected a property of the function: domain, overload, opset_import or doc_string, found `ir_version`",
    ),
    ("g (float[2] ) => () {}", "1:13: expected the name of a value, found `)`"),
    ("g (2) => () {}", "1:4: expected a type or the name of a value, found the number 2"),
    ("g (seq(foo) x) => () {}", "1:8: expected a type, found `foo`"),
    ("g (map(seq, float) x) => () {}", "1:8: expected the element type of the keys, found `seq`"),
    ("g (sparse_tensor(seq(float)) x) => () {}", "1:18: expected a type, found `seq`"),
    (
        "g (float[1.5] x) => () {}",
        "1:10: expected a dimension: a number, a name or `?`, found the number 1.5",
    ),
    (
        "g (float[99999999999999999999] x) => () {}",
        "1:10: expected a number that fits int64, found 99999999999999999999",
    ),
    ("g () => () <w = {1}> {}", "1:13: expected the type of an initializer, found only its name"),
    ("g () => () <float[2] w => {}", "1:24: expected `,` or `>`, found `=>`"),
    ("g () => () <float[2] w = 1> {}", "1:26: expected the data of a tensor, `{` or `[`, found the number 1"),
    (
        "g () => () <float[N] w = {1}> {}",
        "1:13: expected dims that are numbers for a tensor with data, found an unknown one",
    ),
    (
        "g () => () <float[-1] w = {1}> {}",
        "1:13: expected dims that are numbers for a tensor with data, found an unknown one",
    ),
    (
        "g () => () <float[] w = {1}> {}",
        "1:13: expected the dims of a tensor with data, found `[]`, which means an unknown rank",
    ),
    ("g () => () <seq(float) w = {1}> {}", "1:13: expected a tensor type before data, found another type"),
    ("g () => () <float[3] w = {1, 2}> {}", "1:26: expected 3 values for these dims, found 2"),
    ("g () => () <complex64[2] w = {1, 2}> {}", "1:30: expected 4 values for these dims, found 2"),
    ("g () => () <int4[4] w = {1, 2, 3}> {}", "1:25: expected 2 or 4 values for these dims, found 3"),
    ("g () => () <int4[3] w = {1, 8, 3}> {}", "1:25: expected elements from -8 to 7, found 8"),
    (
        "g () => () <float[4294967296,4294967296,2] w = {1}> {}",
        "1:48: expected dims whose product fits uint64, found larger ones",
    ),
    ("g () => () <float[2] w = {1,\n  x}> {}", "2:3: expected a number, found `x`"),
    ("g () => () <float w = {1e39}> {}", "1:24: expected a number that fits float, found 1e39"),
    ("g () => () <double w = {-1e309}> {}", "1:25: expected a number that fits double, found -1e309"),
    ("g () => () <int8 w = {128}> {}", "1:23: expected a number that fits int8, found 128"),
    ("g () => () <bool w = {2}> {}", "1:23: expected a number that fits bool, found 2"),
    ("g () => () <uint32 w = {4294967296}> {}", "1:25: expected a number that fits uint32, found 4294967296"),
    ("g () => () <uint64 w = {-1}> {}", "1:25: expected a number that fits uint64, found -1"),
    (
        "g () => () <float16 w = {1.0}> {}",
        "1:26: expected an integer, which is how float16 is written, found the number 1.0",
    ),
    ("g () => () <int64 w = {1e3}> {}", "1:24: expected an integer, found the number 1e3"),
    ("g () => () <string w = {1}> {}", "1:25: expected a string, found the number 1"),
    ("g () => () { y = Op <a = > () }", "1:26: expected the value of an attribute, found `>`"),
    (
        "g () => () { y = Op <a : number = 1> () }",
        "1:26: expected the type of an attribute, such as int, floats or graph, found `number`",
    ),
    (
        "g () => () { y = Op <a : int = 1.5> () }",
        "1:32: expected a value of type int, found one of type float",
    ),
    ("g () => () { y = Op <a : ints = 1> () }", "1:33: expected a value of type ints, found one of type int"),
    ("g () => () { y = Op <a : int = [1]> () }", "1:32: expected one value of type int, found a list"),
    (
        "g () => () { y = Op <a = [1, 2.5]> () }",
        "1:30: expected a value of type int, found one of type float",
    ),
    (
        "g () => () { y = Op <a = []> () }",
        "1:26: expected the type of an empty list, as in `axes: ints = []`, found none",
    ),
    ("g () => () { y = Op <a = [@x]> () }", "1:27: expected a value, found a reference in a list"),
    (
        "g () => () { y = Op <a = 99999999999999999999> () }",
        "1:26: expected a number that fits int64, found 99999999999999999999",
    ),
    (
        "g () => () { y = Op <a = sparse_tensor(float[N]) {> () }",
        "1:26: expected dims that are numbers for a sparse tensor with data",
    ),
    ("g () => () { y = Op <a = -x> () }", "1:26: expected a number, found `-x`"),
    ("g () => () { y = Op <a = - 1> () }", "1:27: expected a digit after `-`"),
    ("g () => () { y = Op <a = 1e> () }", "1:28: expected a digit in the exponent"),
    ("g () => () { y = Op <a = \"text> () }", "1:26: expected a closing `\"`, found the end of the text"),
    ("g () => () { y = Op <a = \"text\\", "1:26: expected a closing `\"`, found the end of the text"),
    (
        "g (float[\"ä\"] ä) => () {}",
        "1:15: expected a name, a number, a string or one of <>(){}[],:=@?. and `=>`, found `ä`",
    ),
    (
        "g ($) => () {}",
        "1:4: expected a name, a number, a string or one of <>(){}[],:=@?. and `=>`, found `$`",
    ),
    ("g (\"a\nb\" 1) => () {}", "2:4: expected `,` or `)`, found the number 1"),
    (
        "g (0123456789012345678901234567890123456789012345) => () {}",
        "1:4: expected a type or the name of a value, found the number 0123456789012345678901234567890123456789…",
    ),
];

#[test]
fn errors_name_the_place_and_what_was_expected() {
    for (text, expected) in CASES {
        match parse_model(text) {
            Ok(model) => {
                panic!("{text}\nis read as\n{}", print_model(&model, &super::PrintOptions::default()))
            }
            Err(error) => assert_eq!(error.to_string(), *expected, "{text}"),
        }
    }
}

fn nested_bodies(levels: usize) -> String {
    let mut text = "g () => () {".to_owned();
    for _ in 0..levels {
        text.push_str("\ny = If (c) <a = g () => () {");
    }
    text.push_str(&"}>".repeat(levels));
    text.push('}');
    text
}

#[test]
fn deep_bodies_are_refused() {
    let model = parse_model(&nested_bodies(MAX_DEPTH)).expect("as deep as allowed");
    let text = print_model(&model, &super::PrintOptions::default());
    assert_eq!(parse_model(&text), Ok(model));
    for levels in [MAX_DEPTH + 1, 100_000] {
        let error = parse_model(&nested_bodies(levels)).expect_err("too deep");
        let message = "expected at most 64 levels of nesting, found one more".to_owned();
        assert_eq!(error, TextError { line: MAX_DEPTH + 2, column: 19, message });
    }
}

#[test]
fn deep_types_are_refused() {
    let text =
        |levels: usize| format!("g ({}float{} x) => () {{}}", "seq(".repeat(levels), ")".repeat(levels));
    assert!(parse_model(&text(MAX_DEPTH)).is_ok());
    let error = parse_model(&text(100_000)).expect_err("too deep");
    assert_eq!(error.to_string(), "1:264: expected at most 64 levels of nesting, found one more");
}

/// Whatever is cut off or left out, the answer is an error, not a panic.
#[test]
fn every_prefix_is_refused() {
    let text = "<ir_version: 8, opset_import: [\"\" : 17]> g (float[N,?] x, seq(map(int64, string)) s) => (float y)
        <int4[3] q = {1, -2, 3}, float[1] e = [\"location\": \"ä\"]> { [n] y = a.Op:v <t = float {-1.5e3}, b = g () => () {}> (x,) }";
    for (end, _) in text.char_indices() {
        assert!(parse_model(&text[..end]).is_err(), "{}", &text[..end]);
        assert!(parse_model(&format!("{}\u{1}", &text[..end])).is_err());
    }
}
