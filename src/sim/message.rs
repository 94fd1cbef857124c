//! What a simulated instrument makes of messages, and what it says: in answer, or unasked. Pure, but for the place in a
//! conversation of several steps.
//!
//! Of a message that can look in several ways, the form is written that shows most of what the channels show: a word where
//! there is no number, a packet without the value that is absent.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crate::model::Outcome;
use crate::profile::{
    Alphabet, Device, DeviceChannel, DeviceEngine, Fields, MessageDevice, Misfit, Pattern, Raw, Source, Step,
    Unwritable,
};

use super::instrument::{Answer, Shown, show_as};

/// How many values are tried for a field that what it should show does not fit.
const STAND_INS: usize = 4;

/// A conversation of several steps. Polls that begin alike can't be told apart until they part.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Turn {
    /// The step that is expected next; the last one again when all are done, since an enquiry may be repeated.
    step: usize,
    /// The polls that it may be, each with what a reader has got out of it so far; at least one.
    strands: Vec<(usize, Fields)>,
}

/// What an instrument makes of a message.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Understood {
    /// It is none that the profile knows.
    Unknown,
    /// A later step out of turn: understood, but there is nothing to say.
    OutOfTurn,
    /// A message that is sent after the link was opened, by its place.
    Connect(usize),
    /// This step of a conversation.
    Step(Turn),
}

/// How an answer is to be said.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct How<'a> {
    /// Whether its checksum is to be wrong.
    pub(super) wrong_checksum: bool,
    /// Whose answer to give, if not its own: the same instrument's at another address.
    pub(super) as_if: Option<&'a Device>,
}

/// Something said.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Spoken {
    pub(super) answer: Answer,
    /// Whether a checksum could be made wrong.
    pub(super) spoilt: bool,
    /// Whether it shows that another one has said it.
    pub(super) foreign: bool,
    /// Where the conversation is now.
    pub(super) turn: Option<Turn>,
}

impl Turn {
    /// The number of the step, from 1.
    pub(super) fn number(&self) -> usize {
        self.step + 1
    }
}

/// A message that a master may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) bytes: Vec<u8>,
    /// Whether its end is not that of a line, whatever its last byte is.
    pub(super) stands_alone: bool,
}

/// Everything that a master may send to this instrument.
pub(super) fn messages(engine: &MessageDevice) -> impl Iterator<Item = &[u8]> {
    let polled = engine.polls.iter().flat_map(|poll| &poll.steps);
    engine.on_connect.iter().map(|connect| &connect.step).chain(polled).filter_map(|step| step.send.as_deref())
}

/// The same, with what is needed to find them among bytes.
pub(super) fn known(engine: &MessageDevice) -> impl Iterator<Item = Known> {
    messages(engine).map(|message| Known {
        bytes: message.to_vec(),
        stands_alone: engine.alphabet == Alphabet::Bytes || !matches!(message.last(), Some(b'\r' | b'\n')),
    })
}

/// Finds out what a message is. `turn` is what is expected next.
pub(super) fn understand(engine: &MessageDevice, turn: Option<&Turn>, message: &[u8]) -> Understood {
    let sends = |step: &Step| step.send.as_deref() == Some(message);
    let expects =
        |poll: usize, step: usize| engine.polls.get(poll).and_then(|poll| poll.steps.get(step)).is_some_and(sends);
    if let Some(turn) = turn {
        let goes_on = |(poll, _): &&(usize, Fields)| expects(*poll, turn.step);
        let strands: Vec<(usize, Fields)> = turn.strands.iter().filter(goes_on).cloned().collect();
        if !strands.is_empty() {
            return Understood::Step(Turn { step: turn.step, strands });
        }
    }
    let begun = (0..engine.polls.len()).filter(|poll| expects(*poll, 0));
    let strands: Vec<(usize, Fields)> = begun.map(|poll| (poll, Fields::new())).collect();
    if !strands.is_empty() {
        return Understood::Step(Turn { step: 0, strands });
    }
    if let Some(connect) = engine.on_connect.iter().position(|connect| sends(&connect.step)) {
        return Understood::Connect(connect);
    }
    if messages(engine).any(|known| known == message) { Understood::OutOfTurn } else { Understood::Unknown }
}

