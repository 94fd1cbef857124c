//! An answer's body of which half is sent before the connection is cut.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};

use super::connection::{Connection, End};

/// Announces the whole length, yields the first half, waits until that has been written, and cuts.
#[derive(Debug)]
pub(super) struct Halved {
    length: u64,
    half: Option<Bytes>,
    /// How often the connection had been flushed when the half was handed on.
    handed_on: Option<u64>,
    connection: Connection,
    end: End,
}

impl Halved {
    /// The body as it is to be sent; of a body without bytes nothing is, and then its connection is cut.
    pub(super) fn body(whole: &Bytes, connection: Connection, end: End) -> Body {
        let half = whole.slice(..whole.len() / 2);
        Body::new(Self { length: whole.len() as u64, half: Some(half), handed_on: None, connection, end })
    }
}

impl HttpBody for Halved {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        // Asked again, the one who sends has what it was given among what it will write next.
        let connection = self.connection.clone();
        let since = *self.handed_on.get_or_insert_with(|| connection.flushes());
        ready!(connection.poll_flushed_since(since, context));
        connection.cut(self.end);
        Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut on purpose"))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
