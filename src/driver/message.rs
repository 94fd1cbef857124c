//! The driver for instruments that answer messages of their own with messages of their own, of text or of bytes.
//!
//! A reply has to be what the profile describes, to the last character. Whatever else comes in is skipped while there is
//! time (unasked messages, noise) and reported if nothing better follows.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::link::Wire;
use crate::model::Reading;
use crate::profile::Alphabet;
use crate::profile::Cut;
use crate::profile::Device;
use crate::profile::DeviceChannel;
use crate::profile::End;
use crate::profile::Fields;
use crate::profile::Framing;
use crate::profile::MessageDevice;
use crate::profile::Misfit;
use crate::profile::Mismatch;
use crate::profile::Pattern;
use crate::profile::Source;
use crate::profile::Step;
use crate::profile::Timing;

use super::{Bus, Driver, Error, Exchange, ExchangeSize, PollSpec, Polled};

/// Replies carry no address that a machine could rely on: all instruments of a link are one party.
const PARTY: u16 = 0;

/// The bytes of one reply may come so far apart: an adapter holds the last ones back for its latency timer, 16 ms with FTDI's
/// as they come. Source: FTDI AN232B-04, "Small amounts of data and end of buffer conditions".
const SCATTERED: Duration = Duration::from_millis(20);

/// Speaks for one instrument that is asked.
#[derive(Debug)]
pub struct MessageDriver {
    messages: MessageDevice,
    timing: Timing,
    channels: Vec<DeviceChannel>,
    specs: Vec<PollSpec>,
}

impl MessageDriver {
    /// A driver for this device.
    pub fn new(messages: MessageDevice, device: &Device) -> Self {
        let specs = messages.polls.iter().enumerate().map(|(place, poll)| PollSpec {
            every: poll.every,
            channels: fed_by(&device.channels, place),
            exchanges: poll.steps.iter().map(|step| size(step, &messages.framing, &device.timing)).collect(),
        });
        let specs = specs.collect();
        Self { messages, timing: device.timing, channels: device.channels.clone(), specs }
    }
}

/// The channels that a poll, or a message that comes unasked, feeds.
pub(super) fn fed_by(channels: &[DeviceChannel], place: usize) -> Vec<usize> {
    let fed = |channel: &DeviceChannel| matches!(&channel.source, Source::Field { poll, .. } if *poll == place);
    (0..).zip(channels).filter(|(_, channel)| fed(channel)).map(|(at, _)| at).collect()
}

/// What the fields of a message say of the channels that it feeds.
pub(super) fn readings(channels: &[DeviceChannel], fed: &[usize], fields: &Fields) -> Vec<Reading> {
    let reading = |index: &usize| {
        let channel = channels.get(*index)?;
        Some(Reading { channel: *index, outcome: channel.read(fields) })
    };
    fed.iter().filter_map(reading).collect()
}

#[async_trait::async_trait]
impl Driver for MessageDriver {
    fn polls(&self) -> &[PollSpec] {
        &self.specs
    }

    async fn connect(&mut self, bus: &mut Bus) -> Result<(), Error> {
        sleep(self.timing.after_connect).await;
        let steps: Vec<&Step> = self.messages.on_connect.iter().map(|connect| &connect.step).collect();
        if !steps.is_empty() {
            Talk { wire: bus.wire()?, messages: &self.messages, timing: &self.timing }.all(&steps).await?;
        }
        Ok(())
    }

    async fn poll(&mut self, bus: &mut Bus, poll: usize) -> Polled {
        let failed = |failure| Polled { exchanges: Vec::new(), failure: Some(failure) };
        let steps: Vec<&Step> = self.messages.polls.get(poll).into_iter().flat_map(|poll| &poll.steps).collect();
        let wire = match bus.wire() {
            Ok(wire) => wire,
            Err(error) => return failed(error),
        };
        match (Talk { wire, messages: &self.messages, timing: &self.timing }).all(&steps).await {
            Ok((asked, answered, fields)) => {
                let fed = self.specs.get(poll).map_or(&[][..], |spec| &spec.channels);
                let readings = readings(&self.channels, fed, &fields);
                Polled { exchanges: vec![Exchange { asked, answered, readings }], failure: None }
            }
            Err(error) => failed(error),
        }
    }
}

