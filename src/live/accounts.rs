//! The accounts: what became of the points of every run, and what the disk has to say.

use std::sync::Arc;
use std::time::Duration;

use super::DiskLive;
use crate::model::{Channel, Counts, RunId, RunState, Stamp, StreamRecord};

/// What became of the points of one channel that are on disk: together they are what was recorded and filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PointsLive {
    /// Confirmed by the platform.
    pub uploaded: u64,
    /// Not yet confirmed, be they in a sealed chunk or not.
    pub queued: u64,
    /// Refused by the platform; kept.
    pub rejected: u64,
}

impl PointsLive {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.uploaded + self.queued + self.rejected
    }

    /// Adds those of another channel or run.
    pub fn add(&mut self, other: &Self) {
        self.uploaded += other.uploaded;
        self.queued += other.queued;
        self.rejected += other.rejected;
    }
}

/// The accounts of one run, of one moment: for each channel `recorded + filled = uploaded + queued + rejected`.
#[derive(Debug, Clone, PartialEq)]
pub struct RunAccount {
    /// The run.
    pub run: RunId,
    /// The name of its streams.
    pub name: String,
    /// How far it has come.
    pub state: RunState,
    /// Its channels.
    pub channels: Arc<[Channel]>,
    /// What became of the readings of each channel.
    pub counts: Vec<Counts>,
    /// What became of the points of each channel.
    pub points: Vec<PointsLive>,
    /// Chunks sealed so far.
    pub sealed_chunks: u64,
    /// Chunks that wait for the platform's confirmation.
    pub queued_chunks: u64,
    /// When the oldest of those was sealed, by the clock of its session.
    pub oldest_queued: Option<Stamp>,
    /// Its newest stream.
    pub stream: Option<StreamRecord>,
    /// Where the platform's count of points is another than the run file's.
    pub disagreements: Vec<Disagreement>,
}

/// The platform counts other points of a channel than the run file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// What each says.
    pub words: String,
    /// It counts fewer than it has confirmed. More may be its way of counting; fewer are missing.
    pub missing: bool,
}

impl RunAccount {
    /// What became of its readings, all channels together.
    pub fn counts_total(&self) -> Counts {
        let mut total = Counts::default();
        self.counts.iter().for_each(|counts| total.add(counts));
        total
    }

    /// What became of its points, all channels together.
    pub fn points_total(&self) -> PointsLive {
        let mut total = PointsLive::default();
        self.points.iter().for_each(|points| total.add(points));
        total
    }
}

/// A run file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is now.
    pub path: String,
    /// Why it was not read.
    pub why: String,
}

/// What the run store says of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StoreLive {
    /// Why recording has paused, if it has.
    pub paused: Option<String>,
    /// Points that the disk has not taken while paused.
    pub buffered: u64,
    /// The runs that are recorded or wait for the platform, oldest first.
    pub runs: Vec<RunAccount>,
    /// The runs that have become done since the process began, as they were then.
    pub done: Vec<RunAccount>,
    /// Run files that could not be read.
    pub set_aside: Vec<SetAside>,
    /// Durable commits since the process began.
    pub commits: u64,
    /// Time that the last of them took.
    pub commit_took: Option<Duration>,
    /// Time that the slowest of them took.
    pub commit_longest: Option<Duration>,
    /// Space on the disk.
    pub disk: DiskLive,
}

impl StoreLive {
    /// Every run that this process has had to do with: those that are not done, then those that are.
    pub fn all(&self) -> impl Iterator<Item = &RunAccount> {
        self.runs.iter().chain(&self.done)
    }

    /// The accounts of this run.
    pub fn account(&self, run: &RunId) -> Option<&RunAccount> {
        self.all().find(|account| account.run == *run)
    }
}

/// A run that this process has begun or gone on with, and what had become of its readings before.
#[derive(Debug, Clone, PartialEq)]
pub struct Begun {
    /// The run.
    pub run: RunId,
    /// What earlier processes had counted, per channel.
    pub before: Vec<Counts>,
}
