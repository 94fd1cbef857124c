//! Serves the connections of a listener: HTTP/1.1 in the clear; with TLS, HTTP/2 or HTTP/1.1, whichever the client prefers.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, CuttableStream};
use super::listen::CuttableListener;
use super::tls::HTTP_2;

/// A client that has not agreed on keys by then is left.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves until `stopping`, and then until what is in flight has ended. Dropped, it cuts every connection.
pub(super) async fn serve(
    mut listener: CuttableListener,
    app: Router,
    tls: Option<TlsAcceptor>,
    stopping: CancellationToken,
) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            stream = listener.accept() => {
                open.spawn(converse(stream, app.clone(), tls.clone(), stopping.clone()));
            }
            Some(ended) = open.join_next() => heed(ended),
            () = stopping.cancelled() => break,
        }
    }
    drop(listener);
    while let Some(ended) = open.join_next().await {
        heed(ended);
    }
}

fn heed(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection of the local platform ended with a failure of its own");
    }
}

async fn converse(stream: CuttableStream, app: Router, tls: Option<TlsAcceptor>, stopping: CancellationToken) {
    let connection = stream.connection();
    let Some(acceptor) = tls else {
        return answer(stream, false, connection, app, stopping).await;
    };
    let greeted = tokio::select! {
        greeted = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)) => greeted,
        () = stopping.cancelled() => return,
    };
    match greeted {
        Ok(Ok(stream)) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
            answer(stream, http2, connection, app, stopping).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "a client and the local platform could not agree on TLS"),
        Err(_) => tracing::debug!("a client took too long for TLS"),
    }
}

/// Answers what comes over one connection, until it ends or, retired or stopping, has answered what was in flight.
async fn answer<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    http2: bool,
    connection: Connection,
    app: Router,
    stopping: CancellationToken,
) {
    let app = TowerToHyperService::new(app);
    let marked = connection.clone();
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(marked.clone());
        app.call(request)
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = async { tokio::select! { () = connection.until_retired() => {}, () = stopping.cancelled() => {} } } => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection ended early");
    }
}
