//! How far the upload of one run has come, and what its next step is. Holds no network and no disk.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::RunStatus;
use super::lanes::Lane;
use super::lanes::Lanes;
use super::refusals::Refusals;
use super::refusals::Verdict;
use crate::model::ChannelName;
use crate::model::Frozen;
use crate::model::OutboxRun;
use crate::model::RunState;
use crate::model::StreamRecord;
use crate::model::StreamSpec;
use crate::model::StreamState;

/// Most chunks of one run in memory. Four times the widest window, for those that wait between others.
const MOST_CHUNKS: usize = 64;

/// Points of a chunk of which 64 do not weigh: 4 MiB of numbers in all.
const SMALL_CHUNK: usize = 8192;

/// The next thing to do for a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Create a stream.
    Open(StreamSpec),
    /// Record a stream that was created before and could not be recorded.
    Record(String),
    /// Freeze and fetch chunks, from this one on.
    Take(u64),
    /// Send a chunk.
    Send(Arc<Frozen>),
    /// Send a chunk channel by channel.
    Try(Arc<Frozen>),
    /// Keep a chunk as rejected.
    Reject(Arc<Frozen>, Vec<(ChannelName, String)>),
    /// Record that the platform has ended the stream with this id, for this reason.
    End(String, String),
    /// Finalize the stream with this id.
    Finalize(String),
    /// Nothing is to be sent and no stream is open: the run is done.
    Close,
}

impl Step {
    /// Whether the platform is asked.
    pub(super) fn needs_platform(&self) -> bool {
        !matches!(self, Self::Record(_) | Self::Take(_) | Self::Reject(..) | Self::Close)
    }

    pub(super) fn is_take(&self) -> bool {
        matches!(self, Self::Take(_))
    }
}

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) frozen: Arc<Frozen>,
    pub(super) not_before: Option<Instant>,
    /// Failures between which other requests were answered: the chunk itself seems to be the cause.
    pub(super) own_failures: u32,
    pub(super) answers_at_failure: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Hold {
    pub(super) until: Instant,
    pub(super) why: Option<String>,
}

/// The upload of one run.
#[derive(Debug)]
pub(super) struct RunUpload {
    pub(super) run: OutboxRun,
    pub(super) ready: VecDeque<Waiting>,
    pub(super) flying: BTreeMap<u64, Waiting>,
    /// Refused chunks, about which nothing is decided yet.
    pub(super) aside: BTreeMap<u64, Waiting>,
    pub(super) lanes: Lanes,
    pub(super) refusals: Refusals,
    /// A step that must be alone (all but sending) is under way.
    pub(super) busy: bool,
    /// The outbox had nothing more when it was last asked.
    pub(super) exhausted: bool,
    /// `run.queued` was read while nothing was under way, and nothing has begun since: zero means zero.
    pub(super) exact: bool,
    pub(super) hold: Option<Hold>,
    pub(super) unrecorded: Option<String>,
    pub(super) ending: Option<String>,
    /// The stream was said to be gone by a request before this number.
    pub(super) gone_before: Option<u64>,
    /// The stream was created by this process, and nothing has been confirmed on it yet.
    pub(super) fresh: bool,
    /// Streams created since a chunk was last confirmed.
    pub(super) barren: u32,
    /// Refusals to finalize, in a row.
    pub(super) finalize_refusals: u32,
    /// Above the number of its last request that failed.
    pub(super) failed_at: u64,
    /// Steps that its file could not take, since one was last recorded.
    pub(super) file_failures: u32,
}

impl RunUpload {
    pub(super) fn new(run: OutboxRun) -> Self {
        Self {
            run,
            ready: VecDeque::new(),
            flying: BTreeMap::new(),
            aside: BTreeMap::new(),
            lanes: Lanes::default(),
            refusals: Refusals::default(),
            busy: false,
            exhausted: false,
            exact: true,
            hold: None,
            unrecorded: None,
            ending: None,
            gone_before: None,
            fresh: false,
            barren: 0,
            finalize_refusals: 0,
            failed_at: 0,
            file_failures: 0,
        }
    }

    pub(super) fn run(&self) -> &OutboxRun {
        &self.run
    }

    /// Above the number of its last request that failed; zero if none has.
    pub(super) fn failed_at(&self) -> u64 {
        self.failed_at
    }

    /// A request of its, with this number, failed.
    pub(super) fn troubled(&mut self, number: u64) {
        self.failed_at = number + 1;
    }

    pub(super) fn is_live(&self) -> bool {
        self.run.state == RunState::Recording
    }

    /// Takes over what the outbox says now.
    pub(super) fn refresh(&mut self, run: OutboxRun) {
        self.run = run;
        self.exact = self.is_quiet();
        self.exhausted = false;
    }

    /// Whether nothing of it is under way.
    pub(super) fn is_quiet(&self) -> bool {
        !self.busy && self.flying.is_empty()
    }

    /// Whether nothing of it is under way, and no chunk in memory.
    fn is_idle(&self) -> bool {
        self.is_quiet() && self.ready.is_empty() && self.aside.is_empty()
    }

