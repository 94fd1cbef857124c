//! Group commit: commands that wait together share one transaction and one sync per run, and are answered after it.

use std::time::{Duration, Instant};

use super::command::Reply;
use super::keeper::Keeper;
use super::run::Run;
use super::{Error, ListedRun};
use crate::model::{RunId, RunState, SessionId, Stamp, with_causes};

/// Tells a caller what became of its command once the outcome of the transaction is known.
pub(super) type Answer = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// When whoever asked is answered, and when the transaction is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// The caller waits for the commit, which follows.
    Now,
    /// The caller is answered at once; the commit waits for company. A crash before undoes what was done.
    Whenever,
}

impl Keeper {
    /// Carries out a command on a run within the group's transaction; the caller is answered when it is durable.
    pub(super) fn on_run<T: Send + 'static>(
        &mut self,
        id: &RunId,
        reply: Reply<T>,
        work: impl FnOnce(&mut Run) -> Result<T, Error>,
    ) {
        self.on_run_due(id, reply, |run| work(run).map(|value| (value, Due::Now)));
    }

    /// The same, where the work says when it has to be durable.
    pub(super) fn on_run_due<T: Send + 'static>(
        &mut self,
        id: &RunId,
        reply: Reply<T>,
        work: impl FnOnce(&mut Run) -> Result<(T, Due), Error>,
    ) {
        if let Some(error) = &self.barred {
            drop(reply.send(Err(error.clone())));
            return;
        }
        let Some(run) = self.runs.get_mut(id) else {
            drop(reply.send(Err(Error::UnknownRun(id.clone()))));
            return;
        };
        let mut opened = Ok(());
        if !self.touched.contains(id) {
            opened = run.refresh().and_then(|()| run.file.begin());
            if opened.is_ok() {
                self.touched.insert(id.clone());
            }
        }
        match opened.and_then(|()| work(run)) {
            Ok((value, Due::Whenever)) => {
                drop(reply.send(Ok(value)));
                self.commit_within(self.settings.settle_within);
            }
            Ok((value, Due::Now)) => {
                let answer: Answer = Box::new(move |outcome| drop(reply.send(outcome.map(|()| value))));
                self.replies.push((id.clone(), answer));
                self.commit_within(Duration::ZERO);
            }
            // Those before it in the transaction are not concerned.
            Err(error) if error.wrote_nothing() => drop(reply.send(Err(error))),
            Err(error) => {
                self.fail_group(id, &error);
                drop(reply.send(Err(error)));
            }
        }
    }

    fn commit_within(&mut self, time: Duration) {
        let due = Instant::now() + time;
        self.commit_at = Some(self.commit_at.map_or(due, |at| at.min(due)));
    }

    /// Commits what somebody waits for, and what has waited for company for long enough.
    pub(super) fn commit_group_when_due(&mut self, now: Instant) {
        if self.touched.is_empty() {
            self.commit_at = None;
        } else if self.commit_at.is_none_or(|at| at <= now) {
            self.commit_group();
        }
    }

    /// The same on the run that is being recorded; `work` gets the session and its time now.
    pub(super) fn on_recording(
        &mut self,
        reply: Reply<()>,
        work: impl FnOnce(&mut Run, (SessionId, Stamp)) -> Result<(), Error>,
    ) {
        let Some(recording) = &self.recording else {
            drop(reply.send(Err(Error::NotRecording)));
            return;
        };
        let (id, at) = (recording.run.clone(), (recording.session, recording.time.now()));
        self.on_run(&id, reply, |run| work(run, at));
    }

    /// Makes the group's transactions durable and answers.
    pub(super) fn commit_group(&mut self) {
        self.commit_at = None;
        let mut durable = Vec::new();
        for id in std::mem::take(&mut self.touched) {
            let Some(run) = self.runs.get(&id) else { continue };
            let start = Instant::now();
            match run.file.commit() {
                Ok(()) => {
                    self.commits.add(start.elapsed());
                    self.retire_if_done(&id);
                    durable.push(id);
                }
                Err(error) => self.fail_group(&id, &error),
            }
        }
        if !durable.is_empty() {
            self.publish();
        }
        for id in durable {
            self.answer(&id, &Ok(()));
        }
        if std::mem::take(&mut self.sealed) {
            self.changed.notify_one();
        }
    }

    /// A statement or the commit failed: all that the transaction held is undone and its callers are told.
    fn fail_group(&mut self, id: &RunId, error: &Error) {
        // Whoever asked is told, and knows whether it is news.
        tracing::debug!(run = %id, error = %with_causes(error), "a transaction on a run file failed");
        self.note_trouble(error);
        if let Some(run) = self.runs.get_mut(id) {
            run.undo();
        }
        self.touched.remove(id);
        self.answer(id, &Err(error.clone()));
        if error.is_beyond_use() {
            self.give_up(id, error);
        }
    }

    fn answer(&mut self, id: &RunId, outcome: &Result<(), Error>) {
        for (_, answer) in self.replies.extract_if(.., |(run, _)| run == id) {
            answer(outcome.clone());
        }
    }

    /// A run that needs nothing more is closed for good: its log goes into its file, which can be copied by itself.
    pub(super) fn retire_if_done(&mut self, id: &RunId) {
        let Some(run) = self.runs.get(id) else { return };
        let state = run.head.state;
        if self.listed.iter().any(|listed| listed.run == *id && listed.state != state) {
            let mark = |listed: &ListedRun| ListedRun {
                state: if listed.run == *id { state } else { listed.state },
                ..listed.clone()
            };
            self.listed = self.listed.iter().map(mark).collect();
        }
        if state == RunState::Done {
            if let Some(run) = self.runs.remove(id) {
                let before = self.done.iter().filter(|totals| totals.run != *id).cloned();
                self.done = before.chain([run.totals()]).collect();
                run.close_file();
            }
            self.prune_at = Instant::now();
            tracing::info!(run = %id, "the run is done");
        }
    }
}
