//! The instruments of one line: who answers what, who speaks unasked, and the record of what was said.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::Outcome;
use crate::profile::DeviceEngine;

use super::Error;
use super::bay::{Bay, Now};
use super::framing::Request;
use super::instrument::SimInstrument;
use super::line::Speech;
use super::message::{self, Known};
use super::pace::Pace;
use super::replay::{Player, Tape};
use super::said::{Record, Said};

/// How often an instrument speaks unasked that was not told how often.
const USUAL_PERIOD: Duration = Duration::from_millis(100);

/// All instruments of a line.
#[derive(Debug)]
pub(super) struct Bench {
    started: Instant,
    /// When the instruments were switched on, or the port came back.
    powered: Instant,
    /// Whether a character has arrived since.
    spoken_to: bool,
    bays: Vec<Bay>,
    /// A trace that is played instead of instruments.
    tape: Option<Tape>,
    /// What somebody wants to be said at once.
    prompted: VecDeque<Outgoing>,
    pub(super) record: Record,
}

/// What the line carries in answer to a request, or unasked.
#[derive(Debug)]
pub(super) enum Reply {
    /// Bytes, from some time after the end of the request.
    Bytes(Outgoing),
    /// The port goes away for this time.
    HangUp(Duration),
}

/// Bytes for the line.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) bytes: Vec<u8>,
    /// Time from the end of the request to the first byte.
    pub(super) delay: Duration,
    /// What spreads them.
    pub(super) spread: Spread,
    /// What they say; the times are filled in when they go.
    pub(super) said: Vec<(Arc<str>, Outcome)>,
    pub(super) instrument: Arc<str>,
    /// The place of the instrument whose answer it is, if it is one.
    pub(super) bay: Option<usize>,
    pub(super) intact: bool,
}

/// How bytes are spread, beyond the line's own pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spread {
    /// Not at all.
    None,
    /// Evenly over at least this time.
    Over(Duration),
    /// Each by itself, with this pause before.
    Pause(Duration),
}

/// When something went over the line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// When the first byte of the request came; the time of the first byte of what nobody asked for.
    pub(super) request_received: Instant,
    /// Just before its first byte.
    pub(super) first_byte: Instant,
    /// Just before its last byte.
    pub(super) last_byte: Instant,
}

impl Outgoing {
    /// Bytes that say nothing of any channel.
    pub(super) fn unasked(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            delay: Duration::ZERO,
            spread: Spread::None,
            said: Vec::new(),
            instrument: "".into(),
            bay: None,
            intact: false,
        }
    }
}

impl Bench {
    pub(super) fn new(instruments: Vec<SimInstrument>, keep: usize) -> Self {
        let now = Instant::now();
        let bays = instruments.into_iter().enumerate().map(|(place, instrument)| Bay::new(instrument, place)).collect();
        let record = Record::new(keep);
        Self { started: now, powered: now, spoken_to: false, bays, tape: None, prompted: VecDeque::new(), record }
    }

    /// No instruments, but a trace to be played.
    pub(super) fn playing(tape: Tape) -> Self {
        Self { tape: Some(tape), ..Self::new(Vec::new(), 0) }
    }

    /// The trace, if one is played.
    pub(super) fn tape(&self) -> Option<&Tape> {
        self.tape.as_ref()
    }

    /// Who plays what came unasked in the trace.
    pub(super) fn player(&self) -> Option<Player> {
        self.tape.as_ref().map(|tape| Player::new(tape.unasked()))
    }

    /// The instrument of that name.
    pub(super) fn bay(&mut self, name: &str) -> Result<&mut Bay, Error> {
        self.bays
            .iter_mut()
            .find(|bay| &*bay.instrument.name == name)
            .ok_or_else(|| Error::NoSuchInstrument(name.to_owned()))
    }

    /// All instruments.
    pub(super) fn bays(&self) -> impl Iterator<Item = &Bay> {
        self.bays.iter()
    }

    /// The line is there again: as if the instruments had been switched on.
    pub(super) fn power_up(&mut self) {
        self.powered = Instant::now();
        self.spoken_to = false;
        self.bays.iter_mut().for_each(Bay::power_up);
    }

    /// A character has arrived.
    pub(super) fn hears(&mut self) {
        self.spoken_to = true;
    }

