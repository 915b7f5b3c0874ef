//! Whole models: bodies, functions, names, opsets.

use std::sync::Arc;

use super::*;
use crate::ir::{Function, Origin, Provenance};

fn squeeze(graph: &mut Graph, name: &str, input: &str, axes: &[i64]) -> NodeId {
    let x = graph.find(input).unwrap();
    let y = graph.add_value(Value::named(name)).unwrap();
    let node = Node::new(OpName::onnx("Squeeze"), name, Attrs::new().with("axes", axes));
    graph.add_node(node, &[Some(x)], &[Some(y)]).unwrap()
}

fn with_input(name: &str) -> Graph {
    let mut graph = Graph::named(name);
    let x = graph.add_value(Value::named("x")).unwrap();
    graph.set_inputs(vec![x]);
    graph
}

#[test]
fn names_of_constants_are_new_in_the_whole_model_and_always_the_same() {
    let build = || {
        let mut body = with_input("body");
        body.set_inputs(Vec::new());
        let x = body.find("x").unwrap();
        body.edit_value(x, |v| v.origin = Origin::Captured);
        squeeze(&mut body, "z", "x", &[0]);
        body.set_outputs(vec![body.find("z").unwrap()]);
        let mut graph = with_input("main");
        squeeze(&mut graph, "y", "x", &[1]);
        let taken = graph.add_value(Value::named("y_axes")).unwrap();
        graph.set_data(taken, TensorData::scalar(1.0f32));
        let out = graph.add_value(Value::named("out")).unwrap();
        let attrs = Attrs::new().with("then_branch", body.clone()).with("else_branch", body);
        let (y, cond) = (graph.find("y").unwrap(), graph.add_value(Value::named("c")).unwrap());
        graph.add_node(Node::new(OpName::onnx("If"), "if", attrs), &[Some(cond)], &[Some(out)]).unwrap();
        graph.set_inputs(vec![graph.find("x").unwrap(), cond]);
        graph.set_outputs(vec![y, out]);
        model_of(graph, 11)
    };
    let mut model = build();
    upgrade(&mut model).unwrap();
    model.check().unwrap();
    let names = |graph: &Graph| -> Vec<String> {
        let synthetic = |v: &crate::ir::ValueId| graph.value(*v).origin == Origin::Synthetic;
        graph.values().filter(synthetic).map(|v| graph.value(v).name.clone()).collect()
    };
    assert_eq!(names(&model.graph), ["y_axes_2"]);
    let branch = model.graph.nodes().last().unwrap();
    let bodies: Vec<_> = model.graph.node(branch).attrs.graphs().map(names).collect();
    assert_eq!(bodies, [["z_axes"], ["z_axes_2"]]);
    assert!(model.graph.node(branch).as_read.is_none());
    let body = model.graph.node(branch).attrs.graph("then_branch").unwrap();
    assert_eq!(node_text(body, only_node(body)), "Squeeze{}(x, int64:[0])");
    set_opset(&mut model, 11);
    assert_eq!(names(&model.graph).len(), 1, "still the opset of the file");
    set_opset(&mut model, 13);
    assert_eq!(names(&model.graph), [""; 0], "the file will have them");
    let bodies = model.graph.node(branch).attrs.graphs().map(names);
    assert_eq!(bodies.collect::<Vec<_>>(), [[""; 0]; 2]);
}

#[test]
fn a_function_has_an_opset_of_its_own() {
    let mut body = with_input("f");
    let id = squeeze(&mut body, "y", "x", &[0]);
    body.set_outputs(vec![body.find("y").unwrap()]);
    let mut model = model_of(Graph::named("main"), 17);
    model.functions.push(Function {
        op: OpName::new("local", "f"),
        overload: String::new(),
        graph: body,
        attributes: Vec::new(),
        defaults: Attrs::new(),
        opsets: vec![OpsetId { domain: String::new(), version: 11 }],
        doc: None,
        metadata: Vec::new(),
    });
    upgrade(&mut model).unwrap();
    let graph = &model.functions[0].graph;
    assert_eq!(graph.node(id).read_at, Some(11));
    assert_eq!(node_text(graph, id), "Squeeze{}(x, int64:[0])");
    set_opset(&mut model, 12);
    assert_eq!(model.functions[0].opsets[0].version, 12);
    assert_eq!(written_text(&model.functions[0].graph, id, 12).unwrap(), "Squeeze{axes=[0]}(x)");
}

#[test]
fn an_attribute_that_a_call_decides_keeps_a_node_opaque() {
    let reference = AttrValue::Ref { name: "axes".to_owned(), kind: crate::ir::AttrKind::Ints };
    let mut attrs = Attrs::new();
    attrs.set("axes", reference);
    let mut model = one_node(11, "Squeeze", attrs, vec![In::Unknown], 1);
    upgrade(&mut model).unwrap();
    assert_eq!(model.graph.node(only_node(&model.graph)).opaque, Some(11));
}

