//! Framing: where a message begins and ends among the bytes of a line.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Fields;
use super::pattern::{Mismatch, Pattern};

/// More than the longest message of any instrument; what goes on without an end is noise.
pub(super) const LONGEST_MESSAGE: usize = 4096;

/// How messages are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framing {
    /// What each begins with; empty where nothing marks the beginning.
    pub start: Vec<u8>,
    /// What tells its end.
    pub end: End,
    /// What stands before payload bytes that could be taken for a beginning.
    pub escape: Option<Escape>,
}

/// What tells the end of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// These bytes, one or more, and so many after them. Without a tail the terminator is cut off before patterns see the
    /// message; with one they see all of it.
    Terminator {
        /// The terminator.
        bytes: Vec<u8>,
        /// Bytes behind it that belong to the message.
        tail: usize,
    },
    /// Its length, which is always the same.
    Fixed(usize),
    /// Its length, which one of its bytes tells.
    Length {
        /// The place of that byte.
        at: usize,
        /// What has to be added to it.
        plus: usize,
    },
    /// The length of the pattern that is expected.
    Pattern,
    /// Silence.
    Idle(Duration),
}

/// Escaping: `byte` stands on the wire before each payload byte of `before`. An unescaped byte of that range can only be
/// the first of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escape {
    /// The escape.
    pub byte: u8,
    /// The bytes that are escaped; the escape itself should be among them.
    pub before: RangeInclusive<u8>,
}

/// What stands at the beginning of some bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Cut {
    /// Not enough to tell.
    More,
    /// So many bytes, at least one, that belong to no message.
    Skip(usize),
    /// Something that has the place of a message and is none that is expected. `skip` bytes of it, at least one, can't be
    /// the beginning of one.
    Broken {
        /// Bytes.
        skip: usize,
        /// What is wrong with it.
        why: Mismatch,
    },
    /// A message.
    Message {
        /// Its bytes on the wire, at least one.
        taken: usize,
        /// Which of the expected patterns it fits.
        which: usize,
        /// What it says.
        fields: Fields,
    },
}

impl Framing {
    /// Messages that end with these bytes.
    pub fn terminated(terminator: &[u8]) -> Self {
        Self { start: Vec::new(), end: End::Terminator { bytes: terminator.to_vec(), tail: 0 }, escape: None }
    }

    /// Finds out what the bytes begin with. Never looks further back: call it again after having taken what it says.
    pub fn cut(&self, bytes: &[u8], expected: &[&Pattern]) -> Cut {
        if let ([first, rest @ ..], Some(escape)) = (bytes, &self.escape)
            && *first == escape.byte
        {
            // The middle of a message: what follows is payload and no beginning, whatever it looks like.
            return if rest.is_empty() { Cut::More } else { Cut::Skip(2) };
        }
        if let Some(skip) = self.before_start(bytes) {
            return Cut::Skip(skip);
        }
        if bytes.len() < self.start.len() || bytes.is_empty() {
            return Cut::More;
        }
        match &self.end {
            End::Terminator { bytes: terminator, tail } => self.terminated_cut(bytes, terminator, *tail, expected),
            End::Fixed(size) => self.sized_cut(bytes, std::iter::once(*size), expected),
            End::Length { at, plus } => {
                let Some(length) = self.payload(bytes, at + 1).complete().and_then(|p| p.bytes.get(*at).copied())
                else {
                    return if bytes.len() > LONGEST_MESSAGE { Cut::Skip(1) } else { Cut::More };
                };
                self.sized_cut(bytes, std::iter::once((usize::from(length) + plus).max(1)), expected)
            }
            End::Pattern => {
                let longest = expected.iter().map(|pattern| pattern.longest()).max().unwrap_or(0);
                let beginning = self.payload(bytes, longest.min(LONGEST_MESSAGE)).found();
                let sizes: Vec<usize> = expected.iter().flat_map(|pattern| pattern.lengths(&beginning)).collect();
                self.sized_cut(bytes, sizes.into_iter(), expected)
            }
            End::Idle(_) if bytes.len() > LONGEST_MESSAGE => Cut::Skip(bytes.len()),
            End::Idle(_) => Cut::More,
        }
    }

    /// The same when the line has fallen silent: what is not complete will never be.
    pub fn cut_at_silence(&self, bytes: &[u8], expected: &[&Pattern]) -> Cut {
        match self.cut(bytes, expected) {
            Cut::More if bytes.is_empty() => Cut::More,
            Cut::More if matches!(self.end, End::Idle(_)) => match read(bytes, expected) {
                Ok((which, fields)) => Cut::Message { taken: bytes.len(), which, fields },
                Err(why) => Cut::Broken { skip: bytes.len(), why },
            },
            Cut::More => Cut::Skip(bytes.len()),
            cut => cut,
        }
    }

    /// How long the line has to be silent for a message to be over, where silence tells.
    pub fn idle(&self) -> Option<Duration> {
        match self.end {
            End::Idle(idle) => Some(idle),
            _ => None,
        }
    }

    /// A message as it goes over the wire: payload escaped, terminator added where patterns don't see it.
    pub fn wrapped(&self, message: &[u8]) -> Vec<u8> {
        let mut wrapped = self.escaped(message);
        if let End::Terminator { bytes, tail: 0 } = &self.end {
            wrapped.extend(bytes);
        }
        wrapped
    }

    /// A message with its payload escaped.
    pub fn escaped(&self, message: &[u8]) -> Vec<u8> {
        let Some(escape) = &self.escape else { return message.to_vec() };
        let mut escaped = Vec::with_capacity(message.len() + 8);
        for (place, byte) in message.iter().enumerate() {
            if place > 0 && escape.before.contains(byte) {
                escaped.push(escape.byte);
            }
            escaped.push(*byte);
        }
        escaped
    }

