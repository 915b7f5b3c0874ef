use std::sync::Arc;

use bytes::Bytes;
use smallvec::smallvec;

use super::write;
use crate::ir::{AsRead, Attrs, Model, OpName, Origin, TensorData, Value};
use crate::onnx::Loaded;
use crate::onnx::external::ExternalFiles;
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::type_proto::{self, Value as Ty};
use crate::onnx::proto::{
    AttributeProto, DeviceConfigurationProto, FunctionProto, IntIntListEntryProto, ModelProto,
    NodeDeviceConfigurationProto, NodeProto, OperatorSetIdProto, ShardedDimProto, ShardingSpecProto,
    SimpleShardedDimProto, SparseTensorProto, StringStringEntryProto, TensorAnnotation, TensorProto,
    TensorShapeProto, TrainingInfoProto, TypeProto, ValueInfoProto, simple_sharded_dim_proto,
    tensor_shape_proto,
};
use crate::onnx::read::read;
use crate::onnx::read::tests::{graph, info, model, node, scalar, with_body};

pub(super) fn read_back(proto: ModelProto) -> Model {
    let Loaded { model, warnings, .. } = read(proto, ExternalFiles::beside(None)).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    model
}

/// Reads and writes a model that is in the order of the writer, and expects no difference.
fn survives(proto: &ModelProto) {
    let model = read_back(proto.clone());
    let written = write(model.check().unwrap()).unwrap().proto;
    assert!(written == *proto, "written:\n{written:#?}\nread:\n{proto:#?}");
    assert_eq!(write(read_back(written).check().unwrap()).unwrap().proto, *proto);
}

fn entries(key: &str) -> Vec<StringStringEntryProto> {
    vec![StringStringEntryProto { key: Some(key.into()), value: Some("v".into()) }]
}

fn ty(value: Ty) -> TypeProto {
    TypeProto { value: Some(value), denotation: None }
}

pub(super) fn tensor_type(
    dims: Vec<(Option<tensor_shape_proto::dimension::Value>, Option<&str>)>,
) -> TypeProto {
    let dim = |(value, denotation): (_, Option<&str>)| tensor_shape_proto::Dimension {
        value,
        denotation: denotation.map(Into::into),
    };
    let shape = Some(TensorShapeProto { dim: dims.into_iter().map(dim).collect() });
    ty(Ty::TensorType(type_proto::Tensor { elem_type: Some(1), shape }))
}

pub(super) fn typed(name: &str, ty: TypeProto) -> ValueInfoProto {
    ValueInfoProto { r#type: Some(ty), ..info(name) }
}

fn sparse(name: Option<&str>) -> SparseTensorProto {
    SparseTensorProto {
        values: Some(TensorProto { dims: vec![1], name: name.map(Into::into), ..scalar("") }),
        indices: Some(TensorProto {
            dims: vec![1],
            data_type: Some(7),
            int64_data: vec![2],
            name: Some("where".into()),
            ..TensorProto::default()
        }),
        dims: vec![3],
    }
}

fn attr(name: &str, ty: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(ty as i32), ..AttributeProto::default() }
}

fn all_attributes() -> Vec<AttributeProto> {
    use AttributeType as T;
    let tensor = || scalar("inner");
    let body = || graph(&[], &["q"], vec![node("Neg", &["x"], &["q"])]);
    let types = vec![tensor_type(vec![]), ty(Ty::OptionalType(Box::default()))];
    let sparse = || sparse(Some("s"));
    vec![
        AttributeProto { f: Some(-0.0), doc_string: Some("doc".into()), ..attr("f", T::Float) },
        AttributeProto { i: Some(i64::MIN), ..attr("i", T::Int) },
        AttributeProto { s: Some(vec![0xff, 0]), ..attr("s", T::String) },
        AttributeProto { t: Some(tensor()), ..attr("t", T::Tensor) },
        AttributeProto { g: Some(body()), ..attr("g", T::Graph) },
        AttributeProto { sparse_tensor: Some(sparse()), ..attr("st", T::SparseTensor) },
        AttributeProto { tp: types.first().cloned(), ..attr("tp", T::TypeProto) },
        AttributeProto { floats: vec![1.0, f32::INFINITY], ..attr("fs", T::Floats) },
        AttributeProto { ints: vec![1, -1], ..attr("is", T::Ints) },
        AttributeProto { strings: vec![vec![], b"a".to_vec()], ..attr("ss", T::Strings) },
        AttributeProto { tensors: vec![tensor(), tensor()], ..attr("ts", T::Tensors) },
        AttributeProto { graphs: vec![body(), body()], ..attr("gs", T::Graphs) },
        AttributeProto { sparse_tensors: vec![sparse()], ..attr("sts", T::SparseTensors) },
        AttributeProto { type_protos: types, ..attr("tps", T::TypeProtos) },
        attr("no_ints", T::Ints),
    ]
}

