//! Chunks that a stream refuses: is it the chunk, one of its channels, or has the stream ended? Pure.
//!
//! Which refusal means "this stream has ended" is documented nowhere, so it is found out. A refused chunk is tried channel
//! by channel. If some channels pass, the others are at fault. If none passes, the chunk waits for its neighbours: once
//! one that was sent later is confirmed, the chunk is at fault; once three have been refused alike, the stream is over.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::model::ChannelName;

/// Chunks that have to be refused alike before the stream counts as ended.
const ALIKE: usize = 3;

/// What to do about the refused chunks.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Wait for what is in flight, or for what comes.
    Wait,
    /// Send this chunk channel by channel.
    Try(u64),
    /// This chunk is at fault: keep it as rejected, with the words about each channel.
    Reject(u64, Vec<(ChannelName, String)>),
    /// The stream takes nothing any more, in the platform's words.
    Over(String),
}

#[derive(Debug)]
struct Suspect {
    /// The refusal without its digits: an index or a time in the words makes no difference.
    sort: String,
    words: String,
    /// What was said about each channel, once the chunk was tried channel by channel and none passed.
    tried: Option<Vec<(ChannelName, String)>>,
    /// A request with this number or a later one started after the refusal; its success shows that the stream lives.
    refused_at: u64,
    /// It was refused before, and somebody wanted it to be tried again: it is the chunk, not the stream.
    again: bool,
}

/// The refused chunks of one stream.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    suspects: BTreeMap<u64, Suspect>,
    trials: BTreeSet<u64>,
    /// Whether the last that was heard of the stream is that it lives: trials then need not be one at a time.
    lives: bool,
    /// Above the highest number of a request that was confirmed.
    confirmed_below: u64,
}

impl Refusals {
    /// A chunk was refused as a whole; `next` is the number that the next request will have. `again`: not for the first time.
    pub(super) fn refused(&mut self, seq: u64, status: Option<u16>, words: &str, next: u64, again: bool) {
        let plain: String = words.chars().filter(|c| !c.is_ascii_digit()).collect();
        let suspect = Suspect {
            sort: format!("{status:?} {plain}"),
            words: words.to_owned(),
            tried: None,
            refused_at: next,
            again,
        };
        self.suspects.insert(seq, suspect);
    }

    /// A chunk is being sent channel by channel.
    pub(super) fn trying(&mut self, seq: u64) {
        self.trials.insert(seq);
    }

    /// A trial ended without a word about the chunk: the platform went down in the middle of it.
    pub(super) fn trial_broken(&mut self, seq: u64) {
        self.trials.remove(&seq);
    }

    /// Not one channel of a chunk passed.
    pub(super) fn wholly_refused(&mut self, seq: u64, channels: Vec<(ChannelName, String)>, next: u64) {
        self.trials.remove(&seq);
        self.lives = false;
        if let Some(suspect) = self.suspects.get_mut(&seq) {
            suspect.tried = Some(channels);
            suspect.refused_at = next;
        }
    }

    /// A chunk was confirmed, at least in part, by a request with this number.
    pub(super) fn confirmed(&mut self, seq: u64, number: u64) {
        self.suspects.remove(&seq);
        self.trials.remove(&seq);
        self.lives = true;
        self.confirmed_below = self.confirmed_below.max(number + 1);
    }

    /// A chunk was kept as rejected.
    pub(super) fn rejected(&mut self, seq: u64) {
        self.suspects.remove(&seq);
    }

    /// Forgets everything: the chunks start anew.
    pub(super) fn clear(&mut self) {
        self.suspects.clear();
        self.trials.clear();
        self.lives = false;
    }

    /// Whether this chunk is in doubt.
    pub(super) fn holds(&self, seq: u64) -> bool {
        self.suspects.contains_key(&seq)
    }

    /// Whether enough is in doubt: sending more would only be refused as well.
    pub(super) fn pause(&self) -> bool {
        self.suspects.values().filter(|suspect| !suspect.again).count() >= ALIKE
    }