    /// Bytes that a message has on the wire beside what patterns describe.
    pub fn overhead(&self) -> usize {
        match &self.end {
            End::Terminator { bytes, tail: 0 } => bytes.len(),
            _ => 0,
        }
    }

    /// Whether these bytes, of which nothing is known that was before, may begin with one that was escaped.
    pub(super) fn may_be_escaped(&self, bytes: &[u8]) -> bool {
        let may_be = |escape: &Escape| bytes.first().is_some_and(|first| escape.before.contains(first));
        // An escape that is no payload is dealt with, with what it escapes, where messages are cut.
        self.escape.as_ref().is_some_and(|escape| may_be(escape) && bytes.first() != Some(&escape.byte))
    }

    /// Bytes before the place where a message can begin, or an escape makes the next byte payload, if there are any.
    fn before_start(&self, bytes: &[u8]) -> Option<usize> {
        if self.start.is_empty() {
            return None;
        }
        let may_begin = |at: &usize| bytes.iter().skip(*at).zip(&self.start).all(|(byte, start)| byte == start);
        let escapes = |at: &usize| self.escape.as_ref().is_some_and(|escape| bytes.get(*at) == Some(&escape.byte));
        let at = (0..bytes.len()).find(|at| may_begin(at) || escapes(at)).unwrap_or(bytes.len());
        (at > 0).then_some(at)
    }

    fn terminated_cut(&self, bytes: &[u8], terminator: &[u8], tail: usize, expected: &[&Pattern]) -> Cut {
        let from = self.start.len();
        let searched = bytes.get(from..).unwrap_or_default();
        let found = searched.windows(terminator.len().max(1)).position(|window| window == terminator);
        let Some(at) = found.map(|at| at + from) else {
            return if bytes.len() > LONGEST_MESSAGE { Cut::Skip(bytes.len()) } else { Cut::More };
        };
        let end = at + terminator.len() + tail;
        let Some(whole) = bytes.get(..end) else { return Cut::More };
        let message = if tail == 0 { whole.get(..at).unwrap_or_default() } else { whole };
        let message = match message {
            // The second half of an instrument's CR LF where the profile speaks of CR.
            [b'\n', rest @ ..] if self.start.is_empty() && terminator.ends_with(b"\r") => rest,
            message => message,
        };
        match read(message, expected) {
            Ok((which, fields)) => Cut::Message { taken: end, which, fields },
            Err(why) => Cut::Broken { skip: end, why },
        }
    }

    /// Cuts off a message of one of these sizes, the first that fits. Where none does, only the first byte is given up: it
    /// may have stood there by chance, with a message behind it.
    fn sized_cut(&self, bytes: &[u8], sizes: impl Iterator<Item = usize>, expected: &[&Pattern]) -> Cut {
        let mut wrong = None;
        let mut incomplete = false;
        for size in sizes {
            match self.payload(bytes, size) {
                Payload::Short(_) => incomplete = true,
                Payload::Interrupted(_) => {}
                Payload::Complete(Found { taken, bytes: message }) => match read(&message, expected) {
                    Ok((which, fields)) => return Cut::Message { taken, which, fields },
                    Err(why) => drop(wrong.get_or_insert(why)),
                },
            }
        }
        match wrong {
            _ if incomplete => Cut::More,
            Some(why) => Cut::Broken { skip: 1, why },
            None => Cut::Skip(1),
        }
    }

    /// The first `size` bytes of a message, unescaped.
    fn payload(&self, bytes: &[u8], size: usize) -> Payload {
        let mut found = Found { taken: 0, bytes: Vec::with_capacity(size.min(64)) };
        let mut escaped = false;
        for byte in bytes {
            if found.bytes.len() == size {
                break;
            }
            found.taken += 1;
            match &self.escape {
                Some(escape) if found.taken > 1 && !escaped => {
                    if *byte == escape.byte {
                        escaped = true;
                        continue;
                    }
                    if escape.before.contains(byte) {
                        return Payload::Interrupted(found);
                    }
                }
                _ => {}
            }
            escaped = false;
            found.bytes.push(*byte);
        }
        if found.bytes.len() == size { Payload::Complete(found) } else { Payload::Short(found) }
    }
}

/// Unescaped bytes, and how many they were on the wire.
struct Found {
    taken: usize,
    bytes: Vec<u8>,
}

enum Payload {
    Complete(Found),
    /// There are no more bytes yet.
    Short(Found),
    /// Another message begins before this one ends.
    Interrupted(Found),
}

impl Payload {
    fn complete(self) -> Option<Found> {
        match self {
            Self::Complete(found) => Some(found),
            Self::Short(_) | Self::Interrupted(_) => None,
        }
    }

    fn found(self) -> Vec<u8> {
        match self {
            Self::Complete(found) | Self::Short(found) | Self::Interrupted(found) => found.bytes,
        }
    }
}

/// Reads a message by the first pattern that it fits; what is wrong with it is said by the one that came nearest.
fn read(message: &[u8], expected: &[&Pattern]) -> Result<(usize, Fields), Mismatch> {
    let mut nearest: Option<Mismatch> = None;
    for (which, pattern) in expected.iter().enumerate() {
        match pattern.read(message) {
            Ok(fields) => return Ok((which, fields)),
            Err(mismatch) => {
                if nearest.as_ref().is_none_or(|nearest| mismatch.is_nearer_than(nearest)) {
                    nearest = Some(mismatch);
                }
            }
        }
    }
    Err(nearest.unwrap_or_else(|| Mismatch::unexpected(message)))
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
