//! Each fault, as a client meets it.

use std::time::Instant;

use mbe_bridge::server::{Call, Fault, Garbage};
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
async fn forbidden_refuses_every_key_with_403() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    platform.server.set_fault(Fault::Forbidden);
    assert_eq!(send(&platform, &data_id, 0).await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(platform.get("/tags/").await.0, StatusCode::FORBIDDEN);
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

/// The connection's own error, if it is one.
fn io_error(error: &reqwest::Error) -> Option<std::io::ErrorKind> {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        cause = error.source();
    }
    None
}

#[tokio::test]
async fn down_refuses_connections_and_comes_back_on_the_same_port() {
    let control = Some(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    let platform = Platform::start_with(Settings { control, ..Settings::default() }).await;
    let data_id = platform.stream(1).await;
    let control = format!("http://{}/_local/fault", platform.server.control().unwrap());
    let own = platform.request(Method::PUT, "/_local/fault").body("down").send().await.unwrap();
    assert_eq!(own.text().await.unwrap(), "down\n", "the request that takes the listener away is answered");
    let began = Instant::now();
    loop {
        let error = match send(&platform, &data_id, 0).await {
            Err(error) if error.is_connect() => error,
            // The listener goes a moment after the answer.
            other => {
                assert!(began.elapsed() < DEADLINE, "{other:?}");
                continue;
            }
        };
        assert_eq!(io_error(&error), Some(std::io::ErrorKind::ConnectionRefused), "{error:?}");
        break;
    }
    assert_eq!(platform.client.get(&control).send().await.unwrap().text().await.unwrap(), "down\n");
    let stored = platform.server.stored(&data_id).unwrap().len();
    platform.client.put(&control).body("none").send().await.unwrap().error_for_status().unwrap();
    let began = Instant::now();
    while send(&platform, &data_id, 1).await.is_err() {
        assert!(began.elapsed() < DEADLINE);
    }
    assert!(platform.server.stored(&data_id).unwrap().len() >= stored);

    platform.server.faults().set("down for 200ms".parse().unwrap()).unwrap();
    until(|| platform.server.faults().plan().fault == Fault::None).await;
    let began = Instant::now();
    while send(&platform, &data_id, 2).await.is_err() {
        assert!(began.elapsed() < DEADLINE);
    }
    platform.server.stop().await;
}

#[tokio::test]
async fn reset_request_resets_the_connection_in_the_middle_of_the_request() {
    let platform = Platform::start().await;
    let data_id = platform.stream(200_000).await;
    platform.server.set_fault(Fault::ResetRequest);
    let reset = send(&platform, &data_id, 0).await.unwrap_err();
    assert_eq!(io_error(&reset), Some(std::io::ErrorKind::ConnectionReset), "{reset:?}");
    // More than the socket's buffers hold: the client is still writing.
    let many = chunk(&data_id, 1, "t", &vec![(1_763_856_000.125, 1234.5678); 200_000]);
    let request = platform.request(Method::POST, "/tool-state/stream/chunk").json(&many);
    let reset = io_error(&request.send().await.unwrap_err()).unwrap();
    assert!(matches!(reset, std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe), "{reset:?}");
    platform.assert_holds_nothing(&data_id);
    expect_recovery(&platform, &data_id).await;
}

#[tokio::test]
async fn reset_reply_and_truncate_reply_store_and_end_within_the_body() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    for (index, fault) in [(0, Fault::ResetReply), (1, Fault::TruncateReply)] {
        platform.server.set_fault(fault.clone());
        let mut answer = send(&platform, &data_id, index).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let announced = answer.content_length().unwrap();
        let mut come = 0;
        let error = loop {
            match answer.chunk().await {
                Ok(Some(part)) => come += part.len() as u64,
                Ok(None) => panic!("{fault}: the whole answer came"),
                Err(error) => break error,
            }
        };
        assert_eq!(come, announced / 2, "{fault}");
        let reset = io_error(&error) == Some(std::io::ErrorKind::ConnectionReset);
        assert_eq!(reset, fault == Fault::ResetReply, "{fault}: {error:?}");
        assert_eq!(platform.server.stored(&data_id).unwrap()[0].points.len() as i64, index + 1, "{fault}");
    }
    expect_recovery(&platform, &data_id).await;
}