fn size(step: &Step, framing: &Framing, timing: &Timing) -> ExchangeSize {
    let looked_at = |pattern: &Pattern| match framing.idle() {
        Some(idle) => idle.max(SCATTERED),
        None if is_unmarked(framing, pattern) => SCATTERED,
        None => Duration::ZERO,
    };
    ExchangeSize {
        request: step.send.as_ref().map_or(0, Vec::len),
        reply: step.expect.as_ref().map_or(0, |pattern| pattern.longest() + framing.overhead()),
        turnaround: timing.turnaround,
        silence: step.expect.as_ref().map_or(Duration::ZERO, looked_at).max(timing.gap),
    }
}

/// Whether nothing but its length tells a reply: no terminator, no checksum, no byte that only begins a message. Any stray
/// byte before it makes another number of it.
fn is_unmarked(framing: &Framing, pattern: &Pattern) -> bool {
    let sized = matches!(framing.end, End::Fixed(_) | End::Length { .. } | End::Pattern);
    sized && framing.escape.is_none() && !pattern.has_checksum()
}

/// The steps of one poll on the wire.
pub(super) struct Talk<'a> {
    pub(super) wire: &'a mut Wire,
    pub(super) messages: &'a MessageDevice,
    pub(super) timing: &'a Timing,
}

