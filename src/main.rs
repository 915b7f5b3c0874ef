//! The command line of onnxpress. It uses the library's public face, and alone prints and reads the environment.

mod cli;

use std::process::ExitCode;

/// Tensors of many sizes come and go: the allocator of the C library keeps what is between them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
