//! What streams are linked to.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::*;

const OK: StatusCode = StatusCode::OK;

fn id(created: &Value, field: &str) -> String {
    created[field].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn growth_instruments_are_created_listed_and_deleted() {
    let platform = Platform::start().await;
    assert_eq!(platform.get("/instruments/synthesis").await, (OK, json!([])));
    let new = json!({ "label": "Main MBE", "name": "Veeco GEN10", "type": "mbe", "serial_id": null });
    let (status, created) = platform.post("/instruments/synthesis", new).await;
    assert_eq!(status, OK);
    let number = created["synth_source_id"].as_i64().unwrap();
    let (_, listed) = platform.get("/instruments/synthesis").await;
    assert_eq!(
        listed,
        json!([{ "synth_source_id": number, "source_name": "Main MBE", "synth_source_type": "mbe",
            "source_manufacturer": "Veeco", "source_model": "GEN10" }])
    );

    let stream = json!({ "points_per_chunk": 1, "synth_source_id": number });
    let (status, started) = platform.post("/tool-state/stream/initialize", stream).await;
    assert_eq!(status, OK);
    assert_eq!(platform.found(&id(&started, "data_id")).synth_source_id, Some(number));

    let delete = |id: String| {
        platform.request(Method::DELETE, &format!("/instruments/synthesis?synthesis_instrument_ids={id}")).send()
    };
    assert_eq!(answer(delete(number.to_string()).await.unwrap()).await.0, StatusCode::NO_CONTENT);
    assert_eq!(answer(delete(number.to_string()).await.unwrap()).await.0, StatusCode::NOT_FOUND);
    assert_eq!(answer(delete("x".into()).await.unwrap()).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(platform.get("/instruments/synthesis").await.1, json!([]));
}

#[tokio::test]
async fn a_growth_instrument_has_a_known_type() {
    let platform = Platform::start().await;
    let new = json!({ "label": "Main MBE", "name": "Veeco GEN10", "type": "oven" });
    let (status, refused) = platform.post("/instruments/synthesis", new).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused["detail"], json!("type is `oven`, expected one of mbe, cvd, pvd, sputter, ald, pld"));
}

#[tokio::test]
async fn an_unknown_growth_instrument_creates_no_stream() {
    let platform = Platform::start().await;
    let stream = json!({ "points_per_chunk": 1, "synth_source_id": 42 });
    let (status, refused) = platform.post("/tool-state/stream/initialize", stream).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("synth_source_id 42 is no growth instrument of this platform (known: none yet)"),
        "{detail}"
    );
    assert_eq!(platform.server.streams().unwrap(), []);
}

#[tokio::test]
async fn a_sample_is_created_once_and_its_name_leads_to_it() {
    let platform = Platform::start().await;
    let (status, created) = platform.post("/physical_samples/", json!({ "name": " GaN-001 " })).await;
    assert_eq!(status, OK);
    let sample = id(&created, "physical_sample_id");
    let (status, taken) = platform.post("/physical_samples/", json!({ "name": "gan-001" })).await;
    assert_eq!((status, &taken["detail"]["physical_sample_id"]), (StatusCode::CONFLICT, &json!(sample)));
    let (status, _) = platform.post("/physical_samples/", json!({ "name": " " })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let (_, listed) = platform.get("/physical_samples/").await;
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!((&listed[0]["id"], &listed[0]["name"]), (&json!(sample), &json!("GaN-001")));
}

#[tokio::test]
async fn a_stream_is_linked_to_sample_project_and_tags() {
    let platform = Platform::start().await;
    let stream = json!({ "stream_name": "g", "points_per_chunk": 1, "project_id": "a-project" });
    let (_, started) = platform.post("/tool-state/stream/initialize", stream).await;
    let data_id = id(&started, "data_id");
    let sample = id(&platform.post("/physical_samples/", json!({ "name": "GaN-001" })).await.1, "physical_sample_id");
    let link = json!({ "data_ids": [data_id], "physical_sample_id": sample });
    assert_eq!(platform.post("/data_entries/physical_sample", link).await.0, OK);
    assert!(!platform.found(&data_id).tracked);
    let track = json!({ "physical_sample_id": sample, "set_active": true });
    let path = "/projects/a-project/configuration/tracking_samples";
    assert_eq!(platform.post(path, track).await.0, OK);
    let mut tags = Vec::new();
    for name in ["growth", "GaN"] {
        tags.push(id(&platform.post("/tags/", json!({ "name": name })).await.1, "id"));
    }
    for _ in 0..2 {
        let attach = json!({ "data_ids": [data_id], "tag_ids": tags });
        assert_eq!(platform.post("/tags/data-items/", attach).await.0, OK);
    }

    let found = platform.found(&data_id);
    assert_eq!(found.sample.as_deref(), Some("GaN-001"));
    assert_eq!(found.project_id.as_deref(), Some("a-project"));
    assert_eq!(found.tags, ["GaN", "growth"]);
    assert!(found.tracked);

    let (_, entries) = platform.get(&format!("/data_entries/?data_ids={data_id}&include_organization_data=True")).await;
    let entry = &entries[0];
    assert_eq!(entry["char_source_type"], json!("tool_state"));
    assert_eq!(entry["pipeline_status"], json!("stream_active"));
    assert_eq!(entry["physical_sample_name"], json!("GaN-001"));
    assert_eq!(entry["tags"], json!(["GaN", "growth"]));
    let of_sample = platform.get(&format!("/data_entries/?physical_sample_ids={sample}")).await.1;
    assert_eq!(of_sample, entries);
    assert_eq!(platform.get("/data_entries/?status=success").await.1, json!([]));
}

#[tokio::test]
async fn a_tag_is_created_once() {
    let platform = Platform::start().await;
    let (_, created) = platform.post("/tags/", json!({ "name": "growth" })).await;
    let (status, refused) = platform.post("/tags/", json!({ "name": "Growth" })).await;
    assert_eq!((status, &refused["detail"]), (StatusCode::BAD_REQUEST, &json!("a tag named `Growth` exists")));
    assert_eq!(platform.get("/tags/").await.1, json!([{ "id": created["id"], "name": "growth" }]));
}

#[tokio::test]
async fn links_to_nothing_link_nothing() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    let sample = id(&platform.post("/physical_samples/", json!({ "name": "s" })).await.1, "physical_sample_id");
    let tag = id(&platform.post("/tags/", json!({ "name": "t" })).await.1, "id");
    let nowhere = "nowhere";
    for (path, body) in [
        ("/data_entries/physical_sample", json!({ "data_ids": [data_id], "physical_sample_id": nowhere })),
        ("/data_entries/physical_sample", json!({ "data_ids": [data_id, nowhere], "physical_sample_id": sample })),
        ("/projects/p/configuration/tracking_samples", json!({ "physical_sample_id": nowhere, "set_active": true })),
        ("/tags/data-items/", json!({ "data_ids": [data_id], "tag_ids": [tag, nowhere] })),
        ("/tags/data-items/", json!({ "data_ids": [data_id, nowhere], "tag_ids": [tag] })),
    ] {
        let (status, refused) = platform.post(path, body).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(refused["detail"].as_str().unwrap().contains("`nowhere`"), "{refused}");
    }
    let found = platform.found(&data_id);
    assert_eq!((found.sample, found.tags), (None, vec![]));
}

