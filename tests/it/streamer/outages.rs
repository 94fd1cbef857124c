//! A platform that is away, hangs, or does not take the key.

use std::time::{Duration, Instant};

use mbe_bridge::model::with_causes;
use mbe_bridge::server;
use mbe_bridge::server::Fault;
use mbe_bridge::server::StreamState as Stored;
use mbe_bridge::streamer::{Acknowledge, Error, NewStream, PlatformStatus, Series, StreamState};

use super::{Lab, chunk, new_stream, push, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pushed_during_an_outage_is_sent_after_it() {
    let lab = Lab::start().await;
    let streamer = lab.open().await;
    let data_id = new_stream(&streamer).await;
    for (round, fault) in ["down", "status:503", "cut-reply", "reset-request"].into_iter().enumerate() {
        let first = round as u64 * 10;
        lab.server.set_fault(fault.parse().unwrap());
        for index in first..first + 10 {
            push(&streamer, &data_id, index).await;
        }
        until(&streamer, &data_id, "the outage is told", |status| status.platform.as_str() == "down").await;
        let status = streamer.status(&data_id).unwrap();
        assert!(status.last_error.is_some() && status.platform.why().is_some() && status.oldest_queued.is_some());
        let late = streamer.flush(None, Some(Duration::from_millis(50))).await.unwrap_err();
        assert!(matches!(late, Error::NotInTime { chunks: 1.., .. }), "{late}");
        lab.server.set_fault(Fault::None);
        streamer.flush(None, Some(Duration::from_secs(20))).await.unwrap();
        lab.check(&data_id, "temperature", 0..first + 10);
    }
    streamer.finalize(&data_id).await.unwrap();
    lab.check(&data_id, "temperature", 0..40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finalize_waits_for_an_outage_to_end() {
    let lab = Lab::start().await;
    let streamer = lab.open().await;
    let data_id = new_stream(&streamer).await;
    lab.server.set_fault("status:503".parse().unwrap());
    for index in 0..5 {
        push(&streamer, &data_id, index).await;
    }
    let (waiting, wanted) = (streamer.clone(), data_id.clone());
    let finalizing = tokio::spawn(async move { waiting.finalize(&wanted).await });
    until(&streamer, &data_id, "it is closed, and the platform down", |status| {
        status.state == StreamState::Closing && status.platform.as_str() == "down"
    })
    .await;
    assert!(!finalizing.is_finished());
    let (timestamps, values) = chunk(9);
    let late = streamer.push(&data_id, 9, "temperature", &timestamps, &values, None).await.unwrap_err();
    assert!(matches!(late, Error::AlreadyFinalized(_)), "{late}");
    lab.server.set_fault(Fault::None);
    assert_eq!(finalizing.await.unwrap().unwrap().uploaded_points, 50);
    lab.check(&data_id, "temperature", 0..5);
    assert_eq!(lab.stored_stream(&data_id).state, Stored::Success);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_hangs_does_not_slow_a_push() {
    let lab = Lab::start().await;
    let streamer = lab.builder().timeout(Duration::from_secs(30)).open().await.unwrap();
    let data_id = new_stream(&streamer).await;
    // The window is known to be open before it is filled.
    push(&streamer, &data_id, 0).await;
    streamer.flush(None, None).await.unwrap();
    lab.server.set_fault("hang only chunk".parse::<server::Plan>().unwrap().fault);
    let mut took = Vec::new();
    for index in 1..200 {
        let began = Instant::now();
        push(&streamer, &data_id, index).await;
        took.push(began.elapsed());
    }
    took.sort();
    assert!(took[took.len() / 2] < Duration::from_millis(100), "median {:?}", took[took.len() / 2]);
    assert!(took[took.len() - 1] < Duration::from_secs(2), "longest {:?}", took[took.len() - 1]);
    let (timestamps, values) = chunk(200);
    let series = [Series::new("temperature", &timestamps, &values).units("C")];
    let pushed = streamer.push_with(&data_id, 200, &series, Acknowledge::Accepted).await.unwrap();
    assert!(pushed.queued_chunks >= 199 && pushed.queued_points >= 1990, "{pushed:?}");
    let began = Instant::now();
    let left = streamer.close().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!((left.chunks, left.streams), (200, vec![data_id.clone()]));
    lab.server.set_fault(Fault::None);
    let next = lab.open().await;
    assert_eq!(next.resume(&data_id).await.unwrap().next_chunk_index, 201);
    next.finalize(&data_id).await.unwrap();
    lab.check(&data_id, "temperature", 0..201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_refused_is_told_and_loses_nothing() {
    let lab = Lab::start().await;
    let streamer = lab.open().await;
    let data_id = new_stream(&streamer).await;
    lab.server.set_fault(Fault::Unauthorized);
    let refused = streamer.initialize(NewStream::new()).await.unwrap_err();
    assert!(matches!(refused, Error::KeyRefused { .. }), "{}", with_causes(&refused));
    assert!(matches!(streamer.list_growth_instruments().await, Err(Error::KeyRefused { .. })));
    push(&streamer, &data_id, 0).await;
    let refused = streamer.flush(None, None).await.unwrap_err();
    assert!(matches!(refused, Error::KeyRefused { .. }), "{}", with_causes(&refused));
    let refused = streamer.finalize(&data_id).await.unwrap_err();
    assert!(matches!(refused, Error::KeyRefused { .. }), "{}", with_causes(&refused));
    let status = streamer.status(&data_id).unwrap();
    assert!(matches!(status.platform, PlatformStatus::KeyRefused(_)), "{status:?}");
    assert_eq!((status.queued_chunks, status.queued_points), (1, 10));
    drop(streamer);

    // Closed already, so the next one delivers and finalizes it without being asked.
    lab.server.set_fault(Fault::None);
    let next = lab.open().await;
    assert_eq!(next.finalize(&data_id).await.unwrap().uploaded_points, 10);
    lab.check(&data_id, "temperature", [0]);
    assert_eq!(lab.stored_stream(&data_id).state, Stored::Success);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn initialize_tries_three_times_or_as_long_as_it_is_to() {
    let lab = Lab::start().await;
    lab.server.set_fault_on(server::Call::Initialize, "status:503".parse().unwrap(), 2);
    let streamer = lab.open().await;
    new_stream(&streamer).await;
    assert_eq!(lab.server.requests().of(server::Call::Initialize), 3);
    lab.server.set_fault("status:503".parse().unwrap());
    let error = streamer.initialize(NewStream::new()).await.unwrap_err();
    assert!(with_causes(&error).contains("status 503"), "{}", with_causes(&error));
    assert_eq!(lab.server.requests().of(server::Call::Initialize), 6);
    let hurried = lab.builder().patience(Duration::ZERO).open().await.unwrap();
    assert!(hurried.initialize(NewStream::new()).await.is_err());
    assert_eq!(lab.server.requests().of(server::Call::Initialize), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn points_that_the_platform_refuses_for_good_are_told_and_kept() {
    let lab = Lab::start().await;
    let streamer = lab.open().await;
    let data_id = new_stream(&streamer).await;
    lab.server.set_fault("refuse-channel:pressure".parse().unwrap());
    let (timestamps, values) = chunk(0);
    for index in 0..3 {
        let both = [Series::new("temperature", &timestamps, &values), Series::new("pressure", &timestamps, &values)];
        streamer.push_multi(&data_id, index, &both).await.unwrap();
    }
    let error = streamer.finalize(&data_id).await.unwrap_err();
    let Error::PointsRefused { points: 30, file, words, .. } = &error else { panic!("{}", with_causes(&error)) };
    assert!(file.exists() && !words.is_empty(), "{error}");
    assert_eq!(lab.stored(&data_id).len(), 30);
    assert_eq!(lab.stored_stream(&data_id).state, Stored::Success);
    assert_eq!(streamer.status(&data_id).unwrap().rejected_points, 30);
}
