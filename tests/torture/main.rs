//! Rounds of everything going wrong at once: the real program between simulated instruments and the local platform is
//! killed, starved, cut off and misled at random, and an oracle that knows nothing of its accounts holds what the
//! instruments said, what the run files hold and what the platform stored against each other.
//!
//! `tests/torture/run --help` says how to run many; `cargo test` runs twenty.

#[cfg(test)]
#[cfg(target_os = "linux")]
mod arguments;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod chamber;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod corruptions;
#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "../it/bridge/field.rs"]
#[expect(dead_code, reason = "only the end-to-end tests use all of it")]
mod field;
#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "../it/bridge/machine.rs"]
mod machine;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod oracle;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod plan;
#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "../it/bridge/process.rs"]
#[expect(dead_code, reason = "only the end-to-end tests use all of it")]
mod process;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod report;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod round;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod rounds;
#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "../shim/mod.rs"]
#[expect(dead_code, reason = "only the end-to-end tests use all of it")]
mod shim;
#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "../it/bridge/waiting.rs"]
mod waiting;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod witness;

#[cfg(test)]
#[cfg(target_os = "linux")]
use waiting::{KEY, until};

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    rounds::main()
}

/// Faults of disk and clock are put in by the dynamic linker of Linux.
#[cfg(not(target_os = "linux"))]
fn main() {}
