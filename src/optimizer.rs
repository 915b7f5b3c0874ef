//! The library's main entry: a recipe, an engine, a run.

use crate::calibrate::Samples;
use crate::engine::{Bindings, Engine};
use crate::ir::{Model, TensorData};
use crate::pipeline::{self, KeepStage, PipelineError, RunOptions};
use crate::recipe::Recipe;
use crate::report::Report;

/// Runs a recipe over models.
pub struct Optimizer<'a> {
    recipe: Recipe,
    engine: Option<&'a dyn Engine>,
    data: Option<Vec<Vec<TensorData>>>,
    samples: Option<&'a Samples<'a>>,
    bindings: Bindings,
    opset: Option<i64>,
    progress: Option<&'a mut dyn FnMut(&str)>,
    stages: Option<&'a mut KeepStage<'a>>,
}

impl<'a> Optimizer<'a> {
    /// An optimizer that runs this recipe and verifies nothing yet.
    pub fn new(recipe: Recipe) -> Self {
        Self {
            recipe,
            engine: None,
            data: None,
            samples: None,
            bindings: Bindings::new(),
            opset: None,
            progress: None,
            stages: None,
        }
    }

    /// Runs the original and the result on an engine and compares their answers.
    #[must_use]
    pub fn verify_with(mut self, engine: &'a dyn Engine) -> Self {
        self.engine = Some(engine);
        self
    }

    /// Verifies on these inputs, run by run and in the order of the graph's, instead of random ones.
    #[must_use]
    pub fn data(mut self, runs: Vec<Vec<TensorData>>) -> Self {
        self.data = Some(runs);
        self
    }

    /// Lets passes measure on these samples.
    #[must_use]
    pub fn samples(mut self, samples: &'a Samples<'a>) -> Self {
        self.samples = Some(samples);
        self
    }

    /// Binds a symbolic dim to a size, as `--bind` does; it wins over the recipe.
    #[must_use]
    pub fn bind(mut self, symbol: impl Into<String>, size: u64) -> Self {
        self.bindings.insert(symbol.into(), size);
        self
    }

    /// Writes this opset of `ai.onnx`; it wins over the recipe.
    #[must_use]
    pub fn opset(mut self, opset: i64) -> Self {
        self.opset = Some(opset);
        self
    }

    /// Is told the id of every step before it runs.
    #[must_use]
    pub fn progress(mut self, told: &'a mut dyn FnMut(&str)) -> Self {
        self.progress = Some(told);
        self
    }

    /// Is given the model after every step, to keep it.
    #[must_use]
    pub fn stages(mut self, keep: &'a mut KeepStage<'a>) -> Self {
        self.stages = Some(keep);
        self
    }

    /// A model with its dims bound as [`Optimizer::run`] binds them, and the sizes: what samples have to suit.
    ///
    /// # Errors
    /// Where a dim cannot be bound.
    pub fn bound(&self, original: &Model) -> Result<(Model, Bindings), PipelineError> {
        let mut model = original.clone();
        let bindings = pipeline::bound(&mut model, &self.recipe, &self.bindings)?;
        Ok((model, bindings))
    }

    /// Runs the recipe. The original is not changed. Whether the answers are equal is in the report.
    ///
    /// # Errors
    /// Where the model is broken, a dim cannot be bound, the opset cannot be written or a pass fails.
    pub fn run(self, original: &Model) -> Result<(Model, Report), PipelineError> {
        let options = RunOptions {
            engine: self.engine,
            data: self.data,
            samples: self.samples,
            bindings: self.bindings,
            opset: self.opset,
            progress: self.progress,
            stages: self.stages,
        };
        let (model, log) = pipeline::run(original, &self.recipe, options)?;
        let report = Report::new(original, &model, &self.recipe.name, log);
        Ok((model, report))
    }
}
