//! Float, 16 or 8 bits for every layer, as cheap as a budget allows.

use std::collections::BTreeMap;

use anyhow::{bail, ensure};

use crate::prelude::*;

use super::assignment::{Assignment, Form, chain, first_passing, predicted};
use super::fidelity::judge;
use super::measure::Observed;
use super::quantized::undo_or_refuse;
use super::sensitivity::{Bench, Known, decibels};
use super::r#static::{Choice, QuantizeStatic};
use super::stays::entry;
use super::told::Line;

/// Quantize each layer as far as a budget allows: int8, 16-bit activations with 8-bit weights, or float.
///
/// Every layer is quantized alone, in every form, and what that does to the outputs of the model is measured on samples.
/// The powers of small errors add up, so that the loss of an assignment is predicted as the sum over its layers. From the
/// cheapest assignment on, the layer is raised that takes most noise away for what it costs, until the prediction meets
/// the budget. What was found is then built and judged on the held-out samples, and the budget decides how many layers
/// are raised in the end.
///
/// The cost of a layer is its share of the bytes of all weights, plus its share of all multiply-accumulates, which count
/// by the bits of their activations: 8 or 16 against 32 in float. What a runtime makes of 16-bit activations differs
/// (onnxruntime on a CPU computes them in float): `forms: [int8]` leaves them out.
///
/// *Left alone:* what `quantize-static` leaves alone. Where nothing but float for every layer meets the budget, the model
/// stays as it is, with a warning that names what the cheapest change reached; where the model itself misses a metric of
/// the budget, that is an error.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AssignPrecision {
    /// What the answers have to keep, against those of the model before the step: least `sqnr` in dB, least `agreement` as
    /// a share, and under `metric` least values of metrics of the recipe, by name.
    pub budget: Budget,
    /// Forms that a layer may have besides float; by default both, int16 where the profile reads opset 21 and the
    /// engine runs it.
    pub forms: Option<Vec<LayerForm>>,
    /// The batches on which single layers are measured, at most.
    pub samples: u32,
    /// How layers are quantized: the options of `quantize-static`.
    #[serde(skip_serializing_if = "is_default")]
    pub quantize: QuantizeStatic,
}

/// A form of a quantized layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LayerForm {
    /// Activations and weights of 8 bits.
    Int8,
    /// Activations of 16 bits, weights of 8.
    Int16,
}

fn is_default(way: &QuantizeStatic) -> bool {
    *way == QuantizeStatic::default()
}

impl Default for AssignPrecision {
    fn default() -> Self {
        Self { budget: Budget::default(), forms: None, samples: 32, quantize: QuantizeStatic::default() }
    }
}

const ID: &str = "assign-precision";

/// The opset whose `QuantizeLinear` knows 16 bits.
const WIDE: i64 = 21;

impl Pass for AssignPrecision {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta { idempotent: false, ..PassMeta::lossy(ID, Family::Quantize).growing() } }
    }

    fn needs_samples(&self) -> bool {
        true
    }

    fn heeds_selectors(&self) -> bool {
        true
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        self.check(cx)?;
        let samples = cx.samples()?;
        let profile = cx.profile.clone();
        let ways = self.ways(&profile)?;
        undo_or_refuse(ID, model, cx, self.quantize.requantize)?;
        let base = model.clone();
        let values = self.judge_metrics(&base, cx)?;
        if let Some(unmet) = values.first() {
            bail!("the budget cannot be met: {unmet}, before anything is quantized");
        }
        let mut summary = Summary::default();
        let mut bench = bench(&base, cx, (&ways, &profile), (samples, &mut summary))?;
        if self.forms.is_none() {
            drop_what_does_not_run(&mut bench, cx, samples)?;
        }
        let known = bench.measure(cx, samples, self.samples as usize)?;
        let (found, assignments) = self.find(&bench, &known, cx, samples)?;
        summary.assignments = assignments;
        let mut lines = bench.apply(model, cx, &found, &mut summary)?;
        judge((&base, model), &mut lines, &[], samples)?;
        self.quantize.write(ID, model, cx, &mut summary)?;
        summary.applied = lines.len();
        tell(&bench, (&known, &found), lines, &mut summary);
        Ok(summary)
    }
}

