//! The `mbe-bridge` program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    mbe_bridge::cli::main()
}
