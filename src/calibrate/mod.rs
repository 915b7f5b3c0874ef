//! Running a model over samples, and looking at what flows through it.
//!
//! One pass over the samples, in groups of one batch a core: the models run side by side, and then every observer sees
//! its values of the group in the order of the samples. So memory is bounded by a group, and what is found does not
//! depend on how many cores there are.

mod loss;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

use crate::engine::data::Dataset;
use crate::engine::inputs::fed;
use crate::engine::{Bindings, Engine, EngineError, Session};
use crate::ir::{IrError, Model, TensorData, ValueId};

pub use loss::{Loss, OutputLoss};

/// The tensors of one run.
type Tensors = Vec<TensorData>;

/// Unlabelled samples and the engine that runs models on them.
pub struct Samples<'a> {
    engine: &'a dyn Engine,
    bindings: Bindings,
    calibration: Vec<Tensors>,
    held_out: Vec<Tensors>,
}

/// Which samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Those to measure with.
    Calibration,
    /// Those to judge by, which nothing was measured with.
    HeldOut,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// The engine cannot run the model, or failed.
    #[error("the model cannot be calibrated: {0}")]
    Engine(#[from] EngineError),
    /// The model with more outputs is broken.
    #[error("the model cannot be observed: {0}")]
    Graph(#[from] IrError),
    /// An observer refused what it saw.
    #[error("sample {sample}: {what}")]
    Observed {
        /// Counted from 0, in batches.
        sample: usize,
        /// What the observer said.
        what: String,
    },
}

/// A model, and the values of its main graph that are looked at.
#[derive(Clone, Copy)]
pub struct Tap<'m> {
    /// The model.
    pub model: &'m Model,
    /// One value for every observer.
    pub values: &'m [ValueId],
}

impl<'a> Samples<'a> {
    /// Samples in batches: a tensor for every input of [`fed`].
    pub fn new(
        engine: &'a dyn Engine,
        bindings: Bindings,
        calibration: Vec<Tensors>,
        held_out: Vec<Tensors>,
    ) -> Self {
        Self { engine, bindings, calibration, held_out }
    }

    /// The samples of a data set: every fourth batch is held out, where there are four.
    pub fn of(engine: &'a dyn Engine, bindings: Bindings, data: &Dataset) -> Self {
        let batches = data.batches(data.rows(), 1);
        let (mut calibration, mut held_out) = (Vec::new(), Vec::new());
        for (at, batch) in batches.into_iter().enumerate() {
            if at % 4 == 3 { held_out.push(batch) } else { calibration.push(batch) }
        }
        Self::new(engine, bindings, calibration, held_out)
    }

    /// How many batches a part has.
    pub fn count(&self, part: Part) -> usize {
        self.part(part).len()
    }

    fn part(&self, part: Part) -> &[Tensors] {
        match part {
            Part::Calibration => &self.calibration,
            Part::HeldOut => &self.held_out,
        }
    }

    /// The first batch to measure with, to try a model on.
    pub fn first(&self) -> Option<&[TensorData]> {
        self.calibration.first().map(Vec::as_slice)
    }

    /// Shows every observer its value of every batch to measure with, in order.
    ///
    /// # Errors
    /// Where the engine cannot run the model, and where an observer refuses a tensor.
    pub fn observe<O: Send>(
        &self,
        tap: Tap<'_>,
        observers: &mut [O],
        see: impl Fn(&mut O, &TensorData) -> Result<(), String> + Sync,
    ) -> Result<(), CalibrateError> {
        self.observe_all(&[tap], observers, |o, seen| see(o, seen[0]))
    }

    /// Shows every observer its values of several models on the same batches, in order.
    ///
    /// # Errors
    /// As [`Samples::observe`].
    pub fn observe_all<O: Send>(
        &self,
        taps: &[Tap<'_>],
        observers: &mut [O],
        see: impl Fn(&mut O, &[&TensorData]) -> Result<(), String> + Sync,
    ) -> Result<(), CalibrateError> {
        let workers = rayon::current_num_threads().clamp(1, self.calibration.len().max(1));
        let probes: Vec<Vec<Probe>> = (0..workers)
            .map(|_| taps.iter().map(|tap| self.probe(tap)).collect::<Result<_, CalibrateError>>())
            .collect::<Result<_, _>>()?;
        let probes: Vec<_> = probes.into_iter().map(std::sync::Mutex::new).collect();
        for (group, batches) in self.calibration.chunks(workers).enumerate() {
            let seen: Vec<Vec<Tensors>> = (batches.par_iter().zip(&probes))
                .map(|(inputs, probes)| {
                    let probes = probes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    probes.iter().map(|probe| probe.run(inputs)).collect()
                })
                .collect::<Result<_, EngineError>>()?;
            observers.par_iter_mut().enumerate().try_for_each(|(place, observer)| {
                seen.iter().enumerate().try_for_each(|(at, values)| {
                    let values: Vec<&TensorData> = values.iter().map(|v| &v[place]).collect();
                    see(observer, &values)
                        .map_err(|what| CalibrateError::Observed { sample: group * workers + at, what })
                })
            })?;
        }
        Ok(())
    }

    /// The answers of a model on a part of the samples, batch by batch.
    ///
    /// # Errors
    /// Where the engine cannot run the model.
    pub fn answers(&self, model: &Model, part: Part) -> Result<Vec<Tensors>, CalibrateError> {
        let session = self.engine.prepare(model, &self.bindings)?;
        Ok(self.part(part).iter().map(|inputs| session.run(inputs)).collect::<Result<_, _>>()?)
    }

    fn probe(&self, tap: &Tap<'_>) -> Result<Probe, CalibrateError> {
        let mut model = tap.model.clone();
        let mut outputs: Vec<ValueId> = Vec::new();
        let fed: Vec<ValueId> = fed(&model.graph).collect();
        let places = (tap.values.iter())
            .map(|value| {
                if let Some(input) = fed.iter().position(|v| v == value) {
                    return Place::Input(input);
                }
                let known = outputs.iter().position(|v| v == value);
                Place::Output(known.unwrap_or_else(|| {
                    outputs.push(*value);
                    outputs.len() - 1
                }))
            })
            .collect();
        if outputs.is_empty() {
            outputs = model.graph.outputs().to_vec();
        }
        model.graph.set_outputs(outputs);
        model.check()?;
        Ok(Probe { session: self.engine.prepare(&model, &self.bindings)?, places })
    }
}

/// Where a value that is looked at is found.
#[derive(Clone, Copy)]
enum Place {
    Input(usize),
    Output(usize),
}

struct Probe {
    session: Box<dyn Session>,
    places: Vec<Place>,
}

impl Probe {
    /// The values that are looked at, one for every observer.
    fn run(&self, inputs: &[TensorData]) -> Result<Tensors, EngineError> {
        let answers = self.session.run(inputs)?;
        let find = |place: &Place| match *place {
            Place::Input(at) => inputs.get(at),
            Place::Output(at) => answers.get(at),
        };
        let lost = || EngineError::Invalid("the engine left a value out".to_owned());
        self.places.iter().map(|place| find(place).cloned().ok_or_else(lost)).collect()
    }
}
