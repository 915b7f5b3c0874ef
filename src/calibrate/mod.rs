//! Running a model over samples, and looking at what flows through it.
//!
//! One pass over the samples, in groups of one batch a core: the models run side by side, and then every observer sees
//! its values of the group in the order of the samples. So memory is bounded by a group, and what is found does not
//! depend on how many cores there are.

mod excerpt;
mod loss;
mod noise;
mod start;
#[cfg(test)]
mod tests;
pub mod windows;

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::data::{DataError, Dataset};
use crate::engine::{Bindings, Engine, EngineError, Session};
use crate::ir::{IrError, Model, TensorData, ValueId};

pub use excerpt::excerpt;
pub use loss::{Loss, OutputLoss};
pub use noise::Answers;
pub use start::{Course, Start};
use start::{inputs_of, tail};

/// The tensors of one run.
type Tensors = Vec<TensorData>;

/// Unlabelled samples and the engine that runs models on them.
pub struct Samples<'a> {
    engine: &'a dyn Engine,
    bindings: Bindings,
    calibration: Batches,
    held_out: Batches,
    warnings: Vec<String>,
    told: Option<&'a Told<'a>>,
}

/// Told after every batch of a pass over samples: how many are done, and of how many.
pub type Told<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// Batches of samples.
#[derive(Clone)]
enum Batches {
    Held(Vec<Tensors>),
    /// Those of a data set with these numbers, each read when it is asked for.
    Read(Dataset, Vec<usize>),
}

impl Batches {
    fn len(&self) -> usize {
        match self {
            Self::Held(batches) => batches.len(),
            Self::Read(_, numbers) => numbers.len(),
        }
    }

