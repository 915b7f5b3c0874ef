//! Samples: from arrays, images, raw files or a seed to the inputs of a model.
//!
//! Arrays stay in memory. Images and raw files are read when their batch is asked for, and nothing of them is kept.

mod arrays;
mod column;
mod files;
mod images;
mod npy;
mod raw;
mod source;
#[cfg(test)]
mod tests;

use std::fmt::{self, Display};
use std::path::Path;
use std::sync::Arc;

use column::{Column, Layout, Rows, Wanted};

use crate::engine::inputs::{DefaultDims, InputPlan, InputSpec};
use crate::engine::random::Stream;
use crate::engine::{Bindings, EngineError};
use crate::ir::{Model, TensorData};

pub(crate) use files::rooted;
pub use source::{
    ArrayFiles, Color, DataSource, HOLDOUT, Images, Layout as ImageLayout, Origin, Prepare, Resize,
};

/// Why there are no samples.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or a sample of it cannot be used.
    #[error("{place}: {what}")]
    At {
        /// The file, and the sample where it holds several.
        place: String,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// The samples as a whole do not suit the model.
    #[error("{0}")]
    Source(String),
    /// No samples can be made up for the model.
    #[error(transparent)]
    Random(#[from] EngineError),
}

impl DataError {
    fn at(place: impl Display, what: impl Display) -> Self {
        Self::At { place: place.to_string(), what: what.to_string() }
    }
}

/// Samples for every input of a model.
#[derive(Clone)]
pub struct Dataset {
    columns: Arc<[Column]>,
    /// The samples that are picked, in order.
    picked: Arc<[usize]>,
    /// The batch that the model fixes.
    batch: Option<usize>,
    holdout: f64,
    warnings: Vec<String>,
    is_random: bool,
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inputs: Vec<_> = self.columns.iter().map(|c| c.name.as_str()).collect();
        f.debug_struct("Dataset")
            .field("inputs", &inputs)
            .field("samples", &self.rows())
            .finish_non_exhaustive()
    }
}

impl Dataset {
    /// Reads samples for a model from a file, folder, glob or list.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub fn load(path: &Path, model: &Model, dims: &Bindings) -> Result<Self, DataError> {
        let text = path.to_str().ok_or_else(|| DataError::at(path.display(), "its name is not UTF-8"))?;
        Self::open(&DataSource::of_args(&[text])?, model, dims)
    }

    /// Finds the samples of a source, and looks whether they suit a model.
    ///
    /// # Errors
    /// Naming the file, and the sample or array in it, that is missing or wrong.
    pub fn open(source: &DataSource, model: &Model, dims: &Bindings) -> Result<Self, DataError> {
        let inputs = Wanted::all(model, dims)?;
        let mut warnings = Vec::new();
        let columns = match &source.origin {
            Origin::Arrays(files) => arrays::together(files, &inputs)?,
            Origin::ByInput(by_input) => arrays::by_input(by_input, &inputs)?,
            Origin::Images(images) => {
                warnings.extend(images::warning(images, &inputs));
                let mut columns = arrays::by_input(&images.others, &inputs)?;
                columns.push(images::column(images, &inputs)?);
                columns
            }
            Origin::Raw { files, inputs: names } => raw::columns(files, names, &inputs)?,
            Origin::Random(count) => {
                warnings.push(format!(
                    "the {count} samples are random: ranges measured on them are not those of real data"
                ));
                made_up(*count, source.seed, model, dims)?
            }
        };
        let mut all = Self::of(in_order(columns, &inputs)?, source)?;
        all.warnings = warnings;
        all.is_random = matches!(source.origin, Origin::Random(_));
        Ok(all)
    }

    fn of(columns: Vec<Column>, source: &DataSource) -> Result<Self, DataError> {
        let wrong = |what: String| Err(DataError::Source(what));
        let several = columns.iter().filter_map(|c| Some((c, c.rows.count()?)));
        let mut total: Option<(&Column, usize)> = None;
        for (column, count) in several {
            let (first, wanted) = *total.get_or_insert((column, count));
            if wanted != count {
                let (a, b) = (&column.name, &first.name);
                return wrong(format!("there are {count} samples for `{a}` and {wanted} for `{b}`"));
            }
        }
        let total = total.map_or(1, |(_, count)| count);
        let one = columns.iter().any(|c| c.layout == Layout::Items);
        let mut batch = one.then_some(1);
        for column in &columns {
            if let Layout::Rows(Some(fixed)) = column.layout
                && *batch.get_or_insert(fixed) != fixed
            {
                let name = &column.name;
                return wrong(format!("`{name}` has a batch of {fixed}, other inputs have another"));
            }
        }
        let batch = batch.map(|b| usize::try_from(b).unwrap_or(usize::MAX).max(1));
        let picked = pick(total, source);
        if total == 0 {
            return wrong("the data set is empty".to_owned());
        }
        if picked.len() < batch.unwrap_or(1) {
            let needed = batch.unwrap_or(1);
            let limited = if picked.len() < total { " within `limit`" } else { "" };
            let found = picked.len();
            return wrong(format!(
                "there are {found} samples{limited}, and one batch of the model takes {needed}"
            ));
        }
        for column in &columns {
            for &at in &picked {
                column.rows.glance(at).map_err(|what| DataError::at(column.rows.place(at), what))?;
            }
        }
        let (warnings, is_random) = (Vec::new(), false);
        Ok(Self {
            columns: columns.into(),
            picked: picked.into(),
            batch,
            holdout: source.holdout,
            warnings,
            is_random,
        })
    }

    /// Number of samples.
    pub fn rows(&self) -> u64 {
        self.picked.len() as u64
    }

    /// Number of batches: of one sample each where the model does not fix another size. A rest that does not fill a
    /// fixed batch is left out.
    pub fn batches(&self) -> usize {
        self.picked.len() / self.batch.unwrap_or(1)
    }

    /// A batch: a tensor for every input. It is read now.
    ///
    /// # Errors
    /// Where a file cannot be read, a sample has another size than the model or the batch takes, or holds a number
    /// that is not finite.
    pub fn batch(&self, at: usize) -> Result<Vec<TensorData>, DataError> {
        let size = self.batch.unwrap_or(1);
        let samples = self.picked.get(at * size..(at + 1) * size);
        let samples = samples.ok_or_else(|| DataError::Source(format!("there is no batch {at}")))?;
        self.columns.iter().map(|column| column.stack(samples)).collect()
    }

    /// The first batches, as many as hold that many samples.
    ///
    /// # Errors
    /// As [`Dataset::batch`].
    pub fn first(&self, samples: u64) -> Result<Vec<Vec<TensorData>>, DataError> {
        let size = self.batch.unwrap_or(1) as u64;
        let count = samples.max(1).div_ceil(size).min(self.batches() as u64) as usize;
        (0..count).map(|at| self.batch(at)).collect()
    }

    /// Whether nothing is measured with a batch, so that it can judge. The share is spread evenly.
    pub fn is_held_out(&self, batch: usize) -> bool {
        let before = |n: usize| (n as f64 * self.holdout + 1e-9).floor();
        before(batch + 1) > before(batch)
    }

    /// What the user should know about the samples.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether the samples are made up.
    pub fn is_random(&self) -> bool {
        self.is_random
    }
}

