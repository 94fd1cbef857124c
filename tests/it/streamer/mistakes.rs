//! What a program does wrong is told before anything is kept or sent.

use mbe_bridge::streamer::{Acknowledge, Error, NewStream, Series};

use super::{Lab, START, builder, chunk, new_stream, push};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_chunk_is_refused_whole() {
    let lab = Lab::start().await;
    let streamer = lab.open().await;
    let data_id = new_stream(&streamer).await;
    let good = Series::new("good", &[START], &[1.0]);
    let (timestamps, values) = ([START; 11], [1.0; 11]);
    let words = [
        (Series::new("a", &timestamps[..2], &values[..3]), "must have the same length, they have 2 and 3"),
        (Series::new("a", &timestamps, &values), "has 11 points, a chunk of this stream has at most 10"),
        (Series::new("a", &[START, f64::NAN], &[1.0, 2.0]), "timestamp 1 is NaN"),
        (Series::new(" ", &[START], &[1.0]), "a channel name can't be blank"),
        (Series::new("good ", &[START], &[1.0]), "channel `good` is there twice"),
        (Series::new("good", &[START], &[1.0]).units("C"), "has been pushed with no unit, now with unit `C`"),
    ];
    for acknowledge in [Acknowledge::Durable, Acknowledge::Accepted] {
        for (wrong, told) in words {
            let error = streamer.push_with(&data_id, 0, &[good, wrong], acknowledge).await.unwrap_err();
            assert!(error.to_string().contains(told), "{error} instead of {told}");
        }
    }
    let error = streamer.push_multi(&data_id, 7, &[]).await.unwrap_err();
    assert_eq!(error.to_string(), "chunk 7 has no points");
    assert!(streamer.push_multi(&data_id, u64::MAX, &[good]).await.is_err());
    let error = streamer.run(&data_id, "a", None, [(vec![START], vec![])]).await.unwrap_err();
    assert!(error.to_string().contains("same length"), "{error}");
    streamer.finalize(&data_id).await.unwrap();
    assert!(lab.stored(&data_id).is_empty());
    assert_eq!(lab.server.requests().of(mbe_bridge::server::Call::ChunkMulti), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_not_open_takes_nothing() {
    let lab = Lab::start().await;
    let streamer = lab.open().await;
    let (timestamps, values) = chunk(0);
    let unknown = streamer.push("no-such-stream", 0, "a", &timestamps, &values, None).await.unwrap_err();
    assert!(matches!(unknown, Error::UnknownStream(_)), "{unknown}");
    assert!(matches!(streamer.resume("no-such-stream").await, Err(Error::NotKept(_))));
    assert!(matches!(streamer.finalize("no-such-stream").await, Err(Error::UnknownStream(_))));
    assert_eq!(streamer.status("no-such-stream"), None);

    let data_id = new_stream(&streamer).await;
    push(&streamer, &data_id, 0).await;
    streamer.finalize(&data_id).await.unwrap();
    let late = streamer.push(&data_id, 1, "temperature", &timestamps, &values, None).await.unwrap_err();
    assert!(matches!(late, Error::AlreadyFinalized(_)), "{late}");
    assert!(matches!(streamer.resume(&data_id).await, Err(Error::AlreadyFinalized(_))));
    assert_eq!(streamer.finalize(&data_id).await.unwrap().uploaded_points, 10, "again says the same");

    let clone = streamer.clone();
    streamer.close().await.unwrap();
    assert!(matches!(clone.initialize(NewStream::new()).await, Err(Error::Closed)));
    assert!(matches!(clone.push(&data_id, 0, "a", &timestamps, &values, None).await, Err(Error::Closed)));
    assert!(matches!(clone.close().await, Err(Error::Closed)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_streamer_can_not_be_made_of() {
    let lab = Lab::start().await;
    for points in [0, 1_000_001] {
        let error = lab.builder().points_per_chunk(points).open().await.unwrap_err();
        assert!(matches!(error, Error::PointsPerChunk(_)), "{error}");
    }
    let key = mbe_bridge::TimeseriesStreamer::builder(" ").data_dir(lab.folder.path()).open().await.unwrap_err();
    assert!(key.to_string().contains("the API key is blank"), "{key}");
    let endpoint = builder("api.atomscale.ai", lab.folder.path()).open().await.unwrap_err();
    assert!(endpoint.to_string().contains("`api.atomscale.ai`"), "{endpoint}");
    let file = lab.folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let folder = builder(&lab.server.url(), &file).open().await.unwrap_err();
    let told = mbe_bridge::model::with_causes(&folder);
    assert!(matches!(folder, Error::Disk { .. }) && told.contains(file.to_str().unwrap()), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_platform_refuses_is_told_at_once() {
    let lab = Lab::start().await;
    let streamer = lab.open().await;
    let unknown = NewStream::new().physical_sample("00000000-0000-4000-8000-000000000000");
    let error = streamer.initialize(unknown).await.unwrap_err();
    let told = mbe_bridge::model::with_causes(&error);
    assert!(told.contains("no physical sample with the id"), "{told}");
    assert!(lab.server.streams().unwrap().is_empty());
    assert!(streamer.delete_growth_instrument(4711).await.is_err());
}