    /// Whether the line sends requests back.
    pub(super) fn echoes(&self) -> bool {
        self.bays.iter().any(|bay| bay.faults.echoes())
    }

    /// Everything that may be sent to the instruments of this line that have messages of their own.
    pub(super) fn messages(&self) -> Vec<Known> {
        let of = |bay: &Bay| match &bay.instrument.device.engine {
            DeviceEngine::Messages(engine) => message::known(engine).collect(),
            DeviceEngine::Modbus(_) => Vec::new(),
        };
        let played = self.tape.iter().flat_map(Tape::requests);
        self.bays.iter().flat_map(of).chain(played).collect()
    }

    /// What comes of a Modbus request that ended at `at`.
    pub(super) fn asked(&mut self, request: &Request, speech: Speech, at: Instant) -> Vec<Reply> {
        let now = self.now(at);
        if let Some(tape) = &mut self.tape {
            return tape.asked(request);
        }
        self.bays.iter_mut().filter_map(|bay| bay.asked(request, speech, now)).flatten().collect()
    }

    /// What comes of a message that ended at `at`.
    pub(super) fn told(&mut self, message: &[u8], at: Instant) -> Vec<Reply> {
        let now = self.now(at);
        if let Some(tape) = &mut self.tape {
            return tape.told(message);
        }
        let alone = self.bays.len() == 1;
        self.bays.iter_mut().filter_map(|bay| bay.told(message, alone, now)).flatten().collect()
    }

    /// How often the instrument speaks that does so unasked, if there is one.
    pub(super) fn talks_every(&self, pace: &Pace) -> Option<Duration> {
        let bay = self.bays.iter().find(|bay| bay.is_talker())?;
        if let Some(rate) = bay.instrument.rate {
            return Some(Duration::try_from_secs_f64(rate.recip()).unwrap_or(USUAL_PERIOD));
        }
        let DeviceEngine::Messages(engine) = &bay.instrument.device.engine else { return None };
        let longest = engine.listens.iter().map(|listen| listen.expect.longest()).max().unwrap_or(0);
        let on_the_line = pace.time_of(longest + engine.framing.overhead());
        Some(USUAL_PERIOD.max(on_the_line + on_the_line / 10))
    }

    /// What is said unasked at `at`.
    pub(super) fn speaks(&mut self, at: Instant) -> Vec<Reply> {
        let now = self.now(at);
        self.bays.iter_mut().find(|bay| bay.is_talker()).map(|bay| bay.speak(now)).unwrap_or_default()
    }

    /// How often something is said until the first character arrives.
    pub(super) fn chatters_every(&self) -> Option<Duration> {
        if self.spoken_to {
            return None;
        }
        self.bays.iter().find_map(|bay| bay.faults.chatter()).map(|(_, every)| every)
    }

    /// What is said until the first character arrives.
    pub(super) fn chatter(&self) -> Option<Outgoing> {
        if self.spoken_to {
            return None;
        }
        let boots = |bay: &&Bay| self.powered.elapsed() >= bay.faults.boot();
        let said = self.bays.iter().filter(boots).find_map(|bay| bay.faults.chatter());
        said.map(|(bytes, _)| Outgoing::unasked(bytes.to_vec()))
    }

    /// Has something said at once.
    pub(super) fn prompt(&mut self, bytes: Vec<u8>) {
        self.prompted.push_back(Outgoing::unasked(bytes));
    }

    /// What somebody wants to be said.
    pub(super) fn prompted(&mut self) -> Option<Outgoing> {
        self.prompted.pop_front()
    }

    /// Records what is said.
    pub(super) fn note(&mut self, outgoing: &Outgoing, times: Times) {
        if let Some(bay) = outgoing.bay.and_then(|place| self.bays.get_mut(place)) {
            bay.answered(times.last_byte);
        }
        for (channel, outcome) in &outgoing.said {
            self.record.push(Said {
                instrument: Arc::clone(&outgoing.instrument),
                channel: Arc::clone(channel),
                outcome: outcome.clone(),
                request_received: times.request_received,
                first_byte_sent: times.first_byte,
                reply_sent: times.last_byte,
                intact: outgoing.intact,
            });
        }
    }

    fn now(&self, at: Instant) -> Now {
        Now {
            at,
            since: at.saturating_duration_since(self.started),
            powered: at.saturating_duration_since(self.powered),
        }
    }
}
