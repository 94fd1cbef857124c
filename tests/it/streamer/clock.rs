//! Timestamps: exact where the clock is off, the platform's where it is on.

use std::time::Duration;

use mbe_bridge::model::TimeBase;

use super::{Lab, POINTS, chunk, new_stream};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timestamps_leave_to_the_bit_where_the_clock_is_off() {
    let lab = Lab::start().await;
    lab.server.set_clock_ahead(60_000_000_000);
    let streamer = lab.open().await;
    let data_id = new_stream(&streamer).await;
    let ran = streamer.run(&data_id, "temperature", None, (0..20).map(chunk)).await.unwrap();
    assert_eq!(ran.points, 200);
    lab.check(&data_id, "temperature", 0..20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timestamps_are_corrected_by_what_the_clocks_differ() {
    const AHEAD: f64 = 60.0;
    let lab = Lab::start().await;
    lab.server.set_clock_ahead(60_000_000_000);
    let streamer = lab.builder().clock_sync(true).open().await.unwrap();
    let data_id = new_stream(&streamer).await;
    let now = TimeBase::start().now().as_unix_seconds();
    let timestamps: Vec<f64> = (0..POINTS).map(|k| now + k as f64).collect();
    for index in 0..3 {
        streamer.push(&data_id, index, "a", &timestamps, &timestamps, None).await.unwrap();
    }
    streamer.finalize(&data_id).await.unwrap();
    let stored = lab.stored(&data_id);
    assert_eq!(stored.len(), 30);
    for (timestamp, value) in stored.values() {
        assert!((timestamp - value - AHEAD).abs() < 0.2, "{timestamp} for {value}");
    }
    let clock = streamer.clock_status().unwrap();
    assert!((clock.offset_ms - AHEAD * 1e3).abs() < 200.0 && clock.uncertainty_ms < 1_000.0, "{clock:?}");
    assert!((clock.measured_at_unix_ms / 1e3 - now).abs() < 20.0, "{clock:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_does_not_answer_holds_chunks_for_a_moment_only() {
    let lab = Lab::start().await;
    let plan = "status:503 only time".parse().unwrap();
    lab.server.faults().set(plan).unwrap();
    let streamer = lab.builder().clock_sync(true).open().await.unwrap();
    let data_id = new_stream(&streamer).await;
    let (timestamps, values) = chunk(0);
    streamer.push(&data_id, 0, "a", &timestamps, &values, None).await.unwrap();
    streamer.flush(None, Some(Duration::from_secs(20))).await.unwrap();
    assert_eq!(streamer.clock_status(), None);
    let stored = lab.stored(&data_id);
    assert_eq!(stored[&("a".to_owned(), 0, 0)].0.to_bits(), timestamps[0].to_bits(), "uncorrected");
}
