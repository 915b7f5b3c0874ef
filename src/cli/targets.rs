//! Where the results of `onnxpress optimize` go. What cannot work is refused before anything is done.

use std::path::{Path, PathBuf};

use onnxpress::check_target;

use super::Failure;

/// What the command line says about places.
pub struct Places<'a> {
    pub inputs: &'a [PathBuf],
    pub output: Option<&'a Path>,
    pub dir: Option<&'a Path>,
    pub in_place: bool,
    pub report: Option<&'a Path>,
}

const STREAM: &str = "-";

impl Places<'_> {
    /// The target of every input; `None` for a dry run.
    pub fn targets(&self) -> Result<Vec<Option<PathBuf>>, Failure> {
        if self.inputs.iter().filter(|i| is_stream(i)).count() > 1 {
            return Err(Failure::usage("standard input can be read only once"));
        }
        if self.inputs.len() > 1 && self.output.is_some() {
            return Err(Failure::usage("several models need -d DIR or --in-place, not -o"));
        }
        if let Some(dir) = self.dir.filter(|dir| dir.exists() && !dir.is_dir()) {
            return Err(Failure::usage(format!("{} is no directory", dir.display())));
        }
        let targets: Vec<_> = self.inputs.iter().map(|i| self.target(i)).collect::<Result<_, _>>()?;
        for (at, target) in targets.iter().enumerate() {
            let Some(target) = target else { continue };
            if targets[..at].iter().flatten().any(|earlier| is_same(earlier, target)) {
                let what = format!("two models would both be written to {}", target.display());
                return Err(Failure::usage(what));
            }
            let missing = self.dir.is_some_and(|dir| !dir.exists());
            if !missing {
                check_target(target).map_err(Failure::failed)?;
            }
        }
        self.check_report(&targets)?;
        Ok(targets)
    }

    fn target(&self, input: &Path) -> Result<Option<PathBuf>, Failure> {
        if self.in_place {
            if is_stream(input) {
                return Err(Failure::usage("standard input has no place; say -o"));
            }
            return Ok(Some(input.to_owned()));
        }
        let target = match (self.output, self.dir) {
            (Some(output), _) => output.to_owned(),
            (None, Some(dir)) => {
                let name = input.file_name().filter(|_| !is_stream(input));
                dir.join(name.ok_or_else(|| Failure::usage("standard input needs -o, not -d"))?)
            }
            (None, None) => return Ok(None),
        };
        match self.inputs.iter().find(|input| !is_stream(&target) && is_same(input, &target)) {
            Some(input) => Err(Failure::usage(format!(
                "{} would be replaced; say --in-place if that is wanted",
                input.display()
            ))),
            None => Ok(Some(target)),
        }
    }

    fn check_report(&self, targets: &[Option<PathBuf>]) -> Result<(), Failure> {
        let Some(report) = self.report else { return Ok(()) };
        if is_stream(report) {
            return Err(Failure::usage("--report wants a file; --json prints the report"));
        }
        if self.inputs.iter().chain(targets.iter().flatten()).any(|model| is_same(model, report)) {
            return Err(Failure::usage(format!("the report would replace the model {}", report.display())));
        }
        check_target(report).map_err(Failure::failed)
    }
}

/// Whether a path stands for standard input or output.
pub fn is_stream(path: &Path) -> bool {
    path == Path::new(STREAM)
}

/// Whether two paths name one file, through links too, whether or not it is there yet.
pub fn is_same(a: &Path, b: &Path) -> bool {
    a == b || real(a).zip(real(b)).is_some_and(|(a, b)| a == b)
}

fn real(path: &Path) -> Option<PathBuf> {
    if let Ok(path) = path.canonicalize() {
        return Some(path);
    }
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(parent.canonicalize().ok()?.join(path.file_name()?))
}
