//! An opened link: the byte stream with its timing and its dirt.
//!
//! The order of an exchange is [`begin`](Wire::begin), [`ask`](Wire::ask), [`more`](Wire::more) until the answer is complete
//! and checked, [`consume`](Wire::consume), [`accept`](Wire::accept). Whatever ends it earlier, an error or a dropped
//! future, leaves the wire dirty, and the next `begin` waits for the line to fall quiet.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::doubt::Doubts;
use super::{Fault, Limit, Pacer, WireSettings};

/// A line that has not fallen quiet after this long is noisy.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);

/// A port or socket that takes no byte for this long, beyond the time on the wire, is stuck (flow control, full window).
const SEND_LIMIT: Duration = Duration::from_secs(2);

/// Questions in a row without a byte in return after which a socket counts as mute.
const MUTE_AFTER: u32 = 3;

/// More than the longest answer of any protocol here; what exceeds it is noise.
const LONGEST_ANSWER: usize = 8192;

/// What a wire is made of: a port, a socket, or one end of a pipe in tests.
pub trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// What a trace sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen<'a> {
    /// Bytes to the field.
    Out(&'a [u8]),
    /// Bytes from the field.
    In(&'a [u8]),
    /// The link was opened, or is down.
    Event(&'a str),
}

/// Sees each byte of a link, and its ups and downs. It is called on the link's thread and must not wait.
pub type Trace = Arc<dyn for<'a> Fn(Seen<'a>) + Send + Sync>;

/// Whether what comes next can only be the answer to what is asked next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Every question was answered.
    Clean,
    /// An exchange is under way or was dropped.
    Open,
    /// An exchange failed, and nothing was heard since.
    QuietSince(Instant),
}

/// An opened link.
pub struct Wire {
    pub(super) stream: Box<dyn Stream>,
    pub(super) settings: WireSettings,
    pacer: Pacer,
    trace: Option<Trace>,
    /// Ends waits for bytes.
    pub(super) limit: Limit,
    /// Bytes received and not consumed.
    received: Vec<u8>,
    trust: Trust,
    quiet: Duration,
    /// Silence that the party of the last exchange wants, whoever is asked next.
    silence: Duration,
    doubts: Doubts,
    /// The party being asked.
    party: u16,
    asked: Instant,
    pub(super) heard: Instant,
    /// When the line held no byte that was not read; kept by [`Wire::hear`] only.
    pub(super) emptied: Instant,
    /// When the last byte out will have left the line, or the last byte in came.
    last_byte: Instant,
    discarded: u64,
    /// Questions since the last byte came in.
    unheard: u32,
    gone: bool,
}

impl Wire {
    /// A wire over an opened stream. It is born dirty: a question of an earlier process may still be answered.
    pub fn new(stream: impl Stream + 'static, settings: WireSettings, pacer: Pacer, trace: Option<Trace>) -> Self {
        let now = Instant::now();
        Self {
            stream: Box::new(stream),
            quiet: settings.quiet,
            settings,
            pacer,
            trace,
            limit: Limit::default(),
            received: Vec::with_capacity(512),
            trust: Trust::Open,
            silence: Duration::ZERO,
            doubts: Doubts::default(),
            party: 0,
            asked: now,
            heard: now,
            emptied: now,
            last_byte: now,
            discarded: 0,
            unheard: 0,
            gone: false,
        }
    }

    /// What the wire knows about its line.
    pub fn settings(&self) -> &WireSettings {
        &self.settings
    }

    /// Whether an exchange is open or ended badly; the next one then starts by settling.
    pub fn is_dirty(&self) -> bool {
        self.trust != Trust::Clean
    }

    /// Whether a socket brought nothing at all for several questions in a row: the other side may have restarted and
    /// forgotten the connection, which only a new one can tell. Reopening a serial port would gain nothing.
    pub fn is_mute(&self) -> bool {
        self.settings.char_time.is_zero() && self.unheard >= MUTE_AFTER
    }

    /// Bytes thrown away since the wire was opened: noise, late answers, unasked messages.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    /// When the first byte of the last question went out.
    pub fn asked(&self) -> Instant {
        self.asked
    }

    /// When the last byte came in.
    pub fn heard(&self) -> Instant {
        self.heard
    }

    /// When the last byte of the last question has left the line, by the baud rate.
    pub fn sent(&self) -> Instant {
        self.last_byte.max(self.asked)
    }

