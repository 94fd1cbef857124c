//! The oracle: holds the three witnesses of a round against each other, and each run file against itself.

mod accounts;
mod losses;
mod places;
mod stamps;
mod truth;

use std::collections::BTreeMap;
use std::time::Duration;

use super::witness::Witnesses;

/// What the oracle makes of a round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Judgement {
    /// What is wrong, by the sort of it; empty if all is well.
    pub(crate) complaints: BTreeMap<&'static str, Vec<String>>,
    pub(crate) totals: Totals,
}

/// What a round has come to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    /// Values that instruments gave, intact.
    pub(crate) said: u64,
    pub(crate) read: u64,
    pub(crate) recorded: u64,
    pub(crate) filled: u64,
    /// Points on the platform, as the platform counts them, without those that it has twice.
    pub(crate) uploaded: u64,
    pub(crate) rejected: u64,
    pub(crate) bad: u64,
    pub(crate) decimated: u64,
    pub(crate) late: u64,
    pub(crate) unrecorded: u64,
    /// Values said while the program lived, not on disk and not counted, but in the last moments before it was killed.
    pub(crate) cost_of_kills: u64,
    /// Values of which nothing can be asked: said by an ailing instrument, to nobody, or in the moment of the end.
    pub(crate) excused: u64,
    /// Power cuts that took something that was not synced.
    pub(crate) power_cuts: u64,
    /// The longest that a value was given to be durable.
    pub(crate) durable_after: Duration,
    /// Points that are on a stream that ended before they were confirmed, and again on the one after it.
    pub(crate) again: u64,
    /// Streams that the run file calls finalized, since the platform said that it had none of that id, and that are open.
    pub(crate) unfinalized: u64,
    /// Chunks that were frozen before the platform's clock was known.
    pub(crate) unclocked: u64,
    /// Points whose stamps make way for those of a chunk before, which was frozen by another clock.
    pub(crate) squeezed: u64,
    pub(crate) runs: u64,
    pub(crate) sessions: u64,
    pub(crate) streams: u64,
    /// How far a stamp is from the middle of the exchange that it is of, beyond half a tick.
    pub(crate) worst_stamp: Duration,
}

impl Judgement {
    pub(crate) fn complain(&mut self, sort: &'static str, words: String) {
        self.complaints.entry(sort).or_default().push(words);
    }

    /// The complaints as text: of each sort the first few.
    pub(crate) fn words(&self) -> Vec<String> {
        const FIRST: usize = 4;
        let mut words = Vec::new();
        for (sort, of_sort) in &self.complaints {
            words.extend(of_sort.iter().take(FIRST).map(|one| format!("{sort}: {one}")));
            if of_sort.len() > FIRST {
                words.push(format!("{sort}: and {} more", of_sort.len() - FIRST));
            }
        }
        words
    }
}

/// Judges a round that is over and delivered.
pub(crate) fn judge(witnesses: &Witnesses) -> Judgement {
    let mut judgement = Judgement::default();
    let truth = truth::Truth::of(witnesses, &mut judgement);
    accounts::check(witnesses, &mut judgement);
    places::check(witnesses, &mut judgement);
    stamps::check(witnesses, &truth, &mut judgement);
    losses::check(witnesses, &truth, &mut judgement);
    judgement.totals.power_cuts = witnesses.deeds.power_cuts;
    judgement.totals.durable_after = witnesses.deeds.durable_after;
    judgement
}
