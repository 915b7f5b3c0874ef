//! What is written besides a model: the ranges of its quantized tensors, the model after every step, a picture.

use std::path::{Path, PathBuf};

use onnxpress::report::{RangeFormat, ranges};
use onnxpress::{Model, Recipe, Report, SaveOptions, check_target, save};

use super::Failure;
use super::targets::{is_same, is_stream};

#[derive(Debug, Default, clap::Args)]
pub struct Beside {
    /// Write the ranges of all quantized tensors: AIMET encodings (.encodings, .json) or a table (.csv, .tsv); may be
    /// given more than once
    #[arg(long, value_name = "FILE")]
    export_ranges: Vec<PathBuf>,
    /// Write the model after every step of the recipe to this directory, as NN-STEP.onnx
    #[arg(long, value_name = "DIR")]
    emit_stages: Option<PathBuf>,
    /// Draw the layers that were measured, and the trade-off of assign-precision
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

impl Beside {
    /// Refuses what cannot be written, or would replace something that is read or written.
    pub fn check(&self, recipe: &Recipe, inputs: &[PathBuf], others: &[&Path]) -> Result<(), Failure> {
        let mut files: Vec<PathBuf> = Vec::new();
        for (option, file) in self.files() {
            let name = file.display();
            if is_stream(file) {
                return Err(Failure::usage(format!("{option} wants a file")));
            }
            if option == RANGES && format_of(file).is_none() {
                let known = RangeFormat::ENDINGS;
                return Err(Failure::usage(format!(
                    "{option}: the ending of {name} says no form: use {known}"
                )));
            }
            if option == PLOT && file.extension().is_none_or(|e| !e.eq_ignore_ascii_case("svg")) {
                return Err(Failure::usage(format!("{option} draws an SVG: {name} has to end in .svg")));
            }
            files.push(file.to_owned());
        }
        if let Some(dir) = &self.emit_stages {
            std::fs::create_dir_all(dir)
                .map_err(|e| Failure::failed(format!("cannot make the directory {}: {e}", dir.display())))?;
            files.extend(recipe.steps.iter().enumerate().map(|(at, step)| stage(dir, at + 1, &step.id)));
        }
        if inputs.len() > 1 && (!files.is_empty() || self.emit_stages.is_some()) {
            return Err(Failure::usage("--export-ranges, --emit-stages and --plot take one model at a time"));
        }
        for (at, file) in files.iter().enumerate() {
            let mut taken =
                inputs.iter().chain(&files[..at]).map(PathBuf::as_path).chain(others.iter().copied());
            if taken.any(|other| is_same(other, file)) {
                return Err(Failure::usage(format!("{} would be written over another file", file.display())));
            }
            check_target(file).map_err(Failure::failed)?;
        }
        Ok(())
    }

    fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let ranges = self.export_ranges.iter().map(|file| (RANGES, file.as_path()));
        ranges.chain(self.plot.iter().map(|file| (PLOT, file.as_path())))
    }

    /// Writes the ranges and the picture.
    pub fn write(
        &self,
        input: &Path,
        original: &Model,
        result: &Model,
        report: &Report,
    ) -> Result<(), Failure> {
        for file in &self.export_ranges {
            let text = format_of(file).and_then(|format| ranges(original, result, format));
            let text = text.ok_or_else(|| {
                let why = "the result has no quantized tensor whose ranges --export-ranges could write";
                Failure::about(input, why)
            })?;
            put(file, &text)?;
        }
        if let Some(file) = &self.plot {
            let picture = report.to_svg().ok_or_else(|| {
                Failure::about(input, "no step measured layers, so that there is nothing to draw for --plot")
            })?;
            put(file, &picture)?;
        }
        Ok(())
    }

    /// What keeps the model after every step, where that is asked for.
    pub fn keeper(&self) -> Option<impl FnMut(usize, &str, &Model) -> Result<String, String>> {
        let dir = self.emit_stages.as_deref()?;
        Some(move |number: usize, id: &str, model: &Model| {
            let path = stage(dir, number, id);
            let checked = model.check().map_err(|e| e.to_string())?;
            save(checked, &path, &SaveOptions::default()).map_err(|e| e.to_string())?;
            Ok(path.display().to_string())
        })
    }
}

const RANGES: &str = "--export-ranges";
const PLOT: &str = "--plot";

/// The file of a step, by its place in the recipe, counted from 1.
fn stage(dir: &Path, number: usize, id: &str) -> PathBuf {
    dir.join(format!("{number:02}-{id}.onnx"))
}

fn format_of(file: &Path) -> Option<RangeFormat> {
    RangeFormat::of(file.file_name()?.to_str()?)
}

fn put(file: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(file, text).map_err(|e| Failure::failed(format!("cannot write `{}`: {e}", file.display())))
}
