use super::*;
use crate::ir::{ListedConstants, Origin, ValueId};
use crate::onnx::Loaded;
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::{AttributeProto, NodeProto, TensorProto, ValueInfoProto};

pub(crate) fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    NodeProto {
        op_type: Some(op.into()),
        input: names(inputs),
        output: names(outputs),
        ..NodeProto::default()
    }
}

pub(crate) fn info(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: Some(name.into()), ..ValueInfoProto::default() }
}

pub(crate) fn scalar(name: &str) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        data_type: Some(1),
        float_data: vec![1.0],
        ..TensorProto::default()
    }
}

pub(crate) fn with_body(mut node: NodeProto, name: &str, body: GraphProto) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Graph as i32),
        g: Some(body),
        ..AttributeProto::default()
    });
    node
}

pub(crate) fn graph(inputs: &[&str], outputs: &[&str], nodes: Vec<NodeProto>) -> GraphProto {
    GraphProto {
        name: Some("g".into()),
        input: inputs.iter().map(|n| info(n)).collect(),
        output: outputs.iter().map(|n| info(n)).collect(),
        node: nodes,
        ..GraphProto::default()
    }
}

pub(crate) fn model(ir: i64, graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: Some(ir),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(17) }],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

fn read_all(proto: ModelProto) -> (Model, Vec<String>) {
    let Loaded { model, warnings, .. } = read(proto, ExternalFiles::beside(None)).unwrap();
    model.check().unwrap();
    (model, warnings.iter().map(ToString::to_string).collect())
}

fn error(proto: ModelProto) -> String {
    read(proto, ExternalFiles::beside(None)).unwrap_err().to_string()
}

fn name(graph: &Graph, id: ValueId) -> &str {
    &graph.value(id).name
}

#[test]
fn nested_bodies_capture_through_every_level() {
    // The innermost body reads a constant and an input of the outermost graph, and an `x` of its own.
    let inner = graph(&[], &["z"], vec![node("Add", &["w", "a"], &["x"]), node("Neg", &["x"], &["z"])]);
    let middle = graph(&[], &["y"], vec![with_body(node("If", &["c"], &["y"]), "then_branch", inner)]);
    let mut outer =
        graph(&["a", "c", "x"], &["o"], vec![with_body(node("If", &["c"], &["o"]), "then_branch", middle)]);
    outer.initializer.push(scalar("w"));
    let (model, warnings) = read_all(model(8, outer));
    assert!(warnings.is_empty());
    let top = &model.graph;
    let outer_if = top.nodes().next().unwrap();
    let captured: Vec<_> = top.captures(outer_if).iter().map(|&v| name(top, v)).collect();
    assert_eq!(captured, ["a", "c", "w"]);
    let middle = top.node(outer_if).attrs.graph("then_branch").unwrap();
    let inner_if = middle.nodes().next().unwrap();
    let inner = middle.node(inner_if).attrs.graph("then_branch").unwrap();
    for graph in [middle, inner] {
        let w = graph.find("w").unwrap();
        assert_eq!(graph.value(w).origin, Origin::Captured);
        assert_eq!(graph.constant(w).unwrap().to_f64(), Some(1.0));
        assert!(graph.constant(graph.find("a").unwrap()).is_none());
    }
    assert_eq!(inner.value(inner.find("x").unwrap()).origin, Origin::Local);
    assert!(inner.producer(inner.find("x").unwrap()).is_some());
    // Read by the If itself and captured by its body.
    assert_eq!(top.uses(top.find("c").unwrap()).len(), 2);
}

#[test]
fn an_overridable_input_is_no_constant_even_when_captured() {
    let body = graph(&[], &["y"], vec![node("Neg", &["w"], &["y"])]);
    let mut outer =
        graph(&["c", "w"], &["o"], vec![with_body(node("If", &["c"], &["o"]), "then_branch", body)]);
    outer.initializer.push(scalar("w"));
    let (read, _) = read_all(model(4, outer.clone()));
    let w = read.graph.find("w").unwrap();
    assert!(read.graph.is_input(w) && read.graph.value(w).data.is_some());
    assert!(read.graph.constant(w).is_none());
    let body = read.graph.node(read.graph.nodes().next().unwrap()).attrs.graph("then_branch").unwrap();
    assert!(body.constant(body.find("w").unwrap()).is_none());

    let (read, _) = read_all(model(3, outer));
    let w = read.graph.find("w").unwrap();
    assert!(!read.graph.is_input(w) && read.graph.constant(w).is_some());
    assert_eq!(read.graph.listed, ListedConstants::All);
}

