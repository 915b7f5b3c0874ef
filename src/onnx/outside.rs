//! Weights written to a file beside the model.
//!
//! Layout: tensors follow each other in file order; one of 1 MiB or more starts at a multiple of 64 KiB, which every
//! system can map by itself, a smaller one at a multiple of 4 KiB. The gaps are zero. The file is named after its
//! content, `<stem>-<hash>.data`, so that a model never meets the data of another version of itself.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;

use super::error::OnnxError;
use super::external::ExternalFiles;
use super::hash::ContentHash;
use super::load::{decode, directory_of};
use super::proto::tensor_proto::DataLocation;
use super::proto::{ModelProto, StringStringEntryProto, TensorProto};
use super::replace::{Pending, sync_directory};
use super::save::{EXTERNAL_THRESHOLD, ExternalData, LIMIT};
use super::visit::{self, Stand, Visit};
use super::write::{Deferrals, Written};
use super::{map, read};
use crate::ir::DType;

/// From this size on a tensor starts at a multiple of [`LARGE_ALIGN`].
const LARGE: u64 = 1 << 20;
const LARGE_ALIGN: u64 = 64 << 10;
const SMALL_ALIGN: u64 = 4 << 10;
/// What the model may take without its initializers, before other tensors go outside too: the references take room.
const ROOM: u64 = LIMIT - (64 << 20);

/// Which tensors go outside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chosen {
    threshold: u64,
    /// Tensors in attributes and functions too, because the initializers are not enough.
    all: bool,
}

/// Decides which tensors go outside; `None` where the model keeps all.
pub(super) fn chosen(proto: &mut ModelProto, external: ExternalData) -> Result<Option<Chosen>, OnnxError> {
    let size = proto.encoded_len() as u64;
    let mut chosen = match external {
        ExternalData::Never => return Ok(None),
        ExternalData::Auto if size <= LIMIT => return Ok(None),
        ExternalData::Auto => Chosen { threshold: EXTERNAL_THRESHOLD, all: false },
        ExternalData::Always { threshold } => Chosen { threshold: threshold.max(1), all: false },
    };
    let mut outside = 0u64;
    chosen.each(proto, &mut |tensor, _| {
        outside = outside.saturating_add(data_len(tensor));
        Ok(())
    })?;
    chosen.all = size.saturating_sub(outside) > ROOM;
    Ok(Some(chosen))
}

/// Bytes of a tensor's elements; 0 for strings, which stay in the model.
fn data_len(tensor: &TensorProto) -> u64 {
    let count = tensor.dims.iter().map(|&d| u64::try_from(d).unwrap_or(0)).try_fold(1u64, u64::checked_mul);
    let dtype = DType::from_code(tensor.data_type()).filter(|&d| d != DType::String);
    dtype.zip(count).and_then(|(dtype, count)| dtype.byte_len(count)).unwrap_or(0)
}

impl Chosen {
    /// Visits the tensors that go outside.
    fn each(self, proto: &mut ModelProto, visit: Visit<'_>) -> Result<(), OnnxError> {
        visit::model(proto, &mut |tensor, stand| {
            let is_chosen = data_len(tensor) >= self.threshold && (self.all || stand == Stand::Initializer);
            if is_chosen { visit(tensor, stand) } else { Ok(()) }
        })
    }

    /// Writes the data file beside the model, and the references to it into the model; `None` where nothing is large
    /// enough to go there.
    pub(super) fn write(
        self,
        written: &mut Written,
        model: &Path,
        durable: bool,
    ) -> Result<Option<Outside>, OnnxError> {
        let failed = |cause| OnnxError::Write { path: model.display().to_string(), cause };
        let Written { proto, deferred } = written;
        let (pending, file) = Pending::beside(model).map_err(failed)?;
        let mut layout = Layout { writer: BufWriter::new(file), hash: ContentHash::new(), end: 0 };
        self.each(proto, &mut |tensor, _| {
            let bytes = take_bytes(tensor, deferred)?;
            let offset = layout.append(&bytes).map_err(failed)?;
            tensor.data_location = Some(DataLocation::External as i32);
            let (offset, length) = (offset.to_string(), bytes.len().to_string());
            tensor.external_data =
                vec![entry("location", String::new()), entry("offset", offset), entry("length", length)];
            Ok(())
        })?;
        if layout.end == 0 {
            return Ok(None);
        }
        let (bytes, hash, file) = layout.finish().map_err(failed)?;
        if durable {
            file.sync_all().map_err(failed)?;
        }
        let location = format!("{}-{hash:016x}.data", stem(model));
        visit::model(proto, &mut |tensor, _| {
            // No tensor has any but those of above: reading brings the bytes of all others in.
            if let Some(first) = tensor.external_data.first_mut() {
                first.value = Some(location.clone());
            }
            Ok(())
        })?;
        let directory = directory_of(model);
        let path = directory.join(location);
        let is_new = !path.exists();
        pending.put(&path).map_err(failed)?;
        let outside = Outside { path, bytes, is_new };
        if durable {
            sync_directory(&directory).map_err(failed)?;
        }
        Ok(Some(outside))
    }
}

