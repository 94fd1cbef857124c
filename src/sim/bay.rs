//! One instrument of a line with everything that changes: what it shows, where a conversation is, which faults strike.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::Outcome;
use crate::profile::{DeviceChannel, DeviceEngine};

use super::bench::{Outgoing, Reply, Spread};
use super::fault::{Fault, Faults};
use super::framing::{Request, mbap_frame, rtu_frame};
use super::instrument::{Answer, Shown, SimInstrument};
use super::line::Speech;
use super::message::{How, Spoken, Turn, Understood};
use super::{Error, Scenario, Signal, message, modbus};

/// Bytes that are no text: a NUL, as which a wrong parity shows, and what lies above the printable characters.
const STRAYS: [u8; 4] = [0x00, 0x7F, 0xFF, 0x80];

/// One instrument with everything that changes.
#[derive(Debug)]
pub(super) struct Bay {
    pub(super) instrument: SimInstrument,
    /// Its place on the bench.
    place: usize,
    signals: Vec<Signal>,
    set: BTreeMap<usize, Shown>,
    turn: Option<Turn>,
    /// Which of its unasked messages comes next.
    next_spoken: usize,
    pub(super) faults: Faults,
    /// How many bytes have been put astray.
    strays: usize,
    /// When its last answer went out.
    last_answer: Option<Instant>,
    /// Requests that it was asked.
    pub(super) polls: u64,
    /// Messages that it said unasked.
    pub(super) spoken: u64,
    /// Requests that would have changed it. It refuses them.
    pub(super) writes: u64,
}

/// When something happens, in the times that an instrument knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// The clock.
    pub(super) at: Instant,
    /// Time since the start of the scenario.
    pub(super) since: Duration,
    /// Time since power-up.
    pub(super) powered: Duration,
}

/// What an answer is before faults change its bytes.
struct Draft {
    answer: Answer,
    /// Bytes at its end that are no data.
    tail: usize,
    delay: Duration,
    speech: Speech,
    /// Whether its checksum has been made wrong already.
    spoilt: bool,
}

impl Bay {
    pub(super) fn new(instrument: SimInstrument, place: usize) -> Self {
        Self {
            signals: instrument.signals(),
            instrument,
            place,
            set: BTreeMap::new(),
            turn: None,
            next_spoken: 0,
            faults: Faults::default(),
            strays: 0,
            last_answer: None,
            polls: 0,
            spoken: 0,
            writes: 0,
        }
    }

    /// The channel of that id, by its place.
    pub(super) fn channel(&self, id: &str) -> Result<(usize, &DeviceChannel), Error> {
        let found = self.instrument.device.channels.iter().enumerate().find(|(_, channel)| &*channel.id == id);
        found.ok_or_else(|| Error::NoSuchChannel {
            instrument: self.instrument.name.to_string(),
            channel: id.to_owned(),
        })
    }

    /// Sets what a channel shows, until it is released.
    pub(super) fn set(&mut self, channel: usize, shown: Shown) {
        self.set.insert(channel, shown);
    }

    /// Lets a channel follow the scenario again.
    pub(super) fn release(&mut self, channel: usize) {
        self.set.remove(&channel);
    }

    /// Lets all channels follow another scenario.
    pub(super) fn follow(&mut self, scenario: Scenario) {
        self.instrument.scenario = scenario;
    }

    /// Forgets what a conversation has come to, as an instrument does that has lost its power.
    pub(super) fn power_up(&mut self) {
        self.turn = None;
        self.next_spoken = 0;
        self.last_answer = None;
    }

    /// An answer has gone out.
    pub(super) fn answered(&mut self, at: Instant) {
        self.last_answer = Some(at);
    }

    fn shown(&self, since: Duration) -> Vec<Shown> {
        let since = match self.faults.refresh().as_nanos() {
            0 => since,
            every => since.saturating_sub(nanos(since.as_nanos() % every)),
        };
        let scenario = &self.instrument.scenario;
        let course = |index: usize, signal: &Signal| {
            let plausible = self.instrument.device.channels.get(index).and_then(|channel| channel.decoding.plausible);
            let value = match plausible {
                // A growth may go beyond what this instrument is made for; it then shows the end of its range.
                Some((least, greatest)) if scenario.is_made_up() => {
                    scenario.value(signal, since).clamp(least, greatest)
                }
                _ => scenario.value(signal, since),
            };
            self.instrument.rounded(value)
        };
        let show =
            |(index, signal)| self.set.get(&index).cloned().unwrap_or_else(|| Shown::Course(course(index, signal)));
        self.signals.iter().enumerate().map(show).collect()
    }

