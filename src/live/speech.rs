//! How much an instrument says that speaks unasked.

use std::time::Duration;

use crate::model::Stamp;

/// The rate is that of the last so long.
const RATED_OVER: Duration = Duration::from_secs(2);

/// What an instrument has said unasked in this session.
#[derive(Debug, Clone, PartialEq)]
pub struct Speech {
    /// Messages that were understood.
    pub messages: u64,
    /// Messages that were spoiled, or that its profile does not describe.
    pub broken: u64,
    /// Messages a second, lately; none before that is known.
    pub rate: Option<f64>,
    rated_at: Stamp,
    before: u64,
}

impl Speech {
    /// Nothing has been said yet.
    pub(super) fn new(now: Stamp) -> Self {
        Self { messages: 0, broken: 0, rate: None, rated_at: now, before: 0 }
    }

    pub(super) fn note(&mut self, messages: u64, broken: u64, now: Stamp) {
        self.messages += messages;
        self.broken += broken;
        let span = now.since(self.rated_at);
        if span >= RATED_OVER {
            self.rate = Some((self.messages - self.before) as f64 / span.as_secs_f64());
            self.before = self.messages;
            self.rated_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let at = |ms: i64| Stamp::from_nanos(ms * 1_000_000);
        let mut speech = Speech::new(at(0));
        for ms in (20..2_000).step_by(20) {
            speech.note(1, 0, at(ms));
            assert_eq!(speech.rate, None);
        }
        speech.note(1, 1, at(2_000));
        assert_eq!(speech.rate, Some(50.0));
        speech.note(0, 0, at(4_000));
        assert_eq!((speech.rate, speech.messages, speech.broken), (Some(0.0), 100, 1));
    }
}