/// Why a layer that could be quantized is not.
const RAISED: &str = "quantized, it would cost more than the budget allows";

/// The signal to noise ratio of the worst output with only this layer in its first form, in dB.
fn alone(known: &Known) -> Option<f64> {
    decibels(known.forms.first()?.noise.iter().copied().fold(0.0, f64::max))
}

/// Tells what became of every layer, in the order of the model.
fn tell(bench: &Bench<'_>, (known, found): (&[Known], &Assignment), lines: Vec<Line>, summary: &mut Summary) {
    let mut lines: BTreeMap<NodeId, LayerReport> =
        lines.into_iter().map(|line| (line.node, line.told)).collect();
    for ((&node, known), &form) in bench.layers.iter().zip(known).zip(found) {
        let line = lines.remove(&node).unwrap_or_else(|| {
            summary.skip(RAISED);
            let line = entry(&bench.base.graph, node);
            LayerReport { form: "float".to_owned(), note: Some(RAISED.to_owned()), ..line }
        });
        let forms = bench.forms_told(known, form);
        summary.layers.push(LayerReport { sqnr_db: alone(known), forms, ..line });
    }
}

/// Makes ready to quantize the layers of a model in some ways.
fn bench<'b>(
    base: &'b Model,
    cx: &mut PassContext<'_>,
    (ways, profile): (&'b [QuantizeStatic], &'b Profile),
    (samples, summary): (&Samples<'_>, &mut Summary),
) -> anyhow::Result<Bench<'b>> {
    let mut bench = Bench { pass: ID, base, layers: Vec::new(), macs: Vec::new(), forms: Vec::new() };
    let choices = ways.iter().map(|way| way.choose(profile)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut seen = Observed::default();
    main_graph(&mut base.clone(), cx, &mut |scope, cx| {
        let Some(first) = choices.first() else { return Ok(()) };
        bench.layers = first.layers(scope, cx, summary)?;
        let sizes = Sizes::batch_of_one(scope.graph, scope.facts, BTreeMap::new());
        bench.macs = bench.layers.iter().map(|&n| node_macs(scope.graph, scope.facts, &sizes, n)).collect();
        seen = first.observe(base, scope, cx, samples)?;
        Ok(())
    })?;
    // All ways look at the same numbers; only the ranges that they choose differ.
    let of_way = |choice: Choice<'b>| {
        let seen = seen.chosen(&choice.ranges);
        (choice, seen)
    };
    bench.forms = choices.into_iter().map(of_way).collect();
    Ok(bench)
}

/// Leaves 16-bit activations out where the engine cannot run them.
fn drop_what_does_not_run(
    bench: &mut Bench<'_>,
    cx: &mut PassContext<'_>,
    samples: &Samples<'_>,
) -> anyhow::Result<()> {
    let float = bench.forms.len();
    let mut assignment = vec![float; bench.layers.len()];
    let Some(first) = assignment.first_mut().filter(|_| float > 1) else { return Ok(()) };
    *first = float - 1;
    let (model, _) = bench.candidate(cx, &assignment)?;
    if let Err(error) = samples.answers(&model, 1) {
        bench.forms.truncate(1);
        cx.warnings.push(format!(
            "`{ID}` leaves 16-bit activations out, which the engine does not run ({error}); `--engine ort` may"
        ));
    }
    Ok(())
}

