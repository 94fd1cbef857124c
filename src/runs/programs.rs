//! Programs that give chunks: the runs that are open for them, each with the session that gives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::begin::session;
use super::command::Reply;
use super::error::BadChunk;
use super::given::{GivenStart, Reopened, Taken};
use super::group::Due;
use super::keeper::Keeper;
use super::rows::Head;
use super::run::Run;
use super::tray::ENOUGH_CHUNKS;
use super::{Axis, Error};
use crate::model::{Chunk, ClockReading, RunId, RunState, SessionId, TimeBase};

/// So long after something lay in the tray it is looked at again and again.
const BUSY: Duration = Duration::from_secs(1);

/// Who gives chunks to a run.
#[derive(Debug)]
pub(super) struct Giver {
    pub(super) session: SessionId,
    pub(super) time: TimeBase,
}

impl Keeper {
    pub(super) fn open_given(&mut self, start: &GivenStart) -> Result<RunId, Error> {
        if start.spec.points_per_chunk == 0 {
            return Err(Error::Start("`points_per_chunk` has to be 1 or more"));
        }
        if let Some(error) = &self.barred {
            return Err(error.clone());
        }
        self.space.may_record()?;
        let created = start.time.now();
        let (id, path) = self.new_name(created);
        let head = Head {
            id: id.clone(),
            state: RunState::Recording,
            created,
            spec: start.spec.clone(),
            axis: Axis::Given,
            period: None,
            channels: [].into(),
        };
        let session = session(SessionId(1), &start.time, &start.config_text, created);
        let run = self.create(&path, head, &session)?;
        self.runs.insert(id.clone(), run);
        let outcome = self.in_transaction(&id, |run, clock| {
            run.stream_opened(&start.data_id)?;
            clock.map_or(Ok(()), |reading| run.record_clock(SessionId(1), reading))
        });
        outcome.inspect_err(|_| self.forget_stillborn(&id))?;
        self.givers.insert(id.clone(), Giver { session: SessionId(1), time: start.time });
        self.changed.notify_one();
        Ok(id)
    }

    pub(super) fn reopen_given(&mut self, data_id: &str, time: TimeBase) -> Result<Reopened, Error> {
        let unknown = || Error::UnknownStream { data_id: data_id.to_owned() };
        let mut found = None;
        for (id, run) in self.runs.iter().filter(|(_, run)| run.head.axis == Axis::Given) {
            if run.stream.as_ref().is_some_and(|stream| stream.data_id == data_id) || run.had_stream(data_id)? {
                found = Some(id.clone());
            }
        }
        let Some(id) = found else {
            let done = self.done.iter().any(|run| run.stream.as_ref().is_some_and(|stream| stream.data_id == data_id));
            return Err(if done { Error::Finalized { data_id: data_id.to_owned() } } else { unknown() });
        };
        if self.givers.contains_key(&id) {
            return Err(Error::AlreadyOpen { data_id: data_id.to_owned() });
        }
        let run = self.runs.get(&id).ok_or_else(unknown)?;
        if run.head.state != RunState::Recording {
            return Err(Error::Finalized { data_id: data_id.to_owned() });
        }
        let newest = run.sessions.iter().map(|clock| clock.session.0).max().unwrap_or(0);
        let row = session(SessionId(newest + 1), &time, "", time.now());
        let reopened = self.in_transaction(&id, |run, clock| {
            run.go_on(&row)?;
            clock.map_or(Ok(()), |reading| run.record_clock(row.number, reading))?;
            Ok(run.reopened())
        })?;
        self.left.retain(|(left, _)| *left != id);
        self.to_close.retain(|close| *close != id);
        self.givers.insert(id, Giver { session: row.number, time });
        self.changed.notify_one();
        Ok(reopened)
    }

