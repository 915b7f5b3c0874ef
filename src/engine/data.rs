//! Real inputs from `.npz` and `.npy` files.

use std::path::Path;

use super::inputs::fed;
use super::{Bindings, EngineError, npy};
use crate::ir::{DType, Dim, Model, TensorData, ValueType};

/// The largest batch where the model does not fix one.
pub const BATCH: u64 = 32;

/// Names that hold answers or statistics in files of samples. They are read only for an input of that very name.
const NO_INPUTS: &[&str] = &["y", "label", "labels", "target", "targets", "class", "classes", "mean", "std"];

/// Samples for every input of a model.
#[derive(Debug, Clone)]
pub struct Dataset {
    columns: Vec<Column>,
    rows: u64,
    /// The batch that the model fixes.
    batch: Option<u64>,
}

#[derive(Debug, Clone)]
struct Column {
    tensor: TensorData,
    layout: Layout,
}

/// What axis 0 of an array is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Samples, which are batched along axis 0 of the input. The batch, where the model fixes it.
    Rows(Option<u64>),
    /// Samples, each of which is a whole input.
    Items,
    /// No samples: the array is the input, of every sample.
    Whole,
}

struct Wanted<'a> {
    name: &'a str,
    dtype: DType,
    ty: &'a ValueType,
    dims: Vec<Option<u64>>,
}

impl Dataset {
    /// Reads samples for a model: for every input the array of its name, with samples along axis 0.
    ///
    /// A model of one input takes the only array that fits, whatever its name; labels are never read. An array that
    /// has one axis more than the input holds a whole input a sample; one of exactly the input's dims serves every
    /// sample. Floats are rounded to the input's float type, integers must fit the input's integer type, and nothing
    /// else is converted: what the model was trained with (scaling, order of the axes) only its user knows.
    ///
    /// # Errors
    /// [`EngineError::Invalid`], naming file, array and input.
    pub fn load(path: &Path, model: &Model, dims: &Bindings) -> Result<Self, EngineError> {
        let arrays = npy::read(path)?;
        Self::of(&arrays, model, dims)
            .map_err(|what| EngineError::Invalid(format!("{}: {what}", path.display())))
    }

    fn of(arrays: &[(String, TensorData)], model: &Model, dims: &Bindings) -> Result<Self, String> {
        let graph = &model.graph;
        let inputs: Vec<_> = fed(graph).map(|id| graph.value(id)).collect();
        let columns = inputs.iter().map(|value| {
            let (Some(dtype), Some(shape)) = (value.ty.dtype(), value.ty.shape()) else {
                return Err(format!("input `{}` is {}, not a tensor of known rank", value.name, value.ty));
            };
            let bound = |dim: &Dim| dim.known().or_else(|| dims.get(dim.symbol()?).copied());
            let bound = shape.iter().map(bound).collect();
            Wanted { name: &value.name, dtype, ty: &value.ty, dims: bound }.column(arrays, inputs.len() == 1)
        });
        let columns: Vec<Column> = columns.collect::<Result<_, _>>()?;
        if columns.is_empty() {
            return Err("the model has no input".to_owned());
        }
        let items = columns.iter().any(|c| c.layout == Layout::Items);
        let mut batch = items.then_some(1);
        let mut rows = None;
        for (column, value) in columns.iter().zip(&inputs) {
            let count = column.tensor.dims().first().copied().unwrap_or(1);
            if column.layout == Layout::Whole {
                continue;
            }
            if *rows.get_or_insert(count) != count {
                return Err(format!("`{}` holds {count} samples, other inputs hold {rows:?}", value.name));
            }
            if let Layout::Rows(Some(fixed)) = column.layout
                && *batch.get_or_insert(fixed) != fixed
            {
                return Err(format!("`{}` has a batch of {fixed}, other inputs have another", value.name));
            }
        }
        let rows = rows.unwrap_or(1);
        let whole = columns.iter().all(|c| c.layout == Layout::Whole);
        let needed = batch.unwrap_or(1).max(1);
        if rows < needed && !whole {
            return Err(format!("it holds {rows} samples, and one batch of the model takes {needed}"));
        }
        Ok(Self { columns, rows, batch })
    }

    /// Number of samples.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The first samples, in batches as large as the model fixes them, else of at most `batch` samples. Each is a
    /// tensor for every input. A rest that does not fill a fixed batch is left out.
    pub fn batches(&self, samples: u64, batch: u64) -> Vec<Vec<TensorData>> {
        let size = self.batch.unwrap_or(batch).max(1);
        let wanted = samples.max(1).min(self.rows);
        let count = if self.batch.is_some() {
            wanted.div_ceil(size).min(self.rows / size)
        } else {
            wanted.div_ceil(size)
        };
        let one = |index: u64| {
            let start = index * size;
            let end = if self.batch.is_some() { start + size } else { (start + size).min(wanted) };
            self.columns.iter().filter_map(|c| c.part(start, end)).collect()
        };
        (0..count).map(one).collect()
    }
}

