//! The driver for instruments that speak unasked.
//!
//! Nothing is sent but the profile's `[[on_connect]]`. A message has the time of its first byte. One that is spoiled is never
//! decoded: it is a bad reading where it is clear whose it was, and counted in any case. A kind of message that stays away
//! for its `stale_after` is a bad reading too, and again after each further `stale_after`.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::model::Outcome;
use crate::model::Reading;
use crate::model::Reason;
use crate::profile::Device;
use crate::profile::DeviceChannel;
use crate::profile::Heard;
use crate::profile::Listen;
use crate::profile::MessageDevice;
use crate::profile::Mismatch;
use crate::profile::Pattern;
use crate::profile::Step;
use crate::profile::Timing;

use super::ear::Ear;
use super::message::{Talk, fed_by, readings};
use super::{Bus, Driver, Error, Listened, PollSpec, Polled, Recovery, Said};

/// Messages are handed on together: so many, or as many as come within this time after the first.
const TOGETHER: usize = 2048;
const GATHERED_WITHIN: Duration = Duration::from_millis(20);

/// A connection that has brought nothing for this long, and for twice the longest `stale_after`, is opened anew: the other
/// side may have forgotten it. Reopening a serial port would gain nothing.
const MUTE_AFTER: Duration = Duration::from_secs(10);

/// Hears one instrument.
#[derive(Debug)]
pub struct ListenDriver {
    messages: MessageDevice,
    timing: Timing,
    channels: Vec<DeviceChannel>,
    kinds: Vec<Kind>,
    ear: Ear,
    /// No message is stamped before this: the last one.
    floor: Instant,
}

/// What is known of one kind of message.
#[derive(Debug)]
struct Kind {
    /// The channels that it feeds.
    channels: Vec<usize>,
    stale_after: Duration,
    /// When it is stale, or stale again.
    due: Instant,
    stale: bool,
}

impl ListenDriver {
    /// A driver for this device.
    pub fn new(messages: MessageDevice, device: &Device) -> Self {
        let now = Instant::now();
        let kind = |(place, listen): (usize, &Listen)| Kind {
            channels: fed_by(&device.channels, place),
            stale_after: listen.stale_after,
            due: now + listen.stale_after,
            stale: false,
        };
        Self {
            kinds: messages.listens.iter().enumerate().map(kind).collect(),
            ear: ear(&messages),
            messages,
            timing: device.timing,
            channels: device.channels.clone(),
            floor: now,
        }
    }

    fn longest_absence(&self) -> Duration {
        self.kinds.iter().map(|kind| kind.stale_after).max().unwrap_or_default()
    }

    /// Takes what the ear has understood.
    fn take_heard(&mut self, began: Instant, listened: &mut Listened) {
        while let Some(heard) = self.ear.heard() {
            match heard {
                Heard::Message(message) => {
                    let (at, uncertainty) = self.ear.time_of(message.at);
                    let Some(kind) = self.kinds.get_mut(message.which) else { continue };
                    kind.due = at + kind.stale_after;
                    kind.stale = false;
                    self.floor = self.floor.max(at);
                    let readings = readings(&self.channels, &kind.channels, &message.fields);
                    listened.messages += 1;
                    listened.said.push(Said { at: self.floor, uncertainty, readings });
                }
                Heard::Broken(why) => {
                    self.floor = self.floor.max(began);
                    self.take_broken(why, listened);
                }
            }
        }
        self.ear.forget();
    }

    fn take_broken(&mut self, why: Mismatch, listened: &mut Listened) {
        listened.broken += 1;
        if let [kind] = self.kinds.as_slice() {
            listened.said.push(Said { at: self.floor, uncertainty: Duration::ZERO, readings: kind.bad(&why.reason()) });
        }
        listened.failure = Some(Error::Misheard(why));
    }

    /// Makes stale what has stayed away for too long. What has begun to come is waited for.
    fn note_absences(&mut self, now: Instant, listened: &mut Listened) {
        let latest = self.ear.waiting_since().map_or(now, |since| since.min(now));
        for kind in self.kinds.iter_mut().filter(|kind| kind.due <= latest) {
            self.floor = self.floor.max(kind.due);
            kind.stale = true;
            listened.said.push(Said {
                at: self.floor,
                uncertainty: Duration::ZERO,
                readings: kind.bad(&Reason::STALE),
            });
            kind.due = (kind.due + kind.stale_after).max(now);
        }
    }

