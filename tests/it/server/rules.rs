//! The rules of a stream, and how a breach of each is refused.

use mbe_bridge::server::{Call, Settings, StreamState};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::*;

const OK: StatusCode = StatusCode::OK;
const INVALID: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;

/// Sends a chunk that breaks a rule; expects the words of the refusal, and that nothing was stored.
async fn expect_refused(status: StatusCode, words: &str, path: &str, fill: impl Fn(&str) -> String) {
    let platform = Platform::start().await;
    let data_id = platform.stream(3).await;
    let (got, body) = platform.post_text(path, fill(&data_id)).await;
    let detail = body["detail"].as_str().unwrap();
    assert_eq!(got, status, "{detail}");
    assert!(detail.contains(words), "expected `{words}` in `{detail}`");
    platform.assert_holds_nothing(&data_id);
}

async fn expect_chunk_refused(words: &str, index: &str, channel: &str, timestamps: &str, values: &str) {
    expect_refused(INVALID, words, "/tool-state/stream/chunk", |id| {
        format!(
            r#"{{"data_id":"{id}","chunk_index":{index},"channel_name":{channel},"timestamps":{timestamps},"values":{values}}}"#
        )
    })
    .await;
}

async fn expect_multi_refused(words: &str, channels: &str) {
    expect_refused(INVALID, words, "/tool-state/stream/chunk/multi", |id| {
        format!(r#"{{"data_id":"{id}","chunk_index":0,"channels":{channels}}}"#)
    })
    .await;
}

#[tokio::test]
async fn a_stream_is_created_filled_finalized_and_read_back() {
    let platform = Platform::start().await;
    let data_id = platform.stream(2).await;

    let (status, landed) = platform
        .post(
            "/tool-state/stream/chunk/multi",
            json!({ "data_id": data_id, "chunk_index": 0, "channels": {
                "temperature": { "timestamps": [100.0, 100.25], "values": [580.5, 581.0], "units": "degC" },
                "pressure": { "timestamps": [100.0], "values": [1e-9] },
            }}),
        )
        .await;
    assert_eq!(status, OK);
    let of = |name: &str, total: i64| json!({ "data_id": data_id, "channel_name": name, "chunk_index": 0, "total_points": total });
    assert_eq!(landed, json!([of("pressure", 1), of("temperature", 2)]));

    let (status, landed) = platform.chunk(&data_id, 1, "temperature", &[(100.5, 582.0)]).await;
    assert_eq!(status, OK);
    assert_eq!(
        landed,
        json!({ "data_id": data_id, "channel_name": "temperature", "chunk_index": 1, "total_points": 3 })
    );

    let (status, ended) = platform.finalize(&data_id).await;
    assert_eq!((status, &ended["data_id"]), (OK, &json!(data_id)));
    assert_eq!(ended["processed_data_id"], json!(platform.found(&data_id).processed_data_id));
    assert_eq!(platform.found(&data_id).state, StreamState::Success);

    let (status, series) = platform.get(&format!("/tool-state/{data_id}/timeseries/")).await;
    assert_eq!(status, OK);
    assert_eq!(
        series,
        json!({ "properties": {
            "pressure": {
                "relative_time_seconds": [0.0, null], "unix_timestamp_ms": [100_000, null],
                "values": [1e-9, null], "units": null,
            },
            "temperature": {
                "relative_time_seconds": [0.0, 0.25, 0.5, null], "unix_timestamp_ms": [100_000, 100_250, 100_500, null],
                "values": [580.5, 581.0, 582.0, null], "units": "degC",
            },
        }})
    );
}

#[tokio::test]
async fn the_paths_of_the_documentation_lead_to_the_same_streams() {
    let platform = Platform::start().await;
    let (_, created) = platform.post("/metrology/stream/initialize", json!({ "points_per_chunk": 5 })).await;
    let data_id = created["data_id"].as_str().unwrap();
    let (status, _) = platform.post("/metrology/stream/chunk", chunk(data_id, 0, "t", &[(1.0, 2.0)])).await;
    assert_eq!(status, OK);
    let multi =
        json!({ "data_id": data_id, "chunk_index": 1, "channels": { "t": { "timestamps": [2.0], "values": [3.0] } } });
    assert_eq!(platform.post("/metrology/stream/chunk/multi", multi).await.0, OK);
    assert_eq!(platform.post(&format!("/metrology/stream/{data_id}/finalize"), Value::Null).await.0, OK);
    let (_, series) = platform.get(&format!("/tool-state/{data_id}/timeseries/")).await;
    assert_eq!(series, platform.get(&format!("/metrology/{data_id}/timeseries/")).await.1);
    assert_eq!(series["properties"]["t"]["values"], json!([2.0, null, 3.0, null]));
}

#[tokio::test]
async fn a_chunk_sent_again_replaces_its_slice() {
    let platform = Platform::start().await;
    let data_id = platform.stream(3).await;
    for _ in 0..2 {
        let (_, landed) = platform.chunk(&data_id, 4, "t", &[(1.0, 10.0), (2.0, 20.0)]).await;
        assert_eq!(landed["total_points"], json!(2));
    }
    let (_, landed) = platform.chunk(&data_id, 4, "t", &[(1.5, 15.0)]).await;
    assert_eq!(landed["total_points"], json!(1));
    assert_eq!(points(&platform.server.stored(&data_id).unwrap()[0]), [(4, 1.5, 15.0)]);
}

#[tokio::test]
async fn chunks_arrive_in_any_order() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    for index in [2, 0, 3, 1] {
        let at = f64::from(i32::try_from(index).unwrap());
        platform.chunk(&data_id, index, "t", &[(at, at * 10.0)]).await;
    }
    let stored = platform.server.stored(&data_id).unwrap();
    assert_eq!(points(&stored[0]), [(0, 0.0, 0.0), (1, 1.0, 10.0), (2, 2.0, 20.0), (3, 3.0, 30.0)]);
}

