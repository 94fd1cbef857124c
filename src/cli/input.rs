//! Commands on the standard input of a program that runs: one a line, each answered by one line.

use std::io;
use std::io::BufRead as _;
use std::sync::Arc;

use tokio::sync::Notify;

use super::print;

/// What becomes of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was carried out; there may be something to say about it.
    Said(String),
    /// The program is to end.
    Quit,
}

/// Reads commands until the input ends or somebody wants to quit, on a thread of its own. Reads nothing where that does harm.
pub(super) fn listen(
    obey: impl Fn(&str) -> Result<Answer, String> + Send + 'static,
    quit: Arc<Notify>,
) -> io::Result<()> {
    if !is_ours() {
        return Ok(());
    }
    let read = move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if line.trim().is_empty() {
                continue;
            }
            match obey(line.trim()) {
                Ok(Answer::Said(text)) if text.is_empty() => print("ok"),
                Ok(Answer::Said(text)) => print(format_args!("ok: {text}")),
                Ok(Answer::Quit) => {
                    print("ok");
                    quit.notify_one();
                    return;
                }
                Err(why) => print(format_args!("error: {}", why.replace('\n', "; "))),
            }
        }
    };
    std::thread::Builder::new().name("commands".to_owned()).spawn(read).map(drop)
}

/// Whether reading it does no harm: a job in the background that reads from its terminal is stopped by the system, whatever
/// else it has to do.
#[cfg(unix)]
fn is_ours() -> bool {
    use std::io::IsTerminal as _;

    let input = std::io::stdin();
    let foreground = || rustix::termios::tcgetpgrp(&input).is_ok_and(|group| group == rustix::process::getpgrp());
    !input.is_terminal() || foreground()
}

/// Whether reading it does no harm.
#[cfg(not(unix))]
fn is_ours() -> bool {
    true
}
