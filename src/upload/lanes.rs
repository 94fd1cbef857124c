//! Which chunk of a run goes next when many wait: the oldest, or one that has just been sealed.
//!
//! A run that was offline for a day has a day of chunks to send, oldest first. What is measured meanwhile would be seen at
//! the platform only after all of them. So what is sealed from then on takes turns with the backlog, in its own order: every
//! other request, as long as there is one. A recording run makes few chunks, so the backlog loses next to nothing; and on a
//! line that is too slow even for those, both go on.

/// Chunks that have to wait before there is talk of a backlog: twice the widest window, which is gone within moments.
const BACKLOG: u64 = 32;

/// A lane. Without a backlog everything is in the one that bears its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// What was there before, oldest first.
    Backlog,
    /// What was sealed while a backlog was being sent.
    Live,
}

impl Lane {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Backlog => Self::Live,
            Self::Live => Self::Backlog,
        }
    }
}

/// The two lanes of a run.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// Chunks from this one on are live; none while there is no backlog.
    live_from: Option<u64>,
    /// The first live chunk that was not fetched yet.
    next_live: u64,
    live_went_last: bool,
}

impl Lanes {
    /// So many chunks wait, and the next one to be sealed has this number.
    pub(super) fn note(&mut self, queued: u64, next_seq: u64) {
        match self.live_from {
            None if queued > BACKLOG => {
                self.live_from = Some(next_seq);
                self.next_live = next_seq;
            }
            // Hardly more than the live ones are left.
            Some(_) if queued <= BACKLOG / 2 => self.live_from = None,
            _ => {}
        }
    }

    /// From which chunk on to fetch the live ones that are there and were not fetched yet.
    pub(super) fn live_waiting(&self, next_seq: u64) -> Option<u64> {
        (self.live_from.is_some() && self.next_live < next_seq).then_some(self.next_live)
    }

    /// Chunks up to this one were fetched.
    pub(super) fn fetched(&mut self, newest: u64) {
        self.next_live = self.next_live.max(newest + 1);
    }

    /// The lane whose turn it is.
    pub(super) fn next(&self) -> Lane {
        if self.live_from.is_some() && !self.live_went_last { Lane::Live } else { Lane::Backlog }
    }

    /// The lane of a chunk.
    pub(super) fn of(&self, seq: u64) -> Lane {
        if self.live_from.is_some_and(|from| seq >= from) { Lane::Live } else { Lane::Backlog }
    }

    /// This chunk is being sent.
    pub(super) fn sent(&mut self, seq: u64) {
        self.live_went_last = self.of(seq) == Lane::Live;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_backlog_there_is_one_lane() {
        let mut lanes = Lanes::default();
        lanes.note(BACKLOG, 40);
        assert_eq!(lanes.live_waiting(50), None);
        assert_eq!((lanes.next(), lanes.of(49)), (Lane::Backlog, Lane::Backlog));
    }

    #[test]
    fn what_is_sealed_after_a_backlog_began_to_be_sent_takes_turns_with_it() {
        let mut lanes = Lanes::default();
        lanes.note(BACKLOG + 1, 40);
        assert_eq!(lanes.live_waiting(40), None, "nothing new yet");
        assert_eq!(lanes.live_waiting(42), Some(40));
        lanes.fetched(41);
        assert_eq!(lanes.live_waiting(42), None);
        assert_eq!((lanes.next(), lanes.of(41), lanes.of(7)), (Lane::Live, Lane::Live, Lane::Backlog));
        lanes.sent(40);
        assert_eq!(lanes.next(), Lane::Backlog);
        lanes.sent(7);
        assert_eq!(lanes.next(), Lane::Live);
        lanes.note(BACKLOG / 2, 60);
        assert_eq!(lanes.live_waiting(60), None);
    }
}
