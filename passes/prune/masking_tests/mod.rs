//! Random graphs of all operators that have a formula: without some channels they compute what they compute with zeros in
//! the weights that read these channels.

mod arrange;
mod attend;
mod draft;
mod elementwise;
mod layers;
mod mask;
mod normalize;
mod reshape;
mod sizes;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use super::cut::Cut;
use crate::engine::interpret::Interpreter;
use crate::engine::{Bindings, Engine};
use crate::prelude::*;
use draft::{Draft, Numbers, Step, Value};

type Kind = fn(&mut Draft, &mut Numbers, &Value) -> bool;

const KINDS: &[Kind] = &[
    elementwise::unary,
    elementwise::unary,
    elementwise::unary,
    elementwise::with_constant,
    elementwise::with_constant,
    elementwise::binary,
    elementwise::binary,
    elementwise::gate,
    elementwise::logic,
    elementwise::bits,
    elementwise::plain,
    elementwise::quantize,
    elementwise::quantize,
    layers::conv,
    layers::conv,
    layers::conv_transpose,
    layers::matmul,
    layers::gemm,
    layers::einsum,
    layers::einsum,
    layers::summed,
    attend::single,
    attend::heads,
    attend::packed,
    attend::operator,
    normalize::normalize,
    normalize::normalize,
    normalize::normalize,
    normalize::centred,
    normalize::global,
    normalize::along,
    normalize::reduce,
    normalize::pool,
    normalize::pool,
    arrange::transpose,
    arrange::concat,
    arrange::concat,
    arrange::split,
    arrange::slice,
    arrange::gather,
    arrange::gather,
    arrange::pad,
    arrange::tile,
    arrange::expand,
    arrange::resize,
    arrange::blocks,
    arrange::blocks,
    reshape::reshape,
    reshape::reshape,
    reshape::flatten,
    reshape::squeeze,
    reshape::shuffle,
    reshape::stacked,
    elementwise::captured,
    sizes::made,
    sizes::scaled,
    sizes::halves,
    sizes::stretched,
    sizes::repeated,
    sizes::stretched_space,
    sizes::row,
];

/// How many models are made, but with `CASES=n`.
const CASES: u32 = 1500;

/// The same models on every run.
const SEED: [u8; 32] = *b"pruned as masked, the same again";

/// The model in the text syntax.
fn model_text(steps: &[Step]) -> String {
    let mut draft = Draft::default();
    let first = steps.first().map_or(0, |step| step.0[0]);
    draft.batch = (first.is_multiple_of(3)).then_some(if first.is_multiple_of(2) { 2 } else { 4 });
    let inputs = [
        ("x", vec![None, Some(3), Some(4), Some(4)], 1),
        ("t", vec![None, Some(4), Some(3)], 2),
        ("r", vec![None, Some(3)], 1),
    ];
    let inputs = inputs.map(|(name, dims, channel)| Value { name: name.to_owned(), dims, channel });
    for (input, &step) in inputs.iter().zip(steps.iter().cycle()) {
        let mut n = Numbers::of(step);
        let made = match input.rank() {
            4 => layers::conv(&mut draft, &mut n, input),
            3 => layers::matmul(&mut draft, &mut n, input),
            _ => layers::gemm(&mut draft, &mut n, input),
        };
        assert!(made);
    }
    for &step in steps {
        let mut n = Numbers::of(step);
        let kind = *n.pick(KINDS);
        // Recent values are taken more often, so that chains arise.
        let back = n.below(draft.values.len().min(6));
        let value = draft.values[draft.values.len() - 1 - back].clone();
        kind(&mut draft, &mut n, &value);
    }
    let ends: Vec<Value> = draft.values.iter().filter(|v| !draft.is_read(&v.name)).cloned().collect();
    let outputs: Vec<(String, Vec<Option<usize>>)> =
        ends.iter().map(|v| layers::close(&mut draft, v)).collect();
    let list = |all: Vec<(String, Vec<Option<usize>>)>| {
        let one = |(name, dims): (String, Vec<Option<usize>>)| format!("{} {name}", draft.type_of(&dims));
        all.into_iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let inputs = list(inputs.into_iter().map(|v| (v.name, v.dims)).collect());
    format!(
        "<ir_version: 11, opset_import: [\"\" : 24]>\ng ({inputs}) => ({})\n<{}>\n{{\n  {}\n}}",
        list(outputs),
        draft.constants.join(", "),
        draft.lines.join("\n  ")
    )
}

/// The elements of a constant.
fn fill(name: &str, dtype: DType, dims: &[u64]) -> Option<TensorData> {
    let mut stream = Stream::new(1, name);
    let fan = dims.get(1..).unwrap_or_default().iter().product::<u64>().clamp(1, 64) as f64;
    let mut number = || match dtype {
        DType::Bool => stream.int(0, 1) as f64,
        DType::Int8 | DType::Uint8 if name.starts_with("small") => stream.int(0, 3) as f64,
        DType::Int8 | DType::Uint8 => stream.int(1, 9) as f64,
        _ if name.starts_with("var") => stream.normal().abs() * 0.2 + 0.3,
        _ if name.starts_with('w') => stream.normal() / fan.sqrt(),
        _ => stream.normal() * 0.7,
    };
    let items: Vec<f64> = (0..dims.iter().product::<u64>()).map(|_| number()).collect();
    if dtype.bits() == 8 {
        let bytes: Vec<u8> = items.iter().map(|&x| x as u8).collect();
        return TensorData::new(dtype, dims, bytes).ok();
    }
    TensorData::from_f64s(dtype, dims, &items)
}

/// Outputs for random inputs.
fn answers(model: &Model) -> Result<Vec<TensorData>, String> {
    model.check().map_err(|e| e.to_string())?;
    let graph = &model.graph;
    let inputs = graph.inputs().iter().map(|&v| {
        let ValueType::Tensor { shape: Some(dims), .. } = &graph.value(v).ty else { panic!("no dims") };
        let dims: Vec<u64> = dims.iter().map(|d| if let Dim::Known(n) = d { *n } else { 2 }).collect();
        let mut stream = Stream::new(7, &graph.value(v).name);
        let items: Vec<f64> = (0..dims.iter().product::<u64>()).map(|_| stream.normal()).collect();
        TensorData::from_f64s(DType::Float, &dims, &items).unwrap()
    });
    let inputs: Vec<TensorData> = inputs.collect();
    let session = Interpreter::default().prepare(model, &Bindings::new()).map_err(|e| e.to_string())?;
    session.run(&inputs).map_err(|e| e.to_string())
}

/// Random atoms of the free groups; of every axis something stays.
fn chosen<'c>(channels: &'c Channels, facts: &Facts, seed: u64) -> Vec<(&'c Group, &'c Atom)> {
    let mut stream = Stream::new(seed, "atoms");
    let mut left: BTreeMap<Axis, usize> = BTreeMap::new();
    let mut chosen = Vec::new();
    for group in channels.groups.iter().filter(|g| g.frozen.is_none()) {
        for atom in &group.atoms {
            let size = |axis: Axis| channels::elements(facts, axis).unwrap_or(0) as usize;
            let parts = group.axes.iter().zip(&atom.0);
            let fits =
                parts.clone().all(|(axis, part)| *left.entry(*axis).or_insert(size(*axis)) > part.len());
            if fits && stream.int(0, 4) > 1 {
                parts.for_each(|(axis, part)| *left.get_mut(axis).unwrap() -= part.len());
                chosen.push((group, atom));
            }
        }
    }
    chosen
}

