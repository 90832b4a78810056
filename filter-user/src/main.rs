//! The binary `nxdp`.

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    filter_kernel::object::require::<()>();
    cli::main()
}
