//! What the uploader is doing, as one snapshot for people.

use tokio::time::Instant;

use crate::model::RunId;
use crate::model::RunState;
use crate::model::StreamRecord;

/// How the platform behaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PlatformState {
    /// It has not been asked yet.
    #[default]
    Unknown,
    /// It takes what it is sent.
    Up,
    /// It does not answer, or answers that it can't at the moment. One request at a time tries it.
    Down {
        /// Since when.
        since: Instant,
        /// The last failure, with its causes.
        why: String,
    },
    /// It does not accept the key. Nothing is lost; it is tried again each minute.
    Holding {
        /// Since when.
        since: Instant,
        /// The platform's words.
        why: String,
    },
}

/// A failure that people are told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: Instant,
    /// What failed and why, in one line.
    pub words: String,
}

/// How far a run's upload has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStatus {
    /// The run.
    pub run: RunId,
    /// How far the run itself has come.
    pub state: RunState,
    /// Chunks that are sealed and neither confirmed nor rejected.
    pub queued: u64,
    /// Its newest stream, once there is one.
    pub stream: Option<StreamRecord>,
    /// Why nothing of it is sent although the platform is up; tried again each minute or more seldom.
    pub held: Option<String>,
}

/// A snapshot of the uploader. Counts are of this process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// How the platform behaves.
    pub platform: PlatformState,
    /// Most requests that may be in flight now.
    pub window: usize,
    /// Requests in flight.
    pub in_flight: usize,
    /// Chunks confirmed.
    pub confirmed: u64,
    /// Points in them.
    pub confirmed_points: u64,
    /// Channels of confirmed chunks that the platform refused; they are kept as rejected.
    pub refused: u64,
    /// Attempts that failed and were or will be made again.
    pub failed_attempts: u64,
    /// When the last chunk was confirmed.
    pub last_confirmed: Option<Instant>,
    /// The last failure, of any kind.
    pub last_failure: Option<Failure>,
    /// The runs that still need the platform, oldest first.
    pub runs: Vec<RunStatus>,
}

/// What was left when the uploader ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Left {
    /// Chunks that are neither confirmed nor rejected.
    pub queued: u64,
    /// Closed runs that are not done: something is queued, or a stream is not finalized.
    pub unfinished: Vec<RunId>,
}

impl Left {
    /// Whether the platform has all there was to send.
    pub fn is_nothing(&self) -> bool {
        self.queued == 0 && self.unfinished.is_empty()
    }
}