    pub(super) fn status(&self, now: Instant) -> RunStatus {
        RunStatus {
            run: self.run.run.clone(),
            state: self.run.state,
            queued: self.run.queued,
            stream: self.run.stream.clone(),
            held: self.hold.as_ref().filter(|hold| hold.until > now).and_then(|hold| hold.why.clone()),
        }
    }

    fn open_stream(&self) -> Option<&StreamRecord> {
        self.run.stream.as_ref().filter(|stream| stream.state == StreamState::Open)
    }

    /// What to do next, if there is anything that may be done now.
    pub(super) fn step(&self, now: Instant) -> Option<Step> {
        if self.busy || self.hold.as_ref().is_some_and(|hold| hold.until > now) {
            return None;
        }
        if let Some(data_id) = &self.unrecorded {
            return Some(Step::Record(data_id.clone()));
        }
        let Some(stream) = self.open_stream() else { return self.step_without_stream() };
        if let Some(why) = &self.ending {
            return self.flying.is_empty().then(|| Step::End(stream.data_id.clone(), why.clone()));
        }
        match self.verdict() {
            Verdict::Try(seq) => return self.aside.get(&seq).map(|one| Step::Try(Arc::clone(&one.frozen))),
            Verdict::Reject(seq, channels) => {
                return self.aside.get(&seq).map(|one| Step::Reject(Arc::clone(&one.frozen), channels));
            }
            Verdict::Over(_) | Verdict::Wait => {}
        }
        if self.refusals.pause() {
            return None;
        }
        let first = self.lanes.next();
        if let Some(step) = self.send_or_fetch(first, now).or_else(|| self.send_or_fetch(first.other(), now)) {
            return Some(step);
        }
        let closed = self.run.state == RunState::Closed;
        if closed && self.run.queued == 0 && self.exact && self.is_idle() {
            return Some(Step::Finalize(stream.data_id.clone()));
        }
        None
    }

    /// The next chunk of a lane, or where to fetch one.
    fn send_or_fetch(&self, lane: Lane, now: Instant) -> Option<Step> {
        let mut ready = self.ready.iter().filter(|waiting| self.lanes.of(waiting.frozen.seq) == lane).peekable();
        let at_hand = ready.peek().is_some();
        if let Some(waiting) = ready.find(|waiting| waiting.not_before.is_none_or(|at| at <= now)) {
            return Some(Step::Send(Arc::clone(&waiting.frozen)));
        }
        if self.room() == 0 {
            return None;
        }
        match lane {
            Lane::Live if at_hand => None,
            Lane::Live => self.lanes.live_waiting(self.run.next_seq).map(Step::Take),
            Lane::Backlog => {
                let more = self.run.queued > self.chunks_in_memory() as u64;
                (more && !self.exhausted).then_some(Step::Take(0))
            }
        }
    }

    /// Whether many chunks may be in memory at once, so that few fetches suffice.
    pub(super) fn chunks_are_small(&self) -> bool {
        let newest = self.ready.back().or_else(|| self.flying.values().next_back());
        newest.is_some_and(|waiting| waiting.frozen.chunk.points() <= SMALL_CHUNK)
    }

    fn step_without_stream(&self) -> Option<Step> {
        let never_had_one = self.run.stream.is_none();
        match self.run.state {
            _ if self.run.queued > 0 => Some(Step::Open(self.next_spec())),
            // The stream is created as soon as it can be, so that the lab finds it before the first chunk is full.
            RunState::Recording if never_had_one => Some(Step::Open(self.next_spec())),
            RunState::Closed if self.exact && self.is_idle() => Some(Step::Close),
            _ => None,
        }
    }

    /// A continuation says so in its name.
    fn next_spec(&self) -> StreamSpec {
        let mut spec = self.run.spec.clone();
        if let Some(before) = &self.run.stream {
            spec.name = format!("{} (continued {})", spec.name, before.number + 1).trim().to_owned();
        }
        spec
    }

    pub(super) fn verdict(&self) -> Verdict {
        let last = self.run.state == RunState::Closed
            && self.exact
            && self.ready.is_empty()
            && self.run.queued <= self.aside.len() as u64;
        self.refusals.verdict(last, self.fresh)
    }

    /// When the next step may become possible by the mere passing of time.
    pub(super) fn wake(&self, now: Instant) -> Option<Instant> {
        let hold = self.hold.as_ref().map(|hold| hold.until);
        self.ready.iter().filter_map(|waiting| waiting.not_before).chain(hold).filter(|at| *at > now).min()
    }

    /// How many more chunks may be fetched.
    pub(super) fn room(&self) -> usize {
        MOST_CHUNKS.saturating_sub(self.chunks_in_memory())
    }

    fn chunks_in_memory(&self) -> usize {
        self.ready.len() + self.flying.len() + self.aside.len()
    }

    /// The chunks in memory, which the outbox is not to give again.
    pub(super) fn in_memory(&self) -> Vec<u64> {
        let ready = self.ready.iter().map(|waiting| waiting.frozen.seq);
        ready.chain(self.flying.keys().copied()).chain(self.aside.keys().copied()).collect()
    }
}
