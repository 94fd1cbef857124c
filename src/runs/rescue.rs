//! Damaged run files, while the store goes on: a thread beside that of the store salvages one after the other, however large
//! they are, and the runs that it makes of them are taken in.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::keeper::Keeper;
use super::run::Run;
use super::salvage::{self, Damaged, Outcome};
use super::{Error, ListedRun, SetAside};
use crate::model::{RunId, RunState, with_causes};

/// How often the store looks whether the thread is done.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Copies of copies that are made at most.
const MOST_COPIES: usize = 3;

/// What [`SetAside::why`](super::SetAside) ends in meanwhile.
const UNDER_WAY: &str = "; it is being salvaged";

/// Files that wait for it, and the one under way.
#[derive(Debug, Default)]
pub(super) struct Rescuing {
    waiting: VecDeque<Damaged>,
    now: Option<Now>,
}

#[derive(Debug)]
struct Now {
    damaged: Damaged,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Option<Outcome>>,
}

impl Keeper {
    /// Has a file salvaged that no connection is open to.
    pub(super) fn rescue(&mut self, damaged: Damaged) {
        tracing::error!(path = %damaged.path.display(), why = damaged.why, "a run file is damaged; what is readable is salvaged");
        self.say_aside(SetAside { path: damaged.path.clone(), why: format!("{}{UNDER_WAY}", damaged.why) }, None);
        self.rescuing.waiting.push_back(damaged);
        self.rescue_next();
    }

    /// A run whose file turned out to be damaged is given up: the file is salvaged, and if it was being recorded, a new run
    /// goes on with what is in memory.
    pub(super) fn give_up(&mut self, id: &RunId, error: &Error) {
        if self.recording.as_ref().is_some_and(|recording| recording.run == *id) {
            if let Err(error) = self.go_on_in_a_new_run(error) {
                tracing::debug!(error = %with_causes(&error), "no new run can be begun yet");
            }
            return;
        }
        // What is found damaged again and again is not made better by another copy.
        if id.as_str().matches("-s").count() >= MOST_COPIES {
            return;
        }
        let Some(lost) = self.runs.remove(id) else { return };
        if self.unfinished.as_ref().is_some_and(|unfinished| unfinished.run == *id) {
            self.unfinished = None;
        }
        let path = lost.file.path.clone();
        lost.let_go();
        drop(lost);
        self.listed = self.listed.iter().filter(|listed| listed.run != *id).cloned().collect();
        self.rescue(Damaged { path, why: with_causes(error), logged: true });
    }

    /// When to look whether the thread is done.
    pub(super) fn rescuing_until(&self) -> Option<Instant> {
        self.rescuing.now.as_ref().map(|_| Instant::now() + LOOK_EVERY)
    }

    /// Takes in what the thread has done, and gives it the next.
    pub(super) fn look_after_rescuing(&mut self) {
        if self.rescuing.now.as_ref().is_some_and(|now| now.thread.is_finished())
            && let Some(now) = self.rescuing.now.take()
        {
            let path = now.damaged.path;
            match now.thread.join() {
                Ok(Some(outcome)) => self.rescued(&path, outcome),
                Ok(None) => {}
                Err(_) => {
                    tracing::error!(path = %path.display(), "salvaging a damaged run file ended in a panic; it is left alone");
                    let why = format!("{}; salvaging it failed", now.damaged.why);
                    self.say_aside(SetAside { path: path.clone(), why }, Some(&path));
                }
            }
        }
        self.rescue_next();
    }

    /// Leaves what is under way to the next start.
    pub(super) fn stop_rescuing(&mut self) {
        if let Some(now) = self.rescuing.now.take() {
            now.stop.store(true, Ordering::Relaxed);
            if now.thread.join().is_err() {
                tracing::error!(path = %now.damaged.path.display(), "salvaging a damaged run file ended in a panic");
            }
        }
    }

    fn rescue_next(&mut self) {
        while self.rescuing.now.is_none()
            && let Some(damaged) = self.rescuing.waiting.pop_front()
        {
            let stop = Arc::new(AtomicBool::new(false));
            let (of, stopped) = (damaged.clone(), Arc::clone(&stop));
            let work = move || salvage::set_aside(&of, &stopped, &mut |_| {});
            match thread::Builder::new().name("salvage".to_owned()).spawn(work) {
                Ok(thread) => self.rescuing.now = Some(Now { damaged, stop, thread }),
                Err(error) => {
                    let why = format!("{}; it could not be salvaged: {error}", damaged.why);
                    self.say_aside(SetAside { path: damaged.path.clone(), why }, Some(&damaged.path));
                }
            }
        }
    }

    fn rescued(&mut self, was: &Path, outcome: Outcome) {
        self.say_aside(outcome.set_aside, Some(was));
        for path in outcome.runs {
            match Run::open(&path) {
                Ok(run) => {
                    let (id, state) = (run.head.id.clone(), run.head.state);
                    let listed = ListedRun { run: id.clone(), name: run.head.spec.name.clone(), path, state };
                    let mut all: Vec<ListedRun> = self.listed.iter().cloned().chain([listed]).collect();
                    all.sort_by(|a, b| a.run.cmp(&b.run));
                    self.listed = all.into();
                    if state != RunState::Done {
                        self.runs.insert(id, run);
                    }
                }
                Err(error) => {
                    let why = with_causes(&error);
                    tracing::error!(path = %path.display(), error = why, "a salvaged run could not be opened");
                    self.say_aside(SetAside { path, why }, None);
                }
            }
        }
        self.changed.notify_one();
    }

    /// Shows a file as set aside, in the place of what was said of `was`.
    fn say_aside(&mut self, now: SetAside, was: Option<&Path>) {
        let others = self.set_aside.iter().filter(|aside| was.is_none_or(|was| aside.path != was)).cloned();
        self.set_aside = others.chain([now]).collect();
    }
}