    /// What to do next. `last`: no other chunk of the run is or will be there to tell. `fresh`: this very process created
    /// the stream and nothing has passed on it yet, so that it can't have ended for its age.
    pub(super) fn verdict(&self, last: bool, fresh: bool) -> Verdict {
        let tried = || self.suspects.iter().filter_map(|(seq, suspect)| Some((*seq, suspect, suspect.tried.as_ref()?)));
        for (seq, suspect, channels) in tried() {
            if suspect.again || suspect.refused_at < self.confirmed_below {
                return Verdict::Reject(seq, channels.clone());
            }
        }
        let over = tried().find(|(_, judged, _)| {
            tried().count() >= ALIKE
                || self.suspects.values().filter(|other| !other.again && other.sort == judged.sort).count() >= ALIKE
        });
        if let Some((_, suspect, _)) = over {
            return Verdict::Over(suspect.words.clone());
        }
        if self.trials.is_empty() || self.lives {
            let untried = self.suspects.iter().find(|(seq, one)| one.tried.is_none() && !self.trials.contains(seq));
            if let Some((seq, _)) = untried {
                return Verdict::Try(*seq);
            }
        }
        match tried().next() {
            Some((seq, _, channels)) if last && self.trials.is_empty() && fresh => {
                Verdict::Reject(seq, channels.clone())
            }
            Some((_, suspect, _)) if last && self.trials.is_empty() => Verdict::Over(suspect.words.clone()),
            _ => Verdict::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels() -> Vec<(ChannelName, String)> {
        vec![(ChannelName::parse("t").unwrap(), "no".into())]
    }

    #[test]
    fn a_chunk_that_its_neighbours_outlive_is_at_fault() {
        let mut refusals = Refusals::default();
        refusals.refused(5, Some(422), "bad", 10, false);
        assert_eq!(refusals.verdict(false, false), Verdict::Try(5));
        refusals.trying(5);
        assert_eq!(refusals.verdict(false, false), Verdict::Wait);
        refusals.wholly_refused(5, channels(), 12);
        assert_eq!(refusals.verdict(false, false), Verdict::Wait);
        // Request 11 had started before the last word about chunk 5; the stream may have ended in between.
        refusals.confirmed(4, 11);
        assert_eq!(refusals.verdict(false, false), Verdict::Wait);
        refusals.confirmed(6, 12);
        assert_eq!(refusals.verdict(false, false), Verdict::Reject(5, channels()));
        refusals.rejected(5);
        assert!(!refusals.holds(5));
    }

    #[test]
    fn three_refused_alike_are_the_end_of_the_stream_once_one_was_tried() {
        let mut refusals = Refusals::default();
        for seq in 5..8 {
            refusals.refused(seq, Some(400), &format!("stream ended, chunk {seq} not stored"), 10, false);
        }
        assert!(refusals.pause());
        assert_eq!(refusals.verdict(false, false), Verdict::Try(5));
        refusals.trying(5);
        refusals.wholly_refused(5, channels(), 11);
        assert_eq!(refusals.verdict(false, false), Verdict::Over("stream ended, chunk 5 not stored".into()));
    }

    #[test]
    fn three_refused_for_different_reasons_are_each_tried_first() {
        let mut refusals = Refusals::default();
        for (seq, words) in [(1, "a"), (2, "b"), (3, "c")] {
            refusals.refused(seq, Some(400), words, 10, false);
        }
        for seq in 1..4 {
            assert_eq!(refusals.verdict(false, false), Verdict::Try(seq));
            refusals.trying(seq);
            refusals.wholly_refused(seq, channels(), 11);
        }
        assert_eq!(refusals.verdict(false, false), Verdict::Over("a".into()));
    }

    #[test]
    fn once_a_trial_passes_the_others_need_not_wait_for_each_other() {
        let mut refusals = Refusals::default();
        for seq in 1..4 {
            refusals.refused(seq, Some(422), "one channel is bad", 10, false);
        }
        refusals.trying(1);
        refusals.confirmed(1, 10);
        assert_eq!(refusals.verdict(false, false), Verdict::Try(2));
        refusals.trying(2);
        assert_eq!(refusals.verdict(false, false), Verdict::Try(3));
    }

    #[test]
    fn the_last_chunk_of_a_run_gets_a_fresh_stream_before_it_is_given_up() {
        let mut refusals = Refusals::default();
        refusals.refused(9, Some(400), "over", 10, false);
        refusals.trying(9);
        refusals.wholly_refused(9, channels(), 11);
        assert_eq!(refusals.verdict(false, false), Verdict::Wait);
        assert_eq!(refusals.verdict(true, false), Verdict::Over("over".into()));
        assert_eq!(refusals.verdict(true, true), Verdict::Reject(9, channels()));
    }

    #[test]
    fn a_broken_trial_is_made_again() {
        let mut refusals = Refusals::default();
        refusals.refused(9, Some(400), "over", 10, false);
        refusals.trying(9);
        refusals.trial_broken(9);
        assert_eq!(refusals.verdict(true, true), Verdict::Try(9));
    }

    #[test]
    fn chunks_that_are_tried_again_say_nothing_about_the_stream() {
        let mut refusals = Refusals::default();
        for seq in 5..9 {
            refusals.refused(seq, Some(422), "no such channel", 10, true);
        }
        assert!(!refusals.pause());
        for seq in 5..9 {
            assert_eq!(refusals.verdict(false, false), Verdict::Try(seq));
            refusals.trying(seq);
            refusals.wholly_refused(seq, channels(), 12);
            assert_eq!(refusals.verdict(false, false), Verdict::Reject(seq, channels()));
            refusals.rejected(seq);
        }
    }
}
