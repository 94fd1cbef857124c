//! How often a call is made again while the platform does not answer.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::atomscale::OpenError;
use crate::atomscale::PlatformError;
use crate::model::doubled;

/// Attempts of the vendor's own client.
const ATTEMPTS: u32 = 3;

/// Pause after the first attempt, as in the vendor's client; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause for those who are more patient.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A failure that may pass.
pub(super) trait Passing {
    /// Whether the same may succeed later.
    fn may_pass(&self) -> bool;

    /// How long the platform asks to be left alone.
    fn wish(&self) -> Option<Duration>;
}

impl Passing for PlatformError {
    fn may_pass(&self) -> bool {
        self.is_transient()
    }

    fn wish(&self) -> Option<Duration> {
        self.retry_after()
    }
}

impl Passing for OpenError {
    fn may_pass(&self) -> bool {
        // What was half done is finalized: the next attempt begins anew.
        self.is_transient()
    }

    fn wish(&self) -> Option<Duration> {
        self.retry_after()
    }
}

/// Makes a call until it succeeds or fails for good: three times, or for as long as `patience` lasts.
pub(super) async fn make<T, E: Passing, F: Future<Output = Result<T, E>>>(
    patience: Option<Duration>,
    mut call: impl FnMut() -> F,
) -> Result<T, E> {
    let until = patience.map(|patience| Instant::now() + patience);
    let mut attempt = 0;
    loop {
        attempt += 1;
        let error = match call().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let pause = doubled(FIRST_PAUSE, attempt, LONGEST_PAUSE).max(error.wish().unwrap_or_default());
        let again = match until {
            Some(until) => Instant::now() + pause < until,
            None => attempt < ATTEMPTS,
        };
        if !again || !error.may_pass() {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    async fn failing(patience: Option<Duration>, error: impl Fn() -> PlatformError) -> (u32, Duration) {
        let (made, began) = (Cell::new(0), Instant::now());
        let call = || {
            made.set(made.get() + 1);
            std::future::ready(Err::<(), _>(error()))
        };
        make(patience, call).await.unwrap_err();
        (made.get(), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn three_attempts_half_a_second_and_a_second_apart() {
        assert_eq!(failing(None, || PlatformError::TimedOut).await, (3, Duration::from_millis(1_500)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_for_good_is_not_tried_again() {
        let unauthorized = || PlatformError::Unauthorized { status: 401, words: String::new() };
        assert_eq!(failing(None, unauthorized).await.0, 1);
        assert_eq!(failing(Some(Duration::from_secs(60)), unauthorized).await.0, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_and_the_platform_s_wish_are_heeded() {
        let busy =
            || PlatformError::Status { status: 429, words: String::new(), retry_after: Some(Duration::from_secs(20)) };
        assert_eq!(failing(None, busy).await, (3, Duration::from_secs(40)));
        let (made, took) = failing(Some(Duration::from_secs(300)), || PlatformError::TimedOut).await;
        assert!(made > 10 && took < Duration::from_secs(300), "{made} in {took:?}");
        assert_eq!(failing(Some(Duration::ZERO), || PlatformError::TimedOut).await.0, 1);
    }
}
