//! A timer that is on time.
//!
//! Tokio's own timer has a grain of a millisecond and fires about a millisecond late; that would be visible in the time
//! stamps of a fast poll. On Linux the pacer waits for a `timerfd` in the same reactor instead.

use tokio::time::Instant;

/// Waits until instants, precisely where the system allows it.
#[derive(Debug)]
pub struct Pacer {
    #[cfg(target_os = "linux")]
    timer: Option<timerfd::Timer>,
}

impl Pacer {
    /// A precise pacer; on systems without `timerfd`, or where none can be had, a coarse one. Needs a Tokio runtime.
    pub fn new() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            timer: timerfd::Timer::new()
                .inspect_err(|error| tracing::warn!(%error, "no precise timer; pacing to the millisecond"))
                .ok(),
        }
    }

    /// A pacer on Tokio's timer, which follows a paused clock.
    pub fn coarse() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            timer: None,
        }
    }

    /// Waits until the instant; returns at once when it has passed. May be dropped at any point.
    pub async fn until(&mut self, at: Instant) {
        #[cfg(target_os = "linux")]
        if let Some(timer) = &self.timer {
            match timer.until(at).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, "the precise timer failed; pacing to the millisecond");
                    self.timer = None;
                }
            }
        }
        tokio::time::sleep_until(at).await;
    }
}

impl Default for Pacer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(target_os = "linux")]
mod timerfd {
    //! A one-shot timer of the kernel as a future.

    use std::io;
    use std::os::fd::OwnedFd;

    use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    use tokio::time::Instant;

    #[derive(Debug)]
    pub(super) struct Timer {
        fd: AsyncFd<OwnedFd>,
    }

    impl Timer {
        #[expect(
            deprecated,
            reason = "the safe constructor: an owned descriptor stays open as long as it is registered"
        )]
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let fd = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
            Ok(Self { fd: AsyncFd::with_interest(fd, Interest::READABLE)? })
        }

        pub(super) async fn until(&self, at: Instant) -> io::Result<()> {
            loop {
                let left = at.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(());
                }
                // Setting the timer also forgets an expiry that a dropped future left behind.
                let never = Timespec { tv_sec: 0, tv_nsec: 0 };
                let value = Timespec::try_from(left).map_err(io::Error::other)?;
                rustix::time::timerfd_settime(
                    self.fd.get_ref(),
                    TimerfdTimerFlags::empty(),
                    &Itimerspec { it_interval: never, it_value: value },
                )?;
                let mut count = [0; 8];
                self.fd.async_io(Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut count)?)).await?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Lateness in microseconds of `rounds` waits of 2.3 ms each, sorted.
    async fn lateness(pacer: &mut Pacer, rounds: u32) -> Vec<u128> {
        let mut late = Vec::new();
        for _ in 0..rounds {
            let at = Instant::now() + Duration::from_micros(2_300);
            pacer.until(at).await;
            let now = Instant::now();
            assert!(now >= at, "the pacer must never be early");
            late.push(now.duration_since(at).as_micros());
        }
        late.sort_unstable();
        late
    }

    #[tokio::test]
    async fn the_pacer_is_never_early_and_beats_tokio() {
        let precise = lateness(&mut Pacer::new(), 300).await;
        let coarse = lateness(&mut Pacer::coarse(), 300).await;
        println!(
            "lateness us: precise median {} p99 {}; coarse median {} p99 {}",
            precise[150], precise[297], coarse[150], coarse[297]
        );
        if cfg!(target_os = "linux") {
            assert!(precise[150] < coarse[150], "precise {} us, coarse {} us", precise[150], coarse[150]);
        }
    }

    #[tokio::test]
    async fn a_dropped_wait_does_not_shorten_the_next() {
        let mut pacer = Pacer::new();
        let soon = Instant::now() + Duration::from_millis(50);
        let dropped = tokio::time::timeout(Duration::ZERO, pacer.until(soon)).await;
        assert!(dropped.is_err());
        Pacer::coarse().until(soon + Duration::from_millis(2)).await;
        let at = Instant::now() + Duration::from_millis(5);
        pacer.until(at).await;
        assert!(Instant::now() >= at);
    }
}