/// The operators that a cut passes through: it takes something of what they read or make, or they say what such an
/// operator is to do.
fn passed(graph: &Graph, cut: &Cut) -> BTreeSet<String> {
    let mut open: Vec<NodeId> = graph
        .nodes()
        .filter(|&id| {
            let values = graph.node_inputs(id).into_iter().chain(graph.node_outputs(id)).flatten();
            values.into_iter().any(|v| graph.constant(v).is_none() && cut.touches(v))
        })
        .collect();
    let mut found: BTreeSet<NodeId> = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !found.insert(id) {
            continue;
        }
        let inputs = graph.node_inputs(id).into_iter().flatten();
        let whole =
            |v: &ValueId| matches!(graph.value(*v).ty.dtype(), Some(DType::Int64 | DType::Bool) | None);
        open.extend(inputs.filter(whole).filter_map(|v| Some(graph.producer(v)?.0)));
    }
    found.into_iter().map(|id| graph.node(id).op.name.to_string()).collect()
}

/// Prunes a model and compares it with the masked one; the operators that the cut passed through.
fn compare(text: &str, seed: u64) -> Result<BTreeSet<String>, String> {
    let original = crate::onnx::from_text_with(text, &mut fill).map_err(|e| e.to_string())?.model;
    let plain = answers(&original).map_err(|e| format!("the model does not run: {e}"))?;
    if plain.iter().any(|t| t.to_f64s().unwrap().iter().any(|x| !x.is_finite())) {
        return Err("the answers are not finite".to_owned());
    }
    let mut pruned = original.clone();
    let mut cx = PassContext::with_kernels(&original);
    let mut found = None;
    main_graph(&mut pruned, &mut cx, &mut |scope, _| {
        let heads = [Heads::Whole, Heads::Width, Heads::Whole, Heads::Keep][seed as usize % 4];
        let channels = Channels::of(scope.graph, scope.facts, heads);
        let cut = Cut::of("test", chosen(&channels, scope.facts, seed));
        let passed = passed(scope.graph, &cut);
        cut.apply(scope)?;
        found = Some((cut, passed));
        Ok(())
    })
    .map_err(|e| format!("{e:#}"))?;
    let (cut, passed) = found.unwrap();
    let wanted = answers(&mask::masked(&original, &cut)).map_err(|e| format!("masked: {e}"))?;
    let got = answers(&pruned).map_err(|e| format!("pruned: {e}"))?;
    for (at, (wanted, got)) in wanted.iter().zip(&got).enumerate() {
        if wanted.dims() != got.dims() {
            return Err(format!("output {at}: {:?} and {:?}", wanted.dims(), got.dims()));
        }
        let (wanted, got) = (wanted.to_f64s().unwrap(), got.to_f64s().unwrap());
        let scale = wanted.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
        if let Some((a, b)) = wanted.iter().zip(&got).find(|(a, b)| (**a - **b).abs() > 1e-5 * scale) {
            return Err(format!("output {at}: {a} masked and {b} pruned"));
        }
    }
    Ok(passed)
}

#[test]
fn random_graphs_without_channels_compute_what_masked_ones_do() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let cases = number("CASES").unwrap_or(CASES);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &SEED));
    let steps = proptest::collection::vec(any::<Step>(), 1..14);
    let counts: RefCell<BTreeMap<String, usize>> = RefCell::default();
    let result = runner.run(&steps, |steps| {
        let text = model_text(&steps);
        let seed = u64::from(steps.last().map_or(0, |step| step.0[5]));
        let passed = compare(&text, seed).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        passed.into_iter().for_each(|op| *counts.borrow_mut().entry(op).or_default() += 1);
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, steps)) => panic!("a model of {} steps: {why}", steps.len()),
        Err(error) => panic!("{error}"),
    }
    let counts = counts.into_inner();
    let missed: Vec<&str> = channels::operators().filter(|op| !counts.contains_key(*op)).collect();
    assert!(missed.is_empty(), "no cut passed through {missed:?}");
}
