//! Space on the disk: how much there is, the reserve, and when a full disk is no longer full.
//!
//! A full disk with runs that wait for the platform would never free itself if it could not even record what the platform
//! confirms. So `data_dir/reserve` takes up space from the start. When the disk is full it is deleted: recording pauses,
//! and what it held is left to freezing and settling chunks, which write little. Recording goes on when so much is free that
//! the reserve can be made again, with a margin; it is made again after the first commit.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::system::free_bytes;
use super::{DiskSpace, Error, Settings};
use crate::model::with_causes;

/// How often the space is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How long to wait before the reserve is tried again.
const RESERVE_AGAIN: Duration = Duration::from_secs(60);

/// What is written at once.
const PIECE: usize = 1 << 18;

/// The space on the disk that holds the runs.
#[derive(Debug)]
pub(super) struct Space {
    folder: PathBuf,
    reserve_bytes: u64,
    margin_bytes: u64,
    min_free: u64,
    free: Option<u64>,
    /// The disk has refused data for lack of space, and nothing was committed since.
    full: bool,
    look_at: Instant,
    reserve_at: Instant,
    /// Whether it was said that the reserve can't be made.
    said: bool,
    /// Whether it was said that the disk is nearly full.
    said_low: bool,
}

impl Space {
    pub(super) fn new(settings: &Settings, now: Instant) -> Self {
        Self {
            folder: settings.data_dir.clone(),
            reserve_bytes: settings.reserve_bytes,
            margin_bytes: settings.reserve_bytes / 2,
            min_free: settings.min_free,
            free: free_bytes(&settings.data_dir),
            full: false,
            look_at: now,
            reserve_at: now,
            said: false,
            said_low: false,
        }
    }

    /// When the space is next looked at.
    pub(super) fn look_at(&self) -> Instant {
        self.look_at
    }

    /// Measures what is free.
    pub(super) fn measure(&mut self) {
        self.free = free_bytes(&self.folder);
    }

    /// Bytes by which less is free than is to be; zero where that is not known.
    pub(super) fn missing(&self) -> u64 {
        self.free.map_or(0, |free| self.min_free.saturating_sub(free))
    }

    pub(super) fn shown(&self) -> DiskSpace {
        DiskSpace { free: self.free, min_free: self.min_free, full: self.full, low: self.full || self.missing() > 0 }
    }

    /// Looks at the space from time to time, and keeps the reserve; true when it is time to make space.
    pub(super) fn tend(&mut self, now: Instant) -> bool {
        if now < self.look_at {
            return false;
        }
        self.look_at = now + LOOK_EVERY;
        self.measure();
        let low = self.missing() > 0;
        if low != std::mem::replace(&mut self.said_low, low) {
            if low {
                tracing::warn!(folder = %self.folder.display(), free = self.free, min_free = self.min_free,
                    "the disk is nearly full");
            } else {
                tracing::info!(folder = %self.folder.display(), free = self.free, "the disk has space again");
            }
        }
        if !self.full && now >= self.reserve_at {
            self.keep_reserve(now);
        }
        low
    }

    /// The disk has refused data for lack of space.
    pub(super) fn ran_out(&mut self, now: Instant) {
        if std::mem::replace(&mut self.full, true) {
            return;
        }
        match fs::remove_file(self.reserve()) {
            Ok(()) => tracing::warn!(
                bytes = self.reserve_bytes,
                "the disk is full; the reserve was given up for what the uploader records"
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(%error, "the reserve on a full disk could not be given up"),
        }
        self.reserve_at = now;
        self.measure();
    }

    /// Whether ticks may be written: after the disk was full, only once it has more space than the reserve takes.
    pub(super) fn may_record(&mut self) -> Result<(), Error> {
        if !self.full {
            return Ok(());
        }
        self.measure();
        let needed = self.reserve_bytes + self.margin_bytes;
        match self.free {
            Some(free) if free < needed => Err(Error::Full { path: self.folder.clone(), free, needed }),
            _ => Ok(()),
        }
    }

    /// Ticks were written.
    pub(super) fn has_recorded(&mut self, now: Instant) {
        if std::mem::take(&mut self.full) {
            self.look_at = now;
            self.reserve_at = now;
        }
    }

    fn reserve(&self) -> PathBuf {
        self.folder.join("reserve")
    }

    fn keep_reserve(&mut self, now: Instant) {
        self.reserve_at = now + RESERVE_AGAIN;
        let path = self.reserve();
        if self.reserve_bytes == 0 || fs::metadata(&path).is_ok_and(|found| found.len() == self.reserve_bytes) {
            return;
        }
        if self.free.is_some_and(|free| free < self.reserve_bytes + self.margin_bytes) {
            return;
        }
        match make_reserve(&path, self.reserve_bytes) {
            Ok(()) => self.said = false,
            Err(error) => {
                if !std::mem::replace(&mut self.said, true) {
                    tracing::warn!(path = %path.display(), error = %with_causes(&error), "the reserve for a full disk can't be made");
                }
                // Half a reserve takes space that ticks could have.
                drop(fs::remove_file(&path));
            }
        }
    }
}

/// Written, not only promised: no file system may give its space to anybody else, compress it or leave it out.
fn make_reserve(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut left = bytes;
    let mut piece = vec![0; PIECE];
    while left > 0 {
        fastrand::fill(&mut piece);
        let now = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        file.write_all(piece.get(..now).unwrap_or_default())?;
        left = left.saturating_sub(u64::try_from(now).unwrap_or(left));
    }
    file.sync_all()
}
