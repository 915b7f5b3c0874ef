//! Where constants are written, and their declarations.

use super::tests::{read_back, tensor_type, typed};
use super::write;
use crate::ir::TensorData;
use crate::onnx::proto::{NodeProto, TensorProto};
use crate::onnx::read::tests::{graph, model, node, scalar, with_body};

#[test]
fn before_ir_4_a_body_holds_its_constants_as_nodes() {
    let body = |name: &str| {
        let mut body = graph(&[], &["o"], vec![node("Add", &["x", "k"], &["o"])]);
        body.initializer = vec![scalar("k")];
        body.name = Some(name.into());
        body
    };
    let call = with_body(node("If", &["c"], &["y"]), "then_branch", body("t"));
    let call = with_body(call, "else_branch", body("e"));
    for (ir, is_node) in [(3, true), (4, false)] {
        let model = read_back(model(ir, graph(&["x", "c"], &["y"], vec![call.clone()])));
        let written = write(model.check().unwrap()).unwrap().proto;
        for attr in &written.graph.as_ref().unwrap().node[0].attribute {
            let body = attr.g.as_ref().unwrap();
            let ops: Vec<_> = body.node.iter().map(NodeProto::op_type).collect();
            assert_eq!(ops, if is_node { vec!["Constant", "Add"] } else { vec!["Add"] });
            assert_eq!(body.initializer.len(), usize::from(!is_node));
        }
        assert_eq!(write(read_back(written.clone()).check().unwrap()).unwrap().proto, written);
    }
}

#[test]
fn declarations_are_in_the_order_of_reading() {
    let relu = |from, to| node("Relu", &[from], &[to]);
    let mut g = graph(&["x"], &["y"], vec![relu("x", "a"), relu("w", "k"), node("Add", &["a", "k"], &["y"])]);
    g.initializer = vec![scalar("w")];
    g.value_info = ["a", "k"].map(|name| typed(name, tensor_type(vec![]))).to_vec();
    let mut folded = read_back(model(8, g));
    let k = folded.graph.find("k").unwrap();
    folded.graph.remove_node(folded.graph.producer(k).unwrap().0);
    folded.graph.set_data(k, TensorData::scalar(1.0f32));
    let written = write(folded.check().unwrap()).unwrap().proto;
    assert_eq!(write(read_back(written.clone()).check().unwrap()).unwrap().proto, written);
}

#[test]
fn a_constant_that_becomes_an_attribute_is_not_declared() {
    let mut g = graph(&["x"], &["y"], vec![node("Unsqueeze", &["x", "axes"], &["y"])]);
    let axes = scalar("axes");
    g.initializer = vec![TensorProto {
        data_type: Some(7),
        int64_data: vec![0],
        float_data: vec![],
        dims: vec![1],
        ..axes
    }];
    g.value_info = vec![typed("axes", tensor_type(vec![]))];
    for (opset, declared) in [(13, 1), (11, 0)] {
        let mut model = read_back(model(8, g.clone()));
        model.opsets[0].version = opset;
        let written = write(model.check().unwrap()).unwrap().proto.graph.unwrap();
        assert_eq!((written.initializer.len(), written.value_info.len()), (declared, declared));
    }
}
