//! Several streamers on one data folder, and what they leave for each other.

use std::time::Duration;

use mbe_bridge::server::Fault;
use mbe_bridge::server::StreamState as Stored;
use mbe_bridge::streamer::{Error, StreamState};

use super::{Lab, chunk, new_stream, push, until_so};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_streamers_share_a_folder() {
    let lab = Lab::start().await;
    let (one, other) = (lab.open().await, lab.open().await);
    let (a, b) = (new_stream(&one).await, new_stream(&other).await);
    for index in 0..5 {
        push(&one, &a, index).await;
        push(&other, &b, index).await;
    }
    let in_use = other.resume(&a).await.unwrap_err();
    assert!(matches!(&in_use, Error::InUse { pid, .. } if *pid == std::process::id().to_string()), "{in_use}");
    one.finalize(&a).await.unwrap();
    other.finalize(&b).await.unwrap();
    lab.check(&a, "temperature", 0..5);
    lab.check(&b, "temperature", 0..5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_is_delivered_by_the_next_and_waits_to_be_resumed() {
    let lab = Lab::start().await;
    let mut left = Vec::new();
    let both = [lab.open().await, lab.open().await];
    for streamer in &both {
        left.push(new_stream(streamer).await);
    }
    lab.server.set_fault("status:503".parse().unwrap());
    for (streamer, data_id) in both.iter().zip(&left) {
        for index in 0..5 {
            push(streamer, data_id, index).await;
        }
    }
    drop(both);
    lab.server.set_fault(Fault::None);

    let next = lab.open().await;
    until_so("both are delivered", || left.iter().all(|data_id| lab.stored(data_id).len() == 50)).await;
    assert!(left.iter().all(|data_id| lab.stored_stream(data_id).state == Stored::Active));
    // A third one can have a stream that is delivered: whoever delivered it keeps no slot longer than needed.
    let third = lab.open().await;
    let so_far = third.resume(&left[1]).await.unwrap();
    assert_eq!((so_far.next_chunk_index, so_far.points_per_chunk), (5, 10));
    let [channel] = so_far.channels.as_slice() else { panic!("{so_far:?}") };
    assert_eq!((channel.name.as_str(), channel.units.as_deref(), channel.points), ("temperature", Some("C"), 50));
    assert_eq!((channel.next_chunk_index, channel.last_timestamp), (5, chunk(4).0.last().copied()));
    assert_eq!(third.status(&left[1]).unwrap().state, StreamState::Open);
    push(&third, &left[1], 5).await;
    third.finalize(&left[1]).await.unwrap();
    lab.check(&left[1], "temperature", 0..6);
    // One that nobody resumes can be finalized as it is.
    let finalized = next.finalize(&left[0]).await.unwrap();
    assert_eq!(finalized.uploaded_points, 50);
    lab.check(&left[0], "temperature", 0..5);
    assert_eq!(lab.stored_stream(&left[0]).state, Stored::Success);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_found_under_another_key() {
    let lab = Lab::start().await;
    let streamer = lab.open().await;
    let data_id = new_stream(&streamer).await;
    push(&streamer, &data_id, 0).await;
    drop(streamer);
    let rotated = mbe_bridge::TimeseriesStreamer::builder("rotated-key")
        .endpoint(lab.server.url())
        .data_dir(lab.folder.path())
        .clock_sync(false)
        .open()
        .await
        .unwrap();
    assert_eq!(rotated.resume(&data_id).await.unwrap().points_per_chunk, 10, "as it was created");
    push(&rotated, &data_id, 1).await;
    rotated.finalize(&data_id).await.unwrap();
    lab.check(&data_id, "temperature", 0..2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_streamer_gives_its_slot_back_at_once() {
    let lab = Lab::start().await;
    lab.server.set_fault("hang only chunk".parse::<mbe_bridge::server::Plan>().unwrap().fault);
    for _ in 0..3 {
        let began = std::time::Instant::now();
        drop(lab.open().await);
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    let account = std::fs::read_dir(lab.folder.path().join("streamers")).unwrap().next().unwrap().unwrap();
    assert_eq!(std::fs::read_dir(account.path()).unwrap().count(), 1, "they all had the same slot");
}