impl Column {
    /// The rows `start..end`.
    fn part(&self, start: u64, end: u64) -> Option<TensorData> {
        let dims = self.tensor.dims();
        let mut part = dims.to_vec();
        match self.layout {
            Layout::Whole => return Some(self.tensor.clone()),
            Layout::Items => drop(part.remove(0)),
            Layout::Rows(_) => *part.first_mut()? = end - start,
        }
        let row = self.tensor.len() / usize::try_from(*dims.first()?).ok()?.max(1);
        let (start, end) = (start as usize * row, end as usize * row);
        if let Some(items) = self.tensor.string_items() {
            return TensorData::strings(&part, items.get(start..end)?.to_vec()).ok();
        }
        let width = (self.tensor.dtype().bits() / 8) as usize;
        let bytes = self.tensor.bytes()?;
        (end * width <= bytes.len())
            .then(|| bytes.slice(start * width..end * width))
            .and_then(|bytes| TensorData::new(self.tensor.dtype(), &part, bytes).ok())
    }
}

impl Wanted<'_> {
    fn column(&self, arrays: &[(String, TensorData)], only: bool) -> Result<Column, String> {
        if let Some((_, array)) = arrays.iter().find(|(name, _)| name == self.name) {
            return self.fit(array).map_err(|why| format!("array `{}` is {array:?}: {why}", self.name));
        }
        let names: Vec<_> = arrays.iter().map(|(name, _)| format!("`{name}`")).collect();
        if !only {
            let name = self.name;
            return Err(format!("there is no array for input `{name}`, only {}", names.join(", ")));
        }
        let may_serve = |name: &str| !NO_INPUTS.contains(&name.to_ascii_lowercase().as_str());
        let tried: Vec<_> =
            arrays.iter().filter(|(n, _)| may_serve(n)).map(|(n, a)| (n, a, self.fit(a))).collect();
        let mut fitting = tried.iter().filter(|(_, _, fit)| fit.is_ok());
        match (fitting.next(), fitting.next()) {
            (Some((_, _, Ok(column))), None) => Ok(column.clone()),
            (Some((first, ..)), Some((second, ..))) => Err(format!(
                "`{first}` and `{second}` both fit the input: name the one to take `{}`",
                self.name
            )),
            _ => {
                let why = |(name, array, fit): &(&String, &TensorData, Result<Column, String>)| {
                    fit.as_ref().err().map(|why| format!("`{name}` is {array:?}: {why}"))
                };
                let tried: Vec<_> = tried.iter().filter_map(why).collect();
                let found = if tried.is_empty() { names.join(", ") } else { tried.join("; ") };
                Err(format!("no array fits input `{}`, {}: {found}", self.name, self.ty))
            }
        }
    }

    fn fit(&self, array: &TensorData) -> Result<Column, String> {
        let agree = |dims: &[u64], wanted: &[Option<u64>]| {
            dims.len() == wanted.len() && dims.iter().zip(wanted).all(|(d, w)| w.is_none_or(|w| w == *d))
        };
        let dims = array.dims();
        let layout = if self.dims.iter().all(Option::is_some) && agree(dims, &self.dims) {
            Layout::Whole
        } else if dims.len() == self.dims.len() && !dims.is_empty() && agree(&dims[1..], &self.dims[1..]) {
            Layout::Rows(self.dims[0])
        } else if dims.len() == self.dims.len() + 1 && agree(&dims[1..], &self.dims) {
            Layout::Items
        } else {
            return Err(format!("its dims do not fit {}, with samples along axis 0", self.ty));
        };
        let tensor = convert(array, self.dtype)
            .ok_or_else(|| format!("{} is not converted to {}: scale it first", array.dtype(), self.dtype))?;
        Ok(Column { tensor, layout })
    }
}

/// The same numbers in another type of the same kind.
fn convert(array: &TensorData, dtype: DType) -> Option<TensorData> {
    if array.dtype() == dtype {
        return Some(array.clone());
    }
    if let Some(items) = array.to_f64s() {
        return TensorData::from_f64s(dtype, array.dims(), &items);
    }
    if array.dtype() == DType::Bool || !dtype.is_int() || dtype.bits() < 8 {
        return None;
    }
    let bytes = (dtype.bits() / 8) as usize;
    let items = array.to_i64s()?;
    let fits = |x: i64| match (dtype.is_signed_int(), dtype.bits()) {
        (true, 64) => true,
        (true, bits) => (x >> (bits - 1)) == 0 || (x >> (bits - 1)) == -1,
        (false, 64) => x >= 0,
        (false, bits) => x >> bits == 0,
    };
    let raw: Vec<u8> = items.iter().flat_map(|x| x.to_le_bytes().into_iter().take(bytes)).collect();
    items.iter().all(|&x| fits(x)).then(|| TensorData::new(dtype, array.dims(), raw).ok())?
}

#[cfg(test)]
#[path = "data_tests.rs"]
mod tests;
