//! One connection, request by request.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Behaviour;
use super::board::Board;
use super::head::{self, Head, Refused};
use super::platform::{self, Answer};
use super::scan::{Escaped, Scan};

/// One read takes at most this many bytes. All connections share the memory, which so stays in the processor's cache.
const READ: usize = 256 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// Whom a connection serves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Side {
    Platform,
    Admin,
}

/// A request that arrives.
#[derive(Debug, Default)]
pub(crate) struct Request {
    kept: Vec<u8>,
    head: Option<Head>,
    /// Bytes of the body that are still to come.
    missing: u64,
    /// What the body of a chunk says.
    pub(crate) scan: Scan,
    chunk: bool,
    /// The body, unless it is a chunk's that nobody verifies.
    pub(crate) body: Vec<u8>,
}

#[derive(Debug)]
enum Step {
    Closed,
    More,
    Whole(Head),
}

/// Why a request can't be read.
#[derive(Debug, Clone, Copy)]
enum Unreadable {
    Head(Refused),
    Escaped,
    Pipelined,
}

/// Serves until the client goes.
pub(crate) async fn serve(mut stream: TcpStream, side: Side, behaviour: Behaviour, board: Arc<Board>) {
    let counted = side == Side::Platform;
    if counted {
        board.connections.opened();
    }
    // A client that breaks off is nothing the counters don't show.
    drop(requests(&mut stream, side, behaviour, &board).await);
    if counted {
        board.connections.closed();
    }
}

async fn requests(stream: &mut TcpStream, side: Side, behaviour: Behaviour, board: &Board) -> std::io::Result<()> {
    let mut request = Request::default();
    loop {
        stream.readable().await?;
        let step = BUFFER.with_borrow_mut(|buffer| match stream.try_read(buffer) {
            Ok(0) => Ok(Ok(Step::Closed)),
            Ok(count) => Ok(request.take(buffer.get(..count).unwrap_or_default(), behaviour.verify)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Ok(Step::More)),
            Err(error) => Err(error),
        })?;
        let (answer, close) = match step {
            Ok(Step::Closed) => return Ok(()),
            Ok(Step::More) => continue,
            Ok(Step::Whole(head)) if platform::is_chunk(&head) && *board.hangs.borrow() => {
                board.counts().hung += 1;
                return hang(stream, board).await;
            }
            Ok(Step::Whole(head)) => {
                let answer = match side {
                    Side::Platform => platform::answer(&head, &request, behaviour, board).await,
                    Side::Admin => platform::admin(&head, board).await,
                };
                (answer, head.close)
            }
            Err(why) => (why.answer(), true),
        };
        let written = stream.write_all(answer.bytes().as_bytes()).await;
        if answer.of_chunk {
            let mut counts = board.counts();
            counts.unanswered -= 1;
            if counts.complete() {
                board.landed.notify_waiters();
            }
        }
        written?;
        if close {
            return Ok(());
        }
        request.reset();
    }
}

/// Says nothing until the sink goes on, and then closes the connection; or until the client has closed it.
async fn hang(stream: &mut TcpStream, board: &Board) -> std::io::Result<()> {
    let mut hangs = board.hangs.subscribe();
    tokio::select! {
        _ = hangs.wait_for(|hangs| !hangs) => {}
        _ = stream.read_u8() => {}
    }
    Ok(())
}

impl Request {
    fn take(&mut self, mut bytes: &[u8], verify: bool) -> Result<Step, Unreadable> {
        if self.head.is_none() {
            let Some((head, body)) = head::take(&mut self.kept, bytes).map_err(Unreadable::Head)? else {
                return Ok(Step::More);
            };
            self.missing = head.length;
            self.chunk = platform::is_chunk(&head);
            self.head = Some(head);
            bytes = body;
        }
        let come = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.missing = self.missing.checked_sub(come).ok_or(Unreadable::Pipelined)?;
        if self.chunk {
            self.scan.feed(bytes).map_err(|Escaped| Unreadable::Escaped)?;
        }
        if verify || !self.chunk {
            self.body.extend_from_slice(bytes);
        }
        let whole = self.missing == 0;
        Ok(self.head.take_if(|_| whole).map_or(Step::More, Step::Whole))
    }

    fn reset(&mut self) {
        self.scan.reset();
        self.body.clear();
    }
}

impl Unreadable {
    fn answer(self) -> Answer {
        let (status, why) = match self {
            Self::Head(Refused::Malformed) => (400, "the head of the request is not HTTP/1.1"),
            Self::Head(Refused::TooLong) => (431, "the head of the request is too long"),
            Self::Head(Refused::NoLength) => (411, "this sink needs a Content-Length"),
            Self::Escaped => (400, "this sink reads no strings with a backslash"),
            Self::Pipelined => (400, "this sink takes one request at a time"),
        };
        Answer::refusal(status, why)
    }
}
