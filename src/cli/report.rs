//! How a command ends: its exit code, and an error as people read it.

use std::fmt;
use std::process::ExitCode;

/// What the exit code of the program means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// All is well.
    Well = 0,
    /// It ran, but something was lost or is degraded.
    Degraded = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// Hardware or a running bridge could not be reached.
    Unreachable = 3,
    /// The disk refused.
    Disk = 4,
    /// The platform refused.
    Refused = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // The numbers are the contract; each variant carries its own.
        match exit {
            Exit::Well => Self::from(0),
            Exit::Degraded => Self::from(1),
            Exit::Usage => Self::from(2),
            Exit::Unreachable => Self::from(3),
            Exit::Disk => Self::from(4),
            Exit::Refused => Self::from(5),
        }
    }
}

/// Why a command ended early.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) error: anyhow::Error,
    pub(super) hint: Option<String>,
}

/// What a command returns.
pub(super) type Outcome = Result<Exit, Failure>;

impl Failure {
    pub(super) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.error.to_string();
        // Problems of a file come with a head of their own.
        if text.starts_with("error") {
            write!(f, "{text}")?;
        } else {
            write!(f, "error: {text}")?;
        }
        for cause in self.error.chain().skip(1) {
            write!(f, "\n  caused by: {cause}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n\nhint: {hint}")?;
        }
        Ok(())
    }
}

/// Gives an error its exit code on the way out.
pub(super) trait OrExit<T> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(exit, error))
    }
}
