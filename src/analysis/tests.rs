//! Facts and costs of small graphs.

use super::cost::{self, Sizes};
use super::{Facts, InferContext};
use crate::ir::{
    AttrKind, AttrValue, Attrs, DType, Dim, Graph, Node, NodeId, OpName, Origin, TensorData, Value, ValueId,
    ValueType,
};

/// Builds a graph line by line.
struct Build {
    graph: Graph,
    position: u64,
}

impl Build {
    fn new() -> Self {
        Self { graph: Graph::named("test"), position: 0 }
    }

    fn typed(&mut self, name: &str, dtype: DType, dims: &str) -> ValueId {
        let dim = |d: &str| match d.parse() {
            Ok(n) => Dim::Known(n),
            Err(_) if d == "?" => Dim::UNKNOWN,
            Err(_) => Dim::Symbol(d.into()),
        };
        let dims: Vec<_> = dims.split_whitespace().map(dim).collect();
        let value = Value { ty: ValueType::tensor(dtype, dims), declared: true, ..Value::named(name) };
        self.graph.add_value(value).unwrap()
    }

    fn input(&mut self, name: &str, dtype: DType, dims: &str) -> ValueId {
        let id = self.typed(name, dtype, dims);
        let inputs = [self.graph.inputs(), &[id]].concat();
        self.graph.set_inputs(inputs);
        id
    }

    fn floats(&mut self, name: &str, dims: &[u64]) -> ValueId {
        let len = dims.iter().product::<u64>() as usize;
        self.data(name, TensorData::from_slice(dims, &vec![0.5f32; len]).unwrap())
    }

    fn ints(&mut self, name: &str, ints: &[i64]) -> ValueId {
        self.data(name, TensorData::vector(ints))
    }

    fn int(&mut self, name: &str, n: i64) -> ValueId {
        self.data(name, TensorData::scalar(n))
    }

    fn data(&mut self, name: &str, data: TensorData) -> ValueId {
        self.graph.add_value(Value { data: Some(data), ..Value::named(name) }).unwrap()
    }

    fn node(&mut self, op: &str, attrs: Attrs, inputs: &[ValueId], outputs: &[ValueId]) -> NodeId {
        let (domain, name) = op.split_once("::").unwrap_or(("", op));
        let mut node = Node::new(OpName::new(domain, name), String::new(), attrs);
        node.position = self.position;
        self.position += 1;
        let some = |ids: &[ValueId]| ids.iter().map(|&v| Some(v)).collect::<Vec<_>>();
        self.graph.add_node(node, &some(inputs), &some(outputs)).unwrap()
    }

    fn op(&mut self, op: &str, attrs: Attrs, inputs: &[ValueId]) -> ValueId {
        let out = self.graph.add_value(Value::named(format!("v{}", self.position))).unwrap();
        self.node(op, attrs, inputs, &[out]);
        out
    }

    fn facts(&self) -> Facts {
        Facts::of(&self.graph, &InferContext::default())
    }
}

fn none() -> Attrs {
    Attrs::new()
}

fn dims(facts: &Facts, value: ValueId) -> String {
    let shape = facts.shape(value).map(|s| s.iter().map(ToString::to_string).collect::<Vec<_>>());
    shape.map_or("unknown".to_owned(), |s| s.join(" "))
}

/// Input `n 3 32 32`, a strided Conv, a pooling, Flatten, Gemm.
fn small_cnn() -> (Build, Vec<ValueId>) {
    let mut b = Build::new();
    let x = b.input("x", DType::Float, "n 3 32 h");
    let (w, m, c) = (b.floats("w", &[8, 3, 3, 3]), b.floats("m", &[128, 10]), b.floats("c", &[10]));
    let conv = none().with("strides", vec![2, 2]).with("pads", vec![1, 1, 1, 1]);
    let conv = b.op("Conv", conv, &[x, w]);
    let relu = b.op("Relu", none(), &[conv]);
    let pool = b.op("GlobalAveragePool", none(), &[relu]);
    let shape = b.ints("s", &[0, -1]);
    let flat = b.op("Reshape", none(), &[pool, shape]);
    let tile = b.ints("t", &[1, 16]);
    let wide = b.op("Tile", none(), &[flat, tile]);
    let gemm = b.op("Gemm", none(), &[wide, m, c]);
    b.graph.set_outputs(vec![gemm]);
    (b, vec![x, conv, relu, pool, flat, wide, gemm])
}

