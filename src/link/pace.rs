//! A timer that is on time.
//!
//! Tokio's own timer has a grain of a millisecond and fires about a millisecond late; that would be visible in the time
//! stamps of a fast poll. On Linux the pacer waits for a `timerfd` in the same reactor instead. A processor that has gone to
//! sleep still takes its time to wake, a tenth of a millisecond or more on a virtual machine; where the instant itself
//! counts, the pacer learns how long that is, has itself woken so much earlier, and spins for the rest.

use std::time::Duration;

use tokio::time::Instant;

/// The longest that the pacer spins before an instant. At 100 waits a second that is 4 % of a core at worst, and no machine
/// worth pacing on needs it all.
const LONGEST_SPIN: Duration = Duration::from_micros(400);

/// Waits until instants, precisely where the system allows it.
#[derive(Debug)]
pub struct Pacer {
    #[cfg(target_os = "linux")]
    timer: Option<timerfd::Timer>,
    /// How late nearly every wake-up comes.
    waking: Duration,
}

impl Pacer {
    /// A precise pacer; on systems without `timerfd`, or where none can be had, a coarse one. Needs a Tokio runtime.
    pub fn new() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            timer: timerfd::Timer::new()
                .inspect_err(|error| tracing::warn!(%error, "no precise timer; pacing to the millisecond"))
                .ok(),
            waking: Duration::ZERO,
        }
    }

    /// A pacer on Tokio's timer, which follows a paused clock.
    pub fn coarse() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            timer: None,
            waking: Duration::ZERO,
        }
    }

    /// The same as [`Self::until`], nearer to the instant, at the price of some processor time.
    pub async fn until_exactly(&mut self, at: Instant) {
        let early = at.checked_sub(self.waking).filter(|early| *early > Instant::now());
        // Tokio's clock may be paused where there is no timer of the kernel: nothing could be waited for by spinning.
        let (true, Some(early)) = (self.is_precise(), early) else { return self.until(at).await };
        self.until(early).await;
        self.learn(Instant::now().saturating_duration_since(early));
        let given_up = std::time::Instant::now() + LONGEST_SPIN;
        while Instant::now() < at && std::time::Instant::now() < given_up {
            std::hint::spin_loop();
        }
        self.until(at).await;
    }

    /// Takes note of how late a wake-up came. It follows the late ones fast and the early ones slowly, so that most come
    /// in time.
    fn learn(&mut self, late: Duration) {
        let late = late.min(LONGEST_SPIN);
        self.waking = if late > self.waking {
            self.waking + (late - self.waking) / 4
        } else {
            self.waking - (self.waking - late) / 32
        };
    }

    fn is_precise(&self) -> bool {
        #[cfg(target_os = "linux")]
        return self.timer.is_some();
        #[cfg(not(target_os = "linux"))]
        return false;
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
    async fn an_exact_wait_is_never_early_and_nearer_than_a_plain_one() {
        let mut exact = Pacer::new();
        let mut plain = Pacer::new();
        let (mut exactly, mut plainly) = (Vec::new(), Vec::new());
        for _ in 0..300 {
            let at = Instant::now() + Duration::from_micros(2_300);
            exact.until_exactly(at).await;
            let now = Instant::now();
            assert!(now >= at, "the pacer must never be early");
            exactly.push(now.duration_since(at).as_micros());
            let at = Instant::now() + Duration::from_micros(2_300);
            plain.until(at).await;
            plainly.push(Instant::now().duration_since(at).as_micros());
        }
        exactly.sort_unstable();
        plainly.sort_unstable();
        println!(
            "lateness us: exact median {} p99 {}; plain {} {}",
            exactly[150], exactly[297], plainly[150], plainly[297]
        );
        if cfg!(target_os = "linux") {
            assert!(exactly[150] <= plainly[150], "exact {} us, plain {} us", exactly[150], plainly[150]);
        }
        assert!(exact.waking <= LONGEST_SPIN);
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
