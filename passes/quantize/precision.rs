//! Float or fewer bits for every layer, as cheap as a budget allows.

use std::collections::BTreeMap;

use anyhow::{bail, ensure};

use crate::prelude::*;

use super::assignment::{Assignment, Form, chain, first_passing, predicted};
use super::bench::{bench, drop_what_does_not_run};
use super::fidelity::judge;
use super::forms::LayerForm;
use super::quantized::undo_or_refuse;
use super::sensitivity::{Bench, Known, decibels};
use super::r#static::QuantizeStatic;
use super::stays::{entry, warn_of_nothing};
use super::told::Line;
use super::weight_choice::SMALLER;

/// Quantize each layer as far as a budget allows: int8, 16-bit activations with 8-bit weights, weights in 4 bits or
/// float16, or float.
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
/// **Weights alone.** `int4` and `float16` have to be named. They save bytes and no multiply-accumulates: activations stay
/// float32. `int4` stores a weight as `quantize-weights` does by default for `weights: int4`: blocks of 32, codes rounded
/// by samples, read as the profile has it. `float16` stores a weight as a float16 constant that a `Cast` makes float32
/// again, for an operator that computes in float32; a runtime may do that once, when it loads the model.
/// `convert-float16` computes in float16.
///
/// *Left alone:* what no form can take: for `int8` and `int16` what `quantize-static` leaves alone, for `int4` and
/// `float16` weights that `quantize-weights` leaves alone and those that several layers read, for `float16` also weights
/// that it cannot hold. Where nothing but float for every layer meets the budget, the model stays as it is, with a warning
/// that names what the cheapest change reached; where the model itself misses a metric of the budget, that is an error.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AssignPrecision {
    /// What the answers have to keep, against those of the model before the step: least `sqnr` in dB, least `agreement` as
    /// a share, and under `metric` least values of metrics of the recipe, by name.
    pub budget: Budget,
    /// Forms that a layer may have besides float; by default int8 and int16, the latter where the profile reads opset 21
    /// and the engine runs it.
    pub forms: Option<Vec<LayerForm>>,
    /// The batches on which single layers are measured, at most.
    pub samples: u32,
    /// How layers get the forms int8 and int16: the options of `quantize-static`.
    #[serde(skip_serializing_if = "is_default")]
    pub quantize: QuantizeStatic,
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

/// The opset whose `QuantizeLinear` knows 16 bits, and 4 bits and blocks.
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
        let forms = self.wanted(&profile)?;
        let ways = self.ways(&forms, &profile)?;
        undo_or_refuse(ID, model, cx, self.quantize.requantize)?;
        let base = model.clone();
        let values = self.judge_metrics(&base, cx)?;
        if let Some(unmet) = values.first() {
            bail!("the budget cannot be met: {unmet}, before anything is quantized");
        }
        let mut summary = Summary::default();
        let mut bench = bench((ID, &base), cx, (&forms, &ways, &profile), (samples, &mut summary))?;
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
        if !known.iter().any(Known::has_forms) {
            warn_of_nothing(ID, &summary, cx);
        }
        Ok(summary)
    }
}

/// Why a layer that could be quantized is not.
const RAISED: &str = "quantized, it would cost more than the budget allows";

/// The signal to noise ratio of the worst output with only this layer in the first form that it may have, in dB.
fn alone(known: &Known) -> Option<f64> {
    decibels(known.possible().next()?.1.noise.iter().copied().fold(0.0, f64::max))
}

