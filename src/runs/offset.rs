//! From session time to reference UTC: which offset a chunk is frozen with, and the stamps that follow from it. Pure.

use super::Axis;
use crate::model::{ClockReading, ClockSource, SessionId, Stamp};

/// The largest rate at which the offset may drift between chunks: 0.5 ms per second, as NTP slews a clock (RFC 5905, 11.3,
/// allows 500 ppm). A plot of the series shows no kink at this rate.
const SLEW_PER_NANOS: i64 = 2_000;

/// A larger change is no drift: the clock was wrong, and every second of slewing would be a second of wrong stamps.
const STEP_NANOS: i64 = 1_000_000_000;

/// The least distance of two stamps of a stream. They travel as `f64` seconds, which resolve a quarter of a microsecond.
const LEAST_GAP_NANOS: i64 = 1_000;

/// The longest overlap with the chunk before that is squeezed away. It covers what slewing and a step of one chunk can
/// bring about. When a clock is found to have been wrong by more, the true stamps are worth more than their order.
const LARGEST_SQUEEZE_NANOS: i64 = 60_000_000_000;

/// How wrong the distance of two uptimes may be: each is told in hundredths of a second. A carried offset below it says no
/// more than that the wall clock was left alone.
const UPTIME_UNCERTAINTY_NANOS: i64 = 20_000_000;

/// What ties the clock of a session to the uptime of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SessionClock {
    pub(super) session: SessionId,
    /// The wall clock at the anchor.
    pub(super) anchor: Stamp,
    /// Which boot of which machine, where the system says.
    pub(super) boot_id: Option<String>,
    /// The uptime at the anchor, in nanoseconds.
    pub(super) uptime_nanos: Option<i64>,
    /// The session's newest measurement.
    pub(super) reading: Option<ClockReading>,
}

/// The offset of a session, by the best that is known: its own measurement of the platform's clock; that of the session
/// of the same boot whose anchor is nearest, carried over; its own host's clock; that of a session of the same boot; else
/// zero, which takes the host's wall clock at its word.
///
/// A host's clock comes after all that the platform said, since a session that never reached the platform has measured
/// nothing but its own host, which may think that it is 1970.
///
/// `elsewhere` are sessions of other runs. Only the boot ties them to this one.
pub(super) fn of_session(session: SessionId, clocks: &[SessionClock], elsewhere: &[SessionClock]) -> i64 {
    let Some(own) = clocks.iter().find(|clock| clock.session == session) else { return 0 };
    let by = |source| {
        let of_source = |clock: &SessionClock| clock.reading.filter(|reading| reading.source == source);
        let same_boot = |other: &&SessionClock| own.boot_id.is_some() && other.boot_id == own.boot_id;
        of_source(own).map(|reading| reading.applied_nanos()).or_else(|| {
            clocks
                .iter()
                .chain(elsewhere)
                .filter(same_boot)
                .filter_map(|other| carried(own, other, of_source(other)?))
                .min_by_key(|(distance, _)| *distance)
                .map(|(_, offset)| offset)
        })
    };
    by(ClockSource::Platform).or_else(|| by(ClockSource::Host)).unwrap_or(0)
}

/// The offset of `own`, from that of another session of the same boot, and how far apart their anchors are. The machine's
/// uptime went on evenly between the two anchors while the wall clock may have been stepped: `anchor + offset - uptime` is
/// the time of the boot in reference UTC, and it is the same for both.
fn carried(own: &SessionClock, other: &SessionClock, reading: ClockReading) -> Option<(u64, i64)> {
    let (own_uptime, uptime) = (own.uptime_nanos?, other.uptime_nanos?);
    let boot = other.anchor.as_nanos() + reading.applied_nanos() - uptime;
    let carried = ClockReading {
        offset_nanos: boot + own_uptime - own.anchor.as_nanos(),
        uncertainty_nanos: reading.uncertainty_nanos.saturating_add(UPTIME_UNCERTAINTY_NANOS),
        ..reading
    };
    Some((own_uptime.abs_diff(uptime), carried.applied_nanos()))
}

