//! The thread that owns every run file: takes requests in order, groups their transactions, keeps the time of commits.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::command::{Command, Reply, Request};
use super::group::{Answer, Due};
use super::offset::{self, SessionClock};
use super::programs::Giver;
use super::prune;
use super::recording::{Ending, Recording};
use super::rescue::Rescuing;
use super::run::Run;
use super::session::Boot;
use super::space::Space;
use super::store::Found;
use super::tray::{self, Tray};
use super::{
    Axis, Batch, CommitTimes, Error, ListedRun, Pruned, RunStart, RunTotals, SetAside, Settings, State, Status,
};
use crate::model::{ClockReading, ClockSource, RunId, RunState, TimeBase, with_causes};

/// Requests that are taken together at most, so that an append behind them never waits long for its commit.
const GROUP: usize = 64;

/// Since when and why the disk takes nothing.
#[derive(Debug)]
pub(super) struct Pause {
    why: String,
    since: Instant,
    retry_at: Instant,
}

/// A run that a dead process left recording.
#[derive(Debug, Clone)]
pub(super) struct Unfinished {
    pub(super) run: RunId,
    /// When it is too old to be resumed.
    pub(super) until: Instant,
}

/// All that the thread owns.
pub(super) struct Keeper {
    pub(super) settings: Settings,
    /// The folder is ours for as long as this is open.
    pub(super) lock: File,
    /// Why it is not any more.
    pub(super) barred: Option<Error>,
    /// When files are next looked for where they were.
    pub(super) look_at: Instant,
    pub(super) space: Space,
    /// When finished runs are next looked at.
    pub(super) prune_at: Instant,
    pub(super) pruned: Pruned,
    /// What the run was begun with.
    pub(super) start: Option<RunStart>,
    /// The run that was begun last, also once it is done.
    pub(super) newest: Option<RunId>,
    /// Runs that are not done.
    pub(super) runs: BTreeMap<RunId, Run>,
    pub(super) recording: Option<Recording>,
    pub(super) unfinished: Option<Unfinished>,
    /// Runs that are to be closed, where the disk did not let us yet.
    pub(super) to_close: Vec<RunId>,
    pub(super) close_at: Instant,
    /// Whether it was said that closing does not work.
    pub(super) close_failed: bool,
    pub(super) pause: Option<Pause>,
    pub(super) rescuing: Rescuing,
    /// Runs with an open transaction, and what is answered once it is durable.
    pub(super) touched: BTreeSet<RunId>,
    pub(super) replies: Vec<(RunId, Answer)>,
    /// Chunks were given in the open transactions.
    pub(super) sealed: bool,
    /// When the open transactions are committed at the latest.
    pub(super) commit_at: Option<Instant>,
    /// What nobody waits for.
    pub(super) tray: Arc<Tray>,
    /// With them the last chunk of a run was confirmed.
    pub(super) emptied: bool,
    /// So long the tray is looked at although nobody asks, since something was there.
    pub(super) busy_until: Instant,
    /// Programs that give chunks.
    pub(super) givers: BTreeMap<RunId, Giver>,
    /// Runs that a dead program left, and until when they wait for it.
    pub(super) left: Vec<(RunId, Instant)>,
    /// The newest measurement of the clock.
    pub(super) clock: Option<ClockReading>,
    pub(super) listed: Arc<[ListedRun]>,
    /// Of the runs that are no longer in `runs`, since they need nothing more.
    pub(super) done: Arc<[RunTotals]>,
    pub(super) set_aside: Arc<[SetAside]>,
    pub(super) commits: CommitTimes,
    pub(super) changed: Arc<Notify>,
    pub(super) status: watch::Sender<Status>,
}

