//! Runs on disk: one SQLite file each, the only source of truth for what was recorded and what became of it.
//!
//! # Purpose
//! Ticks come in, are durable within `commit_every`, are cut into chunks, and stay until the platform has confirmed them.
//! A run file is self-contained: copy it, open it with any SQLite tool, read it with [`read::RunFile`]. Besides the one run
//! that is recorded, any number may be open that programs give whole chunks to ([`Handle::give`]).
//!
//! This room does not align samples, does not speak HTTP and does not decide when to send.
//!
//! # Invariants
//! - A chunk is durable before it can be taken; its index, stamps and content are durable before they can be sent.
//! - Every point that was ever committed is in exactly one chunk or in exactly one open batch.
//! - For each channel, at any time: `recorded + filled = open + queued + uploaded + rejected` (points).
//! - No channel of a chunk has more than `points_per_chunk` points; no chunk is empty; a chunk never crosses sessions.
//! - Callers never wait for the disk: one thread owns every connection, and [`Handle::append`] returns at once.
//! - Only a run that is done and has every point on the platform is ever deleted (`prune.rs`). A file that can't be read is
//!   renamed, never removed.
//! - Nothing is committed into a file that its path does not lead to any more (`place.rs`, `mend.rs`).
//!
//! # On disk
//! `data_dir/lock` is locked by the one process that may write, and names it. `data_dir/runs/<run id>.sqlite` is a run:
//! `application_id` is 0x4D424552 ("MBER"), `user_version` 2 is this format (a file of format 1 is read as it is, and becomes one of 2 when it is gone on with; 3 is a run that programs give chunks to, below), pages are 4096 bytes (SD cards: one commit
//! dirties one page), WAL, `synchronous = FULL`. Times are nanoseconds since the Unix epoch in the session's time base;
//! only `offset_nanos` and what is named `utc` speak of reference UTC. Tables (all `STRICT`):
//!
//! | table | row |
//! |---|---|
//! | `run` | the only one: id, state (`recording`, `closed`, `done`), what its streams are created with; `tidy` is 1 after the file was closed in order: else a log belongs to it |
//! | `channels` | number (as in bodies and counts), name, unit, instrument, source, kind |
//! | `sessions` | a process lifetime: wall clock at the anchor, boot id and uptime at the anchor, program version, lab's TOML |
//! | `clock_readings` | a measurement of a session's clock: reference UTC = session time + offset |
//! | `events` | a note with its time |
//! | `streams` | a stream on the platform: number from 1, `data_id`, state (`open`, `ended`, `finalized`), why it ended, the chunk that has index 0 on it (`base`) |
//! | `stream_points` | the most points that the platform has said to hold, per stream and channel |
//! | `counts` | per channel, what became of its readings, up to the last sealed chunk; `bad` is JSON by reason |
//! | `open_batches` | one commit that no chunk holds yet: ticks (a body, below), and `counts` to be added to the table above, as JSON `{"channel": [read, recorded, filled, decimated, late, unrecorded, {"reason": bad}]}` |
//! | `chunks` | a sealed chunk: session, first and last time, points per channel (JSON array), state (`sealed`, `frozen`, `confirmed`, `rejected`), and once frozen: stream, index, offset, floor, last stamp in UTC; attempts, last error; `only`: the channels (JSON array) that are or were sent again after they had been refused |
//! | `bodies` | the ticks of a chunk. Apart from `chunks`, so that confirming a chunk does not write its points again |
//! | `rejected` | a channel of a chunk that the platform refused, with its words |
//! | `resent` | where the other channels of a chunk went (stream, index, offset, floor) that is sent again on another stream |
//!
//! The view `queue` shows chunks with times that people read.
//!
//! A body is little-endian: `u8` version (1), `u32` ticks *n*, *n* × `i64` times, `u16` channels, then per channel by rising
//! number: `u16` channel, `u8` marks (0: all good, 1: they follow), ⌈*n*/8⌉ bytes of presence (tick *i* is bit *i* mod 8 of
//! byte *i* div 8), an `f64` per set bit, and where marks follow a `u8` per set bit (0 good, 1 uncertain, 2 filled); at the end
//! `u32` CRC-32 (as zlib) of all that precedes.
//!
//! # Writing
//! [`Handle::append`] hands ticks to the thread. Within `commit_every` they become one row of `open_batches`, in one
//! transaction, with one sync. The batch that fills a chunk is committed at once: in its transaction the open batches and
//! the new ticks become one row of `chunks` and `bodies`, the open batches go, `counts` is brought up to date. A chunk is
//! full when it has `points_per_chunk` ticks ([`Axis::Grid`]) or a channel has as many points ([`Axis::Native`]), or when the
//! next tick would make it span more than `max_span`; it is sealed as it is when its first tick is `max_span` old, and at
//! the end of a session or run.
//!
//! When a commit fails, its ticks stay in memory (up to `hold_bytes`, then the oldest are counted `unrecorded`), the state
//! is [`State::Paused`], and the commit is tried again every `retry_every` until it succeeds. After a disk was full, that is
//! once it has space to spare: until then the space of `data_dir/reserve` is left to what the uploader records (`space.rs`).
//!
//! # Chunks that are given
//! A program's chunk has the index that the program gave it, in `chunk_index` from the start, and comes to `chunks` and `bodies`
//! with its channels, which may be new, in one transaction; where the session's offset is known it is frozen in the same one.
//! Its ticks are the stamps as they were given, in any order; those of several axes follow each other. `counts` is a view:
//! what is given is recorded or refused, nothing else. Continuation streams keep the indexes. Of two chunks for the same slice
//! and channel the later is sent after the earlier is confirmed, so that it is the one that stays.
//!
//! [`Handle::give`] returns when the chunk is durable; [`Handle::accept`] leaves it in the `tray`, from where it is written
//! with others within 250 ms. Confirmations lie there, too, where `settle_within` says that they need not be durable at once:
//! what a crash undoes is sent again. A run that a dead program left is gone on with by [`Handle::reopen_given`], and closed
//! after `abandon_after`.
//!
//! # Sending
//! [`Handle::take`] freezes chunks for the run's newest stream: index, offset and floor. The index is the chunk's distance from
//! the stream's `base`, so that chunks may be sent in any order, and one whose row was lost would find its slice again.
//! A frozen chunk is rebuilt from its body and those three numbers, the same to the bit. The stamp of tick *i* is the
//! larger of `time + offset` and the stamp before it + 1 µs; the floor is the last stamp of the chunk before. The offset is
//! that of the chunk's session, slewed: as it measured the platform's clock itself, or else as the nearest session of the same
//! boot did, be it of another run that is not done (a run that was closed offline is dated by the run after it), carried over
//! by the machine's uptime; only then what the host says of itself (see `offset.rs`). What was applied is in the chunk's row. Where a stream ends early, its unconfirmed chunks thaw.
//! Commands that wait together share one transaction and one sync per run.
//!
//! # Starting
//! A run that a dead process left `recording` is resumed by [`Handle::begin`] if it was written less than `resume_within` ago
//! and the channels and the stream's particulars are the same; otherwise it is closed. Either way its open batches become a
//! chunk of the session that wrote them. An open batch that can't be read is kept, bytes and all, as an event `damaged`; its points
//! count as unrecorded. A file that is of a newer format, or can't be opened at the moment, is left alone and listed.
//!
//! # Damage
//! A file that is damaged (at start, or when it shows later), that has lost its log, or that belongs to someone else is read
//! page by page, without SQLite, by a thread beside the store's; recording goes on meanwhile, in a new run if it was this one.
//! What is readable becomes the closed run `…-sN`, whose chunks keep their numbers and so their slices of a stream that is
//! still open; then the file is renamed to `….sqlite.damaged-N`, with its log, and listed with what was salvaged. Ticks that
//! no chunk holds are kept apart (`…-sN-open`) where a chunk may be lost that was sent under the next number. See `salvage`.

