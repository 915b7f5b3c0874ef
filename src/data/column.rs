//! One input of a model, and the samples for it.

use super::DataError;
use crate::engine::Bindings;
use crate::engine::inputs::fed;
use crate::ir::{DType, Dim, Model, TensorData, ValueType};

/// What the samples of an input are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Rows, which are batched along axis 0 of the input. The batch, where the model fixes it.
    Rows(Option<u64>),
    /// Each is a whole input.
    Items,
    /// Each is a whole input, which serves every sample that it is batched with.
    Whole,
}

/// The samples of one input.
pub(super) trait Rows: Send + Sync {
    /// How many there are; `None` where one serves all.
    fn count(&self) -> Option<usize>;

    /// One of them: without the batch axis where rows are batched.
    fn row(&self, at: usize) -> Result<TensorData, String>;

    /// What messages call it: the file, and the sample within it where there are several.
    fn place(&self, at: usize) -> String;

    /// What is wrong with it, as far as a quick look tells.
    fn glance(&self, _at: usize) -> Result<(), String> {
        Ok(())
    }
}

/// An input with its samples.
pub(super) struct Column {
    pub name: String,
    pub layout: Layout,
    pub rows: Box<dyn Rows>,
}

impl Column {
    /// The input of a run, from the samples of one batch.
    pub fn stack(&self, samples: &[usize]) -> Result<TensorData, DataError> {
        let rows = samples.iter().map(|&at| self.row(at)).collect::<Result<Vec<_>, _>>()?;
        let wrong = |at: usize, what: String| {
            DataError::at(self.rows.place(samples.get(at).copied().unwrap_or(0)), what)
        };
        let Some((first, rest)) = rows.split_first() else {
            return Err(DataError::Source(format!("there is no sample for input `{}`", self.name)));
        };
        if let Layout::Items | Layout::Whole = self.layout {
            let other = rest.iter().position(|row| !row.same_data(first));
            let differs = |at: usize| wrong(at + 1, format!("`{}` differs within one batch", self.name));
            return other.map_or_else(|| Ok(first.clone()), |at| Err(differs(at)));
        }
        if let Some(at) = rest.iter().position(|row| row.dims() != first.dims()) {
            let what = format!(
                "`{}` is {:?}, and {first:?} in {}: a batch takes samples of one size",
                self.name,
                rest[at],
                self.rows.place(samples[0])
            );
            return Err(wrong(at + 1, what));
        }
        join(&rows).map_err(|what| wrong(0, what))
    }

    /// One sample. Floats are finite: one that is not would spoil every range that it takes part in.
    fn row(&self, at: usize) -> Result<TensorData, DataError> {
        let wrong = |what| DataError::at(self.rows.place(at), what);
        let row = self.rows.row(at).map_err(wrong)?;
        let odd = row.to_f64s().and_then(|items| items.into_iter().enumerate().find(|(_, x)| !x.is_finite()));
        match odd {
            Some((place, x)) => {
                let name = &self.name;
                let what = format!("element {place} of `{name}` is {x}: mend the sample, or leave it out");
                Err(wrong(what))
            }
            None => Ok(row),
        }
    }
}

/// Rows of the same dims and type as one tensor, along a new axis 0.
fn join(rows: &[TensorData]) -> Result<TensorData, String> {
    let Some(first) = rows.first() else { return Err("there is no sample".to_owned()) };
    let dims: Vec<u64> = std::iter::once(rows.len() as u64).chain(first.dims().iter().copied()).collect();
    if let ([only], Some(bytes)) = (rows, first.bytes()) {
        return TensorData::new(only.dtype(), &dims, bytes.clone()).map_err(|e| e.to_string());
    }
    if first.string_items().is_some() {
        let items = rows.iter().filter_map(TensorData::string_items).flatten().cloned();
        return TensorData::strings(&dims, items.collect()).map_err(|e| e.to_string());
    }
    let bytes: Vec<u8> = rows.iter().filter_map(TensorData::bytes).flatten().copied().collect();
    TensorData::new(first.dtype(), &dims, bytes).map_err(|e| e.to_string())
}

/// What an input takes.
pub(super) struct Wanted<'a> {
    pub name: &'a str,
    pub dtype: DType,
    pub ty: &'a ValueType,
    /// Its dims, as far as the model or a binding fixes them.
    pub dims: Vec<Option<u64>>,
}

impl<'a> Wanted<'a> {
    /// Every input that a run of a model is given.
    pub fn all(model: &'a Model, dims: &Bindings) -> Result<Vec<Self>, DataError> {
        let graph = &model.graph;
        let inputs = fed(graph).map(|id| {
            let value = graph.value(id);
            let (Some(dtype), Some(shape)) = (value.ty.dtype(), value.ty.shape()) else {
                let (name, ty) = (&value.name, &value.ty);
                return Err(DataError::Source(format!(
                    "input `{name}` is {ty}, not a tensor of known rank: samples cannot be matched to it"
                )));
            };
            let bound = |(axis, dim): (usize, &Dim)| {
                let by_axis = || dims.get(&format!("{}[{axis}]", value.name));
                dim.known().or_else(|| dim.symbol().map_or_else(by_axis, |s| dims.get(s)).copied())
            };
            let bound = shape.iter().enumerate().map(bound).collect();
            Ok(Self { name: &value.name, dtype, ty: &value.ty, dims: bound })
        });
        let inputs: Vec<Self> = inputs.collect::<Result<_, _>>()?;
        if inputs.is_empty() {
            return Err(DataError::Source("the model has no input, so samples have no use".to_owned()));
        }
        Ok(inputs)
    }

    /// Whether these are dims of the input, from an axis on.
    pub fn agrees(&self, dims: &[u64], from: usize) -> bool {
        let wanted = self.dims.get(from..).unwrap_or_default();
        dims.len() == wanted.len() && dims.iter().zip(wanted).all(|(d, w)| w.is_none_or(|w| w == *d))
    }

    /// The dims as messages say them, from an axis on.
    pub fn shown(&self, from: usize) -> String {
        let dims = self.dims.iter().skip(from).map(|d| d.map_or_else(|| "?".to_owned(), |d| d.to_string()));
        dims.collect::<Vec<_>>().join("x")
    }
}

/// The input of that name.
pub(super) fn named<'w, 'a>(inputs: &'w [Wanted<'a>], name: &str) -> Result<&'w Wanted<'a>, DataError> {
    inputs.iter().find(|w| w.name == name).ok_or_else(|| {
        let known: Vec<_> = inputs.iter().map(|w| format!("`{}`", w.name)).collect();
        DataError::Source(format!("the model has no input `{name}`; its inputs are {}", known.join(", ")))
    })
}