#[tokio::test]
async fn units_stay_until_others_are_sent() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    for (index, units, kept) in [(0, None, None), (1, Some("mbar"), Some("mbar")), (2, None, Some("mbar"))] {
        let mut body = chunk(&data_id, index, "p", &[(1.0, 1.0)]);
        if let Some(units) = units {
            body["units"] = json!(units);
        }
        assert_eq!(platform.post("/tool-state/stream/chunk", body).await.0, OK);
        assert_eq!(platform.server.stored(&data_id).unwrap()[0].unit.as_deref(), kept);
    }
}

#[tokio::test]
async fn a_null_value_is_a_missing_reading_with_a_time() {
    let platform = Platform::start().await;
    let data_id = platform.stream(2).await;
    let mut body = chunk(&data_id, 0, "t", &[(1.0, 5.0), (2.0, 6.0)]);
    body["values"][0] = Value::Null;
    let (status, landed) = platform.post("/tool-state/stream/chunk", body).await;
    assert_eq!((status, &landed["total_points"]), (OK, &json!(2)));
    assert!(platform.server.stored(&data_id).unwrap()[0].points[0].value.is_nan());
    let (_, series) = platform.get(&format!("/tool-state/{data_id}/timeseries/")).await;
    assert_eq!(series["properties"]["t"]["values"], json!([null, 6.0]));
    assert_eq!(series["properties"]["t"]["unix_timestamp_ms"], json!([1000, 2000]));
}

