//! Test vectors: bytes of manuals and captures, run through a profile.
//!
//! A vector's bytes come from outside, never from our own encoder: a profile with a wrong register and a simulator made
//! from it agree with each other, and only the vector disagrees.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crate::document::Problems;
use crate::document::Scalar;
use crate::document::Spanned;
use crate::model::Outcome;
use crate::model::Quality;
use crate::model::Reason;
use crc::{CRC_16_MODBUS, Crc};

use super::device::{Alphabet, Device, DeviceEngine, MessageDevice, Source, Step};
use super::framing::Cut;
use super::hearing::{Heard, Hearing};
use super::pattern::{frame_bytes, text_message};
use super::register::{Register, Table};
use super::schema::{Places, TestFile};
use super::{Fields, Profile};

/// How far a number may be from the expected one, relative to it, unless the vector says otherwise: the step of an `f32`
/// with some room.
const RELATIVE_TOLERANCE: f64 = 1e-6;

const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_MODBUS);

/// Outcomes by channel.
type Outcomes = BTreeMap<Arc<str>, Outcome>;

/// What the registers of a device hold; `None` where the device refuses.
type Memory = BTreeMap<(Table, u16), Option<u16>>;

impl Profile {
    /// Runs the test vectors. What does not come out as it should is a problem at its place in the profile.
    pub fn verify(&self) -> Problems {
        let mut problems = Problems::new();
        for test in &self.file.test {
            if let Err((span, message)) = self.run(test) {
                problems.error(&self.source, span, message, "");
            }
        }
        problems
    }

    fn run(&self, entry: &Spanned<TestFile>) -> Result<(), (Range<usize>, String)> {
        let test = entry.get_ref();
        let at = |span: Range<usize>| move |message: String| (span, message);
        if test.source.as_ref().is_none_or(|source| source.get_ref().trim().is_empty()) {
            return Err((
                entry.span(),
                "a test vector has no `source`: which page or capture its bytes come from".to_owned(),
            ));
        }
        if test.expect.is_empty() {
            return Err((entry.span(), "a test vector expects nothing".to_owned()));
        }
        let params =
            test.params.iter().map(|(name, value)| (name.get_ref().clone(), value.get_ref().to_string())).collect();
        let allow: BTreeSet<String> = self.messages.iter().map(|message| message.id.clone()).collect();
        let device = self.device(&params, &allow).map_err(|errors| {
            let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
            (entry.span(), shown.join("; "))
        })?;
        let outcomes = match &device.engine {
            DeviceEngine::Messages(messages) if messages.listens() => {
                let Some(feed) = &test.feed else {
                    return Err((entry.span(), "a profile that listens is tested by `feed`".to_owned()));
                };
                fed(&device, messages, feed.get_ref()).map_err(at(feed.span()))?
            }
            DeviceEngine::Messages(messages) => exchanged(&device, messages, &test.exchange)?,
            DeviceEngine::Modbus(_) => {
                let mut memory = Memory::new();
                fill(&test.registers, &mut memory)?;
                for exchange in &test.exchange {
                    frames(exchange.get_ref(), &mut memory).map_err(at(exchange.span()))?;
                }
                decoded(&device, &memory)
            }
        };
        for (id, expected) in &test.expect {
            let Some(outcome) = outcomes.get(id.get_ref().as_str()) else {
                if *expected.get_ref() == Scalar::Text("absent".to_owned()) && known(&device, id.get_ref()) {
                    continue;
                }
                return Err((id.span(), format!("the vector brings no reading of `{}`", id.get_ref())));
            };
            if !fits(outcome, expected.get_ref(), test.tolerance) {
                let message = format!("`{}` should be {}, is {}", id.get_ref(), expected.get_ref(), shown(outcome));
                return Err((expected.span(), message));
            }
        }
        Ok(())
    }
}

fn fits(outcome: &Outcome, expected: &Scalar, tolerance: Option<f64>) -> bool {
    let near = |expected: f64| match outcome {
        Outcome::Value { value, quality: Quality::Good } => {
            (value.get() - expected).abs() <= tolerance.unwrap_or(RELATIVE_TOLERANCE * expected.abs())
        }
        _ => false,
    };
    match expected {
        Scalar::Float(number) => near(*number),
        #[expect(clippy::cast_precision_loss, reason = "a number that somebody wrote into a vector")]
        Scalar::Whole(whole) => near(*whole as f64),
        Scalar::Text(text) => {
            *text == shown(outcome)
                || matches!(outcome, Outcome::Value { quality: Quality::Uncertain(reason), .. } if *text == format!("uncertain:{reason}"))
        }
        Scalar::Bool(_) => false,
    }
}

fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Value { value, quality: Quality::Good } => value.get().to_string(),
        Outcome::Value { value, quality: Quality::Uncertain(reason) } => {
            format!("{} (uncertain:{reason})", value.get())
        }
        Outcome::Bad(reason) => format!("bad:{reason}"),
    }
}

