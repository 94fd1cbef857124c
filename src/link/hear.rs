//! Reading what nobody asked for, with the time of each byte.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::wire::hung_up;
use super::{Fault, Wire};

/// Longest that an adapter holds received bytes back before whoever waits for them is woken: the latency timer of FTDI
/// adapters as they come. Source: FTDI AN232B-04, "Small amounts of data and end of buffer conditions".
const HELD_BACK: Duration = Duration::from_millis(16);

/// Bytes taken by one read. Less than a terminal's buffer (4095 bytes), so that a read that does not fill it has emptied
/// the line.
const AT_ONCE: usize = 2048;

/// Bytes that came with one read, and what is known of when they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// How many.
    pub count: usize,
    /// The line held none of them at this time.
    pub since: Instant,
    /// All of them were there.
    pub at: Instant,
    /// Whether the wire was waiting for them: then it was told of them no later than [`HELD_BACK`] after they came.
    awaited: bool,
    char_time: Duration,
}

impl Arrival {
    /// When byte number `place` of it came, and how much earlier it may have come: those after it took their time on the
    /// line.
    pub fn time_of(&self, place: usize) -> (Instant, Duration) {
        let after = u32::try_from(self.count.saturating_sub(place + 1)).unwrap_or(u32::MAX);
        let reckoned = self.at.checked_sub(self.char_time.saturating_mul(after)).unwrap_or(self.since);
        let at = reckoned.max(self.since);
        let earlier = at.duration_since(self.since);
        (at, if self.awaited { earlier.min(HELD_BACK) } else { earlier })
    }
}

impl Wire {
    /// Waits for bytes that nobody asked for, until `until` at most, and appends them to [`Wire::received`]. None when none
    /// came. Without a question there is nothing that could be taken for an answer: trust plays no part in it.
    pub async fn hear(&mut self, until: Instant) -> Result<Option<Arrival>, Fault> {
        self.check_there()?;
        let mut awaited = false;
        self.limit.set(until);
        let heard = poll_fn(|cx| match self.poll_hear(cx) {
            Poll::Ready(heard) => Poll::Ready(Some(heard)),
            Poll::Pending => {
                awaited = true;
                self.limit.poll(cx).map(|()| None)
            }
        });
        match heard.await {
            Some(Ok(arrival)) => Ok(Some(Arrival { awaited, ..arrival })),
            Some(Err(error)) => Err(self.lost(error)),
            None => Ok(None),
        }
    }

    /// Whatever [`Wire::hear`] will bring came after this.
    pub fn emptied(&self) -> Instant {
        self.emptied
    }

    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Arrival>> {
        let mut space = [0; AT_ONCE];
        let mut buffer = ReadBuf::new(&mut space);
        let before = Instant::now();
        let polled = Pin::new(&mut *self.stream).poll_read(cx, &mut buffer);
        let bytes = buffer.filled();
        let since = self.emptied;
        if bytes.len() < AT_ONCE {
            self.emptied = before;
        }
        ready!(polled)?;
        if bytes.is_empty() {
            return Poll::Ready(Err(hung_up()));
        }
        self.note_in(bytes);
        let arrival =
            Arrival { count: bytes.len(), since, at: self.heard, awaited: false, char_time: self.settings.char_time };
        Poll::Ready(Ok(arrival))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(count: usize, gap_ms: u64, awaited: bool) -> Arrival {
        let since = Instant::now();
        let at = since + Duration::from_millis(gap_ms);
        Arrival { count, since, at, awaited, char_time: Duration::from_millis(1) }
    }

    #[test]
    fn a_byte_came_before_those_behind_it() {
        let ten = arrival(10, 100, true);
        assert_eq!(ten.time_of(9), (ten.at, HELD_BACK));
        assert_eq!(ten.time_of(0), (ten.at - Duration::from_millis(9), HELD_BACK));
    }

    #[test]
    fn no_byte_came_before_the_line_was_last_empty() {
        let late = arrival(10, 4, true);
        assert_eq!(late.time_of(0), (late.since, Duration::ZERO));
        assert_eq!(late.time_of(8), (late.since + Duration::from_millis(3), Duration::from_millis(3)));
    }

    #[test]
    fn what_was_not_waited_for_may_have_been_there_for_long() {
        let unattended = arrival(1, 500, false);
        assert_eq!(unattended.time_of(0).1, Duration::from_millis(500));
    }
}