/// How long ago `at` (time of the session `of`) was, in nanoseconds, as seen at `now`; never negative.
///
/// Within one boot the uptime decides. Across boots only the wall clocks are left, that of `of` corrected where it was
/// measured; a clock that seems to go backwards says nothing, which counts as a moment ago.
pub(super) fn age(at: Stamp, of: &SessionClock, now: Stamp, boot_id: Option<&str>, uptime_nanos: Option<i64>) -> i64 {
    if let (Some(then), Some(uptime)) = (of.uptime_nanos, uptime_nanos)
        && of.boot_id.as_deref() == boot_id
        && boot_id.is_some()
    {
        return (uptime - (then + at.nanos_since(of.anchor))).max(0);
    }
    let offset = of.reading.map_or(0, |reading| reading.applied_nanos());
    now.nanos_since(at.shifted(offset)).max(0)
}

/// The chunk before, as far as it bears on the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Before {
    pub(super) session: SessionId,
    /// Its first tick, in its session's time.
    pub(super) first: Stamp,
    /// The offset that it was frozen with.
    pub(super) offset_nanos: i64,
    /// Its last stamp in UTC.
    pub(super) last_utc: Stamp,
}

/// What the stamps of a chunk are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placing {
    /// Reference UTC = session time + this.
    pub(super) offset_nanos: i64,
    /// All stamps come after this one.
    pub(super) floor: Option<Stamp>,
}

/// Decides the stamps of a chunk whose first tick is at `first`, when `wanted` is the offset of its session by now.
pub(super) fn place(session: SessionId, first: Stamp, wanted: i64, before: Option<Before>) -> Placing {
    let Some(before) = before else { return Placing { offset_nanos: wanted, floor: None } };
    let change = wanted - before.offset_nanos;
    let offset_nanos = if before.session == session && change.abs() <= STEP_NANOS {
        let most = first.nanos_since(before.first).max(0) / SLEW_PER_NANOS;
        before.offset_nanos + change.clamp(-most, most)
    } else {
        wanted
    };
    let overlap = before.last_utc.nanos_since(first.shifted(offset_nanos));
    let floor = (overlap <= LARGEST_SQUEEZE_NANOS).then_some(before.last_utc);
    Placing { offset_nanos, floor }
}

/// Whether the first tick of a chunk keeps the stamp that its time says: then so do all that are apart far enough.
pub(super) fn is_free(placing: Placing, first: Stamp) -> bool {
    placing.floor.is_none_or(|floor| first.shifted(placing.offset_nanos) >= floor.shifted(LEAST_GAP_NANOS))
}