    /// What came in and was not consumed yet.
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// Makes the wire ready for a question: settles it if it is dirty, throws away what is pending, and keeps `silence`
    /// (or the link's `idle`, or what the party of the last exchange wanted, if that is longer) since the last byte: whoever
    /// has just answered may still be holding the line. For this exchange the line counts as quiet after
    /// `quiet`, or after the link's own [`WireSettings::quiet`] if that is longer.
    pub async fn begin(&mut self, silence: Duration, quiet: Duration) -> Result<(), Fault> {
        self.quiet = quiet.max(self.settings.quiet);
        self.discard();
        if self.is_dirty() {
            self.settle().await?;
        } else {
            // Without this the reactor may not have been told yet of bytes that the kernel holds.
            tokio::task::yield_now().await;
            self.drain().await?;
        }
        let ready = self.last_byte + silence.max(self.settings.idle).max(self.silence);
        self.silence = silence;
        if ready > Instant::now() {
            self.pacer.until(ready).await;
        }
        Ok(())
    }

    /// How long the line has to be quiet, in this exchange, to be trusted.
    pub fn quiet(&self) -> Duration {
        self.quiet
    }

    /// Reads and discards until the line has been quiet for [`Wire::quiet`].
    pub async fn settle(&mut self) -> Result<(), Fault> {
        let began = Instant::now();
        let before = self.discarded;
        self.discard();
        let mut quiet_since = match self.trust {
            Trust::QuietSince(since) => since,
            Trust::Clean | Trust::Open => began,
        };
        self.trust = Trust::QuietSince(quiet_since);
        tokio::task::yield_now().await;
        while self.more(quiet_since + self.quiet).await? {
            self.discard();
            quiet_since = Instant::now();
            self.trust = Trust::QuietSince(quiet_since);
            if quiet_since.duration_since(began) > SETTLE_LIMIT {
                return Err(Fault::Noisy { discarded: self.discarded - before });
            }
        }
        Ok(())
    }

    /// Sends a question. `party` stands for whoever could take it for theirs: answers of different parties can't be mixed up.
    pub async fn ask(&mut self, party: u16, question: &[u8]) -> Result<(), Fault> {
        self.check_there()?;
        let now = Instant::now();
        self.trust = Trust::Open;
        self.doubts.ask(party, now);
        self.party = party;
        self.asked = now;
        self.unheard += 1;
        let on_the_line = self.settings.time_of(question.len());
        let mut left = question;
        while !left.is_empty() {
            let write = poll_fn(|cx| Pin::new(&mut *self.stream).poll_write(cx, left));
            let written = match timeout_at(now + on_the_line + SEND_LIMIT, write).await {
                Ok(Ok(0)) => return Err(self.lost(io::ErrorKind::WriteZero.into())),
                Ok(Ok(written)) => written,
                Ok(Err(error)) => return Err(self.lost(error)),
                Err(_late) => {
                    let stuck = "the line takes no more bytes; check flow control and cable";
                    return Err(self.lost(io::Error::new(io::ErrorKind::TimedOut, stuck)));
                }
            };
            let (out, rest) = left.split_at(written.min(left.len()));
            self.traced(Seen::Out(out));
            left = rest;
        }
        self.last_byte = Instant::now().max(self.asked + on_the_line);
        Ok(())
    }

    /// Waits for more bytes, until `until` at most. False when none came.
    pub async fn more(&mut self, until: Instant) -> Result<bool, Fault> {
        self.check_there()?;
        if self.received.len() >= LONGEST_ANSWER {
            self.discard();
        }
        self.limit.set(until);
        match poll_fn(|cx| self.poll_more_or_limit(cx)).await {
            Some(Ok(())) => Ok(true),
            Some(Err(error)) => Err(self.lost(error)),
            None => {
                if self.trust == Trust::Open {
                    self.trust = Trust::QuietSince(Instant::now());
                }
                Ok(false)
            }
        }
    }

