//! Correlated channels, pushed as they come: each chunk is one request, and on disk before it is sent.
//!
//! Kill it and start it again with the stream that it names (`cargo run --example push_multi -- STREAM`): it goes on where
//! it was. Endpoint and key as in the example `pyrometer_log`.

#![expect(clippy::print_stderr, reason = "an example tells what it does")]

use std::error::Error;
use std::time::Duration;

use mbe_bridge::TimeseriesStreamer;
use mbe_bridge::model::TimeBase;
use mbe_bridge::streamer::{NewStream, Series};

const CHUNKS: u64 = 20;
const POINTS: usize = 10;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let key = std::env::var("AS_API_KEY")?;
    let streamer = TimeseriesStreamer::builder(key).points_per_chunk(POINTS).open().await?;
    let (data_id, first) = match std::env::args().nth(1) {
        Some(data_id) => {
            let so_far = streamer.resume(&data_id).await?;
            (data_id, so_far.next_chunk_index)
        }
        None => {
            let stream = NewStream::new().name("MBE growth").physical_sample("GaN-001").tags(["example"]);
            (streamer.initialize(stream).await?, 0)
        }
    };
    eprintln!("stream {data_id}, from chunk {first} on");

    let clock = TimeBase::start();
    for chunk_index in first..CHUNKS {
        let (mut timestamps, mut temperatures, mut pressures) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..POINTS {
            tokio::time::sleep(Duration::from_millis(20)).await;
            timestamps.push(clock.now().as_unix_seconds());
            temperatures.push(620.0 + fastrand::f64());
            pressures.push(7e-9 * (1.0 + 0.1 * fastrand::f64()));
        }
        let channels = [
            Series::new("temperature", &timestamps, &temperatures).units("C"),
            Series::new("pressure", &timestamps, &pressures).units("mbar"),
        ];
        let pushed = streamer.push_multi(&data_id, chunk_index, &channels).await?;
        eprintln!("chunk {chunk_index} is on disk; {} wait for the platform", pushed.queued_chunks);
    }
    let progress = |status: &mbe_bridge::streamer::StreamStatus| eprintln!("{} chunks to go", status.queued_chunks);
    let finalized = streamer.finalize_with(&data_id, progress).await?;
    eprintln!("{} points are on the platform", finalized.uploaded_points);
    Ok(())
}
