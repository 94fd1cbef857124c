//! What happens to the upload of a run, and what it makes of it. Holds no network and no disk.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::refusals::Verdict;
use super::run_upload::Hold;
use super::run_upload::RunUpload;
use super::run_upload::Step;
use super::run_upload::Waiting;
use crate::model::ChannelName;
use crate::model::Frozen;
use crate::model::RunState;
use crate::model::StreamRecord;
use crate::model::StreamState;
use crate::model::doubled;

/// A stream that is said to be gone is asked once more after this long: a platform that is being restarted says so too.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// The first and the longest pause of a run whose file can't be used. Another program that has locked it is soon done; a
/// bad sector stays.
const FIRST_FILE_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_FILE_PAUSE: Duration = Duration::from_secs(3_600);

/// The longest time between streams of a run on which nothing passes. The platform keeps each of them for ever.
const LONGEST_BETWEEN_STREAMS: Duration = Duration::from_secs(3_600);

impl RunUpload {
    /// Chunks that the outbox gave, when it was asked for `limit` from number `from` on.
    pub(super) fn taken(&mut self, chunks: Vec<Frozen>, from: u64, limit: usize) {
        let all = chunks.len() < limit;
        if from == 0 {
            self.exhausted = all;
        }
        let newest = if all { self.run.next_seq.checked_sub(1) } else { chunks.last().map(|frozen| frozen.seq) };
        if let Some(newest) = newest {
            self.lanes.fetched(newest);
        }
        self.ready.extend(chunks.into_iter().map(|frozen| Waiting {
            frozen: Arc::new(frozen),
            not_before: None,
            own_failures: 0,
            answers_at_failure: None,
        }));
    }

    /// Chunks are about to be fetched: if many wait, those that are sealed from now on are not to wait behind them.
    pub(super) fn note_backlog(&mut self) {
        self.lanes.note(self.run.queued, self.run.next_seq);
    }

    /// A step has begun.
    pub(super) fn begun(&mut self, step: &Step) {
        self.exact = false;
        match step {
            Step::Send(frozen) => {
                self.lanes.sent(frozen.seq);
                if let Some(place) = self.ready.iter().position(|waiting| waiting.frozen.seq == frozen.seq)
                    && let Some(waiting) = self.ready.remove(place)
                {
                    self.flying.insert(frozen.seq, waiting);
                }
            }
            Step::Try(frozen) => {
                self.refusals.trying(frozen.seq);
                if let Some(waiting) = self.aside.remove(&frozen.seq) {
                    self.flying.insert(frozen.seq, waiting);
                }
            }
            _ => self.busy = true,
        }
    }

    /// A chunk was confirmed by a request with this number, at least in part.
    pub(super) fn confirmed(&mut self, seq: u64, number: u64) {
        self.file_worked();
        self.refusals.confirmed(seq, number);
        self.flying.remove(&seq);
        self.run.queued = self.run.queued.saturating_sub(1);
        self.fresh = false;
        self.barren = 0;
        self.gone_before = None;
        self.ending = None;
        self.hold = None;
    }

    /// A chunk was kept as rejected.
    pub(super) fn rejected(&mut self, seq: u64) {
        self.file_worked();
        self.busy = false;
        self.refusals.rejected(seq);
        self.aside.remove(&seq);
        self.run.queued = self.run.queued.saturating_sub(1);
    }

    /// A chunk could not be sent for a reason of the platform's or the way to it. Other chunks come first now; if others
    /// were answered since it last failed, it waits for itself as well.
    pub(super) fn failed(&mut self, seq: u64, now: Instant, answers: u64, backoff: &mut Backoff) {
        self.refusals.trial_broken(seq);
        let Some(mut waiting) = self.flying.remove(&seq) else { return };
        if waiting.answers_at_failure.is_some_and(|then| then < answers) {
            waiting.own_failures = waiting.own_failures.saturating_add(1);
            waiting.not_before = Some(now + backoff.pause(waiting.own_failures));
        }
        waiting.answers_at_failure = Some(answers);
        self.put_back(waiting);
    }

    /// A chunk in doubt stays in doubt; any other waits for its turn.
    fn put_back(&mut self, waiting: Waiting) {
        if self.refusals.holds(waiting.frozen.seq) {
            self.aside.insert(waiting.frozen.seq, waiting);
        } else {
            self.ready.push_back(waiting);
        }
    }

    /// The platform refused a chunk as a whole.
    pub(super) fn refused(&mut self, seq: u64, status: Option<u16>, words: &str, next: u64) {
        let again = self.flying.get(&seq).is_some_and(|waiting| waiting.frozen.again);
        self.refusals.refused(seq, status, words, next, again);
        if let Some(waiting) = self.flying.remove(&seq) {
            self.aside.insert(seq, waiting);
        }
    }

    /// The platform refused every channel of a chunk.
    pub(super) fn wholly_refused(&mut self, seq: u64, channels: Vec<(ChannelName, String)>, next: u64) {
        self.refusals.wholly_refused(seq, channels, next);
        if let Some(waiting) = self.flying.remove(&seq) {
            self.aside.insert(seq, waiting);
        }
    }

