//! The trace of a link as a stream of text: `GET /api/trace?link=NAME`.
//!
//! It begins with a head, at once, and ends with the bridge or when the reader leaves. A reader that is too slow loses
//! lines and is told how many; the link's poller never waits for it.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;

use super::Sources;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    link: Option<String>,
}

pub(super) async fn stream(State(sources): State<Sources>, Query(which): Query<Which>) -> Response {
    let names = sources.taps.names();
    let Some(link) = which.link else {
        return (StatusCode::BAD_REQUEST, format!("which link? `?link=NAME`; the links are: {names}\n"))
            .into_response();
    };
    let Some(tap) = sources.taps.named(&link) else {
        let refusal = format!("there is no link `{link}`; the links are: {names}\n");
        return (StatusCode::NOT_FOUND, refusal).into_response();
    };
    let watch = match tap.watch() {
        Ok(watch) => watch,
        Err(refusal) => return (StatusCode::SERVICE_UNAVAILABLE, format!("{refusal}\n")).into_response(),
    };
    let lines = stream::unfold((watch, sources.closing), |(mut watch, closing)| async move {
        let lines = tokio::select! {
            lines = watch.lines() => lines?,
            () = closing.cancelled() => return None,
        };
        Some((Ok::<_, Infallible>(lines), (watch, closing)))
    });
    let headers = [(header::CACHE_CONTROL, "no-store"), (header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (headers, Body::from_stream(lines)).into_response()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Arc;
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use crate::live::{Actions, Board, NotDone, Taps};
    use crate::model::{Resending, RunId, TimeBase, TraceHead, TraceLine, Traced};

    use super::super::{Settings, Web};

    /// Nobody asks for anything here.
    #[derive(Debug)]
    struct Nothing;

    #[async_trait::async_trait]
    impl Actions for Nothing {
        async fn resend(&self, run: &RunId, _: Option<u64>) -> Result<Resending, NotDone> {
            Err(NotDone::Unknown(run.to_string()))
        }
    }

    struct Serving {
        taps: Arc<Taps>,
        url: String,
        stop: CancellationToken,
        served: tokio::task::JoinHandle<()>,
    }

    async fn serve() -> Serving {
        prepare_tls();
        let time = TimeBase::start();
        let taps = Arc::new(Taps::new(time, [("pyro".into(), "a pty".to_owned())]));
        let board = Arc::new(Board::new(time, Vec::new(), Vec::new(), Vec::new()));
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let web =
            Web::bind(Settings { listen, token: None }, board, Arc::clone(&taps), Arc::new(Nothing)).await.unwrap();
        let url = format!("http://{}/api/trace", web.address());
        let stop = CancellationToken::new();
        let served = tokio::spawn(web.serve(stop.clone()));
        Serving { taps, url, stop, served }
    }

    fn prepare_tls() {
        // Another test may have been first.
        rustls::crypto::ring::default_provider().install_default().ok();
    }

    async fn chunk(stream: &mut reqwest::Response) -> Option<String> {
        let chunk = tokio::time::timeout(Duration::from_secs(10), stream.chunk()).await.expect("a part of the stream");
        chunk.unwrap().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_trace_streams_until_the_bridge_stops_and_does_not_keep_it_from_stopping() {
        let Serving { taps, url, stop, served } = serve().await;
        let mut stream = reqwest::get(format!("{url}?link=pyro")).await.unwrap();
        assert_eq!(stream.status(), 200);
        let head = chunk(&mut stream).await.unwrap();
        assert_eq!(TraceHead::parse(&head).unwrap().link, "pyro");
        taps.named("pyro").unwrap().out(b"00ms\r");
        let line = chunk(&mut stream).await.unwrap();
        assert_eq!(TraceLine::parse(&line).unwrap().unwrap().what, Traced::Out(b"00ms\r".to_vec()));
        stop.cancel();
        assert_eq!(chunk(&mut stream).await, None);
        tokio::time::timeout(Duration::from_secs(5), served).await.expect("the server ends").unwrap();
    }

    #[tokio::test]
    async fn a_reader_that_leaves_ends_its_watch() {
        let Serving { taps, url, .. } = serve().await;
        let mut stream = reqwest::get(format!("{url}?link=pyro")).await.unwrap();
        chunk(&mut stream).await.unwrap();
        drop(stream);
        let tap = taps.named("pyro").unwrap();
        let noticed = async {
            while tap.is_watched() {
                tap.out(b"?");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), noticed).await.expect("the watch ends");
    }

    #[tokio::test]
    async fn what_can_not_be_traced_is_refused_with_what_there_is() {
        let Serving { taps, url, .. } = serve().await;
        for (query, status, words) in
            [("", 400, "the links are: pyro"), ("?link=gyro", 404, "there is no link `gyro`; the links are: pyro")]
        {
            let refused = reqwest::get(format!("{url}{query}")).await.unwrap();
            assert_eq!(refused.status(), status);
            assert!(refused.text().await.unwrap().contains(words));
        }
        taps.close();
        assert_eq!(reqwest::get(format!("{url}?link=pyro")).await.unwrap().status(), 503);
    }
}
