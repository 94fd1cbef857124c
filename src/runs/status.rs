//! What the store shows of itself: one snapshot for dashboard, CLI and metrics.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Channel, ChannelName, Counts, RunId, RunState, SessionId, Stamp, StreamRecord};

/// How recording goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum State {
    /// No run is being recorded.
    #[default]
    Idle,
    /// Ticks are durable within `commit_every`.
    Recording,
    /// The disk takes nothing at the moment; ticks are held in memory and written by and by.
    Paused {
        /// What the disk says, with all causes.
        why: String,
    },
}

/// A snapshot of the run store.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Status {
    /// How recording goes.
    pub state: State,
    /// The folder that holds the runs.
    pub data_dir: PathBuf,
    /// The run that is being recorded.
    pub run: Option<RunId>,
    /// The session that records it.
    pub session: Option<SessionId>,
    /// A run that a dead process left, which [`begin`](super::Handle::begin) would resume.
    pub unfinished: Option<RunId>,
    /// The run being recorded and those that wait for the platform, oldest first.
    pub runs: Vec<RunTotals>,
    /// The runs that have become done since the store was opened, as they were then, in that order.
    pub done: Arc<[RunTotals]>,
    /// Every run file that could be read at start or was made since, oldest first.
    pub listed: Arc<[ListedRun]>,
    /// Files that could not be read, with the reason.
    pub set_aside: Arc<[SetAside]>,
    /// What durability costs.
    pub commits: CommitTimes,
    /// Points that the disk has not taken: those held while paused.
    pub buffered: u64,
    /// Space on the disk.
    pub disk: DiskSpace,
    /// What was deleted since the start to make space.
    pub pruned: Pruned,
}

/// Space on the disk that holds the runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskSpace {
    /// Bytes that are free, where the system says.
    pub free: Option<u64>,
    /// Bytes that are to be free.
    pub min_free: u64,
    /// Whether recording waits for space.
    pub full: bool,
    /// Whether less is free than is to be, though every run that may go is gone.
    pub low: bool,
}

/// Finished runs that were deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// How many.
    pub runs: u64,
    /// Bytes that they took.
    pub bytes: u64,
}

/// A run file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRun {
    /// The run.
    pub run: RunId,
    /// The name of its streams.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// How far it has come.
    pub state: RunState,
}

/// A file in the folder of runs that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is now; a damaged file was renamed.
    pub path: PathBuf,
    /// Why it was not read.
    pub why: String,
}

/// What a commit (one transaction with one sync) costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommitTimes {
    /// Commits since start.
    pub commits: u64,
    /// Time that the newest took.
    pub last: Duration,
    /// Time that the slowest took.
    pub longest: Duration,
}

impl CommitTimes {
    pub(super) fn add(&mut self, took: Duration) {
        self.commits += 1;
        self.last = took;
        self.longest = self.longest.max(took);
    }
}

/// What became of the points of one channel that are on disk: `open + queued + uploaded + rejected = recorded + filled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Points {
    /// In batches that no chunk holds yet.
    pub open: u64,
    /// In chunks that wait for the platform's confirmation.
    pub queued: u64,
    /// Confirmed by the platform.
    pub uploaded: u64,
    /// Refused by the platform, or damaged on disk; kept.
    pub rejected: u64,
}

impl Points {
    /// All points of the channel that are on disk.
    pub fn total(&self) -> u64 {
        self.open + self.queued + self.uploaded + self.rejected
    }
}

/// The accounts of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunTotals {
    /// The run.
    pub run: RunId,
    /// The name of its streams.
    pub name: String,
    /// How far it has come.
    pub state: RunState,
    /// Its newest stream.
    pub stream: Option<StreamRecord>,
    /// Its channels.
    pub channels: Arc<[Channel]>,
    /// What became of the readings of each channel.
    pub counts: Vec<Counts>,
    /// What became of the points of each channel.
    pub points: Vec<Points>,
    /// Chunks sealed so far.
    pub sealed_chunks: u64,
    /// Chunks that wait for the platform's confirmation.
    pub queued_chunks: u64,
    /// When the oldest of those was sealed, in its session's time.
    pub oldest_queued: Option<Stamp>,
    /// Where the platform says to hold another number of points on the newest stream than this file accounts for.
    pub disagreements: Vec<Disagreement>,
}

/// The platform's account of a channel does not fit ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// The stream.
    pub data_id: String,
    /// The channel.
    pub channel: ChannelName,
    /// Points that the platform has said to hold.
    pub said: u64,
    /// Points that it has confirmed.
    pub confirmed: u64,
    /// Points that may have been sent besides.
    pub unconfirmed: u64,
}
