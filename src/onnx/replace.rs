//! Files that appear whole or not at all.
//!
//! Output goes to a temporary file beside the target, `.<name>.onnxpress-<pid>-<n>.tmp`, and is renamed over it. A kill
//! leaves the old file or the new one, and at worst a temporary file, which the next run for the same target removes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::load::directory_of;

/// Numbers the temporary files of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// As much of the target's name as leaves room for the rest in the 255 bytes of a file name.
const LONGEST: usize = 190;

/// A file that is not yet where it belongs. Dropped before [`Pending::put`], it is removed.
pub(super) struct Pending {
    temporary: PathBuf,
    is_placed: bool,
}

impl Pending {
    /// A new file in the directory of a target, named after the target.
    pub(super) fn beside(target: &Path) -> io::Result<(Self, File)> {
        let directory = directory_of(target);
        let mut name = target.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        name.truncate(name.floor_char_boundary(LONGEST));
        sweep(&directory, &name);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let temporary = directory.join(format!(".{name}.onnxpress-{}-{number}.tmp", std::process::id()));
            match File::create_new(&temporary) {
                Ok(file) => return Ok((Self { temporary, is_placed: false }, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the file its name, in the directory where it is.
    pub(super) fn put(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.temporary, target)?;
        self.is_placed = true;
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.is_placed {
            // What is left is removed by the next run.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Makes the names in a directory last through a power failure. Where directories cannot be opened, there is no need.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

/// Removes temporary files for the same name that a killed process left.
fn sweep(directory: &Path, name: &str) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let is_stale = entry.file_name().to_str().and_then(|found| owner(found, name)).is_some_and(is_gone);
        if is_stale {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Process and number of a temporary file for that name.
fn owner(found: &str, name: &str) -> Option<(u32, u64)> {
    let rest = found.strip_prefix('.')?.strip_prefix(name)?.strip_prefix(".onnxpress-")?;
    let (process, number) = rest.strip_suffix(".tmp")?.split_once('-')?;
    Some((process.parse().ok()?, number.parse().ok()?))
}

/// Whether nobody writes such a file any more: its process has ended, or had our id before us. Where the system does not
/// tell, nobody knows, and the file stays.
fn is_gone((process, number): (u32, u64)) -> bool {
    if process == std::process::id() {
        return number >= NEXT.load(Ordering::Relaxed);
    }
    if !Path::new("/proc/self").exists() {
        return false;
    }
    // Where nobody waits for a killed process, it stays in the table as a zombie.
    let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { return true };
    stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_pending_file_leaves_no_trace_unless_it_is_put() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("m.onnx");
        fs::write(&target, "old").unwrap();
        let (pending, _) = Pending::beside(&target).unwrap();
        assert_eq!(names(dir.path()).len(), 2);
        drop(pending);
        let unwound = std::panic::catch_unwind(|| {
            let _pending = Pending::beside(&dir.path().join("m.onnx")).unwrap();
            panic!("on purpose");
        });
        assert!(unwound.is_err());
        assert_eq!(names(dir.path()), ["m.onnx"]);
        let (pending, _) = Pending::beside(&target).unwrap();
        pending.put(&target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"");
        assert_eq!(names(dir.path()), ["m.onnx"]);
    }

    #[test]
    fn what_dead_processes_left_is_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let own = std::process::id();
        // No process has an id beyond the 22 bits that Linux allows. The last but one has our id, but is not ours.
        for name in [
            ".m.onnx.onnxpress-99999999-0.tmp".to_owned(),
            format!(".m.onnx.onnxpress-{own}-999999.tmp"),
            ".other.onnx.onnxpress-99999999-0.tmp".to_owned(),
            ".m.onnx.onnxpress-x-0.tmp".to_owned(),
            ".m.onnx.onnxpress-1-0.tmp".to_owned(),
        ] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        drop(Pending::beside(&dir.path().join("m.onnx")).unwrap());
        if cfg!(target_os = "linux") {
            assert_eq!(
                names(dir.path()),
                [
                    ".m.onnx.onnxpress-1-0.tmp",
                    ".m.onnx.onnxpress-x-0.tmp",
                    ".other.onnx.onnxpress-99999999-0.tmp"
                ]
            );
        }
    }
}