    pub(super) fn close_given(&mut self, id: &RunId) -> Result<(), Error> {
        let at = self.givers.get(id).map(|giver| (giver.session, giver.time.now()));
        if !self.runs.contains_key(id) {
            return Err(Error::UnknownRun(id.clone()));
        }
        self.in_transaction(id, |run, _| {
            if let Some((session, at)) = at {
                run.file.end_session(session, at)?;
            }
            run.close()
        })?;
        self.givers.remove(id);
        self.left.retain(|(left, _)| left != id);
        self.retire_if_done(id);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes a chunk; the program is answered when it is durable.
    pub(super) fn give(&mut self, id: &RunId, chunk: &Arc<Chunk>, freeze: bool, reply: Reply<Taken>) {
        let allowed = match self.givers.get(id) {
            Some(giver) => self.space.may_record().map(|()| (giver.session, giver.time.now())),
            None => Err(BadChunk::Closed(id.clone()).into()),
        };
        match allowed {
            Ok((session, at)) => {
                self.on_run(id, reply, |run| run.give(session, at, chunk, freeze));
                self.sealed = true;
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Takes in what nobody waits for. A confirmation that can't be recorded has its chunk sent again.
    pub(super) fn heed_tray(&mut self) {
        let lying = self.tray.take();
        if lying.is_empty() {
            return;
        }
        self.busy_until = Instant::now() + BUSY;
        for (id, seq, said) in lying.settled {
            let (reply, _nobody) = oneshot::channel();
            self.on_run_due(&id, reply, |run| Ok((run.settle(seq, &[], &said)?, Due::Whenever)));
            self.emptied |= self.runs.get(&id).is_some_and(|run| run.waiting.is_empty());
        }
        for (place, request) in (1_usize..).zip(lying.given) {
            self.carry_out_now(request.command);
            if place.is_multiple_of(ENOUGH_CHUNKS) {
                self.commit_group();
            }
        }
    }

    /// A measurement of the clock that all of them share.
    pub(super) fn note_clock(&mut self, reading: ClockReading, reply: Reply<()>) {
        self.clock = Some(reading);
        let mut outcome = Ok(());
        for id in self.givers.keys().cloned().collect::<Vec<_>>() {
            let Some(session) = self.givers.get(&id).map(|giver| giver.session) else { continue };
            let recorded = self.in_transaction(&id, |run, _| run.record_clock(session, reading));
            outcome = outcome.and(recorded);
        }
        if self.recording.is_some() || (self.givers.is_empty() && !self.settings.keep_clock) {
            return self.on_recording(reply, move |run, recording| run.record_clock(recording.0, reading));
        }
        self.answer_now(reply, outcome);
    }

    /// Runs that were left by a dead program are closed when nobody has gone on with them for long enough.
    pub(super) fn close_abandoned(&mut self, now: Instant) {
        for (run, _) in self.left.extract_if(.., |(_, until)| *until <= now) {
            self.to_close.push(run);
        }
    }

    /// Ends the sessions of programs that are still open; their runs wait to be gone on with.
    pub(super) fn leave_given(&mut self) {
        for (id, giver) in std::mem::take(&mut self.givers) {
            let at = giver.time.now();
            if let Err(error) = self.in_transaction(&id, |run, _| run.file.end_session(giver.session, at)) {
                tracing::debug!(run = %id, %error, "the end of a session was not recorded");
            }
        }
    }

    /// Remembers a run that a dead program left, or has it closed if it is too old to be gone on with.
    pub(super) fn note_left(&mut self, id: RunId, age: Duration, now: Instant) {
        match self.settings.abandon_after.checked_sub(age) {
            Some(rest) => self.left.push((id, now + rest)),
            None => self.to_close.push(id),
        }
    }

    fn in_transaction<T>(
        &mut self,
        id: &RunId,
        work: impl FnOnce(&mut Run, Option<ClockReading>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.commit_group();
        let clock = self.clock;
        let Some(run) = self.runs.get_mut(id) else { return Err(Error::UnknownRun(id.clone())) };
        run.refresh()?;
        run.file.begin()?;
        let outcome = work(run, clock).and_then(|value| run.file.commit().map(|()| value));
        if let Err(error) = &outcome {
            run.undo();
            self.note_trouble(error);
        }
        outcome
    }

    /// A run that could not be begun was never in its file.
    fn forget_stillborn(&mut self, id: &RunId) {
        self.runs.remove(id);
        let stillborn = self.listed.iter().find(|listed| listed.run == *id).map(|listed| listed.path.clone());
        self.listed = self.listed.iter().filter(|listed| listed.run != *id).cloned().collect();
        if let Some(path) = stillborn {
            super::begin::remove_stillborn(&path);
        }
    }
}
