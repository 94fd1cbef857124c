//! What the platform keeps, and for how long.

use std::collections::BTreeMap;

use mbe_bridge::server::{Error, Fault, StreamState};
use proptest::prelude::*;
use reqwest::StatusCode;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;

#[tokio::test]
async fn everything_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { data: Some(folder.path().join("made/for/it")), ..Settings::default() };

    let platform = Platform::start_with(settings.clone()).await;
    let data_id = platform.stream(2).await;
    let ended = platform.stream(2).await;
    platform.chunk(&data_id, 0, "t", &[(1.0, 10.0), (2.0, 20.0)]).await;
    platform.finalize(&ended).await;
    platform.post("/tags/", json!({ "name": "growth" })).await;
    let instrument = json!({ "label": "Main MBE", "name": "Veeco GEN10", "type": "mbe" });
    platform.post("/instruments/synthesis", instrument).await;
    let sample = platform.post("/physical_samples/", json!({ "name": "GaN-001" })).await.1["id"].clone();
    let link = json!({ "data_ids": [ended], "physical_sample_id": sample });
    platform.post("/data_entries/physical_sample", link).await;
    let track = json!({ "physical_sample_id": sample, "set_active": true });
    platform.post("/projects/p/configuration/tracking_samples", track).await;
    let before = platform.server.streams().unwrap();
    let lists = ["/data_entries/", "/instruments/synthesis", "/physical_samples/", "/projects/", "/tags/"];
    let mut listed = Vec::new();
    for list in lists {
        listed.push(platform.get(list).await);
    }
    platform.server.stop().await;

    let platform = Platform::start_with(settings).await;
    assert_eq!(platform.server.streams().unwrap(), before);
    for (list, listed) in lists.into_iter().zip(listed) {
        assert!(!listed.1.as_array().unwrap().is_empty(), "{list}");
        assert_eq!(platform.get(list).await, listed);
    }
    assert_eq!(platform.found(&ended).state, StreamState::Success);
    let (status, landed) = platform.chunk(&data_id, 1, "t", &[(3.0, 30.0)]).await;
    assert_eq!((status, &landed["total_points"]), (StatusCode::OK, &json!(3)));
    assert_eq!(points(&platform.server.stored(&data_id).unwrap()[0]), [(0, 1.0, 10.0), (0, 2.0, 20.0), (1, 3.0, 30.0)]);
    assert_eq!(platform.get("/tags/").await.1[0]["name"], json!("growth"));

    platform.server.set_fault(Fault::Forget);
    assert_eq!(platform.chunk(&data_id, 2, "t", &[(4.0, 40.0)]).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_stream_goes_silent_while_the_platform_is_down() {
    let folder = tempfile::tempdir().unwrap();
    let data = Some(folder.path().to_owned());
    let platform = Platform::start_with(Settings { data: data.clone(), ..Settings::default() }).await;
    let data_id = platform.stream(1).await;
    platform.server.stop().await;
    let silence = Duration::from_millis(1);
    let platform = Platform::start_with(Settings { data, silence, ..Settings::default() }).await;
    until(|| platform.found(&data_id).state == StreamState::Error).await;
}

#[tokio::test]
async fn a_foreign_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("platform.sqlite");
    rusqlite::Connection::open(&file)
        .unwrap()
        .execute_batch("CREATE TABLE mine (x); PRAGMA user_version = 7;")
        .unwrap();
    let settings = Settings { data: Some(folder.path().to_owned()), ..Settings::default() };
    let refused = Server::start(settings.clone()).await.unwrap_err();
    assert!(matches!(refused, Error::StoreVersion { found: 7, expected: 1, .. }), "{refused}");

    std::fs::write(&file, "not a database, but longer than the header of one, which has a hundred bytes: ".repeat(3))
        .unwrap();
    let refused = Server::start(settings).await.unwrap_err();
    assert!(matches!(refused, Error::OpenStore { .. }), "{refused}");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = taken.local_addr().unwrap();
    let refused = Server::start(Settings { listen, ..Settings::default() }).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("could not listen on {listen}"));
}

