use super::{attribute, graph, initializer, parse, print};
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::tensor_proto::{DataLocation, DataType};
use crate::onnx::proto::type_proto::{Tensor, Value};
use crate::onnx::proto::{SparseTensorProto, TensorProto, TensorShapeProto, TypeProto};

#[test]
fn entries_with_data_are_initializers_and_others_value_infos() {
    let graph = graph("g (float[1] x = {1}, int64 n) => (float y) <float[2] w = {1, 2}, float[3] v, u> {}");
    let names: Vec<_> = graph.initializer.iter().map(|t| t.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["x", "w"]);
    let values: Vec<_> = graph.value_info.iter().map(|v| v.name.as_deref().unwrap()).collect();
    assert_eq!(values, ["v", "u"]);
    assert_eq!(graph.value_info[1].r#type, None);
    assert_eq!(graph.input.len(), 2);
}

#[test]
fn no_brackets_is_a_scalar_and_empty_brackets_an_unknown_rank() {
    let graph = graph("g (float a, float[] b) => () {}");
    let shapes: Vec<_> = graph
        .input
        .iter()
        .map(|input| match &input.r#type {
            Some(TypeProto { value: Some(Value::TensorType(Tensor { shape, .. })), .. }) => shape.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(shapes, [Some(TensorShapeProto::default()), None]);
}

#[test]
fn nodes_have_label_domain_operator_and_overload() {
    let graph = graph("g () => () { [\"/a/b\"] \"\", y = ai.onnx.ml.Op:v2 <a = 1> (x, , z) }");
    let node = &graph.node[0];
    assert_eq!(node.name.as_deref(), Some("/a/b"));
    assert_eq!(node.output, ["", "y"]);
    assert_eq!(node.domain.as_deref(), Some("ai.onnx.ml"));
    assert_eq!(node.op_type.as_deref(), Some("Op"));
    assert_eq!(node.overload.as_deref(), Some("v2"));
    assert_eq!(node.input, ["x", "", "z"]);
}

#[test]
fn attribute_kinds() {
    let cases = [
        ("a = 1", AttributeType::Int),
        ("a = 1.0", AttributeType::Float),
        ("a = nan", AttributeType::Float),
        ("a : float = 1", AttributeType::Float),
        ("a = \"s\"", AttributeType::String),
        ("a = float {1}", AttributeType::Tensor),
        ("a = float", AttributeType::TypeProto),
        ("a = g () => () {}", AttributeType::Graph),
        ("a = \"g\" () => () {}", AttributeType::Graph),
        ("a = [1]", AttributeType::Ints),
        ("a : ints = []", AttributeType::Ints),
        ("a = [g () => () {}, h () => () {}]", AttributeType::Graphs),
        ("a : floats = @b", AttributeType::Floats),
        ("a = sparse_tensor(float[2])", AttributeType::TypeProto),
    ];
    for (text, kind) in cases {
        assert_eq!(attribute(text).r#type(), kind, "{text}");
    }
    assert_eq!(attribute("a : float = 3").f, Some(3.0));
    assert_eq!(attribute("a = @\"b c\"").ref_attr_name.as_deref(), Some("b c"));
    assert_eq!(attribute("a = \"\\\"\\\\\\n\"").s.as_deref(), Some(b"\"\\n".as_slice()));
}

#[test]
fn tensors_use_the_typed_fields() {
    let tensor = initializer("float16[1,2] w = {15360, 0}");
    assert_eq!(tensor.data_type, Some(DataType::Float16 as i32));
    assert_eq!(tensor.dims, [1, 2]);
    assert_eq!(tensor.int32_data, [15360, 0]);
    assert_eq!(initializer("int4[4] w = {1, -2, -8, 7}").int32_data, [0xe1, 0x78]);
    assert_eq!(initializer("int4[4] w = {-31, 120}").int32_data, [-31, 120]);
    assert_eq!(initializer("int2[3] w = {1, -2, -1}").int32_data, [0b11_10_01]);
    assert_eq!(initializer("uint32[1] w = {7}").uint64_data, [7]);
    assert_eq!(initializer("complex64 w = {1, 2}").float_data, [1.0, 2.0]);
    let external = initializer("float[9] w = [\"location\": \"f\"]");
    assert_eq!(external.data_location, Some(DataLocation::External as i32));
    assert_eq!(external.external_data[0].value.as_deref(), Some("f"));
}

#[test]
fn sparse_tensors() {
    let read =
        attribute("a = sparse_tensor(float[3,4]) {float[2] {1, 2}, int64[2] {0, 5}}").sparse_tensor.unwrap();
    assert_eq!(read.dims, [3, 4]);
    assert_eq!(read.values.unwrap().float_data, [1.0, 2.0]);
    assert_eq!(read.indices.unwrap().int64_data, [0, 5]);

    let mut model = parse("g () => () {}");
    let values = TensorProto { name: Some("w".to_owned()), ..initializer("float[1] v = {1}") };
    let sparse = SparseTensorProto { values: Some(values), indices: None, dims: vec![3, 4] };
    model.graph.as_mut().unwrap().sparse_initializer.push(sparse);
    assert_eq!(print(&model), "g () => ()\n<sparse_tensor(float[3,4]) w>\n{\n}\n");
}

#[test]
fn functions_have_attributes_defaults_and_values() {
    let model = parse(
        "g () => () {} <domain: \"d\", opset_import: [\"\" : 18]> f <a, b: float = 2> (float x, y) => (z) <t> {}",
    );
    let function = &model.functions[0];
    assert_eq!(function.domain.as_deref(), Some("d"));
    assert_eq!(function.opset_import[0].version, Some(18));
    assert_eq!(function.attribute, ["a"]);
    assert_eq!(function.attribute_proto[0].f, Some(2.0));
    assert_eq!(function.input, ["x", "y"]);
    assert_eq!(function.output, ["z"]);
    let values: Vec<_> = function.value_info.iter().map(|v| v.name.as_deref().unwrap()).collect();
    assert_eq!(values, ["x", "t"]);
}

#[test]
fn what_the_grammar_has_no_word_for_is_left_out() {
    let mut model = parse("g (float x) => () { y = Op <a = 1, b = float, c = float {1}> () }");
    let graph = model.graph.as_mut().unwrap();
    graph.input[0].r#type = Some(TypeProto::default());
    graph.node[0].attribute[1].tp = Some(TypeProto::default());
    graph.node[0].attribute[2].t.as_mut().unwrap().data_type = Some(99);
    assert_eq!(print(&model), "g (x) => ()\n{\n  y = Op <a = 1> ()\n}\n");
}

#[test]
fn attributes_of_old_files_have_no_kind() {
    let mut model = parse("g () => () { y = Op <a = [1, 2]> () }");
    model.graph.as_mut().unwrap().node[0].attribute[0].r#type = None;
    assert_eq!(print(&model), "g () => ()\n{\n  y = Op <a = [1, 2]> ()\n}\n");
}
