use super::*;
use crate::ir::{Attrs, ModelMeta, Node, OpName, Value, ValueType};

/// A model from inputs, and nodes `(operator, attributes, inputs, output)`; names starting with `c_` are constants.
fn model(inputs: &[(&str, ValueType)], nodes: &[(&str, Attrs, &[&str], &str)]) -> Model {
    let mut graph = Graph::named("g");
    let mut ids = Vec::new();
    for (name, ty) in inputs {
        ids.push(graph.add_value(Value { ty: ty.clone(), ..Value::named(*name) }).unwrap());
    }
    graph.set_inputs(ids);
    for (op, attrs, reads, output) in nodes {
        let reads: Vec<_> = reads.iter().map(|name| Some(find(&mut graph, name))).collect();
        let output = find(&mut graph, output);
        graph.add_node(Node::new(OpName::onnx(op), "", attrs.clone()), &reads, &[Some(output)]).unwrap();
    }
    Model { graph, opsets: Vec::new(), functions: Vec::new(), meta: ModelMeta::default() }
}

fn find(graph: &mut Graph, name: &str) -> ValueId {
    graph.find(name).unwrap_or_else(|| {
        let data = match name {
            "c_table" => TensorData::from_slice(&[5, 2], &[0f32; 10]).ok(),
            "c_rate" => Some(TensorData::scalar(16000i64)),
            _ => None,
        };
        graph.add_value(Value { data, ..Value::named(name) }).unwrap()
    })
}

fn open(dims: &[&str]) -> Vec<Dim> {
    dims.iter().map(|d| d.parse().map_or_else(|_| Dim::Symbol((*d).into()), Dim::Known)).collect()
}

fn plan(model: &Model, bindings: &[(&str, u64)]) -> InputPlan {
    let bindings = bindings.iter().map(|&(k, v)| (k.to_owned(), v)).collect();
    InputPlan::of(model, &bindings, DefaultDims::ATTEMPTS[0]).unwrap()
}

#[test]
fn indices_stay_inside_the_axis_that_they_index() {
    let ids = ValueType::tensor(DType::Int64, open(&["batch", "40"]));
    let nodes: &[(&str, Attrs, &[&str], &str)] = &[
        ("Cast", Attrs::new().with("to", 6i64), &["ids"], "a"),
        ("Gather", Attrs::new(), &["c_table", "a"], "y"),
    ];
    let plan = plan(&model(&[("ids", ids)], nodes), &[("batch", 50)]);
    assert_eq!(plan.inputs[0].draw, Draw::Ints(0, 4));
    let items = plan.sample(1).unwrap()[0].to_i64s().unwrap();
    assert_eq!((items.iter().min(), items.iter().max()), (Some(&0), Some(&4)));
}

#[test]
fn a_number_that_is_compared_is_one_that_it_is_compared_with() {
    let rate = ValueType::tensor(DType::Int64, []);
    let plan = plan(&model(&[("sr", rate)], &[("Equal", Attrs::new(), &["sr", "c_rate"], "y")]), &[]);
    assert_eq!(plan.sample(3).unwrap()[0].to_i64(), Some(16000));
}

#[test]
fn dims_are_bound_by_symbol_place_and_default() {
    let image = ValueType::tensor(DType::Float, open(&["N", "3", "height", "width"]));
    let text = ValueType::tensor(DType::Int64, open(&["seq_len", "N"]));
    let past = UnknownDim::Text("seq_len + 2".into());
    let cache = ValueType::tensor(DType::Float, [Dim::UNKNOWN, Dim::Unknown(Some(past)), Dim::UNKNOWN]);
    let model = model(&[("image", image), ("text", text), ("cache", cache)], &[]);
    let dims = |bindings: &[(&str, u64)]| -> Vec<Vec<u64>> {
        plan(&model, bindings).inputs.into_iter().map(|i| i.dims).collect()
    };
    assert_eq!(dims(&[]), [vec![1, 3, 64, 64], vec![8, 1], vec![1, 10, 8]]);
    let bound = dims(&[("N", 2), ("width", 5), ("cache[2]", 9)]);
    assert_eq!(bound, [vec![2, 3, 64, 5], vec![8, 2], vec![1, 10, 9]]);
}

#[test]
fn samples_depend_on_seed_and_name_alone() {
    let ty = ValueType::tensor(DType::Float, open(&["4"]));
    let both = plan(&model(&[("a", ty.clone()), ("b", ty.clone())], &[]), &[]);
    let one = plan(&model(&[("b", ty)], &[]), &[]);
    assert!(both.sample(1).unwrap()[1].same_data(&one.sample(1).unwrap()[0]));
    assert!(!both.sample(1).unwrap()[0].same_data(&both.sample(1).unwrap()[1]));
    assert!(!one.sample(1).unwrap()[0].same_data(&one.sample(2).unwrap()[0]));
}

#[test]
fn every_integer_type_is_filled_within_its_range() {
    for &dtype in DType::ALL.iter().filter(|d| d.is_int() || **d == DType::Bool) {
        let ty = ValueType::tensor(dtype, open(&["33"]));
        let tensor = &plan(&model(&[("x", ty)], &[]), &[]).sample(5).unwrap()[0];
        let items = tensor.to_i64s().unwrap();
        let (low, high) = representable(dtype);
        assert_eq!(items.len(), 33);
        assert!(items.iter().all(|x| (low..=high).contains(x)), "{dtype}: {items:?}");
        assert!(items.iter().any(|&x| x != items[0]), "{dtype}: {items:?}");
    }
    let ty = ValueType::tensor(DType::Float8e4m3fn, open(&["3"]));
    assert!(plan(&model(&[("x", ty)], &[]), &[]).sample(5).is_err());
}

#[test]
fn scaling_moves_every_float_and_nothing_else() {
    for dtype in [DType::Float, DType::Double, DType::Float16, DType::Bfloat16] {
        let before = TensorData::from_f64s(dtype, &[2], &[1.0, -3.5]).unwrap();
        let after = scaled(std::slice::from_ref(&before))[0].to_f64s().unwrap();
        assert!(after[0] > 1.0 && after[1] < -3.5, "{dtype}: {after:?}");
    }
    let ints = TensorData::vector(&[1i64, 2]);
    assert!(scaled(std::slice::from_ref(&ints))[0].same_data(&ints));
}