/// Takes the elements out of a tensor, laid out as `raw_data`.
fn take_bytes(tensor: &mut TensorProto, deferred: &Deferrals) -> Result<Bytes, OnnxError> {
    if let Some(bytes) = tensor.raw_data.take() {
        return Ok(deferred.resolve(&bytes).unwrap_or(bytes));
    }
    let whole = std::mem::take(tensor);
    *tensor = TensorProto {
        dims: whole.dims.clone(),
        data_type: whole.data_type,
        name: whole.name.clone(),
        doc_string: whole.doc_string.clone(),
        metadata_props: whole.metadata_props.clone(),
        ..TensorProto::default()
    };
    let place = || format!("tensor `{}`", tensor.name());
    let data = read::tensor(whole, &mut ExternalFiles::beside(None));
    let data = data.map_err(|fault| OnnxError::Tensor { place: place(), fault })?;
    Ok(data.bytes().cloned().unwrap_or_default())
}

fn entry(key: &str, value: String) -> StringStringEntryProto {
    StringStringEntryProto { key: Some(key.to_owned()), value: Some(value) }
}

/// The data file as it is written.
struct Layout {
    writer: BufWriter<File>,
    hash: ContentHash,
    end: u64,
}

impl Layout {
    /// Appends the elements of a tensor. Returns where they start.
    fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let align = if bytes.len() as u64 >= LARGE { LARGE_ALIGN } else { SMALL_ALIGN };
        let start = self.end.next_multiple_of(align);
        let gap = vec![0; (start - self.end) as usize];
        for bytes in [&gap, bytes] {
            self.hash.update(bytes);
            self.writer.write_all(bytes)?;
        }
        self.end = start + bytes.len() as u64;
        Ok(start)
    }

    /// Size, hash and file.
    fn finish(self) -> io::Result<(u64, u64, File)> {
        let file = self.writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok((self.end, self.hash.finish(), file))
    }
}

/// A data file that has its name. Dropped before [`Outside::keep`], it is removed, unless it was there before.
pub(super) struct Outside {
    path: PathBuf,
    bytes: u64,
    is_new: bool,
}

impl Outside {
    /// Leaves the file where it is. Returns its path and size.
    pub(super) fn keep(mut self) -> (PathBuf, u64) {
        self.is_new = false;
        (std::mem::take(&mut self.path), self.bytes)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        if self.is_new {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn stem(model: &Path) -> String {
    model.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned())
}

/// The data files, written by [`Chosen::write`], of the model that is at a path now.
pub(super) fn owned_files(model: &Path) -> Vec<PathBuf> {
    let is_file = model.metadata().is_ok_and(|m| m.is_file());
    let old = if is_file { map::map(model).ok() } else { None };
    let Some(Ok(mut proto)) = old.map(|bytes| decode(&bytes, "the old model")) else { return Vec::new() };
    let (directory, stem) = (directory_of(model), stem(model));
    let mut files = Vec::new();
    let visited = visit::model(&mut proto, &mut |tensor, _| {
        let location = tensor.external_data.iter().find(|e| e.key() == "location");
        if let Some(location) = location.filter(|e| is_ours(e.value(), &stem)) {
            files.push(directory.join(location.value()));
        }
        Ok(())
    });
    files.dedup();
    if visited.is_ok() { files } else { Vec::new() }
}

/// Whether a location is one that [`Chosen::write`] makes up for a model of that stem.
fn is_ours(location: &str, stem: &str) -> bool {
    let hash = location.strip_prefix(stem).and_then(|l| l.strip_prefix('-')?.strip_suffix(".data"));
    hash.is_some_and(|h| h.len() == 16 && h.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_pattern_are_ours() {
        assert!(is_ours("m-0123456789abcdef.data", "m"));
        for other in [
            "m.data",
            "m-0123456789abcde.data",
            "m-0123456789ABCDEF.data",
            "n-0123456789abcdef.data",
            "../m-0123456789abcdef.data",
        ] {
            assert!(!is_ours(other, "m"), "{other}");
        }
    }
}
