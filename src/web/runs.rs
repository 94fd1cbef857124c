//! `POST /api/runs/resend`: what the platform refused of a run waits again.
//!
//! It changes what the bridge does, so more is asked of it than of looking: beside the guard's checks, a body that is said to
//! be JSON, which no page of another site can send without asking first.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::live::{Actions, NotDone};
use crate::model::RunId;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    run: String,
    #[serde(default)]
    chunk: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Done {
    run: String,
    points: u64,
}

#[derive(Debug, Serialize)]
struct Refusal {
    error: String,
}

pub(super) async fn resend(
    State(actions): State<Arc<dyn Actions>>,
    wish: Result<Json<Wish>, JsonRejection>,
) -> Response {
    let refuse = |status: StatusCode, error: String| (status, Json(Refusal { error })).into_response();
    let (run, chunk) = match wish {
        Ok(Json(wish)) => (RunId::new(&wish.run), wish.chunk),
        Err(rejection) => {
            let error = format!("{}; expected {{\"run\": \"...\"}} as application/json", rejection.body_text());
            return refuse(rejection.status(), error);
        }
    };
    match actions.resend(&run, chunk).await {
        Ok(points) => Json(Done { run: run.to_string(), points }).into_response(),
        Err(NotDone::Unknown(why)) => refuse(StatusCode::NOT_FOUND, why),
        Err(NotDone::Failed(why)) => refuse(StatusCode::CONFLICT, why),
    }
}
