//! Simulators over real ports and sockets: every shipped profile read back, and the command itself told what to do.

mod commands;
mod library;

use std::time::Duration;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);
