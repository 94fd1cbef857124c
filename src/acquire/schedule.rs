//! Which poll is due next: earliest deadline first, on a fixed grid, with a pause for instruments that do not answer.
//!
//! Pure: time comes in as stamps. Slots lie on whole multiples of the period since the epoch of the time base, so that
//! instruments of one period are asked together and their samples share ticks. A slot whose whole period has gone by is
//! skipped and counted, never made up in a burst.
//!
//! An instrument that costs the link time without answering pays for it: of `n` instruments none gets more than the n-th
//! part of the link's time for nothing. After a poll that failed and took `t`, it is not asked before `(n - 1) t` has gone by.

use std::collections::BTreeSet;
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
    /// The instrument at whose question the link was lost. Until another has answered, the others that are due go first,
    /// lest the link be lost at each opening before they are asked.
    yields: Option<usize>,
    /// Instruments that share the link, without the one that is looked at.
    others: u32,
}

/// How a poll ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Whether the instrument answered anything.
    pub(crate) answered: bool,
    /// The link's time that went into a failure.
    pub(crate) lost: Duration,
    /// Whether silence is to be expected: the instrument is then asked again each second and not left alone for longer.
    pub(crate) expected: bool,
    /// Whether the link has failed and not the instrument, which then is not left alone for it.
    pub(crate) of_the_link: bool,
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
        let polled: BTreeSet<usize> = entries.iter().map(|entry| entry.instrument).collect();
        let others = u32::try_from(polled.len().saturating_sub(1)).unwrap_or(u32::MAX);
        Self { entries, failures: vec![0; instruments], yields: None, others }
    }

    /// The most urgent poll whose slot has come, or else the first to come; none when there is nothing to poll. Of two that
    /// are as urgent, the one whose instrument answers.
    pub(crate) fn next(&self, now: Stamp) -> Option<Slot> {
        let urgency = |entry: &Entry| {
            let fails = self.failures.get(entry.instrument).is_some_and(|failures| *failures > 0);
            if entry.slot <= now {
                (false, self.yields == Some(entry.instrument), entry.slot.shifted(entry.period), fails)
            } else {
                (true, false, entry.slot, fails)
            }
        };
        self.entries.iter().enumerate().min_by_key(|(_, entry)| urgency(entry)).map(|(index, entry)| Slot {
            entry: index,
            instrument: entry.instrument,
            poll: entry.poll,
            at: entry.slot,
        })
    }

    /// Notes that a poll has ended and plans its next slot.
    pub(crate) fn done(&mut self, slot: Slot, now: Stamp, ending: Ending) -> Outlook {
        let mut skipped = 0;
        if let Some(entry) = self.entries.get_mut(slot.entry) {
            entry.slot = on_grid(entry.slot.shifted(1), entry.period);
            skipped += entry.skip_to(now.shifted(-entry.period));
        }
        if ending.of_the_link {
            self.yields = Some(slot.instrument);
        } else if ending.answered {
            self.yields = None;
        }
        let pause = self.pause_for(slot.instrument, ending);
        let owed = ending.lost.saturating_mul(self.others);
        skipped += self.leave_alone(slot.instrument, now, owed.max(pause.unwrap_or_default()));
        Outlook { skipped, pause }
    }

    /// Charges an instrument for time of the link that went on after its failed poll; the slots it loses.
    pub(crate) fn charge(&mut self, instrument: usize, now: Stamp, lost: Duration) -> u64 {
        self.leave_alone(instrument, now, lost.saturating_mul(self.others))
    }

    /// Passes over the instrument's slots of a time to come.
    fn leave_alone(&mut self, instrument: usize, now: Stamp, time: Duration) -> u64 {
        if time.is_zero() {
            return 0;
        }
        let until = now.plus(time).shifted(-1);
        self.entries.iter_mut().filter(|entry| entry.instrument == instrument).map(|entry| entry.skip_to(until)).sum()
    }

    /// Passes over the slots of a time in which the link was not open.
    pub(crate) fn resume(&mut self, now: Stamp) -> Vec<(usize, u64)> {
        self.entries
            .iter_mut()
            .map(|entry| (entry.instrument, entry.skip_to(now.shifted(-entry.period))))
            .filter(|(_, skipped)| *skipped > 0)
            .collect()
    }

    fn pause_for(&mut self, instrument: usize, ending: Ending) -> Option<Duration> {
        let failures = self.failures.get_mut(instrument)?;
        if ending.answered {
            *failures = 0;
            return None;
        }
        if ending.of_the_link {
            return None;
        }
        *failures = failures.saturating_add(1);
        if ending.expected {
            *failures = (*failures).min(TOLERATED_FAILURES);
        }
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

    /// A poll that went well.
    const WELL: Ending = Ending { answered: true, lost: Duration::ZERO, expected: false, of_the_link: false };

    /// A poll without an answer that took so long.
    fn silent(ms: u64) -> Ending {
        Ending { answered: false, lost: every(ms), expected: false, of_the_link: false }
    }

    #[test]
    fn slots_are_whole_multiples_and_the_earliest_deadline_goes_first() {
        let mut plan = Schedule::new([(0, 0, every(500)), (1, 0, every(100))], ms(1_030));
        let at_once = plan.next(ms(1_030)).unwrap();
        assert_eq!((at_once.instrument, at_once.at), (0, ms(1_030)), "a slow poll does not wait for its first slot");
        plan.done(at_once, ms(1_040), WELL);
        let first = plan.next(ms(1_030)).unwrap();
        assert_eq!((first.instrument, first.at), (1, ms(1_100)));
        plan.done(first, ms(1_110), WELL);
        for expected in [1_200, 1_300, 1_400] {
            let slot = plan.next(ms(expected)).unwrap();
            assert_eq!((slot.instrument, slot.at), (1, ms(expected)));
            plan.done(slot, ms(expected + 10), WELL);
        }
        let both_due = plan.next(ms(1_500)).unwrap();
        assert_eq!((both_due.instrument, both_due.at), (1, ms(1_500)), "its deadline is 1.6 s, the other's is 2 s");
        plan.done(both_due, ms(1_510), WELL);
        assert_eq!(plan.next(ms(1_510)).unwrap().instrument, 0);
    }

    #[test]
    fn missed_slots_are_counted_and_not_made_up() {
        let mut plan = Schedule::new([(0, 0, every(100))], ms(1_000));
        let slot = plan.next(ms(1_000)).unwrap();
        let outlook = plan.done(slot, ms(1_350), WELL);
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
                pauses.extend(plan.done(slot, now, silent(50)).pause);
            } else {
                now = now.plus(every(5));
                assert_eq!(plan.done(slot, now, WELL).skipped, 0, "the neighbour keeps its rate");
                neighbour += 1;
            }
        }
        let seconds: Vec<u64> = pauses.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert!(neighbour > 850, "{neighbour}");
        loop {
            let slot = plan.next(now).unwrap();
            now = now.max(slot.at).plus(every(5));
            let outlook = plan.done(slot, now, WELL);
            if slot.instrument == 0 {
                assert_eq!(outlook.pause, None, "one answer makes it well again");
                break;
            }
        }
    }

    /// Polls these instruments until `end`, each with the time its polls take and whether it answers; the time that each
    /// has taken of the link, and its polls.
    fn polled_until(end: Stamp, period: u64, instruments: &[(u64, bool)]) -> Vec<(u64, u64)> {
        let mut plan = Schedule::new((0..instruments.len()).map(|n| (n, 0, every(period))), ms(0));
        let mut taken = vec![(0, 0); instruments.len()];
        let mut now = ms(0);
        while now < end {
            let slot = plan.next(now).unwrap();
            let (cost, answers) = instruments[slot.instrument];
            now = now.max(slot.at).plus(every(cost));
            taken[slot.instrument].0 += cost;
            taken[slot.instrument].1 += 1;
            plan.done(slot, now, if answers { WELL } else { silent(cost) });
        }
        taken
    }

    #[test]
    fn no_instrument_gets_more_than_its_share_for_nothing_from_the_first_lost_reply_on() {
        for n in [2_usize, 3, 8] {
            let mut instruments = vec![(5, true); n];
            instruments[1] = (1_000, false);
            let n = u64::try_from(n).unwrap();
            for seconds in [n, 2 * n, 4 * n, 60] {
                let taken = polled_until(ms(i64::try_from(seconds * 1_000).unwrap()), 100, &instruments);
                // The poll that is under way at the end is not yet paid for.
                assert!(taken[1].0 <= seconds * 1_000 / n + 1_000, "{n} instruments, {seconds} s: {taken:?}");
            }
        }
    }

    #[test]
    fn several_dead_instruments_leave_the_living_what_is_theirs() {
        let taken = polled_until(ms(300_000), 100, &[(5, true), (250, false), (250, false), (250, false)]);
        assert!(taken[0].1 * 100 >= 3_000 * 95, "of 3000 slots {} were polled", taken[0].1);
    }

    #[test]
    fn a_lone_instrument_owes_nobody_anything() {
        let mut plan = Schedule::new([(0, 0, every(100))], ms(0));
        let slot = plan.next(ms(0)).unwrap();
        let outlook = plan.done(slot, ms(90), silent(90));
        assert_eq!((outlook.skipped, outlook.pause), (0, None));
        assert_eq!(plan.next(ms(90)).unwrap().at, ms(100), "a single lost reply costs one reading");
    }

    #[test]
    fn an_instrument_that_answers_in_part_pays_for_the_part_that_it_does_not() {
        let mut plan = Schedule::new([(0, 0, every(100)), (1, 0, every(100))], ms(0));
        let slot = plan.next(ms(0)).unwrap();
        let outlook = plan.done(slot, ms(1_000), Ending { lost: every(1_000), ..WELL });
        assert_eq!(outlook.pause, None);
        let mut next = plan.next(ms(1_000)).unwrap();
        while next.instrument != slot.instrument {
            plan.done(next, next.at.max(ms(1_000)), WELL);
            next = plan.next(next.at).unwrap();
        }
        assert_eq!(next.at, ms(2_000));
    }

    #[test]
    fn an_instrument_that_may_still_be_starting_is_asked_each_second() {
        let mut plan = Schedule::new([(0, 0, every(100))], ms(0));
        let mut pauses = Vec::new();
        for round in 0..12 {
            let slot = plan.next(ms(0)).unwrap();
            let ending = Ending { expected: round < 8, ..silent(10) };
            pauses.push(plan.done(slot, slot.at.plus(every(10)), ending).pause.map_or(0, |pause| pause.as_secs()));
        }
        assert_eq!(pauses, [0, 0, 1, 1, 1, 1, 1, 1, 2, 4, 8, 16]);
    }

    #[test]
    fn a_link_that_fails_is_no_reason_to_leave_its_instruments_alone() {
        let mut plan = Schedule::new([(0, 0, every(100))], ms(0));
        for _ in 0..20 {
            let slot = plan.next(ms(0)).unwrap();
            let ending = Ending { lost: Duration::ZERO, of_the_link: true, ..silent(0) };
            assert_eq!(plan.done(slot, slot.at.plus(every(1)), ending), Outlook { skipped: 0, pause: None });
        }
        assert_eq!(plan.next(ms(0)).unwrap().at, ms(2_000));
    }

    #[test]
    fn who_lost_the_link_does_not_keep_the_others_from_being_asked() {
        let mut plan = Schedule::new([(0, 0, every(20)), (1, 0, every(1_000))], ms(0));
        let mut now = ms(500);
        let mut asked = [0, 0];
        while asked[1] < 3 {
            let slot = plan.next(now).unwrap();
            asked[slot.instrument] += 1;
            assert!(asked[0] < 10, "the other is never asked");
            let ending = if slot.instrument == 1 { WELL } else { Ending { of_the_link: true, ..silent(0) } };
            plan.done(slot, now, ending);
            now = now.plus(every(1_000));
            plan.resume(now);
        }
    }

    #[test]
    fn slow_polls_begin_at_once() {
        let plan = Schedule::new([(0, 0, every(60_000))], ms(7));
        assert_eq!(plan.next(ms(7)).unwrap().at, ms(7));
        let mut plan = plan;
        let slot = plan.next(ms(7)).unwrap();
        plan.done(slot, ms(9), WELL);
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
                let ending = if alive { WELL } else { silent(cost.unsigned_abs()) };
                let outlook = plan.done(slot, now, ending);
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
