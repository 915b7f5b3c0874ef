//! IR → files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use prost::Message;

use super::error::OnnxError;
use super::load::directory_of;
use super::map::Sink;
use super::outside;
use super::replace::{Pending, sync_directory};
use super::write::{self, Written};
use crate::ir::Checked;

/// What one protobuf message may take: its length is a signed 32-bit number in most readers.
pub(super) const LIMIT: u64 = 2_147_483_647;

/// Smallest tensor that goes to a file of its own by default, in bytes.
pub const EXTERNAL_THRESHOLD: u64 = 1024;

/// How a model is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SaveOptions {
    /// Where the weights go.
    pub external: ExternalData,
    /// Whether everything is on the disk before [`save`] returns.
    pub durable: bool,
}

/// Where the weights go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExternalData {
    /// Into the model, unless it would be larger than the 2 GiB that a protobuf file can hold.
    #[default]
    Auto,
    /// Into a file beside the model: every initializer of at least so many bytes.
    Always {
        /// Smallest tensor that goes there, in bytes; see [`EXTERNAL_THRESHOLD`].
        threshold: u64,
    },
    /// Into the model, or an error.
    Never,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaveReport {
    /// Size of the model file.
    pub bytes: u64,
    /// The file beside it, and its size.
    pub external: Option<(PathBuf, u64)>,
}

impl SaveReport {
    /// Size of all that was written.
    pub fn total(&self) -> u64 {
        self.bytes + self.external.as_ref().map_or(0, |(_, bytes)| *bytes)
    }
}

/// Writes a model to a path; `-` is standard output.
///
/// The file appears under its name only when it is complete, so the path may be that of the file which the model was read
/// from. An external data file that the replaced model had, and that an earlier call wrote for it, is removed.
///
/// # Errors
/// What keeps the model from being written, in one line. The target is as it was.
pub fn save(
    model: Checked<'_>,
    path: impl AsRef<Path>,
    options: &SaveOptions,
) -> Result<SaveReport, OnnxError> {
    let path = path.as_ref();
    let mut written = write::write(model)?;
    if path == Path::new("-") {
        return stream(&written, options, io::stdout().lock(), "standard output");
    }
    let name = path.display().to_string();
    if !is_replaceable(path, &name)? {
        let cause = |cause| OnnxError::Write { path: name.clone(), cause };
        return stream(&written, options, File::options().write(true).open(path).map_err(cause)?, &name);
    }
    let cause = |cause| OnnxError::Write { path: name.clone(), cause };
    let obsolete = outside::owned_files(path);
    let outside = match outside::chosen(&mut written.proto, options.external)? {
        None => None,
        Some(chosen) => chosen.write(&mut written, path, options.durable)?,
    };
    let bytes = u64::try_from(written.proto.encoded_len()).unwrap_or(u64::MAX);
    if bytes > LIMIT {
        return Err(too_large(bytes, options.external));
    }
    write_model(&written, path, options.durable).map_err(cause)?;
    let external = outside.map(outside::Outside::keep);
    let kept = external.as_ref().and_then(|(path, _)| path.file_name());
    for file in obsolete.iter().filter(|f| f.file_name() != kept) {
        // Left behind it is of no use to anyone, but does no harm either.
        let _ = fs::remove_file(file);
    }
    Ok(SaveReport { bytes, external })
}

/// Whether [`save`] can write to a path, as far as that can be told without doing it.
///
/// # Errors
/// As [`save`].
pub fn check_target(path: impl AsRef<Path>) -> Result<(), OnnxError> {
    let path = path.as_ref();
    if path == Path::new("-") {
        return Ok(());
    }
    is_replaceable(path, &path.display().to_string()).map(drop)
}

fn write_model(written: &Written, path: &Path, durable: bool) -> io::Result<()> {
    let (pending, file) = Pending::beside(path)?;
    let (file, _) = encode_into(written, file)?;
    if durable {
        file.sync_all()?;
    }
    pending.put(path)?;
    if durable { sync_directory(&directory_of(path)) } else { Ok(()) }
}

fn encode_into<W: Write>(written: &Written, writer: W) -> io::Result<(W, u64)> {
    let resolve = |bytes: &[u8]| written.deferred.resolve(bytes);
    let mut sink = Sink::new(writer, &resolve);
    written.proto.encode_raw(&mut sink);
    sink.finish()
}

/// Writes to what cannot be renamed over: a pipe, a terminal, a device.
fn stream(
    written: &Written,
    options: &SaveOptions,
    writer: impl Write,
    name: &str,
) -> Result<SaveReport, OnnxError> {
    if matches!(options.external, ExternalData::Always { .. }) {
        let reason = "external data needs a model file to stand beside; give a file name";
        return Err(OnnxError::Target { path: name.to_owned(), reason });
    }
    let bytes = u64::try_from(written.proto.encoded_len()).unwrap_or(u64::MAX);
    if bytes > LIMIT {
        return Err(too_large(bytes, ExternalData::Never));
    }
    let cause = |cause| OnnxError::Write { path: name.to_owned(), cause };
    encode_into(written, writer).map_err(cause)?;
    Ok(SaveReport { bytes, external: None })
}

/// Whether a file can be renamed over the path; `false` for what must be written into instead.
fn is_replaceable(path: &Path, name: &str) -> Result<bool, OnnxError> {
    let refuse = |reason| Err(OnnxError::Target { path: name.to_owned(), reason });
    if path.file_name().is_none() {
        return refuse("it is no file name");
    }
    if !directory_of(path).is_dir() {
        return refuse("its directory does not exist");
    }
    match path.metadata() {
        Ok(meta) if meta.is_dir() => refuse("it is a directory; give a file name"),
        Ok(meta) if meta.is_file() && meta.permissions().readonly() => refuse("it is read-only"),
        Ok(meta) => Ok(meta.is_file()),
        Err(_) => Ok(true),
    }
}

fn too_large(bytes: u64, external: ExternalData) -> OnnxError {
    let hint = match external {
        ExternalData::Never => "write it to a file with external data",
        ExternalData::Auto | ExternalData::Always { .. } => "what is left without its weights is too large",
    };
    OnnxError::TooLarge { bytes, hint }
}
