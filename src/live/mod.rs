//! Live: the latest values and the state of everything, for whoever looks.
//!
//! The [`Board`] is written by the bridge as reports come in and read as one consistent [`Snapshot`]. It holds the
//! present and a short past only; what has to last is in the run file. Nothing here waits for a reader.

mod accounts;
mod actions;
mod board;
mod host;
mod number;
mod speech;
mod taps;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Channel, ChannelIndex, ClockReading, Counts, Finite, Outcome, Reason, RunId, Stamp};

pub use accounts::{Begun, Disagreement, PointsLive, RunAccount, SetAside, StoreLive};
pub use actions::{Actions, NotDone};
pub use board::{Board, HeardNote, PollNote};
pub use host::{ClockSteps, DiskLive};
pub use number::number;
pub use speech::Speech;
pub use taps::{NoWatch, Tap, Taps, Watch};

/// Everything at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The moment, in the session's time base.
    pub at: Stamp,
    /// When the session began.
    pub started: Stamp,
    /// The links, in the order of the lab's TOML.
    pub links: Vec<LinkLive>,
    /// The instruments, in the order of the lab's TOML.
    pub instruments: Vec<InstrumentLive>,
    /// The channels, in the bridge's order.
    pub channels: Vec<ChannelLive>,
    /// What is being recorded, or was last.
    pub run: RunLive,
    /// What the run store says of all runs.
    pub store: StoreLive,
    /// The runs that this process has begun or gone on with, oldest first.
    pub begun: Vec<Begun>,
    /// Why no run can be begun, if none can.
    pub obstacle: Option<String>,
    /// What the platform has of it.
    pub platform: PlatformLive,
    /// The session's clock against reference UTC, once measured.
    pub clock: Option<ClockReading>,
    /// Steps of the host's clock, if there were any.
    pub clock_steps: Option<ClockSteps>,
}

/// One link.
#[derive(Debug, Clone)]
pub struct LinkLive {
    /// Its name in the lab's TOML.
    pub name: Arc<str>,
    /// Where it goes.
    pub target: String,
    /// How it is.
    pub state: LinkState,
}

/// How a link is.
#[derive(Debug, Clone, PartialEq)]
pub enum LinkState {
    /// Not opened yet.
    Opening,
    /// Open.
    Open,
    /// Not open, and tried again by itself.
    Down {
        /// Since when.
        since: Stamp,
        /// Why.
        why: String,
    },
}

/// One instrument.
#[derive(Debug, Clone)]
pub struct InstrumentLive {
    /// Its name in the lab's TOML.
    pub name: Arc<str>,
    /// Its link's place in the list of links.
    pub link: usize,
    /// Its profile.
    pub profile: Arc<str>,
    /// Whether it has answered at all.
    pub answered_at: Option<Stamp>,
    /// Since when it has not answered, and what for.
    pub failing: Option<Failing>,
    /// Polls carried out.
    pub polls: u64,
    /// Polls that failed, in whole or in part.
    pub failed: u64,
    /// Slots that went unused: late polls, pauses of a silent instrument, a link that was down.
    pub missed: u64,
    /// Time from request to answer, the last.
    pub round_trip: Option<Duration>,
    /// How long after its slot the last poll began.
    pub late_by: Duration,
    /// What it says unasked; none for one that is asked.
    pub speech: Option<Speech>,
    /// What it refuses to give.
    pub left_out: Vec<LeftOut>,
}

/// What an instrument refuses to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The channels that have no value for it.
    pub channels: Vec<ChannelIndex>,
    /// Where that is in the instrument, and its own words: `holding 40: exception 2, illegal data address`.
    pub what: String,
}

impl InstrumentLive {
    /// An instrument that has not been polled yet.
    pub fn new(name: Arc<str>, link: usize, profile: Arc<str>) -> Self {
        Self {
            name,
            link,
            profile,
            answered_at: None,
            failing: None,
            polls: 0,
            failed: 0,
            missed: 0,
            round_trip: None,
            late_by: Duration::ZERO,
            left_out: Vec::new(),
            speech: None,
        }
    }
}

/// An instrument that fails.
#[derive(Debug, Clone, PartialEq)]
pub struct Failing {
    /// Since when.
    pub since: Stamp,
    /// In one word.
    pub reason: Reason,
    /// The last error in words.
    pub words: String,
}

/// Values beyond which people want to be told. They say nothing of how far a reading can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// Lowest usual value.
    pub low: Option<f64>,
    /// Highest usual value.
    pub high: Option<f64>,
}

/// One channel.
#[derive(Debug, Clone)]
pub struct ChannelLive {
    /// The channel.
    pub channel: Channel,
    /// What is usual for it.
    pub limits: Limits,
    /// The last reading, good or bad, and its time.
    pub latest: Option<(Stamp, Outcome)>,
    /// Half the round trip of the last reading.
    pub uncertainty: Duration,
    /// The last number, and its time.
    pub value: Option<(Stamp, Finite)>,
    /// Numbers of the last minutes, oldest first.
    pub recent: VecDeque<(Stamp, Finite)>,
    /// Readings in this session.
    pub read: u64,
    /// Readings without a number in this session.
    pub bad: u64,
}

