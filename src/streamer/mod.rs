//! The streamer for programs: what the vendor's `TimeseriesStreamer` does, with every chunk durable on disk before its
//! first request.
mod attempts;
mod axis;
mod block;
mod blocking_face;
mod builder;
mod core;
mod error;
mod facts;
mod new_stream;
mod places;
mod runner;
mod series;
mod slot;
mod stream;
mod thread;
mod timeseries;
mod waiting;

pub use builder::{Acknowledge, Builder};
pub use error::Error;
pub use facts::{
    ClockStatus, Finalized, Left, PlatformStatus, Pushed, Ran, Resumed, ResumedChannel, StreamState, StreamStatus,
};
pub use new_stream::NewStream;
pub use series::Series;
pub use timeseries::TimeseriesStreamer;

pub use crate::atomscale::GrowthInstrument;
pub use crate::atomscale::NewGrowthInstrument;

/// The same for programs that are not async.
pub mod blocking {
    pub use super::blocking_face::{Patient, TimeseriesStreamer};
}