impl AssignPrecision {
    fn check(&self, cx: &PassContext<'_>) -> anyhow::Result<()> {
        let budget = &self.budget;
        ensure!(
            !budget.is_empty(),
            "it has no `budget`: give it a `sqnr` in dB, an `agreement`, or a `metric` with its least value"
        );
        if let Some(fault) = budget.fault() {
            bail!("the budget's {fault}");
        }
        let names = cx.metrics().names();
        if let Some(name) = budget.metric.keys().find(|name| !names.contains(&name.as_str())) {
            bail!(
                "the budget's `metric` names `{name}`; the recipe's `metrics` are {}",
                match &names[..] {
                    [] => "none".to_owned(),
                    names => names.join(", "),
                }
            );
        }
        ensure!(self.samples > 0, "`samples` is 0; it is at least 1");
        Ok(())
    }

    /// How `quantize-static` would quantize a layer in every form, 8 bits first.
    fn ways(&self, profile: &Profile) -> anyhow::Result<Vec<QuantizeStatic>> {
        let narrow = self.quantize.activations.unwrap_or(profile.activations);
        let wide = match narrow {
            ActivationType::Uint8 => ActivationType::Uint16,
            ActivationType::Int8 => ActivationType::Int16,
            ActivationType::Uint16 | ActivationType::Int16 => {
                bail!(
                    "activations of `int8` have 16 bits: `quantize: {{ activations: … }}` says uint8 or int8"
                )
            }
        };
        let reads = profile.opset.is_none_or(|opset| opset >= WIDE);
        let forms = match &self.forms {
            Some(forms) => forms.clone(),
            None if reads => vec![LayerForm::Int8, LayerForm::Int16],
            None => vec![LayerForm::Int8],
        };
        ensure!(!forms.is_empty(), "`forms` is empty; it names int8, int16 or both");
        ensure!(
            reads || !forms.contains(&LayerForm::Int16),
            "`forms` names int16, which needs opset {WIDE}, and the profile `{}` does not read it",
            profile.name
        );
        let all = [(LayerForm::Int8, narrow), (LayerForm::Int16, wide)].into_iter();
        let wanted = all.filter(|(form, _)| forms.contains(form));
        Ok(wanted
            .map(|(_, activations)| QuantizeStatic {
                activations: Some(activations),
                ..self.quantize.clone()
            })
            .collect())
    }

    /// The cheapest assignment that meets the budget, and what was considered.
    fn find(
        &self,
        bench: &Bench<'_>,
        known: &[Known],
        cx: &mut PassContext<'_>,
        samples: &Samples<'_>,
    ) -> anyhow::Result<(Assignment, Vec<AssignmentReport>)> {
        let forms: Vec<Vec<Form>> = known.iter().map(|known| known.forms.clone()).collect();
        let all = chain(&forms);
        let limit = self.budget.sqnr.map_or(f64::INFINITY, |db| 10f64.powf(-db / 10.0));
        let guess = all.iter().position(|assignment| predicted(&forms, assignment) <= limit);
        // What was measured of those that were built, and what of the budget they do not keep.
        let mut tried: BTreeMap<usize, (f64, Vec<String>)> = BTreeMap::new();
        let at = first_passing(all.len(), guess.unwrap_or(all.len()), |at| {
            let (model, _) = bench.candidate(cx, &all[at])?;
            let loss = samples.loss(bench.base, &model)?;
            let mut unmet = self.budget.unmet_by(&loss);
            if unmet.is_empty() {
                unmet = self.judge_metrics(&model, cx)?;
            }
            let met = unmet.is_empty();
            tried.insert(at, (loss.sqnr_db(), unmet));
            Ok::<_, anyhow::Error>(met)
        })?;
        if !bench.layers.is_empty() && all[at].iter().all(|&form| bench.is_float(form)) {
            cx.warnings.push(format!(
                "nothing but float for every layer meets the budget of `{ID}`: with the least change that was tried, {}",
                tried.values().rev().find(|(_, unmet)| !unmet.is_empty()).map_or_else(String::new, |(_, u)| u.join("; "))
            ));
        }
        let mut told = bench.assignments_told(&forms, &all);
        for (at, (db, unmet)) in tried {
            told[at].measured_db = Some(db).filter(|db| db.is_finite());
            told[at].meets = Some(unmet.is_empty());
        }
        told[at].chosen = true;
        Ok((all[at].clone(), told))
    }