/// What is being recorded, or was last.
#[derive(Debug, Clone, Default)]
pub struct RunLive {
    /// The run; none before the first.
    pub run: Option<String>,
    /// Its name on the platform.
    pub name: String,
    /// Why recording has paused, if it has.
    pub paused: Option<String>,
    /// What became of the readings, per channel, as far as that is known and on disk.
    pub counts: Vec<Counts>,
    /// Readings, per channel, that have come in and are not accounted for on disk yet: their tick is open, or on its way.
    pub waiting: Vec<u64>,
    /// Points on disk that are confirmed by the platform.
    pub uploaded: u64,
    /// Points on disk that are not yet confirmed.
    pub queued: u64,
    /// Points that the platform refuses.
    pub rejected: u64,
    /// Sealed chunks, of all runs, that are not yet confirmed.
    pub queued_chunks: u64,
    /// Space on the disk.
    pub disk: DiskLive,
}

/// What the platform has of it. Counts are of this process.
#[derive(Debug, Clone, Default)]
pub struct PlatformLive {
    /// In one word: `unknown`, `up`, `down`, `holding`.
    pub state: &'static str,
    /// Since when it has been down or holding.
    pub since: Option<Stamp>,
    /// Why, where it is not up.
    pub why: Option<String>,
    /// The stream that takes the chunks now.
    pub data_id: Option<String>,
    /// Runs that can't be uploaded at the moment though the platform is up, and why.
    pub held: Vec<(RunId, String)>,
    /// Most requests that may wait for their answer.
    pub window: usize,
    /// Requests that wait for their answer.
    pub in_flight: usize,
    /// Chunks confirmed.
    pub confirmed_chunks: u64,
    /// Points in them.
    pub confirmed_points: u64,
    /// Channels of chunks that it refused.
    pub refused: u64,
    /// Attempts that failed and were or will be made again.
    pub failed_attempts: u64,
    /// When a chunk was last confirmed.
    pub last_confirmed: Option<Stamp>,
    /// The last failure of any kind, and when it was.
    pub last_failure: Option<(Stamp, String)>,
}

/// The states that [`PlatformLive::state`] names.
pub const PLATFORM_STATES: [&str; 4] = ["unknown", "up", "down", "holding"];

impl Snapshot {
    /// What is not as it should be, in words a person can act on; empty when all is well.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for link in &self.links {
            if let LinkState::Down { since, why } = &link.state {
                let seconds = self.at.since(*since).as_secs();
                complaints.push(format!("link `{}` has been down for {seconds} s: {why}", link.name));
            }
        }
        for instrument in &self.instruments {
            if let Some(failing) = instrument.failing.as_ref().filter(|failing| failing.reason != Reason::WARMING_UP) {
                let seconds = self.at.since(failing.since).as_secs();
                complaints.push(format!("`{}` has failed for {seconds} s: {}", instrument.name, failing.words));
            }
            for left_out in &instrument.left_out {
                complaints.push(format!(
                    "`{}` refuses {}, so {} has no value; compare the profile with the instrument's model and options, \
                     or leave the channel out of the lab's file",
                    instrument.name,
                    left_out.what,
                    self.names(&left_out.channels),
                ));
            }
        }
        if let Some(why) = &self.obstacle {
            complaints.push(format!("nothing is recorded: {why}"));
        }
        let lost: u64 = self.run.counts.iter().map(|counts| counts.unrecorded).sum();
        if lost > 0 {
            complaints.push(format!("{lost} samples of this run could not be recorded"));
        }
        let set_aside = |file: &SetAside| {
            format!(
                "a run file was set aside: {}: {} (move it elsewhere when you have seen to it)",
                file.path, file.why
            )
        };
        complaints.extend(self.store.set_aside.iter().map(set_aside));
        if let Some(why) = &self.run.paused {
            complaints.push(format!("recording has paused: {why}"));
        }
        complaints.extend(self.complaints_of_host());
        complaints.extend(self.platform.held.iter().map(|(_, why)| format!("a run can't be uploaded: {why}")));
        if let Some(why) = &self.platform.why {
            complaints.push(format!("the platform is {}: {why}", self.platform.state));
        }
        for account in self.store.all() {
            let rejected = account.points_total().rejected;
            if rejected > 0 {
                complaints.push(format!(
                    "the platform has refused {rejected} points; they are kept, `mbe-bridge runs resend {}` sends them again",
                    account.run
                ));
            }
            let missing = account.disagreements.iter().filter(|found| found.missing);
            complaints
                .extend(missing.map(|found| format!("points of run {} are missing: {}", account.run, found.words)));
        }
        complaints
    }

    /// The names of channels.
    pub fn names(&self, channels: &[ChannelIndex]) -> String {
        let live = channels.iter().filter_map(|channel| self.channels.get(channel.0));
        live.map(|live| format!("`{}`", live.channel.name)).collect::<Vec<_>>().join(", ")
    }

    /// Values beyond their limits, in words.
    pub fn alarms(&self) -> Vec<String> {
        let mut alarms = Vec::new();
        for live in &self.channels {
            let Some(value) = live.latest.as_ref().and_then(|(_, outcome)| outcome.value()).map(Finite::get) else {
                continue;
            };
            let unit = live.channel.unit.as_deref().unwrap_or("");
            let name = &live.channel.name;
            if let Some(high) = live.limits.high.filter(|high| value > *high) {
                alarms.push(format!("{name} is {value:e} {unit}, above {high:e}"));
            }
            if let Some(low) = live.limits.low.filter(|low| value < *low) {
                alarms.push(format!("{name} is {value:e} {unit}, below {low:e}"));
            }
        }
        alarms
    }

    /// Whether data flows: some channel has brought a number within this time, and recording has not paused.
    pub fn flows_within(&self, limit: Duration) -> bool {
        self.channels.iter().any(|channel| channel.value.is_some_and(|(at, _)| self.at.since(at) <= limit))
            && self.run.paused.is_none()
            && self.obstacle.is_none()
    }
}
