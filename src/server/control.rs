//! `/_local/fault`: the fault in force, read and set over HTTP. No fault hits it, and it needs no key.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::connection::Connection;
use super::faults::Faults;
use super::platform::Platform;
use super::{Error, Plan};

/// Longest text of a plan, in bytes.
const LONGEST: usize = 4096;

/// The one path.
pub(super) fn routes(platform: &Arc<Platform>) -> Router {
    Router::new().route("/_local/fault", get(show).put(set)).with_state(Faults::new(Arc::clone(platform)))
}

async fn show(State(faults): State<Faults>) -> String {
    format!("{}\n", faults.plan())
}

/// Puts the plan in the body in force, and answers with it.
async fn set(State(faults): State<Faults>, request: Request) -> Response {
    let connection = request.extensions().get::<Connection>().cloned();
    let text = match axum::body::to_bytes(request.into_body(), LONGEST).await {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) => {
            return (StatusCode::BAD_REQUEST, format!("the text could not be read: {error}\n")).into_response();
        }
    };
    let plan: Plan = match text.parse() {
        Ok(plan) => plan,
        Err(invalid) => return (StatusCode::UNPROCESSABLE_ENTITY, format!("{invalid}\n")).into_response(),
    };
    // Its answer is to be heard although the listener goes, and then the connection has to go as well.
    if let Some(connection) = connection {
        connection.spare();
    }
    let shown = plan.to_string();
    match tokio::task::spawn_blocking(move || faults.set(plan)).await {
        Ok(Ok(())) => format!("{shown}\n").into_response(),
        Ok(Err(error)) => failed(&error),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn failed(error: &Error) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
}
