//! What every request passes before its handler: count, size, key, and the fault that is switched on.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::listen::Connection;
use super::platform::Platform;
use super::refusal::Refusal;
use super::{Call, Fault};

/// A body over its limit is read on up to so many times the largest limit before the refusal: a client that is still writing
/// when the connection closes sees a reset instead of the answer.
const DISCARD_FACTOR: usize = 4;

/// Passes a request on to its handler, or does not.
pub(super) async fn pass(
    State((platform, call)): State<(Arc<Platform>, Call)>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
    next: Next,
) -> Response {
    platform.counter.count(call);
    let fault = platform.switch.strike(call);
    let limit = match fault {
        Fault::TooLarge(bytes) => bytes.min(platform.settings.max_body),
        _ => platform.settings.max_body,
    };
    let (head, body) = request.into_parts();
    let body = match collect(body, limit, platform.settings.max_body.saturating_mul(DISCARD_FACTOR)).await {
        Ok(Some(body)) => body,
        Ok(None) => {
            return Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes"))
                .into_response();
        }
        Err(error) => {
            return Refusal::new(StatusCode::BAD_REQUEST, format!("the body ended early: {error}")).into_response();
        }
    };

    match fault {
        Fault::Hang => {
            platform.stopping.cancelled().await;
            return cut(&connection);
        }
        Fault::CutRequest => return cut(&connection),
        Fault::Refuse { status, retry_after } => return refuse(status, retry_after),
        Fault::Slow(delay) => {
            // A request that waits when the server stops is answered like any other that is in flight.
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = platform.stopping.cancelled() => {}
            }
        }
        Fault::None | Fault::CutReply | Fault::Unauthorized | Fault::Forget | Fault::TooLarge(_) => {}
    }

    if call.needs_key() {
        let key = head.headers.get("x-api-key").map_or(&b""[..], HeaderValue::as_bytes);
        if key.is_empty() {
            return Refusal::new(StatusCode::UNAUTHORIZED, "no API key: the header X-API-KEY is missing or empty")
                .into_response();
        }
        if fault == Fault::Unauthorized || !platform.accepts(key) {
            return Refusal::new(StatusCode::UNAUTHORIZED, "the API key in X-API-KEY is not known").into_response();
        }
    }

    let answer = next.run(Request::from_parts(head, Body::from(body))).await;
    if fault == Fault::CutReply { cut(&connection) } else { answer }
}

/// Cuts the connection. The answer that is returned never leaves: writing fails from here on.
fn cut(connection: &Connection) -> Response {
    connection.cut();
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

fn refuse(status: u16, retry_after: Option<Duration>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut answer = Refusal::new(status, "refused on purpose: a fault is switched on").into_response();
    if let Some(wait) = retry_after {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// The whole body; `None` if it is longer than `limit`. What is too much is discarded, up to `discard` bytes.
async fn collect(mut body: Body, limit: usize, discard: usize) -> Result<Option<Bytes>, axum::Error> {
    let mut collected = Vec::new();
    let mut length: usize = 0;
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame?.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length <= limit {
            collected.extend_from_slice(&data);
        } else {
            collected = Vec::new();
            if length > discard {
                return Ok(None);
            }
        }
    }
    Ok((length <= limit).then(|| collected.into()))
}