#[test]
fn a_body_may_return_what_it_captures_and_nodes_need_not_be_sorted() {
    let body = graph(&[], &["late"], vec![]);
    let nodes =
        vec![with_body(node("If", &["c"], &["o"]), "then_branch", body), node("Not", &["c"], &["late"])];
    let (read, _) = read_all(model(8, graph(&["c"], &["o", "o"], nodes)));
    let order: Vec<_> = read.graph.order().unwrap();
    assert!(read.graph.node(order[0]).is("Not"));
    assert_eq!(read.graph.node(order[0]).position, 1);
    assert_eq!(read.graph.outputs().len(), 2);
}

#[test]
fn values_that_are_not_unique_or_missing_are_named() {
    let twice = |dense: &[&str]| {
        let mut graph = graph(&["x"], &["y"], vec![node("Neg", &["x"], &["y"])]);
        graph.initializer = dense.iter().map(|n| scalar(n)).collect();
        model(8, graph)
    };
    let main = |inputs: &[&str], outputs: &[&str], nodes| model(8, graph(inputs, outputs, nodes));
    let dup = |name: &str| format!("value `{name}` is defined twice in graph `g`; names must be unique");
    assert_eq!(error(twice(&["w", "w"])), dup("w"));
    assert_eq!(error(twice(&["y"])), dup("y"));
    assert_eq!(error(main(&["x", "x"], &["x"], vec![])), dup("x"));
    assert_eq!(error(main(&["x"], &["x"], vec![node("Neg", &["x"], &["x"])])), dup("x"));
    assert_eq!(error(main(&["x"], &["y"], vec![node("Split", &["x"], &["y", "y"])])), dup("y"));
    let mut dangling = node("Add", &["x", "nope"], &["y"]);
    dangling.name = Some("n1".into());
    assert_eq!(
        error(main(&["x"], &["y"], vec![dangling])),
        "Add node `n1` reads `nope`, which nothing in graph `g` or around it produces"
    );
    assert_eq!(error(main(&["x"], &["q"], vec![])), "output `q` of graph `g` has no producer");
    assert_eq!(error(main(&[""], &[], vec![])), "an input of graph `g`: it has no name");
    assert_eq!(error(twice(&[""])), "an initializer of graph `g`: it has no name");
    let mut bad = scalar("w");
    bad.dims = vec![3];
    let mut wrong = graph(&[], &[], vec![]);
    wrong.initializer.push(bad);
    assert_eq!(
        error(model(8, wrong)),
        "initializer `w` of graph `g`: tensor of float[3] needs 12 bytes, but has 4"
    );
}

#[test]
fn wrong_attributes_are_named() {
    let with = |attrs: Vec<AttributeProto>| {
        let mut node = node("Neg", &["x"], &["y"]);
        node.attribute = attrs;
        model(8, graph(&["x"], &["y"], vec![node]))
    };
    let attr = |name: &str, code| AttributeProto {
        name: Some(name.into()),
        r#type: code,
        ..AttributeProto::default()
    };
    assert_eq!(
        error(with(vec![attr("a", Some(15))])),
        "attribute `a` of the Neg node that makes `y`: its type 15 is unknown"
    );
    assert_eq!(
        error(with(vec![attr("a", None)])),
        "attribute `a` of the Neg node that makes `y`: it has neither a type nor a value"
    );
    assert_eq!(
        error(with(vec![attr("a", Some(4))])),
        "attribute `a` of the Neg node that makes `y`: its value is missing"
    );
    assert_eq!(
        error(with(vec![attr("a", Some(2)), attr("a", Some(2))])),
        "the Neg node that makes `y`: attribute `a` is given twice"
    );
    assert_eq!(
        error(with(vec![attr("", Some(2))])),
        "attribute `` of the Neg node that makes `y`: it has no name"
    );
    let nothing = vec![node("Neg", &["x"], &["y"]), node("", &["y"], &["z"])];
    assert_eq!(error(model(8, graph(&["x"], &["z"], nothing))), "node 1 of graph `g`: it has no op_type");
    let untyped = AttributeProto { ints: vec![1, 2], ..attr("a", None) };
    let (read, _) = read_all(with(vec![untyped]));
    let id = read.graph.nodes().next().unwrap();
    assert_eq!(read.graph.node(id).attrs.ints("a"), Some(&[1, 2][..]));
    let both = AttributeProto { i: Some(3), f: Some(1.0), ..attr("a", Some(2)) };
    assert_eq!(read_all(with(vec![both])).1.len(), 1);
}