/// Answers a step of a conversation. `shown` is what each channel of the device shows now. None where no answer can be made.
pub(super) fn answer(
    device: &Device,
    engine: &MessageDevice,
    shown: &[Shown],
    turn: Turn,
    how: How<'_>,
) -> Option<Spoken> {
    let (poll, so_far) = turn.strands.first()?;
    let steps = engine.polls.get(*poll)?.steps.as_slice();
    // A step without a message of its own is answered along with the one before it.
    let silent = steps.iter().skip(turn.step + 1).take_while(|step| step.send.is_none()).count();
    let asked = turn.step..turn.step + silent + 1;
    let next = asked.end;
    let other = how.as_if.and_then(engine_of).and_then(|other| other.polls.get(*poll));
    let other_steps = other.map_or(steps, |poll| poll.steps.as_slice());
    let patterns = expected(steps, asked.clone()).zip(expected(other_steps, asked.clone()));
    let mut written = written(device, engine, shown, (*poll, so_far), patterns, how)?;
    let mut strands = vec![(*poll, so_far.clone())];
    for (place, (poll, so_far)) in turn.strands.iter().enumerate() {
        if place == 0 {
            strands.iter_mut().for_each(|(_, read)| read.extend(std::mem::take(&mut written.read)));
            continue;
        }
        let own = engine.polls.get(*poll).map(|poll| expected(&poll.steps, asked.clone()));
        let mut read = so_far.clone();
        let messages = own.into_iter().flatten().zip(&written.messages);
        // What is another answer in the eyes of this poll has told it apart.
        if messages
            .map(|(pattern, message)| pattern.read(message).map(|found| read.extend(found)))
            .all(|read| read.is_ok())
        {
            strands.push((*poll, read));
        }
    }
    // Only the end of a conversation gives values: a status may come in another step than the number.
    let done = next >= steps.len();
    let given = strands.first().filter(|_| done).map(|(poll, read)| given(device, *poll, read)).unwrap_or_default();
    // An enquiry that is repeated is answered anew, with nothing left of its first answer.
    let turn = if done { turn } else { Turn { step: next, strands } };
    Some(Spoken { turn: Some(turn), ..written.said(given) })
}

/// Answers a message that is sent after the link was opened.
pub(super) fn greet(device: &Device, engine: &MessageDevice, connect: usize, how: How<'_>) -> Option<Spoken> {
    let expects =
        |engine: &'_ MessageDevice| -> Option<Pattern> { engine.on_connect.get(connect)?.step.expect.clone() };
    let own = expects(engine)?;
    let other = how.as_if.and_then(engine_of).and_then(expects);
    let other = other.as_ref().unwrap_or(&own);
    Some(
        written(device, engine, &[], (usize::MAX, &Fields::new()), std::iter::once((&own, other)), how)?
            .said(Vec::new()),
    )
}

/// A message that is said unasked, by its place.
pub(super) fn speak(
    device: &Device,
    engine: &MessageDevice,
    shown: &[Shown],
    which: usize,
    how: How<'_>,
) -> Option<Spoken> {
    let own = engine.listens.get(which)?;
    let other = how.as_if.and_then(engine_of).and_then(|other| other.listens.get(which)).unwrap_or(own);
    let written =
        written(device, engine, shown, (which, &Fields::new()), std::iter::once((&own.expect, &other.expect)), how)?;
    let given = given(device, which, &written.read);
    Some(written.said(given))
}

fn engine_of(device: &Device) -> Option<&MessageDevice> {
    match &device.engine {
        DeviceEngine::Messages(engine) => Some(engine),
        DeviceEngine::Modbus(_) => None,
    }
}

fn expected(steps: &[Step], asked: Range<usize>) -> impl Iterator<Item = &Pattern> {
    steps.get(asked).unwrap_or_default().iter().filter_map(|step| step.expect.as_ref())
}

