//! The bridge's own HTTP: what a browser, a script or a watchdog on the box can ask.
//!
//! It reads the [`Board`] and the [`Taps`]; what it is asked to do it hands to [`Actions`]. It answers on loopback unless the lab says otherwise,
//! and refuses requests whose `Host` or `Origin` is not its own, so that no web page elsewhere can read the lab's data
//! through a visitor's browser.

mod guard;
mod metrics;
mod page;
mod runs;
mod status;
mod trace;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::live::{Actions, Board, Taps};

/// Readings older than this are no flow of data: the slowest gauges are asked every few seconds.
const FLOW: Duration = Duration::from_secs(15);

/// How the bridge is reached.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// What a request has to carry as `Authorization: Bearer …`; required by `config` for anything but loopback.
    pub token: Option<SecretString>,
}

/// The server could not start.
#[derive(Debug, thiserror::Error)]
#[error("could not listen on {listen} for the dashboard")]
pub struct Error {
    listen: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// The server, bound and not yet serving.
#[derive(Debug)]
pub struct Web {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    /// Ends the streams: graceful shutdown waits for open ones for ever.
    closing: CancellationToken,
}

/// What the answers are made of.
#[derive(Debug, Clone)]
struct Sources {
    board: Arc<Board>,
    taps: Arc<Taps>,
    actions: Arc<dyn Actions>,
    closing: CancellationToken,
}

impl FromRef<Sources> for Arc<Board> {
    fn from_ref(sources: &Sources) -> Self {
        Self::clone(&sources.board)
    }
}

impl FromRef<Sources> for Arc<dyn Actions> {
    fn from_ref(sources: &Sources) -> Self {
        Self::clone(&sources.actions)
    }
}

impl Web {
    /// Binds the address.
    pub async fn bind(
        settings: Settings,
        board: Arc<Board>,
        taps: Arc<Taps>,
        actions: Arc<dyn Actions>,
    ) -> Result<Self, Error> {
        let failed = |source| Error { listen: settings.listen, source };
        let listener = TcpListener::bind(settings.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let closing = CancellationToken::new();
        let sources = Sources { board, taps, actions, closing: closing.clone() };
        let guard = guard::Guard::new(address, settings.token.clone());
        let router = Router::new()
            .route("/", get(page))
            .route("/api/status", get(api_status))
            .route("/api/trace", get(trace::stream))
            .route("/api/runs/resend", post(runs::resend))
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .layer(axum::middleware::from_fn_with_state(Arc::new(guard), guard::check))
            .with_state(sources);
        Ok(Self { listener, address, router, closing })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is stopped. Requests are answered at once and streams are ended, so there is nothing to wait for.
    pub async fn serve(self, stop: CancellationToken) {
        let closing = self.closing;
        let stopped = async move {
            stop.cancelled().await;
            closing.cancel();
        };
        let served = axum::serve(self.listener, self.router).with_graceful_shutdown(stopped).await;
        if let Err(error) = served {
            tracing::error!(%error, "dashboard ended");
        }
    }
}

async fn page(State(board): State<Arc<Board>>) -> Html<String> {
    Html(page::render(&board.snapshot()))
}

async fn api_status(State(board): State<Arc<Board>>) -> Response {
    let body = axum::Json(status::Status::of(&board.snapshot()));
    ([(header::CACHE_CONTROL, "no-store")], body).into_response()
}

async fn metrics(State(board): State<Arc<Board>>) -> Response {
    let headers = [(header::CONTENT_TYPE, metrics::CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")];
    (headers, metrics::render(&board.snapshot())).into_response()
}

async fn healthz(State(board): State<Arc<Board>>) -> Response {
    if board.snapshot().flows_within(FLOW) {
        (StatusCode::OK, "data flows\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no data flows\n").into_response()
    }
}
