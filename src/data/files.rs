//! Which files: by path, glob, folder or list.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use super::DataError;

/// What a file holds, told by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Arrays,
    Images,
    Raw,
}

impl Kind {
    const ALL: &'static [Self] = &[Self::Arrays, Self::Images, Self::Raw];

    fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Arrays => &["npz", "npy"],
            Self::Images => &["png", "jpg", "jpeg"],
            Self::Raw => &["bin", "raw"],
        }
    }

    pub fn of(path: &Path) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| has_extension(path, kind.extensions()))
    }
}

/// How deep folders are looked through.
const DEPTH: usize = 32;

/// The ends of names of files that list paths.
const LISTS: &[&str] = &["txt"];

fn has_extension(path: &Path, known: &[&str]) -> bool {
    path.extension().is_some_and(|e| known.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

/// The kind of all files that the patterns name. One that no name tells is taken for arrays.
pub(super) fn kind(patterns: &[String]) -> Result<Kind, DataError> {
    let mut found: Option<(Kind, PathBuf)> = None;
    for path in resolve(patterns, Kind::ALL)? {
        let kind = Kind::of(&path).unwrap_or(Kind::Arrays);
        match &found {
            Some((first, one)) if *first != kind => {
                let (one, path) = (one.display(), path.display());
                let what =
                    format!("{one} and {path} hold different kinds of samples: give files of one kind");
                return Err(DataError::Source(what));
            }
            Some(_) => {}
            None => found = Some((kind, path)),
        }
    }
    found.map(|(kind, _)| kind).ok_or_else(|| DataError::Source("no file of samples is named".to_owned()))
}

/// The files, each once: in the order of the list, and of their names within a glob or folder.
///
/// # Errors
/// Where a path, glob, folder or list finds no file, or cannot be read.
pub(super) fn paths(patterns: &[String], kind: Kind) -> Result<Vec<PathBuf>, DataError> {
    resolve(patterns, &[kind])
}

fn resolve(patterns: &[String], kinds: &[Kind]) -> Result<Vec<PathBuf>, DataError> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for pattern in patterns {
        let mut found = find(pattern, kinds).map_err(|what| DataError::at(pattern, what))?;
        if found.is_empty() {
            return Err(DataError::at(pattern, "no such file"));
        }
        paths.append(&mut found);
    }
    let mut seen = std::collections::HashSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    Ok(paths)
}

/// A path or glob, joined to the directory that it is relative to.
///
/// # Errors
/// Where the text is no path and no glob, or the directory has no UTF-8 name.
pub(crate) fn rooted(dir: &Path, text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("a path is empty".to_owned());
    }
    matcher(text)?;
    if Path::new(text).is_absolute() || dir.as_os_str().is_empty() {
        return Ok(text.to_owned());
    }
    let dir = dir.to_str().ok_or("the directory of the recipe has no UTF-8 name")?;
    let dir = if is_glob(text) { globset::escape(dir) } else { dir.to_owned() };
    Ok(format!("{}/{text}", dir.trim_end_matches('/')))
}

fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

fn matcher(text: &str) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    let shown: String = text.chars().filter(|c| !c.is_control()).take(120).collect();
    glob.map(|g| g.compile_matcher()).map_err(|e| format!("`{shown}` is no glob: {}", e.kind()))
}

/// The files that a path, glob, folder or list names, sorted but for a list.
fn find(pattern: &str, kinds: &[Kind]) -> Result<Vec<PathBuf>, String> {
    let path = Path::new(pattern);
    if path.is_dir() {
        let known: Vec<&str> = kinds.iter().flat_map(|k| k.extensions()).copied().collect();
        let mut found = Vec::new();
        walk(path, DEPTH, &mut |file| {
            if has_extension(file, &known) {
                found.push(file.to_owned());
            }
        })?;
        if found.is_empty() {
            return Err(format!("the folder has no file that ends in .{}", known.join(", .")));
        }
        found.sort();
        return Ok(found);
    }
    if path.is_file() {
        return if has_extension(path, LISTS) { listed(path) } else { Ok(vec![path.to_owned()]) };
    }
    if !is_glob(pattern) {
        return Ok(Vec::new());
    }
    let mut found = matching(pattern)?;
    found.sort();
    Ok(found)
}

/// The paths in a file, one a line, relative to it. Empty lines and those that begin with `#` say nothing.
fn listed(list: &Path) -> Result<Vec<PathBuf>, String> {
    let text = std::fs::read_to_string(list).map_err(|error| format!("it cannot be read: {error}"))?;
    let dir = list.parent().unwrap_or(Path::new(""));
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, l)| !l.is_empty() && !l.starts_with('#'));
    let found = lines.map(|(at, line)| {
        let path = dir.join(line);
        let missing = || format!("line {}: no such file: {}", at + 1, path.display());
        if path.is_file() { Ok(path.clone()) } else { Err(missing()) }
    });
    let found: Vec<PathBuf> = found.collect::<Result<_, _>>()?;
    if found.is_empty() { Err("the list is empty".to_owned()) } else { Ok(found) }
}

