//! The driver for instruments that answer messages of their own with messages of their own, of text or of bytes.
//!
//! A reply has to be what the profile describes, to the last character. Whatever else comes in is skipped while there is
//! time (unasked messages, noise) and reported if nothing better follows.

use tokio::time::{Instant, sleep};

use crate::link::Wire;
use crate::model::Reading;
use crate::profile::Cut;
use crate::profile::Device;
use crate::profile::DeviceChannel;
use crate::profile::End;
use crate::profile::Fields;
use crate::profile::MessageDevice;
use crate::profile::Misfit;
use crate::profile::Mismatch;
use crate::profile::Source;
use crate::profile::Step;
use crate::profile::Timing;

use super::{Bus, Driver, Error, Exchange, ExchangeSize, LeftOut, PollSpec, Polled};

/// Replies carry no address that a machine could rely on: all instruments of a link are one party.
const PARTY: u16 = 0;

/// Speaks for one instrument that is asked.
#[derive(Debug)]
pub struct TextDriver {
    messages: MessageDevice,
    timing: Timing,
    channels: Vec<DeviceChannel>,
    specs: Vec<PollSpec>,
}

impl TextDriver {
    /// A driver for this device.
    pub fn new(messages: MessageDevice, device: &Device) -> Self {
        let fed_by = |channel: &DeviceChannel, poll| matches!(&channel.source, Source::Field { poll: from, .. } if *from == poll);
        let specs = messages.polls.iter().enumerate().map(|(place, poll)| PollSpec {
            every: poll.every,
            channels: (0..)
                .zip(&device.channels)
                .filter(|(_, channel)| fed_by(channel, place))
                .map(|(at, _)| at)
                .collect(),
            exchanges: poll.steps.iter().map(|step| size(step, messages.framing.overhead(), &device.timing)).collect(),
        });
        let specs = specs.collect();
        Self { messages, timing: device.timing, channels: device.channels.clone(), specs }
    }

    fn readings(&self, poll: usize, fields: &Fields) -> Vec<Reading> {
        let spec = self.specs.get(poll);
        let channels = spec.into_iter().flat_map(|spec| &spec.channels);
        let reading = |index: &usize| {
            let channel = self.channels.get(*index)?;
            Some(Reading { channel: *index, outcome: channel.read(fields) })
        };
        channels.filter_map(reading).collect()
    }
}

#[async_trait::async_trait]
impl Driver for TextDriver {
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
                let readings = self.readings(poll, &fields);
                Polled { exchanges: vec![Exchange { asked, answered, readings }], failure: None }
            }
            Err(error) => failed(error),
        }
    }

    fn left_out(&self) -> Vec<LeftOut> {
        Vec::new()
    }
}

fn size(step: &Step, overhead: usize, timing: &Timing) -> ExchangeSize {
    ExchangeSize {
        request: step.send.as_ref().map_or(0, Vec::len),
        reply: step.expect.as_ref().map_or(0, |pattern| pattern.longest() + overhead),
        turnaround: timing.turnaround,
        silence: timing.gap,
    }
}

/// The steps of one poll on the wire.
struct Talk<'a> {
    wire: &'a mut Wire,
    messages: &'a MessageDevice,
    timing: &'a Timing,
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

    async fn accept(&mut self) -> Result<(), Error> {
        let stray = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, 0 | b'\r' | b'\n'));
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
                Cut::Message { taken, fields, .. } => {
                    self.wire.consume(taken);
                    // Without terminator or checksum, a byte too many makes the place of the others doubtful.
                    if matches!(framing.end, End::Pattern) && !self.wire.received().is_empty() {
                        let shown = self.messages.shown(self.wire.received());
                        return Err(Error::Malformed { shown, what: "more bytes than the reply has".to_owned() });
                    }
                    return Ok(fields);
                }
                Cut::Broken { .. } if echoes => return Err(Error::Echo),
                Cut::Broken { skip, why } => {
                    let seen = received.get(..skip).unwrap_or_default();
                    odd = Some(self.odd(seen, &why));
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
            let until = match framing.idle().filter(|_| !self.wire.received().is_empty() && !silent) {
                Some(idle) => deadline.min(self.wire.heard() + idle),
                None if odd.is_some() => deadline.min(self.wire.heard() + self.wire.quiet()),
                None => deadline,
            };
            if self.wire.more(until).await? {
                silent = false;
            } else if framing.idle().is_some() && !self.wire.received().is_empty() && !silent {
                silent = true;
            } else {
                return Err(odd.unwrap_or_else(|| self.silence()));
            }
        }
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