/// The channels that a poll or an unasked message feeds, by their place in the device.
fn fed_by(device: &Device, source: usize) -> impl Iterator<Item = (usize, &DeviceChannel)> {
    device.channels.iter().enumerate().filter(move |(_, channel)| match &channel.source {
        Source::Field { poll: of, .. } => *of == source,
        Source::Register(_) => false,
    })
}

/// What a reader gets out of the fields of a whole poll or of an unasked message.
fn given(device: &Device, source: usize, read: &Fields) -> Vec<(usize, Outcome)> {
    fed_by(device, source).map(|(index, channel)| (index, channel.read(read))).collect()
}

/// Messages as they go out, framing included, and the fields that a reader finds in them.
struct Written {
    bytes: Vec<u8>,
    /// The messages without framing, as they were meant.
    messages: Vec<Vec<u8>>,
    read: Fields,
    spoilt: bool,
    foreign: bool,
}

impl Written {
    fn said(self, given: Vec<(usize, Outcome)>) -> Spoken {
        let answer = Answer { bytes: self.bytes, given };
        Spoken { answer, spoilt: self.spoilt, foreign: self.foreign, turn: None }
    }
}

/// What a message is made of.
struct Content<'a> {
    channels: Vec<(&'a DeviceChannel, Option<&'a Shown>)>,
    fields: Fields,
    /// Fields that must not be there.
    absent: BTreeSet<Arc<str>>,
}

/// Writes messages of a poll of which so much has been said already, each as the second pattern has it; the first is the
/// instrument's own.
fn written<'a>(
    device: &Device,
    engine: &MessageDevice,
    shown: &[Shown],
    (source, so_far): (usize, &Fields),
    patterns: impl Iterator<Item = (&'a Pattern, &'a Pattern)>,
    how: How<'_>,
) -> Option<Written> {
    let channels = fed_by(device, source).map(|(index, channel)| (channel, shown.get(index))).collect();
    let content = Content::new(channels, so_far);
    let mut written =
        Written { bytes: Vec::new(), messages: Vec::new(), read: Fields::new(), spoilt: false, foreign: false };
    for (own, pattern) in patterns {
        let mut message = content.written(pattern)?;
        written.read.extend(pattern.read(&message).ok()?);
        written.messages.push(message.clone());
        written.foreign |= how.as_if.is_some() && own.read(&message).is_err();
        if how.wrong_checksum
            && let Some(wrong) = with_wrong_checksum(pattern, &message)
        {
            message = wrong;
            written.spoilt = true;
        }
        written.bytes.extend(engine.framing.wrapped(&message));
    }
    Some(written)
}

impl<'a> Content<'a> {
    /// `so_far` are the fields that were said before: a unit, say, in which the value has to be.
    fn new(channels: Vec<(&'a DeviceChannel, Option<&'a Shown>)>, so_far: &Fields) -> Self {
        let mut content = Self { channels, fields: so_far.clone(), absent: BTreeSet::new() };
        // A value sets the status that it needs, so it comes after the status' own; what was set by hand comes last.
        let rank = |channel: &DeviceChannel, shown: &Shown| match shown.is_by_hand() {
            true => 2,
            false => u8::from(channel.decoding.needs().next().is_some()),
        };
        for turn in 0..3 {
            for (channel, shown) in &content.channels {
                match shown {
                    Some(shown) if shown.is_absent() => drop(content.absent.insert(Arc::clone(channel.field()))),
                    Some(shown) if rank(channel, shown) == turn => shown.put(channel, &mut content.fields),
                    _ => {}
                }
            }
        }
        content
    }

    /// The message in the form that shows most.
    fn written(&self, pattern: &Pattern) -> Option<Vec<u8>> {
        if !pattern.has_choice() {
            return self.in_form(pattern);
        }
        let all: usize = self.channels.iter().filter_map(|(_, shown)| *shown).map(|shown| self.weight(shown)).sum();
        let mut best: Option<(usize, Vec<u8>)> = None;
        for form in pattern.forms() {
            let Some(message) = self.in_form(&form) else { continue };
            let shows = self.shows(pattern, &message);
            if best.as_ref().is_none_or(|(most, _)| shows > *most) {
                best = Some((shows, message));
            }
            if shows == all {
                break;
            }
        }
        best.map(|(_, message)| message)
    }

