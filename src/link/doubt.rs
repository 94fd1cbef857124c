//! Which answers may still be under way: questions that were asked and never answered.
//!
//! Most serial protocols number neither questions nor answers, so a late answer looks like the answer to the next question.
//! What tells them apart is that the right answer still has to come. So after an unanswered question the next answer is
//! held back until the right one, were the held one late, would have come too. How long that is follows from
//! - the longest time an instrument is thought to take: several times the profile's `timing.reply` ([`patience`]);
//! - what the held answer itself would prove: if it belongs to the oldest open question, the instrument takes that long,
//!   and may take it once more.
//!
//! Beyond that remains what no protocol of this kind can decide: an instrument that is later than both, once.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// A question this old is taken for lost: no instrument answers later.
const LOST_AFTER: Duration = Duration::from_secs(2);

/// Open questions remembered for each party; more than fit into [`LOST_AFTER`] at any sensible rate.
const REMEMBERED: usize = 64;

/// The longest that an answer may be late when the profile allows `reply` for it.
fn patience(reply: Duration) -> Duration {
    (reply * 4).min((reply * 2).max(Duration::from_secs(1)))
}

/// The open questions of a wire, by the party that was asked.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    parties: HashMap<u16, Party>,
}

#[derive(Debug, Default)]
struct Party {
    /// Whether it has ever answered on this wire. Before that, a question of an earlier process may be open.
    known: bool,
    /// When the unanswered questions were asked, oldest first; the last is the one being asked now.
    open: VecDeque<Instant>,
}

impl Doubts {
    /// A question goes out.
    pub(super) fn ask(&mut self, party: u16, at: Instant) {
        let open = &mut self.parties.entry(party).or_default().open;
        if open.len() == REMEMBERED {
            open.pop_front();
        }
        open.push_back(at);
    }

    /// Until when the answer that was complete at `heard` has to be held back; none if no other can be under way.
    pub(super) fn hold_until(&self, party: u16, heard: Instant, quiet: Duration, reply: Duration) -> Option<Instant> {
        let party = self.parties.get(&party)?;
        let asked = *party.open.back()?;
        let patience = patience(reply);
        let horizon = patience.max(LOST_AFTER);
        let earlier = party.open.len() - 1;
        match party.open.iter().take(earlier).find(|open| heard.duration_since(**open) <= horizon) {
            Some(oldest) => Some((heard + heard.duration_since(*oldest)).max(asked + patience) + quiet),
            None if !party.known => Some(heard + quiet),
            None => None,
        }
    }

    /// The question was answered for certain, and so were all before it.
    pub(super) fn answered(&mut self, party: u16) {
        let party = self.parties.entry(party).or_default();
        party.known = true;
        party.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(50);
    const REPLY: Duration = Duration::from_millis(100);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn an_answered_party_is_not_doubted() {
        let start = Instant::now();
        let mut doubts = Doubts::default();
        doubts.ask(1, start);
        assert_eq!(
            doubts.hold_until(1, start + ms(10), QUIET, REPLY),
            Some(start + ms(10) + QUIET),
            "the first of all"
        );
        doubts.answered(1);
        doubts.ask(1, start + ms(20));
        assert_eq!(doubts.hold_until(1, start + ms(30), QUIET, REPLY), None);
    }

    #[test]
    fn an_open_question_holds_the_next_answer_back_and_no_other_party() {
        let start = Instant::now();
        let mut doubts = Doubts::default();
        for party in [1, 2] {
            doubts.ask(party, start);
            doubts.answered(party);
        }
        doubts.ask(1, start);
        doubts.ask(2, start + ms(160));
        assert_eq!(doubts.hold_until(2, start + ms(170), QUIET, REPLY), None);
        doubts.ask(1, start + ms(200));
        let held = doubts.hold_until(1, start + ms(210), QUIET, REPLY);
        assert_eq!(held, Some(start + ms(200) + ms(400) + QUIET), "patience counts from the last question");
        let held = doubts.hold_until(1, start + ms(900), QUIET, REPLY);
        assert_eq!(held, Some(start + ms(900) + ms(900) + QUIET), "as late again as the oldest would be");
    }

    #[test]
    fn a_question_of_long_ago_is_lost() {
        let start = Instant::now();
        let mut doubts = Doubts::default();
        doubts.ask(1, start);
        doubts.answered(1);
        doubts.ask(1, start);
        doubts.ask(1, start + ms(5000));
        assert_eq!(doubts.hold_until(1, start + ms(5010), QUIET, REPLY), None);
    }

    #[test]
    fn patience_is_four_replies_but_not_much_over_a_second() {
        assert_eq!(patience(ms(100)), ms(400));
        assert_eq!(patience(ms(400)), ms(1000));
        assert_eq!(patience(ms(2000)), ms(4000));
    }
}