fn device() -> NodeDeviceConfigurationProto {
    let dim = ShardedDimProto {
        axis: Some(-1),
        simple_sharding: vec![SimpleShardedDimProto {
            num_shards: Some(2),
            dim: Some(simple_sharded_dim_proto::Dim::DimParam("N".into())),
        }],
    };
    NodeDeviceConfigurationProto {
        configuration_id: Some("c".into()),
        pipeline_stage: Some(1),
        sharding_spec: vec![ShardingSpecProto {
            tensor_name: Some("x".into()),
            device: vec![0, 1],
            index_to_device_group_map: vec![IntIntListEntryProto { key: Some(0), value: vec![1] }],
            sharded_dim: vec![dim],
        }],
    }
}

fn function() -> FunctionProto {
    let mut call = node("LeakyRelu", &["a"], &["b"]);
    call.attribute =
        vec![AttributeProto { ref_attr_name: Some("slope".into()), ..attr("alpha", AttributeType::Float) }];
    FunctionProto {
        name: Some("F".into()),
        domain: Some("local".into()),
        overload: Some("one".into()),
        input: vec!["a".into()],
        output: vec!["b".into()],
        attribute: vec!["slope".into()],
        attribute_proto: vec![AttributeProto { i: Some(1), ..attr("axis", AttributeType::Int) }],
        node: vec![call],
        doc_string: Some("d".into()),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(12) }],
        value_info: vec![typed("a", tensor_type(vec![]))],
        metadata_props: entries("f"),
    }
}

fn all_nodes() -> Vec<NodeProto> {
    let mut big = node("Op", &["x", "", "w", "s"], &["y", ""]);
    big.domain = Some("custom".into());
    big.name = Some("n".into());
    big.overload = Some("o".into());
    big.doc_string = Some("d".into());
    big.metadata_props = entries("n");
    big.device_configurations = vec![device()];
    big.attribute = all_attributes();
    let mut call = node("F", &["y"], &["z"]);
    let mut constant = node("Constant", &[], &["k"]);
    call.domain = Some("local".into());
    call.overload = Some("one".into());
    constant.attribute = vec![AttributeProto {
        sparse_tensor: Some(sparse(None)),
        ..attr("sparse_value", AttributeType::SparseTensor)
    }];
    vec![big, call, constant]
}

fn all_inputs() -> Vec<ValueInfoProto> {
    use tensor_shape_proto::dimension::Value::{DimParam, DimValue};
    let dims = vec![
        (Some(DimValue(3)), Some("DATA_BATCH")),
        (Some(DimValue(-1)), None),
        (Some(DimParam("N".into())), None),
        (Some(DimParam("?".into())), None),
        (Some(DimParam(String::new())), None),
        (Some(DimParam("h/2 + 1".into())), None),
        (None, Some("DATA_CHANNEL")),
    ];
    let x = ValueInfoProto {
        doc_string: Some("the input".into()),
        metadata_props: entries("x"),
        r#type: Some(TypeProto { denotation: Some("IMAGE".into()), ..tensor_type(dims) }),
        ..info("x")
    };
    let sequence = type_proto::Sequence { elem_type: Some(Box::new(tensor_type(vec![]))) };
    let map = type_proto::Map { key_type: Some(7), value_type: Some(Box::new(tensor_type(vec![]))) };
    let optional =
        type_proto::Optional { elem_type: Some(Box::new(ty(Ty::SequenceType(Box::new(sequence.clone()))))) };
    let opaque = type_proto::Opaque { domain: Some("d".into()), name: None };
    let sparse_type = type_proto::SparseTensor { elem_type: Some(1), shape: None };
    vec![
        x,
        typed("seq", ty(Ty::SequenceType(Box::new(sequence)))),
        typed("opt", ty(Ty::OptionalType(Box::new(optional)))),
        typed("map", ty(Ty::MapType(Box::new(map)))),
        typed("opaque", ty(Ty::OpaqueType(opaque))),
        typed("sp", ty(Ty::SparseTensorType(sparse_type))),
        typed("w", tensor_type(vec![])),
    ]
}