#[tokio::test]
async fn stopping_ends_in_bounded_time_and_frees_the_port() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    platform.server.set_fault(Fault::Hang);
    let hanging =
        platform.request(Method::POST, "/tool-state/stream/chunk").json(&chunk(&data_id, 0, "t", &[(1.0, 2.0)]));
    let hanging = tokio::spawn(hanging.send());
    until(|| platform.server.requests().total() == 2).await;
    // A client that has sent half of a request's head.
    let mut half = TcpStream::connect(platform.server.address()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut half, b"POST /tool-state/stream/chunk HTTP/1.1\r\nHost:").await.unwrap();

    let listen = platform.server.address();
    tokio::time::timeout(Duration::from_secs(5), platform.server.stop()).await.expect("stopping took too long");
    assert!(hanging.await.unwrap().is_err());
    let mut rest = Vec::new();
    // Closed or reset, but over.
    drop(tokio::time::timeout(DEADLINE, half.read_to_end(&mut rest)).await.expect("the connection is still open"));

    let platform = Platform::start_with(Settings { listen, ..Settings::default() }).await;
    assert_eq!(platform.server.address(), listen);
    assert_eq!(platform.get("/gateway/time").await.0, StatusCode::OK);
}

#[tokio::test]
async fn dropping_frees_the_port_too() {
    let platform = Platform::start().await;
    let listen = platform.server.address();
    drop(platform);
    let again = tokio::time::timeout(DEADLINE, async {
        loop {
            match Server::start(Settings { listen, ..Settings::default() }).await {
                Ok(server) => return server,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    assert_eq!(again.await.unwrap().address(), listen);
}

/// Points as chunk index, bits of the stamp, bits of the value.
type Bits = Vec<(i64, u64, u64)>;

fn finite() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("JSON has finite numbers only", |number| number.is_finite())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Chunks in any order, some of them several times with other content, several at once: each slice holds what
    /// was sent last, to the bit, and the counts agree with it.
    #[test]
    fn slices_hold_what_was_sent_last(
        sent in prop::collection::vec((0_i64..6, 0_usize..3, prop::collection::vec((finite(), finite()), 1..4)), 1..30)
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let platform = Platform::start().await;
            let data_id = platform.stream(3).await;
            let names = ["a", "b", "c"];
            let mut expected: BTreeMap<(usize, i64), Vec<(f64, f64)>> = BTreeMap::new();
            for (index, channel, points) in &sent {
                expected.insert((*channel, *index), points.clone());
                let (status, landed) = platform.chunk(&data_id, *index, names[*channel], points).await;
                prop_assert_eq!(status, StatusCode::OK);
                let total: usize = expected.iter().filter(|((c, _), _)| c == channel).map(|(_, p)| p.len()).sum();
                prop_assert_eq!(&landed["total_points"], &json!(total));
            }
            // All slices once more, all at once: nothing may change.
            let again = expected.iter().map(|((channel, index), points)| {
                platform.chunk(&data_id, *index, names[*channel], points)
            });
            for (status, _) in join_all(again).await {
                prop_assert_eq!(status, StatusCode::OK);
            }
            let stored: BTreeMap<String, Bits> = platform
                .server
                .stored(&data_id)
                .unwrap()
                .into_iter()
                .map(|channel| {
                    let bits = points(&channel).into_iter().map(|(i, at, value)| (i, at.to_bits(), value.to_bits()));
                    (channel.name, bits.collect())
                })
                .collect();
            let mut wanted: BTreeMap<String, Bits> = BTreeMap::new();
            for ((channel, index), points) in expected {
                let bits = points.into_iter().map(|(at, value)| (index, at.to_bits(), value.to_bits()));
                wanted.entry(names[channel].to_owned()).or_default().extend(bits);
            }
            prop_assert_eq!(stored, wanted);
            Ok(())
        })?;
    }
}

/// Runs all of them at once and returns what they return, in order.
async fn join_all<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        for (future, done) in &mut running {
            if done.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                *done = Some(output);
            }
        }
        if running.iter().all(|(_, done)| done.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    running.into_iter().filter_map(|(_, done)| done).collect()
}