mod begin;
mod body;
mod command;
mod counts;
mod error;
mod file;
mod given;
mod group;
mod handle;
mod inspect;
mod keeper;
mod mend;
mod offset;
mod place;
mod programs;
mod prune;
mod queue;
pub mod read;
mod recording;
mod rescue;
mod rows;
mod run;
mod salvage;
mod schema;
mod session;
mod space;
mod status;
mod store;
mod system;
mod tray;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use crate::model::{Channel, Counts, StreamSpec, Tick, TimeBase};

pub use error::{BadChunk, Error};
pub use given::{GivenSoFar, GivenStart, Reopened, Taken};
pub use handle::Handle;
pub use place::Astray;
pub use prune::{Prunable, PruneReason, prune};
pub use status::{CommitTimes, Disagreement, DiskSpace, ListedRun, Points, Pruned, RunTotals, SetAside, State, Status};
pub use store::{Store, is_set_aside};
pub use tray::Attention;

/// How runs are kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder that holds `lock` and `runs/`; made if it is not there.
    pub data_dir: PathBuf,
    /// The longest that a tick waits to be durable.
    pub commit_every: Duration,
    /// The longest time a chunk spans.
    pub max_span: Duration,
    /// A run that a dead process left is gone on with if it was written less than this ago.
    pub resume_within: Duration,
    /// Pause between attempts while the disk takes nothing.
    pub retry_every: Duration,
    /// Bytes of ticks that are held in memory while the disk takes nothing; beyond, the oldest are counted `unrecorded`.
    pub hold_bytes: usize,
    /// A run that is done and whole on the platform may be deleted so long after; none for never.
    pub keep_runs: Option<Duration>,
    /// Bytes that are to be free on the disk; the oldest such runs are deleted where less is.
    pub min_free: u64,
    /// Bytes that are kept on the disk for what the uploader has to record when it is full; zero for none.
    pub reserve_bytes: u64,
    /// Whether the host's clock says how old a run is, and not only the platform's.
    pub trust_host_clock: bool,
    /// How much later than it is told a confirmation may be taken in: those that nobody waits for share a commit. A crash
    /// before has a chunk sent again, which replaces it.
    pub settle_within: Duration,
    /// A run that a dead program left without closing it is closed and finalized when it was last written so long ago. The
    /// platform ends a stream after 2 h of silence.
    pub abandon_after: Duration,
    /// Whether a measurement of the clock that comes before the first run is kept for it, and not refused.
    pub keep_clock: bool,
    /// Batches that may wait for the thread; beyond, [`Handle::append`] returns the batch.
    pub waiting_batches: usize,
}

