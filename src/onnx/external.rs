//! External data: files beside the model that hold elements of its tensors.
//!
//! A location is what a stranger wrote into a file. It is followed only to regular files below the model's directory.
//! The `checksum` key is not carried: it is a digest of a whole file that is never written again under its old name.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use crate::onnx::error::{ExternalFault, TensorFault};
use crate::onnx::map;
use crate::onnx::proto::StringStringEntryProto;

/// The external files of one model, each mapped once.
pub(crate) struct ExternalFiles {
    dir: Option<PathBuf>,
    by_location: HashMap<String, Bytes>,
    by_path: HashMap<PathBuf, Bytes>,
}

/// Where the data of one tensor is.
struct Reference<'a> {
    location: &'a str,
    offset: u64,
    length: Option<u64>,
}

impl ExternalFiles {
    /// The files of a model in that directory; `None` for a model that came without one.
    pub(crate) fn beside(dir: Option<PathBuf>) -> Self {
        Self { dir, by_location: HashMap::new(), by_path: HashMap::new() }
    }

    /// Bytes of all files that were opened.
    pub(crate) fn total(&self) -> u64 {
        self.by_path.values().map(|file| file.len() as u64).sum()
    }

    /// The bytes that a tensor's `external_data` names: `needed` of them, unless it gives a length itself.
    pub(crate) fn slice(
        &mut self,
        entries: &[StringStringEntryProto],
        needed: u64,
    ) -> Result<Bytes, TensorFault> {
        let location = entries.iter().find(|e| e.key() == "location").map_or("", |e| e.value());
        let at = |fault| TensorFault::External { location: location.to_owned(), fault };
        let reference = Reference::of(entries).map_err(at)?;
        let file = self.file(reference.location).map_err(at)?;
        let (offset, length) = (reference.offset, reference.length.unwrap_or(needed));
        let end = offset.checked_add(length).filter(|&end| end <= file.len() as u64);
        let end =
            end.ok_or_else(|| at(ExternalFault::OutOfRange { offset, length, size: file.len() as u64 }))?;
        Ok(file.slice(offset as usize..end as usize))
    }

    fn file(&mut self, location: &str) -> Result<Bytes, ExternalFault> {
        if let Some(file) = self.by_location.get(location) {
            return Ok(file.clone());
        }
        let dir = self.dir.as_ref().ok_or(ExternalFault::NoDirectory)?;
        let path = resolve(dir, location)?;
        let file = match self.by_path.get(&path) {
            Some(file) => file.clone(),
            None => map::map(&path).map_err(|cause| ExternalFault::Read { cause })?,
        };
        self.by_path.insert(path, file.clone());
        self.by_location.insert(location.to_owned(), file.clone());
        Ok(file)
    }
}

impl<'a> Reference<'a> {
    fn of(entries: &'a [StringStringEntryProto]) -> Result<Self, ExternalFault> {
        let get = |key: &'static str| {
            let mut found = entries.iter().filter(|e| e.key() == key).map(StringStringEntryProto::value);
            let value = found.next();
            if found.next().is_some() { Err(ExternalFault::Repeated { key }) } else { Ok(value) }
        };
        let number = |key: &'static str| {
            let not = |text: &str| ExternalFault::NotANumber { key, text: text.to_owned() };
            get(key)?.map(|text| text.trim().parse::<u64>().map_err(|_| not(text))).transpose()
        };
        let location = get("location")?.filter(|l| !l.is_empty()).ok_or(ExternalFault::NoLocation)?;
        Ok(Self { location, offset: number("offset")?.unwrap_or(0), length: number("length")? })
    }
}

/// The real path of a location: a regular file below the directory, whatever links are on the way.
fn resolve(dir: &Path, location: &str) -> Result<PathBuf, ExternalFault> {
    let mut depth = 0usize;
    for component in Path::new(location).components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => depth = depth.checked_sub(1).ok_or(ExternalFault::Leaves)?,
            Component::RootDir | Component::Prefix(_) => return Err(ExternalFault::Absolute),
        }
    }
    let real = |path: &Path| path.canonicalize().map_err(|cause| ExternalFault::Read { cause });
    let (dir, path) = (real(dir)?, real(&dir.join(location))?);
    if !path.starts_with(&dir) {
        return Err(ExternalFault::LinkOut);
    }
    let meta = path.metadata().map_err(|cause| ExternalFault::Read { cause })?;
    if meta.is_file() { Ok(path) } else { Err(ExternalFault::NotAFile) }
}