#[test]
fn a_symbolic_batch_flows_through_a_convolutional_network() {
    let (b, v) = small_cnn();
    let facts = b.facts();
    let found: Vec<_> = v.iter().map(|&v| dims(&facts, v)).collect();
    let half = "1 + (-1 + h) / 2";
    let conv = format!("n 8 16 {half}");
    assert_eq!(found, ["n 3 32 h", &conv, &conv, "n 8 1 1", "n 8", "n 128", "n 10"]);
    assert!(facts.same_shape(v[1], v[2]) && !facts.same_shape(v[0], v[1]));
    assert_eq!(facts.ty(v[6]), ValueType::tensor(DType::Float, [Dim::Symbol("n".into()), Dim::Known(10)]));
    assert_eq!(facts.problems(), &[] as &[String]);
}

#[test]
fn bindings_replace_symbols() {
    let (b, v) = small_cnn();
    let bindings = [("n".to_owned(), 4), ("h".to_owned(), 64)].into();
    let facts = Facts::of(&b.graph, &InferContext { bindings });
    assert_eq!(facts.known_dims(v[1]), Some(vec![4, 8, 16, 32]));
}

#[test]
fn shape_arithmetic_resolves_a_reshape() {
    let mut b = Build::new();
    let x = b.input("x", DType::Float, "batch seq 768");
    let (zero, one, two) = (b.int("zero", 0), b.int("one", 1), b.ints("two", &[0]));
    let (heads, rest) = (b.ints("heads", &[12]), b.ints("rest", &[-1]));
    let shape = b.op("Shape", none(), &[x]);
    let (batch, seq) = (b.op("Gather", none(), &[shape, zero]), b.op("Gather", none(), &[shape, one]));
    let twice = b.op("Mul", none(), &[batch, seq]);
    let (batch, seq) = (b.op("Unsqueeze", none(), &[batch, two]), b.op("Unsqueeze", none(), &[seq, two]));
    let target = b.op("Concat", none().with("axis", 0), &[batch, seq, heads, rest]);
    let split = b.op("Reshape", none(), &[x, target]);
    let swapped = b.op("Transpose", none().with("perm", vec![0, 2, 1, 3]), &[split]);
    let scores = b.op("Transpose", none().with("perm", vec![0, 2, 3, 1]), &[split]);
    let product = b.op("MatMul", none(), &[swapped, scores]);
    let facts = b.facts();
    assert_eq!(dims(&facts, product), "batch 12 seq seq");
    assert_eq!(facts.value(twice).unwrap()[0].to_string(), "batch * seq");
    assert_eq!(facts.value_i64s(heads), Some(vec![12]));
    assert!(facts.same_dim((product, 2), (product, 3)) && !facts.same_dim((product, 0), (product, 2)));
}

#[test]
fn slices_clamp_exactly() {
    let mut b = Build::new();
    let x = b.input("x", DType::Float, "n 10");
    let mut slice = |start: i64, end: i64, axis: i64, step: i64| {
        let name = b.position.to_string();
        let list: Vec<_> = [("s", start), ("e", end), ("a", axis), ("t", step)]
            .iter()
            .map(|(tag, n)| b.ints(&format!("{tag}{name}"), &[*n]))
            .collect();
        let out = b.op("Slice", none(), &[&[x][..], &list].concat());
        dims(&b.facts(), out)
    };
    assert_eq!(slice(0, i64::MAX, 0, 1), "n 10");
    assert_eq!(slice(i64::MIN, i64::MAX, 1, 1), "n 10");
    assert_eq!(slice(2, i64::MAX, 0, 1), "max(0, -2 + n) 10");
    assert_eq!(slice(0, 3, 0, 1), "min(3, n) 10");
    assert_eq!(slice(-4, i64::MAX, 0, 1), "min(4, n) 10");
    assert_eq!(slice(-1, i64::MIN, 0, -1), "n 10");
    assert_eq!(slice(7, 2, 1, -2), "n 3");
    assert_eq!(slice(3, 100, 1, 3), "n 3");
    assert_eq!(slice(5, 3, 1, 1), "n 0");
}

#[test]
fn counts_beyond_32_bits_do_not_wrap() {
    let mut b = Build::new();
    let x = b.input("x", DType::Float, "n 65536 65536");
    let y = b.input("y", DType::Float, "65536 65536 2");
    let rest = b.ints("rest", &[-1]);
    let (x, y) = (b.op("Reshape", none(), &[x, rest]), b.op("Reshape", none(), &[y, rest]));
    let facts = b.facts();
    assert!(facts.dim(x, 0).unwrap().is_fresh());
    assert_eq!(facts.known_dims(y), Some(vec![1 << 33]));
}

