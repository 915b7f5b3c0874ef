//! What a case is held to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use onnxpress::engine::compare::{Tolerance, compare};
use onnxpress::engine::inputs::{DefaultDims, InputPlan, fed};
use onnxpress::engine::interpret::Interpreter;
use onnxpress::engine::{Bindings, Engine};
use onnxpress::ir::{Dim, Model, TensorData};
use onnxpress::pass::{Family, Originals, Pass, PassContext, Summary, run_set};
use onnxpress::prelude::Selector;
use onnxpress::{Samples, onnx};

use crate::border;
use crate::case::{Applied, Case, Close};
use crate::draw::{Recipe, tensor};
use crate::ratio::Ratios;

/// Larger tensors are printed without their elements: weights stand in no text.
const MAX_ELEMENTS: usize = 4;

/// Inputs a case is run on, for every choice of sizes.
const SEEDS: [u64; 4] = [1, 2, 3, 4];

/// Batches that passes measure on, where a case does not say.
const SAMPLES: u64 = 8;

type Report = BTreeMap<&'static str, Summary>;

/// Runs a case; `bless` rewrites its `after` section.
pub fn run(path: &Path, bless: bool) -> Result<()> {
    let case = Case::read(path)?;
    let original = load(&case)?;
    let before = print(&original)?;
    let mut result = original.clone();
    let report = match (apply(&case, &mut result), &case.header.error) {
        (Ok(report), None) => report,
        (Ok(_), Some(wanted)) => bail!("it did not fail with `{wanted}`"),
        (Err(error), None) => return Err(error.context("the pass failed")),
        (Err(error), Some(wanted)) => {
            let said = format!("{error:#}");
            ensure!(said.contains(wanted.as_str()), "it failed with `{said}`, not with `{wanted}`");
            return Ok(());
        }
    };
    result.check().context("the result")?;
    expect(&case, &report)?;
    let printed = print(&result)?;
    compare_text(&case, path, &before, &printed, bless)?;
    again(&case, &result, &printed)?;
    round_trip(&result, &printed)?;
    size(&case, &original, &result)?;
    answers(&case, &original, &result, applied(&report))
}

fn load(case: &Case) -> Result<Model> {
    let mut failure = None;
    let mut names: BTreeSet<String> = case.header.fill.keys().cloned().collect();
    let mut fill = |name: &str, dtype, dims: &[u64]| {
        names.remove(name);
        let recipe = case.header.fill.get(name).cloned().unwrap_or_else(|| Recipe::default_for(dtype));
        recipe
            .make(0, name, dtype, dims)
            .map_err(|e| failure = Some(e.context(format!("filling `{name}`"))))
            .ok()
    };
    let loaded = onnx::from_text_with(&case.before, &mut fill).context("the `before` section")?;
    if let Some(error) = failure {
        return Err(error);
    }
    ensure!(
        names.is_empty(),
        "`fill` names {names:?}, which the model does not declare without producing it"
    );
    loaded.model.check().context("the `before` section")?;
    Ok(loaded.model)
}

fn print(model: &Model) -> Result<String> {
    Ok(onnx::to_text(model.check()?, MAX_ELEMENTS)?.trim_end().to_owned())
}

fn apply(case: &Case, model: &mut Model) -> Result<Report> {
    let passes: Vec<&dyn Pass> = case.passes.iter().map(onnxpress::passes::AnyPass::as_pass).collect();
    let (bindings, engine) = (sizes(case, model).pop().unwrap_or_default(), Interpreter::default());
    let calibration = (0..case.header.samples.unwrap_or(SAMPLES))
        .map(|at| inputs(case, model, &bindings, SEEDS.len() as u64 + 1 + at))
        .collect::<Result<Vec<_>>>()?;
    let samples = Samples::new(&engine, bindings, calibration, Vec::new());
    let measures = case.header.samples.is_some() || passes.iter().any(|p| p.needs_samples());
    let original = model.clone();
    let mut cx = PassContext::with_kernels(model)
        .with_samples(measures.then_some(&samples))
        .with_originals(Some(Originals { read: &original, exact: &original }));
    if let Some(profile) = &case.header.profile {
        cx.profile = serde_json::from_value(over(serde_json::to_value(&cx.profile)?, profile.clone()))?;
    }
    for text in &case.header.ignore {
        cx.select.ignore.push(Selector::parse(text)?);
    }
    run_set(model, &passes, &mut cx)
}