#[tokio::test]
async fn garbage_is_a_success_that_stores_nothing() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    platform.server.set_fault(Fault::Garbage(Garbage::Page(200)));
    let page = send(&platform, &data_id, 0).await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.text().await.unwrap().contains("log in"));
    platform.server.set_fault(Fault::Garbage(Garbage::Page(404)));
    let page = send(&platform, &data_id, 0).await.unwrap();
    assert_eq!((page.status(), page.text().await.unwrap().contains("log in")), (StatusCode::NOT_FOUND, true));
    platform.server.set_fault(Fault::Garbage(Garbage::Json));
    let odd = send(&platform, &data_id, 0).await.unwrap();
    assert_eq!((odd.status(), odd.json().await.unwrap()), (StatusCode::OK, json!({"status": "ok"})));
    platform.assert_holds_nothing(&data_id);
    expect_recovery(&platform, &data_id).await;
}

#[tokio::test]
async fn what_a_request_brings_can_be_stored_although_its_answer_goes_wrong() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    for (index, plan, status) in [(0, "status:504 stored", 504), (1, "garbage stored", 200)] {
        platform.server.faults().set(plan.parse().unwrap()).unwrap();
        assert_eq!(send(&platform, &data_id, index).await.unwrap().status(), status, "{plan}");
        assert_eq!(platform.server.stored(&data_id).unwrap()[0].points.len() as i64, index + 1, "{plan}");
    }
    platform.server.faults().set("hang stored next 1".parse().unwrap()).unwrap();
    let request = platform.request(Method::POST, "/tool-state/stream/chunk").timeout(Duration::from_millis(200));
    let unanswered = request.json(&chunk(&data_id, 2, "t", &[(1.0, 2.0)])).send().await.unwrap_err();
    assert!(unanswered.is_timeout(), "{unanswered:?}");
    until(|| platform.server.stored(&data_id).unwrap()[0].points.len() == 3).await;
    assert_eq!(platform.server.faults().struck(), 1);
    expect_recovery(&platform, &data_id).await;
}

#[tokio::test]
async fn ended_streams_stay_ended_and_refuse_chunks_with_the_status() {
    for status in [400, 404, 409, 410] {
        let platform = Platform::start().await;
        let before = platform.stream(1).await;
        platform.server.set_fault(Fault::Ended(status));
        let after = platform.stream(1).await;
        assert_eq!(send(&platform, &before, 0).await.unwrap().status(), status);
        platform.server.set_fault(Fault::None);
        assert_eq!(send(&platform, &before, 0).await.unwrap().status(), status);
        assert_eq!(platform.finalize(&before).await.0, StatusCode::CONFLICT);
        assert_eq!(platform.found(&before).state.as_str(), "stream_error");
        platform.assert_holds_nothing(&before);
        expect_recovery(&platform, &after).await;
    }
}

#[tokio::test]
async fn refuse_channel_refuses_whole_requests_that_hold_it() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    platform.server.set_fault(Fault::RefuseChannel("bad".into()));
    let series = json!({ "timestamps": [1.0], "values": [2.0] });
    let both = json!({ "data_id": data_id, "chunk_index": 0, "channels": { "t": series, "bad": series } });
    let (status, refused) = platform.post("/tool-state/stream/chunk/multi", both).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused["detail"], "channel `bad` is refused on purpose: a fault is switched on");
    platform.assert_holds_nothing(&data_id);
    assert_eq!(platform.chunk(&data_id, 0, "bad", &[(1.0, 2.0)]).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(send(&platform, &data_id, 0).await.unwrap().status(), StatusCode::OK);
    assert_eq!(platform.server.faults().struck(), 2);
    expect_recovery(&platform, &data_id).await;
}

#[tokio::test]
async fn faults_are_switched_over_http_which_no_fault_hits() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    let put = async |text: &'static str| {
        let answer = platform.client.put(format!("{}/_local/fault", platform.server.url())).body(text);
        let answer = answer.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    assert_eq!(put("hang only chunk next 2").await, (StatusCode::OK, "hang only chunk next 2\n".to_owned()));
    for (text, said) in [
        ("cut", "`cut` is not a fault: expected none, "),
        ("", "`` is not a fault: expected none, "),
        ("hang for 3", "`for 3` can't follow a fault: "),
    ] {
        let (status, answer) = put(text).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.starts_with(said), "{answer}");
    }
    let shown = platform.client.get(format!("{}/_local/fault", platform.server.url())).send().await.unwrap();
    assert_eq!(shown.text().await.unwrap(), "hang only chunk next 2\n", "a text that is none changes nothing");
    for fault in ["reset-request", "cut-reply", "garbage", "unauthorized", "slow:1h"] {
        assert_eq!(put(fault).await.0, StatusCode::OK);
    }
    assert_eq!(put("none").await.0, StatusCode::OK);
    assert_eq!(send(&platform, &data_id, 0).await.unwrap().status(), StatusCode::OK);
    assert_eq!(platform.server.requests().total(), 2, "switching is no call");
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