#[test]
fn versions_are_judged() {
    let import =
        |domain: &str, version| OperatorSetIdProto { domain: Some(domain.into()), version: Some(version) };
    let base = || model(8, graph(&["x"], &["y"], vec![node("Neg", &["x"], &["y"])]));
    let with = |imports: Vec<OperatorSetIdProto>| ModelProto { opset_import: imports, ..base() };
    let (read, warnings) = read_all(with(vec![]));
    assert_eq!(read.opset(""), Some(1));
    assert_eq!(warnings, ["the file names no opset of ai.onnx: opset 1 is assumed"]);
    let (read, warnings) = read_all(with(vec![import("ai.onnx", 17), import("", 17)]));
    assert_eq!((read.opset(""), read.opsets.len(), warnings.len()), (Some(17), 1, 0));
    assert_eq!(
        error(with(vec![import("", 17), import("ai.onnx", 18)])),
        "the model: domain `` is imported as opset 17 and as 18"
    );
    let (_, warnings) = read_all(with(vec![import("", NEWEST_OPSET + 1)]));
    assert!(warnings[0].starts_with(&format!("the file asks for opset {} of ai.onnx", NEWEST_OPSET + 1)));
    let (_, warnings) = read_all(ModelProto { ir_version: Some(15), ..base() });
    assert!(warnings[0].starts_with("the file has ir_version 15, newer than 14"), "{warnings:?}");
}

#[test]
fn a_stale_declaration_is_a_warning() {
    let mut graph = graph(&["x"], &["y"], vec![node("Neg", &["x"], &["y"])]);
    graph.value_info = vec![info("y"), info("old"), info("older")];
    let (_, warnings) = read_all(model(8, graph));
    assert_eq!(warnings, ["value_info `old` of graph `g` (and 1 more) names no value: it will be lost"]);
}

#[test]
fn a_hundred_thousand_nodes_are_read_in_linear_time() {
    let count = 100_000;
    let names: Vec<_> = (0..=count).map(|i| format!("v{i}")).collect();
    let nodes = names.windows(2).map(|w| node("Neg", &[&w[0]], &[&w[1]])).collect();
    let proto = model(8, graph(&["v0"], &[&names[count]], nodes));
    let start = std::time::Instant::now();
    let Loaded { model: read, .. } = read(proto, ExternalFiles::beside(None)).unwrap();
    assert_eq!(read.graph.nodes().count(), count);
    // Quadratic time would be minutes.
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn a_function_defined_twice_is_refused() {
    let function = FunctionProto {
        name: Some("F".into()),
        domain: Some("d".into()),
        input: vec!["x".into()],
        output: vec!["y".into()],
        node: vec![node("Neg", &["x"], &["y"])],
        ..FunctionProto::default()
    };
    let mut proto = model(8, graph(&[], &[], vec![]));
    proto.functions =
        vec![function.clone(), FunctionProto { overload: Some("o".into()), ..function.clone() }];
    assert_eq!(read_all(proto.clone()).0.functions.len(), 2);
    proto.functions.push(function);
    assert_eq!(error(proto), "function `d.F`: it is defined twice");
}