impl Settings {
    /// The defaults, in this folder.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            commit_every: Duration::from_secs(1),
            max_span: Duration::from_secs(60),
            resume_within: Duration::from_secs(600),
            retry_every: Duration::from_secs(1),
            hold_bytes: 64 << 20,
            keep_runs: Some(Duration::from_secs(90 * 24 * 3600)),
            min_free: 500_000_000,
            reserve_bytes: 8 << 20,
            trust_host_clock: false,
            settle_within: Duration::ZERO,
            abandon_after: Duration::from_secs(2 * 3600),
            keep_clock: false,
            waiting_batches: 256,
        }
    }
}

/// What the time axis of a run is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Shared ticks on a grid: a chunk is full with `points_per_chunk` ticks.
    Grid,
    /// Each sample's own time: a chunk is full when one channel has `points_per_chunk` points.
    Native,
    /// Chunks come whole from a program, with indexes and stamps as it gave them.
    Given,
}

/// What a run is begun with.
#[derive(Debug, Clone)]
pub struct RunStart {
    /// What its streams are created with.
    pub spec: StreamSpec,
    /// Its channels; ticks and counts speak of them by their place here.
    pub channels: Vec<Channel>,
    /// What its time axis is made of.
    pub axis: Axis,
    /// The distance of ticks, for the record; none on a native axis.
    pub period: Option<Duration>,
    /// The session's clock. Every tick of this run is in it until the session ends.
    pub time: TimeBase,
    /// The lab's TOML as it was read, for the record. It holds no secrets.
    pub config_text: String,
    /// Whether to go on with a run that a dead process left, if it fits.
    pub resume: bool,
}

/// What the aligner has finished.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// Ticks, by rising time, later than any tick of an earlier batch.
    pub ticks: Vec<Tick>,
    /// What is new for each channel, by its place in [`RunStart::channels`]; may be shorter than that list.
    /// `recorded` and `filled` are ignored: the store counts what it commits.
    pub counts: Vec<Counts>,
}