    /// The platform says that it does not have the stream. Once may be an accident, twice is the end.
    pub(super) fn gone(&mut self, seq: u64, number: u64, next: u64, words: &str, now: Instant, hold: Duration) {
        self.refusals.trial_broken(seq);
        if let Some(waiting) = self.flying.remove(&seq) {
            self.put_back(waiting);
        }
        match self.gone_before {
            None => {
                self.gone_before = Some(next);
                self.look_again(now);
            }
            Some(before) if number >= before && self.ending.is_none() => {
                if self.fresh {
                    self.hold(now, doubled(hold, self.barren, LONGEST_BETWEEN_STREAMS), words);
                }
                self.ending = Some(words.to_owned());
            }
            Some(_) => {}
        }
    }

    /// Asks once more, in a moment.
    pub(super) fn look_again(&mut self, now: Instant) {
        self.hold = Some(Hold { until: now + SECOND_LOOK, why: None });
    }

    /// Draws the conclusion if the stream takes nothing any more. A stream that never took anything is not replaced, as the
    /// next would do no better: its chunks are kept and sent again after a while.
    pub(super) fn judge(&mut self, now: Instant, hold: Duration) {
        if self.ending.is_some() || self.busy {
            return;
        }
        let Verdict::Over(words) = self.verdict() else { return };
        if self.fresh {
            self.hold(now, hold, &words);
            self.refusals.clear();
            self.ready.extend(std::mem::take(&mut self.aside).into_values());
        } else {
            self.ending = Some(words);
        }
    }

    /// Sends nothing of this run for a while, and says why.
    pub(super) fn hold(&mut self, now: Instant, time: Duration, why: &str) {
        if self.hold.as_ref().is_none_or(|hold| hold.why.as_deref() != Some(why)) {
            tracing::error!(run = %self.run.run, why, "a run can't be uploaded at the moment; its chunks wait on disk");
        }
        let longer = self.hold.as_ref().map_or(now, |hold| hold.until);
        self.hold = Some(Hold { until: longer.max(now + time), why: Some(why.to_owned()) });
    }

    /// The run's file could not be used. It is tried again less and less often, and no other run waits for it.
    pub(super) fn file_failed(&mut self, now: Instant, why: &str) {
        self.file_failures = self.file_failures.saturating_add(1);
        let until = now + doubled(FIRST_FILE_PAUSE, self.file_failures, LONGEST_FILE_PAUSE);
        if self.file_failures == 1 {
            tracing::error!(run = %self.run.run, why, "a run file can't be used; its upload waits, others go on");
        }
        let until = self.hold.as_ref().map_or(until, |hold| hold.until.max(until));
        self.hold = Some(Hold { until, why: Some(why.to_owned()) });
    }

    /// The run's file took what was to be recorded.
    fn file_worked(&mut self) {
        if std::mem::take(&mut self.file_failures) > 0 {
            tracing::info!(run = %self.run.run, "the run file can be used again");
        }
    }

    /// A stream was created and recorded.
    pub(super) fn opened(&mut self, data_id: &str) {
        self.file_worked();
        self.busy = false;
        self.hold = None;
        self.unrecorded = None;
        self.fresh = true;
        self.barren = self.barren.saturating_add(1);
        self.exhausted = false;
        let number = self.run.stream.as_ref().map_or(0, |before| before.number) + 1;
        tracing::info!(run = %self.run.run, data_id, number, "stream opened");
        self.run.stream = Some(StreamRecord { number, data_id: data_id.to_owned(), state: StreamState::Open });
    }

    /// A stream was created, and the disk could not record it.
    pub(super) fn opened_unrecorded(&mut self, data_id: String) {
        self.busy = false;
        self.unrecorded = Some(data_id);
    }

    /// A stream was created, could not be linked and was given up. Each attempt leaves an empty stream on the platform, so
    /// they become rare.
    pub(super) fn not_linked(&mut self, now: Instant, hold: Duration, why: &str) {
        self.busy = false;
        self.barren = self.barren.saturating_add(1);
        self.hold(now, doubled(hold, self.barren, LONGEST_BETWEEN_STREAMS), why);
    }

    /// The end of the stream is recorded; its unconfirmed chunks will be frozen anew for the next one.
    pub(super) fn ended(&mut self) {
        self.busy = false;
        self.forget_chunks();
        if let Some(why) = self.ending.take() {
            tracing::warn!(run = %self.run.run, why, "the platform has ended the stream; a continuation follows");
        }
        if let Some(stream) = &mut self.run.stream {
            stream.state = StreamState::Ended;
        }
    }

    /// The stream is finalized, or the run had none; it is done if it is closed.
    pub(super) fn finalized(&mut self) {
        self.busy = false;
        self.finalize_refusals = 0;
        if let Some(stream) = &mut self.run.stream {
            stream.state = StreamState::Finalized;
        }
        if self.run.state == RunState::Closed {
            self.run.state = RunState::Done;
        }
        tracing::info!(run = %self.run.run, "everything is uploaded");
    }

    /// The platform refuses to finalize the stream; how often in a row.
    pub(super) fn finalize_refused(&mut self) -> u32 {
        self.busy = false;
        self.finalize_refusals = self.finalize_refusals.saturating_add(1);
        self.finalize_refusals
    }

    /// A step other than sending has come to nothing and will be taken again.
    pub(super) fn step_failed(&mut self) {
        self.busy = false;
    }

    fn forget_chunks(&mut self) {
        self.ready.clear();
        self.aside.clear();
        self.refusals.clear();
        self.gone_before = None;
        self.exhausted = false;
    }
}
