//! Files → protobuf.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;

use super::error::OnnxError;
use super::external::ExternalFiles;
use super::proto::ModelProto;
use super::warning::Warning;
use super::{Loaded, map, read, unknown};

/// How every pointer file of git-lfs begins.
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Reads the model at a path; `-` is standard input.
///
/// A regular file is mapped: its weights stay where they are until they are needed.
///
/// # Errors
/// What is wrong with the file, in one line.
pub fn load(path: impl AsRef<Path>) -> Result<Loaded, OnnxError> {
    let path = path.as_ref();
    if path == Path::new("-") {
        let name = "standard input";
        let bytes = all_of(io::stdin().lock()).map_err(|cause| unreadable(name, cause))?;
        return from_bytes(&bytes, name, None);
    }
    let name = path.display().to_string();
    let meta = path.metadata().map_err(|cause| unreadable(&name, cause))?;
    if meta.is_dir() {
        return Err(OnnxError::IsDirectory { path: name });
    }
    let bytes = if meta.is_file() { map::map(path) } else { File::open(path).and_then(all_of) };
    from_bytes(&bytes.map_err(|cause| unreadable(&name, cause))?, &name, Some(directory_of(path)))
}

/// Reads a model from memory. Its external data, if it has any, is looked for in `directory`.
///
/// # Errors
/// What is wrong with the bytes, in one line.
pub fn load_bytes(bytes: impl Into<Bytes>, directory: Option<&Path>) -> Result<Loaded, OnnxError> {
    from_bytes(&bytes.into(), "the model", directory.map(Path::to_path_buf))
}

/// The directory that holds a file.
pub(super) fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

fn unreadable(path: &str, cause: io::Error) -> OnnxError {
    OnnxError::Read { path: path.to_owned(), cause }
}

fn all_of(mut source: impl Read) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

fn from_bytes(bytes: &Bytes, path: &str, directory: Option<PathBuf>) -> Result<Loaded, OnnxError> {
    let proto = decode(bytes, path)?;
    let mut warnings: Vec<Warning> = unknown::unknown_fields(bytes);
    let mut loaded = read::read(proto, ExternalFiles::beside(directory))?;
    warnings.append(&mut loaded.warnings);
    Ok(Loaded { warnings, bytes: loaded.bytes + bytes.len() as u64, ..loaded })
}

/// Decodes a model; says what is wrong with bytes that are none.
pub(super) fn decode(bytes: &Bytes, path: &str) -> Result<ModelProto, OnnxError> {
    let path = || path.to_owned();
    if bytes.is_empty() {
        return Err(OnnxError::Empty { path: path() });
    }
    if bytes.starts_with(LFS) {
        return Err(OnnxError::LfsPointer { path: path() });
    }
    let proto = ModelProto::decode(bytes.clone()).map_err(|error| {
        let reason = error.to_string();
        if reason.ends_with("recursion limit reached") {
            return OnnxError::TooDeep { path: path() };
        }
        match unknown::cut_off(bytes) {
            Some((field, needed, found)) => OnnxError::Truncated { path: path(), field, needed, found },
            None => OnnxError::NotOnnx { path: path(), reason },
        }
    })?;
    if proto.graph.is_some() { Ok(proto) } else { Err(OnnxError::NoGraph { path: path() }) }
}
