//! TLS, and HTTP/2 in it: the same platform, the same faults.

use std::path::PathBuf;
use std::time::Instant;

use mbe_bridge::server::{Error, Fault, Tls, TlsError};
use reqwest::{Certificate, ClientBuilder, StatusCode, Version};

use super::*;

const OK: StatusCode = StatusCode::OK;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn tls() -> Tls {
    Tls { certificate: fixture("local-ca/certificate.pem"), key: fixture("local-ca/key.pem") }
}

/// A client that trusts the fixture's authority and nobody else.
fn trusting() -> ClientBuilder {
    let authority = std::fs::read(fixture("local-ca/authority.pem")).unwrap();
    Client::builder().timeout(DEADLINE).tls_certs_only([Certificate::from_pem(&authority).unwrap()])
}

/// A platform with TLS, and a client of it that speaks this version.
async fn speaking(version: Version) -> Platform {
    let Platform { server, .. } = Platform::start_with(Settings { tls: Some(tls()), ..Settings::default() }).await;
    let client = if version == Version::HTTP_2 { trusting() } else { trusting().http1_only() };
    Platform { server, client: client.build().unwrap() }
}

fn push(platform: &Platform, data_id: &str, index: i64) -> RequestBuilder {
    platform.request(Method::POST, "/tool-state/stream/chunk").json(&chunk(data_id, index, "t", &[(1.0, 2.0)]))
}

/// Sends until it lands: a client may learn only by trying that its connection has been cut.
async fn until_it_lands(platform: &Platform, data_id: &str, index: i64) {
    let began = Instant::now();
    while !push(platform, data_id, index).send().await.is_ok_and(|answer| answer.status() == OK) {
        assert!(began.elapsed() < DEADLINE, "it never landed");
    }
}

fn holds(platform: &Platform, data_id: &str, index: i64) -> bool {
    let channels = platform.server.stored(data_id).unwrap();
    channels.iter().flat_map(|channel| &channel.points).any(|point| point.chunk_index == index)
}