#[test]
fn element_types_and_ranks_follow_through_nodes() {
    let mut graph = with_input("main");
    let x = graph.find("x").unwrap();
    graph.edit_value(x, |v| v.ty = ValueType::tensor(DType::Float, dims(&[1, 4])));
    let value = |graph: &mut Graph, name: &str| Some(graph.add_value(Value::named(name)).unwrap());
    let (h, c, y) = (value(&mut graph, "h"), value(&mut graph, "c"), value(&mut graph, "y"));
    graph.add_node(Node::new(OpName::onnx("Relu"), "", Attrs::new()), &[Some(x)], &[h]).unwrap();
    let clip = Attrs::new().with("min", 0.0);
    graph.add_node(Node::new(OpName::onnx("Clip"), "", clip), &[h], &[c]).unwrap();
    let softmax = graph.add_node(Node::new(OpName::onnx("Softmax"), "", Attrs::new()), &[c], &[y]).unwrap();
    graph.set_outputs(vec![y.unwrap()]);
    let mut model = model_of(graph, 9);
    upgrade(&mut model).unwrap();
    assert!(model.graph.nodes().all(|n| model.graph.node(n).opaque.is_none()));
    assert_eq!(node_text(&model.graph, softmax), "Softmax{axis=1}(c)");
}

#[test]
fn an_opaque_node_is_written_only_where_its_version_is_current() {
    let mut model = one_node(11, "Softmax", Attrs::new(), vec![In::Unknown], 1);
    upgrade(&mut model).unwrap();
    let id = only_node(&model.graph);
    assert_eq!(written_text(&model.graph, id, 12).unwrap(), "Softmax{}(a)");
    assert_eq!(written_text(&model.graph, id, 13).unwrap_err().lowest, None);
    assert_eq!(written_text(&model.graph, id, 10).unwrap_err().lowest, Some(11));
}

#[test]
fn a_refusal_names_the_node_the_pass_and_the_opset() {
    let mut model = one_node(28, "HardSwish", Attrs::new(), vec![In::Unknown], 1);
    let id = only_node(&model.graph);
    let made_by = Provenance { pass: "fuse-hard-swish", from: Vec::new() };
    model.graph.node_mut(id).made_by = Some(Arc::new(made_by));
    let refusal = written_text(&model.graph, id, 13).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "HardSwish node `n`, made by fuse-hard-swish, cannot be written at opset 13: \
         the operator is not in that opset; the lowest opset that would do is 14"
    );
}

#[test]
fn a_higher_opset_raises_the_ir_version() {
    let mut model = one_node(13, "Relu", Attrs::new(), vec![In::Unknown], 1);
    model.meta.ir_version = 7;
    set_opset(&mut model, 21);
    assert_eq!((model.opset(""), model.meta.ir_version), (Some(21), 10));
    set_opset(&mut model, 11);
    assert_eq!((model.opset(""), model.meta.ir_version), (Some(11), 10));
}

#[test]
fn a_call_on_constants_can_turn_every_input_into_an_attribute() {
    let (x, axes) = (TensorData::vector(&[1.0f32]), TensorData::vector(&[0i64]));
    let op = OpName::onnx("ReduceMean");
    let attrs = Attrs::new();
    let call = lower_call(&op, &attrs, &[Some(&x), Some(&axes)], &[true], 17).unwrap();
    assert_eq!(call.attrs.ints("axes"), Some(&[0][..]));
    assert_eq!(call.inputs.len(), 1);
    assert!(lower_call(&OpName::onnx("Gelu"), &attrs, &[Some(&x)], &[true], 17).is_err());
    let custom = OpName::new("custom", "Gelu");
    let custom = lower_call(&custom, &attrs, &[Some(&x)], &[true], 17).unwrap();
    assert_eq!((&*custom.op.name, custom.outputs), ("Gelu", vec![Some(0)]));
}

#[test]
fn a_node_that_a_pass_made_is_lowered_though_it_holds_the_form_of_a_file() {
    let axes = Attrs::new().with("axes", vec![1]);
    let mut model = one_node(11, "ReduceSum", axes, vec![In::Unknown], 1);
    upgrade(&mut model).unwrap();
    let id = only_node(&model.graph);
    let node = model.graph.node_mut(id);
    node.attrs.set("keepdims", 0);
    node.made_by = Some(Arc::new(Provenance { pass: "some-pass", from: Vec::new() }));
    assert_eq!(written_text(&model.graph, id, 11).unwrap(), "ReduceSum{axes=[1],keepdims=0}(a)");
}