impl Keeper {
    pub(super) fn new(
        settings: Settings,
        lock: File,
        found: Found,
        changed: Arc<Notify>,
        tray: Arc<Tray>,
        status: watch::Sender<Status>,
    ) -> Self {
        let now = Instant::now();
        let mut keeper = Self {
            space: Space::new(&settings, now),
            settings,
            lock,
            barred: None,
            look_at: now,
            prune_at: now,
            pruned: Pruned::default(),
            start: None,
            newest: None,
            runs: found.runs.into_iter().map(|run| (run.head.id.clone(), run)).collect(),
            recording: None,
            unfinished: None,
            to_close: Vec::new(),
            close_at: now,
            close_failed: false,
            pause: None,
            rescuing: Rescuing::default(),
            touched: BTreeSet::new(),
            replies: Vec::new(),
            sealed: false,
            commit_at: None,
            tray,
            emptied: false,
            busy_until: now,
            givers: BTreeMap::new(),
            left: Vec::new(),
            clock: None,
            listed: found.listed.into(),
            done: Arc::default(),
            set_aside: found.set_aside.into(),
            commits: CommitTimes::default(),
            changed,
            status,
        };
        keeper.sort_unfinished(now);
        keeper.close_due(now);
        found.damaged.into_iter().for_each(|damaged| keeper.rescue(damaged));
        keeper.publish();
        keeper.changed.notify_one();
        keeper
    }

    /// Of the runs that were left recording, the newest may be resumed if it is young enough; the others are closed.
    fn sort_unfinished(&mut self, now: Instant) {
        let (boot, wall) = (Boot::now(), TimeBase::start().now());
        let age = |run: &Run| {
            let (session, at) = run.written;
            let clock = run.sessions.iter().find(|clock| clock.session == session);
            let age = clock.map_or(0, |clock| offset::age(at, clock, wall, boot.id.as_deref(), boot.uptime_nanos));
            Duration::from_nanos(u64::try_from(age).unwrap_or(0))
        };
        let left = || self.runs.values().filter(|run| run.head.state == RunState::Recording);
        let given: Vec<(RunId, Duration)> =
            left().filter(|run| run.head.axis == Axis::Given).map(|run| (run.head.id.clone(), age(run))).collect();
        let left: Vec<&Run> = left().filter(|run| run.head.axis != Axis::Given).collect();
        for (place, run) in left.iter().enumerate() {
            let age = age(run);
            let rest = self.settings.resume_within.checked_sub(age).filter(|rest| !rest.is_zero());
            match rest {
                Some(rest) if place + 1 == left.len() => {
                    self.unfinished = Some(Unfinished { run: run.head.id.clone(), until: now + rest });
                }
                _ => self.to_close.push(run.head.id.clone()),
            }
        }
        given.into_iter().for_each(|(run, age)| self.note_left(run, age, now));
    }