/// A mapping with what another one says instead.
fn over(mut plain: serde_json::Value, other: serde_json::Value) -> serde_json::Value {
    if let (Some(plain), serde_json::Value::Object(other)) = (plain.as_object_mut(), other) {
        plain.extend(other);
    }
    plain
}

fn applied(report: &Report) -> usize {
    report.values().map(|s| s.applied).sum()
}

fn expect(case: &Case, report: &Report) -> Result<()> {
    let found = format!("the report is {report:?}");
    match &case.header.expect.applied {
        None => bail!("`expect` does not say how often the pass applies; {found}"),
        Some(Applied::Total(n)) => {
            ensure!(applied(report) == *n, "applied {}, not {n}; {found}", applied(report));
        }
        Some(Applied::ById(ids)) => {
            for (id, summary) in report {
                let wanted = ids.get(*id).copied().unwrap_or(0);
                ensure!(summary.applied == wanted, "{id} applied {}, not {wanted}; {found}", summary.applied);
            }
            let unknown: Vec<_> = ids.keys().filter(|id| !report.contains_key(id.as_str())).collect();
            ensure!(unknown.is_empty(), "{unknown:?} did not run");
        }
    }
    let reasons: BTreeSet<&str> =
        report.values().flat_map(|s| s.skipped.keys().map(String::as_str)).collect();
    let wanted: BTreeSet<&str> = case.header.expect.skipped.iter().flat_map(|s| s.all()).collect();
    ensure!(
        reasons == wanted,
        "the reasons for leaving something alone are {reasons:?}, not {wanted:?} as in `expect`"
    );
    Ok(())
}

fn compare_text(case: &Case, path: &Path, before: &str, printed: &str, bless: bool) -> Result<()> {
    if case.after.is_none() && printed == before {
        return Ok(());
    }
    if case.after.as_deref() == Some(printed) {
        return Ok(());
    }
    if bless {
        return Ok(std::fs::write(path, format!("{}--- after\n{printed}\n", case.head))?);
    }
    let wanted = case.after.as_deref().unwrap_or(before);
    let hint =
        if case.after.is_some() { "" } else { " (there is no `after` section, so nothing must change)" };
    bail!("the result is not as expected{hint}; BLESS=1 accepts it\n{}", diff(wanted, printed))
}

