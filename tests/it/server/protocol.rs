//! Every call of the ingest API in the order in which a streamer makes them: what is sent, and what the answer has to hold.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::*;

/// The fields of an object, sorted.
fn fields(object: &Value) -> Vec<&str> {
    let mut fields: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    fields
}

async fn posted(platform: &Platform, path: &str, body: Value) -> Value {
    let (status, answered) = platform.post(path, body).await;
    assert_eq!(status, StatusCode::OK, "{path}: {answered}");
    answered
}

async fn got(platform: &Platform, path: &str) -> Value {
    let (status, answered) = platform.get(path).await;
    assert_eq!(status, StatusCode::OK, "{path}: {answered}");
    answered
}

#[tokio::test]
async fn every_call_is_answered_as_the_protocol_has_it() {
    let platform = Platform::start().await;
    for prefix in ["/tool-state", "/metrology"] {
        let time = got(&platform, "/gateway/time").await;
        assert_eq!(fields(&time), ["receivedAtUnixMs", "transmittedAtUnixMs"]);
        assert!(time["receivedAtUnixMs"].as_f64() <= time["transmittedAtUnixMs"].as_f64());

        let instrument = json!({ "label": "Main MBE", "name": "Veeco GEN10", "type": "mbe", "serial_id": null });
        let created = posted(&platform, "/instruments/synthesis", instrument).await;
        let number = created["synth_source_id"].as_i64().unwrap();
        let listed = got(&platform, "/instruments/synthesis").await;
        let listed = listed.as_array().unwrap().iter().find(|one| one["synth_source_id"] == json!(number)).unwrap();
        for field in ["source_name", "synth_source_type", "source_manufacturer", "source_model"] {
            assert!(listed[field].is_string(), "{listed}");
        }

        let name = format!("GaN {prefix}");
        let created = posted(&platform, "/physical_samples/", json!({ "name": name })).await;
        let sample = created["physical_sample_id"].as_str().unwrap();
        let samples = got(&platform, "/physical_samples/").await;
        assert!(samples.as_array().unwrap().iter().any(|one| one["id"] == json!(sample) && one["name"] == json!(name)));
        let (status, taken) = platform.post("/physical_samples/", json!({ "name": name })).await;
        assert_eq!((status, &taken["detail"]["physical_sample_id"]), (StatusCode::CONFLICT, &json!(sample)));
        let tag = posted(&platform, "/tags/", json!({ "name": name })).await["id"].clone();
        let tags = got(&platform, "/tags/").await;
        assert!(tags.as_array().unwrap().contains(&json!({ "id": tag, "name": name })), "{tags}");
        assert_eq!(platform.post("/tags/", json!({ "name": name })).await.0, StatusCode::BAD_REQUEST);

        let stream = json!({
            "stream_name": "growth", "synth_source_id": number, "points_per_chunk": 2, "project_id": "a-project",
        });
        let created = posted(&platform, &format!("{prefix}/stream/initialize"), stream).await;
        assert_eq!(fields(&created), ["data_id", "processed_data_id"]);
        let data_id = created["data_id"].as_str().unwrap();

        let link = json!({ "data_ids": [data_id], "physical_sample_id": sample });
        posted(&platform, "/data_entries/physical_sample", link).await;
        let track = json!({ "physical_sample_id": sample, "set_active": true });
        posted(&platform, "/projects/a-project/configuration/tracking_samples", track).await;
        posted(&platform, "/tags/data-items/", json!({ "data_ids": [data_id], "tag_ids": [tag] })).await;

        let single = json!({
            "data_id": data_id, "chunk_index": 0, "channel_name": "t", "timestamps": [1.5, 2.5], "values": [20.0, 20.5],
            "units": "degC",
        });
        assert_eq!(
            posted(&platform, &format!("{prefix}/stream/chunk"), single).await,
            json!({ "data_id": data_id, "channel_name": "t", "chunk_index": 0, "total_points": 2 }),
        );
        let series = |value: f64| json!({ "timestamps": [3.5], "values": [value] });
        let multi =
            json!({ "data_id": data_id, "chunk_index": 1, "channels": { "t": series(21.0), "p": series(1e-9) } });
        assert_eq!(
            posted(&platform, &format!("{prefix}/stream/chunk/multi"), multi).await,
            json!([
                { "data_id": data_id, "channel_name": "p", "chunk_index": 1, "total_points": 1 },
                { "data_id": data_id, "channel_name": "t", "chunk_index": 1, "total_points": 3 },
            ]),
        );
        let series = got(&platform, &format!("{prefix}/{data_id}/timeseries/")).await;
        assert_eq!(
            series["properties"]["t"],
            json!({
                "relative_time_seconds": [0.0, 1.0, 2.0, null], "unix_timestamp_ms": [1500, 2500, 3500, null],
                "values": [20.0, 20.5, 21.0, null], "units": "degC",
            }),
        );
        assert_eq!(series["properties"]["p"]["units"], Value::Null);

        let of_stream = format!("/data_entries/?data_ids={data_id}");
        assert_eq!(got(&platform, &of_stream).await[0]["pipeline_status"], json!("stream_active"));
        let finalize = platform.request(Method::POST, &format!("{prefix}/stream/{data_id}/finalize"));
        assert_eq!(answer(finalize.send().await.unwrap()).await, (StatusCode::OK, created.clone()));
        assert_eq!(got(&platform, &of_stream).await[0]["pipeline_status"], json!("success"));
        assert_eq!(platform.chunk(data_id, 2, "t", &[(4.5, 1.0)]).await.0, StatusCode::CONFLICT);

        let delete = format!("/instruments/synthesis?synthesis_instrument_ids={number}");
        let deleted = answer(platform.request(Method::DELETE, &delete).send().await.unwrap()).await;
        assert_eq!(deleted, (StatusCode::NO_CONTENT, Value::Null));
    }
}