fn matching(pattern: &str) -> Result<Vec<PathBuf>, String> {
    let matcher = matcher(pattern)?;
    let literal = pattern.split('/').take_while(|part| !is_glob(part)).collect::<Vec<_>>().join("/");
    let tail = pattern.get(literal.len()..).unwrap_or_default();
    let root = match literal.as_str() {
        "" if pattern.starts_with('/') => Path::new("/"),
        "" => Path::new("."),
        literal => Path::new(literal),
    };
    let depth = if tail.contains("**") { DEPTH } else { tail.matches('/').count().max(1) };
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

    fn made(dir: &Path, names: &[&str]) {
        for name in names {
            std::fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
            std::fs::write(dir.join(name), "").unwrap();
        }
    }

    fn below(dir: &Path, pattern: &str, kind: Kind) -> Result<Vec<String>, String> {
        let found = paths(&[rooted(dir, pattern).unwrap()], kind).map_err(|e| e.to_string())?;
        Ok(found.iter().map(|p| p.strip_prefix(dir).unwrap().to_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn globs_find_files_in_order_and_only_there() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("a[1]");
        made(&base, &["b.npz", "a.npz", "c.txt", "sub/d.npz", "sub/deep/e.npz"]);
        let names = |pattern: &str| below(&base, pattern, Kind::Arrays).unwrap();
        assert_eq!(names("*.npz"), ["a.npz", "b.npz"]);
        assert_eq!(names("*/*.npz"), ["sub/d.npz"]);
        assert_eq!(names("**/*.npz"), ["a.npz", "b.npz", "sub/d.npz", "sub/deep/e.npz"]);
        assert_eq!(names("{b,c}.*"), ["b.npz", "c.txt"]);
        let twice = vec![base.join("b.npz").to_str().unwrap().to_owned(); 2];
        assert_eq!(paths(&twice, Kind::Arrays).unwrap().len(), 1);
    }

    #[test]
    fn what_finds_nothing_is_an_error() {
        for files in ["/no/such/file.npz", "/no/such/*.npz"] {
            let error = paths(&[files.to_owned()], Kind::Arrays).unwrap_err();
            assert_eq!(error.to_string(), format!("{files}: no such file"));
        }
        assert_eq!(rooted(Path::new("d"), "").unwrap_err(), "a path is empty");
        assert!(rooted(Path::new("d"), "a[").unwrap_err().starts_with("`a[` is no glob: "));
    }

    #[test]
    fn a_folder_gives_what_is_of_the_kind_and_below_it() {
        let dir = tempfile::tempdir().unwrap();
        made(dir.path(), &["p/b/2.PNG", "p/a/1.jpeg", "p/labels.csv", "p/x.npy"]);
        assert_eq!(below(dir.path(), "p", Kind::Images).unwrap(), ["p/a/1.jpeg", "p/b/2.PNG"]);
        assert_eq!(below(dir.path(), "p", Kind::Arrays).unwrap(), ["p/x.npy"]);
        let error = below(dir.path(), "p", Kind::Raw).unwrap_err();
        assert!(error.ends_with("/p: the folder has no file that ends in .bin, .raw"), "{error}");
    }

    #[test]
    fn a_list_keeps_its_order_and_names_the_line_that_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        made(dir.path(), &["l/b.png", "l/a.png"]);
        let list = dir.path().join("l/list.txt");
        std::fs::write(&list, "# mine\n b.png\n\na.png\n").unwrap();
        assert_eq!(below(dir.path(), "l/list.txt", Kind::Images).unwrap(), ["l/b.png", "l/a.png"]);
        std::fs::write(&list, "a.png\n\nc.png\n").unwrap();
        let error = below(dir.path(), "l/list.txt", Kind::Images).unwrap_err();
        assert!(error.contains("/list.txt: line 3: no such file: ") && error.ends_with("c.png"), "{error}");
        std::fs::write(&list, "#\n").unwrap();
        let error = below(dir.path(), "l/list.txt", Kind::Images).unwrap_err();
        assert!(error.ends_with("/list.txt: the list is empty"), "{error}");
    }

    #[test]
    fn kinds_are_told_by_names_and_do_not_mix() {
        let dir = tempfile::tempdir().unwrap();
        made(dir.path(), &["a.npy", "p/b.png", "r/c.bin", "odd"]);
        let of = |names: &[&str]| {
            let patterns: Vec<_> = names.iter().map(|n| rooted(dir.path(), n).unwrap()).collect();
            kind(&patterns).map_err(|e| e.to_string())
        };
        assert_eq!(of(&["a.npy"]), Ok(Kind::Arrays));
        assert_eq!(of(&["p"]), Ok(Kind::Images));
        assert_eq!(of(&["r/*"]), Ok(Kind::Raw));
        assert_eq!(of(&["odd"]), Ok(Kind::Arrays));
        assert!(of(&["a.npy", "p"]).unwrap_err().contains("hold different kinds of samples"));
    }
}