fn known(device: &Device, id: &str) -> bool {
    device.channels.iter().any(|channel| &*channel.id == id)
}

/// Bytes as a vector writes them: text with tokens, or hex.
fn bytes_of(device: &MessageDevice, text: &str) -> Result<Vec<u8>, String> {
    let bytes = match device.alphabet {
        Alphabet::Text => text_message(text, None).map(|(bytes, _)| bytes),
        Alphabet::Bytes => frame_bytes(text),
    };
    bytes.map_err(|error| error.to_string())
}

/// Lets the device hear a stream that begins at rest and ends with silence; the last outcome of each channel counts.
fn fed(device: &Device, messages: &MessageDevice, feed: &str) -> Result<Outcomes, String> {
    let patterns = messages.listens.iter().map(|listen| listen.expect.clone()).collect();
    let mut hearing = Hearing::new(messages.framing.clone(), patterns);
    hearing.silence();
    hearing.push(&bytes_of(messages, feed)?);
    hearing.silence();
    let mut outcomes = Outcomes::new();
    while let Some(heard) = hearing.heard() {
        if let Heard::Message(message) = heard {
            outcomes.extend(evaluated(device, message.which, &message.fields));
        }
    }
    Ok(outcomes)
}

/// What the fields of a message say.
fn evaluated<'a>(
    device: &'a Device,
    source: usize,
    fields: &'a Fields,
) -> impl Iterator<Item = (Arc<str>, Outcome)> + 'a {
    device.channels.iter().filter_map(move |channel| match &channel.source {
        Source::Field { poll, .. } if *poll == source => Some((Arc::clone(&channel.id), channel.read(fields))),
        _ => None,
    })
}

/// Runs pairs of request and reply through the polls whose messages they are.
fn exchanged(
    device: &Device,
    messages: &MessageDevice,
    exchange: &[Spanned<Vec<String>>],
) -> Result<Outcomes, (Range<usize>, String)> {
    let mut pairs = Vec::new();
    for pair in exchange {
        let bytes = |text: &String| bytes_of(messages, text).map_err(|error| (pair.span(), error));
        match pair.get_ref().as_slice() {
            [request, reply] => pairs.push((bytes(request)?, bytes(reply)?, pair.span())),
            _ => return Err((pair.span(), "an exchange is a pair: [request, reply]".to_owned())),
        }
    }
    let polls = messages.polls.iter().enumerate().map(|(index, poll)| (Some(index), poll.steps.as_slice()));
    let greetings = messages.on_connect.iter().map(|connect| (None, std::slice::from_ref(&connect.step)));
    let sequences: Vec<(Option<usize>, &[Step])> = polls.chain(greetings).collect();
    let mut outcomes = Outcomes::new();
    let mut rest = pairs.as_slice();
    while let Some((request, _, span)) = rest.first() {
        let asks = |steps: &[Step]| {
            steps.len() <= rest.len()
                && steps
                    .iter()
                    .zip(rest)
                    .all(|(step, (request, ..))| step.send.as_deref().unwrap_or_default() == request)
        };
        let Some((poll, steps)) = sequences.iter().find(|(_, steps)| !steps.is_empty() && asks(steps)) else {
            return Err((span.clone(), format!("no poll sends `{}` here", messages.shown(request))));
        };
        let (now, later) = rest.split_at(steps.len());
        rest = later;
        let replies = now.iter().map(|(_, reply, span)| (reply.as_slice(), span));
        let read = replied(messages, steps, replies)?;
        let Some(poll) = *poll else { continue };
        match read {
            Ok(fields) => outcomes.extend(evaluated(device, poll, &fields)),
            Err(reason) => outcomes
                .extend(evaluated(device, poll, &Fields::new()).map(|(id, _)| (id, Outcome::Bad(reason.clone())))),
        }
    }
    Ok(outcomes)
}

/// The fields of the replies, or why one of them is not what the profile describes. A reply has to be a whole message, and
/// no more.
fn replied<'a>(
    messages: &MessageDevice,
    steps: &[Step],
    replies: impl Iterator<Item = (&'a [u8], &'a Range<usize>)>,
) -> Result<Result<Fields, Reason>, (Range<usize>, String)> {
    let mut fields = Ok(Fields::new());
    for (step, (reply, span)) in steps.iter().zip(replies) {
        let Some(pattern) = &step.expect else { continue };
        match messages.framing.cut_at_silence(reply, &[pattern]) {
            Cut::Message { taken, fields: read, .. } if taken == reply.len() => {
                if let Ok(fields) = &mut fields {
                    fields.extend(read);
                }
            }
            Cut::Broken { why, .. } => fields = Err(why.reason()),
            Cut::More | Cut::Skip(_) | Cut::Message { .. } => {
                let message =
                    format!("the reply `{}` is no whole message by the profile's `framing`", messages.shown(reply));
                return Err((span.clone(), message));
            }
        }
    }
    Ok(fields)
}

