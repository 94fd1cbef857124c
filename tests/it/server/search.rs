//! What the catalogue of entries finds.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::*;

const OK: StatusCode = StatusCode::OK;

/// Three streams: with everything, with another sample and finalized, and with nothing.
struct Three {
    platform: Platform,
    ids: [String; 3],
    samples: [String; 2],
}

async fn three() -> Three {
    let platform = Platform::start().await;
    let instrument = json!({ "label": "Main MBE", "name": "Veeco GEN10", "type": "mbe" });
    let number = platform.post("/instruments/synthesis", instrument).await.1["synth_source_id"].clone();
    let mut ids = Vec::new();
    for body in [
        json!({ "stream_name": "Growth 7", "points_per_chunk": 4, "project_id": "a-project", "synth_source_id": number }),
        json!({ "stream_name": "growth 8", "points_per_chunk": 4 }),
        json!({ "stream_name": null, "points_per_chunk": 4 }),
    ] {
        // Two streams of one millisecond could not be told apart by their times.
        let before = now_ms();
        until(|| now_ms() > before).await;
        let (status, created) = platform.post("/tool-state/stream/initialize", body).await;
        assert_eq!(status, OK, "{created}");
        ids.push(created["data_id"].as_str().unwrap().to_owned());
    }
    let mut samples = Vec::new();
    for (name, stream) in [("GaN-001", &ids[0]), ("GaN-002", &ids[1])] {
        let (_, created) = platform.post("/physical_samples/", json!({ "name": name })).await;
        let sample = created["physical_sample_id"].as_str().unwrap().to_owned();
        let link = json!({ "data_ids": [stream], "physical_sample_id": sample });
        assert_eq!(platform.post("/data_entries/physical_sample", link).await.0, OK);
        samples.push(sample);
    }
    let tag = platform.post("/tags/", json!({ "name": "Night shift" })).await.1["id"].clone();
    assert_eq!(platform.post("/tags/data-items/", json!({ "data_ids": [ids[0]], "tag_ids": [tag] })).await.0, OK);
    assert_eq!(platform.finalize(&ids[1]).await.0, OK);
    Three { platform, ids: ids.try_into().unwrap(), samples: samples.try_into().unwrap() }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

impl Three {
    async fn entries(&self, parameters: &[(&str, &str)]) -> Vec<Value> {
        let request = self.platform.request(Method::GET, "/data_entries/").query(parameters);
        let (status, entries) = answer(request.send().await.unwrap()).await;
        assert_eq!(status, OK, "{parameters:?}: {entries}");
        entries.as_array().unwrap().clone()
    }

    /// Which of the three are found, by their places.
    async fn found(&self, parameters: &[(&str, &str)]) -> Vec<usize> {
        let place = |entry: &Value| self.ids.iter().position(|id| entry["data_id"] == json!(id)).unwrap();
        self.entries(parameters).await.iter().map(place).collect()
    }
}

#[tokio::test]
async fn entries_are_found_by_what_they_are_linked_to() {
    let three = three().await;
    let [first, second, _] = &three.ids;
    for (parameters, found) in [
        (&[][..], &[0, 1, 2][..]),
        (&[("include_organization_data", "False"), ("status", "all")], &[0, 1, 2]),
        (&[("data_ids", second)], &[1]),
        (&[("data_ids", second), ("data_ids", first)], &[0, 1]),
        (&[("data_ids", "nowhere")], &[]),
        (&[("physical_sample_ids", &three.samples[0])], &[0]),
        (&[("physical_sample_ids", &three.samples[0]), ("physical_sample_ids", &three.samples[1])], &[0, 1]),
        (&[("project_ids", "a-project")], &[0]),
        (&[("status", "success")], &[1]),
        (&[("status", "stream_active")], &[0, 2]),
        (&[("status", "pending")], &[]),
        (&[("data_type", "tool_state")], &[0, 1, 2]),
        (&[("data_type", "rheed")], &[]),
        (&[("growth_length_min", "1")], &[]),
        (&[("status", "success"), ("physical_sample_ids", &three.samples[0])], &[]),
    ] {
        assert_eq!(three.found(parameters).await, found, "{parameters:?}");
    }
}

#[tokio::test]
async fn keywords_are_looked_for_in_every_field_and_all_of_them() {
    let three = three().await;
    for (keywords, found) in [
        (&["growth"][..], &[0, 1][..]),
        (&["GROWTH 7"], &[0]),
        (&["gan-00"], &[0, 1]),
        (&["night"], &[0]),
        (&["main mbe"], &[0]),
        (&["a-project"], &[0]),
        (&["stream_active"], &[0, 2]),
        (&[&three.ids[2]], &[2]),
        (&["growth", "gan-002"], &[1]),
        (&["growth", "nothing of the kind"], &[]),
    ] {
        let parameters: Vec<_> = keywords.iter().map(|word| ("keywords", *word)).collect();
        assert_eq!(three.found(&parameters).await, found, "{keywords:?}");
    }
}

#[tokio::test]
async fn entries_are_found_by_their_times_which_include_both_ends() {
    let three = three().await;
    let entries = three.entries(&[]).await;
    let at = |place: usize, field: &str| entries[place][field].as_str().unwrap().to_owned();
    let second = at(1, "upload_datetime");
    assert_eq!(three.found(&[("upload_datetime_min", &second)]).await, [1, 2]);
    assert_eq!(three.found(&[("upload_datetime_max", &second)]).await, [0, 1]);
    assert_eq!(three.found(&[("upload_datetime_min", &second), ("upload_datetime_max", &second)]).await, [1]);
    // Without an offset, as Python writes it.
    let naive = second.replace('T', " ").replace('Z', "");
    assert_eq!(three.found(&[("upload_datetime_min", &naive)]).await, [1, 2]);
    // Finalizing was the last that happened.
    let finalized = at(1, "last_updated");
    assert!(finalized > at(2, "last_updated"), "{entries:?}");
    assert_eq!(three.found(&[("last_updated_min", &finalized)]).await, [1]);
    assert_eq!(three.found(&[("last_updated_max", "2001-01-01")]).await, [0_usize; 0]);
}

#[tokio::test]
async fn what_can_not_be_looked_for_is_named() {
    let platform = Platform::start().await;
    for (query, said) in [
        ("status=well", "status is `well`, expected one of success, pending, "),
        ("data_type=metrology", "data_type is `metrology`, expected one of tool_state, rheed, "),
        ("upload_datetime_min=yesterday", "upload_datetime_min is `yesterday`, expected a time such as "),
        ("growth_length_max=long", "growth_length_max is `long`, expected a number of seconds"),
        ("colour=red", "the local platform cannot filter by `colour`"),
    ] {
        let (status, refused) = platform.get(&format!("/data_entries/?{query}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert!(refused["detail"].as_str().unwrap().starts_with(said), "{refused}");
    }
}
