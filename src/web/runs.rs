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
use crate::model::{Resending, RunId};

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
    later: u64,
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
        Ok(Resending { points, later }) => Json(Done { run: run.to_string(), points, later }).into_response(),
        Err(NotDone::Unknown(why)) => refuse(StatusCode::NOT_FOUND, why),
        Err(NotDone::Failed(why)) => refuse(StatusCode::CONFLICT, why),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use secrecy::SecretString;
    use tokio_util::sync::CancellationToken;

    use super::super::{Settings, Web};
    use super::*;
    use crate::live::{Board, Taps};
    use crate::model::TimeBase;

    /// Has ten points for everybody.
    #[derive(Debug)]
    struct Ten;

    #[async_trait::async_trait]
    impl Actions for Ten {
        async fn resend(&self, _: &RunId, chunk: Option<u64>) -> Result<Resending, NotDone> {
            if chunk == Some(9) {
                return Err(NotDone::Failed("the disk is full".to_owned()));
            }
            Ok(Resending { points: 10, later: 0 })
        }
    }

    #[tokio::test]
    async fn where_a_token_is_set_nobody_resends_without_it() {
        let time = TimeBase::start();
        let board = Arc::new(Board::new(time, Vec::new(), Vec::new(), Vec::new()));
        let settings =
            Settings { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), token: Some(SecretString::from("s3cret")) };
        let taps = Arc::new(Taps::new(time, std::iter::empty()));
        let web = Web::bind(settings, board, taps, Arc::new(Ten)).await.unwrap();
        let (url, stop) = (format!("http://{}/api/runs/resend", web.address()), CancellationToken::new());
        let served = tokio::spawn(web.serve(stop.clone()));
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let post = |body: &str| client.post(&url).header("content-type", "application/json").body(body.to_owned());
        let wish = r#"{"run": "r"}"#;
        assert_eq!(post(wish).send().await.unwrap().status(), 401);
        assert_eq!(post(wish).bearer_auth("s3creT").send().await.unwrap().status(), 401);
        let done = post(wish).bearer_auth("s3cret").send().await.unwrap();
        assert_eq!(done.text().await.unwrap(), r#"{"run":"r","points":10,"later":0}"#);
        let failed = post(r#"{"run": "r", "chunk": 9}"#).bearer_auth("s3cret").send().await.unwrap();
        assert_eq!(
            (failed.status().as_u16(), failed.text().await.unwrap()),
            (409, r#"{"error":"the disk is full"}"#.to_owned())
        );
        stop.cancel();
        served.await.unwrap();
    }
}
