//! What every request passes before its handler: count, size, key, and the fault that is switched on.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use serde_json::json;

use super::connection::{Connection, End};
use super::halved::Halved;
use super::platform::Platform;
use super::refusal::Refusal;
use super::switch::Strike;
use super::wire::holds_channel;
use super::{Call, Fault, Garbage};

/// What a portal on the way says to whoever has not logged in.
const PORTAL: &str = "<!DOCTYPE html>\n<html><head><title>Guest network</title></head>\n\
                      <body><h1>Welcome</h1><p>Please log in to use the network.</p></body></html>\n";

/// A body over its limit is read on up to so many times the largest limit before the refusal: a client that is still writing
/// when the connection closes sees a reset instead of the answer.
const DISCARD_FACTOR: usize = 4;

/// Passes a request on to its handler, or does not.
pub(super) async fn pass(
    State((platform, call)): State<(Arc<Platform>, Call)>,
    Extension(connection): Extension<Connection>,
    request: Request,
    next: Next,
) -> Response {
    platform.counter.count(call);
    let Strike { fault, stored } = platform.switch.strike(call);
    if fault != Fault::None {
        tracing::debug!(?call, %fault, stored, "a request is hit");
    }
    let limit = match fault {
        Fault::TooLarge(bytes) => bytes.min(platform.settings.max_body),
        _ => platform.settings.max_body,
    };
    let (head, mut body) = request.into_parts();
    if fault == Fault::ResetRequest {
        // What has come by now; of a large body that is a part.
        drop(std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await);
        return cut(&connection, End::Reset);
    }
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

    match &fault {
        Fault::CutRequest => return cut(&connection, End::Close),
        Fault::Hang | Fault::Refuse { .. } | Fault::Garbage(_) if !stored => {
            return instead(&fault, &platform, &connection).await;
        }
        Fault::RefuseChannel(name) if holds_channel(&body, name) && platform.switch.strike_channel() => {
            return Refusal::invalid(format!("channel `{name}` is refused on purpose: a fault is switched on"))
                .into_response();
        }
        Fault::Slow(delay) => {
            // A request that waits when the server stops is answered like any other that is in flight.
            tokio::select! {
                () = tokio::time::sleep(*delay) => {}
                () = platform.stopping.cancelled() => {}
            }
        }
        _ => {}
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
        if fault == Fault::Forbidden {
            return Refusal::new(StatusCode::FORBIDDEN, "the API key in X-API-KEY may not do this").into_response();
        }
    }

    let answer = next.run(Request::from_parts(head, Body::from(body))).await;
    match &fault {
        Fault::CutReply => cut(&connection, End::Close),
        Fault::ResetReply => cut_within(answer, connection, End::Reset).await,
        Fault::TruncateReply => cut_within(answer, connection, End::Close).await,
        Fault::Hang | Fault::Refuse { .. } | Fault::Garbage(_) => instead(&fault, &platform, &connection).await,
        _ => answer,
    }
}

/// What the client gets, at last or never, instead of the platform's answer.
async fn instead(fault: &Fault, platform: &Platform, connection: &Connection) -> Response {
    match fault {
        Fault::Refuse { status, retry_after } => refuse(*status, *retry_after),
        Fault::Garbage(Garbage::Page(status)) => {
            (StatusCode::from_u16(*status).unwrap_or_default(), Html(PORTAL)).into_response()
        }
        Fault::Garbage(Garbage::Json) => Json(json!({ "status": "ok" })).into_response(),
        _ => {
            platform.stopping.cancelled().await;
            cut(connection, End::Close)
        }
    }
}

/// Cuts the connection. The answer that is returned never leaves: writing fails from here on.
fn cut(connection: &Connection, end: End) -> Response {
    connection.cut(end);
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

/// Cuts the connection in the middle of the answer's body, which its head announces in full.
async fn cut_within(answer: Response, connection: Connection, end: End) -> Response {
    let (head, body) = answer.into_parts();
    match axum::body::to_bytes(body, usize::MAX).await {
        Ok(whole) if !whole.is_empty() => Response::from_parts(head, Halved::body(&whole, connection, end)),
        _ => cut(&connection, end),
    }
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
