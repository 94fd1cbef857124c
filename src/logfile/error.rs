//! Why a file can't be read as a log, with the places in it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Faults that are told one by one; the rest is counted.
const TOLD: usize = 10;

/// Why a file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk or the system refused.
    #[error("could not read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// It is something else.
    #[error("`{}` can't be read as a log: {what}", path.display())]
    NoTable {
        /// The file.
        path: PathBuf,
        /// What it is instead, and what to do.
        what: String,
    },
    /// It is a log, and something in it is wrong or could mean two things.
    #[error("{0}")]
    Refused(Refusal),
    /// Its content is not what the survey found.
    #[error("`{}` was changed while it was read", .0.display())]
    Changed(PathBuf),
    /// The caller wanted no more of it.
    #[error("reading was stopped")]
    Stopped,
}

/// What is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The file.
    pub path: PathBuf,
    /// The first faults.
    pub faults: Vec<Fault>,
    /// How many there are.
    pub in_all: u64,
    /// What to do, a sentence each.
    pub hints: Vec<String>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line of a text file, row of a Parquet file, from 1; none for the file as a whole.
    pub line: Option<u64>,
    /// Character in the line, from 1.
    pub column: Option<usize>,
    /// What.
    pub what: String,
}

impl Fault {
    /// A fault of the file as a whole.
    pub(super) fn whole(what: impl Into<String>) -> Self {
        Self { line: None, column: None, what: what.into() }
    }

    /// A fault of a line.
    pub(super) fn line(line: u64, what: impl Into<String>) -> Self {
        Self { line: Some(line), column: None, what: what.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "`{path}` can't be taken as it is")?;
        if self.in_all > 1 {
            write!(f, " ({} faults)", self.in_all)?;
        }
        writeln!(f)?;
        for fault in &self.faults {
            write!(f, "\n  {path}")?;
            for number in [fault.line, fault.column.and_then(|column| u64::try_from(column).ok())].iter().flatten() {
                write!(f, ":{number}")?;
            }
            write!(f, ": {}", fault.what)?;
        }
        let told = u64::try_from(self.faults.len()).unwrap_or(u64::MAX);
        if self.in_all > told {
            write!(f, "\n  and {} more", self.in_all - told)?;
        }
        Ok(())
    }
}

/// Faults as they are found.
#[derive(Debug)]
pub(super) struct Faults {
    refusal: Refusal,
}

impl Faults {
    pub(super) fn new(path: &Path) -> Self {
        Self { refusal: Refusal { path: path.to_owned(), faults: Vec::new(), in_all: 0, hints: Vec::new() } }
    }

    /// Notes a fault; it is only put into words if it will be told.
    pub(super) fn add(&mut self, fault: impl FnOnce() -> Fault) {
        self.refusal.in_all += 1;
        if self.refusal.faults.len() < TOLD {
            self.refusal.faults.push(fault());
        }
    }

    /// Notes what to do, once.
    pub(super) fn hint(&mut self, hint: impl Into<String>) {
        let hint = hint.into();
        if !self.refusal.hints.contains(&hint) {
            self.refusal.hints.push(hint);
        }
    }

    /// An error if there were any.
    pub(super) fn done(mut self) -> Result<(), Error> {
        self.refusal.faults.sort_by_key(|fault| (fault.line, fault.column));
        if self.refusal.in_all == 0 { Ok(()) } else { Err(Error::Refused(self.refusal)) }
    }
}

/// One fault as an error.
pub(super) fn refused(path: &Path, fault: Fault, hint: impl Into<String>) -> Error {
    Error::Refused(Refusal { path: path.to_owned(), faults: vec![fault], in_all: 1, hints: vec![hint.into()] })
}
