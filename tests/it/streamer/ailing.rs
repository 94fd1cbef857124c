//! A disk that fills up, and a host whose clock is set, under a program that pushes.

use super::Lab;
use super::program::Program;
use crate::shim::Faults;

/// The day's difference that a technician's correction makes.
const STEP_SECONDS: i64 = 3_600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_takes_the_chunk_once_it_has_space() {
    let (lab, control) = (Lab::start().await, tempfile::tempdir().unwrap());
    let faults = Faults::new(&control.path().join("faults"), lab.folder.path());
    let (data_id, last) = tokio::task::block_in_place(|| {
        let mut program = Program::start(&lab, None, false, &faults.environment());
        program.durable(5);
        faults.set("room_bytes", 0);
        let refused = program.next("refused");
        assert!(refused.contains("full"), "{refused}");
        faults.set("room_bytes", -1);
        let last = program.durable(5);
        (program.data_id.clone(), program.kill(last))
    });
    let streamer = lab.open().await;
    let so_far = streamer.resume(&data_id).await.unwrap();
    assert!([last + 1, last + 2].contains(&so_far.next_chunk_index), "{last}: {so_far:?}");
    streamer.finalize(&data_id).await.unwrap();
    lab.check(&data_id, "temperature", 0..so_far.next_chunk_index);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_of_the_host_s_clock_does_not_bend_a_series() {
    let (lab, control) = (Lab::start().await, tempfile::tempdir().unwrap());
    let faults = Faults::new(&control.path().join("faults"), lab.folder.path());
    let data_id = tokio::task::block_in_place(|| {
        let mut program = Program::start(&lab, None, true, &faults.environment());
        for step in [0, STEP_SECONDS, -STEP_SECONDS, 0] {
            faults.set("clock_offset_ns", step * 1_000_000_000);
            while (program.next("ahead").parse::<f64>().unwrap() - step as f64).abs() > 1.0 {}
            program.durable(20);
        }
        let data_id = program.data_id.clone();
        program.kill(0);
        data_id
    });
    let streamer = lab.builder().clock_sync(true).open().await.unwrap();
    streamer.finalize(&data_id).await.unwrap();
    let stored = lab.stored(&data_id);
    assert!(stored.len() >= 80, "{}", stored.len());
    for (timestamp, value) in stored.values() {
        // A push that the clock is set under is off by at most what it takes: the clock is read on both sides.
        assert!((timestamp - value).abs() < 0.5, "{timestamp} for {value}");
    }
}
