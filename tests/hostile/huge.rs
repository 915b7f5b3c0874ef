//! A few bytes that ask for all the memory there is.

use crate::stage::Stage;

/// Optimizes without a proof and with one. The model must be refused in one line, or the operator left alone, with
/// little memory and soon.
#[track_caller]
fn bounded(op: &str, text: &str) {
    let stage = Stage::new();
    stage.model("m.onnx", &format!("<ir_version: 10, opset_import: [\"\": 21]> g {text}"));
    for more in [&["--no-verify"][..], &[]] {
        let ran = stage.optimize(&[&["m.onnx", "-o", "out.onnx"], more].concat());
        assert!(ran.took < crate::SOON, "{text}: {:?}", ran.took);
        if ran.code == Some(0) {
            assert!(ran.out().contains("not verified") || !more.is_empty(), "{text}: {}", ran.out());
            assert!(
                stage.operators("out.onnx").iter().any(|o| o == op),
                "{text}: {:?}",
                stage.operators("out.onnx")
            );
            std::fs::remove_file(stage.path("out.onnx")).unwrap();
        } else {
            let line = ran.fails(1);
            assert!(
                line.starts_with("m.onnx: step `simplify`: the ")
                    && line.contains(" would make a tensor of "),
                "{text}: {line}"
            );
        }
        assert_eq!(stage.files(), ["m.onnx"]);
    }
}

#[test]
fn constants_of_2_to_the_60_elements_are_not_made() {
    let huge = "1152921504606846976";
    bounded(
        "ConstantOfShape",
        &format!("() => (float[N] y) <int64[1] s = {{{huge}}}> {{ y = ConstantOfShape (s) }}"),
    );
    bounded(
        "ConstantOfShape",
        "() => (float[A,B] y) <int64[2] s = {4294967296, 4294967296}> { y = ConstantOfShape (s) }",
    );
    bounded(
        "Expand",
        &format!("() => (float[N] y) <float[1] x = {{1}}, int64[1] s = {{{huge}}}> {{ y = Expand (x, s) }}"),
    );
    bounded(
        "Tile",
        &format!("() => (float[N] y) <float[2] x = {{1, 2}}, int64[1] s = {{{huge}}}> {{ y = Tile (x, s) }}"),
    );
    bounded(
        "Range",
        &format!(
            "() => (int64[N] y) <int64 a = {{0}}, int64 b = {{{huge}}}, int64 c = {{1}}> {{ y = Range (a, b, c) }}"
        ),
    );
    bounded(
        "Range",
        "() => (float[N] y) <float a = {0}, float b = {3e38}, float c = {1e-38}> { y = Range (a, b, c) }",
    );
    bounded(
        "Range",
        "() => (double[N] y) <double a = {0}, double b = {1}, double c = {0}> { y = Range (a, b, c) }",
    );
}

#[test]
fn huge_borders_and_images_are_not_made() {
    let huge = "1152921504606846976";
    bounded(
        "OneHot",
        &format!(
            "() => (float[1,N] y) <int64[1] i = {{0}}, int64 d = {{{huge}}}, float[2] v = {{0, 1}}> {{ y = OneHot (i, d, v) }}"
        ),
    );
    bounded(
        "Pad",
        &format!("() => (float[N] y) <float[1] x = {{1}}, int64[2] p = {{{huge}, 1}}> {{ y = Pad (x, p) }}"),
    );
    bounded(
        "Pad",
        "() => (float[N] y) <float[1] x = {1}, int64[2] p = {9223372036854775807, 9223372036854775807}> { y = Pad (x, p) }",
    );
    bounded(
        "Pad",
        "() => (float[N] y) <float[1] x = {1}, int64[2] p = {-9223372036854775808, 0}> { y = Pad (x, p) }",
    );
    bounded(
        "Resize",
        "() => (float[A,B] y) <float[1,1] x = {1}, float[2] s = {1e18, 1e18}> { y = Resize (x, , s) }",
    );
    bounded(
        "Resize",
        &format!(
            "() => (float[A,B] y) <float[1,1] x = {{1}}, int64[2] z = {{{huge}, {huge}}}> {{ y = Resize (x, , , z) }}"
        ),
    );
    bounded("Resize", "() => (float[A] y) <float[1] x = {1}, float[1] s = {inf}> { y = Resize (x, , s) }");
    bounded(
        "EyeLike",
        "() => (float[A,B] y) <int64[2] s = {1073741824, 1073741824}> { c = ConstantOfShape (s)  y = EyeLike (c) }",
    );
    bounded(
        "TriluX",
        "() => (float[A,B] y) <int64[2] s = {1073741824, 1073741824}> { c = ConstantOfShape (s)  y = TriluX (c) }",
    );
}

#[test]
fn shapes_that_multiply_beyond_all_bounds_are_not_computed() {
    // Each is small by itself.
    let outer = "() => (float[A,B] y) <int64[2] s = {1048576, 1}, int64[2] t = {1, 1048576}> \
                 { a = ConstantOfShape (s)  b = ConstantOfShape (t)  y = MatMul (a, b) }";
    bounded("MatMul", outer);
    bounded("Add", &outer.replace("MatMul", "Add"));
    let growth: String = (1..60).map(|i| format!(" v{i} = Concat <axis = 0> (v{0}, v{0})", i - 1)).collect();
    bounded("Concat", &format!("() => (float[N] v59) <float[4] v0 = {{1, 2, 3, 4}}> {{ {growth} }}"));
    bounded(
        "Conv",
        "(float[1,1,4,4] x) => (float[1,1,A,B] y) <float[1,1,1,1] w = {1}> \
         { y = Conv <pads = [4611686018427387904, 0, 4611686018427387904, 0]> (x, w) }",
    );
}

#[test]
fn huge_declared_inputs_are_not_drawn() {
    for dims in ["1152921504606846976", "4294967296, 4294967296", "9223372036854775807, 2", "100000, 100000"]
    {
        bounded("Relu", &format!("(float[{dims}] x) => (float[{dims}] y) {{ y = Relu (x) }}"));
    }
    let stage = Stage::with_model();
    for size in ["9223372036854775807", "18446744073709551615", "4611686018427387904"] {
        let ran = stage.optimize(&["m.onnx", "--bind", &format!("batch={size}")]);
        assert!(ran.took < crate::SOON && matches!(ran.code, Some(0 | 1)), "{:?} {}", ran.code, ran.err);
        assert!(!ran.out().contains("verified equal"), "{}", ran.out());
    }
}
