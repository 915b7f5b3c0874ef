//! Samples from `.npz` and `.npy` files.

use std::collections::BTreeMap;

use super::column::{Column, Layout, Rows, Wanted, named};
use super::files::{self, Kind};
use super::source::ArrayFiles;
use super::{DataError, npy};
use crate::ir::{DType, TensorData};

/// Names that hold answers or statistics in files of samples. They are read only for an input of that very name.
const NO_INPUTS: &[&str] = &["y", "label", "labels", "target", "targets", "class", "classes", "mean", "std"];

/// The arrays of a file, by name.
type Named = [(String, TensorData)];

/// An array that fits an input.
#[derive(Debug, Clone)]
struct Fitted {
    place: String,
    tensor: TensorData,
    layout: Layout,
    /// How many samples it serves.
    count: usize,
}

/// Files each of which holds all inputs.
///
/// A model of one input takes the only array that fits, whatever its name; labels are never read. An array that has one
/// axis more than the input holds a whole input a sample; one of exactly the input's dims serves every sample of its
/// file. Floats are rounded to the input's float type, integers must fit the input's integer type, and nothing else is
/// converted: what the model was trained with (scaling, order of the axes) only its user knows.
pub(super) fn together(patterns: &[String], inputs: &[Wanted<'_>]) -> Result<Vec<Column>, DataError> {
    let mut files = Vec::new();
    for path in files::paths(patterns, Kind::Arrays)? {
        files.push((path.display().to_string(), npy::read(&path)?));
    }
    columns(&files, inputs)
}

/// Columns of files that hold all inputs.
fn columns(
    files: &[(String, Vec<(String, TensorData)>)],
    inputs: &[Wanted<'_>],
) -> Result<Vec<Column>, DataError> {
    let alone = inputs.len() == 1;
    let mut fitted: Vec<Vec<Fitted>> = Vec::new();
    for wanted in inputs {
        let fit = |(place, arrays): &(String, Vec<_>)| wanted.choose(arrays, alone, place);
        fitted.push(same_layout(files.iter().map(fit).collect::<Result<_, _>>()?)?);
    }
    for at in 0..files.len() {
        let counts = fitted.iter().filter(|c| c[at].layout != Layout::Whole).map(|c| c[at].count);
        let count = counts.max().unwrap_or(1);
        fitted.iter_mut().filter(|c| c[at].layout == Layout::Whole).for_each(|c| c[at].count = count);
        if let Some((column, wanted)) = fitted.iter().zip(inputs).find(|(c, _)| c[at].count != count) {
            let (name, found) = (wanted.name, column[at].count);
            let what = format!("`{name}` holds {found} samples, other inputs hold {count}");
            return Err(DataError::at(&files[at].0, what));
        }
    }
    let column = |(parts, wanted): (Vec<Fitted>, &Wanted<'_>)| Parts::column(wanted, parts);
    Ok(fitted.into_iter().zip(inputs).map(column).collect())
}

/// Files for every input.
pub(super) fn by_input(
    by_input: &BTreeMap<String, ArrayFiles>,
    inputs: &[Wanted<'_>],
) -> Result<Vec<Column>, DataError> {
    let column = |(name, from): (&String, &ArrayFiles)| {
        let wanted = named(inputs, name)?;
        let mut parts = Vec::new();
        for path in files::paths(&from.files, Kind::Arrays)? {
            let arrays = npy::read(&path)?;
            let place = path.display().to_string();
            parts.push(match &from.array {
                Some(array) => wanted.take(&arrays, array, &place)?,
                None => wanted.choose(&arrays, true, &place)?,
            });
        }
        Ok(Parts::column(wanted, same_layout(parts)?))
    };
    by_input.iter().map(column).collect()
}

/// Arrays of several files with the samples in the same place.
fn same_layout(mut parts: Vec<Fitted>) -> Result<Vec<Fitted>, DataError> {
    let Some(layout) = parts.iter().map(|p| p.layout).find(|&l| l != Layout::Whole) else { return Ok(parts) };
    for part in &mut parts {
        match (part.layout, layout) {
            // A batch that fills the model's is as well a whole input.
            (Layout::Whole, Layout::Rows(_)) => {
                part.count = part.tensor.dims().first().map_or(1, |&n| n as usize);
                part.layout = layout;
            }
            (Layout::Whole, _) => {}
            (own, all) if own == all => {}
            _ => {
                return Err(DataError::at(
                    &part.place,
                    "its samples lie along another axis than in other files",
                ));
            }
        }
    }
    Ok(parts)
}

/// The arrays of one input, one after another.
struct Parts {
    parts: Vec<Fitted>,
    starts: Vec<usize>,
}

impl Parts {
    fn column(wanted: &Wanted<'_>, parts: Vec<Fitted>) -> Column {
        let layout = parts.iter().map(|p| p.layout).find(|&l| l != Layout::Whole).unwrap_or(Layout::Whole);
        let starts = parts.iter().scan(0, |next, part| {
            let start = *next;
            *next += part.count;
            Some(start)
        });
        let starts = starts.collect();
        Column { name: wanted.name.to_owned(), layout, rows: Box::new(Self { parts, starts }) }
    }

    /// The array that holds a sample, and which of its samples that is.
    fn find(&self, at: usize) -> Option<(&Fitted, usize)> {
        let part = self.starts.partition_point(|&start| start <= at).checked_sub(1)?;
        Some((self.parts.get(part)?, at - self.starts.get(part)?))
    }
}

impl Rows for Parts {
    fn count(&self) -> Option<usize> {
        match self.parts.as_slice() {
            [Fitted { layout: Layout::Whole, .. }] => None,
            parts => Some(parts.iter().map(|p| p.count).sum()),
        }
    }

    fn row(&self, at: usize) -> Result<TensorData, String> {
        let (part, row) = self.find(at).ok_or("there is no such sample")?;
        part.row(row).ok_or_else(|| "the array ends before the sample".to_owned())
    }

    fn place(&self, at: usize) -> String {
        match self.find(at) {
            Some((part, _)) if part.count == 1 || part.layout == Layout::Whole => part.place.clone(),
            Some((part, row)) => format!("{}, sample {row}", part.place),
            None => format!("sample {at}"),
        }
    }
}

impl Fitted {
    /// A sample, without the axis of the samples.
    fn row(&self, at: usize) -> Option<TensorData> {
        let tensor = &self.tensor;
        if self.layout == Layout::Whole {
            return Some(tensor.clone());
        }
        let dims = tensor.dims().get(1..)?;
        let row = tensor.len() / usize::try_from(*tensor.dims().first()?).ok()?.max(1);
        let (start, end) = (at.checked_mul(row)?, at.checked_add(1)?.checked_mul(row)?);
        if let Some(items) = tensor.string_items() {
            return TensorData::strings(dims, items.get(start..end)?.to_vec()).ok();
        }
        let width = (tensor.dtype().bits() / 8) as usize;
        let bytes = tensor.bytes()?;
        (end * width <= bytes.len())
            .then(|| bytes.slice(start * width..end * width))
            .and_then(|bytes| TensorData::new(tensor.dtype(), dims, bytes).ok())
    }
}

impl Wanted<'_> {
    /// The array of a name.
    fn take(&self, arrays: &Named, name: &str, place: &str) -> Result<Fitted, DataError> {
        let found = arrays.iter().find(|(n, _)| n == name).ok_or_else(|| {
            DataError::at(place, format!("there is no array `{name}`, only {}", list(arrays)))
        });
        let array = &found?.1;
        self.fit(array, place)
            .map_err(|why| DataError::at(place, format!("array `{name}` is {array:?}: {why}")))
    }

    /// The array of the input's name; where any name may do, else the only one that fits.
    fn choose(&self, arrays: &Named, any: bool, place: &str) -> Result<Fitted, DataError> {
        let wrong = |what: String| Err(DataError::at(place, what));
        if arrays.iter().any(|(name, _)| name == self.name) {
            return self.take(arrays, self.name, place);
        }
        if !any {
            let what = format!("there is no array for input `{}`, only {}", self.name, list(arrays));
            return wrong(what);
        }
        let may_serve = |name: &str| !NO_INPUTS.contains(&name.to_ascii_lowercase().as_str());
        let tried = arrays.iter().filter(|(n, _)| may_serve(n) || arrays.len() == 1);
        let tried: Vec<_> = tried.map(|(n, a)| (n, a, self.fit(a, place))).collect();
        let mut fitting = tried.iter().filter_map(|(name, _, fit)| Some((name, fit.as_ref().ok()?)));
        match (fitting.next(), fitting.next()) {
            (Some((_, fitted)), None) => Ok(fitted.clone()),
            (Some((a, _)), Some((b, _))) => {
                wrong(format!("`{a}` and `{b}` both fit the input: name the one to take `{}`", self.name))
            }
            _ => {
                let why = |(name, array, fit): &(&String, &TensorData, Result<Fitted, String>)| {
                    fit.as_ref().err().map(|why| format!("`{name}` is {array:?}: {why}"))
                };
                let why: Vec<_> = tried.iter().filter_map(why).collect();
                let found = if why.is_empty() { list(arrays) } else { why.join("; ") };
                wrong(format!("no array fits input `{}`, {}: {found}", self.name, self.ty))
            }
        }
    }

    fn fit(&self, array: &TensorData, place: &str) -> Result<Fitted, String> {
        let dims = array.dims();
        let layout = if self.dims.iter().all(Option::is_some) && self.agrees(dims, 0) {
            Layout::Whole
        } else if dims.len() == self.dims.len() && !dims.is_empty() && self.agrees(&dims[1..], 1) {
            Layout::Rows(self.dims[0])
        } else if dims.len() == self.dims.len() + 1 && self.agrees(&dims[1..], 0) {
            Layout::Items
        } else {
            return Err(format!("its dims do not fit {}, with samples along axis 0", self.ty));
        };
        let tensor = convert(array, self.dtype)
            .ok_or_else(|| format!("{} is not converted to {}: scale it first", array.dtype(), self.dtype))?;
        let count = if layout == Layout::Whole { 1 } else { dims.first().map_or(0, |&n| n as usize) };
        Ok(Fitted { place: place.to_owned(), tensor, layout, count })
    }
}

fn list(arrays: &Named) -> String {
    if arrays.is_empty() {
        return "nothing".to_owned();
    }
    arrays.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
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
#[path = "arrays_tests.rs"]
mod tests;