    /// Whether it hears nothing at this time.
    fn is_deaf(&self, now: Now) -> bool {
        let busy = |last: Instant| now.at < last + self.faults.dead_time();
        now.powered < self.faults.boot() || self.last_answer.is_some_and(busy)
    }

    /// What comes of a Modbus request; none where it is for another unit.
    pub(super) fn asked(&mut self, request: &Request, speech: Speech, now: Now) -> Option<Vec<Reply>> {
        let DeviceEngine::Modbus(modbus) = &self.instrument.device.engine else { return None };
        if request.unit != self.instrument.unit || request.unit == 0 || self.is_deaf(now) {
            return None;
        }
        let function = request.pdu.first().copied().unwrap_or_default();
        self.polls += 1;
        self.writes += u64::from(modbus::writes(function));
        let mut answer = modbus::answer(&self.instrument.device, modbus, &self.shown(now.since), &request.pdu);
        let struck = self.faults.strike(None);
        let mut unit = request.unit;
        for fault in &struck {
            match fault {
                Fault::Exception(code) => answer.bytes = modbus::exception(function, *code).bytes,
                Fault::WrongUnit => unit = if unit == 247 { 1 } else { unit + 1 },
                _ => {}
            }
        }
        answer.bytes = match speech {
            Speech::Mbap => mbap_frame(request.transaction, unit, &answer.bytes),
            Speech::Rtu | Speech::Messages => rtu_frame(unit, &answer.bytes),
        };
        let delay = self.instrument.turnaround;
        Some(self.struck(Draft { answer, tail: 0, delay, speech, spoilt: false }, &struck))
    }

    /// What comes of a message; none where it is for somebody else. `alone` is an instrument that has the line for itself.
    pub(super) fn told(&mut self, message: &[u8], alone: bool, now: Now) -> Option<Vec<Reply>> {
        let DeviceEngine::Messages(engine) = &self.instrument.device.engine else { return None };
        if self.is_deaf(now) {
            return None;
        }
        let understood = message::understand(engine, self.turn.as_ref(), message);
        // On a bus nobody knows for whom an unknown message was.
        if understood == Understood::Unknown && !alone {
            return None;
        }
        let step = match &understood {
            Understood::Step(turn) => Some(turn.number()),
            _ => None,
        };
        let struck = self.faults.strike(step);
        if struck.iter().any(|fault| matches!(fault, Fault::SkipStep(_))) {
            return Some(Vec::new());
        }
        self.polls += u64::from(understood != Understood::Unknown);
        let shown = self.shown(now.since);
        let DeviceEngine::Messages(engine) = &self.instrument.device.engine else { return None };
        let device = &self.instrument.device;
        let how = self.how(&struck);
        let refusal = || self.instrument.refusal.clone().map(|bytes| Answer { bytes, given: Vec::new() });
        let refused = || refusal().map(|answer| Spoken { answer, ..Spoken::default() });
        let mut turn = self.turn.clone();
        let mut spoken = match understood {
            Understood::Step(step) => {
                let spoken = message::answer(device, engine, &shown, step, how);
                turn = spoken.as_ref().and_then(|spoken| spoken.turn.clone());
                spoken
            }
            Understood::Connect(connect) => message::greet(device, engine, connect, how),
            Understood::OutOfTurn => None,
            Understood::Unknown => refused(),
        };
        if struck.iter().any(|fault| matches!(fault, Fault::Exception(_))) {
            spoken = refused();
        }
        let draft = self.draft(spoken, &struck, self.instrument.turnaround);
        self.turn = turn;
        Some(draft.map(|draft| self.struck(draft, &struck)).unwrap_or_default())
    }

    /// Whether it speaks unasked.
    pub(super) fn is_talker(&self) -> bool {
        matches!(&self.instrument.device.engine, DeviceEngine::Messages(engine) if engine.listens())
    }

    /// The next of its unasked messages.
    pub(super) fn speak(&mut self, now: Now) -> Vec<Reply> {
        if now.powered < self.faults.boot() {
            return Vec::new();
        }
        let struck = self.faults.strike(None);
        let shown = self.shown(now.since);
        let device = &self.instrument.device;
        let DeviceEngine::Messages(engine) = &device.engine else { return Vec::new() };
        let which = self.next_spoken % engine.listens.len().max(1);
        let spoken = message::speak(device, engine, &shown, which, self.how(&struck));
        let draft = self.draft(spoken, &struck, Duration::ZERO);
        self.next_spoken = which + 1;
        self.spoken += 1;
        draft.map(|draft| self.struck(draft, &struck)).unwrap_or_default()
    }

