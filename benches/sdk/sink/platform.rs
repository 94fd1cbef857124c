//! What is answered: the calls of the platform, and the counters.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::Behaviour;
use super::board::{Board, Refusal};
use super::connection::Request;
use super::head::Head;

const STREAM: &str = "/tool-state/stream/";

/// An answer, ready to be sent.
#[derive(Debug)]
pub(crate) struct Answer {
    status: u16,
    body: String,
    /// Somebody counts on it: `Counts::unanswered`.
    pub(crate) of_chunk: bool,
}

impl Answer {
    fn good(body: String) -> Self {
        Self { status: 200, body, of_chunk: false }
    }

    pub(crate) fn refusal(status: u16, why: &str) -> Self {
        Self { status, body: json!({ "detail": why }).to_string(), of_chunk: false }
    }

    pub(crate) fn bytes(&self) -> String {
        let reason = if self.status == 200 { "OK" } else { "Refused" };
        format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{}",
            self.status,
            self.body.len(),
            self.body
        )
    }
}

pub(crate) fn is_chunk(head: &Head) -> bool {
    head.target.strip_prefix(STREAM).is_some_and(|call| call == "chunk" || call == "chunk/multi")
}

/// The platform's side.
pub(crate) async fn answer(head: &Head, request: &Request, behaviour: Behaviour, board: &Board) -> Answer {
    if is_chunk(head) {
        return chunk(head, request, behaviour, board).await;
    }
    if !behaviour.calls.is_zero() {
        tokio::time::sleep(behaviour.calls).await;
    }
    call(head, request, board)
}

async fn chunk(head: &Head, request: &Request, behaviour: Behaviour, board: &Board) -> Answer {
    let mut answer = match taken(head, request, behaviour, board) {
        Ok(body) => Answer::good(body),
        Err(Refusal(status, why)) => Answer::refusal(status, why),
    };
    answer.of_chunk = true;
    if !behaviour.latency.is_zero() {
        tokio::time::sleep(behaviour.latency).await;
    }
    answer
}

fn taken(head: &Head, request: &Request, behaviour: Behaviour, board: &Board) -> Result<String, Refusal> {
    let many = head.target.ends_with("/multi");
    let mut counts = board.counts();
    counts.unanswered += 1;
    counts.bytes += head.length;
    let slots = request.scan.slots().ok_or(Refusal(422, "no data_id, chunk_index or channel in the body"))?;
    let mut body = String::with_capacity(128 * slots.channels().count());
    if many {
        body.push('[');
    }
    let new = counts.take(&slots, &mut body)?;
    if many {
        body.push(']');
    }
    if behaviour.verify && new {
        counts.content.add(&request.body).ok_or(Refusal(422, "stamps and values are not equally many numbers"))?;
    }
    Ok(body)
}

fn call(head: &Head, request: &Request, board: &Board) -> Answer {
    match (head.method.as_str(), head.target.as_str()) {
        ("GET", "/gateway/time") => {
            let now = unix_milliseconds();
            Answer::good(json!({ "receivedAtUnixMs": now, "transmittedAtUnixMs": now }).to_string())
        }
        ("POST", "/tool-state/stream/initialize") => initialize(&request.body, board),
        ("POST", target) => {
            let data_id = target.strip_prefix(STREAM).and_then(|rest| rest.strip_suffix("/finalize"));
            match data_id.map(|data_id| (data_id, board.counts().finalize(data_id))) {
                Some((data_id, Ok(()))) => {
                    Answer::good(json!({ "data_id": data_id, "processed_data_id": data_id }).to_string())
                }
                Some((_, Err(Refusal(status, why)))) => Answer::refusal(status, why),
                None => Answer::refusal(404, "this sink has no such call"),
            }
        }
        _ => Answer::refusal(404, "this sink has no such call"),
    }
}

fn initialize(body: &[u8], board: &Board) -> Answer {
    let points =
        serde_json::from_slice::<serde_json::Value>(body).ok().and_then(|body| body.get("points_per_chunk")?.as_u64());
    match points {
        Some(points) => {
            let data_id = board.counts().open(points);
            Answer::good(json!({ "data_id": data_id, "processed_data_id": data_id }).to_string())
        }
        None => Answer::refusal(422, "points_per_chunk is not there"),
    }
}

/// The counters' side: `GET /counts`, `GET /landed?slots=N&quiet_ms=N`, `POST /hang`, `POST /go-on`.
pub(crate) async fn admin(head: &Head, board: &Board) -> Answer {
    let (path, query) = head.target.split_once('?').unwrap_or((&head.target, ""));
    match (head.method.as_str(), path) {
        ("GET", "/counts") => counts(board),
        ("GET", "/landed") => match (number(query, "slots"), number(query, "quiet_ms")) {
            (Some(slots), Some(quiet)) => {
                landed(board, slots, Duration::from_millis(quiet)).await;
                counts(board)
            }
            _ => Answer::refusal(422, "expected slots and quiet_ms"),
        },
        ("POST", "/hang") => {
            board.hangs.send_replace(true);
            counts(board)
        }
        ("POST", "/go-on") => {
            board.hangs.send_replace(false);
            counts(board)
        }
        _ => Answer::refusal(404, "expected /counts, /landed, /hang or /go-on"),
    }
}

/// Waits until so many slots are there and answered, or nothing has come for so long.
async fn landed(board: &Board, slots: u64, quiet: Duration) {
    board.counts().awaited = Some(slots);
    let mut before = None;
    loop {
        let rung = board.landed.notified();
        let now = {
            let counts = board.counts();
            if counts.complete() {
                return;
            }
            (counts.chunks, counts.unanswered, counts.hung)
        };
        if tokio::time::timeout(quiet, rung).await.is_err() {
            if before == Some(now) {
                return;
            }
            before = Some(now);
        }
    }
}

fn counts(board: &Board) -> Answer {
    let processor = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let counts = board.counts();
    Answer::good(
        json!({
            "chunks": counts.chunks,
            "slots": counts.slots,
            "repeated": counts.repeated,
            "hung": counts.hung,
            "unanswered": counts.unanswered,
            "bytes": counts.bytes,
            "finalized": counts.finalized,
            "points": counts.content.points,
            "sum_of_values": counts.content.values,
            "sum_of_stamps": counts.content.stamps,
            "connections": board.connections.now.load(Relaxed),
            "connections_most": board.connections.most.load(Relaxed),
            "connections_opened": board.connections.opened.load(Relaxed),
            "processor_seconds": processor.tv_sec as f64 + processor.tv_nsec as f64 / 1e9,
        })
        .to_string(),
    )
}

fn number(query: &str, name: &str) -> Option<u64> {
    query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name)?.1.parse().ok())
}

#[expect(clippy::disallowed_methods, reason = "a platform has a clock of its own")]
fn unix_milliseconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e3
}