fn everything() -> ModelProto {
    let mut g = graph(&[], &[], all_nodes());
    g.doc_string = Some("graph".into());
    g.metadata_props = entries("g");
    g.input = all_inputs();
    g.output = vec![typed("z", tensor_type(vec![(None, None)])), info("k")];
    g.value_info = vec![typed("y", ty(Ty::TensorType(type_proto::Tensor { elem_type: None, shape: None })))];
    let raw = TensorProto {
        data_type: Some(16),
        dims: vec![2],
        raw_data: Some(Bytes::from_static(&[1, 2, 3, 4])),
        doc_string: Some("bf16".into()),
        metadata_props: entries("t"),
        name: Some("unused".into()),
        ..TensorProto::default()
    };
    g.initializer = vec![scalar("w"), raw];
    g.sparse_initializer = vec![sparse(Some("s"))];
    g.quantization_annotation = vec![TensorAnnotation {
        tensor_name: Some("y".into()),
        quant_parameter_tensor_names: entries("SCALE_TENSOR"),
    }];
    ModelProto {
        producer_name: Some("p".into()),
        producer_version: Some("1".into()),
        domain: Some("org".into()),
        model_version: Some(-3),
        doc_string: Some("model".into()),
        metadata_props: entries("m"),
        opset_import: ["", "custom", "local"]
            .map(|d| OperatorSetIdProto { domain: Some(d.into()), version: Some(17) })
            .to_vec(),
        functions: vec![function()],
        training_info: vec![TrainingInfoProto {
            algorithm: Some(graph(&["a"], &["a"], vec![])),
            update_binding: entries("u"),
            ..TrainingInfoProto::default()
        }],
        configuration: vec![DeviceConfigurationProto {
            name: Some("c".into()),
            num_devices: Some(2),
            device: vec!["gpu".into()],
        }],
        ..model(14, g)
    }
}

#[test]
fn everything_survives() {
    survives(&everything());
}

#[test]
fn old_files_keep_their_constants_in_the_input_list() {
    let mut g = graph(&["x", "w", "z", "v"], &["y"], vec![node("Op", &["x", "w", "z", "v"], &["y"])]);
    g.initializer = vec![scalar("w"), scalar("v")];
    for at in [1, 3] {
        g.input[at].r#type = Some(tensor_type(vec![]));
    }
    survives(&model(3, g.clone()));
    // A file that breaks the rule stays as it is.
    g.input.retain(|i| i.name() != "v");
    survives(&model(3, g.clone()));
    g.input.retain(|i| i.name() != "w");
    survives(&model(3, g));
}

#[test]
fn constants_that_passes_change_enter_and_leave_the_list_of_old_files() {
    let mut g = graph(&["x", "w", "z"], &["y"], vec![node("Op", &["x", "w", "z"], &["y"])]);
    g.initializer = vec![scalar("w")];
    let mut ir = read_back(model(3, g));
    let node = ir.graph.nodes().next().unwrap();
    let new = Value { data: Some(TensorData::scalar(2f32)), ..Value::named("new") };
    let new = ir.graph.add_value(new).unwrap();
    ir.graph.set_input(node, 1, Some(new)).unwrap();
    let old = ir.graph.find("w").unwrap();
    ir.graph.remove_value(old);
    let written = write(ir.check().unwrap()).unwrap().proto.graph.unwrap();
    let names: Vec<_> = written.input.iter().map(ValueInfoProto::name).collect();
    assert_eq!(names, ["x", "z", "new"]);
}

