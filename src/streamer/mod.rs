//! The front door for programs: what the vendor's `TimeseriesStreamer` does, with every chunk on disk before it is sent.
//!
//! ```
//! # use mbe_bridge::server::{self, Server};
//! use mbe_bridge::TimeseriesStreamer;
//! use mbe_bridge::streamer::{NewStream, Series};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let server = Server::start(server::Settings::default()).await.unwrap();
//! # let (endpoint, folder) = (server.url(), tempfile::tempdir().unwrap());
//! let streamer = TimeseriesStreamer::builder("YOUR_API_KEY")
//!     .points_per_chunk(100)
//! #   .endpoint(endpoint).data_dir(folder.path())
//!     .open()
//!     .await?;
//! let data_id = streamer.initialize(NewStream::new().name("MBE growth").physical_sample("GaN-001")).await?;
//!
//! let timestamps: Vec<f64> = (0..100).map(|k| 1_795_357_081.0 + f64::from(k) * 0.1).collect();
//! let temperatures: Vec<f64> = (0..100).map(|k| 25.0 + f64::from(k) * 0.01).collect();
//! let pressures = vec![7e-9; 100];
//! streamer.push(&data_id, 0, "emissivity", &timestamps, &vec![0.68; 100], None).await?;
//! let pushed = streamer
//!     .push_multi(
//!         &data_id,
//!         0,
//!         &[
//!             Series::new("temperature", &timestamps, &temperatures).units("C"),
//!             Series::new("pressure", &timestamps, &pressures).units("mbar"),
//!         ],
//!     )
//!     .await?;
//! assert!(pushed.durable);
//!
//! let finalized = streamer.finalize(&data_id).await?;
//! assert_eq!(finalized.uploaded_points, 300);
//! # Ok::<(), mbe_bridge::streamer::Error>(())
//! # }).unwrap();
//! ```
//!
//! [`blocking`] is the same for programs that are not async.
//!
//! # What is promised
//! - A push returns once the chunk is on disk (or at once: [`Acknowledge::Accepted`]). It never waits for the network. What is on
//!   disk reaches the platform: by this streamer, or, if the program ends or dies, by the next one with this endpoint and key.
//! - Nothing is sent twice in effect: the platform replaces the slice of a chunk that comes again.
//! - [`finalize`](TimeseriesStreamer::finalize) waits until every chunk is confirmed.
//! - A program that died goes on with its stream: [`resume`](TimeseriesStreamer::resume). A stream that nobody resumes is
//!   finalized two hours after it was last written.
//! - Timestamps are this computer's clock and leave converted to the platform's, once that is known; the first chunks wait
//!   for it for some seconds. A step of this computer's clock is seen and does not bend a series.
//! - What could be wrong about a push is found before anything of it is kept.
//!
//! # How it works
//! Each streamer takes a slot (`slot.rs`, `places.rs`): a folder with a run store of its own, so that any number of programs may share a
//! `data_dir`. A push checks and converts on the calling thread, hands the chunk to the store's thread and waits for its
//! answer; chunks that come together share a sync. Everything else runs on one thread of the streamer's own: the
//! uploader, the clock, the calls, and the delivery of what other programs left in other slots.
//!
//! This room knows no instruments and no lab's TOML.

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
