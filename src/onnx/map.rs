//! The only file with `unsafe` code: files mapped into memory, and the sink of the writer.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use bytes::buf::UninitSlice;
use bytes::{Buf, BufMut, Bytes};
use memmap2::Mmap;

/// Maps a regular file. The bytes are read when they are touched, and shared by every clone and slice.
pub(crate) fn map(path: &Path) -> io::Result<Bytes> {
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: `Mmap` asks that the file is not changed while it is mapped. This program never writes into an existing
    // file: output goes to a new file that is renamed over the old name, which leaves the mapped file as it is. Another
    // program that shortens or rewrites the file meanwhile can end this one with SIGBUS or give it wrong numbers, as
    // with every program that maps files; nothing here keeps references derived from the content (lengths and offsets
    // are checked against the length of the map, strings are copied out before they are validated).
    let map = unsafe { Mmap::map(&file)? };
    Ok(Bytes::from_owner(map))
}

/// Bytes that are written at once instead of through the buffer.
pub(crate) const LARGE: usize = 8 * 1024;
/// Size of the buffer.
const BUFFER: usize = 64 * 1024;

/// The bytes for which others stand in; `None` for bytes that are what they are.
pub(crate) type Resolve<'r> = &'r dyn Fn(&[u8]) -> Option<Bytes>;

/// Where the protobuf encoder puts its bytes: small pieces into a buffer, large ones straight into the writer.
///
/// The encoder cannot fail, so the first error of the writer is kept until [`Sink::finish`], and what follows is dropped.
pub(crate) struct Sink<'r, W: Write> {
    writer: W,
    resolve: Resolve<'r>,
    buffer: Vec<u8>,
    written: u64,
    error: Option<io::Error>,
}

impl<'r, W: Write> Sink<'r, W> {
    /// A sink that writes there. Large pieces are asked for what they stand for.
    pub(crate) fn new(writer: W, resolve: Resolve<'r>) -> Self {
        Self { writer, resolve, buffer: Vec::with_capacity(BUFFER), written: 0, error: None }
    }

    /// Writes what is left in the buffer. Returns the writer and the number of bytes.
    pub(crate) fn finish(mut self) -> io::Result<(W, u64)> {
        self.drain();
        if let Some(error) = self.error {
            return Err(error);
        }
        self.writer.flush()?;
        Ok((self.writer, self.written))
    }

    fn drain(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        self.write(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.error.is_none() {
            self.error = self.writer.write_all(bytes).err();
            self.written += bytes.len() as u64;
        }
    }
}

// SAFETY: the trait asks that `chunk_mut` hands out memory of this object that `advance_mut` then counts as written.
// Both are those of the vector, which keeps that promise itself; it is only emptied and written between the two.
unsafe impl<W: Write> BufMut for Sink<'_, W> {
    fn remaining_mut(&self) -> usize {
        usize::MAX
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: the caller has filled `count` bytes of what `chunk_mut` returned, which was the vector's spare memory.
        unsafe { self.buffer.advance_mut(count) }
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        if self.buffer.len() == self.buffer.capacity() {
            self.drain();
        }
        self.buffer.chunk_mut()
    }

    fn put<T: Buf>(&mut self, mut source: T) {
        while source.has_remaining() {
            let chunk = source.chunk();
            let count = chunk.len();
            self.put_slice(chunk);
            source.advance(count);
        }
    }

    fn put_slice(&mut self, bytes: &[u8]) {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.drain();
        }
        if bytes.len() >= LARGE {
            self.drain();
            match (self.resolve)(bytes) {
                Some(real) => self.write(&real),
                None => self.write(bytes),
            }
        } else {
            self.buffer.extend_from_slice(bytes);
        }
    }
}
