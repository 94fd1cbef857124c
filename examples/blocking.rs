//! The same for a program that is not async. Endpoint and key as in the example `pyrometer_log`.

#![expect(clippy::print_stderr, reason = "an example tells what it does")]

use std::error::Error;
use std::time::Duration;

use mbe_bridge::streamer::NewStream;
use mbe_bridge::streamer::blocking::TimeseriesStreamer;

fn main() -> Result<(), Box<dyn Error>> {
    let key = std::env::var("AS_API_KEY")?;
    let streamer = TimeseriesStreamer::builder(key).open_blocking()?;
    for instrument in streamer.list_growth_instruments()? {
        eprintln!("growth instrument {}: {}", instrument.synth_source_id, instrument.name);
    }
    let data_id = streamer.initialize(NewStream::new().name("Growth rate"))?;
    let timestamps: Vec<f64> = (0..100).map(|k| 1_795_357_081.0 + f64::from(k)).collect();
    let values: Vec<f64> = timestamps.iter().map(|at| 0.3 + (at / 60.0).sin() * 0.01).collect();
    let pushed = streamer.push(&data_id, 0, "growth_rate", &timestamps, &values, Some("nm/s"))?;
    assert!(pushed.durable);
    streamer.flush(Some(&data_id), Some(Duration::from_secs(30)))?;
    let finalized = streamer.finalize(&data_id)?;
    eprintln!("stream {data_id}: {} points; clock: {:?}", finalized.uploaded_points, streamer.clock_status());
    let left = streamer.close()?;
    eprintln!("nothing is left: {}", left.is_nothing());
    Ok(())
}