/// The stamps in UTC of ticks at these times: as the offset says, but each after the one before unless a program gave them.
pub(super) fn stamps(axis: Axis, placing: Placing, times: impl IntoIterator<Item = Stamp>) -> Vec<Stamp> {
    if axis == Axis::Given {
        return times.into_iter().map(|at| at.shifted(placing.offset_nanos)).collect();
    }
    let mut floor = placing.floor.map(|floor| floor.shifted(LEAST_GAP_NANOS));
    times
        .into_iter()
        .map(|at| {
            let stamp = at.shifted(placing.offset_nanos);
            let stamp = floor.map_or(stamp, |floor| stamp.max(floor));
            floor = Some(stamp.shifted(LEAST_GAP_NANOS));
            stamp
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn clock(session: i64, anchor: i64, boot: Option<&str>, uptime: Option<i64>, offset: Option<i64>) -> SessionClock {
        SessionClock {
            session: SessionId(session),
            anchor: Stamp::from_nanos(anchor),
            boot_id: boot.map(str::to_owned),
            uptime_nanos: uptime,
            reading: offset.map(|offset_nanos| ClockReading {
                at: Stamp::from_nanos(anchor),
                offset_nanos,
                uncertainty_nanos: 0,
                source: ClockSource::Platform,
            }),
        }
    }

    #[test]
    fn a_session_takes_its_own_reading_first() {
        let clocks = [clock(1, 0, Some("b"), Some(0), Some(5)), clock(2, 0, Some("b"), Some(0), Some(7))];
        assert_eq!(of_session(SessionId(1), &clocks, &[]), 5);
        assert_eq!(of_session(SessionId(2), &clocks, &[]), 7);
        assert_eq!(of_session(SessionId(3), &clocks, &[]), 0, "a session that nobody knows");
    }

    #[test]
    fn a_box_that_booted_in_1970_learns_the_time_of_its_first_session_from_its_second() {
        // True time of the boot: 1000 s. Session 1 began at uptime 20 s with the wall at 20 s, session 2 at uptime 500 s
        // with the wall at 520 s (somebody had set it), where the platform told that it was 980 s slow.
        let clocks = [
            clock(1, 20 * SECOND, Some("b"), Some(20 * SECOND), None),
            clock(2, 520 * SECOND, Some("b"), Some(500 * SECOND), Some(980 * SECOND)),
            clock(3, 600 * SECOND, Some("other boot"), Some(9 * SECOND), None),
            clock(4, 600 * SECOND, None, None, None),
        ];
        assert_eq!(of_session(SessionId(1), &clocks, &[]), 1000 * SECOND);
        assert_eq!(of_session(SessionId(3), &clocks, &[]), 0);
        assert_eq!(of_session(SessionId(4), &clocks, &[]), 0, "no boot id is not the same boot as another without one");
    }

    #[test]
    fn the_nearest_session_of_the_boot_is_asked() {
        let at = |session, uptime: i64, boot, offset: Option<i64>| {
            clock(session, uptime * SECOND, Some(boot), Some(uptime * SECOND), offset.map(|offset| offset * SECOND))
        };
        let unknown = clock(3, 11 * SECOND, Some("b"), None, Some(222 * SECOND));
        let clocks = [at(1, 0, "b", Some(111)), at(2, 10, "b", None), unknown, at(9, 90, "b", Some(333))];
        let of = |session, elsewhere: &[SessionClock]| of_session(SessionId(session), &clocks, elsewhere) / SECOND;
        assert_eq!(of(2, &[]), 111, "session 3 is nearer, but its uptime is unknown");
        let elsewhere = [at(1, 12, "b", Some(444)), at(2, 10, "c", Some(555))];
        assert_eq!(of(2, &elsewhere), 444, "another run's session is nearer still");
        assert_eq!(of(1, &elsewhere), 111, "its own comes first");
    }

    #[test]
    fn a_wall_clock_that_was_left_alone_is_not_moved_by_the_hundredths_of_the_uptime() {
        let own = clock(1, 0, Some("b"), Some(1_000), None);
        for (uptime, wanted) in [(9_000_000, 0), (70_000_000, -69_999_000)] {
            let other = clock(2, 0, Some("b"), Some(uptime), Some(0));
            assert_eq!(of_session(SessionId(1), &[own.clone(), other], &[]), wanted);
        }
    }

    #[test]
    fn what_the_host_says_of_itself_comes_after_what_the_platform_says() {
        let host = |clock: SessionClock| {
            let reading = clock.reading.map(|reading| ClockReading { source: ClockSource::Host, ..reading });
            SessionClock { reading, ..clock }
        };
        // Offline since the boot at 1000 s: each failed attempt made the host, which thinks it is 1970, its own witness.
        let first = host(clock(1, 20 * SECOND, Some("b"), Some(20 * SECOND), Some(0)));
        let second = clock(2, 500 * SECOND, Some("b"), Some(500 * SECOND), Some(1000 * SECOND));
        let third = clock(3, 600 * SECOND, Some("b"), Some(600 * SECOND), None);
        assert_eq!(of_session(SessionId(1), &[first.clone(), second], &[]), 1000 * SECOND);
        // Nothing but hosts: its own; else the other's.
        let stepped = host(clock(2, 500 * SECOND, Some("b"), Some(500 * SECOND), Some(7 * SECOND)));
        let clocks = [first, stepped, third];
        assert_eq!(of_session(SessionId(1), &clocks, &[]), 0);
        assert_eq!(of_session(SessionId(3), &clocks, &[]), 7 * SECOND);
    }

    #[test]
    fn the_age_of_a_run_is_counted_by_uptime_within_a_boot_and_by_wall_clocks_otherwise() {
        let of = clock(1, 100 * SECOND, Some("b"), Some(10 * SECOND), None);
        let at = Stamp::from_nanos(130 * SECOND);
        let now = Stamp::from_nanos(1_000_000 * SECOND);
        assert_eq!(
            age(at, &of, now, Some("b"), Some(45 * SECOND)),
            5 * SECOND,
            "the wall was stepped, the uptime was not"
        );
        assert_eq!(age(at, &of, Stamp::from_nanos(137 * SECOND), Some("c"), Some(SECOND)), 7 * SECOND);
        assert_eq!(age(at, &of, Stamp::from_nanos(50 * SECOND), None, None), 0);
        let slow = clock(1, 100 * SECOND, None, None, Some(1000 * SECOND));
        assert_eq!(age(at, &slow, Stamp::from_nanos(1137 * SECOND), None, None), 7 * SECOND);
    }

    #[test]
    fn small_changes_are_slewed_and_large_ones_stepped() {
        let before = Before {
            session: SessionId(1),
            first: Stamp::from_nanos(0),
            offset_nanos: 0,
            last_utc: Stamp::from_nanos(9 * SECOND),
        };
        let placed = |session, wanted| place(SessionId(session), Stamp::from_nanos(10 * SECOND), wanted, Some(before));
        assert_eq!(placed(1, 800_000_000).offset_nanos, 5_000_000, "10 s allow 5 ms");
        assert_eq!(placed(1, -800_000_000).offset_nanos, -5_000_000);
        assert_eq!(placed(1, 3_000_000).offset_nanos, 3_000_000);
        assert_eq!(placed(1, 2 * SECOND).offset_nanos, 2 * SECOND);
        assert_eq!(placed(2, 800_000_000).offset_nanos, 800_000_000, "another session has another clock");
    }

    #[test]
    fn a_clock_that_was_an_hour_fast_does_not_squeeze_an_hour_into_an_instant() {
        let before = Before {
            session: SessionId(1),
            first: Stamp::from_nanos(0),
            offset_nanos: 0,
            last_utc: Stamp::from_nanos(9 * SECOND),
        };
        let first = Stamp::from_nanos(10 * SECOND);
        let hour = -3_600 * SECOND;
        assert_eq!(place(SessionId(1), first, hour, Some(before)), Placing { offset_nanos: hour, floor: None });
        let ten = place(SessionId(1), first, -10 * SECOND, Some(before));
        assert_eq!(ten.floor, Some(before.last_utc));
        let times = [10, 15, 20].map(|second| Stamp::from_nanos(second * SECOND));
        let wanted = [9 * SECOND + 1_000, 9 * SECOND + 2_000, 10 * SECOND].map(Stamp::from_nanos);
        assert_eq!(stamps(Axis::Grid, ten, times), wanted);
    }

    proptest! {
        #[test]
        fn stamps_rise_and_differ_on_the_wire(
            chunks in proptest::collection::vec((-5 * SECOND..5 * SECOND, proptest::collection::vec(1..2 * SECOND, 1..20)), 1..12),
        ) {
            let mut at = 1_790_000_000 * SECOND;
            let mut before: Option<Before> = None;
            let mut all: Vec<Stamp> = Vec::new();
            for (wanted, gaps) in chunks {
                let times: Vec<Stamp> = gaps.into_iter().map(|gap| { at += gap; Stamp::from_nanos(at) }).collect();
                let placing = place(SessionId(1), times[0], wanted, before);
                let stamped = stamps(Axis::Grid, placing, times.iter().copied());
                if let Some(before) = before {
                    let change = placing.offset_nanos - before.offset_nanos;
                    let elapsed = times[0].nanos_since(before.first);
                    prop_assert!(change.abs() > STEP_NANOS || change.abs() <= elapsed / SLEW_PER_NANOS);
                }
                before = Some(Before {
                    session: SessionId(1),
                    first: times[0],
                    offset_nanos: placing.offset_nanos,
                    last_utc: *stamped.last().unwrap(),
                });
                all.extend(stamped);
            }
            prop_assert!(all.is_sorted_by(|a, b| a.as_unix_seconds() < b.as_unix_seconds()));
        }
    }
}