#[test]
fn a_stale_declaration_overrides_nothing_and_is_not_believed_elsewhere() {
    let mut b = Build::new();
    let x = b.input("x", DType::Float, "n 4");
    let (wrong, unseen, odd) = (
        b.typed("w", DType::Float, "1 4"),
        b.typed("u", DType::Float, "1 7"),
        b.typed("o", DType::Int32, "n 4"),
    );
    b.node("Relu", none(), &[x], &[wrong]);
    b.node("com.example::Magic", none(), &[wrong], &[unseen]);
    b.node("Relu", none(), &[x], &[odd]);
    let facts = b.facts();
    assert_eq!(dims(&facts, wrong), "n 4");
    assert_eq!(facts.rank(unseen), Some(2));
    assert!(facts.dim(unseen, 1).unwrap().is_fresh());
    assert_eq!(facts.dtype(odd), Some(DType::Float));
    assert_eq!(facts.problems().len(), 2, "{:?}", facts.problems());
}

#[test]
fn declarations_fill_what_inference_cannot_know() {
    let mut b = Build::new();
    let x = b.input("x", DType::Float, "n 4");
    let magic = b.typed("m", DType::Int64, "n 7");
    b.node("com.example::Magic", none(), &[x], &[magic]);
    let picked = b.typed("p", DType::Int64, "2 k");
    b.node("NonZero", none(), &[x], &[picked]);
    let facts = b.facts();
    assert_eq!((dims(&facts, magic).as_str(), facts.dtype(magic)), ("n 7", Some(DType::Int64)));
    assert_eq!(dims(&facts, picked), "2 k");
    assert_eq!(facts.problems(), &[] as &[String]);
}

#[test]
fn two_unknown_sizes_are_never_the_same() {
    let mut b = Build::new();
    let x = b.input("x", DType::Float, "? ?");
    let (p, q) = (b.op("NonZero", none(), &[x]), b.op("NonZero", none(), &[x]));
    let facts = b.facts();
    assert!(!facts.same_shape(p, q) && !facts.same_dim((x, 0), (x, 1)));
    assert!(facts.same_shape(p, p));
}

/// A body with these outputs, made from captured values.
fn body(build: impl FnOnce(&mut Build) -> Vec<ValueId>) -> Graph {
    let mut b = Build::new();
    let outputs = build(&mut b);
    b.graph.set_outputs(outputs);
    b.graph
}

fn captured(b: &mut Build, name: &str) -> ValueId {
    b.graph.add_value(Value { origin: Origin::Captured, ..Value::named(name) }).unwrap()
}

#[test]
fn an_if_keeps_what_both_branches_agree_on() {
    let mut b = Build::new();
    let (x, y) = (b.input("x", DType::Float, "n 4"), b.input("y", DType::Float, "n 5"));
    let c = b.input("c", DType::Bool, "");
    let branch = |name: &'static str| {
        body(move |b| {
            let v = captured(b, name);
            vec![b.op("NonZero", none(), &[v]), b.op("Relu", none(), &[v])]
        })
    };
    let attrs = || none().with("then_branch", branch("x")).with("else_branch", branch("y"));
    let out = |b: &mut Build, tag: &str| {
        [0, 1].map(|i| b.graph.add_value(Value::named(format!("{tag}{i}"))).unwrap())
    };
    let (o, p) = (out(&mut b, "o"), out(&mut b, "p"));
    b.node("If", attrs(), &[c], &o);
    let yes = b.data("yes", TensorData::scalar(true));
    b.node("If", attrs(), &[yes], &p);
    let facts = b.facts();
    assert_eq!(facts.dim(o[0], 0).unwrap().known(), Some(2));
    assert_eq!(dims(&facts, o[1]).split(' ').next(), Some("n"));
    assert!(facts.dim(o[1], 1).unwrap().is_fresh());
    assert_eq!(facts.dtype(o[0]), Some(DType::Int64));
    assert_eq!(dims(&facts, p[1]), "n 4");
    let _ = (x, y);
}

