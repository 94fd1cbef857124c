//! A time limit that is set anew for each wait.
//!
//! Setting a timer that is running to a later time costs next to nothing. A timer of its own for each wait is entered into
//! the runtime's wheel and taken out again, and where no other was running, the runtime's thread wakes itself for it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// Ends waits that take too long, one after the other. Between them it may wake its task once, in vain.
#[derive(Debug, Default)]
pub struct Limit {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Limit {
    /// The output of the future, or none when the time has come first. Needs a Tokio runtime.
    pub async fn within<F: Future>(&mut self, until: Instant, future: F) -> Option<F::Output> {
        self.set(until);
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll(cx).map(|()| None),
        })
        .await
    }

    /// The time for the next wait.
    pub(super) fn set(&mut self, until: Instant) {
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(until),
            None => self.timer = Some(Box::pin(sleep_until(until))),
        }
    }

    /// Ready when the time has come.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().map_or(Poll::Ready(()), |timer| timer.as_mut().poll(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_wait_has_the_time_that_it_was_given() {
        let mut limit = Limit::default();
        for milliseconds in [50, 200, 10, 0, 30] {
            let began = Instant::now();
            let wait = Duration::from_millis(milliseconds);
            assert_eq!(limit.within(began + Duration::from_secs(9), ready(7)).await, Some(7));
            assert_eq!(limit.within(began + wait, pending::<()>()).await, None);
            assert_eq!(began.elapsed().as_millis(), wait.as_millis(), "after a longer wait that came to nothing");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_ready_comes_even_when_the_time_is_over() {
        let mut limit = Limit::default();
        let past = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(limit.within(past, ready(7)).await, Some(7));
    }
}