impl Talk<'_> {
    /// Carries out the steps. All their fields share the time from the first byte out to the last byte in.
    async fn all(&mut self, steps: &[&Step]) -> Result<(Instant, Instant, Fields), Error> {
        let mut fields = Fields::new();
        let mut asked = None;
        let mut open = false;
        for step in steps {
            if let Some(send) = &step.send {
                if open {
                    self.accept().await?;
                }
                self.wire.begin(self.timing.gap, self.timing.idle).await?;
                self.wire.ask(PARTY, send).await?;
                asked.get_or_insert(self.wire.asked());
                open = true;
            }
            if step.expect.is_some() {
                fields.extend(self.reply(step).await?);
            }
            if !step.wait.is_zero() {
                sleep(step.wait).await;
            }
        }
        // A message that asks for nothing has no answer that could be heard.
        let asked = asked.unwrap_or_else(|| self.wire.heard());
        let answered = self.wire.heard().max(asked);
        if open {
            self.accept().await?;
        }
        Ok((asked, answered, fields))
    }

    /// Carries out the steps where the instrument speaks all the time: such a line never falls quiet, and what comes in
    /// between is no late answer.
    pub(super) async fn amid_speech(&mut self, steps: &[&Step]) -> Result<(), Error> {
        for step in steps {
            if let Some(send) = &step.send {
                self.wire.ask(PARTY, send).await?;
            }
            if step.expect.is_some() {
                self.reply(step).await?;
            }
            if !step.wait.is_zero() {
                sleep(step.wait).await;
            }
        }
        Ok(())
    }

    async fn accept(&mut self) -> Result<(), Error> {
        // Between lines of text these mean nothing. In a frame any byte may be a number.
        let stray = match self.messages.alphabet {
            Alphabet::Text => |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, 0 | b'\r' | b'\n')),
            Alphabet::Bytes => |bytes: &[u8]| bytes.is_empty(),
        };
        Ok(self.wire.accept(self.timing.reply, stray).await?)
    }

    /// Reads messages until one is what the step expects.
    async fn reply(&mut self, step: &Step) -> Result<Fields, Error> {
        let Some(pattern) = &step.expect else { return Ok(Fields::new()) };
        let framing = &self.messages.framing;
        let sent = step.send.as_deref().unwrap_or_default();
        let echo_due = self.wire.settings().echo && !sent.is_empty();
        let echoed = if echo_due { sent.len() } else { 0 };
        let longest = pattern.longest() + framing.overhead() + echoed;
        let since = if step.send.is_some() { self.wire.sent() } else { Instant::now() };
        let deadline = since + self.timing.reply + self.wire.settings().time_of(longest);
        if echo_due && self.wire.read_exact(sent.len(), deadline).await? && self.wire.received().starts_with(sent) {
            self.wire.skip(sent.len());
        }
        let mut odd = None;
        let mut silent = false;
        loop {
            let received = self.wire.received();
            let cut =
                if silent { framing.cut_at_silence(received, &[pattern]) } else { framing.cut(received, &[pattern]) };
            let echoes = !sent.is_empty() && received.starts_with(sent);
            match cut {
                Cut::Message { taken, .. } if taken <= sent.len() && echoes => return Err(Error::Echo),
                Cut::Message { taken, fields, .. } if is_unmarked(framing, pattern) => {
                    if let Some(odd) = odd {
                        return Err(odd);
                    }
                    self.alone(taken, sent).await?;
                    return Ok(fields);
                }
                Cut::Message { taken, fields, .. } => {
                    self.wire.consume(taken);
                    return Ok(fields);
                }
                Cut::Broken { .. } if echoes => return Err(Error::Echo),
                Cut::Broken { skip, why } => {
                    let seen = received.get(..skip).unwrap_or_default();
                    // A frame whose checksum is wrong is tried again from each of its bytes on, which says no more of it.
                    if !matches!(odd, Some(Error::Checksum)) {
                        odd = Some(self.odd(seen, &why));
                    }
                    self.wire.skip(skip);
                    continue;
                }
                Cut::Skip(count) => {
                    self.wire.skip(count);
                    continue;
                }
                Cut::More => {}
            }
            // After a complete message that is not the reply, a silent line has nothing more to say.
            let idle = framing.idle().filter(|_| !self.wire.received().is_empty() && !silent);
            let idle = idle.map(|idle| idle.max(SCATTERED));
            let until = match idle {
                Some(idle) => (self.wire.heard() + idle).min(deadline + idle),
                None if odd.is_some() => deadline.min(self.wire.heard() + self.wire.quiet()),
                None => deadline,
            };
            if self.wire.more(until).await? {
                silent = false;
            } else if idle.is_some_and(|idle| Instant::now() >= self.wire.heard() + idle) {
                silent = true;
            } else {
                return Err(odd.unwrap_or_else(|| self.silence()));
            }
        }
    }

    /// Makes sure that nothing follows a reply that only its length tells: with a byte too many, the place of the others is
    /// doubtful. The reply is as old as it is.
    async fn alone(&mut self, taken: usize, sent: &[u8]) -> Result<(), Error> {
        let heard = self.wire.heard();
        while self.wire.received().len() == taken && self.wire.more(heard + SCATTERED).await? {}
        if self.wire.received().len() > taken {
            if !sent.is_empty() && self.wire.received().starts_with(sent) {
                return Err(Error::Echo);
            }
            let shown = self.messages.shown(self.wire.received());
            return Err(Error::Malformed { shown, what: "more bytes than the reply has".to_owned() });
        }
        self.wire.consume(taken);
        Ok(())
    }

    /// What a message that is not the reply means, if nothing better follows.
    fn odd(&self, seen: &[u8], why: &Mismatch) -> Error {
        let what = match why.why {
            Misfit::Checksum => return Error::Checksum,
            Misfit::Parity => "a character came with a wrong parity, or another line speed".to_owned(),
            Misfit::Shape => format!("expected `{}`", why.expected),
        };
        // A frame is given up byte by byte: what was seen of it is in the mismatch.
        let shown = match self.messages.framing.end {
            End::Terminator { .. } | End::Idle(_) => self.messages.shown(seen),
            End::Fixed(_) | End::Length { .. } | End::Pattern => why.got.clone(),
        };
        Error::Malformed { shown, what }
    }

    /// What the absence of a line means.
    fn silence(&self) -> Error {
        let got = self.wire.received().len();
        let why = if got == 0 { Error::NoReply(self.timing.reply) } else { Error::Truncated { got } };
        if self.wire.is_mute() { Error::GivenUp(Box::new(why)) } else { why }
    }
}