    /// How much a reader of the message sees as it is meant; one channel that was set by hand counts more than all that
    /// follow their course.
    fn shows(&self, pattern: &Pattern, message: &[u8]) -> usize {
        let Ok(read) = pattern.read(message) else { return 0 };
        let shown = self.channels.iter().filter_map(|(channel, shown)| Some((channel, (*shown)?)));
        shown
            .filter(|(channel, shown)| shown.is_seen_as(&channel.read(&read)))
            .map(|(_, shown)| self.weight(shown))
            .sum()
    }

    fn weight(&self, shown: &Shown) -> usize {
        if shown.is_by_hand() { self.channels.len() } else { 1 }
    }

    /// The message in a form of its pattern. What does not fit its field is shown as over range, or as whatever does.
    fn in_form(&self, form: &Pattern) -> Option<Vec<u8>> {
        let mut fields = self.fields.clone();
        let mut tried: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for name in form.names() {
            if fields.get(name).is_none() && !self.absent.contains(name) {
                fields.set(name, Raw::Integer(0));
            }
        }
        loop {
            let field = match form.write(&fields) {
                Ok(message) => return Some(message),
                Err(Unwritable::DoesNotFit { field, .. }) => field,
                Err(Unwritable::Missing(_) | Unwritable::Regex(_)) => return None,
            };
            let tries = tried.entry(Arc::clone(&field)).or_default();
            self.stand_in(&field, *tries, &mut fields)?;
            *tries += 1;
        }
    }

    /// Something else for a field, at the n-th try.
    fn stand_in(&self, field: &Arc<str>, tries: usize, fields: &mut Fields) -> Option<()> {
        let channel = self.channels.iter().map(|(channel, _)| *channel).find(|channel| channel.field() == field);
        let shown = |name: &str| {
            let mut instead = fields.clone();
            channel.is_some_and(|channel| show_as(channel, name, &mut instead)).then_some(instead)
        };
        match tries {
            0 => shown("over_range").into_iter().for_each(|instead| *fields = instead),
            1 => shown("under_range").into_iter().for_each(|instead| *fields = instead),
            2 => fields.set(field, Raw::Integer(0)),
            3 => fields.set(field, Raw::text("")),
            STAND_INS.. => return None,
        }
        Some(())
    }
}

/// The message with a checksum that is not its own: one character of it, the last that makes a difference, is another.
fn with_wrong_checksum(pattern: &Pattern, message: &[u8]) -> Option<Vec<u8>> {
    let spoilt = |place: usize, flip: u8| {
        let mut spoilt = message.to_vec();
        let byte = spoilt.get_mut(place)?;
        // What was a digit or a letter stays one.
        let stays = !byte.is_ascii_alphanumeric() || (*byte ^ flip).is_ascii_alphanumeric();
        *byte ^= flip;
        let is_wrong = || pattern.read(&spoilt).is_err_and(|mismatch| mismatch.why == Misfit::Checksum);
        (stays && is_wrong()).then_some(spoilt)
    };
    (0..message.len()).rev().find_map(|place| [0x01, 0x03, 0x07].iter().find_map(|flip| spoilt(place, *flip)))
}

/// The first message that can't be made from its pattern, which is a regular expression.
pub(super) fn unwritable(engine: &MessageDevice) -> Option<String> {
    let polled = engine.polls.iter().flat_map(|poll| &poll.steps);
    let answers =
        engine.on_connect.iter().map(|connect| &connect.step).chain(polled).filter_map(|step| step.expect.as_ref());
    let patterns = answers.chain(engine.listens.iter().map(|listen| &listen.expect));
    // One form that can be written is enough.
    let mut regexes = patterns.filter_map(|pattern| match pattern.write(&Fields::new()) {
        Err(Unwritable::Regex(regex)) if !pattern.forms().any(|form| is_writable(&form)) => Some(regex.to_string()),
        _ => None,
    });
    regexes.next()
}

fn is_writable(form: &Pattern) -> bool {
    !matches!(form.write(&Fields::new()), Err(Unwritable::Regex(_)))
}
