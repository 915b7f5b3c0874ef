//! From file to file: what `load` raises, `encode` lowers.

use prost::Message;

use super::*;
use crate::onnx::{
    OnnxError, encode, load_bytes,
    proto::{ModelProto, ValueInfoProto},
    text,
};

fn load(source: &str) -> Model {
    let proto = text::parse_model(source).unwrap();
    load_bytes(proto.encode_to_vec(), Option::None).unwrap().model
}

fn printed(model: &Model) -> Result<String, OnnxError> {
    let bytes = encode(model.check().unwrap())?;
    let proto = ModelProto::decode(bytes.as_slice()).unwrap();
    Ok(text::print_model(&proto, &text::PrintOptions::default()))
}

fn canonical(source: &str) -> String {
    text::print_model(&text::parse_model(source).unwrap(), &text::PrintOptions::default())
}

const OLD: &str = r#"<ir_version: 8, opset_import: ["" : 11]>
g (float[1,2] x) => (float[2] y) { y = Squeeze <axes = [0]> (x) }"#;

const NEW: &str = r#"<ir_version: 8, opset_import: ["" : 13]>
g (float[1,2] x) => (float[2] y) <int64[1] y_axes = {0}> { y = Squeeze (x, y_axes) }"#;

#[test]
fn an_untouched_model_is_written_as_it_was_read() {
    for source in [OLD, NEW] {
        assert_eq!(printed(&load(source)).unwrap(), canonical(source));
    }
}

#[test]
fn another_opset_moves_axes_between_attributes_and_constants() {
    let mut model = load(OLD);
    set_opset(&mut model, 13);
    let up = printed(&model).unwrap();
    let back = load(&up);
    assert_eq!(node_text(&back.graph, only_node(&back.graph)), "Squeeze{}(x, int64:[0])");
    assert!(up.contains("Squeeze (x, y_axes)"), "{up}");
    let mut model = load(NEW);
    set_opset(&mut model, 11);
    assert_eq!(printed(&model).unwrap(), canonical(OLD));
}

#[test]
fn a_constant_that_only_the_old_form_has_gets_a_name_and_a_place() {
    let resize = r#"<ir_version: 8, opset_import: ["" : 13]>
g (float[1,1,2,2] x) => (float[1,1,4,4] y) <int64[4] s = {1,1,4,4}, float[1] y_roi = {1}>
{ y = Resize <mode = "nearest"> (x, , , s) z = Identity (y_roi) }"#;
    let mut model = load(resize);
    set_opset(&mut model, 11);
    let text = printed(&model).unwrap();
    assert!(text.contains("(x, y_roi_2, y_scales, s)"), "{text}");
    let back = load(&text);
    assert!(back.graph.find("y_roi_2").is_some_and(|v| back.graph.constant(v).is_some()));
}

#[test]
fn in_a_function_a_new_constant_is_a_node() {
    let source = r#"<ir_version: 8, opset_import: ["" : 11, "local" : 1]>
g (float[1,2] x) => (float[2] y) { y = local.f (x) }
<domain: "local", opset_import: ["" : 11]>
f (a) => (b) { b = Squeeze <axes = [0]> (a) }"#;
    let mut model = load(source);
    assert_eq!(printed(&model).unwrap(), canonical(source));
    set_opset(&mut model, 13);
    let text = printed(&model).unwrap();
    assert!(text.contains("b_axes = Constant") && text.contains("Squeeze (a, b_axes)"), "{text}");
}

#[test]
fn bodies_are_lowered_with_what_is_known_outside() {
    let source = r#"<ir_version: 8, opset_import: ["" : 17]>
g (float[2,3] x, bool c) => (float[2,3] y) {
    h = Relu (x)
    y = If (c) <
        then_branch = t () => (float[2,3] a) { a = Softmax <axis = -1> (h) },
        else_branch = e () => (float[2,3] b) { b = Softmax <axis = 0> (h) }
    >
}"#;
    let mut model = load(source);
    set_opset(&mut model, 12);
    let refusal = printed(&model).unwrap_err().to_string();
    assert!(refusal.contains("the lowest opset that would do is 13"), "{refusal}");
    let mut model = load(&source.replace("axis = 0", "axis = 1"));
    set_opset(&mut model, 10);
    let text = printed(&model).unwrap();
    assert!(text.matches("axis: int = 1").count() == 2 || text.matches("axis = 1").count() == 2, "{text}");
}

#[test]
fn before_ir_4_a_new_constant_is_an_input_too() {
    let source = r#"<ir_version: 3, opset_import: ["" : 8]>
g (float[1,1,2,2] x, float[1] w) => (float[1,1,4,4] y) <float[1] w = {1}> {
    h = Mul (x, w)
    y = Upsample <mode = "nearest", scales = [1.0, 1.0, 2.0, 2.0]> (h)
}"#;
    let mut model = load(source);
    assert_eq!(printed(&model).unwrap(), canonical(source));
    model.opsets[0].version = 9;
    let text = printed(&model).unwrap();
    let back = text::parse_model(&text).unwrap().graph.unwrap();
    let names: Vec<_> = back.input.iter().map(ValueInfoProto::name).collect();
    assert_eq!(names, ["x", "w", "y_scales"]);
}
