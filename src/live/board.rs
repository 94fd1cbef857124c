//! The board: written as reports come in, read as a whole.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{
    Begun, ChannelLive, ClockSteps, Failing, InstrumentLive, LeftOut, Limits, LinkLive, LinkState, PlatformLive,
    RunLive, Snapshot, Speech, StoreLive,
};
use crate::model::{Channel, ClockReading, Counts, Reason, Sample, TimeBase};

/// Numbers kept for a first look: a minute at 10 Hz.
const RECENT: usize = 600;

/// Where everything can be seen.
#[derive(Debug)]
pub struct Board {
    time: TimeBase,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    links: Vec<LinkLive>,
    instruments: Vec<InstrumentLive>,
    channels: Vec<ChannelLive>,
    store: StoreLive,
    begun: Vec<Begun>,
    obstacle: Option<String>,
    platform: PlatformLive,
    clock: Option<ClockReading>,
    clock_steps: Option<ClockSteps>,
}

/// What a poll tells the board.
#[derive(Debug)]
pub struct PollNote<'a> {
    /// Every sample of the poll.
    pub samples: &'a [Sample],
    /// Time from request to answer.
    pub round_trip: Option<Duration>,
    /// How long after its slot the poll began.
    pub late_by: Duration,
    /// Slots that go unused.
    pub missed: u64,
    /// What failed, in one word and in many.
    pub failure: Option<(&'a Reason, &'a str)>,
}

/// What a while of listening tells the board.
#[derive(Debug)]
pub struct HeardNote<'a> {
    /// Every sample of it.
    pub samples: &'a [Sample],
    /// Messages that were understood.
    pub messages: u64,
    /// Messages that were not.
    pub broken: u64,
    /// What is wrong with the instrument, in one word and in many.
    pub failure: Option<(&'a Reason, &'a str)>,
}

impl Board {
    /// A board for these links, instruments and channels.
    pub fn new(
        time: TimeBase,
        links: Vec<LinkLive>,
        instruments: Vec<InstrumentLive>,
        channels: Vec<(Channel, Limits)>,
    ) -> Self {
        let channels = channels
            .into_iter()
            .map(|(channel, limits)| ChannelLive {
                channel,
                limits,
                latest: None,
                uncertainty: Duration::ZERO,
                value: None,
                recent: VecDeque::new(),
                read: 0,
                bad: 0,
            })
            .collect();
        let platform = PlatformLive { state: "unknown", ..PlatformLive::default() };
        let state = State {
            links,
            instruments,
            channels,
            store: StoreLive::default(),
            begun: Vec::new(),
            obstacle: None,
            platform,
            clock: None,
            clock_steps: None,
        };
        Self { time, state: Mutex::new(state) }
    }

    /// Notes that a link is open.
    pub fn link_opened(&self, link: usize) {
        if let Some(live) = self.lock().links.get_mut(link) {
            live.state = LinkState::Open;
        }
    }

    /// Notes that a link is not open.
    pub fn link_down(&self, link: usize, why: &str) {
        let now = self.time.now();
        if let Some(live) = self.lock().links.get_mut(link) {
            let since = match live.state {
                LinkState::Down { since, .. } => since,
                _ => now,
            };
            live.state = LinkState::Down { since, why: why.to_owned() };
        }
    }

    /// Notes slots that went by unused.
    pub fn missed(&self, instrument: usize, slots: u64) {
        if let Some(live) = self.lock().instruments.get_mut(instrument) {
            live.missed += slots;
        }
    }

    /// Notes what an instrument refuses to give.
    pub fn left_out(&self, instrument: usize, left_out: Vec<LeftOut>) {
        if let Some(live) = self.lock().instruments.get_mut(instrument) {
            live.left_out = left_out;
        }
    }

    /// Notes a poll of an instrument.
    pub fn polled(&self, instrument: usize, note: &PollNote<'_>) {
        let now = self.time.now();
        let mut state = self.lock();
        if let Some(live) = state.instruments.get_mut(instrument) {
            live.polls += 1;
            live.missed += note.missed;
            live.late_by = note.late_by;
            if note.round_trip.is_some() {
                live.round_trip = note.round_trip;
                live.answered_at = Some(now);
            }
            live.failing = note.failure.map(|(reason, words)| {
                live.failed += 1;
                let since = live.failing.as_ref().map_or(now, |failing| failing.since);
                Failing { since, reason: reason.clone(), words: words.to_owned() }
            });
        }
        for sample in note.samples {
            if let Some(live) = state.channels.get_mut(sample.channel.0) {
                live.note(sample);
            }
        }
    }

