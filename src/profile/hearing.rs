//! Hearing: messages out of a stream that nobody asked for, from any byte of it on.
//!
//! Who begins to listen does so in the middle of a message, and what follows may look like the beginning of one. So after
//! anything that was no message the next one is believed only when the bytes behind it are the next message, or, if it has
//! a checksum, when the line falls silent behind it; text is read from the first terminator on. A message whose place is
//! sure, after another one or after a silence, is believed at once.

use std::collections::VecDeque;

use super::Fields;
use super::framing::{Cut, End, Framing};
use super::pattern::{Mismatch, Pattern};

/// A message out of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct HeardMessage {
    /// The place of its first byte, counted from the first byte that was ever pushed.
    pub at: u64,
    /// Which of the patterns it fits.
    pub which: usize,
    /// What it says.
    pub fields: Fields,
}

/// What comes out of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A message.
    Message(HeardMessage),
    /// Something with the place of a message that is none.
    Broken(Mismatch),
}

/// Finds messages in a stream.
#[derive(Debug, Clone)]
pub struct Hearing {
    framing: Framing,
    patterns: Vec<Pattern>,
    bytes: Vec<u8>,
    /// The place of the first of `bytes`.
    place: u64,
    /// Whether a message has to begin at the first of `bytes`.
    in_step: bool,
    /// A message that waits for what follows to confirm it.
    unsure: Option<HeardMessage>,
    skipped: u64,
    ready: VecDeque<Heard>,
}

impl Hearing {
    /// Begins to listen to a stream that may be in the middle of a message.
    pub fn new(framing: Framing, patterns: Vec<Pattern>) -> Self {
        Self {
            framing,
            patterns,
            bytes: Vec::new(),
            place: 0,
            in_step: false,
            unsure: None,
            skipped: 0,
            ready: VecDeque::new(),
        }
    }

    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.work(false);
    }

    /// Takes note that the line has fallen silent: what is incomplete will stay so, and the next byte begins a message.
    pub fn silence(&mut self) {
        self.work(true);
        self.confirm();
        self.in_step = true;
    }

    /// The next message, or what stood in the place of one.
    pub fn heard(&mut self) -> Option<Heard> {
        self.ready.pop_front()
    }

    /// Whether a message has begun that is not complete.
    pub fn is_waiting(&self) -> bool {
        !self.bytes.is_empty() || self.unsure.is_some()
    }

    /// The place of the first byte that is not accounted for: no later message begins before it.
    pub fn place(&self) -> u64 {
        self.unsure.as_ref().map_or(self.place, |unsure| unsure.at)
    }

    /// Bytes that belonged to no message.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn work(&mut self, silent: bool) {
        let patterns: Vec<&Pattern> = self.patterns.iter().collect();
        let mut used = 0;
        loop {
            let rest = self.bytes.get(used..).unwrap_or_default();
            let at = self.place + used as u64;
            let cut = if at == 0 && !self.in_step && self.framing.may_be_escaped(rest) {
                Cut::Skip(1)
            } else if silent {
                self.framing.cut_at_silence(rest, &patterns)
            } else {
                self.framing.cut(rest, &patterns)
            };
            match cut {
                Cut::More => break,
                Cut::Skip(count) => {
                    used += count;
                    self.skipped += count as u64;
                    self.in_step = false;
                    self.unsure = None;
                }
                Cut::Broken { skip, why } => {
                    used += skip;
                    self.skipped += skip as u64;
                    // What stands where no message has to stand is no broken one. A line of text ends all the same.
                    if self.in_step {
                        self.ready.push_back(Heard::Broken(why));
                    }
                    self.in_step = self.ends_by_itself();
                    self.unsure = None;
                }
                Cut::Message { taken, which, fields } => {
                    used += taken;
                    let message = HeardMessage { at, which, fields };
                    if self.in_step {
                        self.ready.push_back(Heard::Message(message));
                    } else if self.ends_by_itself() {
                        // The end of a line whose beginning was not heard.
                        self.skipped += taken as u64;
                        self.in_step = true;
                    } else if let Some(sure) = self.unsure.take() {
                        self.ready.push_back(Heard::Message(sure));
                        self.ready.push_back(Heard::Message(message));
                        self.in_step = true;
                    } else {
                        self.unsure = Some(message);
                    }
                }
            }
        }
        self.bytes.drain(..used.min(self.bytes.len()));
        self.place += used as u64;
    }

    fn confirm(&mut self) {
        let Some(unsure) = self.unsure.take() else { return };
        // Without a checksum it may as well be the end of a longer message.
        if self.patterns.get(unsure.which).is_some_and(Pattern::has_checksum) {
            self.ready.push_back(Heard::Message(unsure));
        }
    }

    /// Whether a message's end is seen without its beginning being known.
    fn ends_by_itself(&self) -> bool {
        self.framing.start.is_empty() && matches!(self.framing.end, End::Terminator { .. } | End::Idle(_))
    }
}

#[cfg(test)]
#[path = "hearing_tests.rs"]
mod tests;
