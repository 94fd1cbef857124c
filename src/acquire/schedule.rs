//! Which poll is due next: earliest deadline first, on a fixed grid, with a pause for instruments that do not answer.
//!
//! Pure: time comes in as stamps. Slots lie on whole multiples of the period since the epoch of the time base, so that
//! instruments of one period are asked together and their samples share ticks. A slot whose whole period has gone by is
//! skipped and counted, never made up in a burst.

use std::time::Duration;

use crate::model::{Stamp, doubled, nanos_of};

/// Polls without an answer that are put up with before an instrument is given a pause: a single lost reply is no reason
/// to lose a second of readings.
const TOLERATED_FAILURES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Polls slower than this are carried out at once at the start, off the grid: sampling begins within a fifth of a second,
/// and a setting that is read once a minute is known from the beginning of a run.
const AT_ONCE_ABOVE: Duration = Duration::from_millis(100);

/// The poll plan of one link.
#[derive(Debug)]
pub(crate) struct Schedule {
    entries: Vec<Entry>,
    /// Polls without an answer in a row, by instrument.
    failures: Vec<u32>,
}

#[derive(Debug)]
struct Entry {
    instrument: usize,
    poll: usize,
    period: i64,
    slot: Stamp,
}

/// A poll that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    entry: usize,
    pub(crate) instrument: usize,
    pub(crate) poll: usize,
    /// When it should begin.
    pub(crate) at: Stamp,
}

/// What the end of a poll means for the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outlook {
    /// Slots of the instrument that will not be used.
    pub(crate) skipped: u64,
    /// How long the instrument is left alone, if it is.
    pub(crate) pause: Option<Duration>,
}

impl Schedule {
    /// A plan for these polls, each with its instrument, its number there and its period.
    pub(crate) fn new(polls: impl IntoIterator<Item = (usize, usize, Duration)>, now: Stamp) -> Self {
        let entries: Vec<Entry> = polls
            .into_iter()
            .map(|(instrument, poll, every)| {
                let period = nanos_of(every).max(1);
                let slot = if every > AT_ONCE_ABOVE { now } else { on_grid(now, period) };
                Entry { instrument, poll, period, slot }
            })
            .collect();
        let instruments = entries.iter().map(|entry| entry.instrument + 1).max().unwrap_or(0);
        Self { entries, failures: vec![0; instruments] }
    }

    /// The most urgent poll whose slot has come, or else the first to come; none when there is nothing to poll.
    pub(crate) fn next(&self, now: Stamp) -> Option<Slot> {
        let urgency = |entry: &Entry| {
            if entry.slot <= now { (false, entry.slot.shifted(entry.period)) } else { (true, entry.slot) }
        };
        self.entries.iter().enumerate().min_by_key(|(_, entry)| urgency(entry)).map(|(index, entry)| Slot {
            entry: index,
            instrument: entry.instrument,
            poll: entry.poll,
            at: entry.slot,
        })
    }

    /// Notes that a poll has ended and plans its next slot. `alive` says that the instrument answered.
    pub(crate) fn done(&mut self, slot: Slot, now: Stamp, alive: bool) -> Outlook {
        let mut skipped = 0;
        if let Some(entry) = self.entries.get_mut(slot.entry) {
            entry.slot = on_grid(entry.slot.shifted(1), entry.period);
            skipped += entry.skip_to(now.shifted(-entry.period));
        }
        let pause = self.pause_for(slot.instrument, alive);
        if let Some(pause) = pause {
            let until = now.plus(pause);
            for entry in self.entries.iter_mut().filter(|entry| entry.instrument == slot.instrument) {
                skipped += entry.skip_to(until.shifted(-1));
            }
        }
        Outlook { skipped, pause }
    }

    /// Passes over the slots of a time in which the link was not open.
    pub(crate) fn resume(&mut self, now: Stamp) -> Vec<(usize, u64)> {
        self.entries
            .iter_mut()
            .map(|entry| (entry.instrument, entry.skip_to(now.shifted(-entry.period))))
            .filter(|(_, skipped)| *skipped > 0)
            .collect()
    }

    fn pause_for(&mut self, instrument: usize, alive: bool) -> Option<Duration> {
        let failures = self.failures.get_mut(instrument)?;
        if alive {
            *failures = 0;
            return None;
        }
        *failures = failures.saturating_add(1);
        let doublings = failures.checked_sub(TOLERATED_FAILURES)?;
        Some(doubled(FIRST_PAUSE, doublings.saturating_add(1), LONGEST_PAUSE))
    }
}

impl Entry {
    /// Moves the slot to the first one after `time`, and says how many were passed over.
    fn skip_to(&mut self, time: Stamp) -> u64 {
        if self.slot > time {
            return 0;
        }
        let slots = time.nanos_since(self.slot) / self.period + 1;
        self.slot = self.slot.shifted(slots.saturating_mul(self.period));
        u64::try_from(slots).unwrap_or(0)
    }
}

