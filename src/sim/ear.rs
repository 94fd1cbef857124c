//! Finds requests among the bytes of a line, whatever is spoken on it.

use std::time::Duration;

use super::framing::{Mbap, Request, Rtu};
use super::line::Speech;
use super::message::Known;

/// How long a Modbus RTU line has to be quiet before bytes that are no frame are dropped. Longer than the 3.5 characters
/// of the specification: a master's scheduler may tear a request apart.
const RTU_GAP: Duration = Duration::from_millis(20);
/// Longest message; more without an end is noise.
const LONGEST_MESSAGE: usize = 256;

/// A complete request.
pub(super) enum Heard {
    Modbus(Request),
    Message(Vec<u8>),
}

/// Bytes after which nothing can be understood any more.
pub(super) struct NotUnderstood;

/// Finds requests among the bytes of a line.
pub(super) enum Ear {
    Rtu(Rtu),
    Mbap(Mbap),
    Messages { known: Vec<Known>, buffer: Vec<u8> },
}

impl Ear {
    /// `known` are the messages of the instruments' own, where those are what is spoken.
    pub(super) fn new(speech: Speech, known: Vec<Known>) -> Self {
        match speech {
            Speech::Rtu => Self::Rtu(Rtu::default()),
            Speech::Mbap => Self::Mbap(Mbap::default()),
            Speech::Messages => Self::Messages { known, buffer: Vec::new() },
        }
    }

    /// How long a silence has to be to say something.
    pub(super) fn patience(&self) -> Option<Duration> {
        match self {
            Self::Rtu(rtu) if rtu.is_waiting() => Some(RTU_GAP),
            _ => None,
        }
    }

    /// Whether a request has begun.
    pub(super) fn is_waiting(&self) -> bool {
        match self {
            Self::Rtu(rtu) => rtu.is_waiting(),
            Self::Mbap(mbap) => mbap.is_waiting(),
            Self::Messages { buffer, .. } => !buffer.is_empty(),
        }
    }

    pub(super) fn silence(&mut self) -> Option<Heard> {
        match self {
            Self::Rtu(rtu) => rtu.silence().map(Heard::Modbus),
            Self::Mbap(_) | Self::Messages { .. } => None,
        }
    }

    pub(super) fn hear(&mut self, bytes: &[u8]) -> Result<Vec<Heard>, NotUnderstood> {
        match self {
            Self::Rtu(rtu) => Ok(rtu.push(bytes).into_iter().map(Heard::Modbus).collect()),
            Self::Mbap(mbap) => {
                Ok(mbap.push(bytes).map_err(|_| NotUnderstood)?.into_iter().map(Heard::Modbus).collect())
            }
            Self::Messages { known, buffer } => {
                Ok(bytes.iter().filter_map(|byte| next_message(known, buffer, *byte)).map(Heard::Message).collect())
            }
        }
    }
}

/// Adds a byte; returns the message that it completes. A message is complete when it is a known one, or with the end of a
/// line, where known ones end so. A stray line feed or carriage return before a message belongs to the one before.
pub(super) fn next_message(known: &[Known], buffer: &mut Vec<u8>, byte: u8) -> Option<Vec<u8>> {
    let ends_line = matches!(byte, b'\r' | b'\n');
    if buffer.is_empty() && ends_line && !known.iter().any(|message| message.bytes.first() == Some(&byte)) {
        return None;
    }
    buffer.push(byte);
    if buffer.len() > LONGEST_MESSAGE {
        buffer.remove(0);
    }
    // A message that is no line has no end that would clear away what came before it. What ends like a longer message is
    // that one.
    let alone = known.iter().filter(|message| message.stands_alone && buffer.ends_with(&message.bytes));
    if let Some(message) = alone.max_by_key(|message| message.bytes.len()) {
        buffer.clear();
        return Some(message.bytes.clone());
    }
    if known.iter().any(|message| message.bytes.len() > buffer.len() && message.bytes.starts_with(buffer)) {
        return None;
    }
    let ends_so = |message: &Known| !message.stands_alone && message.bytes.last() == Some(&byte);
    let complete = known.iter().any(|message| message.bytes == *buffer || ends_so(message));
    complete.then(|| std::mem::take(buffer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(messages: &[(&[u8], bool)]) -> Vec<Known> {
        messages
            .iter()
            .map(|(bytes, stands_alone)| Known { bytes: bytes.to_vec(), stands_alone: *stands_alone })
            .collect()
    }

    fn found(known: &[Known], bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut buffer = Vec::new();
        bytes.iter().filter_map(|byte| next_message(known, &mut buffer, *byte)).collect()
    }

    #[test]
    fn messages_of_bytes_are_found_without_an_end() {
        let known = known(&[(&[0x02, 0x30, 0x0D], true), (&[0x30, 0x0D], true), (&[0x05], true)]);
        assert_eq!(found(&known, &[0xFF, 0x02, 0x30, 0x0D, 0x30, 0x0D]), [&[2, 0x30, 13][..], &[0x30, 13]]);
        assert_eq!(found(&known, &[0x00, 0x0D, 0x05]), [&[5]]);
    }

    #[test]
    fn lines_end_as_known_ones_do() {
        let lines = known(&[(b"DS IG1\r\n", false), (b"\x05", true)]);
        assert_eq!(found(&lines, b"DS IG1\r\nxx\r\n\x05"), [&b"DS IG1\r\n"[..], b"xx\r\n", b"\x05"]);
        let both = known(&[(b"A\r\n", false), (b"B\r", false)]);
        assert_eq!(found(&both, b"A\r\nB\r"), [&b"A\r\n"[..], b"B\r"]);
    }
}