#[tokio::test]
async fn a_client_gets_the_version_that_it_prefers() {
    for version in [Version::HTTP_2, Version::HTTP_11] {
        let platform = speaking(version).await;
        assert!(platform.server.url().starts_with("https://127.0.0.1:"));
        let data_id = platform.stream(1).await;
        let landed = push(&platform, &data_id, 0).send().await.unwrap();
        assert_eq!((landed.status(), landed.version()), (OK, version));
        assert_eq!(platform.finalize(&data_id).await.0, OK);
        assert_eq!(platform.get(&format!("/tool-state/{data_id}/timeseries/")).await.0, OK);
        platform.server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_carries_many_requests_at_once() {
    const AT_ONCE: i64 = 64;
    let platform = speaking(Version::HTTP_2).await;
    let data_id = platform.stream(1).await;
    platform.server.set_fault(Fault::Hang);
    let requests = tokio::task::JoinSet::from_iter((0..AT_ONCE).map(|index| push(&platform, &data_id, index).send()));
    // Each has come while none before it was answered.
    until(|| platform.server.requests().total() == AT_ONCE as u64 + 1).await;
    assert_eq!(platform.server.connections(), 1);
    drop(requests);

    platform.server.set_fault(Fault::None);
    let requests = tokio::task::JoinSet::from_iter((0..AT_ONCE).map(|index| push(&platform, &data_id, index).send()));
    for landed in requests.join_all().await {
        assert_eq!(landed.unwrap().status(), OK);
    }
    assert_eq!(platform.server.stored(&data_id).unwrap()[0].points.len() as i64, AT_ONCE);
    assert_eq!(platform.server.connections(), 1);
}

#[tokio::test]
async fn faults_that_cut_the_connection_cut_it_beneath_tls() {
    for version in [Version::HTTP_2, Version::HTTP_11] {
        let platform = speaking(version).await;
        let data_id = platform.stream(1).await;
        let cuts = [
            (Fault::CutRequest, false),
            (Fault::ResetRequest, false),
            (Fault::CutReply, true),
            (Fault::ResetReply, true),
            (Fault::TruncateReply, true),
        ];
        for (index, (fault, stored)) in (0..).zip(cuts) {
            until_it_lands(&platform, &data_id, 100 + index).await;
            platform.server.set_fault(fault.clone());
            let heard = match push(&platform, &data_id, index).send().await {
                Ok(answer) => answer.bytes().await.map(drop),
                Err(error) => Err(error),
            };
            assert!(heard.is_err(), "{version:?} {fault}");
            assert_eq!(platform.server.faults().struck(), 1, "{version:?} {fault}");
            assert_eq!(holds(&platform, &data_id, index), stored, "{version:?} {fault}");
            platform.server.set_fault(Fault::None);
        }
        until_it_lands(&platform, &data_id, 200).await;
    }
}

#[tokio::test]
async fn half_an_answer_is_half_an_answer() {
    for version in [Version::HTTP_2, Version::HTTP_11] {
        for fault in [Fault::ResetReply, Fault::TruncateReply] {
            let platform = speaking(version).await;
            let data_id = platform.stream(1).await;
            platform.server.set_fault(fault.clone());
            let mut answer = push(&platform, &data_id, 0).send().await.unwrap();
            assert_eq!((answer.status(), answer.version()), (OK, version));
            let announced = answer.content_length().unwrap();
            let mut come = 0;
            while let Ok(Some(part)) = answer.chunk().await {
                come += part.len() as u64;
            }
            assert_eq!(come, announced / 2, "{version:?} {fault}");
        }
    }
}

#[tokio::test]
async fn faults_of_answers_and_of_the_listener_are_the_same() {
    for version in [Version::HTTP_2, Version::HTTP_11] {
        let platform = speaking(version).await;
        let data_id = platform.stream(1).await;
        for (fault, status) in [("status:503", 503), ("unauthorized", 401), ("forget", 404), ("garbage:502", 502)] {
            platform.server.faults().set(fault.parse().unwrap()).unwrap();
            assert_eq!(push(&platform, &data_id, 0).send().await.unwrap().status().as_u16(), status, "{fault}");
        }
        platform.server.set_fault(Fault::Hang);
        let hanging = push(&platform, &data_id, 0).timeout(Duration::from_millis(100)).send();
        assert!(hanging.await.unwrap_err().is_timeout());

        // The request that takes the listener away is answered, and its connection goes then.
        let down = platform.request(Method::PUT, "/_local/fault").body("down").send().await.unwrap();
        assert_eq!(down.text().await.unwrap(), "down\n");
        let began = Instant::now();
        while !push(&platform, &data_id, 0).send().await.is_err_and(|error| error.is_connect()) {
            assert!(began.elapsed() < DEADLINE, "{version:?}: it is still there");
        }
        platform.server.set_fault(Fault::None);
        until_it_lands(&platform, &data_id, 1).await;
    }
}

#[tokio::test]
async fn stopping_ends_in_bounded_time_whatever_hangs() {
    for version in [Version::HTTP_2, Version::HTTP_11] {
        let platform = speaking(version).await;
        let data_id = platform.stream(1).await;
        platform.server.set_fault(Fault::Hang);
        let hanging = tokio::spawn(push(&platform, &data_id, 0).send());
        until(|| platform.server.requests().total() == 2).await;
        // Somebody who has said nothing yet.
        let silent = tokio::net::TcpStream::connect(platform.server.address()).await.unwrap();
        until(|| platform.server.connections() == 2).await;
        tokio::time::timeout(Duration::from_secs(5), platform.server.stop()).await.expect("stopping took too long");
        assert!(hanging.await.unwrap().is_err());
        drop(silent);
    }
}

#[tokio::test]
async fn what_is_in_the_clear_is_http_1_and_what_is_not_is_tls() {
    let clear = Platform::start().await;
    let told = Client::builder().timeout(DEADLINE).http2_prior_knowledge().build().unwrap();
    let time = format!("{}/gateway/time", clear.server.url());
    assert!(told.get(&time).send().await.is_err());
    assert_eq!(clear.client.get(&time).send().await.unwrap().version(), Version::HTTP_11);

    let platform = speaking(Version::HTTP_2).await;
    let in_the_clear = format!("http://{}/gateway/time", platform.server.address());
    assert!(platform.client.get(in_the_clear).send().await.is_err());
    let stranger = Client::builder().timeout(DEADLINE).build().unwrap();
    let refused = stranger.get(format!("{}/gateway/time", platform.server.url())).send().await.unwrap_err();
    assert!(format!("{refused:?}").to_lowercase().contains("certificate"), "{refused:?}");
    assert_eq!(platform.server.requests().total(), 0);
    assert_eq!(platform.get("/gateway/time").await.0, OK);
}

#[tokio::test]
async fn a_certificate_or_key_that_is_none_is_named() {
    let mistaken = |certificate: &str, key: &str| {
        let tls = Tls { certificate: fixture(certificate), key: fixture(key) };
        Server::start(Settings { tls: Some(tls), ..Settings::default() })
    };
    let (certificate, key) = ("local-ca/certificate.pem", "local-ca/key.pem");
    let refused = mistaken("local-ca/nothing.pem", key).await.unwrap_err();
    assert!(matches!(refused, Error::Tls(TlsError::Certificate { .. })), "{refused:?}");
    assert!(refused.to_string().contains("nothing.pem`, expected PEM"), "{refused}");
    let refused = mistaken(key, key).await.unwrap_err();
    assert!(matches!(refused, Error::Tls(TlsError::Certificate { .. })), "{refused:?}");
    let refused = mistaken(certificate, certificate).await.unwrap_err();
    assert!(matches!(refused, Error::Tls(TlsError::Key { .. })), "{refused:?}");
    let refused = mistaken(certificate, "self-signed/key.pem").await.unwrap_err();
    assert!(matches!(refused, Error::Tls(TlsError::Together { .. })), "{refused:?}");
}