#[tokio::test]
async fn a_null_stamp_is_refused() {
    let words = "timestamps[1] is null, expected a finite number";
    expect_chunk_refused(words, "0", r#""t""#, "[1.0, null]", "[1.0, 2.0]").await;
    let words = "channel `b`: timestamps[0] is null";
    expect_multi_refused(words, r#"{"a":{"timestamps":[1],"values":[1]},"b":{"timestamps":[null],"values":[1]}}"#)
        .await;
}

#[tokio::test]
async fn a_stamp_or_value_that_no_number_holds_is_refused() {
    expect_chunk_refused("timestamps[1]: number out of range", "0", r#""t""#, "[1.0, 1e999]", "[1.0, 2.0]").await;
    expect_chunk_refused("values[0]: number out of range", "0", r#""t""#, "[1.0]", "[-1e999]").await;
    expect_chunk_refused("values[1]: invalid type: string \"x\"", "0", r#""t""#, "[1, 2]", r#"[1, "x"]"#).await;
    expect_chunk_refused("timestamps[0]: invalid type: boolean", "0", r#""t""#, "[true]", "[1]").await;
}

#[tokio::test]
async fn text_that_is_not_json_is_refused() {
    for body in
        ["", "{", r#"{"data_id":"x","chunk_index":0,"channel_name":"t","timestamps":[NaN],"values":[1]}"#, "\u{1}"]
    {
        expect_refused(StatusCode::BAD_REQUEST, "the body is not JSON", "/tool-state/stream/chunk", |_| body.into())
            .await;
    }
}

#[tokio::test]
async fn json_of_another_shape_is_refused() {
    let path = "/tool-state/stream/chunk";
    expect_refused(INVALID, "missing field `chunk_index`", path, |id| format!(r#"{{"data_id":"{id}"}}"#)).await;
    expect_refused(INVALID, "expected an object with data_id, chunk_index", path, |_| "7".into()).await;
    expect_multi_refused("expected an object with a channel for each name", "[]").await;
    expect_multi_refused("channel `t`: missing field `values`", r#"{"t":{"timestamps":[1]}}"#).await;
}

#[tokio::test]
async fn unequal_lengths_are_refused() {
    let words = "channel `t`: 2 timestamps and 1 values, expected the same number";
    expect_chunk_refused(words, "0", r#""t""#, "[1, 2]", "[1]").await;
    expect_multi_refused(words, r#"{"a":{"timestamps":[1],"values":[1]},"t":{"timestamps":[1,2],"values":[1]}}"#).await;
}

#[tokio::test]
async fn an_empty_channel_refuses_the_whole_chunk() {
    let words = "channel `t` is empty, expected at least one point";
    expect_chunk_refused(words, "0", r#""t""#, "[]", "[]").await;
    expect_multi_refused(words, r#"{"a":{"timestamps":[1],"values":[1]},"t":{"timestamps":[],"values":[]}}"#).await;
    expect_multi_refused("chunk 0 has no channels", "{}").await;
}

#[tokio::test]
async fn a_channel_that_overruns_its_slice_refuses_the_whole_chunk() {
    let words = "channel `t`: chunk 2 has 4 points, expected at most 3 (points_per_chunk)";
    expect_chunk_refused(words, "2", r#""t""#, "[1,2,3,4]", "[1,2,3,4]").await;
    let words = "channel `t`: chunk 0 has 4 points, expected at most 3 (points_per_chunk)";
    expect_multi_refused(
        words,
        r#"{"a":{"timestamps":[1],"values":[1]},"t":{"timestamps":[1,2,3,4],"values":[1,2,3,4]}}"#,
    )
    .await;
}

#[tokio::test]
async fn a_channel_that_comes_twice_is_refused() {
    let words = "channel `t` comes twice in chunk 0";
    expect_multi_refused(words, r#"{"t":{"timestamps":[1],"values":[1]},"t":{"timestamps":[2],"values":[2]}}"#).await;
}

#[tokio::test]
async fn channel_names_have_1_to_255_characters() {
    expect_chunk_refused("a channel has no name", "0", r#""""#, "[1]", "[1]").await;
    let long = format!("\"{}\"", "µ".repeat(256));
    expect_chunk_refused("has 256 characters, expected 1 to 255", "0", &long, "[1]", "[1]").await;

    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    let longest = "µ".repeat(255);
    assert_eq!(platform.chunk(&data_id, 0, &longest, &[(1.0, 1.0)]).await.0, OK);
    assert_eq!(platform.server.stored(&data_id).unwrap()[0].name, longest);
}

#[tokio::test]
async fn chunks_count_from_zero() {
    expect_chunk_refused("chunk_index is -1, expected 0 or more", "-1", r#""t""#, "[1]", "[1]").await;
    expect_chunk_refused("chunk_index: invalid type: floating point", "0.5", r#""t""#, "[1]", "[1]").await;
    let last = i64::MAX.to_string();
    expect_chunk_refused("is too large for slices of 3 points", &last, r#""t""#, "[1]", "[1]").await;
}

#[tokio::test]
async fn slices_have_a_width() {
    let platform = Platform::start().await;
    for (width, words) in [(json!(0), "points_per_chunk is 0, expected 1 or more"), (json!("x"), "points_per_chunk: ")]
    {
        let (status, body) = platform.post("/tool-state/stream/initialize", json!({ "points_per_chunk": width })).await;
        assert_eq!(status, INVALID);
        assert!(body["detail"].as_str().unwrap().contains(words), "{body}");
    }
    assert_eq!(platform.server.streams().unwrap(), []);
}

#[tokio::test]
async fn an_unknown_stream_is_not_found() {
    let platform = Platform::start().await;
    let wanted = json!("no stream has the data_id `nowhere`");
    for (status, body) in [
        platform.chunk("nowhere", 0, "t", &[(1.0, 1.0)]).await,
        platform.finalize("nowhere").await,
        platform.get("/tool-state/nowhere/timeseries/").await,
    ] {
        assert_eq!((status, &body["detail"]), (StatusCode::NOT_FOUND, &wanted));
    }
}

#[tokio::test]
async fn a_finalized_stream_takes_no_more_data() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    assert_eq!(platform.finalize(&data_id).await.0, OK);
    let (status, body) = platform.chunk(&data_id, 0, "t", &[(1.0, 1.0)]).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(body["detail"].as_str().unwrap().contains("is finalized (status success)"), "{body}");
    platform.assert_holds_nothing(&data_id);
    assert_eq!(platform.finalize(&data_id).await.0, OK, "the first answer may have been lost");
}

#[tokio::test]
async fn a_silent_stream_ends_in_error() {
    let settings = Settings { silence: Duration::from_millis(60), ..Settings::default() };
    let platform = Platform::start_with(settings).await;
    let data_id = platform.stream(1).await;
    until(|| platform.found(&data_id).state == StreamState::Error).await;
    let (status, body) = platform.chunk(&data_id, 0, "t", &[(1.0, 1.0)]).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(body["detail"].as_str().unwrap().contains("(status stream_error)"), "{body}");
    assert_eq!(platform.finalize(&data_id).await.0, StatusCode::CONFLICT);
    platform.assert_holds_nothing(&data_id);
}

#[tokio::test]
async fn a_test_can_end_a_stream() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    platform.server.end_stream(&data_id).unwrap();
    assert_eq!(platform.chunk(&data_id, 0, "t", &[(1.0, 1.0)]).await.0, StatusCode::CONFLICT);
    let unknown = platform.server.end_stream("nowhere").unwrap_err();
    assert_eq!(unknown.to_string(), "the platform has no stream `nowhere`");
}

#[tokio::test]
async fn every_call_but_the_clock_needs_the_key() {
    let settings = Settings { api_key: Some(KEY.to_owned().into()), ..Settings::default() };
    let platform = Platform::start_with(settings).await;
    let url = |path: &str| format!("{}{path}", platform.server.url());
    for path in [
        "/tags/",
        "/physical_samples/",
        "/physical_samples/x/timeseries/",
        "/instruments/synthesis",
        "/data_entries/",
        "/projects/",
        "/projects/x/physical_samples",
        "/summary/x",
        "/changepoints/",
        "/tool-state/x/timeseries/",
    ] {
        let (status, body) = answer(platform.client.get(url(path)).send().await.unwrap()).await;
        assert_eq!(
            (status, &body["detail"]),
            (StatusCode::UNAUTHORIZED, &json!("no API key: the header X-API-KEY is missing or empty"),)
        );
        let wrong = platform.client.get(url(path)).header("X-API-KEY", "a-kez").send().await.unwrap();
        let (status, body) = answer(wrong).await;
        assert_eq!(
            (status, &body["detail"]),
            (StatusCode::UNAUTHORIZED, &json!("the API key in X-API-KEY is not known"),)
        );
    }
    let (status, _) = platform.post("/tool-state/stream/initialize", json!({ "points_per_chunk": 1 })).await;
    assert_eq!(status, OK);
    assert_eq!(platform.client.get(url("/gateway/time")).send().await.unwrap().status(), OK);
    assert!(!format!("{:?}", platform.server).contains(KEY));
}

#[tokio::test]
async fn without_an_expected_key_any_but_an_empty_one_will_do() {
    let platform = Platform::start().await;
    assert_eq!(platform.get("/tags/").await.0, OK);
    let empty = platform.client.get(format!("{}/tags/", platform.server.url())).header("X-API-KEY", "");
    assert_eq!(empty.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let platform = Platform::start_with(Settings { max_body: 400_000, ..Settings::default() }).await;
    let data_id = platform.stream(1).await;
    let mut body = chunk(&data_id, 0, "t", &[(1.0, 1.0)]).to_string();
    body.push_str(&" ".repeat(400_000 - body.len()));
    assert_eq!(platform.post_text("/tool-state/stream/chunk", body.as_str()).await.0, OK);
    for more in [1, 1_100_000] {
        let (status, refused) = platform.post_text("/tool-state/stream/chunk", body.clone() + &" ".repeat(more)).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(refused["detail"], json!("the body is larger than 400000 bytes"));
    }
}

#[tokio::test]
async fn a_chunk_of_32_channels_and_10000_points_is_taken() {
    let platform = Platform::start().await;
    let data_id = platform.stream(10_000).await;
    let stamps: Vec<f64> = (0..10_000).map(|i| 1_763_856_000.0 + f64::from(i) * 0.1).collect();
    let values: Vec<f64> = (0..10_000).map(|i| f64::from(i).sin()).collect();
    let channels: serde_json::Map<String, Value> = (0..32)
        .map(|channel| (format!("channel {channel:02}"), json!({ "timestamps": stamps, "values": values })))
        .collect();
    let body = json!({ "data_id": data_id, "chunk_index": 0, "channels": channels });
    let (status, landed) = platform.post("/tool-state/stream/chunk/multi", body).await;
    assert_eq!((status, landed.as_array().unwrap().len()), (OK, 32));
    let stored = platform.server.stored(&data_id).unwrap();
    assert_eq!(stored.len(), 32);
    for channel in stored {
        let same = channel.points.iter().zip(stamps.iter().zip(&values));
        assert_eq!(channel.points.len(), 10_000);
        assert!(same.into_iter().all(|(point, (at, value))| point.unix_seconds == *at && point.value == *value));
    }
}

#[tokio::test]
async fn the_clock_is_not_cached_and_can_be_set_wrong() {
    let platform = Platform::start().await;
    let response = platform.request(Method::GET, "/gateway/time").send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "no-store");
    let (_, right) = answer(response).await;
    let (received, sent) =
        (right["receivedAtUnixMs"].as_f64().unwrap(), right["transmittedAtUnixMs"].as_f64().unwrap());
    assert!(received <= sent && sent - received < 1000.0);

    platform.server.set_clock_ahead(90_000_000_000);
    let (_, wrong) = platform.get("/gateway/time").await;
    let ahead = wrong["receivedAtUnixMs"].as_f64().unwrap() - sent;
    assert!((90_000.0..100_000.0).contains(&ahead), "{ahead}");
}

#[tokio::test]
async fn what_is_no_call_says_so() {
    let platform = Platform::start().await;
    let (status, body) = platform.get("/nowhere").await;
    assert_eq!((status, &body["detail"]), (StatusCode::NOT_FOUND, &json!("this platform has no call GET /nowhere")));
    let (status, _) = platform.post("//tool-state/stream/initialize", json!({ "points_per_chunk": 1 })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, body) = platform.get("/tool-state/stream/chunk").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(body["detail"], json!("/tool-state/stream/chunk does not take GET"));
    let (status, _) = platform.post("/gateway/time", Value::Null).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn requests_are_counted_by_call() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    platform.chunk(&data_id, 0, "t", &[(1.0, 1.0)]).await;
    platform.chunk(&data_id, 0, "t", &[]).await;
    platform.get("/gateway/time").await;
    platform.get("/nowhere").await;
    let requests = platform.server.requests();
    let counts =
        [Call::Initialize, Call::Chunk, Call::Time, Call::Unknown, Call::Finalize].map(|call| requests.of(call));
    assert_eq!(counts, [1, 2, 1, 1, 0]);
    assert_eq!(requests.total(), 5);
}
