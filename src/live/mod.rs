//! Live: the latest values and the state of everything, for whoever looks.
//!
//! The [`Board`] is written by the bridge as reports come in and read as one consistent [`Snapshot`]. It holds the
//! present and a short past only; what has to last is in the run file. Nothing here waits for a reader.

mod board;
mod host;
mod number;
mod speech;
mod taps;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Channel, ChannelIndex, ClockReading, Counts, Finite, Outcome, Reason, Stamp};

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
    /// What is being recorded.
    pub run: RunLive,
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

/// What is being recorded.
#[derive(Debug, Clone, Default)]
pub struct RunLive {
    /// The run; none between runs.
    pub run: Option<String>,
    /// Its name on the platform.
    pub name: String,
    /// Why recording has paused, if it has.
    pub paused: Option<String>,
    /// What became of the readings, per channel, as far as that is known and on disk.
    pub counts: Vec<Counts>,
    /// Samples that are not on a tick yet, or wait for the recorder.
    pub waiting: u64,
    /// Points on disk that are confirmed by the platform.
    pub uploaded: u64,
    /// Points on disk that are not yet confirmed.
    pub queued: u64,
    /// Points that the platform refuses.
    pub rejected: u64,
    /// Sealed chunks that are not yet confirmed.
    pub queued_chunks: u64,
    /// Run files that could not be read and were set aside, with the reason.
    pub set_aside: Vec<String>,
    /// Time of the last durable commit.
    pub commit_took: Option<Duration>,
    /// Space on the disk.
    pub disk: DiskLive,
}

/// What the platform has of it.
#[derive(Debug, Clone, Default)]
pub struct PlatformLive {
    /// In one word: `unknown`, `up`, `down`, `holding`.
    pub state: &'static str,
    /// Why, where it is not up.
    pub why: Option<String>,
    /// The stream that takes the chunks now.
    pub data_id: Option<String>,
    /// Runs that can't be uploaded at the moment though the platform is up, and why.
    pub held: Vec<String>,
    /// Requests that wait for their answer.
    pub in_flight: usize,
}

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
        complaints.extend(self.run.set_aside.iter().map(|file| format!("a run file was set aside: {file}")));
        if let Some(why) = &self.run.paused {
            complaints.push(format!("recording has paused: {why}"));
        }
        complaints.extend(self.complaints_of_host());
        complaints.extend(self.platform.held.iter().map(|held| format!("a run can't be uploaded: {held}")));
        if let Some(why) = &self.platform.why {
            complaints.push(format!("the platform is {}: {why}", self.platform.state));
        }
        if self.run.rejected > 0 {
            complaints.push(format!("the platform has refused {} points; they are kept", self.run.rejected));
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
