//! Indexes come in any order, and again.

use super::{Lab, START, new_stream, push};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_in_any_order_land_in_their_places() {
    let lab = Lab::start().await;
    let streamer = lab.open().await;
    let data_id = new_stream(&streamer).await;
    let mut indexes: Vec<u64> = (0..40).collect();
    fastrand::Rng::with_seed(7).shuffle(&mut indexes);
    for index in &indexes {
        push(&streamer, &data_id, *index).await;
    }
    streamer.finalize(&data_id).await.unwrap();
    lab.check(&data_id, "temperature", 0..40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_again_replaces_what_was_there_whichever_is_sent_first() {
    let lab = Lab::start().await;
    let streamer = lab.open().await;
    let data_id = new_stream(&streamer).await;
    for round in 0..20 {
        for index in [3, 0, 3] {
            let values = [f64::from(round), f64::from(round) + 0.5];
            let timestamps = [START + f64::from(round), START + 100.0 + f64::from(round)];
            streamer.push(&data_id, index, "a", &timestamps, &values, None).await.unwrap();
        }
    }
    streamer.finalize(&data_id).await.unwrap();
    let stored = lab.stored(&data_id);
    assert_eq!(stored.len(), 4, "{stored:?}");
    for index in [0, 3] {
        assert_eq!(stored[&("a".to_owned(), index, 0)], (START + 19.0, 19.0));
        assert_eq!(stored[&("a".to_owned(), index, 1)], (START + 119.0, 19.5));
    }
}
