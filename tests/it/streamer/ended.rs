//! A stream that the platform ends early goes on in another.

use mbe_bridge::server::StreamState as Stored;

use super::{Lab, new_stream, push};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_has_ended_goes_on_with_the_same_indexes() {
    let lab = Lab::start().await;
    let streamer = lab.open().await;
    let data_id = new_stream(&streamer).await;
    for index in 0..5 {
        push(&streamer, &data_id, index).await;
    }
    streamer.flush(None, None).await.unwrap();
    lab.server.end_stream(&data_id).unwrap();
    for index in 5..10 {
        push(&streamer, &data_id, index).await;
    }
    let finalized = streamer.finalize(&data_id).await.unwrap();
    assert_eq!((finalized.data_id.as_str(), finalized.uploaded_points), (data_id.as_str(), 100));
    let [continuation] = finalized.continued_as.as_slice() else { panic!("{finalized:?}") };
    lab.check(&data_id, "temperature", 0..5);
    lab.check(continuation, "temperature", 5..10);
    assert_eq!(lab.stored_stream(continuation).state, Stored::Success);
    assert_eq!(lab.stored_stream(continuation).name.as_deref(), Some("growth (continued 2)"));
    assert_eq!(streamer.status(&data_id).unwrap().data_id, data_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_went_on_is_resumed_by_any_of_its_names() {
    let lab = Lab::start().await;
    let streamer = lab.open().await;
    let data_id = new_stream(&streamer).await;
    push(&streamer, &data_id, 0).await;
    streamer.flush(None, None).await.unwrap();
    lab.server.end_stream(&data_id).unwrap();
    push(&streamer, &data_id, 1).await;
    streamer.flush(None, None).await.unwrap();
    drop(streamer);
    let streamer = lab.open().await;
    assert_eq!(streamer.resume(&data_id).await.unwrap().next_chunk_index, 2);
    push(&streamer, &data_id, 2).await;
    let finalized = streamer.finalize(&data_id).await.unwrap();
    lab.check(&finalized.continued_as[0], "temperature", 1..3);
}
