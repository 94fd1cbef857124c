//! Waiting on a thread, without a runtime.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::Error;

/// How often whoever may interrupt is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Polls a future on this thread until it is done, or `interrupt` says to stop.
///
/// What it waits for is done by other threads, so that this works anywhere, also on a thread of somebody's runtime.
pub(super) fn on<T>(future: impl Future<Output = Result<T, Error>>, interrupt: &dyn Fn() -> bool) -> Result<T, Error> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut ask_at = Instant::now() + ASK_EVERY;
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            return outcome;
        }
        thread::park_timeout(ask_at.saturating_duration_since(Instant::now()));
        if Instant::now() >= ask_at {
            if interrupt() {
                return Err(Error::Interrupted);
            }
            ask_at = Instant::now() + ASK_EVERY;
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn what_another_thread_does_is_waited_for() {
        let (sender, receiver) = oneshot::channel();
        let other = thread::spawn(move || sender.send(7).unwrap());
        let waited = on(async { receiver.await.map_err(|_| Error::Closed) }, &|| false);
        assert_eq!(waited.unwrap(), 7);
        other.join().unwrap();
    }

    #[test]
    fn whoever_interrupts_is_asked_from_time_to_time() {
        let asked = Cell::new(0);
        let outcome = on(std::future::pending::<Result<(), Error>>(), &|| {
            asked.set(asked.get() + 1);
            asked.get() == 3
        });
        assert!(matches!(outcome, Err(Error::Interrupted)));
    }
}
