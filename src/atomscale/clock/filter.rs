//! Which of the recent measurements is believed.

use std::collections::VecDeque;

use crate::model::ClockReading;
use crate::model::ClockSource;
use crate::model::Stamp;

/// Measurements that are kept: at one in five minutes, those of the last 40 minutes.
const WINDOW: usize = 8;

/// A change beyond this and the delay is no noise: one of the two clocks was stepped.
const STEP_NANOS: i64 = 1_000_000_000;

/// The four stamps of one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// When the request was sent, in the session's time.
    pub sent: Stamp,
    /// When the platform received it, in the platform's time.
    pub received: Stamp,
    /// When the platform answered, in the platform's time.
    pub transmitted: Stamp,
    /// When the answer was here, in the session's time.
    pub returned: Stamp,
}

#[derive(Debug, Clone, Copy)]
struct Measurement {
    at: Stamp,
    offset_nanos: i64,
    delay_nanos: i64,
}

impl Exchange {
    /// None for a negative delay or hold: a clock was stepped during the exchange, so it says nothing.
    fn measure(&self) -> Option<Measurement> {
        let hold = self.transmitted.nanos_since(self.received);
        let delay_nanos = self.returned.nanos_since(self.sent).saturating_sub(hold);
        if hold < 0 || delay_nanos < 0 {
            return None;
        }
        let there = i128::from(self.received.as_nanos()) - i128::from(self.sent.as_nanos());
        let back = i128::from(self.transmitted.as_nanos()) - i128::from(self.returned.as_nanos());
        let offset_nanos = i64::try_from((there + back) / 2).ok()?;
        Some(Measurement { at: self.returned, offset_nanos, delay_nanos })
    }
}

/// The last eight measurements, of which the one with the least delay counts. Pure.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    window: VecDeque<Measurement>,
}

impl Filter {
    /// Takes an exchange in; false if it says nothing and was thrown away.
    ///
    /// A change of more than a second and the delay drops everything older: waiting for the old ones to leave the window
    /// would keep a wrong time for half an hour.
    pub fn add(&mut self, exchange: &Exchange) -> bool {
        let Some(new) = exchange.measure() else { return false };
        if let Some(best) = self.best() {
            let change = i128::from(new.offset_nanos) - i128::from(best.offset_nanos);
            let noise = i128::from(new.delay_nanos.max(best.delay_nanos));
            if change.abs() > i128::from(STEP_NANOS) + noise {
                self.window.clear();
            }
        }
        if self.window.len() == WINDOW {
            self.window.pop_front();
        }
        self.window.push_back(new);
        true
    }

    /// What is believed now: the measurement with the least delay, the newer of two that tie. Its uncertainty is half its delay.
    pub fn reading(&self) -> Option<ClockReading> {
        self.best().map(|best| ClockReading {
            at: best.at,
            offset_nanos: best.offset_nanos,
            uncertainty_nanos: best.delay_nanos / 2 + best.delay_nanos % 2,
            source: ClockSource::Platform,
        })
    }

    fn best(&self) -> Option<&Measurement> {
        self.window.iter().rev().min_by_key(|measurement| measurement.delay_nanos)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: i64 = 1_000_000;

    /// An exchange at `at` ms with these times there, held and back, against a clock that is `offset` ms ahead.
    fn exchange(at: i64, offset: i64, there: i64, hold: i64, back: i64) -> Exchange {
        let stamp = |ms: i64| Stamp::from_nanos(1_795_357_081_000_000_000 + ms * MS);
        Exchange {
            sent: stamp(at),
            received: stamp(at + there + offset),
            transmitted: stamp(at + there + hold + offset),
            returned: stamp(at + there + hold + back),
        }
    }

    fn offset_and_uncertainty(filter: &Filter) -> (i64, i64) {
        let reading = filter.reading().unwrap();
        (reading.offset_nanos / MS, reading.uncertainty_nanos / MS)
    }

    #[test]
    fn the_least_delay_wins_and_the_newer_of_two_that_tie() {
        let mut filter = Filter::default();
        assert_eq!(filter.reading(), None);
        assert!(filter.add(&exchange(0, 500, 90, 5, 10)));
        assert_eq!(offset_and_uncertainty(&filter), (540, 50));
        assert!(filter.add(&exchange(2_000, 500, 10, 5, 10)));
        assert_eq!(offset_and_uncertainty(&filter), (500, 10));
        assert!(filter.add(&exchange(4_000, 500, 40, 5, 10)));
        assert_eq!(offset_and_uncertainty(&filter), (500, 10));
        assert!(filter.add(&exchange(6_000, 502, 10, 5, 10)));
        assert_eq!(offset_and_uncertainty(&filter), (502, 10));
    }

    #[test]
    fn the_ninth_measurement_pushes_the_first_out() {
        let mut filter = Filter::default();
        filter.add(&exchange(0, 0, 1, 0, 1));
        for k in 1..8 {
            filter.add(&exchange(k * 1_000, 0, 20, 0, 20));
            assert_eq!(offset_and_uncertainty(&filter).1, 1);
        }
        filter.add(&exchange(8_000, 0, 20, 0, 20));
        assert_eq!(offset_and_uncertainty(&filter).1, 20);
    }

    #[test]
    fn a_negative_delay_or_hold_is_thrown_away() {
        let mut filter = Filter::default();
        assert!(!filter.add(&exchange(0, 0, 10, -1, 10)));
        assert!(!filter.add(&exchange(0, 0, -20, 0, 10)));
        assert_eq!(filter.reading(), None);
    }

    #[test]
    fn a_step_drops_what_is_older_and_a_slow_answer_does_not() {
        let mut filter = Filter::default();
        filter.add(&exchange(0, 0, 5, 0, 5));
        // Lopsided by 1.9 s, but its own delay of 4 s allows for that.
        filter.add(&exchange(2_000, 0, 3_900, 0, 100));
        assert_eq!(offset_and_uncertainty(&filter), (0, 5));
        filter.add(&exchange(10_000, -60_000, 20, 0, 20));
        assert_eq!(offset_and_uncertainty(&filter), (-60_000, 20));
    }

    proptest! {
        #[test]
        fn the_true_offset_is_within_the_uncertainty(
            offset in -10_000_000i64..10_000_000,
            ways in proptest::collection::vec((0i64..500, 0i64..50, 0i64..500), 1..20),
        ) {
            let mut filter = Filter::default();
            for (at, (there, hold, back)) in ways.into_iter().enumerate() {
                prop_assert!(filter.add(&exchange(i64::try_from(at).unwrap() * 2_000, offset, there, hold, back)));
                let reading = filter.reading().unwrap();
                prop_assert!((reading.offset_nanos - offset * MS).abs() <= reading.uncertainty_nanos);
            }
        }
    }
}
