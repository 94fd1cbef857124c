//! The loop that asks the platform for the time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Exchange;
use super::Filter;
use crate::atomscale::GatewayTime;
use crate::atomscale::Platform;
use crate::atomscale::PlatformError;
use crate::model::ClockReading;
use crate::model::ClockSource;
use crate::model::Stamp;
use crate::model::TimeBase;
use crate::model::with_causes;

/// How wrong the host's own clock may be before it is believed over the time base, which started from it. A stepped host
/// clock (NTP at last, a technician) moves by far more; less than this is the two oscillators of one machine.
const HOST_UNCERTAINTY_NANOS: i64 = 1_000_000_000;

/// When the platform is asked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// False where the lab has turned the clock off; see [`skipped`].
    pub enabled: bool,
    /// Exchanges of the first round.
    pub burst: usize,
    /// Time between the exchanges of the first round.
    pub burst_every: Duration,
    /// Time between the later ones, and the longest time between attempts while the platform can't be reached.
    pub every: Duration,
    /// Time to the second attempt while the platform can't be reached; it doubles from there.
    pub retry: Duration,
    /// Whoever learns that the platform can be reached again, or that the host's clock was set, notifies this: the next
    /// measurement is made at once.
    pub nudge: Arc<Notify>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            burst: 4,
            burst_every: Duration::from_secs(2),
            every: Duration::from_secs(300),
            retry: Duration::from_secs(10),
            nudge: Arc::default(),
        }
    }
}

/// Whether the value of `ATOMSCALE_SKIP_CLOCK_SYNC` turns the clock off: set, not empty and not `0`, as in the vendor's SDK.
pub fn skipped(variable: Option<&str>) -> bool {
    variable.is_some_and(|value| !value.is_empty() && value != "0")
}

/// Measures until it is stopped, and publishes what is believed each time that changes.
///
/// Until the platform has been measured once in this session, each failed attempt publishes the host's own clock instead.
/// A measurement of the platform is never replaced by the host's. Turned off, it publishes nothing and returns.
pub async fn run(
    settings: Settings,
    time: TimeBase,
    platform: Arc<dyn Platform>,
    readings: watch::Sender<Option<ClockReading>>,
    stop: CancellationToken,
) {
    if !settings.enabled {
        tracing::warn!("the reference clock is turned off; stamps keep the host's time");
        return;
    }
    stop.run_until_cancelled(Clock { settings, time, platform, readings, filter: Filter::default() }.measure()).await;
}

struct Clock {
    settings: Settings,
    time: TimeBase,
    platform: Arc<dyn Platform>,
    readings: watch::Sender<Option<ClockReading>>,
    filter: Filter,
}

impl Clock {
    async fn measure(mut self) {
        let mut failing_since = None;
        let mut retry = self.settings.retry;
        loop {
            match self.round().await {
                Ok(()) => {
                    if let Some(since) = failing_since.take() {
                        let seconds = self.time.now().since(since).as_secs();
                        tracing::info!(after_seconds = seconds, "the platform's clock answers again");
                    }
                    retry = self.settings.retry;
                    // A machine that was asleep, or whose clock was set, is measured anew.
                    drop(tokio::time::timeout(self.settings.every, self.settings.nudge.notified()).await);
                }
                Err(error) => {
                    if failing_since.is_none() {
                        failing_since = Some(self.time.now());
                        tracing::warn!(error = %with_causes(&error), "the platform's clock can't be read; trying again");
                    }
                    self.fall_back();
                    let nudged = tokio::time::timeout(retry, self.settings.nudge.notified()).await.is_ok();
                    retry = if nudged { self.settings.retry } else { (retry * 2).min(self.settings.every) };
                }
            }
        }
    }

    /// A burst while nothing is known, one exchange after that. Each round warms the connection first.
    async fn round(&mut self) -> Result<(), PlatformError> {
        let exchanges = if self.filter.reading().is_none() { self.settings.burst } else { 1 };
        self.platform.gateway_time().await?;
        for number in 0..exchanges {
            if number > 0 {
                tokio::time::sleep(self.settings.burst_every).await;
            }
            let sent = self.time.now();
            let answer = self.platform.gateway_time().await?;
            let returned = self.time.now();
            match exchange(sent, &answer, returned) {
                Some(exchange) if self.filter.add(&exchange) => self.publish(self.filter.reading()),
                _ => tracing::debug!(?sent, ?answer, ?returned, "a clock was stepped during the exchange; not used"),
            }
        }
        Ok(())
    }

    fn fall_back(&self) {
        if self.filter.reading().is_none() {
            self.publish(Some(ClockReading {
                at: self.time.now(),
                offset_nanos: self.time.host_drift_nanos(),
                uncertainty_nanos: HOST_UNCERTAINTY_NANOS,
                source: ClockSource::Host,
            }));
        }
    }

    fn publish(&self, reading: Option<ClockReading>) {
        self.readings.send_if_modified(|current| {
            let changed = *current != reading;
            *current = reading;
            changed
        });
    }
}

