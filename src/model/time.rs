//! Time: one wall-clock reading per session, and a monotonic count from there.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const NANOS_A_SECOND: i64 = 1_000_000_000;

/// A point in time: nanoseconds since the Unix epoch on the [`TimeBase`] of its session.
///
/// It becomes reference UTC only when the session's offset is added, which happens when a chunk is frozen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(i64);

impl Stamp {
    /// The stamp this many nanoseconds after the Unix epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Seconds since the Unix epoch, as the platform takes them. An `f64` resolves a quarter of a microsecond today.
    /// A stamp that was made [`from_unix_seconds`](Self::from_unix_seconds) gives the very same number.
    pub fn as_unix_seconds(self) -> f64 {
        // Whole seconds are exact, and so is their sum with the rest but for its last bit. A quotient of nanoseconds would be
        // rounded twice, and the stamp of a program not come back as it was given.
        let (seconds, rest) = (self.0.div_euclid(NANOS_A_SECOND), self.0.rem_euclid(NANOS_A_SECOND));
        seconds as f64 + rest as f64 / 1e9
    }

    /// The stamp of a time in seconds since the Unix epoch, to the nanosecond; none for NaN, an infinity, or a time more than
    /// 292 years from the epoch.
    pub fn from_unix_seconds(seconds: f64) -> Option<Self> {
        // Nanoseconds in an `i64` end a moment later. NaN is in no range.
        if !(-9_223_372_036.0..=9_223_372_036.0).contains(&seconds) {
            return None;
        }
        let whole = seconds.trunc();
        #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
        let (whole_nanos, nanos) = (whole as i64 * NANOS_A_SECOND, ((seconds - whole) * 1e9).round() as i64);
        Some(Self(whole_nanos + nanos))
    }

    /// This stamp moved by a signed number of nanoseconds.
    pub const fn shifted(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// This stamp moved into the future.
    pub fn plus(self, by: Duration) -> Self {
        self.shifted(nanos_of(by))
    }

    /// This stamp moved into the past.
    pub fn minus(self, by: Duration) -> Self {
        self.shifted(-nanos_of(by))
    }

    /// Nanoseconds from `earlier` to this stamp; negative when it is not earlier.
    pub const fn nanos_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Time from `earlier` to this stamp; zero when it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.nanos_since(earlier)).unwrap_or(0))
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0.div_euclid(1_000_000_000), self.0.rem_euclid(1_000_000_000))
    }
}

/// The clock of one session: the wall clock read once, counted on monotonically.
///
/// A host clock that is stepped later (NTP, a technician, daylight saving done wrong) does not move it.
#[derive(Debug, Clone, Copy)]
pub struct TimeBase {
    anchor: TimeZero,
}

/// The two readings that fix a [`TimeBase`], taken together.
#[derive(Debug, Clone, Copy)]
pub struct TimeZero {
    /// What the host's wall clock said.
    pub wall: Stamp,
    /// What the monotonic clock said at that moment.
    pub monotonic: Instant,
}

impl TimeBase {
    /// Fixes a time base to the host's wall clock as it is now.
    pub fn start() -> Self {
        Self::anchored(TimeZero { wall: host_clock(), monotonic: Instant::now() })
    }

    /// Fixes a time base to two given readings.
    pub const fn anchored(anchor: TimeZero) -> Self {
        Self { anchor }
    }

    /// The readings that fixed this time base.
    pub const fn zero(&self) -> TimeZero {
        self.anchor
    }

    /// The time now.
    pub fn now(&self) -> Stamp {
        self.stamp(Instant::now())
    }

    /// The time at a monotonic instant.
    pub fn stamp(&self, at: Instant) -> Stamp {
        match at.checked_duration_since(self.anchor.monotonic) {
            Some(after) => self.anchor.wall.plus(after),
            None => self.anchor.wall.minus(self.anchor.monotonic.saturating_duration_since(at)),
        }
    }

    /// The monotonic instant of a time; the anchor for times too far in the past to have one.
    pub fn instant(&self, at: Stamp) -> Instant {
        let from_anchor = at.nanos_since(self.anchor.wall);
        let distance = Duration::from_nanos(from_anchor.unsigned_abs());
        let instant = if from_anchor >= 0 {
            self.anchor.monotonic.checked_add(distance)
        } else {
            self.anchor.monotonic.checked_sub(distance)
        };
        instant.unwrap_or(self.anchor.monotonic)
    }

    /// How far the host's wall clock has moved away from this time base, in nanoseconds.
    pub fn host_drift_nanos(&self) -> i64 {
        host_clock().nanos_since(self.now())
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where a session reads the wall clock")]
fn host_clock() -> Stamp {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => Stamp(nanos_of(after)),
        Err(before) => Stamp(-nanos_of(before.duration())),
    }
}

/// The nanoseconds of a duration, or as many as a stamp can count.
pub fn nanos_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A time that doubles with each count after the first, up to a longest: pauses after failures.
pub fn doubled(first: Duration, count: u32, longest: Duration) -> Duration {
    let factor = 1u32.checked_shl(count.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_doubles_up_to_the_longest() {
        const FIRST: Duration = Duration::from_millis(500);
        const LONGEST: Duration = Duration::from_secs(30);
        let bounds: Vec<u128> = (1..9).map(|n| doubled(FIRST, n, LONGEST).as_millis()).collect();
        assert_eq!(bounds, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(doubled(FIRST, 0, LONGEST), FIRST);
        assert_eq!(doubled(FIRST, u32::MAX, LONGEST), LONGEST);
    }

    #[test]
    fn a_stamp_survives_the_way_to_an_instant_and_back() {
        let base = TimeBase::start();
        for nanos in [-3_000_000_000, -1, 0, 1, 86_400_000_000_000] {
            let at = base.zero().wall.shifted(nanos);
            assert_eq!(base.stamp(base.instant(at)), at);
        }
    }

    proptest! {
        /// From 1970 to 2106 (but for times so near to the epoch that an `f64` tells parts of a nanosecond apart).
        #[test]
        fn seconds_come_back_to_the_bit(seconds in 4_194_304.0..4_294_967_296.0_f64, nanos in 4_194_304_000_000_000..4_294_967_296_000_000_000_i64) {
            let stamp = Stamp::from_unix_seconds(seconds).unwrap();
            prop_assert_eq!(stamp.as_unix_seconds().to_bits(), seconds.to_bits());
            let way = Stamp::from_nanos(nanos).as_unix_seconds();
            let back = Stamp::from_unix_seconds(way).unwrap();
            prop_assert!((back.as_nanos() - nanos).abs() <= 240, "{} {}", back.as_nanos(), nanos);
        }
    }

    #[test]
    fn what_is_no_time_has_no_stamp() {
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e10, -1e300] {
            assert_eq!(Stamp::from_unix_seconds(odd), None);
        }
        assert_eq!(Stamp::from_unix_seconds(-1.5), Some(Stamp::from_nanos(-1_500_000_000)));
        assert_eq!(Stamp::from_nanos(-1_500_000_000).as_unix_seconds(), -1.5);
    }

    #[test]
    fn time_before_1970_is_a_negative_stamp() {
        let anchor = TimeZero { wall: Stamp::from_nanos(5), monotonic: Instant::now() };
        let base = TimeBase::anchored(anchor);
        let earlier = anchor.monotonic - Duration::from_nanos(7);
        assert_eq!(base.stamp(earlier), Stamp::from_nanos(-2));
        assert_eq!(Stamp::from_nanos(-2).since(Stamp::from_nanos(5)), Duration::ZERO);
    }
}
