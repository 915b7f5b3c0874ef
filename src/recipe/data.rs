//! Data sets: which files, by path or glob.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use super::error::{RecipeError, one_line};
use super::tree::{Kind, Tree};

/// Files of samples.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DataSet {
    /// Paths or globs, in order; relative ones start from the working directory of the program.
    pub files: Vec<String>,
    /// At most so many samples.
    pub limit: Option<u64>,
}

impl DataSet {
    pub(super) fn read(tree: &Tree) -> Result<Self, RecipeError> {
        tree.map_of("a data set", &["files", "limit"])?;
        let files = tree.get("files").ok_or_else(|| tree.place.error("a data set needs `files`"))?;
        let items = match &files.kind {
            Kind::List(items) => items.iter().collect(),
            _ => vec![files],
        };
        let files = items.into_iter().map(pattern).collect::<Result<Vec<_>, _>>()?;
        let limit = tree.get("limit").map(|t| t.int(1, i64::MAX)).transpose()?.map(i64::unsigned_abs);
        Ok(Self { files, limit })
    }

    /// The files, each once: in the order of the list, and of their names within a glob.
    ///
    /// # Errors
    /// Where a path or glob finds no file, or a directory cannot be read.
    pub fn paths(&self) -> Result<Vec<PathBuf>, RecipeError> {
        let mut paths: Vec<PathBuf> = Vec::new();
        for pattern in &self.files {
            let wrong = |what: String| RecipeError::File { name: one_line(pattern), what };
            let mut found = find(pattern).map_err(wrong)?;
            if found.is_empty() {
                return Err(wrong("no such file".to_owned()));
            }
            found.sort();
            found.retain(|path| !paths.contains(path));
            paths.append(&mut found);
        }
        Ok(paths)
    }
}

/// A path or glob of a recipe, joined to the directory of the recipe.
fn pattern(tree: &Tree) -> Result<String, RecipeError> {
    let text = tree.text()?;
    if text.is_empty() {
        return Err(tree.place.error("a path is empty"));
    }
    matcher(text).map_err(|why| tree.place.error(why))?;
    let dir = &tree.place.source.dir;
    if Path::new(text).is_absolute() || dir.as_os_str().is_empty() {
        return Ok(text.to_owned());
    }
    let dir =
        dir.to_str().ok_or_else(|| tree.place.error("the directory of the recipe has no UTF-8 name"))?;
    let dir = if is_glob(text) { globset::escape(dir) } else { dir.to_owned() };
    Ok(format!("{}/{text}", dir.trim_end_matches('/')))
}

fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

fn matcher(text: &str) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    glob.map(|g| g.compile_matcher()).map_err(|e| format!("`{}` is no glob: {}", one_line(text), e.kind()))
}

/// The files that a path or glob names.
fn find(pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = Path::new(pattern);
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    if !is_glob(pattern) {
        return Ok(Vec::new());
    }
    let matcher = matcher(pattern)?;
    let literal = pattern.split('/').take_while(|part| !is_glob(part)).collect::<Vec<_>>().join("/");
    let tail = pattern.get(literal.len()..).unwrap_or_default();
    let root = match literal.as_str() {
        "" if pattern.starts_with('/') => Path::new("/"),
        "" => Path::new("."),
        literal => Path::new(literal),
    };
    let depth = if tail.contains("**") { 32 } else { tail.matches('/').count().max(1) };
    let mut found = Vec::new();
    walk(root, depth, &mut |path| {
        let shown = path.strip_prefix(".").unwrap_or(path);
        if matcher.is_match(shown) {
            found.push(shown.to_owned());
        }
    })?;
    Ok(found)
}

/// Every file below a directory, down to a depth. Links to directories are followed only as far as the depth goes.
fn walk(dir: &Path, depth: usize, visit: &mut dyn FnMut(&Path)) -> Result<(), String> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("{} cannot be read: {error}", dir.display())),
    };
    for entry in entries {
        let entry = entry.map_err(|error| format!("{} cannot be read: {error}", dir.display()))?;
        let path = entry.path();
        let is_link = entry.file_type().is_ok_and(|t| t.is_symlink());
        if path.is_file() {
            visit(&path);
        } else if depth > 1 && path.is_dir() && !(is_link && depth > 8) {
            walk(&path, depth - 1, visit)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_find_files_in_order_and_only_there() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("a[1]");
        std::fs::create_dir_all(base.join("sub/deep")).unwrap();
        for name in ["b.npz", "a.npz", "c.txt", "sub/d.npz", "sub/deep/e.npz"] {
            std::fs::write(base.join(name), "").unwrap();
        }
        let names = |pattern: &str| -> Vec<String> {
            let files = vec![format!("{}/{pattern}", globset::escape(base.to_str().unwrap()))];
            let paths = DataSet { files, limit: None }.paths().unwrap();
            paths.iter().map(|p| p.strip_prefix(&base).unwrap().to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names("*.npz"), ["a.npz", "b.npz"]);
        assert_eq!(names("*/*.npz"), ["sub/d.npz"]);
        assert_eq!(names("**/*.npz"), ["a.npz", "b.npz", "sub/d.npz", "sub/deep/e.npz"]);
        assert_eq!(names("{b,c}.*"), ["b.npz", "c.txt"]);
        let twice = vec![base.join("b.npz").to_str().unwrap().to_owned(); 2];
        assert_eq!(DataSet { files: twice, limit: None }.paths().unwrap().len(), 1);
    }

    #[test]
    fn what_finds_nothing_is_an_error() {
        for files in ["/no/such/file.npz", "/no/such/*.npz"] {
            let error = DataSet { files: vec![files.into()], limit: None }.paths().unwrap_err();
            assert_eq!(error.to_string(), format!("{files}: no such file"));
        }
    }
}
