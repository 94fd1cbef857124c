//! Devices: profiles made concrete for one instrument, ready for a driver or a simulator.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::model::Kind;
use crate::model::Outcome;
use crate::model::Reason;

use super::decoding::{Decoding, UNKNOWN_SETTING, Unencodable};
use super::framing::Framing;
use super::pattern::{Pattern, hex_of};
use super::raw::{FieldRef, whole_of};
use super::register::{Register, Table};
use super::text::printable;
use super::{Fields, Raw};

/// A profile with its parameters filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// The id of the profile.
    pub profile: Arc<str>,
    /// How patient one has to be with it.
    pub timing: Timing,
    /// What it speaks.
    pub engine: DeviceEngine,
    /// What it offers. A driver's readings count channels in this order.
    pub channels: Vec<DeviceChannel>,
}

/// How patient one has to be with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Longest time from the last byte of a request to the last byte of its answer, the answer's own bytes at line speed
    /// not counted.
    pub reply: Duration,
    /// Usual time from the last byte of a request to the first byte of its answer: for the bus-time budget only.
    pub turnaround: Duration,
    /// How long the line has to be quiet after a disturbance before it counts as settled.
    pub idle: Duration,
    /// Least time from the end of an answer to the next request.
    pub gap: Duration,
    /// Wait between opening the link and the first request.
    pub after_connect: Duration,
    /// How long the device may stay silent after it was switched on; silence within it is no fault.
    pub warm_up: Duration,
    /// How often the device has a new value; zero where that is not known. Asked more often, it repeats itself.
    pub refresh: Duration,
}

impl Default for Timing {
    /// What a profile that says nothing gets. One second is above the worst case of every instrument with a documented
    /// one, and a time-out that is too short is worse than one that is too long: a late reply is a danger. Five milliseconds to
    /// turn around are what the vendors of fast instruments promise; a profile that knows better says so.
    fn default() -> Self {
        Self {
            reply: Duration::from_secs(1),
            turnaround: Duration::from_millis(5),
            idle: Duration::from_millis(100),
            gap: Duration::ZERO,
            after_connect: Duration::ZERO,
            warm_up: Duration::ZERO,
            refresh: Duration::ZERO,
        }
    }
}

/// What a device speaks.
#[derive(Debug, Clone, PartialEq)]
pub enum DeviceEngine {
    /// Messages of its own: text or bytes.
    Messages(MessageDevice),
    /// Modbus registers.
    Modbus(ModbusDevice),
}

/// A device with messages of its own, which answers or speaks unasked.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageDevice {
    /// What the messages consist of.
    pub alphabet: Alphabet,
    /// How messages are told apart.
    pub framing: Framing,
    /// Messages after the link was opened, in order; those that change the device only if the lab allows them.
    pub on_connect: Vec<ConnectStep>,
    /// What is asked for regularly; empty for a device that speaks unasked.
    pub polls: Vec<MessagePoll>,
    /// What it says unasked; empty for a device that is asked.
    pub listens: Vec<Listen>,
}

/// What messages consist of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    /// Characters.
    Text,
    /// Bytes of any kind.
    Bytes,
}

/// A message that a device sends unasked.
#[derive(Debug, Clone, PartialEq)]
pub struct Listen {
    /// What it looks like.
    pub expect: Pattern,
    /// How long it may stay away before its channels are stale.
    pub stale_after: Duration,
}

/// A message that is sent once after the link was opened.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectStep {
    /// Its name in the profile and in the lab's `allow`.
    pub id: Arc<str>,
    /// The message.
    pub step: Step,
}

/// A question that is asked regularly, in one step or several.
#[derive(Debug, Clone, PartialEq)]
pub struct MessagePoll {
    /// How often.
    pub every: Duration,
    /// At least one.
    pub steps: Vec<Step>,
}

/// One step of an exchange. One of `send` and `expect` is there, or both.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Bytes to send as they are, checksum and terminator included.
    pub send: Option<Vec<u8>>,
    /// What comes back, without its terminator.
    pub expect: Option<Pattern>,
    /// Wait after the step.
    pub wait: Duration,
}

/// A device that is read by Modbus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModbusDevice {
    /// Most registers in one request.
    pub max_regs: u16,
    /// Most unwanted registers between two wanted ones that are read in one request.
    pub max_gap: u16,
    /// Whether each channel has to be asked for alone (with those that it needs).
    pub one_per_request: bool,
    /// The function codes that the device knows, of 1 to 4.
    pub functions: BTreeSet<u8>,
}

