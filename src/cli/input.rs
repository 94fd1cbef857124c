//! Whether commands can be read from the standard input.

/// Whether reading it does no harm: a job in the background that reads from its terminal is stopped by the system, whatever
/// else it has to do.
#[cfg(unix)]
pub(super) fn is_ours() -> bool {
    use std::io::IsTerminal as _;

    let input = std::io::stdin();
    let foreground = || rustix::termios::tcgetpgrp(&input).is_ok_and(|group| group == rustix::process::getpgrp());
    !input.is_terminal() || foreground()
}

/// Whether reading it does no harm.
#[cfg(not(unix))]
pub(super) fn is_ours() -> bool {
    true
}
