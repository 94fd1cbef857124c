//! Waiting on the line's own time: closer than the millisecond grain of tokio's timer, where the system allows.

use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
#[cfg(unix)]
use tokio::io::unix::AsyncFd;

use crate::model::LineSettings;

/// How fast bytes go over a line.
///
/// A pty and a socket know no baud rate, so whoever simulates a line has to keep its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pace {
    /// As a line with these settings would carry them.
    Line(LineSettings),
    /// At once.
    Unpaced,
}

impl Pace {
    /// Time that this many characters take.
    pub(super) fn time_of(&self, chars: usize) -> Duration {
        match self {
            Self::Line(line) => line.time_of(chars),
            Self::Unpaced => Duration::ZERO,
        }
    }

    /// The silence after which a Modbus RTU device holds a frame for complete, and before which it does not answer.
    pub(super) fn modbus_silence(&self) -> Duration {
        match self {
            Self::Line(line) => line.modbus_silence(),
            Self::Unpaced => Duration::ZERO,
        }
    }
}

/// Lets the runtime watch a descriptor for something to read.
#[cfg(unix)]
#[expect(
    deprecated,
    reason = "sound for an OwnedFd, which is open as long as it is; what replaces it is an unsafe function"
)]
pub(super) fn watched(fd: rustix::fd::OwnedFd) -> std::io::Result<AsyncFd<rustix::fd::OwnedFd>> {
    AsyncFd::with_interest(fd, tokio::io::Interest::READABLE)
}

/// A timer that wakes within tens of microseconds on Linux, within a millisecond elsewhere.
#[derive(Debug)]
pub(super) struct Alarm {
    #[cfg(target_os = "linux")]
    timer: Option<AsyncFd<rustix::fd::OwnedFd>>,
}

impl Alarm {
    /// Takes a timer of the system; without one, tokio's has to do.
    pub(super) fn new() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            timer: timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)
                .and_then(|fd| watched(fd).map_err(|_| rustix::io::Errno::INVAL))
                .ok(),
        }
    }

    /// Returns at this time, or at once when it has passed.
    pub(super) async fn until(&self, at: Instant) {
        let now = Instant::now();
        let Some(ahead) = at.checked_duration_since(now).filter(|ahead| !ahead.is_zero()) else {
            return;
        };
        #[cfg(target_os = "linux")]
        if let Some(timer) = &self.timer
            && wait(timer, ahead).await.is_ok()
        {
            return;
        }
        tokio::time::sleep(ahead).await;
    }
}

#[cfg(target_os = "linux")]
async fn wait(timer: &AsyncFd<rustix::fd::OwnedFd>, ahead: Duration) -> std::io::Result<()> {
    let value =
        Timespec { tv_sec: i64::try_from(ahead.as_secs()).unwrap_or(i64::MAX), tv_nsec: ahead.subsec_nanos().into() };
    let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
    // Setting the timer also forgets an expiry that a cancelled wait has left.
    timerfd_settime(timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
    let mut expired = [0; 8];
    loop {
        let mut ready = timer.readable().await?;
        match ready.try_io(|timer| Ok(rustix::io::read(timer, &mut expired)?)) {
            Ok(done) => return done.map(|_| ()),
            Err(_would_block) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_alarm_is_not_early_and_hardly_late() {
        let alarm = Alarm::new();
        let mut late = Vec::new();
        for micros in (1..40).map(|step| step * 70) {
            let at = Instant::now() + Duration::from_micros(micros);
            alarm.until(at).await;
            let now = Instant::now();
            assert!(now >= at, "{micros} us: early");
            late.push(now - at);
        }
        late.sort();
        // tokio's own timer would be late by a third of a millisecond at its best.
        if cfg!(target_os = "linux") {
            assert!(late[0] < Duration::from_micros(300), "{late:?}");
        }
    }

    #[tokio::test]
    async fn a_cancelled_wait_does_not_ring_later() {
        let alarm = Alarm::new();
        let long = alarm.until(Instant::now() + Duration::from_millis(20));
        tokio::time::timeout(Duration::from_millis(1), long).await.unwrap_err();
        let at = Instant::now() + Duration::from_millis(60);
        alarm.until(at).await;
        assert!(Instant::now() >= at);
    }
}