impl ModbusDevice {
    /// Most registers, or bits, of one request: where a profile counts registers, as many bits fit into as many bytes.
    pub fn most(&self, table: Table) -> u32 {
        if table.is_bits() { (u32::from(self.max_regs) * 16).min(2_000) } else { u32::from(self.max_regs.min(125)) }
    }

    /// Most unwanted registers, or bits, between two wanted ones in one request.
    pub fn gap(&self, table: Table) -> u32 {
        u32::from(self.max_gap) * if table.is_bits() { 16 } else { 1 }
    }

    /// Whether two values can be read in one request, with whatever lies between them.
    pub fn fits_one_request(&self, one: &Register, other: &Register) -> bool {
        let first = u32::from(one.address.min(other.address));
        one.table == other.table && one.end().max(other.end()) - first <= self.most(one.table)
    }

    /// Whether a setting goes along in the request for a value that depends on it: it is near, not only within reach.
    fn goes_along(&self, value: &Register, setting: &Register) -> bool {
        let (value_at, setting_at) = (u32::from(value.address), u32::from(setting.address));
        let between = setting_at.saturating_sub(value.end()).max(value_at.saturating_sub(setting.end()));
        self.fits_one_request(value, setting) && between <= self.gap(value.table)
    }
}

/// One series that a device offers.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceChannel {
    /// Its name in the profile.
    pub id: Arc<str>,
    /// Its unit; none for a plain number.
    pub unit: Option<Arc<str>>,
    /// What sort of thing it carries.
    pub kind: Kind,
    /// How often it is wanted.
    pub every: Duration,
    /// Whether it is recorded only where the lab names it.
    pub optional: bool,
    /// Where its raw value comes from.
    pub source: Source,
    /// What is made of the raw value.
    pub decoding: Decoding,
    /// Other Modbus channels of this device, by index, whose raw values `decoding` looks at (a status beside a pressure).
    /// They have to be read in the same request, except those that [`Device::apart`] lists. Empty for message devices, whose
    /// fields come together anyway.
    pub with: Vec<usize>,
}

impl MessageDevice {
    /// Whether it speaks unasked.
    pub fn listens(&self) -> bool {
        !self.listens.is_empty()
    }

    /// A message for people: text with its control tokens, or bytes in hex.
    pub fn shown(&self, message: &[u8]) -> String {
        match self.alphabet {
            Alphabet::Text => printable(message),
            Alphabet::Bytes => hex_of(message),
        }
    }
}

/// Where a raw value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A field of the replies to a poll, or of a message that comes unasked.
    Field {
        /// The place of the poll in [`MessageDevice::polls`], or of the message in [`MessageDevice::listens`].
        poll: usize,
        /// The field's name.
        name: Arc<str>,
        /// The bits of it that count, first and last; all where there are none.
        bits: Option<(u8, u8)>,
    },
    /// Modbus registers.
    Register(Register),
}

impl DeviceChannel {
    /// The name of its raw value among [`Fields`]: the field of a reply, or the id of a Modbus channel.
    pub fn field(&self) -> &Arc<str> {
        match &self.source {
            Source::Field { name, .. } => name,
            Source::Register(_) => &self.id,
        }
    }

    /// Its raw value among those of an exchange.
    pub fn raw(&self, fields: &Fields) -> Option<Raw> {
        match &self.source {
            Source::Field { name, bits: Some(bits), .. } => {
                FieldRef { name: Arc::clone(name), bits: Some(*bits) }.of(fields)
            }
            _ => fields.get(self.field()).cloned(),
        }
    }

    /// Makes an outcome of the raw values of an exchange. Where its own is not among them, as in the refusal of an
    /// instrument, the status may say why.
    pub fn read(&self, fields: &Fields) -> Outcome {
        match self.raw(fields) {
            Some(raw) => self.evaluate(&raw, fields),
            None => Outcome::Bad(self.decoding.objection(fields).unwrap_or(Reason::ABSENT)),
        }
    }

    /// Makes an outcome of a raw value; `others` are the raw values of the same exchange.
    pub fn evaluate(&self, raw: &Raw, others: &Fields) -> Outcome {
        self.decoding.evaluate(raw, others)
    }

