//! Arguments, output and exit codes: 0 ok, 1 failed, 2 usage, 3 not equal.

mod beside;
mod convert;
mod failure;
mod inspect;
mod job;
mod machine;
mod optimize;
mod passes;
mod profiles;
mod progress;
mod recipe;
mod run;
mod samples;
mod targets;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use onnxpress::{Engine, Loaded, engine_by_name, load};

use failure::Failure;

/// Turn an exported ONNX model into the smallest, fastest model that still gives the same answers, and prove it.
#[derive(Debug, Parser)]
#[command(name = "onnxpress", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  onnxpress optimize model.onnx -o small.onnx            simplify, and prove that the answers are the same
  onnxpress optimize model.onnx                          dry run: only the table
  onnxpress optimize *.onnx -d out/ -r recipe.yaml       one recipe, many models
  onnxpress convert m.onnx -o m17.onnx --opset 17        write another opset, and nothing else
  onnxpress inspect model.onnx                           what is in it
  onnxpress passes fuse-conv-bn                          what a pass does, and its options

Exit codes: 0 ok, 1 failed, 2 usage, 3 the answers are not equal.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a recipe over models, verify and write the results
    Optimize(Box<optimize::Args>),
    /// Write models at another opset, with other names, sizes or 16-bit floats, and change nothing else
    Convert(Box<convert::Args>),
    /// Show what a model consists of
    Inspect(inspect::Args),
    /// List the passes, or explain one
    Passes(passes::Args),
    /// List the runtimes that models are made for, or show what is known of one
    Profiles(profiles::Args),
    /// List, show or check recipes, or print their JSON Schema
    Recipe(recipe::Args),
    /// Run a model and summarize its outputs
    Run(run::Args),
}

pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let done = match cli.command {
        Command::Optimize(args) => optimize::main(&args),
        Command::Convert(args) => convert::main(&args),
        Command::Inspect(args) => inspect::main(&args),
        Command::Passes(args) => passes::main(&args),
        Command::Profiles(args) => profiles::main(&args),
        Command::Recipe(args) => recipe::main(&args),
        Command::Run(args) => run::main(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit(),
    }
}

/// A line on standard error. A closed pipe is nobody's fault.
fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{}", failure::one_line(line.trim_end()));
}

/// Text for people on standard output.
fn say(text: &str) -> Result<(), Failure> {
    print(&failure::lines(text))
}

/// Text for programs on standard output. Nobody minds if the reader has seen enough.
fn print(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// The model at a path; warnings about it go to standard error.
fn read(path: &Path) -> Result<Loaded, Failure> {
    let loaded = load(path).map_err(|e| Failure::about(path, e))?;
    loaded.warnings.iter().for_each(|w| complain(&format!("warning: {w}")));
    loaded.model.check().map_err(|e| Failure::about(path, e))?;
    Ok(loaded)
}

fn on_terminal() -> bool {
    io::stderr().is_terminal()
}

/// `NAME=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `DIM=SIZE`.
fn binding(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text.rsplit_once('=').ok_or("expected DIM=SIZE")?;
    let size = value.parse().map_err(|_| format!("`{value}` is no size"))?;
    Ok((name.to_owned(), size))
}

/// The engine of that name. The environment names the library where the command line does not.
fn engine_of(name: &str, library: Option<&Path>) -> Result<Box<dyn Engine>, Failure> {
    let variable = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    engine_by_name(name, library.or(variable.as_deref())).map_err(Failure::usage)
}