/// The first multiple of the period at or after a time.
fn on_grid(at: Stamp, period: i64) -> Stamp {
    let rest = at.as_nanos().rem_euclid(period);
    if rest == 0 { at } else { at.shifted(period - rest) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: i64 = 1_000_000;

    fn ms(ms: i64) -> Stamp {
        Stamp::from_nanos(ms * MS)
    }

    fn every(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn slots_are_whole_multiples_and_the_earliest_deadline_goes_first() {
        let mut plan = Schedule::new([(0, 0, every(500)), (1, 0, every(100))], ms(1_030));
        let at_once = plan.next(ms(1_030)).unwrap();
        assert_eq!((at_once.instrument, at_once.at), (0, ms(1_030)), "a slow poll does not wait for its first slot");
        plan.done(at_once, ms(1_040), true);
        let first = plan.next(ms(1_030)).unwrap();
        assert_eq!((first.instrument, first.at), (1, ms(1_100)));
        plan.done(first, ms(1_110), true);
        for expected in [1_200, 1_300, 1_400] {
            let slot = plan.next(ms(expected)).unwrap();
            assert_eq!((slot.instrument, slot.at), (1, ms(expected)));
            plan.done(slot, ms(expected + 10), true);
        }
        let both_due = plan.next(ms(1_500)).unwrap();
        assert_eq!((both_due.instrument, both_due.at), (1, ms(1_500)), "its deadline is 1.6 s, the other's is 2 s");
        plan.done(both_due, ms(1_510), true);
        assert_eq!(plan.next(ms(1_510)).unwrap().instrument, 0);
    }

    #[test]
    fn missed_slots_are_counted_and_not_made_up() {
        let mut plan = Schedule::new([(0, 0, every(100))], ms(1_000));
        let slot = plan.next(ms(1_000)).unwrap();
        let outlook = plan.done(slot, ms(1_350), true);
        assert_eq!(outlook.skipped, 2, "1.1 s and 1.2 s are gone, 1.3 s can still be used");
        assert_eq!(plan.next(ms(1_350)).unwrap().at, ms(1_300));
    }

    #[test]
    fn a_dead_instrument_is_left_alone_for_longer_and_longer_and_its_neighbour_is_not() {
        let mut plan = Schedule::new([(0, 0, every(100)), (1, 0, every(100))], ms(0));
        let mut now = ms(0);
        let mut pauses = Vec::new();
        let mut neighbour = 0;
        while pauses.len() < 8 {
            let slot = plan.next(now).unwrap();
            now = now.max(slot.at);
            if slot.instrument == 0 {
                now = now.plus(every(50));
                pauses.extend(plan.done(slot, now, false).pause);
            } else {
                now = now.plus(every(5));
                assert_eq!(plan.done(slot, now, true).skipped, 0, "the neighbour keeps its rate");
                neighbour += 1;
            }
        }
        let seconds: Vec<u64> = pauses.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert!(neighbour > 850, "{neighbour}");
        loop {
            let slot = plan.next(now).unwrap();
            now = now.max(slot.at).plus(every(5));
            let outlook = plan.done(slot, now, true);
            if slot.instrument == 0 {
                assert_eq!(outlook.pause, None, "one answer makes it well again");
                break;
            }
        }
    }

    #[test]
    fn slow_polls_begin_at_once() {
        let plan = Schedule::new([(0, 0, every(60_000))], ms(7));
        assert_eq!(plan.next(ms(7)).unwrap().at, ms(7));
        let mut plan = plan;
        let slot = plan.next(ms(7)).unwrap();
        plan.done(slot, ms(9), true);
        assert_eq!(plan.next(ms(9)).unwrap().at, ms(60_000));
    }

    proptest! {
        /// Every slot of every entry is either polled or counted as skipped, whatever polls cost.
        #[test]
        fn polled_and_skipped_slots_add_up(
            periods in prop::collection::vec(1_u64..2_000, 1..6),
            costs in prop::collection::vec((0_i64..3_000, any::<bool>()), 1..120),
        ) {
            let polls: Vec<_> = periods.iter().enumerate().map(|(i, p)| (i, 0, every(*p))).collect();
            let mut plan = Schedule::new(polls, ms(0));
            let first: Vec<Stamp> = plan.entries.iter().map(|entry| entry.slot).collect();
            let mut used = vec![0_i64; periods.len()];
            let mut skipped = vec![0_i64; periods.len()];
            let mut now = ms(0);
            for (cost, alive) in costs {
                let slot = plan.next(now).unwrap();
                now = now.max(slot.at).shifted(cost * MS);
                used[slot.instrument] += 1;
                let outlook = plan.done(slot, now, alive);
                skipped[slot.instrument] += i64::try_from(outlook.skipped).unwrap();
            }
            for (index, entry) in plan.entries.iter().enumerate() {
                let slots = entry.slot.nanos_since(first[index]);
                // A poll that begins at once is off the grid by less than a period.
                prop_assert_eq!((slots + entry.period - 1) / entry.period, used[index] + skipped[index]);
            }
        }
    }
}
