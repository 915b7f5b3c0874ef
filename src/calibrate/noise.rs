//! How much noise a change of the model adds to its answers, against answers that are kept.

use rayon::prelude::*;

use super::loss::numbers;
use super::{Batches, CalibrateError, Part, Probe, Samples, Start, Tap, Tensors};
use crate::ir::{Model, TensorData, ValueId};

/// The answers of a model on its first samples, to compare those of others with.
pub struct Answers {
    /// Where other models run from.
    start: Start,
    runs: Vec<Tensors>,
    /// The power of every output.
    signal: Vec<f64>,
}

impl Answers {
    /// How many batches were run.
    pub fn batches(&self) -> usize {
        self.runs.len()
    }

    /// See [`Samples::divergence`].
    fn divergence(&self, found: &[Tensors]) -> f64 {
        let mut total = 0.0;
        for (output, &signal) in self.signal.iter().enumerate() {
            let pairs = || self.runs.iter().zip(found).map(|(a, b)| (&a[output], &b[output]));
            let scores = pairs().all(|(a, _)| a.rank() == 2 && a.dims().last().is_some_and(|&n| n > 1));
            let rows: u64 = pairs().map(|(a, _)| a.dims().first().copied().unwrap_or(0)).sum();
            total += if scores {
                pairs().map(|(a, b)| relative_entropy(a, b)).sum::<f64>() / rows.max(1) as f64
            } else {
                let noise: f64 = pairs().map(|(a, b)| power(a, Some(b))).sum();
                if signal > 0.0 { noise / signal } else { noise }
            };
        }
        total
    }
}

impl Samples<'_> {
    /// The answers of a model on the first batches to measure with, `most` at most.
    ///
    /// # Errors
    /// Where the engine cannot run the model.
    pub fn answers(&self, model: &Model, most: usize) -> Result<Answers, CalibrateError> {
        self.answers_on(Part::Calibration, model, most)
    }

    /// The answers of a model on the first batches of a part, `most` at most.
    ///
    /// # Errors
    /// Where the engine cannot run the model.
    pub fn answers_on(&self, part: Part, model: &Model, most: usize) -> Result<Answers, CalibrateError> {
        let part = self.part(part);
        let batches: Vec<usize> = (0..part.len().min(most)).collect();
        let inputs: Vec<Tensors> = (batches.par_iter())
            .map(|&at| Ok(part.get(at)?.into_owned()))
            .collect::<Result<_, CalibrateError>>()?;
        let start = Start::fed(Batches::Held(inputs));
        let runs = self.run_all(model, &start)?;
        let mut signal = vec![0.0; model.graph.outputs().len()];
        for answers in &runs {
            signal.iter_mut().zip(answers).for_each(|(sum, a)| *sum += power(a, None));
        }
        Ok(Answers { start, runs, signal })
    }

    /// Lets the models that are compared start from values of a model, which they all have as it has them: what comes
    /// before is not run again.
    ///
    /// # Errors
    /// Where the engine cannot run the model.
    pub fn skip_to(
        &self,
        answers: &mut Answers,
        model: &Model,
        values: &[ValueId],
    ) -> Result<(), CalibrateError> {
        self.advance(&mut answers.start, (model, values), usize::MAX).map(drop)
    }

    /// The power of the error of every output of another model, as a share of the power of the output.
    ///
    /// # Errors
    /// Where the engine cannot run the model.
    pub fn noise(&self, wanted: &Answers, model: &Model) -> Result<Vec<f64>, CalibrateError> {
        let found = self.run_all(model, &wanted.start)?;
        let mut noise = vec![0.0; wanted.signal.len()];
        for (wanted, found) in wanted.runs.iter().zip(&found) {
            let pairs = wanted.iter().zip(found);
            noise.iter_mut().zip(pairs).for_each(|(sum, (a, b))| *sum += power(a, Some(b)));
        }
        // Where nothing was said, an error is worth as much as it is large.
        let share = |(noise, &signal): (f64, &f64)| if signal > 0.0 { noise / signal } else { noise };
        Ok(noise.into_iter().zip(&wanted.signal).map(share).collect())
    }

    /// How far the answers of another model are: of an output whose rows are the scores of classes the mean
    /// Kullback-Leibler divergence, in nats; of any other the power of the error as a share of its own. Summed over the
    /// outputs.
    ///
    /// # Errors
    /// Where the engine cannot run the model.
    pub fn divergence(&self, wanted: &Answers, model: &Model) -> Result<f64, CalibrateError> {
        Ok(wanted.divergence(&self.run_all(model, &wanted.start)?))
    }

    /// The same for several models, side by side.
    ///
    /// # Errors
    /// Where the engine cannot run one of them.
    pub fn divergences(&self, wanted: &Answers, models: &[Model]) -> Result<Vec<f64>, CalibrateError> {
        let one = |model: &Model| {
            let tap = Tap { model, values: model.graph.outputs(), start: Some(&wanted.start) };
            let probe = self.probe(&tap)?;
            let batches = 0..wanted.start.batches.len();
            let found = batches.map(|at| Ok(probe.run(&wanted.start.batches.get(at)?)?));
            Ok(wanted.divergence(&found.collect::<Result<Vec<_>, CalibrateError>>()?))
        };
        models.par_iter().map(one).collect()
    }

    /// Runs a model on all batches of a start, side by side.
    fn run_all(&self, model: &Model, start: &Start) -> Result<Vec<Tensors>, CalibrateError> {
        let all: Vec<usize> = (0..start.batches.len()).collect();
        let threads = rayon::current_num_threads().clamp(1, all.len().max(1));
        let each = all.len().div_ceil(threads).max(1);
        let tap = Tap { model, values: model.graph.outputs(), start: Some(start) };
        let probes = self.probes(&tap, threads)?;
        let run = |(probe, part): (Probe, &[usize])| {
            let run = |&at| Ok(probe.run(&start.batches.get(at)?)?);
            part.iter().map(run).collect::<Result<_, CalibrateError>>()
        };
        let runs: Vec<Vec<Tensors>> =
            probes.into_par_iter().zip(all.par_chunks(each)).map(run).collect::<Result<_, _>>()?;
        Ok(runs.into_iter().flatten().collect())
    }
}

