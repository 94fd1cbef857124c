//! The local platform over real HTTP on loopback: its rules, its memory, its faults.

mod catalogue;
mod commands;
mod faults;
mod protocol;
mod rules;
mod search;
mod storage;
mod tls;

use std::time::Duration;

use mbe_bridge::server::{Server, Settings, StoredChannel, StoredStream};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

const KEY: &str = "a-key";

/// Nothing here takes longer unless it is broken.
const DEADLINE: Duration = Duration::from_secs(10);

/// A platform and a client of it.
struct Platform {
    server: Server,
    client: Client,
}

impl Platform {
    async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    async fn start_with(settings: Settings) -> Self {
        // Another test may have installed it already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let server = Server::start(settings).await.unwrap();
        let client = Client::builder().timeout(DEADLINE).build().unwrap();
        Self { server, client }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.server.url())).header("X-API-KEY", KEY)
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path).send().await.unwrap()).await
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        answer(self.request(Method::POST, path).json(&body).send().await.unwrap()).await
    }

    async fn post_text(&self, path: &str, body: impl Into<String>) -> (StatusCode, Value) {
        answer(self.request(Method::POST, path).body(body.into()).send().await.unwrap()).await
    }

    /// Creates a stream with slices of this many points, and returns its id.
    async fn stream(&self, points_per_chunk: usize) -> String {
        let body = json!({ "stream_name": "growth", "points_per_chunk": points_per_chunk, "project_id": null });
        let (status, created) = self.post("/tool-state/stream/initialize", body).await;
        assert_eq!(status, StatusCode::OK, "{created}");
        created["data_id"].as_str().unwrap().to_owned()
    }

    async fn chunk(&self, data_id: &str, index: i64, channel: &str, points: &[(f64, f64)]) -> (StatusCode, Value) {
        self.post("/tool-state/stream/chunk", chunk(data_id, index, channel, points)).await
    }

    async fn finalize(&self, data_id: &str) -> (StatusCode, Value) {
        let path = format!("/tool-state/stream/{data_id}/finalize");
        answer(self.request(Method::POST, &path).send().await.unwrap()).await
    }

    /// Expects that nothing is stored of a stream.
    fn assert_holds_nothing(&self, data_id: &str) {
        assert_eq!(self.server.stored(data_id).unwrap(), []);
    }

    fn found(&self, data_id: &str) -> StoredStream {
        self.server.streams().unwrap().into_iter().find(|stream| stream.data_id == data_id).unwrap()
    }
}

fn chunk(data_id: &str, index: i64, channel: &str, points: &[(f64, f64)]) -> Value {
    let (stamps, values): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    json!({
        "data_id": data_id, "chunk_index": index, "channel_name": channel, "timestamps": stamps, "values": values,
    })
}

/// Every answer is JSON, except for the empty ones; every refusal has a detail.
async fn answer(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let body = response.bytes().await.unwrap();
    if body.is_empty() {
        return (status, Value::Null);
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status.is_success(), body.get("detail").is_none(), "{status} {body}");
    (status, body)
}

/// The points of a channel as (chunk, seconds, value).
fn points(channel: &StoredChannel) -> Vec<(i64, f64, f64)> {
    channel.points.iter().map(|point| (point.chunk_index, point.unix_seconds, point.value)).collect()
}

/// Waits until `condition` holds.
async fn until(mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(DEADLINE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.expect("it never happened");
}