#[tokio::test]
async fn a_project_is_there_as_soon_as_something_names_it() {
    let platform = Platform::start().await;
    assert_eq!(platform.get("/projects/").await, (OK, json!([])));
    let sample = id(&platform.post("/physical_samples/", json!({ "name": "GaN-001" })).await.1, "physical_sample_id");
    let track = json!({ "physical_sample_id": sample, "set_active": true });
    assert_eq!(platform.post("/projects/tracked/configuration/tracking_samples", track).await.0, OK);
    let stream = json!({ "stream_name": "g", "points_per_chunk": 1, "project_id": "streamed" });
    platform.post("/tool-state/stream/initialize", stream).await;

    let (_, projects) = platform.get("/projects/").await;
    let rows: Vec<_> = projects.as_array().unwrap().iter().collect();
    assert_eq!(rows.iter().map(|row| row["id"].as_str().unwrap()).collect::<Vec<_>>(), ["streamed", "tracked"]);
    assert_eq!(rows.iter().map(|row| &row["physical_sample_count"]).collect::<Vec<_>>(), [&json!(0), &json!(1)]);
    assert!(rows[0]["last_updated"].is_string() && rows[1]["last_updated"].is_null(), "{projects}");

    assert_eq!(platform.get("/projects/streamed/physical_samples").await, (OK, json!([])));
    let (_, of_project) = platform.get("/projects/tracked/physical_samples").await;
    assert_eq!(of_project, platform.get("/physical_samples/").await.1);
    assert_eq!(of_project[0]["projects"], json!([{ "id": "tracked", "name": "tracked" }]));
    assert_eq!(platform.get("/projects/nowhere/physical_samples").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn nothing_is_analysed_and_no_file_is_taken() {
    let platform = Platform::start().await;
    let data_id = platform.stream(1).await;
    let (_, created) = platform.post("/physical_samples/", json!({ "name": "GaN-001" })).await;
    let sample = id(&created, "physical_sample_id");
    assert_eq!(created["id"], created["physical_sample_id"]);
    for (what, answer) in [
        ("timeseries/", json!({ "properties": [] })),
        ("process_steps", json!({ "process_steps": [] })),
        ("annotations/", json!([])),
    ] {
        assert_eq!(platform.get(&format!("/physical_samples/{sample}/{what}")).await, (OK, answer));
        assert_eq!(platform.get(&format!("/physical_samples/nowhere/{what}")).await.0, StatusCode::NOT_FOUND);
    }
    let none = json!({ "summary": null, "task_status": "not_found", "workflow_id": null });
    assert_eq!(platform.get(&format!("/summary/{data_id}")).await, (OK, none));
    assert_eq!(platform.get("/summary/nowhere").await.0, StatusCode::NOT_FOUND);
    assert_eq!(platform.get(&format!("/changepoints/?data_ids={data_id}")).await, (OK, json!({ "changepoints": [] })));
    let (status, refused) = platform.post("/data_entries/raw_data/staged/upload_urls/", json!({})).await;
    assert_eq!(status, StatusCode::NOT_IMPLEMENTED);
    assert!(refused["detail"].as_str().unwrap().ends_with("and no files"), "{refused}");
}
