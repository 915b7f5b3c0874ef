//! The command line of onnxpress. It uses the library's public face, and alone prints and reads the environment.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
