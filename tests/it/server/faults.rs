//! Each fault, as a client meets it.

use std::time::Instant;

use mbe_bridge::server::{Call, Fault};
use reqwest::StatusCode;
use serde_json::json;

use super::*;

async fn send(platform: &Platform, data_id: &str, index: i64) -> reqwest::Result<Response> {
    platform
        .request(Method::POST, "/tool-state/stream/chunk")
        .json(&chunk(data_id, index, "t", &[(1.0, 2.0)]))
        .send()
        .await
}

/// After the fault the platform works as if nothing had been.
async fn expect_recovery(platform: &Platform, data_id: &str) {
    platform.server.set_fault(Fault::None);
    assert_eq!(send(platform, data_id, 9).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn refuse_answers_stream_calls_with_the_status_and_stores_nothing() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    platform.server.set_fault(Fault::Refuse { status: 429, retry_after: Some(Duration::from_millis(1500)) });
    let refused = send(&platform, &data_id, 0).await.unwrap();
    assert_eq!(refused.headers()["retry-after"], "2");
    assert_eq!(answer(refused).await.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(platform.get("/tags/").await.0, StatusCode::OK);
    platform.assert_holds_nothing(&data_id);
    expect_recovery(&platform, &data_id).await;
}

#[tokio::test]
async fn hang_never_answers() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    platform.server.set_fault(Fault::Hang);
    let request = platform.request(Method::POST, "/tool-state/stream/chunk").timeout(Duration::from_millis(100));
    let unanswered = request.json(&chunk(&data_id, 0, "t", &[(1.0, 2.0)])).send().await.unwrap_err();
    assert!(unanswered.is_timeout(), "{unanswered:?}");
    assert_eq!(platform.server.requests().of(Call::Chunk), 1);
    platform.assert_holds_nothing(&data_id);
    expect_recovery(&platform, &data_id).await;
}

#[tokio::test]
async fn slow_answers_late() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    let delay = Duration::from_millis(150);
    platform.server.set_fault(Fault::Slow(delay));
    let sent = Instant::now();
    assert_eq!(send(&platform, &data_id, 0).await.unwrap().status(), StatusCode::OK);
    assert!(sent.elapsed() >= delay);
    expect_recovery(&platform, &data_id).await;
}

#[tokio::test]
async fn cut_reply_stores_what_the_client_never_learns_of() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    platform.server.set_fault(Fault::CutReply);
    let cut = send(&platform, &data_id, 0).await.unwrap_err();
    assert!(cut.is_request() && !cut.is_timeout() && !cut.is_connect(), "{cut:?}");
    assert_eq!(points(&platform.server.stored(&data_id).unwrap()[0]), [(0, 1.0, 2.0)]);
    expect_recovery(&platform, &data_id).await;
}

#[tokio::test]
async fn cut_request_stores_nothing() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    platform.server.set_fault(Fault::CutRequest);
    let cut = send(&platform, &data_id, 0).await.unwrap_err();
    assert!(cut.is_request() && !cut.is_timeout() && !cut.is_connect(), "{cut:?}");
    platform.assert_holds_nothing(&data_id);
    expect_recovery(&platform, &data_id).await;
}

#[tokio::test]
async fn unauthorized_refuses_every_key_but_lets_the_clock_answer() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    platform.server.set_fault(Fault::Unauthorized);
    assert_eq!(send(&platform, &data_id, 0).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(platform.get("/tags/").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(platform.get("/gateway/time").await.0, StatusCode::OK);
    platform.assert_holds_nothing(&data_id);
    expect_recovery(&platform, &data_id).await;
}

#[tokio::test]
async fn forget_knows_only_the_streams_that_came_after() {
    let platform = Platform::start().await;
    let before = platform.stream(1).await;
    platform.server.set_fault(Fault::Forget);
    let after = platform.stream(1).await;
    assert_eq!(send(&platform, &before, 0).await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(platform.finalize(&before).await.0, StatusCode::NOT_FOUND);
    assert_eq!(platform.get(&format!("/tool-state/{before}/timeseries/")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(send(&platform, &after, 0).await.unwrap().status(), StatusCode::OK);
    platform.assert_holds_nothing(&before);
    expect_recovery(&platform, &before).await;
}

#[tokio::test]
async fn too_large_refuses_bodies_by_their_size() {
    let platform = Platform::start().await;
    let data_id = platform.stream(200_000).await;
    platform.server.set_fault(Fault::TooLarge(300));
    assert_eq!(send(&platform, &data_id, 0).await.unwrap().status(), StatusCode::OK);
    // More than the socket's buffers hold: the client is still writing when the refusal is decided.
    let many = vec![(1_763_856_000.125, 1234.5678); 200_000];
    let (status, refused) = platform.chunk(&data_id, 1, "t", &many).await;
    assert_eq!(
        (status, &refused["detail"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &json!("the body is larger than 300 bytes"),)
    );
    assert_eq!(platform.server.stored(&data_id).unwrap()[0].points.len(), 1);
    expect_recovery(&platform, &data_id).await;
}

#[tokio::test]
async fn a_fault_can_be_set_for_some_requests_of_one_call() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    platform.server.set_fault_on(Call::Chunk, Fault::CutReply, 2);
    assert_eq!(platform.get("/tags/").await.0, StatusCode::OK);
    assert!(send(&platform, &data_id, 0).await.is_err());
    assert!(send(&platform, &data_id, 0).await.is_err());
    assert_eq!(send(&platform, &data_id, 0).await.unwrap().status(), StatusCode::OK);
    assert_eq!(platform.server.requests().of(Call::Chunk), 3);
}