/// The sum of the Kullback-Leibler divergences of the rows of two tensors of scores: probabilities where the rows of the
/// first are such, else logits.
fn relative_entropy(a: &TensorData, b: &TensorData) -> f64 {
    let (Some(x), Some(y)) = (numbers(a), numbers(b)) else { return 0.0 };
    let width = a.dims().last().map_or(1, |&n| n as usize).max(1);
    if x.len() != y.len() {
        return f64::INFINITY;
    }
    let is_probability =
        |row: &[f64]| row.iter().all(|&p| p >= 0.0) && (row.iter().sum::<f64>() - 1.0).abs() < 1e-3;
    let plain = x.chunks_exact(width).all(is_probability);
    let logs = |row: &[f64]| -> Vec<f64> {
        if plain {
            return row.iter().map(|p| p.max(1e-12).ln()).collect();
        }
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum = row.iter().map(|v| (v - most).exp()).sum::<f64>().ln() + most;
        row.iter().map(|v| v - sum).collect()
    };
    let row = |(a, b): (&[f64], &[f64])| -> f64 {
        logs(a).iter().zip(logs(b)).map(|(p, q)| p.exp() * (p - q)).sum()
    };
    let sum: f64 = x.chunks_exact(width).zip(y.chunks_exact(width)).map(row).sum();
    if sum.is_nan() { f64::INFINITY } else { sum.max(0.0) }
}

/// The sum of the squares of a tensor, or of its differences from another: infinite where they cannot be compared.
fn power(a: &TensorData, b: Option<&TensorData>) -> f64 {
    let Some(x) = numbers(a) else { return 0.0 };
    let Some(b) = b else { return x.iter().filter(|x| x.is_finite()).map(|x| x * x).sum() };
    let Some(y) = numbers(b).filter(|y| y.len() == x.len()) else { return f64::INFINITY };
    let gap = |(p, q): (&f64, &f64)| if p.total_cmp(q).is_eq() { 0.0 } else { (p - q).powi(2) };
    let sum: f64 = x.iter().zip(&y).map(gap).sum();
    if sum.is_nan() { f64::INFINITY } else { sum }
}
