//! What a lossy recipe costs: how far the answers are from the original's.

use rayon::prelude::*;
use serde::Serialize;

use super::{CalibrateError, Part, Samples};
use crate::engine::Engine;
use crate::ir::{Model, TensorData};

/// How far the answers of a model are from those of another on the same samples.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Loss {
    /// The engine that ran both.
    pub engine: String,
    /// The profile in whose integer arithmetic the result was computed; `None` for the engine's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arithmetic: Option<String>,
    /// How many batches were run.
    pub batches: usize,
    /// Whether nothing was measured with these samples before.
    pub held_out: bool,
    /// Output by output, in the order of the original's.
    pub outputs: Vec<OutputLoss>,
}

/// How far one output is from the original's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutputLoss {
    /// The output's name.
    pub name: String,
    /// Signal to quantization noise ratio, in dB: `10·log10(Σa² / Σ(a−b)²)` over all samples; `None` where both are
    /// equal.
    pub sqnr_db: Option<f64>,
    /// Share of rows of the last axis whose largest element sits at the same place.
    pub agreement: Option<f64>,
    /// Largest difference.
    pub max_abs: f64,
}

impl Loss {
    /// The worst output's signal to noise ratio; infinite where all answers are equal.
    pub fn sqnr_db(&self) -> f64 {
        let known = self.outputs.iter().filter_map(|o| o.sqnr_db);
        known.map(|db| if db.is_nan() { f64::NEG_INFINITY } else { db }).fold(f64::INFINITY, f64::min)
    }

    /// The worst output's agreement.
    pub fn agreement(&self) -> Option<f64> {
        self.outputs.iter().filter_map(|o| o.agreement).reduce(f64::min)
    }
}

impl Samples<'_> {
    /// How far a result is from the original, on the held-out samples; on those that were measured with, where none
    /// are held out.
    ///
    /// # Errors
    /// Where the engine cannot run one of the two.
    pub fn loss(&self, original: &Model, result: &Model) -> Result<Loss, CalibrateError> {
        self.loss_by(original, (self.engine, result), usize::MAX)
    }

    /// The same with the result run by another engine, on so many batches at most.
    ///
    /// # Errors
    /// As [`Samples::loss`].
    pub fn loss_by(
        &self,
        original: &Model,
        (engine, result): (&dyn Engine, &Model),
        batches: usize,
    ) -> Result<Loss, CalibrateError> {
        let held_out = self.count(Part::HeldOut) > 0;
        let part = self.part(if held_out { Part::HeldOut } else { Part::Calibration });
        let wanted = self.engine.prepare(original, &self.bindings)?;
        let found = engine.prepare(result, &self.bindings)?;
        let mut sums: Vec<Sums> = original.graph.outputs().iter().map(|_| Sums::default()).collect();
        let all: Vec<usize> = (0..part.len().min(batches)).collect();
        for group in all.chunks(rayon::current_num_threads().max(1)) {
            // Decoding takes all cores; the sessions, of which there is one each, run one after another.
            let group: Vec<_> =
                group.par_iter().map(|&at| Ok((at, part.get(at)?))).collect::<Result<_, CalibrateError>>()?;
            for (at, inputs) in group {
                let (wanted, found) = (wanted.run(&inputs)?, found.run(&inputs)?);
                sums.iter_mut().zip(wanted.iter().zip(&found)).for_each(|(sums, (a, b))| sums.add(a, b));
                self.tell(at + 1, all.len());
            }
        }
        let names = original.graph.outputs().iter().map(|&v| original.graph.value(v).name.clone());
        let outputs = names.zip(sums).map(|(name, sums)| sums.loss(name)).collect();
        let engine = self.engine.name().to_owned();
        Ok(Loss { engine, arithmetic: None, batches: all.len(), held_out, outputs })
    }
}

/// What is known of one output so far.
#[derive(Default)]
struct Sums {
    signal: f64,
    noise: f64,
    max_abs: f64,
    rows: u64,
    same: u64,
}

impl Sums {
    /// Takes in an answer of both models.
    fn add(&mut self, a: &TensorData, b: &TensorData) {
        let (Some(x), Some(y)) = (numbers(a), numbers(b)) else { return };
        if x.len() != y.len() {
            self.noise = f64::INFINITY;
            return;
        }
        for (&p, &q) in x.iter().zip(&y) {
            // Infinities at the same place are no difference.
            let gap = if p.total_cmp(&q).is_eq() { 0.0 } else { p - q };
            self.signal += p * p;
            self.noise += gap * gap;
            let nan = gap.is_nan() || self.max_abs.is_nan();
            self.max_abs = if nan { f64::NAN } else { self.max_abs.max(gap.abs()) };
        }
        let width = a.dims().last().map_or(1, |&d| d as usize);
        if width > 1 {
            let best = |row: &[f64]| row.iter().enumerate().max_by(|p, q| p.1.total_cmp(q.1)).map(|(i, _)| i);
            self.rows += (x.len() / width) as u64;
            let pairs = x.chunks(width).zip(y.chunks(width));
            self.same += pairs.filter(|(p, q)| best(p) == best(q)).count() as u64;
        }
    }

    fn loss(self, name: String) -> OutputLoss {
        let Self { signal, noise, max_abs, rows, same } = self;
        let sqnr_db = (noise != 0.0)
            .then(|| if noise.is_nan() { f64::NEG_INFINITY } else { 10.0 * (signal / noise).log10() });
        OutputLoss { name, sqnr_db, agreement: (rows > 0).then(|| same as f64 / rows as f64), max_abs }
    }
}

/// The elements of a tensor of numbers.
pub(super) fn numbers(tensor: &TensorData) -> Option<Vec<f64>> {
    tensor.to_f64s().or_else(|| Some(tensor.to_i64s()?.into_iter().map(|x| x as f64).collect()))
}