    /// Sets the fields so that [`Self::evaluate`] gives this outcome, as near as the raw form allows: for simulators.
    pub fn encode(&self, outcome: &Outcome, fields: &mut Fields) -> Result<(), Unencodable> {
        let Source::Field { name, bits: Some(bits), .. } = &self.source else {
            return self.decoding.encode(outcome, self.field(), fields);
        };
        // Other bits of the field are other channels'.
        let whole = fields.get(name).cloned();
        self.decoding.encode(outcome, name, fields)?;
        let own = fields.get(name).cloned().unwrap_or(Raw::Integer(0));
        fields.set(name, whole.unwrap_or(Raw::Integer(0)));
        let own = own.number().and_then(|number| whole_of(number.round())).map_or(own, Raw::Integer);
        FieldRef { name: Arc::clone(name), bits: Some(*bits) }.set(fields, &own);
        Ok(())
    }
}

impl Device {
    /// The settings that a Modbus channel depends on and that are too far away, or in another table, to be read in its own
    /// request (the unit of a pressure, say): they are read before it, in the same poll.
    pub fn apart(&self, channel: usize) -> impl Iterator<Item = usize> {
        let own = self.channels.get(channel);
        let along = move |other: usize| match (&self.engine, own.map(|own| &own.source), self.channels.get(other)) {
            (DeviceEngine::Modbus(modbus), Some(Source::Register(own)), Some(other)) => match &other.source {
                Source::Register(register) => other.kind != Kind::Setting || modbus.goes_along(own, register),
                Source::Field { .. } => true,
            },
            _ => true,
        };
        own.into_iter().flat_map(|own| own.with.iter().copied()).filter(move |other| !along(*other))
    }

    /// Makes an outcome of a channel's raw value; `others` are the raw values read with it and the settings read before
    /// it. Without one of these settings nobody knows what the raw value means, so it is no value.
    pub fn evaluate(&self, index: usize, raw: &Raw, others: &Fields) -> Option<Outcome> {
        let channel = self.channels.get(index)?;
        let known = |setting: usize| self.channels.get(setting).is_some_and(|c| others.get(c.field()).is_some());
        if !self.apart(index).all(known) {
            return Some(Outcome::Bad(Reason::named(UNKNOWN_SETTING)));
        }
        Some(channel.evaluate(raw, others))
    }

    /// Leaves only the wanted channels and those that they need, and returns where the wanted ones went, in their order.
    /// Polls that feed nothing any more are left out. A channel that is only needed is read as often as what needs it.
    #[must_use]
    pub fn narrowed(&self, wanted: &[usize]) -> (Self, Vec<usize>) {
        let needed =
            |index: &usize| self.channels.get(*index).into_iter().flat_map(|channel| channel.with.iter().copied());
        let kept: BTreeSet<usize> = wanted.iter().copied().chain(wanted.iter().flat_map(needed)).collect();
        let place = |old: usize| kept.iter().position(|index| *index == old);

        let mut device = self.clone();
        device.channels = kept.iter().filter_map(|index| self.channels.get(*index)).cloned().collect();
        for channel in &mut device.channels {
            channel.with = channel.with.iter().filter_map(|old| place(*old)).collect();
        }
        device.hurry_helpers(&kept, wanted);
        device.drop_idle_polls();
        (device, wanted.iter().filter_map(|old| place(*old)).collect())
    }

    fn hurry_helpers(&mut self, kept: &BTreeSet<usize>, wanted: &[usize]) {
        let paces: Vec<(usize, Duration)> = self
            .channels
            .iter()
            .zip(kept)
            .filter(|(_, old)| wanted.contains(old))
            .flat_map(|(channel, _)| channel.with.iter().map(|helper| (*helper, channel.every)))
            .collect();
        for (place, (channel, old)) in self.channels.iter_mut().zip(kept).enumerate() {
            let fastest = paces.iter().filter(|(helper, _)| *helper == place).map(|(_, every)| *every).min();
            if let Some(every) = fastest {
                channel.every = if wanted.contains(old) { every.min(channel.every) } else { every };
            }
        }
    }

    /// Renumbers the polls of a message device; each is asked as often as its most eager channel wants. What a device says
    /// unasked has to be told apart even if nobody wants it.
    fn drop_idle_polls(&mut self) {
        let DeviceEngine::Messages(device) = &mut self.engine else { return };
        let mut polls = Vec::new();
        for (old, poll) in device.polls.iter().enumerate() {
            let mut every = None;
            for channel in &mut self.channels {
                if let Source::Field { poll, .. } = &mut channel.source
                    && *poll == old
                {
                    *poll = polls.len();
                    every = Some(every.map_or(channel.every, |every: Duration| every.min(channel.every)));
                }
            }
            if let Some(every) = every {
                polls.push(MessagePoll { every, ..poll.clone() });
            }
        }
        if device.listens.is_empty() {
            device.polls = polls;
        }
    }
}
