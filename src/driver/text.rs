//! The driver for instruments that answer text with text.
//!
//! A reply ends with the profile's terminator and has to be what the profile describes, to the last character. Whatever
//! else comes in is skipped while there is time (unasked messages, noise with a terminator in it) and reported if nothing
//! better follows. A byte that came with a parity error shows as NUL, so a reply with a NUL in it is never read.

use tokio::time::{Instant, sleep};

use crate::link::Wire;
use crate::model::Outcome;
use crate::model::Reading;
use crate::model::Reason;
use crate::profile::Device;
use crate::profile::DeviceChannel;
use crate::profile::Fields;
use crate::profile::Framing;
use crate::profile::Source;
use crate::profile::Step;
use crate::profile::TextDevice;
use crate::profile::Timing;
use crate::profile::printable;

use super::{Bus, Driver, Error, Exchange, ExchangeSize, PollSpec, Polled};

/// Text replies carry no address that a machine could rely on: all instruments of a link are one party.
const PARTY: u16 = 0;

/// Speaks for one text instrument.
#[derive(Debug)]
pub struct TextDriver {
    text: TextDevice,
    timing: Timing,
    channels: Vec<DeviceChannel>,
    specs: Vec<PollSpec>,
}

impl TextDriver {
    /// A driver for this device.
    pub fn new(text: TextDevice, device: &Device) -> Self {
        let Framing::Terminator(terminator) = &text.framing;
        let fed_by = |channel: &DeviceChannel, poll| matches!(&channel.source, Source::Field { poll: from, .. } if *from == poll);
        let specs = text.polls.iter().enumerate().map(|(place, poll)| PollSpec {
            every: poll.every,
            channels: (0..)
                .zip(&device.channels)
                .filter(|(_, channel)| fed_by(channel, place))
                .map(|(at, _)| at)
                .collect(),
            exchanges: poll.steps.iter().map(|step| size(step, terminator.len(), &device.timing)).collect(),
        });
        let specs = specs.collect();
        Self { text, timing: device.timing, channels: device.channels.clone(), specs }
    }

    fn readings(&self, poll: usize, fields: &Fields) -> Vec<Reading> {
        let spec = self.specs.get(poll);
        let channels = spec.into_iter().flat_map(|spec| &spec.channels);
        let reading = |index: &usize| {
            let channel = self.channels.get(*index)?;
            let raw = fields.get(channel.field());
            let outcome = raw.map_or(Outcome::Bad(Reason::MALFORMED), |raw| channel.evaluate(raw, fields));
            Some(Reading { channel: *index, outcome })
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
        let steps: Vec<&Step> = self.text.on_connect.iter().map(|connect| &connect.step).collect();
        if !steps.is_empty() {
            Talk { wire: bus.wire()?, framing: &self.text.framing, timing: &self.timing }.all(&steps).await?;
        }
        Ok(())
    }

    async fn poll(&mut self, bus: &mut Bus, poll: usize) -> Polled {
        let failed = |failure| Polled { exchanges: Vec::new(), failure: Some(failure) };
        let steps: Vec<&Step> = self.text.polls.get(poll).into_iter().flat_map(|poll| &poll.steps).collect();
        let wire = match bus.wire() {
            Ok(wire) => wire,
            Err(error) => return failed(error),
        };
        match (Talk { wire, framing: &self.text.framing, timing: &self.timing }).all(&steps).await {
            Ok((asked, answered, fields)) => {
                let readings = self.readings(poll, &fields);
                Polled { exchanges: vec![Exchange { asked, answered, readings }], failure: None }
            }
            Err(error) => failed(error),
        }
    }

    fn left_out(&self) -> Vec<usize> {
        Vec::new()
    }
}

fn size(step: &Step, terminator: usize, timing: &Timing) -> ExchangeSize {
    ExchangeSize {
        request: step.send.as_ref().map_or(0, Vec::len),
        reply: step.expect.as_ref().map_or(0, |pattern| pattern.longest() + terminator),
        turnaround: timing.turnaround,
        silence: timing.gap,
    }
}

/// The steps of one poll on the wire.
struct Talk<'a> {
    wire: &'a mut Wire,
    framing: &'a Framing,
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

    /// Reads lines until one is what the step expects.
    async fn reply(&mut self, step: &Step) -> Result<Fields, Error> {
        let Framing::Terminator(terminator) = self.framing;
        let Some(pattern) = &step.expect else { return Ok(Fields::new()) };
        let sent = step.send.as_deref().unwrap_or_default();
        let mut echo_due = self.wire.settings().echo && !sent.is_empty();
        let echoed = if echo_due { sent.len() } else { 0 };
        let longest = pattern.longest() + terminator.len() + echoed;
        let since = if step.send.is_some() { self.wire.sent() } else { Instant::now() };
        let deadline = since + self.timing.reply + self.wire.settings().time_of(longest);
        let mut odd = None;
        loop {
            if echo_due && self.wire.read_exact(sent.len(), deadline).await? && self.wire.received().starts_with(sent) {
                self.wire.skip(sent.len());
            }
            echo_due = false;
            // After a complete line that is not the reply, a silent line has nothing more to say.
            let until = if odd.is_some() { deadline.min(self.wire.heard() + self.wire.quiet()) } else { deadline };
            let Some(end) = self.wire.read_until(terminator, until).await? else {
                return Err(odd.unwrap_or_else(|| self.silence()));
            };
            let message = self.wire.received().get(..end).unwrap_or_default();
            let line = message.get(..end - terminator.len()).unwrap_or_default();
            let line = match line {
                // The second half of an instrument's CR LF where the profile speaks of CR.
                [b'\n', rest @ ..] if terminator.ends_with(b"\r") => rest,
                line => line,
            };
            let read = pattern.read(line);
            let nul = line.contains(&0);
            match read {
                Ok(fields) if !nul && message != sent => {
                    self.wire.consume(end);
                    return Ok(fields);
                }
                _ if !sent.is_empty() && message.starts_with(sent) => return Err(Error::Echo),
                read => {
                    let what = match read {
                        Err(mismatch) if !nul => format!("expected `{}`", mismatch.expected),
                        _ => "a character came with a wrong parity, or another line speed".to_owned(),
                    };
                    odd = Some(Error::Malformed { shown: printable(message), what });
                    self.wire.skip(end);
                }
            }
        }
    }

    /// What the absence of a line means.
    fn silence(&self) -> Error {
        let got = self.wire.received().len();
        let why = if got == 0 { Error::NoReply(self.timing.reply) } else { Error::Truncated { got } };
        if self.wire.is_mute() { Error::GivenUp(Box::new(why)) } else { why }
    }
}