    /// What is to be said of the instrument after all that was heard.
    fn conclude(&self, listened: &mut Listened) {
        let lost = listened.failure.as_ref().is_some_and(|failure| failure.recovery() == Recovery::Reopen);
        let longest = self.kinds.iter().filter(|kind| kind.stale).map(|kind| kind.stale_after).max();
        if let (false, Some(longest)) = (lost, longest) {
            listened.failure = Some(Error::Stale(longest));
        } else if !lost && listened.messages > 0 {
            // A spoiled message among good ones is counted and no state.
            listened.failure = None;
        }
    }

    async fn hear(&mut self, bus: &mut Bus, until: Instant, listened: &mut Listened) -> Result<(), Error> {
        let wire = bus.wire()?;
        let absence = self.longest_absence();
        let mute_after = (absence * 2).max(MUTE_AFTER);
        let mut gathered_by = None;
        loop {
            let now = Instant::now();
            self.note_absences(now, listened);
            if !listened.said.is_empty() {
                gathered_by.get_or_insert(now + GATHERED_WITHIN);
            }
            let end = gathered_by.map_or(until, |by| until.min(by));
            if now >= end || listened.said.len() >= TOGETHER {
                return Ok(());
            }
            if wire.settings().char_time.is_zero() && now.duration_since(self.ear.last_heard()) >= mute_after {
                return Err(Error::GivenUp(Box::new(Error::Stale(absence))));
            }
            let silent_at = self.ear.silent_at(self.timing.idle, wire.settings());
            let began = self.ear.waiting_since();
            let dues = self.kinds.iter().map(|kind| kind.due).filter(|due| *due > now);
            let wake = dues.chain(silent_at).fold(end, Instant::min);
            let mut arrival = wire.hear(wake.max(now)).await?;
            if arrival.is_none() {
                // The reactor may not have been told yet of bytes that the kernel holds.
                tokio::task::yield_now().await;
                arrival = wire.hear(now).await?;
            }
            match arrival {
                Some(arrival) => {
                    self.ear.take(wire.received(), arrival, absence);
                    wire.consume(arrival.count);
                }
                None if silent_at.is_some_and(|at| Instant::now() >= at) => self.ear.note_silence(),
                None => {}
            }
            let began = began.or(arrival.map(|arrival| arrival.time_of(0).0)).unwrap_or(now);
            self.take_heard(began, listened);
        }
    }
}

#[async_trait::async_trait]
impl Driver for ListenDriver {
    fn polls(&self) -> &[PollSpec] {
        &[]
    }

    async fn connect(&mut self, bus: &mut Bus) -> Result<(), Error> {
        sleep(self.timing.after_connect).await;
        let steps: Vec<&Step> = self.messages.on_connect.iter().map(|connect| &connect.step).collect();
        if !steps.is_empty() {
            let wire = bus.wire()?;
            Talk { wire, messages: &self.messages, timing: &self.timing }.amid_speech(&steps).await?;
            wire.skip(wire.received().len());
        }
        self.ear = ear(&self.messages);
        let now = Instant::now();
        for kind in &mut self.kinds {
            kind.due = now + kind.stale_after.max(self.timing.warm_up);
        }
        self.floor = self.floor.max(now);
        Ok(())
    }

    async fn poll(&mut self, _: &mut Bus, _: usize) -> Polled {
        Polled { exchanges: Vec::new(), failure: Some(Error::Protocol) }
    }

    fn listens(&self) -> bool {
        true
    }

    async fn listen(&mut self, bus: &mut Bus, until: Instant) -> Listened {
        let mut listened = Listened::nothing();
        let skipped = self.ear.skipped();
        let heard = self.hear(bus, until, &mut listened).await;
        if let Err(failure) = heard {
            listened.failure = Some(failure);
        }
        listened.skipped = self.ear.skipped() - skipped;
        let unread = bus.wire().map_or(self.floor, |wire| wire.emptied());
        listened.watermark = self.ear.waiting_since().unwrap_or(unread).max(self.floor);
        self.conclude(&mut listened);
        listened
    }
}

impl Kind {
    fn bad(&self, reason: &Reason) -> Vec<Reading> {
        let bad = |channel: &usize| Reading { channel: *channel, outcome: Outcome::Bad(reason.clone()) };
        self.channels.iter().map(bad).collect()
    }
}

fn ear(messages: &MessageDevice) -> Ear {
    let patterns: Vec<Pattern> = messages.listens.iter().map(|listen| listen.expect.clone()).collect();
    Ear::new(messages.framing.clone(), patterns)
}
