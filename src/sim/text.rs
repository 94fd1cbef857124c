//! What a simulated instrument answers to text messages. Pure, but for the place in a conversation of several steps.

use crate::model::Outcome;
use crate::profile::{Device, DeviceChannel, Fields, MessageDevice, MessagePoll, Raw, Source, Step, Unwritable};

use super::instrument::{Answer, Shown, over_range};

/// A conversation of several steps.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Turn {
    poll: usize,
    /// The step that is expected next; the last one again when all are done, since an enquiry may be repeated.
    step: usize,
    /// What a reader has got out of it so far.
    read: Fields,
}

/// What an instrument makes of a message.
pub(super) enum Heard {
    /// It is none that the profile knows.
    Unknown,
    /// It is one. The instrument may have nothing to answer.
    Known(Option<Answer>),
}

/// Everything that a master may send to this instrument.
pub(super) fn messages(text: &MessageDevice) -> impl Iterator<Item = &[u8]> {
    let polled = text.polls.iter().flat_map(|poll| &poll.steps);
    text.on_connect.iter().map(|connect| &connect.step).chain(polled).filter_map(|step| step.send.as_deref())
}

/// Answers a message, and remembers what is expected next. `shown` is what each channel of the device shows now.
pub(super) fn answer(
    device: &Device,
    text: &MessageDevice,
    shown: &[Shown],
    turn: &mut Option<Turn>,
    message: &[u8],
) -> Heard {
    let sends = |step: &Step| step.send.as_deref() == Some(message);
    let expected =
        |turn: &Turn| text.polls.get(turn.poll).and_then(|poll| poll.steps.get(turn.step)).is_some_and(sends);
    let begun = || {
        let first = |poll: &MessagePoll| poll.steps.first().is_some_and(sends);
        Some(Turn { poll: text.polls.iter().position(first)?, step: 0, read: Fields::new() })
    };
    if let Some(mut now) = turn.take_if(|turn| expected(turn)).or_else(begun) {
        let steps = text.polls.get(now.poll).map(|poll| poll.steps.as_slice()).unwrap_or_default();
        // A step without a message of its own is answered along with the one before it.
        let silent = steps.iter().skip(now.step + 1).take_while(|step| step.send.is_none()).count();
        let asked = steps.iter().skip(now.step).take(silent + 1);
        let next = now.step + silent + 1;
        let Some((bytes, read)) = written(device, text, shown, Some(now.poll), asked) else {
            return Heard::Known(None);
        };
        now.read.extend(read);
        // Only the end of a conversation gives values: a status may come in another step than the number.
        let given = if next < steps.len() { Vec::new() } else { given(device, now.poll, &now.read) };
        if next < steps.len() {
            now.step = next;
        }
        *turn = Some(now);
        return Heard::Known((!bytes.is_empty()).then_some(Answer { bytes, given }));
    }
    if let Some(connect) = text.on_connect.iter().find(|connect| sends(&connect.step)) {
        let written = written(device, text, shown, None, std::iter::once(&connect.step));
        let answer = written.map(|(bytes, _)| Answer { bytes, given: Vec::new() });
        return Heard::Known(answer.filter(|answer| !answer.bytes.is_empty()));
    }
    // A later step out of turn: understood, but there is nothing to say.
    if messages(text).any(|known| known == message) { Heard::Known(None) } else { Heard::Unknown }
}

/// The channels that a poll feeds, by their place in the device.
fn fed_by(device: &Device, poll: usize) -> impl Iterator<Item = (usize, &DeviceChannel)> {
    device.channels.iter().enumerate().filter(move |(_, channel)| match &channel.source {
        Source::Field { poll: of, .. } => *of == poll,
        Source::Register(_) => false,
    })
}

/// What a reader gets out of the fields of a whole poll.
fn given(device: &Device, poll: usize, read: &Fields) -> Vec<(usize, Outcome)> {
    fed_by(device, poll).map(|(index, channel)| (index, channel.read(read))).collect()
}

/// The answers of these steps, terminators included, and the fields that a reader finds in them.
fn written<'a>(
    device: &Device,
    text: &MessageDevice,
    shown: &[Shown],
    poll: Option<usize>,
    steps: impl Iterator<Item = &'a Step>,
) -> Option<(Vec<u8>, Fields)> {
    let mut fields = Fields::new();
    for by_hand in [false, true] {
        for (index, channel) in poll.into_iter().flat_map(|poll| fed_by(device, poll)) {
            if let Some(shown) = shown.get(index).filter(|shown| shown.is_by_hand() == by_hand) {
                shown.put(channel, &mut fields);
            }
        }
    }
    let mut bytes = Vec::new();
    let mut read = Fields::new();
    for pattern in steps.filter_map(|step| step.expect.as_ref()) {
        for name in pattern.names() {
            if fields.get(name).is_none() {
                fields.set(name, Raw::Integer(0));
            }
        }
        let reply = match pattern.write(&fields) {
            Err(Unwritable::DoesNotFit { field, .. }) => {
                let misfit = device.channels.iter().find(|channel| *channel.field() == field)?;
                over_range(misfit, &mut fields);
                pattern.write(&fields).ok()?
            }
            written => written.ok()?,
        };
        read.extend(pattern.read(&reply).ok()?);
        bytes.extend(text.framing.wrapped(&reply));
    }
    Some((bytes, read))
}

/// The first reply that can't be made from its pattern, which is a regular expression.
pub(super) fn unwritable(text: &MessageDevice) -> Option<String> {
    let polled = text.polls.iter().flat_map(|poll| &poll.steps);
    let patterns =
        text.on_connect.iter().map(|connect| &connect.step).chain(polled).filter_map(|step| step.expect.as_ref());
    let mut broken = patterns.filter_map(|pattern| match pattern.write(&Fields::new()) {
        Err(Unwritable::Regex(regex)) => Some(regex.to_string()),
        _ => None,
    });
    broken.next()
}