/// A line diff: what was wanted and is missing, what is there and was not wanted.
fn diff(wanted: &str, found: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (wanted.lines().collect(), found.lines().collect());
    // Longest common subsequence, from the back.
    let mut length = vec![vec![0u32; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            length[i][j] =
                if a[i] == b[j] { length[i + 1][j + 1] + 1 } else { length[i + 1][j].max(length[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, String::new());
    while i < a.len() || j < b.len() {
        let (mark, line) = if i < a.len() && j < b.len() && a[i] == b[j] {
            (i, j) = (i + 1, j + 1);
            (' ', a[i - 1])
        } else if j == b.len() || (i < a.len() && length[i + 1][j] >= length[i][j + 1]) {
            i += 1;
            ('-', a[i - 1])
        } else {
            j += 1;
            ('+', b[j - 1])
        };
        out.extend([mark.to_string().as_str(), " ", line, "\n"]);
    }
    out
}

/// A second run finds nothing to do.
fn again(case: &Case, result: &Model, printed: &str) -> Result<()> {
    if case.passes.iter().any(|p| !p.as_pass().meta().idempotent) {
        return Ok(());
    }
    let mut second = result.clone();
    let report = apply(case, &mut second).context("the second run")?;
    ensure!(
        applied(&report) == 0,
        "a second run applies again: {report:?}\n{}",
        diff(printed, &print(&second)?)
    );
    Ok(())
}

/// Writing and reading is the identity.
fn round_trip(result: &Model, printed: &str) -> Result<()> {
    let bytes = onnx::encode(result.check()?)?;
    let read = onnx::load_bytes(bytes.clone(), None).context("reading the written result")?.model;
    let read_back = print(&read)?;
    ensure!(read_back == printed, "writing and reading changes the model\n{}", diff(printed, &read_back));
    ensure!(onnx::encode(read.check()?)? == bytes, "a second save has other bytes");
    Ok(())
}

fn size(case: &Case, original: &Model, result: &Model) -> Result<()> {
    if case.header.grows || case.passes.iter().any(|p| p.as_pass().meta().grows) {
        return Ok(());
    }
    let (old, new) = (onnx::encode(original.check()?)?.len(), onnx::encode(result.check()?)?.len());
    ensure!(new <= old, "the file grew from {old} to {new} bytes");
    Ok(())
}

/// Every choice of sizes for the symbolic dims of the inputs.
fn sizes(case: &Case, model: &Model) -> Vec<Bindings> {
    let mut symbols: BTreeSet<String> = BTreeSet::new();
    for &input in model.graph.inputs() {
        let shape = model.graph.value(input).ty.shape().unwrap_or_default();
        symbols.extend(shape.iter().filter_map(Dim::symbol).map(str::to_owned));
    }
    let at = |index: usize| -> Bindings {
        let size = |symbol: &String| {
            let sizes = case.header.bind.get(symbol).filter(|s| !s.is_empty());
            sizes.map_or([1, 3][index], |s| s[index % s.len()])
        };
        symbols.iter().map(|s| (s.clone(), size(s))).collect()
    };
    if symbols.is_empty() { vec![Bindings::new()] } else { vec![at(0), at(1)] }
}

fn answers(case: &Case, original: &Model, result: &Model, applied: usize) -> Result<()> {
    if let Some(why) = &case.header.unproved {
        ensure!(
            case.header.golden.is_some() || applied == 0,
            "it is not proved ({why}), so it needs `golden` outputs, or must leave the model alone"
        );
    }
    golden(case, result)?;
    if case.header.differs {
        ensure!(case.header.golden.is_some(), "nothing decides: `differs` needs `golden` outputs");
        return Ok(());
    }
    for bindings in sizes(case, original) {
        let run = |model: &Model, inputs: &[TensorData]| {
            Interpreter::default().prepare(model, &bindings).and_then(|s| s.run(inputs))
        };
        let mut seen: Vec<Vec<TensorData>> = Vec::new();
        let mut ratios = Ratios::new(original.graph.outputs().len());
        for seed in SEEDS {
            let at = || format!("seed {seed}, sizes {bindings:?}");
            let inputs = inputs(case, original, &bindings, seed).with_context(at)?;
            let first = match (run(original, &inputs), &case.header.unproved) {
                (Err(_), Some(_)) => return Ok(()),
                (Ok(_), Some(_)) => bail!("the reference engine runs it: take `unproved` out of the header"),
                (answer, None) => answer.with_context(at).context("running the original")?,
            };
            let second = if case.header.border {
                let given = border::inputs_of(result, &bindings, &inputs).with_context(at)?;
                let second = run(result, &given).with_context(at).context("running the result")?;
                border::answers_like(&second, &first).with_context(at)?
            } else {
                run(result, &inputs).with_context(at).context("running the result")?
            };
            if lossy(case) {
                ratios.see(&first, &second).with_context(at)?;
            } else {
                equal(case, original, &first, &second).with_context(at)?;
            }
            seen.push(first);
        }
        ratios.judge(case, original)?;
        telling(case, original, &seen).with_context(|| format!("sizes {bindings:?}"))?;
    }
    Ok(())
}

fn lossy(case: &Case) -> bool {
    case.passes.iter().any(|p| p.as_pass().meta().lossy)
}

fn inputs(case: &Case, model: &Model, bindings: &Bindings, seed: u64) -> Result<Vec<TensorData>> {
    let plan = InputPlan::of(model, bindings, DefaultDims { spatial: 8, other: 4 })?;
    (plan.inputs.iter())
        .map(|spec| match case.header.inputs.get(&spec.name) {
            Some(recipe) => recipe.make(seed, &spec.name, spec.dtype, &spec.dims),
            None => Ok(spec.sample(seed)?),
        })
        .collect()
}

fn tolerance(case: &Case) -> Option<Tolerance> {
    let exact = |p: &dyn Pass| matches!(p.meta().family, Family::Fold | Family::Simplify);
    match case.header.close {
        Some(Close { atol, rtol }) => Some(Tolerance { rtol: Some(rtol), atol: Some(atol) }),
        None if case.passes.iter().all(|p| exact(p.as_pass())) => None,
        None => Some(Tolerance::default()),
    }
}

fn equal(case: &Case, model: &Model, first: &[TensorData], second: &[TensorData]) -> Result<()> {
    ensure!(first.len() == second.len(), "the number of outputs changed");
    for ((a, b), &output) in first.iter().zip(second).zip(model.graph.outputs()) {
        let name = &model.graph.value(output).name;
        let (equal, why) = match tolerance(case) {
            None => (a.same_data(b), Some("its bits differ".to_owned())),
            Some(tolerance) => {
                let report = compare(name, a, b, tolerance, None);
                (report.equal, report.why)
            }
        };
        ensure!(equal, "output `{name}` differs: {}\n{}", why.unwrap_or_default(), show(a, b));
    }
    Ok(())
}

fn show(a: &TensorData, b: &TensorData) -> String {
    let items = |t: &TensorData| {
        let items = t.to_f64s().or_else(|| Some(t.to_i64s()?.into_iter().map(|x| x as f64).collect()));
        format!("{t:?} {:?}", items.unwrap_or_default().into_iter().take(12).collect::<Vec<_>>())
    };
    format!("  was {}\n  is  {}", items(a), items(b))
}

/// Outputs must be finite and depend on the inputs: else equal answers would say little.
fn telling(case: &Case, model: &Model, seen: &[Vec<TensorData>]) -> Result<()> {
    for (at, &output) in model.graph.outputs().iter().enumerate() {
        let name = &model.graph.value(output).name;
        let answers: Vec<&TensorData> = seen.iter().filter_map(|run| run.get(at)).collect();
        let finite =
            answers.iter().all(|t| t.to_f64s().is_none_or(|items| items.iter().all(|x| x.is_finite())));
        ensure!(
            case.header.special || finite,
            "output `{name}` is not finite; say `special: true` where it must be"
        );
        let varies = answers.windows(2).any(|pair| !pair[0].same_data(pair[1]));
        ensure!(
            case.header.constant || varies,
            "output `{name}` is the same for every input; say `constant: true`"
        );
    }
    Ok(())
}

fn golden(case: &Case, result: &Model) -> Result<()> {
    let Some(golden) = &case.header.golden else { return Ok(()) };
    let bindings = sizes(case, result).pop().unwrap_or_default();
    let inputs = InputPlan::of(result, &bindings, DefaultDims { spatial: 8, other: 4 })?
        .inputs
        .into_iter()
        .map(|spec| {
            let items =
                golden.inputs.get(&spec.name).with_context(|| format!("golden input `{}`", spec.name))?;
            tensor(spec.dtype, &spec.dims, items)
        });
    let inputs: Vec<TensorData> = inputs.collect::<Result<_>>()?;
    ensure!(inputs.len() == fed(&result.graph).count(), "golden inputs are missing");
    let outputs =
        Interpreter::default().prepare(result, &bindings)?.run(&inputs).context("the golden run")?;
    for (data, &output) in outputs.iter().zip(result.graph.outputs()) {
        let name = &result.graph.value(output).name;
        let items = golden.outputs.get(name).ok_or_else(|| anyhow!("there is no golden output `{name}`"))?;
        let wanted =
            tensor(data.dtype(), data.dims(), items).with_context(|| format!("golden output `{name}`"))?;
        let close = tolerance(case).unwrap_or_default();
        let report = compare(name, &wanted, data, close, None);
        ensure!(
            report.equal,
            "golden output `{name}`: {}\n{}",
            report.why.unwrap_or_default(),
            show(&wanted, data)
        );
    }
    Ok(())
}
