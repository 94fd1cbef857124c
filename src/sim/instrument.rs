//! One simulated instrument: a device, what it measures, and how it behaves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::Outcome;
use crate::model::Reason;
use crate::profile::{
    Alphabet, Device, DeviceChannel, DeviceEngine, Fields, Param, ParamError, Profile, Raw, Unencodable,
};

use super::{Scenario, Signal, message};

/// An instrument to simulate.
#[derive(Debug, Clone)]
pub struct SimInstrument {
    /// Its name, for the handle and the record.
    pub name: Arc<str>,
    /// What it speaks and offers.
    pub device: Device,
    /// What it measures.
    pub scenario: Scenario,
    /// Its Modbus unit. It is silent for all others, and for broadcasts. Text instruments have theirs in their messages.
    pub unit: u8,
    /// Time from the end of a request to the beginning of the answer.
    pub turnaround: Duration,
    /// What a text instrument answers to a message that it does not know, terminator included (UPP: `no<CR>` or nothing).
    pub refusal: Option<Vec<u8>>,
    /// How often it speaks unasked, in messages a second, if it does. Without one, ten times a second, or as often as its
    /// line carries with a tenth to spare.
    pub rate: Option<f64>,
    /// The same instrument at another address, whose answers it gives where a fault says so; none where there is no
    /// address in its answers.
    pub neighbour: Option<Box<Device>>,
}

/// Parameters that are the address of an instrument.
const ADDRESSES: [&str; 4] = ["addr", "address", "node", "device"];

impl SimInstrument {
    /// An instrument of unit 1 that answers after 2 ms (UPP allows 5, PREVAC answers within 10) and says nothing to
    /// messages that it does not know.
    pub fn new(name: &str, device: Device, scenario: Scenario) -> Self {
        let turnaround = Duration::from_millis(2);
        Self { name: name.into(), device, scenario, unit: 1, turnaround, refusal: None, rate: None, neighbour: None }
    }

    /// An instrument of a profile with these parameters. It understands all that may be sent after the link was opened,
    /// and says what it would say; it changes nothing.
    pub fn of(
        name: &str,
        profile: &Profile,
        params: &BTreeMap<String, String>,
        scenario: Scenario,
    ) -> Result<Self, Vec<ParamError>> {
        let messages: BTreeSet<String> = profile.messages.iter().map(|message| message.id.clone()).collect();
        let device = profile.device(params, &messages)?;
        let neighbour = ADDRESSES.iter().find_map(|address| {
            let param = profile.params.get(*address)?;
            let own = params.get(*address).or(param.default.as_ref())?;
            elsewhere(own, param).find_map(|other| {
                let mut params = params.clone();
                params.insert((*address).to_owned(), other);
                profile.device(&params, &messages).ok()
            })
        });
        let device = recognisable(device, profile, params);
        Ok(Self { neighbour: neighbour.map(Box::new), ..Self::new(name, device, scenario) })
    }

    /// The same, speaking unasked so many times a second.
    #[must_use]
    pub fn at_rate(self, per_second: f64) -> Self {
        Self { rate: Some(per_second), ..self }
    }

    /// The same under another Modbus unit.
    #[must_use]
    pub fn at_unit(self, unit: u8) -> Self {
        Self { unit, ..self }
    }

