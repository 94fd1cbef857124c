//! Where a run file is: whether its path still leads to the file that was opened.
//!
//! SQLite goes on writing into a file that was renamed or deleted, and nothing it writes then is ever seen again. So each
//! transaction begins with a look at the path; what vanished is put back by `mend.rs`.

use std::cell::Cell;
use std::path::Path;

use super::schema;
use super::system::FileId;

/// What became of an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Astray {
    /// Nothing is at its path: it, its folder or its disk went away.
    Missing,
    /// Another file is at its path.
    Replaced,
    /// Its log was taken away from beside it.
    LogMissing,
}

impl std::fmt::Display for Astray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "is not where it was: it was moved or deleted, or its disk was taken away",
            Self::Replaced => "has another file in its place",
            Self::LogMissing => "has lost the log beside it (`-wal`)",
        })
    }
}

/// The file and its log, as they were when they were opened.
#[derive(Debug)]
pub(super) struct Place {
    file: Option<FileId>,
    /// Known once SQLite has made it.
    log: Cell<Option<FileId>>,
}

impl Place {
    /// Of the file that was just opened at this path.
    pub(super) fn of(path: &Path) -> Self {
        Self { file: FileId::at(path).ok(), log: Cell::new(log_at(path)) }
    }

    /// Looks where it is.
    pub(super) fn look(&self, path: &Path) -> Result<(), Astray> {
        match FileId::at(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Astray::Missing),
            // A disk that can't be read says so again when it is written.
            Err(_) => return Ok(()),
            Ok(found) if self.file.is_some_and(|opened| opened != found) => return Err(Astray::Replaced),
            Ok(_) => {}
        }
        match (self.log.get(), log_at(path)) {
            (None, found) => self.log.set(found),
            (Some(opened), found) if found != Some(opened) => return Err(Astray::LogMissing),
            _ => {}
        }
        Ok(())
    }

    /// Whether the log beside the path is that of this file.
    pub(super) fn has_log_at(&self, path: &Path) -> bool {
        self.log.get().is_some() && self.log.get() == log_at(path)
    }

    /// Whether the file has no name any more, so that the open connection is all there is of it. Where the system does not
    /// say, a file that is missing from a folder which is still there was deleted.
    pub(super) fn is_deleted(&self, path: &Path) -> bool {
        let in_its_folder = || path.parent().is_some_and(Path::exists) && !path.exists();
        self.file.is_some_and(|file| file.is_nameless().unwrap_or_else(in_its_folder))
    }
}

fn log_at(path: &Path) -> Option<FileId> {
    FileId::at(&schema::beside(path, "-wal")).ok()
}
