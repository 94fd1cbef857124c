//! Which slots a chunk fills, read off its body as it arrives: data_id, chunk_index and the names of its channels.
//!
//! It jumps from quote to quote and from brace to brace, so the numbers, which are nearly all of the body, cost a search
//! for three bytes and nothing else. Nothing is checked that is not needed to count.

use memchr::{memchr2, memchr3};

/// Reads one body, in pieces of any length.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    state: State,
    depth: u32,
    awaited: Awaited,
    text: Vec<u8>,
    index: Option<u64>,
    data_id: Vec<u8>,
    /// Each name with a line feed after it, which no JSON string holds.
    names: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    Between,
    Text,
    Index,
}

/// Whose value the next string of the outermost object is.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Awaited {
    #[default]
    Key,
    DataId,
    ChannelName,
}

/// A string with a backslash: more than this scan understands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Escaped;

/// The slots of a chunk.
#[derive(Debug)]
pub(crate) struct Slots<'a> {
    pub(crate) data_id: &'a [u8],
    pub(crate) index: u64,
    names: &'a [u8],
}

impl<'a> Slots<'a> {
    pub(crate) fn channels(&self) -> impl Iterator<Item = &'a [u8]> {
        self.names.split(|byte| *byte == b'\n').filter(|name| !name.is_empty())
    }
}

impl Scan {
    /// Forgets the body, keeps the memory.
    pub(crate) fn reset(&mut self) {
        self.state = State::Between;
        self.depth = 0;
        self.awaited = Awaited::Key;
        self.index = None;
        self.data_id.clear();
        self.names.clear();
    }

    pub(crate) fn slots(&self) -> Option<Slots<'_>> {
        let whole = self.depth == 0 && !self.data_id.is_empty() && !self.names.is_empty();
        self.index.filter(|_| whole).map(|index| Slots { data_id: &self.data_id, index, names: &self.names })
    }

    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Escaped> {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Between => self.between(bytes),
                State::Text => self.within_text(bytes)?,
                State::Index => self.within_index(bytes),
            };
        }
        Ok(())
    }

    fn between<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some((_, [mark, rest @ ..])) = memchr3(b'"', b'{', b'}', bytes).and_then(|at| bytes.split_at_checked(at))
        else {
            return &[];
        };
        match mark {
            b'{' => self.depth += 1,
            b'}' => self.depth = self.depth.saturating_sub(1),
            _ => {
                self.state = State::Text;
                self.text.clear();
            }
        }
        rest
    }

    fn within_text<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Escaped> {
        let Some((text, [mark, rest @ ..])) = memchr2(b'"', b'\\', bytes).and_then(|at| bytes.split_at_checked(at))
        else {
            self.text.extend_from_slice(bytes);
            return Ok(&[]);
        };
        if *mark == b'\\' {
            return Err(Escaped);
        }
        self.text.extend_from_slice(text);
        self.state = State::Between;
        self.text_ended();
        Ok(rest)
    }

    fn text_ended(&mut self) {
        match (self.depth, self.awaited) {
            (1, Awaited::DataId) => self.data_id.extend_from_slice(&self.text),
            (1, Awaited::ChannelName) | (2, _) => {
                self.names.extend_from_slice(&self.text);
                self.names.push(b'\n');
            }
            _ => {}
        }
        let was_key = self.depth == 1 && self.awaited == Awaited::Key;
        self.awaited = match self.text.as_slice() {
            b"data_id" if was_key => Awaited::DataId,
            b"channel_name" if was_key => Awaited::ChannelName,
            _ => Awaited::Key,
        };
        if was_key && self.text == b"chunk_index" {
            self.state = State::Index;
        }
    }

    fn within_index<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some((first, rest)) = bytes.split_first() else { return bytes };
        match first {
            b'0'..=b'9' => {
                let before = self.index.unwrap_or(0);
                self.index = Some(before.saturating_mul(10).saturating_add(u64::from(first - b'0')));
                rest
            }
            b':' | b' ' => rest,
            _ => {
                self.state = State::Between;
                bytes
            }
        }
    }
}
