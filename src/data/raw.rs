//! Files with nothing but elements, as the model takes them: little-endian, row-major.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use super::DataError;
use super::column::{Column, Layout, Rows, Wanted, named};
use super::files::{self, Kind};
use crate::ir::{DType, TensorData};

/// The files, and where the samples in them begin.
struct Files {
    paths: Vec<PathBuf>,
    /// The first sample of every file, and the number of all at the end.
    starts: Vec<usize>,
    /// Bytes of one sample.
    sample: u64,
}

/// What one input takes of every sample.
struct Segment {
    files: Arc<Files>,
    offset: u64,
    bytes: u64,
    dtype: DType,
    dims: Vec<u64>,
}

/// One column for every input that the files hold.
pub(super) fn columns(
    patterns: &[String],
    names: &[String],
    inputs: &[Wanted<'_>],
) -> Result<Vec<Column>, DataError> {
    let held: Vec<&Wanted<'_>> = if names.is_empty() {
        inputs.iter().collect()
    } else {
        names.iter().map(|name| named(inputs, name)).collect::<Result<_, _>>()?
    };
    let mut segments = Vec::new();
    let mut sample = 0u64;
    for wanted in held {
        let (layout, dims) = row_of(wanted)?;
        let count = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
        let bytes = count.and_then(|n| wanted.dtype.byte_len(n)).filter(|&n| n > 0);
        let bytes = bytes.filter(|_| wanted.dtype != DType::String).ok_or_else(|| {
            DataError::Source(format!("input `{}` is {}: raw files cannot hold it", wanted.name, wanted.ty))
        })?;
        segments.push((wanted.name, layout, sample, bytes, wanted.dtype, dims));
        sample =
            sample.checked_add(bytes).ok_or_else(|| DataError::Source("a sample overflows".to_owned()))?;
    }
    let files = Arc::new(Files::of(files::paths(patterns, Kind::Raw)?, sample)?);
    let column = |(name, layout, offset, bytes, dtype, dims): (&str, _, _, _, _, _)| {
        let rows = Box::new(Segment { files: files.clone(), offset, bytes, dtype, dims });
        Column { name: name.to_owned(), layout, rows }
    };
    Ok(segments.into_iter().map(column).collect())
}

/// What one sample holds of an input: all axes but the batch, or all of them where axis 0 is no open batch and no
/// batch of one.
fn row_of(wanted: &Wanted<'_>) -> Result<(Layout, Vec<u64>), DataError> {
    let batched = matches!(wanted.dims.first(), Some(None | Some(1)));
    let (layout, from) = if batched { (Layout::Rows(wanted.dims[0]), 1) } else { (Layout::Items, 0) };
    let dims: Option<Vec<u64>> = wanted.dims.iter().skip(from).copied().collect();
    let open = || {
        let (name, ty) = (wanted.name, wanted.ty);
        let remedy = "bind the open dims with `--bind` or `inputs` in the recipe";
        DataError::Source(format!("raw files cannot tell the size of input `{name}`, {ty}: {remedy}"))
    };
    Ok((layout, dims.ok_or_else(open)?))
}

impl Files {
    fn of(paths: Vec<PathBuf>, sample: u64) -> Result<Self, DataError> {
        let mut starts = vec![0];
        for path in &paths {
            let meta = std::fs::metadata(path).map_err(|e| DataError::at(path.display(), e))?;
            let length = meta.len();
            if length == 0 || !length.is_multiple_of(sample) {
                let what = format!("it holds {length} bytes, and a sample takes {sample}");
                return Err(DataError::at(path.display(), what));
            }
            let before = starts.last().copied().unwrap_or(0);
            starts.push(before + usize::try_from(length / sample).unwrap_or(0));
        }
        Ok(Self { paths, starts, sample })
    }

    /// The file that holds a sample, and which of its samples that is.
    fn find(&self, at: usize) -> (usize, usize) {
        let file = self.starts.partition_point(|&start| start <= at).saturating_sub(1);
        (file, at - self.starts.get(file).copied().unwrap_or(0))
    }
}

impl Rows for Segment {
    fn count(&self) -> Option<usize> {
        self.files.starts.last().copied()
    }

    fn row(&self, at: usize) -> Result<TensorData, String> {
        let (file, sample) = self.files.find(at);
        let path = self.files.paths.get(file).ok_or("there is no such sample")?;
        let read = || {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(sample as u64 * self.files.sample + self.offset))?;
            let mut bytes = vec![0; usize::try_from(self.bytes).unwrap_or(usize::MAX)];
            file.read_exact(&mut bytes).map(|()| bytes)
        };
        let bytes = read().map_err(|error| format!("it cannot be read: {error}"))?;
        if self.dtype == DType::Bool && bytes.iter().any(|&b| b > 1) {
            return Err("a boolean is neither 0 nor 1".to_owned());
        }
        TensorData::new(self.dtype, &self.dims, bytes).map_err(|e| e.to_string())
    }

    fn place(&self, at: usize) -> String {
        let (file, sample) = self.files.find(at);
        let path = self.files.paths.get(file).map(|p| p.display().to_string()).unwrap_or_default();
        let next = self.files.starts.get(file + 1).copied().unwrap_or(0);
        let alone = next - self.files.starts.get(file).copied().unwrap_or(0) == 1;
        if alone { path } else { format!("{path}, sample {sample}") }
    }
}

#[cfg(test)]
#[path = "raw_tests.rs"]
mod tests;