    /// What each channel measures, as the scenario sees it.
    pub(super) fn signals(&self) -> Vec<Signal> {
        let seed = self.name.bytes().fold(0, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let signal = |c: &DeviceChannel| Signal::of(&c.id, c.unit.as_deref(), c.kind, seed);
        self.device.channels.iter().map(signal).collect()
    }

    /// A value as this instrument would print it: text replies carry five significant digits, bytes and registers all
    /// they hold.
    pub(super) fn rounded(&self, value: f64) -> f64 {
        match &self.device.engine {
            DeviceEngine::Messages(engine) if engine.alphabet == Alphabet::Text => {
                format!("{value:.4e}").parse().unwrap_or(value)
            }
            _ => value,
        }
    }
}

/// The device with answers to the messages by which `scan` recognises it, where they are for its parameters and are not
/// among its polls anyway.
fn recognisable(mut device: Device, profile: &Profile, params: &BTreeMap<String, String>) -> Device {
    let DeviceEngine::Messages(engine) = &mut device.engine else { return device };
    let has = |name: &str, value: &String| {
        let default = || profile.params.get(name).and_then(|param| param.default.as_ref());
        params.get(name).or_else(default) == Some(value)
    };
    for probe in profile.identify().iter().filter(|probe| probe.params.iter().all(|(name, value)| has(name, value))) {
        let DeviceEngine::Messages(asked) = &probe.device.engine else { continue };
        for poll in &asked.polls {
            let first = poll.steps.first().and_then(|step| step.send.as_deref());
            let is_known = message::messages(engine).any(|known| Some(known) == first);
            if !is_known {
                engine.polls.push(poll.clone());
            }
        }
    }
    device
}

/// Other addresses that are written alike: the next numbers, or what else there is to choose.
fn elsewhere(own: &str, param: &Param) -> impl Iterator<Item = String> {
    let next = |by: u32| {
        let number = own.parse::<u32>().ok()?;
        Some(format!("{:0width$}", number + by, width = own.len()))
    };
    let numbers: Vec<String> = (1..=3).filter_map(next).collect();
    let choices: Vec<String> = param.choices.iter().filter(|choice| *choice != own).cloned().collect();
    choices.into_iter().chain(numbers)
}

/// What a channel shows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shown {
    /// What the scenario says.
    Course(f64),
    /// A value or a reason, set by hand.
    Set(Outcome),
    /// A raw value, set by hand.
    Raw(Raw),
}

impl Shown {
    pub(super) fn is_by_hand(&self) -> bool {
        !matches!(self, Self::Course(_))
    }

    /// Whether its field is to be left out.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Set(Outcome::Bad(reason)) if *reason == Reason::ABSENT)
    }

    /// Whether this is what somebody sees who reads that.
    pub(super) fn is_seen_as(&self, outcome: &Outcome) -> bool {
        match self {
            Self::Set(Outcome::Bad(reason)) => matches!(outcome, Outcome::Bad(seen) if seen == reason),
            Self::Course(_) | Self::Set(_) => outcome.value().is_some(),
            Self::Raw(_) => !matches!(outcome, Outcome::Bad(seen) if *seen == Reason::ABSENT),
        }
    }

    /// Sets the fields of a reply so that a reader sees this, as near as the instrument can show it.
    pub(super) fn put(&self, channel: &DeviceChannel, fields: &mut Fields) {
        let outcome = match self {
            Self::Course(value) => Outcome::good(*value),
            Self::Set(outcome) => outcome.clone(),
            Self::Raw(raw) => return fields.set(channel.field(), raw.clone()),
        };
        if encode(channel, &outcome, fields).is_err() {
            over_range(channel, fields);
        }
        // A status alone says that there is no value; something stands in its place all the same.
        if fields.get(channel.field()).is_none() {
            fields.set(channel.field(), Raw::Integer(0));
        }
    }
}

/// Shows a channel as over range: what an instrument does with what it can't show. False where the profile has no such
/// state.
pub(super) fn over_range(channel: &DeviceChannel, fields: &mut Fields) -> bool {
    show_as(channel, "over_range", fields)
}

/// Shows a channel in the state of this name. False where the profile has no such state.
pub(super) fn show_as(channel: &DeviceChannel, state: &str, fields: &mut Fields) -> bool {
    channel.encode(&Outcome::Bad(Reason::named(state)), fields).is_ok()
}

/// A word that stands for all those that a profile takes for one reason without naming any; short enough for any field.
const ANY_WORD: &str = "?";

/// Sets the fields of a reply so that a reader sees this outcome.
pub(super) fn encode(channel: &DeviceChannel, outcome: &Outcome, fields: &mut Fields) -> Result<(), Unencodable> {
    channel.encode(outcome, fields).or_else(|error| {
        let stands_for_all = |reason: &Reason| {
            channel.decoding.texts.iter().any(|(state, named)| named == reason && state.open && state.word.is_empty())
        };
        match outcome {
            Outcome::Bad(reason) if stands_for_all(reason) => {
                fields.set(channel.field(), Raw::text(ANY_WORD));
                Ok(())
            }
            _ => Err(error),
        }
    })
}

/// What an engine answers: bytes without the envelope of the link, and what a perfect reader gets out of them, by the
/// channel's place in the device.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    pub(super) given: Vec<(usize, Outcome)>,
}