    /// None when the time has come before any bytes.
    fn poll_more_or_limit(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<()>>> {
        match self.poll_more(cx) {
            Poll::Ready(read) => Poll::Ready(Some(read)),
            Poll::Pending => self.limit.poll(cx).map(|()| None),
        }
    }

    /// Waits until `terminator` has been received; where it ends, or none when `until` comes first.
    pub async fn read_until(&mut self, terminator: &[u8], until: Instant) -> Result<Option<usize>, Fault> {
        let mut searched = 0;
        loop {
            let unsearched = self.received.get(searched..).unwrap_or_default();
            let found = unsearched.windows(terminator.len().max(1)).position(|window| window == terminator);
            if let Some(at) = found {
                return Ok(Some(searched + at + terminator.len()));
            }
            searched = (self.received.len() + 1).saturating_sub(terminator.len().max(1));
            if !self.more(until).await? {
                return Ok(None);
            }
            searched = searched.min(self.received.len());
        }
    }

    /// Waits until this many bytes have been received. False when `until` comes first.
    pub async fn read_exact(&mut self, length: usize, until: Instant) -> Result<bool, Fault> {
        while self.received.len() < length {
            if !self.more(until).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes the first bytes of what was received: they belong to a checked answer.
    pub fn consume(&mut self, length: usize) {
        self.received.drain(..length.min(self.received.len()));
    }

    /// Throws away the first bytes of what was received: noise, an echo, somebody else's message.
    pub fn skip(&mut self, length: usize) {
        let length = length.min(self.received.len());
        self.received.drain(..length);
        self.discarded += u64::try_from(length).unwrap_or(u64::MAX);
    }

    /// Ends an exchange whose answer was checked in full and consumed. The only way to a clean wire.
    ///
    /// If the answer may be the late one to an earlier question, it is held back until the right one would have come too,
    /// and [`Fault::Unsettled`] says that more came. `harmless` tells stray bytes from what could be an answer. `reply` is
    /// what the profile allows for an answer.
    pub async fn accept(&mut self, reply: Duration, harmless: fn(&[u8]) -> bool) -> Result<(), Fault> {
        let heard = self.heard;
        if let Some(until) = self.doubts.hold_until(self.party, heard, self.quiet, reply) {
            loop {
                if !harmless(&self.received) {
                    return Err(Fault::Unsettled);
                }
                if !self.more(until).await? {
                    break;
                }
            }
        }
        self.heard = heard;
        self.doubts.answered(self.party);
        self.trust = Trust::Clean;
        Ok(())
    }

    /// Throws away what was received.
    fn discard(&mut self) {
        self.skip(self.received.len());
    }

    /// Throws away what is pending, without waiting.
    async fn drain(&mut self) -> Result<(), Fault> {
        self.check_there()?;
        loop {
            let polled = poll_fn(|cx| match self.poll_more(cx) {
                Poll::Ready(read) => Poll::Ready(Some(read)),
                Poll::Pending => Poll::Ready(None),
            });
            match polled.await {
                None => return Ok(()),
                Some(Ok(())) => self.discard(),
                Some(Err(error)) => return Err(self.lost(error)),
            }
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [0; 512];
        let mut buffer = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut *self.stream).poll_read(cx, &mut buffer))?;
        let bytes = buffer.filled();
        if bytes.is_empty() {
            return Poll::Ready(Err(hung_up()));
        }
        self.note_in(bytes);
        Poll::Ready(Ok(()))
    }

    /// Takes note of bytes that came just now.
    pub(super) fn note_in(&mut self, bytes: &[u8]) {
        self.heard = Instant::now();
        self.last_byte = self.heard;
        self.unheard = 0;
        self.traced(Seen::In(bytes));
        self.received.extend_from_slice(bytes);
    }

    /// Reads into [`Self::received`], for a stack that owns the wire.
    pub(super) fn poll_in(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gone {
            return Poll::Ready(Err(hung_up()));
        }
        self.poll_more(cx).map(|read| read.inspect_err(|error| self.note_loss(error)))
    }

    /// Writes, for a stack that owns the wire.
    pub(super) fn poll_out(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.gone {
            return Poll::Ready(Err(hung_up()));
        }
        self.trust = Trust::Open;
        let written =
            ready!(Pin::new(&mut *self.stream).poll_write(cx, bytes)).inspect_err(|error| self.note_loss(error))?;
        self.traced(Seen::Out(bytes.get(..written).unwrap_or(bytes)));
        self.last_byte = Instant::now() + self.settings.time_of(written);
        Poll::Ready(Ok(written))
    }

    fn traced(&self, seen: Seen<'_>) {
        if let Some(trace) = &self.trace {
            trace(seen);
        }
    }

    pub(super) fn check_there(&self) -> Result<(), Fault> {
        if self.gone { Err(Fault::Gone(hung_up())) } else { Ok(()) }
    }

    pub(super) fn lost(&mut self, error: io::Error) -> Fault {
        self.note_loss(&error);
        Fault::Gone(error)
    }

    fn note_loss(&mut self, error: &io::Error) {
        if !self.gone && self.trace.is_some() {
            self.traced(Seen::Event(&format!("link is down: {error}")));
        }
        self.gone = true;
    }
}

/// What `Ok(0)` means: end of file on a socket, a hung-up terminal on a port.
pub(super) fn hung_up() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the port was unplugged or the other side closed the connection")
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("settings", &self.settings)
            .field("trust", &self.trust)
            .field("received", &self.received.len())
            .field("discarded", &self.discarded)
            .field("gone", &self.gone)
            .finish_non_exhaustive()
    }
}
