//! The instruments of one line: who answers what, and which faults strike.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::Outcome;
use crate::profile::{DeviceChannel, DeviceEngine};

use super::fault::{Fault, Faults};
use super::framing::{Request, mbap_frame, rtu_frame};
use super::instrument::{Answer, Shown, SimInstrument};
use super::line::Speech;
use super::said::{Record, Said};
use super::text::Heard;
use super::{Error, Scenario, Signal, modbus, text};

/// All instruments of a line.
#[derive(Debug)]
pub(super) struct Bench {
    started: Instant,
    bays: Vec<Bay>,
    pub(super) record: Record,
}

/// One instrument with everything that changes.
#[derive(Debug)]
pub(super) struct Bay {
    pub(super) instrument: SimInstrument,
    signals: Vec<Signal>,
    set: BTreeMap<usize, Shown>,
    turn: Option<text::Turn>,
    pub(super) faults: Faults,
    /// Requests that it was asked.
    pub(super) polls: u64,
    /// Requests that would have changed it. It refuses them.
    pub(super) writes: u64,
}

/// What the line carries in answer to a request.
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

impl Bench {
    pub(super) fn new(instruments: Vec<SimInstrument>, keep: usize) -> Self {
        let bay = |instrument: SimInstrument| Bay {
            signals: instrument.signals(),
            instrument,
            set: BTreeMap::new(),
            turn: None,
            faults: Faults::default(),
            polls: 0,
            writes: 0,
        };
        Self { started: Instant::now(), bays: instruments.into_iter().map(bay).collect(), record: Record::new(keep) }
    }

    /// The instrument of that name.
    pub(super) fn bay(&mut self, name: &str) -> Result<&mut Bay, Error> {
        self.bays
            .iter_mut()
            .find(|bay| &*bay.instrument.name == name)
            .ok_or_else(|| Error::NoSuchInstrument(name.to_owned()))
    }

    /// Whether the line sends requests back.
    pub(super) fn echoes(&self) -> bool {
        self.bays.iter().any(|bay| bay.faults.echoes())
    }

    /// Everything that may be sent to the text instruments of this line.
    pub(super) fn messages(&self) -> Vec<Vec<u8>> {
        let text = |bay: &Bay| match &bay.instrument.device.engine {
            DeviceEngine::Messages(text) => text::messages(text).map(<[u8]>::to_vec).collect(),
            DeviceEngine::Modbus(_) => Vec::new(),
        };
        self.bays.iter().flat_map(text).collect()
    }

    /// What comes of a Modbus request that ended at `at`.
    pub(super) fn asked(&mut self, request: &Request, speech: Speech, at: Instant) -> Vec<Reply> {
        let since = at.saturating_duration_since(self.started);
        self.bays.iter_mut().filter_map(|bay| bay.asked(request, speech, since)).flatten().collect()
    }

    /// What comes of a text message that ended at `at`.
    pub(super) fn told(&mut self, message: &[u8], at: Instant) -> Vec<Reply> {
        let since = at.saturating_duration_since(self.started);
        let alone = self.bays.len() == 1;
        self.bays.iter_mut().filter_map(|bay| bay.told(message, alone, since)).flatten().collect()
    }

    /// Records what an answer says.
    pub(super) fn note(&mut self, outgoing: &Outgoing, request_received: Instant, reply_sent: Instant) {
        for (channel, outcome) in &outgoing.said {
            self.record.push(Said {
                instrument: Arc::clone(&outgoing.instrument),
                channel: Arc::clone(channel),
                outcome: outcome.clone(),
                request_received,
                reply_sent,
                intact: outgoing.intact,
            });
        }
    }
}

impl Bay {
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

    fn shown(&self, since: Duration) -> Vec<Shown> {
        let course = |signal| self.instrument.rounded(self.instrument.scenario.value(signal, since));
        let show = |(index, signal)| self.set.get(&index).cloned().unwrap_or_else(|| Shown::Course(course(signal)));
        self.signals.iter().enumerate().map(show).collect()
    }

