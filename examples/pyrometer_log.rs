//! A pyrometer's log that is there already, in generator mode: chunks are numbered here, and `run` returns once the
//! platform has them all.
//!
//! Against a local platform: `mbe-bridge server --listen 127.0.0.1:8731`, and in another shell
//! `AS_API_ENDPOINT=http://127.0.0.1:8731 AS_API_KEY=any cargo run --example pyrometer_log`.

#![expect(clippy::print_stderr, reason = "an example tells what it does")]

use std::error::Error;

use mbe_bridge::TimeseriesStreamer;
use mbe_bridge::streamer::NewStream;

const POINTS_PER_CHUNK: usize = 100;

/// A growth of ten minutes, ten readings a second: a ramp to 620 degrees, and a soak.
fn log() -> (Vec<f64>, Vec<f64>) {
    let start = 1_795_357_081.0;
    (0..6_000).map(|k| (start + f64::from(k) * 0.1, (25.0 + f64::from(k) * 0.2).min(620.0))).unzip()
}

/// The log, a chunk at a time.
fn data_chunks(timestamps: &[f64], values: &[f64]) -> impl Iterator<Item = (Vec<f64>, Vec<f64>)> {
    timestamps.chunks(POINTS_PER_CHUNK).zip(values.chunks(POINTS_PER_CHUNK)).map(|(t, v)| (t.to_vec(), v.to_vec()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let key = std::env::var("AS_API_KEY")?;
    let streamer = TimeseriesStreamer::builder(key).points_per_chunk(POINTS_PER_CHUNK).open().await?;
    let data_id = streamer.initialize(NewStream::new().name("Pyrometer log")).await?;
    let (timestamps, values) = log();
    let ran = streamer.run(&data_id, "temperature", Some("C"), data_chunks(&timestamps, &values)).await;
    // Always finalize, also when something went wrong on the way.
    let finalized = streamer.finalize(&data_id).await?;
    let ran = ran?;
    eprintln!(
        "stream {data_id}: {} points in {} chunks, {} on the platform",
        ran.points, ran.chunks, finalized.uploaded_points
    );
    streamer.close().await?;
    Ok(())
}