    fn how(&self, struck: &[Fault]) -> How<'_> {
        let has = |wanted: &Fault| struck.contains(wanted);
        How {
            wrong_checksum: has(&Fault::Checksum),
            as_if: self.instrument.neighbour.as_deref().filter(|_| has(&Fault::WrongUnit)),
        }
    }

    /// What it means to say of what it has found; nothing, where it would have to be another instrument's and can't be.
    fn draft(&self, spoken: Option<Spoken>, struck: &[Fault], delay: Duration) -> Option<Draft> {
        let DeviceEngine::Messages(engine) = &self.instrument.device.engine else { return None };
        let Spoken { answer, spoilt, foreign, .. } = spoken?;
        if answer.bytes.is_empty() || (struck.contains(&Fault::WrongUnit) && !foreign) {
            return None;
        }
        Some(Draft { answer, tail: engine.framing.overhead(), delay, speech: Speech::Messages, spoilt })
    }

    /// Sends something on its way, with everything that strikes it.
    fn struck(&mut self, draft: Draft, struck: &[Fault]) -> Vec<Reply> {
        let Draft { answer, tail, delay, speech, spoilt } = draft;
        let id = |index: usize| self.instrument.device.channels.get(index).map(|channel| Arc::clone(&channel.id));
        let said: Vec<(Arc<str>, Outcome)> =
            answer.given.into_iter().filter_map(|(index, outcome)| Some((id(index)?, outcome))).collect();
        let mut outgoing = Outgoing {
            bytes: answer.bytes,
            delay,
            spread: Spread::None,
            said,
            instrument: Arc::clone(&self.instrument.name),
            bay: Some(self.place),
            intact: !struck.iter().any(Fault::spoils),
        };
        let mut unasked = Vec::new();
        let bytes = &mut outgoing.bytes;
        for fault in struck {
            match fault {
                Fault::Silence => return Vec::new(),
                Fault::HangUp(away) => return vec![Reply::HangUp(*away)],
                Fault::Late(by) => outgoing.delay += *by,
                Fault::Slow(over) => outgoing.spread = Spread::Over(*over),
                Fault::Split(pause) => outgoing.spread = Spread::Pause(*pause),
                Fault::Checksum if spoilt => {}
                Fault::Checksum => {
                    let (place, flip) = match speech {
                        Speech::Rtu => (bytes.len().saturating_sub(1), 0x01),
                        Speech::Mbap => (3, 0x01),
                        // What a parity error leaves: a byte that is no text.
                        Speech::Messages => (bytes.len().saturating_sub(1 + tail), 0x80),
                    };
                    bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= flip);
                }
                Fault::BitFlip => {
                    let middle = bytes.len().saturating_sub(tail) / 2;
                    bytes.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 0x01);
                }
                Fault::Junk(count) => {
                    let junk =
                        (0..*count).map(|place| [0xFF, 0x00, 0xA5, 0x7E, 0x55].get(place % 5).copied().unwrap_or(0));
                    bytes.splice(0..0, junk);
                }
                Fault::Stray(place) => {
                    let middle = if self.strays.is_multiple_of(2) { 0 } else { bytes.len() / 2 };
                    let stray = STRAYS.get(self.strays % STRAYS.len()).copied().unwrap_or_default();
                    bytes.insert(place.unwrap_or(middle).min(bytes.len()), stray);
                    self.strays += 1;
                }
                Fault::Truncate(length) => bytes.truncate(*length),
                Fault::Twice => bytes.extend_from_within(..),
                Fault::Unasked(text) => unasked.push(text.clone()),
                Fault::Echo
                | Fault::WrongUnit
                | Fault::Exception(_)
                | Fault::Boot(_)
                | Fault::Chatter { .. }
                | Fault::Refresh(_)
                | Fault::DeadTime(_)
                | Fault::SkipStep(_) => {}
            }
        }
        let delay = outgoing.delay;
        let mut replies = Vec::with_capacity(1);
        if !outgoing.bytes.is_empty() {
            replies.push(Reply::Bytes(outgoing));
        }
        replies.extend(unasked.into_iter().map(|bytes| Reply::Bytes(Outgoing { delay, ..Outgoing::unasked(bytes) })));
        replies
    }
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
