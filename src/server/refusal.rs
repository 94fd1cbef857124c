//! A refused request, as the platform words it: a 4xx with `{"detail": ...}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Why a request is not done. Nothing of it has been stored.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    detail: Value,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: Value::String(detail.into()) }
    }

    /// The content of a well-formed request breaks a rule.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// The same with another status; one that is none changes nothing.
    pub(super) fn with_status(self, status: u16) -> Self {
        Self { status: StatusCode::from_u16(status).unwrap_or(self.status), ..self }
    }

    pub(super) fn unknown(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// The name of a new sample is taken: the detail holds the id of the sample that has it.
    pub(super) fn sample_name_taken(name: &str, id: &str) -> Self {
        let message = format!("a physical sample named `{name}` exists");
        Self { status: StatusCode::CONFLICT, detail: json!({ "physical_sample_id": id, "message": message }) }
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        tracing::error!(%error, "the platform's store failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the platform's store failed: {error}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "detail": self.detail }))).into_response()
    }
}