    /// Works until it is told to stop, or every handle is gone.
    pub(super) fn work(&mut self, requests: &Receiver<Request>) {
        loop {
            let mut next = match self.wait() {
                Some(wait) => requests.recv_timeout(wait),
                None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            if matches!(next, Err(RecvTimeoutError::Disconnected)) {
                self.heed_tray();
                self.commit_group();
                self.leave_given();
                if let Err(error) = self.flush(Ending::Not) {
                    tracing::error!(error = %with_causes(&error), "what was in memory at the end could not be written");
                }
                self.stop_rescuing();
                self.close_files();
                self.tray.close();
                return;
            }
            self.heed_tray();
            let mut taken = 0;
            while let Ok(request) = next {
                if let Command::Stop(reply) = request.command {
                    self.heed_tray();
                    self.commit_group();
                    self.leave_given();
                    let result = self.flush(Ending::Not);
                    self.stop_rescuing();
                    self.publish();
                    self.close_files();
                    self.tray.close();
                    drop(reply.send(result));
                    return;
                }
                self.carry_out(request.command);
                taken += 1;
                next = if taken < GROUP {
                    requests.try_recv().map_err(|_| RecvTimeoutError::Timeout)
                } else {
                    Err(RecvTimeoutError::Timeout)
                };
            }
            self.commit_group_when_due(Instant::now());
            self.act_on_time(Instant::now());
            self.publish();
            if std::mem::take(&mut self.emptied) {
                self.changed.notify_one();
            }
        }
    }

    /// How long to wait for a request.
    fn wait(&self) -> Option<Duration> {
        let now = Instant::now();
        let wait = self.deadline().map(|at| at.saturating_duration_since(now));
        if now < self.busy_until {
            self.tray.is_awake();
            return Some(wait.map_or(tray::LIES, |wait| wait.min(tray::LIES)));
        }
        if self.tray.may_sleep() { wait } else { Some(Duration::ZERO) }
    }

    fn carry_out(&mut self, command: Command) {
        // What was told before comes before.
        self.heed_tray();
        self.carry_out_now(command);
    }

    pub(super) fn carry_out_now(&mut self, command: Command) {
        match command {
            Command::Heed => {}
            Command::Append(batch) => self.append(batch),
            Command::Begin(start, reply) => {
                self.commit_group();
                let result = self.begin(*start);
                self.answer_now(reply, result);
            }
            Command::Flush(reply) => {
                self.commit_group();
                let result = self.flush(Ending::Not);
                self.answer_now(reply, result);
            }
            Command::EndRun(reply) => {
                self.commit_group();
                let result = self.end(Ending::Run);
                self.answer_now(reply, result);
            }
            Command::EndSession(reply) => {
                self.commit_group();
                let result = self.end(Ending::Session);
                self.answer_now(reply, result);
            }
            Command::CloseUnfinished(reply) => {
                self.commit_group();
                let result = self.close_unfinished();
                self.answer_now(reply, result);
            }
            Command::Pending(reply) => {
                self.commit_group_when_due(Instant::now());
                let pending = self.runs.values().filter_map(Run::outbox).collect();
                self.answer_now(reply, Ok(pending));
            }
            Command::Clock(reading, reply) => {
                if reading.source == ClockSource::Platform && self.trusted_now().is_none() {
                    self.prune_at = Instant::now();
                }
                self.note_clock(reading, reply);
            }
            Command::OpenGiven(start, reply) => {
                self.commit_group();
                let result = self.open_given(&start);
                self.answer_now(reply, result);
            }
            Command::ReopenGiven { data_id, time, reply } => {
                self.commit_group();
                let result = self.reopen_given(&data_id, time);
                self.answer_now(reply, result);
            }
            Command::CloseGiven { run, reply } => {
                let result = self.close_given(&run);
                self.answer_now(reply, result);
            }
            Command::Give { run, chunk, freeze, reply } => self.give(&run, &chunk, freeze, reply),
            Command::Event { kind, text, reply } => self.on_recording(reply, move |run, recording| {
                run.file.insert_event(recording.0, recording.1, &kind, &text)
            }),
            Command::StreamOpened { run, data_id, reply } => {
                self.on_run(&run, reply, |run| run.stream_opened(&data_id));
            }
            Command::StreamEnded { run, why, reply } => self.on_run(&run, reply, |run| run.stream_ended(&why)),
            Command::StreamFinalized { run, reply } => self.on_run(&run, reply, Run::stream_finalized),
            Command::Take { run, limit, in_flight, from, reply } => {
                let elsewhere = self.sessions_beside(&run);
                // What was given or frozen in the transaction that is open is not durable yet, and must not be sent before.
                let open = !self.replies.is_empty();
                self.on_run_due(&run, reply, |run| {
                    let (chunks, froze) = run.take(limit, &in_flight, from, &elsewhere)?;
                    Ok((chunks, if froze || open { Due::Now } else { Due::Whenever }))
                });
            }
            Command::Settle { run, seq, refused, said, reply } => {
                self.on_run(&run, reply, |run| run.settle(seq, &refused, &said));
            }
            Command::Resend { run, chunk, reply } => match self.reopen(&run) {
                Ok(()) => self.on_run(&run, reply, |run| run.resend(chunk)),
                Err(error) => drop(reply.send(Err(error))),
            },
            Command::AttemptFailed { run, seq, why, reply } => {
                self.on_run(&run, reply, |run| run.attempt_failed(seq, &why));
            }
            Command::Prune { dry_run, reply } => {
                self.commit_group();
                let plan = self.prune(dry_run);
                self.answer_now(reply, Ok(plan));
            }
            // Taken out before it comes here.
            Command::Stop(reply) => drop(reply.send(Err(Error::Stopped))),
            #[cfg(test)]
            Command::LimitPages(spare, reply) => {
                self.commit_group();
                drop(reply.send(self.runs.values().try_for_each(|run| run.file.limit_pages(spare))));
            }
        }
    }

    /// Makes a run that is done one that can be asked for something again.
    fn reopen(&mut self, id: &RunId) -> Result<(), Error> {
        if self.runs.contains_key(id) {
            return Ok(());
        }
        let listed = self.listed.iter().find(|listed| listed.run == *id);
        let path = listed.map(|listed| listed.path.clone()).ok_or_else(|| Error::UnknownRun(id.clone()))?;
        self.runs.insert(id.clone(), Run::open(&path)?);
        Ok(())
    }

    /// Nothing more is written: each log goes into its file, and is not missed.
    fn close_files(&mut self) {
        for run in std::mem::take(&mut self.runs).into_values() {
            run.close_file();
        }
    }

    /// The sessions of all other runs that have measured their clock: a run that was closed before the platform could be
    /// reached never measures its own, but the session that records now may have done so since.
    fn sessions_beside(&self, id: &RunId) -> Vec<SessionClock> {
        let others = self.runs.iter().filter(|(other, _)| *other != id).flat_map(|(_, run)| &run.sessions);
        others.filter(|clock| clock.reading.is_some()).cloned().collect()
    }

    /// Answers with what the status shows already.
    pub(super) fn answer_now<T>(&self, reply: Reply<T>, result: Result<T, Error>) {
        self.publish();
        drop(reply.send(result));
    }

    fn append(&mut self, batch: Batch) {
        let Some(recording) = &mut self.recording else {
            tracing::warn!(ticks = batch.ticks.len(), "ticks came while no run was being recorded");
            return;
        };
        recording.push(batch);
        let full =
            self.pause.is_none() && self.runs.get(&recording.run).is_some_and(|run| recording.is_full(&run.head));
        if full {
            self.commit_group();
            // A failure is logged and tried again; nobody waits for the answer.
            drop(self.flush(Ending::Not));
        }
    }

    fn end(&mut self, ending: Ending) -> Result<(), Error> {
        let Some(recording) = &self.recording else { return Err(Error::NotRecording) };
        let run = recording.run.clone();
        self.flush(ending)?;
        self.recording = None;
        if ending == Ending::Session {
            self.unfinished = Some(Unfinished { run, until: Instant::now() + self.settings.resume_within });
        } else {
            tracing::info!(%run, "the run was closed");
            self.retire_if_done(&run);
        }
        Ok(())
    }

    /// Writes what is in memory. No transaction may be open.
    fn flush(&mut self, ending: Ending) -> Result<(), Error> {
        if self.recording.is_some() {
            self.commit_group();
        }
        let Some(recording) = &mut self.recording else { return Ok(()) };
        let Some(run) = self.runs.get_mut(&recording.run) else { return Err(Error::NotRecording) };
        let start = Instant::now();
        let allowed = match (&self.barred, ending) {
            (Some(error), _) => Err(error.clone()),
            (None, Ending::Not | Ending::Seal) => self.space.may_record(),
            // What would be lost otherwise may take the reserve.
            (None, Ending::Session | Ending::Run) => Ok(()),
        };
        match allowed.and_then(|()| recording.flush(run, ending)) {
            Ok(flushed) => {
                if flushed.wrote {
                    self.commits.add(start.elapsed());
                    self.space.has_recorded(start);
                }
                if flushed.sealed {
                    self.changed.notify_one();
                }
                if let Some(pause) = self.pause.take() {
                    tracing::info!(run = %recording.run, after = ?pause.since.elapsed(), "the disk takes data again");
                }
                Ok(())
            }
            Err(error) => {
                let (why, now) = (with_causes(&error), Instant::now());
                let retry_at = now + self.settings.retry_every;
                match &mut self.pause {
                    Some(pause) => *pause = Pause { why, since: pause.since, retry_at },
                    None => {
                        tracing::error!(run = %recording.run, error = %why,
                            "recording pauses: the disk takes no data; samples are held in memory");
                        self.pause = Some(Pause { why, since: now, retry_at });
                    }
                }
                self.note_trouble(&error);
                if error.is_damage()
                    && let Err(error) = self.go_on_in_a_new_run(&error)
                {
                    tracing::debug!(error = %with_causes(&error), "no new run can be begun yet");
                }
                Err(error)
            }
        }
    }

    /// A full disk needs space, a file that vanished has to be looked for.
    pub(super) fn note_trouble(&mut self, error: &Error) {
        let now = Instant::now();
        if error.is_full() {
            self.space.ran_out(now);
            self.prune_at = self.prune_at.min(now);
        }
        if matches!(error, Error::Astray { .. }) {
            self.look_at = now;
        }
    }

    /// When something has to be done though nobody asks.
    fn deadline(&self) -> Option<Instant> {
        let tending = Some(self.space.look_at().min(self.prune_at));
        [self.writing_due(), self.commit_at, tending, self.rescuing_until()].into_iter().flatten().min()
    }

    /// When run files are next written or looked at though nobody asks.
    fn writing_due(&self) -> Option<Instant> {
        let recording = self.recording.as_ref().and_then(|recording| match &self.pause {
            Some(pause) => Some(pause.retry_at),
            None => [
                recording.dirty_since.map(|since| since + self.settings.commit_every),
                recording.open_since.map(|since| since + self.settings.max_span),
            ]
            .into_iter()
            .flatten()
            .min(),
        });
        let unfinished = self.unfinished.as_ref().map(|unfinished| unfinished.until);
        let closing = (!self.to_close.is_empty()).then_some(self.close_at);
        let looking = (!self.runs.is_empty()).then_some(self.look_at);
        let left = self.left.iter().map(|(_, until)| *until).min();
        [recording, unfinished, closing, looking, left].into_iter().flatten().min()
    }

    fn act_on_time(&mut self, now: Instant) {
        // What waits for company is disturbed only where files are written or may have gone.
        if self.rescuing_until().is_some() || self.writing_due().is_some_and(|due| due <= now) {
            self.commit_group();
        }
        self.close_abandoned(now);
        self.look_after_places(now);
        self.prune_when_due(now);
        if let Some(recording) = &self.recording {
            let due = |since: Option<Instant>, after| since.is_some_and(|since| now >= since + after);
            let seal = due(recording.open_since, self.settings.max_span);
            let commit = match &self.pause {
                Some(pause) => now >= pause.retry_at,
                None => seal || due(recording.dirty_since, self.settings.commit_every),
            };
            if commit {
                // A failure is logged and tried again; nobody waits for the answer.
                drop(self.flush(if seal { Ending::Seal } else { Ending::Not }));
            }
        }
        if self.unfinished.as_ref().is_some_and(|unfinished| now >= unfinished.until) {
            self.to_close.extend(self.unfinished.take().map(|unfinished| unfinished.run));
        }
        self.close_due(now);
        if self.space.tend(now) {
            self.prune_at = self.prune_at.min(now + prune::AGAIN);
        }
        self.look_after_rescuing();
    }

    pub(super) fn publish(&self) {
        let state = match (&self.pause, &self.recording) {
            (Some(pause), _) => State::Paused { why: pause.why.clone() },
            (None, Some(_)) => State::Recording,
            (None, None) => State::Idle,
        };
        let status = Status {
            state,
            data_dir: self.settings.data_dir.clone(),
            run: self.recording.as_ref().map(|recording| recording.run.clone()),
            session: self.recording.as_ref().map(|recording| recording.session),
            unfinished: self.unfinished.as_ref().map(|unfinished| unfinished.run.clone()),
            runs: self.runs.values().map(Run::totals).collect(),
            done: Arc::clone(&self.done),
            listed: Arc::clone(&self.listed),
            set_aside: Arc::clone(&self.set_aside),
            commits: self.commits,
            buffered: match (&self.pause, &self.recording) {
                (Some(_), Some(recording)) => recording.buffered(),
                _ => 0,
            },
            disk: self.space.shown(),
            pruned: self.pruned,
        };
        self.status.send_if_modified(|current| {
            let differs = *current != status;
            *current = status;
            differs
        });
    }
}