/// Which samples are used: all, or as many as the limit says, each as likely as any other.
fn pick(total: usize, source: &DataSource) -> Vec<usize> {
    let limit = source.limit.and_then(|l| usize::try_from(l).ok()).unwrap_or(usize::MAX);
    if limit >= total {
        return (0..total).collect();
    }
    let mut stream = Stream::new(source.seed, "samples");
    let mut left = limit;
    // Knuth's selection sampling: sorted, without a list of all samples.
    let taken = (0..total).filter(|at| {
        let takes = stream.int(0, (total - at) as i64 - 1) < left as i64;
        left -= usize::from(takes);
        takes
    });
    taken.collect()
}

/// One column for every input, in the order of the model's.
fn in_order(mut columns: Vec<Column>, inputs: &[Wanted<'_>]) -> Result<Vec<Column>, DataError> {
    let mut sorted = Vec::new();
    for wanted in inputs {
        let Some(at) = columns.iter().position(|c| c.name == wanted.name) else {
            return Err(DataError::Source(format!("there are no samples for input `{}`", wanted.name)));
        };
        sorted.push(columns.swap_remove(at));
    }
    match columns.first() {
        Some(twice) => Err(DataError::Source(format!("there are two sets of samples for `{}`", twice.name))),
        None => Ok(sorted),
    }
}

/// Samples that are made up.
struct MadeUp {
    spec: InputSpec,
    count: usize,
    seed: u64,
}

fn made_up(count: u64, seed: u64, model: &Model, dims: &Bindings) -> Result<Vec<Column>, DataError> {
    let plan = InputPlan::of(model, dims, DefaultDims::ATTEMPTS[0])?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let column = |spec: InputSpec| Column {
        name: spec.name.clone(),
        layout: Layout::Items,
        rows: Box::new(MadeUp { spec, count, seed }),
    };
    Ok(plan.inputs.into_iter().map(column).collect())
}

impl Rows for MadeUp {
    fn count(&self) -> Option<usize> {
        Some(self.count)
    }

    fn row(&self, at: usize) -> Result<TensorData, String> {
        self.spec.sample(self.seed.wrapping_add(at as u64)).map_err(|e| e.to_string())
    }

    fn place(&self, at: usize) -> String {
        format!("random sample {at}")
    }
}