#[test]
fn an_untouched_node_is_written_as_it_was_read() {
    let mut old = node("Squeeze", &["x"], &["y"]);
    old.attribute = vec![AttributeProto { ints: vec![0], ..attr("axes", AttributeType::Ints) }];
    let before = model(8, graph(&["x"], &["y"], vec![old]));
    let mut ir = read_back(before.clone());
    // What an upgrade does: the attribute becomes a synthetic constant in a slot.
    let id = ir.graph.nodes().next().unwrap();
    let axes =
        Value { data: Some(TensorData::vector(&[0i64])), origin: Origin::Synthetic, ..Value::named("axes") };
    let axes = ir.graph.add_value(axes).unwrap();
    ir.graph.set_input(id, 1, Some(axes)).unwrap();
    let node = ir.graph.node_mut(id);
    let attrs = std::mem::replace(&mut node.attrs, Attrs::new());
    node.as_read = Some(Box::new(AsRead {
        op: OpName::onnx("Squeeze"),
        attrs,
        inputs: smallvec![Some(0)],
        outputs: smallvec![Some(0)],
    }));
    assert_eq!(write(ir.check().unwrap()).unwrap().proto, before);
    // As soon as the newest form is written, so is the constant.
    ir.graph.node_mut(id).as_read = None;
    let touched = write(ir.check().unwrap()).unwrap().proto.graph.unwrap();
    assert_eq!(touched.initializer[0].name(), "axes");
    assert_eq!(touched.node[0].input, ["x", "axes"]);
}

#[test]
fn bodies_of_an_as_read_form_are_those_of_the_node() {
    let body = |op| graph(&[], &["q"], vec![node(op, &["x"], &["q"])]);
    let before = model(
        8,
        graph(&["x"], &["y"], vec![with_body(node("If", &["x"], &["y"]), "then_branch", body("Neg"))]),
    );
    let mut ir = read_back(before);
    let id = ir.graph.nodes().next().unwrap();
    let node = ir.graph.node_mut(id);
    node.as_read = Some(Box::new(AsRead {
        op: node.op.clone(),
        attrs: node.attrs.clone(),
        inputs: smallvec![Some(0)],
        outputs: smallvec![Some(0)],
    }));
    let inner = node.attrs.iter_mut().flat_map(|a| a.value.graphs_mut()).next().unwrap();
    let neg = inner.nodes().next().unwrap();
    inner.node_mut(neg).op = OpName::onnx("Abs");
    let written = write(ir.check().unwrap()).unwrap().proto.graph.unwrap();
    assert_eq!(written.node[0].attribute[0].g.as_ref().unwrap().node[0].op_type(), "Abs");
}

#[test]
fn constants_of_a_function_are_written_as_nodes() {
    let mut proto = model(10, graph(&[], &[], vec![]));
    proto.functions = vec![function()];
    let mut ir = read_back(proto);
    let graph = &mut ir.functions[0].graph;
    let id = graph.nodes().next().unwrap();
    let sparse = crate::ir::SparseTensor {
        values: TensorData::vector(&[1f32]),
        indices: TensorData::vector(&[0i64]),
        dims: vec![4],
    };
    let new = Value { data: Some(TensorData::scalar(2f32)), ..Value::named("new") };
    let new = graph.add_value(new).unwrap();
    graph.set_input(id, 0, Some(new)).unwrap();
    let other = Value { sparse: Some(Arc::new(sparse)), ..Value::named("other") };
    let other = graph.add_value(other).unwrap();
    graph.set_input(id, 1, Some(other)).unwrap();
    let written = write(ir.check().unwrap()).unwrap().proto;
    let ops: Vec<_> = written.functions[0].node.iter().map(|n| (n.op_type(), n.output[0].as_str())).collect();
    assert_eq!(ops, [("Constant", "new"), ("Constant", "other"), ("LeakyRelu", "b")]);
    survives(&written);
}
