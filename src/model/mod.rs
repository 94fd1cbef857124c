//! The vocabulary of the bridge: what a sample, a tick, a chunk and a run are.
//!
//! Every room may use this one, and this one uses none. It performs no I/O, starts no tasks and derives no serde: how a
//! thing is written to TOML, JSON or SQLite is decided at the boundary that writes it.

mod causes;
mod channel;
mod clock;
mod data_dir;
mod host;
mod line;
mod outbox;
mod run;
mod sample;
mod tick;
mod time;
mod trace;

pub use causes::with_causes;
pub use channel::{Channel, ChannelIndex, ChannelName, InvalidChannelName, Kind};
pub use clock::{ClockReading, ClockSource};
pub use data_dir::usual_data_dir;
pub use host::{host_of, is_loopback};
pub use line::{DataBits, LineSettings, Parity, Rs485, StopBits, Transport};
pub use outbox::{Frozen, OutboxRun, Resending, RunState, StreamRecord, StreamSpec, StreamState};
pub use run::{RunId, SessionId};
pub use sample::{Finite, Outcome, Quality, Reading, Reason, Sample};
pub use tick::{Chunk, ChunkChannel, Counts, Mark, Point, Tick};
pub use time::{Stamp, TimeBase, TimeZero, doubled, nanos_of};
pub use trace::{NoTraceLine, TraceHead, TraceLine, Traced};