    fn get(&self, at: usize) -> Result<Cow<'_, [TensorData]>, CalibrateError> {
        match self {
            Self::Held(batches) => Ok(Cow::Borrowed(batches.get(at).map(Vec::as_slice).unwrap_or_default())),
            Self::Read(data, numbers) => {
                let number = numbers.get(at).copied().unwrap_or(usize::MAX);
                Ok(Cow::Owned(data.batch(number)?))
            }
        }
    }
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
    /// A sample cannot be read, or does not suit the model.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model with more outputs is broken.
    #[error("the model cannot be observed: {0}")]
    Graph(#[from] IrError),
    /// An observer refused what it saw.
    #[error("sample {sample}: `{value}`: {what}")]
    Observed {
        /// Counted from 0, in batches.
        sample: usize,
        /// The value that it looked at.
        value: String,
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
    /// Where the runs start; from what the model is fed, where none is given.
    pub start: Option<&'m Start>,
}

impl<'m> Tap<'m> {
    /// Of a model that runs as a whole.
    pub fn of(model: &'m Model, values: &'m [ValueId]) -> Self {
        Self { model, values, start: None }
    }
}

impl<'a> Samples<'a> {
    /// Samples in batches: a tensor for every input of [`crate::engine::inputs::fed`].
    pub fn new(
        engine: &'a dyn Engine,
        bindings: Bindings,
        calibration: Vec<Tensors>,
        held_out: Vec<Tensors>,
    ) -> Self {
        let (calibration, held_out) = (Batches::Held(calibration), Batches::Held(held_out));
        Self { engine, bindings, calibration, held_out, warnings: Vec::new(), told: None }
    }

    /// The samples of a data set, each read when its turn comes.
    pub fn of(engine: &'a dyn Engine, bindings: Bindings, data: &Dataset) -> Self {
        let (held_out, calibration) = (0..data.batches()).partition(|&at| data.is_held_out(at));
        Self {
            calibration: Batches::Read(data.clone(), calibration),
            held_out: Batches::Read(data.clone(), held_out),
            warnings: data.warnings().to_vec(),
            ..Self::new(engine, bindings, Vec::new(), Vec::new())
        }
    }

    /// The same, judged by all samples of another data set; nothing is held out.
    #[must_use]
    pub fn judged_by(mut self, data: &Dataset) -> Self {
        if let Batches::Read(data, numbers) = &mut self.calibration {
            *numbers = (0..data.batches()).collect();
        }
        self.held_out = Batches::Read(data.clone(), (0..data.batches()).collect());
        self.warnings.extend_from_slice(data.warnings());
        self
    }

    /// The first batches to measure with, so many at most, and none to judge by.
    #[must_use]
    pub fn few(&self, count: usize) -> Self {
        let calibration = match &self.calibration {
            Batches::Held(batches) => Batches::Held(batches.iter().take(count).cloned().collect()),
            Batches::Read(data, numbers) => {
                Batches::Read(data.clone(), numbers.iter().take(count).copied().collect())
            }
        };
        let (bindings, held_out) = (self.bindings.clone(), Batches::Held(Vec::new()));
        Self { engine: self.engine, bindings, calibration, held_out, warnings: Vec::new(), told: self.told }
    }

    /// Tells how far every pass over the samples is.
    #[must_use]
    pub fn telling(mut self, told: &'a Told<'a>) -> Self {
        self.told = Some(told);
        self
    }

    /// What runs models on them.
    pub fn engine(&self) -> &'a dyn Engine {
        self.engine
    }

    /// What the user should know about the samples.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// How many batches a part has.
    pub fn count(&self, part: Part) -> usize {
        self.part(part).len()
    }

    fn part(&self, part: Part) -> &Batches {
        match part {
            Part::Calibration => &self.calibration,
            Part::HeldOut => &self.held_out,
        }
    }

    fn tell(&self, done: usize, all: usize) {
        if let Some(told) = self.told {
            told(done, all);
        }
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
        let all = self.calibration.len();
        // The models of a batch run side by side too: what is held at once stays that of a core each.
        let workers = (rayon::current_num_threads() / taps.len().max(1)).clamp(1, all.max(1));
        let mut probes: Vec<_> = (0..workers).map(|_| Vec::new()).collect();
        for tap in taps {
            probes.iter_mut().zip(self.probes(tap, workers)?).for_each(|(all, probe)| all.push(probe));
        }
        let probes: Vec<_> = probes.into_iter().map(std::sync::Mutex::new).collect();
        let done = AtomicUsize::new(0);
        let name = |place: usize| {
            let value = taps.first().and_then(|tap| Some(tap.model.graph.value(*tap.values.get(place)?)));
            value.map(|value| value.name.clone()).unwrap_or_default()
        };
        for group in (0..all).step_by(workers) {
            let seen: Vec<Vec<Tensors>> = (probes.par_iter().take(all - group).enumerate())
                .map(|(at, probes)| {
                    let mut probes = probes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    let whole = taps.iter().any(|tap| tap.start.is_none());
                    let fed = if whole { self.calibration.get(group + at)? } else { Cow::default() };
                    let run = |(probe, tap): (&mut Probe, &Tap<'_>)| match tap.start {
                        Some(start) => Ok(probe.run(&start.batches.get(group + at)?)?),
                        None => Ok(probe.run(&fed)?),
                    };
                    let seen = probes.par_iter_mut().zip(taps).map(run).collect();
                    self.tell(done.fetch_add(1, Ordering::Relaxed) + 1, all);
                    seen
                })
                .collect::<Result<_, CalibrateError>>()?;
            observers.par_iter_mut().enumerate().try_for_each(|(place, observer)| {
                seen.iter().enumerate().try_for_each(|(at, values)| {
                    let values: Vec<&TensorData> = values.iter().map(|v| &v[place]).collect();
                    see(observer, &values).map_err(|what| CalibrateError::Observed {
                        sample: group + at,
                        value: name(place),
                        what,
                    })
                })
            })?;
        }
        Ok(())
    }

    /// The same for so many threads.
    fn probes(&self, tap: &Tap<'_>, count: usize) -> Result<Vec<Probe>, CalibrateError> {
        let first = self.probe(tap)?;
        let forked: Option<Vec<Probe>> = (1..count).map(|_| first.fork()).collect();
        let mut all = match forked {
            Some(forked) => forked,
            None => (1..count).into_par_iter().map(|_| self.probe(tap)).collect::<Result<_, _>>()?,
        };
        all.push(first);
        Ok(all)
    }

    fn probe(&self, tap: &Tap<'_>) -> Result<Probe, CalibrateError> {
        let inputs = inputs_of(tap);
        let mut outputs: Vec<ValueId> = Vec::new();
        let places = (tap.values.iter())
            .map(|value| {
                if let Some(input) = inputs.iter().position(|(v, _)| v == value) {
                    return Place::Input(input);
                }
                let known = outputs.iter().position(|v| v == value);
                Place::Output(known.unwrap_or_else(|| {
                    outputs.push(*value);
                    outputs.len() - 1
                }))
            })
            .collect();
        let session = if outputs.is_empty() {
            None
        } else {
            let model = tail(tap.model, &inputs, &outputs)?;
            Some(self.engine.prepare_fast(&model, &self.bindings)?)
        };
        Ok(Probe { session, places })
    }
}

/// Where a value that is looked at is found.
#[derive(Clone, Copy)]
enum Place {
    Input(usize),
    Output(usize),
}

struct Probe {
    /// None where there is nothing to compute.
    session: Option<Box<dyn Session>>,
    places: Vec<Place>,
}

impl Probe {
    fn fork(&self) -> Option<Self> {
        let session = match &self.session {
            Some(session) => Some(session.fork()?),
            None => None,
        };
        Some(Self { session, places: self.places.clone() })
    }

    /// The values that are looked at, one for every observer.
    fn run(&self, inputs: &[TensorData]) -> Result<Tensors, EngineError> {
        let answers = match &self.session {
            Some(session) => session.run(inputs)?,
            None => Vec::new(),
        };
        let find = |place: &Place| match *place {
            Place::Input(at) => inputs.get(at),
            Place::Output(at) => answers.get(at),
        };
        let lost = || EngineError::Invalid("the engine left a value out".to_owned());
        self.places.iter().map(|place| find(place).cloned().ok_or_else(lost)).collect()
    }
}