#[test]
fn a_loop_keeps_the_dims_that_its_body_keeps() {
    let mut b = Build::new();
    let x = b.input("x", DType::Float, "n 4");
    let count = b.input("m", DType::Int64, "");
    let inner = body(|b| {
        b.input("i", DType::Int64, "");
        let go = b.input("go", DType::Bool, "");
        let v = b.graph.add_value(Value::named("carried")).unwrap();
        let inputs = [b.graph.inputs(), &[v]].concat();
        b.graph.set_inputs(inputs);
        let more = b.op("Concat", none().with("axis", 0), &[v, v]);
        let each = b.op("Relu", none(), &[more]);
        let fixed = b.floats("fixed", &[3]);
        vec![go, each, fixed]
    });
    let yes = b.data("yes", TensorData::scalar(true));
    let outs = ["last", "all"].map(|n| b.graph.add_value(Value::named(n)).unwrap());
    let node = b.node("Loop", none().with("body", inner), &[count, yes, x], &outs);
    let facts = b.facts();
    assert!(facts.dim(outs[0], 0).unwrap().is_fresh());
    assert_eq!(facts.dim(outs[0], 1).unwrap().known(), Some(4));
    assert_eq!((facts.dtype(outs[0]), facts.rank(outs[1])), (Some(DType::Float), Some(2)));
    assert_eq!(facts.dim(outs[1], 1).unwrap().known(), Some(3));
    let inside = facts.body(&b.graph, node, "body").unwrap();
    let graph = b.graph.node(node).attrs.graph("body").unwrap();
    assert_eq!(inside.dim(graph.inputs()[2], 1).unwrap().known(), Some(4));
    assert!(inside.dim(graph.inputs()[2], 0).unwrap().is_fresh());
}

#[test]
fn a_refresh_gives_what_a_walk_gives() {
    let (mut b, v) = small_cnn();
    let mut facts = b.facts();
    let (conv, _) = b.graph.producer(v[1]).unwrap();
    let wider = b.floats("wider", &[16, 3, 5, 5]);
    b.graph.set_input(conv, 1, Some(wider)).unwrap();
    facts.refresh(&b.graph, &[conv]);
    assert_eq!(dims(&facts, v[1]), "n 16 15 1 + (-3 + h) / 2");
    assert_eq!(dims(&facts, v[5]), "n 256");
    let whole = b.facts();
    assert!(b.graph.values().all(|v| facts.fact(v) == whole.fact(v)));
}

#[test]
fn element_types_come_from_inputs_and_attributes() {
    let mut b = Build::new();
    let x = b.input("x", DType::Float16, "n 4");
    let cast = b.op("Cast", none().with("to", 10), &[x]);
    let shape = b.op("Shape", none(), &[x]);
    let filled = b.op("ConstantOfShape", none(), &[shape]);
    let less = b.op("Less", none(), &[x, cast]);
    let most = b.op("ArgMax", none(), &[x]);
    let odd = b.op("Cast", none().with("to", 99), &[x]);
    let facts = b.facts();
    let found = [cast, shape, filled, less, most, odd].map(|v| facts.dtype(v));
    let some = [DType::Float16, DType::Int64, DType::Float, DType::Bool, DType::Int64].map(Some);
    assert_eq!(found, [some[0], some[1], some[2], some[3], some[4], None]);
}

#[test]
fn attributes_that_the_newest_form_lacks_are_not_ignored() {
    let mut b = Build::new();
    let x = b.input("x", DType::Float, "n 4");
    let old = b.op("ReduceSum", none().with("axes", vec![1]), &[x]);
    let kind = b.op("Concat", none().with("axis", 1.0), &[x, x]);
    let open = AttrValue::Ref { name: "a".to_owned(), kind: AttrKind::Int };
    let open = b.op("Flatten", none().with("axis", open), &[x]);
    let clip = b.op("Clip", none().with("min", 0.0), &[x]);
    let facts = b.facts();
    let found = [old, kind, open, clip].map(|v| dims(&facts, v));
    assert_eq!(found, ["unknown", "unknown", "unknown", "n 4"]);
    assert_eq!(facts.dtype(open), Some(DType::Float));
}

#[test]
fn costs_add_up() {
    let (b, v) = small_cnn();
    let facts = Facts::of(&b.graph, &InferContext { bindings: [("h".to_owned(), 32)].into() });
    assert_eq!(cost::macs(&b.graph, &facts, &Sizes::default()), None);
    let one = Sizes::batch_of_one(&b.graph, &facts, [].into());
    let conv = 8 * 16 * 16 * 27;
    assert_eq!(cost::macs(&b.graph, &facts, &one), Some(conv + 1280));
    let two = Sizes::of([("n".to_owned(), 2)].into());
    assert_eq!(cost::macs(&b.graph, &facts, &two), Some(2 * (conv + 1280)));
    // The Conv's output and the Relu's are there together.
    assert_eq!(cost::peak_memory(&b.graph, &facts, &one), Some(4 * (3 * 32 * 32 + 8 * 16 * 16)));
    let parameters = cost::parameters(&b.graph);
    assert_eq!(parameters.count, 216 + 1280 + 10 + 2 + 2);
    assert_eq!(parameters.bytes.get(&DType::Int64), Some(&32));
    let (gemm, _) = b.graph.producer(v[6]).unwrap();
    assert_eq!(cost::node_macs(&b.graph, &facts, &one, gemm), Some(1280));
}
