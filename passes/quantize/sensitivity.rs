//! What every layer costs and spoils in every form.

use std::collections::BTreeSet;

use crate::prelude::*;

use super::assignment::{Assignment, Form, predicted};
use super::forms::{FLOAT_BITS, Maker};
use super::place::Placer;
use super::stays::entry;
use super::told::Line;

/// Makes models in which some layers are quantized, from one measurement.
pub(super) struct Bench<'b> {
    /// The pass that does it.
    pub pass: &'static str,
    /// The model in float.
    pub base: &'b Model,
    /// The layers, in topological order.
    pub layers: Vec<NodeId>,
    /// Their multiply-accumulates, where they are known.
    pub macs: Vec<Option<u64>>,
    /// The forms besides float.
    pub forms: Vec<Maker<'b>>,
}

/// What is known of the forms of a layer; the last one is float.
pub(super) struct Known {
    /// Cost and noise; infinite where the layer has no such form.
    pub forms: Vec<Form>,
    /// Bytes of its weights; `None` where it has no such form.
    pub bytes: Vec<Option<u64>>,
}

impl Known {
    /// The forms that the layer may have, with their places.
    pub fn possible(&self) -> impl Iterator<Item = (usize, &Form)> {
        self.forms.iter().enumerate().filter(|&(at, _)| self.bytes[at].is_some())
    }

    /// Whether the layer may have another form than float.
    pub fn has_forms(&self) -> bool {
        self.possible().count() > 1
    }
}

impl Bench<'_> {
    /// Whether a form is float.
    pub fn is_float(&self, form: usize) -> bool {
        form >= self.forms.len()
    }

    /// Quantizes a model as assigned. Returns what became of the layers that are not float. Wider activations first: what
    /// they pass on is then rounded again by the narrow layers that read it.
    pub fn apply(
        &self,
        model: &mut Model,
        cx: &mut PassContext<'_>,
        assignment: &Assignment,
        summary: &mut Summary,
    ) -> anyhow::Result<Vec<Line>> {
        let mut placer = Placer::new(self.pass);
        let mut lines = Vec::new();
        for (form, maker) in self.forms.iter().enumerate().rev() {
            let of_form = self.layers.iter().zip(assignment).filter(|&(_, &f)| f == form);
            let only: BTreeSet<NodeId> = of_form.map(|(&node, _)| node).collect();
            if !only.is_empty() {
                lines.extend(maker.make(model, cx, (&only, &mut placer), summary)?);
            }
        }
        Ok(lines)
    }

    /// A model that is quantized as assigned, to be measured.
    pub fn candidate(
        &self,
        cx: &PassContext<'_>,
        assignment: &Assignment,
    ) -> anyhow::Result<(Model, Vec<Line>)> {
        let mut model = self.base.clone();
        let mut own = PassContext::with_kernels(&model);
        own.select.clone_from(&cx.select);
        let lines = self.apply(&mut model, &mut own, assignment, &mut Summary::default())?;
        Ok((model, lines))
    }

    /// Measures every form of every layer, with only that layer quantized.
    pub fn measure(
        &self,
        cx: &PassContext<'_>,
        samples: &Samples<'_>,
        batches: usize,
    ) -> anyhow::Result<Vec<Known>> {
        let answers = samples.answers(self.base, batches)?;
        let (float, outputs) = (self.forms.len(), self.base.graph.outputs().len());
        let mut all = Vec::new();
        for (at, &node) in self.layers.iter().enumerate() {
            let mut known = Known { forms: Vec::new(), bytes: Vec::new() };
            let whole = entry(&self.base.graph, node).bytes_before;
            for form in 0..float {
                let mut assignment = vec![float; self.layers.len()];
                assignment[at] = form;
                let (model, lines) = self.candidate(cx, &assignment)?;
                let noise = match lines.first() {
                    Some(_) => samples.noise(&answers, &model)?,
                    None => vec![f64::INFINITY; outputs],
                };
                known.forms.push(Form { cost: f64::INFINITY, noise });
                known.bytes.push(lines.first().map(|line| line.told.bytes_after));
            }
            known.forms.push(Form { cost: f64::INFINITY, noise: vec![0.0; outputs] });
            known.bytes.push(Some(whole));
            all.push(known);
        }
        self.price(&mut all);
        Ok(all)
    }

    /// The cost of a form: its share of the bytes of the float layers, and of their time: a multiply-accumulate of
    /// float32 takes as many times longer than another as it is wider. Where the count of multiply-accumulates is
    /// unknown, every weight counts once.
    fn price(&self, all: &mut [Known]) {
        let whole = |known: &Known| known.bytes.last().copied().flatten().unwrap_or(0);
        let weights = |known: &Known| whole(known) / 4;
        let macs: Vec<f64> = self
            .macs
            .iter()
            .zip(&*all)
            .map(|(macs, known)| macs.unwrap_or_else(|| weights(known)) as f64)
            .collect();
        let bytes: u64 = all.iter().map(whole).sum();
        let (bytes, time) = ((bytes as f64).max(1.0), macs.iter().sum::<f64>().max(1.0));
        for (known, macs) in all.iter_mut().zip(macs) {
            for (at, form) in known.forms.iter_mut().enumerate() {
                let Some(stored) = known.bytes[at] else { continue };
                let bits = self.forms.get(at).map_or(FLOAT_BITS, Maker::activation_bits);
                form.cost = stored as f64 / bytes + macs * bits as f64 / FLOAT_BITS as f64 / time;
            }
        }
    }

    /// What options call a form.
    fn name_of(&self, form: usize) -> &'static str {
        self.forms.get(form).map_or("float", Maker::name)
    }

    /// What the report says of the forms of a layer.
    pub fn forms_told(&self, known: &Known, chosen: usize) -> Vec<FormReport> {
        let told = |(at, form): (usize, &Form)| FormReport {
            form: self.name_of(at).to_owned(),
            cost: form.cost / WHOLE,
            sqnr_db: decibels(form.noise.iter().copied().fold(0.0, f64::max)),
            chosen: at == chosen,
        };
        known.possible().map(told).collect()
    }

    /// What the report says of assignments, each compared with the one before.
    pub fn assignments_told(&self, forms: &[Vec<Form>], all: &[Assignment]) -> Vec<AssignmentReport> {
        let told = |(at, assignment): (usize, &Assignment)| {
            let before = at.checked_sub(1).map(|before| &all[before]);
            let raised: Vec<usize> = before.map_or_else(Vec::new, |before| {
                (0..assignment.len()).filter(|&layer| before[layer] != assignment[layer]).collect()
            });
            let name = |layer: usize| entry(&self.base.graph, self.layers[layer]).layer;
            let cost = |(options, &form): (&Vec<Form>, &usize)| options[form].cost;
            AssignmentReport {
                // The last step may take all that is left to float.
                raised: if let [one] = raised[..] { Some(name(one)) } else { None },
                cost: forms.iter().zip(assignment).map(cost).sum::<f64>() / WHOLE,
                predicted_db: decibels(predicted(forms, assignment)),
                ..AssignmentReport::default()
            }
        };
        all.iter().enumerate().map(told).collect()
    }
}

/// What all layers cost in float: their bytes and their time.
const WHOLE: f64 = 2.0;

/// A share of noise as a signal to noise ratio in dB; `None` where there is none.
pub(super) fn decibels(noise: f64) -> Option<f64> {
    Some(-10.0 * noise.log10()).filter(|db| db.is_finite())
}