    /// What metrics of a model do not keep.
    fn judge_metrics(&self, model: &Model, cx: &PassContext<'_>) -> anyhow::Result<Vec<String>> {
        let mut unmet = Vec::new();
        for name in self.budget.metric.keys() {
            let value = cx.metrics().measure(name, model)?;
            unmet.extend(self.budget.unmet_metric(cx.metrics(), name, value));
        }
        Ok(unmet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::interpret::Interpreter;
    use crate::engine::{Bindings, Engine, Session};
    use crate::pass::run_set;

    /// An engine that knows no 16-bit integers.
    struct Narrow;

    impl Engine for Narrow {
        fn name(&self) -> &'static str {
            "narrow"
        }

        fn prepare(&self, model: &Model, dims: &Bindings) -> Result<Box<dyn Session>, EngineError> {
            let graph = &model.graph;
            let wide = |v: ValueId| graph.constant(v).is_some_and(|d| d.dtype() == DType::Uint16);
            if graph.values().any(wide) {
                return Err(EngineError::Invalid("uint16 is unknown".to_owned()));
            }
            Interpreter::default().prepare(model, dims)
        }
    }

    fn run(engine: &dyn Engine, forms: Option<Vec<LayerForm>>) -> anyhow::Result<(Vec<String>, Vec<String>)> {
        let items: Vec<String> =
            (0..64).map(|i| format!("{}", f64::from(i * 37 % 64) / 31.0 - 1.0)).collect();
        let text = format!(
            r#"<ir_version: 10, opset_import: ["": 21]>
g (float[2, 8] x) => (float[2, 8] y) <float[8, 8] w = {{{0}}}>
{{ a = MatMul (x, w)  r = Relu (a)  y = MatMul (r, w) }}"#,
            items.join(", ")
        );
        let mut model = crate::onnx::from_text(&text)?.model;
        let batch = |seed: u32| {
            let items: Vec<f64> = (0..16).map(|i| (f64::from(i * 7 + seed * 5)).sin()).collect();
            TensorData::from_f64s(DType::Float, &[2, 8], &items).into_iter().collect()
        };
        let batches = (0..6).map(batch).collect();
        let samples = Samples::new(engine, Bindings::new(), batches, Vec::new());
        let budget = Budget { sqnr: Some(50.0), ..Budget::default() };
        let pass = AssignPrecision { budget, forms, ..AssignPrecision::default() };
        let mut cx = PassContext::with_kernels(&model).with_samples(Some(&samples));
        let report = run_set(&mut model, &[&pass], &mut cx)?;
        let layers = &report[ID].layers;
        let short = |l: &LayerReport| l.form.split('×').next().unwrap_or_default().to_owned();
        Ok((layers.iter().map(short).collect(), cx.warnings))
    }

    #[test]
    fn what_the_engine_does_not_run_is_left_out_unless_it_was_asked_for() {
        let (forms, warnings) = run(&Interpreter::default(), None).unwrap();
        assert!(forms.contains(&"u16".to_owned()) && warnings.is_empty(), "{forms:?} {warnings:?}");
        let (forms, warnings) = run(&Narrow, None).unwrap();
        assert!(forms.contains(&"float".to_owned()) && !forms.contains(&"u16".to_owned()), "{forms:?}");
        assert!(
            warnings[0].contains("leaves 16-bit activations out")
                && warnings[0].contains("uint16 is unknown")
        );
        let both = vec![LayerForm::Int8, LayerForm::Int16];
        let error = run(&Narrow, Some(both)).unwrap_err().to_string();
        assert!(error.contains("uint16 is unknown"), "{error}");
    }
}