/// Tells what became of every layer, in the order of the model.
fn tell(bench: &Bench<'_>, (known, found): (&[Known], &Assignment), lines: Vec<Line>, summary: &mut Summary) {
    let mut lines: BTreeMap<NodeId, LayerReport> =
        lines.into_iter().map(|line| (line.node, line.told)).collect();
    for ((&node, known), &form) in bench.layers.iter().zip(known).zip(found) {
        let line = lines.remove(&node).unwrap_or_else(|| {
            let why = if known.has_forms() { RAISED } else { SMALLER };
            summary.skip(why);
            let line = entry(&bench.base.graph, node);
            LayerReport { form: "float".to_owned(), note: Some(why.to_owned()), ..line }
        });
        let forms = bench.forms_told(known, form);
        summary.layers.push(LayerReport { sqnr_db: alone(known), forms, ..line });
    }
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

    /// The forms that layers may have, those in integers first.
    fn wanted(&self, profile: &Profile) -> anyhow::Result<Vec<LayerForm>> {
        let reads = profile.opset.is_none_or(|opset| opset >= WIDE);
        let mut forms = match &self.forms {
            Some(forms) => forms.clone(),
            None if reads => vec![LayerForm::Int8, LayerForm::Int16],
            None => vec![LayerForm::Int8],
        };
        ensure!(!forms.is_empty(), "`forms` is empty; it names some of int8, int16, int4 and float16");
        for (form, name) in [(LayerForm::Int16, "int16"), (LayerForm::Int4, "int4")] {
            ensure!(
                reads || !forms.contains(&form),
                "`forms` names {name}, which needs opset {WIDE}, and the profile `{}` does not read it",
                profile.name
            );
        }
        forms.sort_unstable();
        forms.dedup();
        Ok(forms)
    }

    /// How `quantize-static` would quantize a layer in every form in integers, 8 bits first.
    fn ways(&self, forms: &[LayerForm], profile: &Profile) -> anyhow::Result<Vec<QuantizeStatic>> {
        if !forms.iter().any(|form| form.is_integer()) {
            return Ok(Vec::new());
        }
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
        if !tried.is_empty() && all[at].iter().all(|&form| bench.is_float(form)) {
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

    /// What becomes of a model that reads `x`, 2 by 8, with weights of that many elements in the place of `W`.
    fn assign(
        text: &str,
        elements: u32,
        engine: &dyn Engine,
        forms: Option<Vec<LayerForm>>,
    ) -> anyhow::Result<(Vec<LayerReport>, Vec<String>)> {
        let items: Vec<String> =
            (0..elements).map(|i| format!("{}", f64::from(i * 37 % 64) / 31.0 - 1.0)).collect();
        let head = r#"<ir_version: 10, opset_import: ["": 21]>"#;
        let text = format!("{head} g (float[2, 8] x) {}", text.replace('W', &items.join(", ")));
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
        let mut report = run_set(&mut model, &[&pass], &mut cx)?;
        let layers = report.remove(ID).map(|summary| summary.layers).unwrap_or_default();
        Ok((layers, cx.warnings))
    }

    fn run(engine: &dyn Engine, forms: Option<Vec<LayerForm>>) -> anyhow::Result<(Vec<String>, Vec<String>)> {
        let text =
            "=> (float[2, 8] y) <float[8, 8] w = {W}> { a = MatMul (x, w)  r = Relu (a)  y = MatMul (r, w) }";
        let (layers, warnings) = assign(text, 64, engine, forms)?;
        let short = |l: &LayerReport| l.form.split('×').next().unwrap_or_default().to_owned();
        Ok((layers.iter().map(short).collect(), warnings))
    }

    #[test]
    fn every_form_has_its_price() {
        let forms = Some(vec![LayerForm::Float16, LayerForm::Int4, LayerForm::Int16, LayerForm::Int8]);
        let text = "=> (float[2, 32] y) <float[8, 32] w = {W}> { y = MatMul (x, w) }";
        let (layers, _) = assign(text, 256, &Interpreter::default(), forms).unwrap();
        let costs: Vec<(&str, f64)> = layers[0].forms.iter().map(|f| (f.form.as_str(), f.cost)).collect();
        // Codes, a scale and a zero point for every channel; 4 bits and a scale; 2 bytes; and half of all is time.
        let bytes = |bytes: f64| bytes / 1024.0 / 2.0;
        let expected = [
            ("int8", bytes(256.0 + 5.0 * 32.0) + 0.125),
            ("int16", bytes(256.0 + 5.0 * 32.0) + 0.25),
            ("int4", bytes(128.0 + 4.0 * 32.0) + 0.5),
            ("float16", bytes(512.0) + 0.5),
            ("float", 1.0),
        ];
        assert_eq!(costs, expected);
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