    fn asked(&mut self, request: &Request, speech: Speech, since: Duration) -> Option<Option<Reply>> {
        let DeviceEngine::Modbus(modbus) = &self.instrument.device.engine else { return None };
        if request.unit != self.instrument.unit || request.unit == 0 {
            return None;
        }
        let function = request.pdu.first().copied().unwrap_or_default();
        self.polls += 1;
        self.writes += u64::from(modbus::writes(function));
        let mut answer = modbus::answer(&self.instrument.device, modbus, &self.shown(since), &request.pdu);
        let struck = self.faults.strike();
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
            Speech::Rtu | Speech::Text => rtu_frame(unit, &answer.bytes),
        };
        Some(self.struck(answer, &struck, speech, 0))
    }

    fn told(&mut self, message: &[u8], alone: bool, since: Duration) -> Option<Option<Reply>> {
        let shown = self.shown(since);
        let device = &self.instrument.device;
        let DeviceEngine::Messages(engine) = &device.engine else { return None };
        let refusal = self.instrument.refusal.clone().map(|bytes| Answer { bytes, given: Vec::new() });
        let (answer, heard) = match text::answer(device, engine, &shown, &mut self.turn, message) {
            Heard::Known(answer) => (answer, true),
            // On a bus nobody knows for whom an unknown message was.
            Heard::Unknown if alone => (refusal.clone(), false),
            Heard::Unknown => return None,
        };
        let tail = engine.framing.overhead();
        self.polls += u64::from(heard);
        let struck = self.faults.strike();
        let mute = |fault: &Fault| matches!(fault, Fault::WrongUnit);
        let refuse = |fault: &Fault| matches!(fault, Fault::Exception(_));
        let answer = if struck.iter().any(mute) {
            None
        } else if struck.iter().any(refuse) {
            refusal
        } else {
            answer
        };
        Some(self.struck(answer?, &struck, Speech::Text, tail))
    }

    /// Sends an answer on its way, with everything that strikes it. `tail` bytes at its end are no data.
    fn struck(&self, answer: Answer, struck: &[Fault], speech: Speech, tail: usize) -> Option<Reply> {
        let id = |index: usize| self.instrument.device.channels.get(index).map(|channel| Arc::clone(&channel.id));
        let mut outgoing = Outgoing {
            bytes: answer.bytes,
            delay: self.instrument.turnaround,
            spread: Spread::None,
            said: answer.given.into_iter().filter_map(|(index, outcome)| Some((id(index)?, outcome))).collect(),
            instrument: Arc::clone(&self.instrument.name),
            intact: !struck.iter().any(|fault| fault.spoils()),
        };
        let bytes = &mut outgoing.bytes;
        for fault in struck {
            match *fault {
                Fault::Silence => return None,
                Fault::HangUp(away) => return Some(Reply::HangUp(away)),
                Fault::Late(by) => outgoing.delay += by,
                Fault::Slow(over) => outgoing.spread = Spread::Over(over),
                Fault::Split(pause) => outgoing.spread = Spread::Pause(pause),
                Fault::Checksum => {
                    let (place, flip) = match speech {
                        Speech::Rtu => (bytes.len().saturating_sub(1), 0x01),
                        Speech::Mbap => (3, 0x01),
                        // What a parity error leaves: a byte that is no text.
                        Speech::Text => (bytes.len().saturating_sub(1 + tail), 0x80),
                    };
                    bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= flip);
                }
                Fault::BitFlip => {
                    let middle = bytes.len().saturating_sub(tail) / 2;
                    bytes.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 0x01);
                }
                Fault::Junk(count) => {
                    let junk =
                        (0..count).map(|place| [0xFF, 0x00, 0xA5, 0x7E, 0x55].get(place % 5).copied().unwrap_or(0));
                    bytes.splice(0..0, junk);
                }
                Fault::Truncate(length) => bytes.truncate(length),
                Fault::Twice => bytes.extend_from_within(..),
                Fault::Echo | Fault::WrongUnit | Fault::Exception(_) => {}
            }
        }
        (!outgoing.bytes.is_empty()).then_some(Reply::Bytes(outgoing))
    }
}
