//! What becomes of a step's outcome: which run it moves on, and what it says about the platform and the disk.

use tokio::task::Id;
use tokio::task::JoinError;
use tokio::time::Instant;

use super::Failure;
use super::OutboxError;
use super::PlatformState;
use super::courier::Courier;
use super::courier::Flight;
use super::job::Outcome;
use super::run_upload::RunUpload;
use super::run_upload::Step;
use crate::atomscale::OpenError;
use crate::atomscale::PlatformError;
use crate::model::with_causes;

/// Refusals to finalize after which a stream is left as it is: all its chunks are confirmed.
const FINALIZE_REFUSALS: u32 = 3;

/// One that is gone, or was finalized by a request whose answer was lost, has no more to be finalized; but a platform that is
/// being restarted says that it is gone, too.
const FINALIZE_GONE: u32 = 2;

impl Courier {
    /// A step has ended.
    pub(super) fn landed(&mut self, ended: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, Some(outcome)),
            Err(error) => {
                tracing::error!(%error, "a step of the upload broke down; it is taken again");
                (error.id(), None)
            }
        };
        let Some(flight) = self.flights.remove(&id) else { return };
        let place = self.runs.iter().position(|run| Some(&run.run().run) == flight.run.as_ref());
        match (outcome, place) {
            (Some(Outcome::Greeted(result)), _) => self.greeted(&flight, result),
            (Some(outcome), Some(place)) => self.concluded(&flight, place, outcome),
            (None, Some(place)) => {
                self.health.ended(flight.number);
                self.come_to_nothing(&flight, place);
            }
            (_, None) => self.health.ended(flight.number),
        }
        // What the outbox holds is exact only while nothing of the run is under way.
        if place.and_then(|place| self.runs.get(place)).is_some_and(RunUpload::is_quiet) {
            self.look = true;
        }
    }

    fn greeted(&mut self, flight: &Flight, result: Result<(), PlatformError>) {
        match result {
            Err(error) if error.is_transient() => self.failed(flight, &error),
            _ => self.answered(flight, Instant::now()),
        }
    }

    fn concluded(&mut self, flight: &Flight, place: usize, outcome: Outcome) {
        let now = Instant::now();
        let (number, next, hold) = (flight.number, self.next_number, self.settings.hold);
        let Some(run) = self.runs.get_mut(place) else { return };
        match outcome {
            Outcome::Greeted(_) => {}
            Outcome::Opened(data_id) => {
                run.opened(&data_id);
                self.look = true;
                self.answered(flight, now);
            }
            Outcome::OpenedUnrecorded(data_id, error) => {
                run.opened_unrecorded(data_id);
                self.answered(flight, now);
                self.not_recorded(place, &error);
            }
            Outcome::NotOpened(error) => self.not_opened(flight, place, &error),
            Outcome::Confirmed { seq, points, refused } => {
                run.confirmed(seq, number);
                self.window.confirmed(now.duration_since(flight.began));
                self.totals.confirmed += 1;
                self.totals.confirmed_points += points;
                self.totals.refused += refused;
                self.totals.last_confirmed = Some(now);
                self.store.worked(false);
                self.answered(flight, now);
            }
            Outcome::Unrecorded(seq, error) => {
                run.failed(seq, now, self.health.answers(), &mut self.chunk_backoff);
                self.answered(flight, now);
                self.not_recorded(place, &error);
            }
            Outcome::Refused(seq, error) => {
                run.refused(seq, error.status(), &error.words(), next);
                self.answered(flight, now);
                self.window.troubled(number, next);
                self.note(&with_causes(&error));
            }
            Outcome::WhollyRefused(seq, channels) => {
                let words = channels.first().map(|(_, words)| words.clone()).unwrap_or_default();
                run.wholly_refused(seq, channels, next);
                self.answered(flight, now);
                self.note(&format!("the platform refuses every channel of chunk {seq}: {words}"));
            }
            Outcome::Failed(seq, PlatformError::Gone { words, .. }) => {
                run.gone(seq, number, next, &words, now, hold);
                self.answered(flight, now);
                self.note(&format!("the platform does not have the stream: {words}"));
            }
            Outcome::Failed(seq, error) => {
                run.failed(seq, now, self.health.answers(), &mut self.chunk_backoff);
                self.trouble(flight, place, &error);
            }
            Outcome::Rejected(seq, channels) => {
                run.rejected(seq);
                self.totals.refused += channels;
                tracing::warn!(run = %run.run().run, seq, "the platform refuses a chunk; it is kept as rejected");
            }
            Outcome::Ended => {
                run.ended();
                self.look = true;
                self.answered(flight, now);
            }
            Outcome::Finalized => {
                run.finalized();
                self.look = true;
                if flight.network {
                    self.answered(flight, now);
                }
            }
            Outcome::NotFinalized(error) => self.not_finalized(flight, place, &error),
            Outcome::Store(error) => {
                self.health.ended(number);
                run.step_failed();
                self.not_recorded(place, &error);
            }
        }
    }

    /// A step ended without a result.
    fn come_to_nothing(&mut self, flight: &Flight, place: usize) {
        let answers = self.health.answers();
        let Some(run) = self.runs.get_mut(place) else { return };
        match flight.seq {
            Some(seq) => run.failed(seq, Instant::now(), answers, &mut self.chunk_backoff),
            None => run.step_failed(),
        }
    }

    fn not_opened(&mut self, flight: &Flight, place: usize, error: &OpenError) {
        let now = Instant::now();
        let words = with_causes(&error);
        let hold = self.settings.hold;
        let Some(run) = self.runs.get_mut(place) else { return };
        run.step_failed();
        if matches!(error, OpenError::Link { .. }) {
            run.not_linked(now, hold, &words);
        } else if !error.is_transient() && !matches!(error.platform(), Some(PlatformError::Unauthorized { .. })) {
            run.hold(now, hold, &words);
        }
        match error.platform() {
            Some(cause) => self.trouble(flight, place, cause),
            None => self.answered(flight, now),
        }
        self.note(&words);
    }

    fn not_finalized(&mut self, flight: &Flight, place: usize, error: &PlatformError) {
        let now = Instant::now();
        let Some(run) = self.runs.get_mut(place) else { return };
        if error.is_transient() || matches!(error, PlatformError::Unauthorized { .. }) {
            run.step_failed();
        } else if matches!(error, PlatformError::Gone { .. }) {
            if run.finalize_refused() < FINALIZE_GONE {
                run.look_again(now);
            } else {
                tracing::info!(run = %run.run().run, "the platform does not have the stream any more; it needs no finalizing");
                self.start(place, Step::Close);
            }
        } else if run.finalize_refused() < FINALIZE_REFUSALS {
            run.hold(now, self.settings.hold, &with_causes(&error));
        } else {
            tracing::error!(
                run = %run.run().run,
                error = %with_causes(&error),
                "the platform refuses to finalize a stream; all its chunks are confirmed, and it is left as it is"
            );
            self.start(place, Step::Close);
        }
        self.trouble(flight, place, error);
    }

    /// What a failed request says about the platform.
    fn trouble(&mut self, flight: &Flight, place: usize, error: &PlatformError) {
        let now = Instant::now();
        if let Some(run) = self.runs.get_mut(place) {
            run.troubled(flight.number);
        }
        match error {
            PlatformError::Unauthorized { status, .. } => {
                let words = with_causes(&error);
                // A key that was accepted a moment ago is good; it is this run's stream that it may not write to.
                let good = self.totals.last_confirmed.is_some_and(|at| now < at + self.settings.hold);
                if *status == 403 && good {
                    self.answered(flight, now);
                } else {
                    self.health.key_refused(flight.number, now, &words);
                }
                if *status == 403
                    && let Some(run) = self.runs.get_mut(place)
                {
                    run.hold(now, self.settings.hold, &words);
                }
                self.totals.failed_attempts += 1;
                self.note(&words);
            }
            _ if error.is_transient() => self.failed(flight, error),
            _ => {
                self.answered(flight, now);
                self.note(&with_causes(&error));
            }
        }
    }

    fn failed(&mut self, flight: &Flight, error: &PlatformError) {
        let words = with_causes(&error);
        self.health.failed(flight.number, self.next_number, Instant::now(), &words, error.retry_after());
        self.window.troubled(flight.number, self.next_number);
        self.totals.failed_attempts += 1;
        self.note(&words);
    }

    fn answered(&mut self, flight: &Flight, now: Instant) {
        if flight.network {
            // A clock that has failed so far rests for minutes, and chunks wait for it only for seconds.
            if *self.health.state() != PlatformState::Up {
                self.settings.clock_nudge.notify_one();
            }
            self.health.answered(flight.number, now);
        }
    }

    fn note(&mut self, words: &str) {
        self.totals.last_failure = Some(Failure { at: Instant::now(), words: words.to_owned() });
    }

    /// The outbox could not do what was asked for a run: that run waits, or everything does.
    pub(super) fn not_recorded(&mut self, place: usize, error: &OutboxError) {
        match (error, self.runs.get_mut(place)) {
            (OutboxError::Run(words), Some(run)) => {
                run.file_failed(Instant::now(), words);
                self.note(&format!("a run file can't be used: {words}"));
            }
            _ => self.store_failed(error, false),
        }
    }

    pub(super) fn store_failed(&mut self, error: &OutboxError, reading: bool) {
        self.store.failed(error, reading, Instant::now());
        self.look = true;
        self.note(&format!("the run store can't be used: {error}"));
    }
}