    /// Notes what an instrument that speaks unasked has said within a while.
    pub fn heard(&self, instrument: usize, note: &HeardNote<'_>) {
        let now = self.time.now();
        let mut state = self.lock();
        if let Some(live) = state.instruments.get_mut(instrument) {
            let speech = live.speech.get_or_insert_with(|| Speech::new(now));
            speech.note(note.messages, note.broken, now);
            if note.messages > 0 {
                live.answered_at = Some(now);
            }
            live.failed += note.broken;
            if let Some((reason, words)) = note.failure {
                let since = live.failing.as_ref().map_or(now, |failing| failing.since);
                live.failing = Some(Failing { since, reason: reason.clone(), words: words.to_owned() });
            } else if note.messages > 0 {
                live.failing = None;
            }
        }
        for sample in note.samples {
            if let Some(live) = state.channels.get_mut(sample.channel.0) {
                live.note(sample);
            }
        }
    }

    /// Replaces what is known of the runs on disk.
    pub fn set_store(&self, store: StoreLive) {
        self.lock().store = store;
    }

    /// Notes that a run has been begun or is gone on with. To be called before any reading of this process is in its counts.
    pub fn set_begun(&self, begun: Begun) {
        self.lock().begun.push(begun);
    }

    /// Notes why no run can be begun, if none can.
    pub fn set_obstacle(&self, why: Option<String>) {
        self.lock().obstacle = why;
    }

    /// Replaces what is known of the platform.
    pub fn set_platform(&self, platform: PlatformLive) {
        self.lock().platform = platform;
    }

    /// Notes a measurement of the session's clock.
    pub fn set_clock(&self, clock: ClockReading) {
        self.lock().clock = Some(clock);
    }

    /// Notes that the host's clock was set by this many nanoseconds.
    pub fn clock_stepped(&self, by: i64) {
        let now = self.time.now();
        let mut state = self.lock();
        let count = state.clock_steps.map_or(0, |steps| steps.count) + 1;
        state.clock_steps = Some(ClockSteps { count, last_at: now, last_nanos: by });
    }

    /// Everything, as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        Snapshot {
            at: self.time.now(),
            started: self.time.zero().wall,
            links: state.links.clone(),
            instruments: state.instruments.clone(),
            channels: state.channels.clone(),
            run: state.run(),
            store: state.store.clone(),
            begun: state.begun.clone(),
            obstacle: state.obstacle.clone(),
            platform: state.platform.clone(),
            clock: state.clock,
            clock_steps: state.clock_steps,
        }
    }

    /// A panic elsewhere leaves at worst a half-written note, which the next poll overwrites.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What is being recorded, or was last. All of it is of one moment, so that it adds up: what came in is counted here
    /// before the recorder gets it, and what the recorder has not accounted for waits.
    fn run(&self) -> RunLive {
        let account = self.begun.last().and_then(|begun| self.store.account(&begun.run));
        let points = account.map(|account| account.points_total()).unwrap_or_default();
        let waiting = |(channel, live): (usize, &ChannelLive)| {
            let accounted = |begun: &Begun| {
                let read = |counts: &[Counts]| counts.get(channel).map_or(0, |counts| counts.read);
                let now = self.store.account(&begun.run).map_or(0, |account| read(&account.counts));
                now.saturating_sub(read(&begun.before))
            };
            live.read.saturating_sub(self.begun.iter().map(accounted).sum())
        };
        RunLive {
            run: account.map(|account| account.run.to_string()),
            name: account.map(|account| account.name.clone()).unwrap_or_default(),
            paused: self.store.paused.clone(),
            counts: account.map(|account| account.counts.clone()).unwrap_or_default(),
            waiting: self.channels.iter().enumerate().map(waiting).collect(),
            uploaded: points.uploaded,
            queued: points.queued,
            rejected: points.rejected,
            queued_chunks: self.store.runs.iter().map(|account| account.queued_chunks).sum(),
            disk: self.store.disk.clone(),
        }
    }
}

impl ChannelLive {
    fn note(&mut self, sample: &Sample) {
        self.read += 1;
        self.latest = Some((sample.at, sample.outcome.clone()));
        self.uncertainty = sample.uncertainty;
        let Some(value) = sample.outcome.value() else {
            self.bad += 1;
            return;
        };
        self.value = Some((sample.at, value));
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((sample.at, value));
    }
}
