//! The calls about what the real platform makes of the data. Nothing is analysed here, so each is answered as for data whose
//! analysis has found nothing; files are not taken at all, and that is said.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Call;
use super::platform::Platform;
use super::refusal::Refusal;
use super::routes::{Answer, Segment, Shared, gated};
use super::store::Sample;

/// Each of them.
pub(super) fn routes(platform: &Arc<Platform>) -> Router<Arc<Platform>> {
    let read = |handler| gated(platform, Call::ReadAnalysis, handler);
    Router::new()
        .route("/physical_samples/{sample_id}/timeseries/", read(get(sample_series)))
        .route("/physical_samples/{sample_id}/process_steps", read(get(process_steps)))
        .route("/physical_samples/{sample_id}/annotations/", read(get(annotations)))
        .route("/summary/{data_id}", read(get(summary)))
        .route("/changepoints/", read(get(changepoints)))
        .route("/data_entries/raw_data/staged/upload_urls/", gated(platform, Call::UploadFile, post(upload)))
}

/// The answer, if there is such a sample.
async fn of_sample(platform: Arc<Platform>, sample: String, answer: Value) -> Answer<Value> {
    platform.transact(move |from, _| Sample::expect(from, &sample)).await.map(|()| Json(answer))
}

async fn sample_series(State(platform): Shared, Segment(sample): Segment) -> Answer<Value> {
    of_sample(platform, sample, json!({ "properties": [] })).await
}

async fn process_steps(State(platform): Shared, Segment(sample): Segment) -> Answer<Value> {
    of_sample(platform, sample, json!({ "process_steps": [] })).await
}

async fn annotations(State(platform): Shared, Segment(sample): Segment) -> Answer<Value> {
    of_sample(platform, sample, json!([])).await
}

async fn summary(State(platform): Shared, Segment(data_id): Segment) -> Answer<Value> {
    let known = platform.transact(move |from, view| view.number(from, &data_id)).await;
    known.map(|_| Json(json!({ "summary": null, "task_status": "not_found", "workflow_id": null })))
}

async fn changepoints() -> Json<Value> {
    Json(json!({ "changepoints": [] }))
}

async fn upload() -> Refusal {
    Refusal::new(StatusCode::NOT_IMPLEMENTED, "the local platform takes streams of time series only, and no files")
}