fn fill(registers: &Places<Places<Vec<u16>>>, memory: &mut Memory) -> Result<(), (Range<usize>, String)> {
    for (table, starts) in registers {
        let table = [Table::Coil, Table::Discrete, Table::Input, Table::Holding]
            .into_iter()
            .find(|known| known.name() == table.get_ref())
            .ok_or_else(|| (table.span(), "a table is `coil`, `discrete`, `input` or `holding`".to_owned()))?;
        for (start, words) in starts.get_ref() {
            let text = start.get_ref();
            let first = match text.strip_prefix("0x") {
                Some(digits) => u16::from_str_radix(digits, 16),
                None => text.parse(),
            };
            let first = first.map_err(|_| (start.span(), "an address is a number from 0 to 65535".to_owned()))?;
            for (address, word) in (first..=u16::MAX).zip(words.get_ref()) {
                memory.insert((table, address), Some(*word));
            }
        }
    }
    Ok(())
}

/// Takes what a pair of RTU frames says into the memory. Both have to be right to the last bit.
fn frames(pair: &[String], memory: &mut Memory) -> Result<(), String> {
    let [request, reply] = pair else { return Err("an exchange is a pair: [request, reply]".to_owned()) };
    let request = frame(request)?;
    let reply = frame(reply)?;
    let [unit, function, address_high, address_low, count_high, count_low] = *request.as_slice() else {
        return Err("the request is no Modbus read: unit, function, address and count".to_owned());
    };
    let table = [Table::Coil, Table::Discrete, Table::Input, Table::Holding]
        .into_iter()
        .find(|table| table.read_function() == function)
        .ok_or_else(|| format!("function {function} is no read function"))?;
    let first = u16::from_be_bytes([address_high, address_low]);
    let count = u16::from_be_bytes([count_high, count_low]);
    let addresses = (0..count).map_while(|offset| first.checked_add(offset));
    match reply.as_slice() {
        [from, refused, _] if *from == unit && *refused == function | 0x80 => {
            memory.extend(addresses.map(|address| ((table, address), None)));
            Ok(())
        }
        [from, answered, length, data @ ..] if *from == unit && *answered == function => {
            let wanted = if table.is_bits() { usize::from(count).div_ceil(8) } else { usize::from(count) * 2 };
            if data.len() != wanted || usize::from(*length) != wanted {
                return Err(format!("the reply has {} bytes of data, the request asks for {wanted}", data.len()));
            }
            let words: Vec<u16> = if table.is_bits() {
                data.iter().flat_map(|byte| (0..8).map(move |bit| u16::from((byte >> bit) & 1))).collect()
            } else {
                data.chunks_exact(2)
                    .map(|pair| pair.iter().fold(0, |word, byte| (word << 8) | u16::from(*byte)))
                    .collect()
            };
            memory.extend(addresses.zip(words).map(|(address, word)| ((table, address), Some(word))));
            Ok(())
        }
        _ => Err("the reply does not belong to the request".to_owned()),
    }
}

/// A frame in hex, without its checksum, which has to be right.
fn frame(text: &str) -> Result<Vec<u8>, String> {
    let bytes: Vec<u8> = text
        .split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).map_err(|_| format!("`{byte}` is no byte in hex")))
        .collect::<Result<_, _>>()?;
    let (inside, sum) = bytes.split_last_chunk::<2>().ok_or("a frame ends with two bytes of CRC")?;
    let right = CRC.checksum(inside).to_le_bytes();
    if *sum == right {
        Ok(inside.to_vec())
    } else {
        Err(format!("the CRC of `{text}` should be {:02X} {:02X}", right[0], right[1]))
    }
}

/// Evaluates every channel of which all registers are there.
fn decoded(device: &Device, memory: &Memory) -> Outcomes {
    let words = |register: &Register| -> Option<Option<Vec<u16>>> {
        let cells: Option<Vec<Option<u16>>> = (0..register.registers)
            .map(|offset| memory.get(&(register.table, register.address.checked_add(offset)?)).copied())
            .collect();
        Some(cells?.into_iter().collect())
    };
    let mut fields = Fields::new();
    let mut outcomes = Outcomes::new();
    let mut readable = Vec::new();
    for (index, channel) in device.channels.iter().enumerate() {
        let Source::Register(register) = &channel.source else { continue };
        match words(register) {
            None => {}
            Some(None) => drop(outcomes.insert(Arc::clone(&channel.id), Outcome::Bad(Reason::EXCEPTION))),
            Some(Some(words)) => match register.read(&words) {
                Ok(raw) => {
                    fields.set(&channel.id, raw.clone());
                    readable.push((index, &channel.id, raw));
                }
                Err(_) => drop(outcomes.insert(Arc::clone(&channel.id), Outcome::Bad(Reason::MALFORMED))),
            },
        }
    }
    for (index, id, raw) in readable {
        if let Some(outcome) = device.evaluate(index, &raw, &fields) {
            outcomes.insert(Arc::clone(id), outcome);
        }
    }
    outcomes
}
