//! What selectors do to a set.

use crate::ir::{Attrs, Graph, Model, ModelMeta, Node, NodeId, OpName, OpsetId, Value};
use crate::pass::{
    Family, Member, Pass, PassContext, PassMeta, Rule, Summary, each_graph, run_members, run_set,
};
use crate::rewrite::{PatternBuilder, RuleFn, Select, Selector};

/// `Relu(Neg(x))` becomes `Abs(x)`: nonsense, but visible.
struct Fuse;

impl Rule for Fuse {
    const META: PassMeta = PassMeta::exact("fuse", Family::Fuse);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let x = p.any();
        let inner = p.op("Neg", (x,));
        let outer = p.op("Relu", (inner,));
        Box::new(move |m, rw| {
            rw.emit("Abs", Attrs::default(), [m.value(x).into()], m.output(outer, 0)?);
            Ok(())
        })
    }
}

/// Counts the `Relu` nodes that it may change.
struct Count;

impl Pass for Count {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta::exact("count", Family::Simplify) }
    }

    fn heeds_selectors(&self) -> bool {
        true
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        each_graph(model, cx, &mut |scope, cx| {
            let graph = &*scope.graph;
            let relus = graph.nodes().filter(|&n| graph.node(n).is("Relu") && cx.may_change(graph, &[n]));
            (0..relus.count()).for_each(|_| summary.skip("a Relu"));
            Ok(())
        })?;
        Ok(summary)
    }
}

/// `neg_i` and `relu_i` for each name, one after the other.
fn model(names: &[&str]) -> Model {
    let mut graph = Graph::named("g");
    let mut last = graph.add_value(Value::named("x")).unwrap();
    graph.set_inputs(vec![last]);
    for name in names {
        for op in ["Neg", "Relu"] {
            let next = graph.add_value(Value::named(format!("{name}_{op}_out"))).unwrap();
            let node = Node::new(OpName::onnx(op), format!("{name}/{op}"), Attrs::default());
            graph.add_node(node, &[Some(last)], &[Some(next)]).unwrap();
            last = next;
        }
    }
    graph.set_outputs(vec![last]);
    let opsets = vec![OpsetId { domain: String::new(), version: 17 }];
    Model { graph, opsets, functions: Vec::new(), meta: ModelMeta::default() }
}

fn select(only: &[&str], ignore: &[&str]) -> Select {
    let parse = |texts: &[&str]| texts.iter().map(|t| Selector::parse(t).unwrap()).collect();
    Select { only: parse(only), ignore: parse(ignore) }
}

fn with_context<T>(model: &mut Model, f: impl FnOnce(&mut Model, &mut PassContext<'_>) -> T) -> T {
    let evaluate = |_: &crate::engine::NodeCall<'_>| Ok(Vec::new());
    let can = |_: &OpName| false;
    let mut cx = PassContext::new(model, &evaluate, &can);
    f(model, &mut cx)
}

fn fuse(model: &mut Model, select: &Select) -> usize {
    let members = [Member { pass: &Fuse, select }];
    with_context(model, |model, cx| run_members(model, &members, cx).unwrap()["fuse"].applied)
}

#[test]
fn a_rule_fires_only_where_a_replaced_node_is_selected() {
    assert_eq!(fuse(&mut model(&["a", "b", "c"]), &Select::default()), 3);
    assert_eq!(fuse(&mut model(&["a", "b", "c"]), &select(&["a/*"], &[])), 1);
    assert_eq!(fuse(&mut model(&["a", "b", "c"]), &select(&[], &["b/Neg"])), 2);
    assert_eq!(fuse(&mut model(&["a", "b", "c"]), &select(&["op:Relu"], &["re:^c"])), 2);
    assert_eq!(fuse(&mut model(&["a", "b", "c"]), &select(&["op:Conv"], &[])), 0);
}

#[test]
fn names_of_the_loaded_model_outlive_a_fusion() {
    let mut model = model(&["a", "b"]);
    assert_eq!(fuse(&mut model, &select(&["a/*"], &[])), 1);
    let graph = &model.graph;
    let abs = graph.nodes().find(|&n| graph.node(n).is("Abs")).unwrap();
    assert!(select(&["a/Neg"], &[]).allows(graph, &[abs]));
    assert!(!select(&["b/Neg"], &[]).allows(graph, &[abs]));
}

#[test]
fn each_member_of_a_set_has_its_own_selectors() {
    let (left, right) = (select(&["a/*"], &[]), select(&["b/*", "c/*"], &[]));
    let members = [Member { pass: &Fuse, select: &left }, Member { pass: &Count, select: &right }];
    let mut model = model(&["a", "b", "c"]);
    let report = with_context(&mut model, |model, cx| {
        let report = run_members(model, &members, cx).unwrap();
        assert!(cx.select.is_all(), "the selectors of a member are gone after it");
        report
    });
    assert_eq!(report["fuse"].applied, 1);
    assert_eq!(report["count"].skipped["a Relu"], 2);
}

#[test]
fn a_single_step_takes_the_selectors_of_its_context() {
    let report = with_context(&mut model(&["a", "b"]), |model, cx| {
        cx.select = select(&[], &["a/*"]);
        run_set(model, &[&Fuse, &Count], cx).unwrap()
    });
    assert_eq!(report["fuse"].applied, 1);
    assert_eq!(report["count"].skipped.get("a Relu"), None);
}

#[test]
fn selectors_that_match_nothing_are_found_unless_they_may() {
    let model = model(&["a", "b"]);
    let select = select(&["a/*", "op:Gemm", "c/*?"], &["re:zzz", "b/Relu"]);
    let texts: Vec<_> = select.unmatched(&model).iter().map(|s| s.text()).collect();
    assert_eq!(texts, ["op:Gemm", "re:zzz"]);
    let all: Vec<NodeId> = model.graph.nodes().collect();
    assert!(Select::default().allows(&model.graph, &all));
}

/// Finds something to do whenever it runs.
struct Restless;

impl Pass for Restless {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta { idempotent: false, ..PassMeta::exact("restless", Family::Simplify) } }
    }

    fn run(&self, _: &mut Model, _: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        Ok(Summary { applied: 1, ..Summary::default() })
    }
}

#[test]
fn a_pass_that_always_finds_something_runs_once_in_a_set() {
    let report =
        with_context(&mut model(&["a"]), |model, cx| run_set(model, &[&Fuse, &Restless], cx).unwrap());
    assert_eq!((report["fuse"].applied, report["restless"].applied), (1, 1));
}
