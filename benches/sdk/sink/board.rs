//! What has arrived: every slot (stream, channel, index) once, however often it is sent.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::scan::Slots;
use super::verify::Content;

/// Indexes above this are refused; it bounds the memory for remembering slots.
const HIGHEST_INDEX: u64 = 10_000_000;

/// All counters of the sink.
#[derive(Debug, Default)]
pub(crate) struct Board {
    counts: Mutex<Counts>,
    pub(crate) connections: Connections,
    /// Chunks are taken and never answered; turned off, their connections are closed without one.
    pub(crate) hangs: watch::Sender<bool>,
    /// Rung when what somebody waits for may be there.
    pub(crate) landed: Notify,
}

/// Connections of the platform's side; the counters have their own.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    pub(crate) now: AtomicU64,
    pub(crate) most: AtomicU64,
    pub(crate) opened: AtomicU64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    streams: HashMap<Vec<u8>, Stream>,
    /// Requests with a chunk that were read whole.
    pub(crate) chunks: u64,
    /// Slots of these that nobody had sent before.
    pub(crate) slots: u64,
    /// Slots that were there already.
    pub(crate) repeated: u64,
    /// Requests with a chunk that will never be answered.
    pub(crate) hung: u64,
    /// Requests with a chunk whose answer is due.
    pub(crate) unanswered: u64,
    /// Bodies of chunks, in bytes.
    pub(crate) bytes: u64,
    pub(crate) finalized: u64,
    pub(crate) content: Content,
    /// `landed` is rung when as many slots are there and every chunk is answered.
    pub(crate) awaited: Option<u64>,
}

#[derive(Debug, Default)]
struct Stream {
    points_per_chunk: u64,
    finalized: bool,
    channels: Vec<Channel>,
}

#[derive(Debug)]
struct Channel {
    name: Vec<u8>,
    /// A bit for each index.
    seen: Vec<u64>,
    chunks: u64,
}

/// Why a chunk was not taken, with the status to answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal(pub(crate) u16, pub(crate) &'static str);

impl Board {
    pub(crate) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// A new stream; its data_id.
    pub(crate) fn open(&mut self, points_per_chunk: u64) -> String {
        let data_id = format!("00000000-0000-4000-8000-{:012x}", self.streams.len() + 1);
        let stream = Stream { points_per_chunk, ..Stream::default() };
        self.streams.insert(data_id.clone().into_bytes(), stream);
        data_id
    }

    pub(crate) fn finalize(&mut self, data_id: &str) -> Result<(), Refusal> {
        let stream = self.streams.get_mut(data_id.as_bytes()).ok_or(Refusal(404, "no such stream"))?;
        stream.finalized = true;
        self.finalized += 1;
        Ok(())
    }

    /// Takes a chunk and writes the platform's answer: an object for each channel, with commas between them. Says whether
    /// any slot of it is new.
    pub(crate) fn take(&mut self, slots: &Slots<'_>, answer: &mut String) -> Result<bool, Refusal> {
        let Slots { data_id, index, .. } = *slots;
        let stream = self.streams.get_mut(data_id).ok_or(Refusal(404, "no such stream"))?;
        if stream.finalized {
            return Err(Refusal(409, "the stream is finalized"));
        }
        if index > HIGHEST_INDEX {
            return Err(Refusal(422, "the chunk_index is higher than this sink remembers"));
        }
        self.chunks += 1;
        let mut any_new = false;
        for (number, name) in slots.channels().enumerate() {
            let channel = stream.channel(number, name);
            let new = channel.is_some_and(|channel| channel.mark(index));
            if new {
                self.slots += 1;
            } else {
                self.repeated += 1;
            }
            any_new |= new;
            let points = stream.channel(number, name).map_or(0, |channel| channel.chunks) * stream.points_per_chunk;
            let comma = if number == 0 { "" } else { "," };
            let (data_id, name) = (String::from_utf8_lossy(data_id), String::from_utf8_lossy(name));
            write!(
                answer,
                r#"{comma}{{"data_id":"{data_id}","channel_name":"{name}","chunk_index":{index},"total_points":{points}}}"#
            )
            .map_err(|_| Refusal(500, "no memory"))?;
        }
        Ok(any_new)
    }

    /// All that somebody waits for is there.
    pub(crate) fn complete(&self) -> bool {
        self.unanswered == 0 && self.awaited.is_some_and(|awaited| self.slots >= awaited)
    }
}

impl Stream {
    /// The channel of this name, which is likely to have the same place as in the chunk before.
    fn channel(&mut self, likely: usize, name: &[u8]) -> Option<&mut Channel> {
        let at = if self.channels.get(likely).is_some_and(|channel| channel.name == name) {
            likely
        } else if let Some(at) = self.channels.iter().position(|channel| channel.name == name) {
            at
        } else {
            self.channels.push(Channel { name: name.to_owned(), seen: Vec::new(), chunks: 0 });
            self.channels.len() - 1
        };
        self.channels.get_mut(at)
    }
}

impl Channel {
    /// False when the index had been sent before.
    fn mark(&mut self, index: u64) -> bool {
        let Ok(word) = usize::try_from(index / 64) else { return false };
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let Some(bits) = self.seen.get_mut(word) else { return false };
        let bit = 1 << (index % 64);
        let new = *bits & bit == 0;
        *bits |= bit;
        self.chunks += u64::from(new);
        new
    }
}

impl Connections {
    pub(crate) fn opened(&self) {
        self.opened.fetch_add(1, Relaxed);
        self.most.fetch_max(self.now.fetch_add(1, Relaxed) + 1, Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.now.fetch_sub(1, Relaxed);
    }
}