/// The exchange's four stamps; none if the platform's are no times at all.
fn exchange(sent: Stamp, answer: &GatewayTime, returned: Stamp) -> Option<Exchange> {
    Some(Exchange { sent, received: stamp(answer.received_ms)?, transmitted: stamp(answer.transmitted_ms)?, returned })
}

/// Unix milliseconds as a stamp; none for a number that is no time. Whole milliseconds and their fraction are scaled apart,
/// since an `f64` of nanoseconds resolves only a quarter of a microsecond.
fn stamp(ms: f64) -> Option<Stamp> {
    // The year 2255: nanoseconds in an `i64` end soon after.
    if !(0.0..9_000_000_000_000.0).contains(&ms) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
    let (whole, fraction) = (ms.trunc() as i64, (ms.fract() * 1e6).round() as i64);
    Some(Stamp::from_nanos(whole.checked_mul(1_000_000)?.checked_add(fraction)?))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::atomscale::MockPlatform;

    /// A clock this far ahead of the time base; it can't be reached for the first so many questions.
    fn ahead(time: TimeBase, offset_ms: f64, unreachable: usize) -> (MockPlatform, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let mut platform = MockPlatform::new();
        let count = Arc::clone(&asked);
        platform.expect_gateway_time().returning(move || {
            if count.fetch_add(1, Ordering::SeqCst) < unreachable {
                return Err(PlatformError::TimedOut);
            }
            let now = time.now().as_nanos() as f64 / 1e6 + offset_ms;
            Ok(GatewayTime { received_ms: now, transmitted_ms: now })
        });
        (platform, asked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_discarded_request_then_four_two_seconds_apart_then_two_each_five_minutes() {
        let time = TimeBase::start();
        let (platform, asked) = ahead(time, 5_000.0, 0);
        let (sender, mut readings) = watch::channel(None);
        let stop = CancellationToken::new();
        let began = tokio::time::Instant::now();
        let task = tokio::spawn(run(Settings::default(), time, Arc::new(platform), sender, stop.clone()));
        readings.changed().await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 2, "one to warm the connection, one that counts");
        let reading = readings.borrow().unwrap();
        assert_eq!(reading.source, ClockSource::Platform);
        assert!((reading.offset_nanos - 5_000_000_000).abs() <= reading.uncertainty_nanos + 1_000, "{reading:?}");
        assert_eq!(reading.applied_nanos(), reading.offset_nanos);
        tokio::time::sleep_until(began + Duration::from_secs(7)).await;
        assert_eq!(asked.load(Ordering::SeqCst), 5);
        tokio::time::sleep_until(began + Duration::from_secs(305)).await;
        assert_eq!(asked.load(Ordering::SeqCst), 5);
        tokio::time::sleep_until(began + Duration::from_secs(307)).await;
        assert_eq!(asked.load(Ordering::SeqCst), 7);
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_platform_the_host_is_the_source_and_never_again_after_it() {
        let time = TimeBase::start();
        let (platform, asked) = ahead(time, -40_000.0, 3);
        let (sender, mut readings) = watch::channel(None);
        let stop = CancellationToken::new();
        let began = tokio::time::Instant::now();
        let task = tokio::spawn(run(Settings::default(), time, Arc::new(platform), sender, stop.clone()));
        readings.changed().await.unwrap();
        let reading = readings.borrow_and_update().unwrap();
        assert_eq!((reading.source, reading.applied_nanos()), (ClockSource::Host, 0));
        // Attempts at 0, 10, 30 and 70 s: the fourth is answered.
        let platform = readings.wait_for(|reading| reading.unwrap().source == ClockSource::Platform).await.unwrap();
        assert!((platform.unwrap().offset_nanos + 40_000_000_000).abs() < 1_000_000_000);
        drop(platform);
        assert_eq!(began.elapsed().as_secs(), 70);
        assert_eq!(asked.load(Ordering::SeqCst), 5);
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn turned_off_it_asks_nothing() {
        let (sender, readings) = watch::channel(None);
        let settings = Settings { enabled: !skipped(Some("1")), ..Settings::default() };
        run(settings, TimeBase::start(), Arc::new(MockPlatform::new()), sender, CancellationToken::new()).await;
        assert_eq!(*readings.borrow(), None);
    }

    #[test]
    fn the_clock_is_turned_off_as_in_the_vendor_s_sdk() {
        for (value, off) in
            [(None, false), (Some(""), false), (Some("0"), false), (Some("1"), true), (Some("no"), true)]
        {
            assert_eq!(skipped(value), off, "{value:?}");
        }
    }

    #[test]
    fn a_stamp_that_is_no_time_is_none() {
        assert_eq!(stamp(1_795_357_081_100.25), Some(Stamp::from_nanos(1_795_357_081_100_250_000)));
        for odd in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            assert_eq!(stamp(odd), None);
        }
    }
}
