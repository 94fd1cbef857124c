//! The loop: one task that plans, and one task for each step in flight.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::Id;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Left;
use super::Outbox;
use super::Settings;
use super::Status;
use super::backoff::Backoff;
use super::health::Health;
use super::health::Permit;
use super::job;
use super::job::Outcome;
use super::run_upload::RunUpload;
use super::run_upload::Step;
use super::store_health::StoreHealth;
use super::turn::Turn;
use super::window::Window;
use crate::atomscale::Platform;
use crate::model::ClockSource;
use crate::model::RunId;
use crate::model::RunState;

/// How often the outbox is looked into although it has not said that anything changed: a net under the notification.
const LOOK_ANYWAY: Duration = Duration::from_secs(30);

/// The outbox is looked into at most this often: each chunk that is settled is a change, too.
const LOOK_AT_MOST: Duration = Duration::from_millis(100);

/// Uploads what the outbox holds until `finish` is cancelled, then for at most `settings.shutdown_grace` longer: until
/// everything is confirmed and finalized, or nothing more can come of waiting.
///
/// Every decision is published in `status`. Once this has returned nothing is sent any more: what was in flight is dropped, and
/// as resending replaces, the next start takes it up. Never fails: a platform that is down and a disk that is full are
/// waited for.
pub async fn run(
    settings: Settings,
    outbox: Arc<dyn Outbox>,
    platform: Arc<dyn Platform>,
    status: watch::Sender<Status>,
    finish: CancellationToken,
) -> Left {
    let backoff = || Backoff::new(settings.first_pause, settings.longest_pause, settings.seed);
    let courier = Courier {
        window: Window::new(settings.window, settings.largest_window, settings.quick),
        health: Health::new(backoff(), settings.hold),
        chunk_backoff: backoff(),
        store: StoreHealth::new(backoff()),
        settings,
        outbox,
        platform,
        turn: Turn::default(),
        runs: Vec::new(),
        jobs: JoinSet::new(),
        flights: HashMap::new(),
        next_number: 0,
        look: true,
        looked: None,
        totals: Status::default(),
        status,
    };
    courier.deliver(finish).await
}

/// A step under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) run: Option<RunId>,
    pub(super) number: u64,
    pub(super) began: Instant,
    pub(super) network: bool,
    pub(super) seq: Option<u64>,
}

pub(super) struct Courier {
    pub(super) settings: Settings,
    pub(super) outbox: Arc<dyn Outbox>,
    pub(super) platform: Arc<dyn Platform>,
    pub(super) window: Window,
    pub(super) health: Health,
    pub(super) chunk_backoff: Backoff,
    pub(super) turn: Turn,
    /// Oldest first.
    pub(super) runs: Vec<RunUpload>,
    pub(super) jobs: JoinSet<Outcome>,
    pub(super) flights: HashMap<Id, Flight>,
    /// Requests are numbered in the order of their start.
    pub(super) next_number: u64,
    /// Whether the outbox has to be looked into.
    pub(super) look: bool,
    pub(super) looked: Option<Instant>,
    pub(super) store: StoreHealth,
    pub(super) totals: Status,
    pub(super) status: watch::Sender<Status>,
}

impl Courier {
    async fn deliver(mut self, finish: CancellationToken) -> Left {
        let outbox = Arc::clone(&self.outbox);
        let mut changed: Pin<Box<dyn Future<Output = ()> + Send + '_>> = outbox.changed();
        let mut clock = self.settings.clock.clone();
        let mut deadline: Option<Instant> = None;
        loop {
            if self.may_look() {
                self.look_into_outbox().await;
            }
            self.start_steps().await;
            self.publish();
            let wake = self.wake();
            if let Some(deadline) = deadline {
                let hopeless = self.jobs.is_empty() && wake >= deadline;
                if Instant::now() >= deadline || hopeless || self.is_done() {
                    break;
                }
            }
            tokio::select! {
                biased;
                Some(ended) = self.jobs.join_next_with_id() => self.landed(ended),
                () = finish.cancelled(), if deadline.is_none() => {
                    deadline = Some(Instant::now() + self.settings.shutdown_grace);
                    self.look = true;
                    self.looked = None;
                }
                () = &mut changed => {
                    changed = outbox.changed();
                    self.look = true;
                }
                () = reading(&mut clock) => {}
                () = tokio::time::sleep_until(deadline.map_or(wake, |deadline| wake.min(deadline))) => {}
            }
        }
        self.jobs.shutdown().await;
        self.flights.clear();
        self.look_into_outbox().await;
        self.publish();
        self.left()
    }

    fn may_look(&self) -> bool {
        let now = Instant::now();
        if self.store.rests(now) {
            return false;
        }
        match self.looked {
            None => true,
            Some(at) if self.look => now >= at + LOOK_AT_MOST,
            Some(at) => now >= at + LOOK_ANYWAY,
        }
    }

    async fn look_into_outbox(&mut self) {
        let pending = match self.outbox.pending().await {
            Ok(pending) => pending,
            Err(error) => return self.store_failed(&error, true),
        };
        self.store.worked(true);
        self.look = false;
        self.looked = Some(Instant::now());
        let mut before = std::mem::take(&mut self.runs);
        for run in pending {
            match before.iter().position(|known| known.run().run == run.run) {
                Some(place) => {
                    let mut known = before.swap_remove(place);
                    known.refresh(run);
                    self.runs.push(known);
                }
                None => self.runs.push(RunUpload::new(run)),
            }
        }
        // A run that is no longer pending, but of which something is under way, is let go when that has ended.
        self.runs.extend(before.into_iter().filter(|known| !known.is_quiet()));
    }

    /// Starts every step that may be started now.
    async fn start_steps(&mut self) {
        loop {
            let now = Instant::now();
            // What can't be recorded is not worth sending.
            if self.store.rests(now) {
                return;
            }
            for run in &mut self.runs {
                run.judge(now, self.settings.hold);
            }
            let mut steps: Vec<(usize, Step)> =
                self.runs.iter().enumerate().filter_map(|(place, run)| Some((place, run.step(now)?))).collect();
            if let Some(at) = steps.iter().position(|(_, step)| !step.needs_platform() && !step.is_take()) {
                let (place, step) = steps.swap_remove(at);
                self.start(place, step);
                continue;
            }
            let clock_known = self.clock_known(now);
            let permit = self.health.permit(now);
            let full = permit == Permit::Window && self.in_flight() >= self.window.size();
            if full || matches!(permit, Permit::Wait(_)) {
                return;
            }
            let waits_for_clock = !clock_known && steps.iter().any(|(_, step)| step.is_take());
            if !clock_known {
                steps.retain(|(_, step)| !step.is_take());
            }
            let places: Vec<usize> = steps.iter().map(|(place, _)| *place).collect();
            let chosen = if permit == Permit::Probe {
                // The trouble may be one run's own: another tries next time.
                places.into_iter().min_by_key(|place| self.runs.get(*place).map(RunUpload::failed_at))
            } else {
                self.turn.next(&places, self.runs.iter().rposition(RunUpload::is_live))
            };
            match chosen.and_then(|place| steps.into_iter().find(|(at, _)| *at == place)) {
                Some((place, Step::Take(from))) => self.take(place, from).await,
                Some((place, step)) => self.start(place, step),
                // No chunk may be frozen before the clock is known, and whether it will be depends on the platform being there.
                None if waits_for_clock && self.health.first_answer().is_none() => self.greet(),
                None => return,
            }
        }
    }

    /// Whether a chunk may be frozen: the platform's clock is known, or has been waited for long enough.
    fn clock_known(&self, now: Instant) -> bool {
        let Some(clock) = &self.settings.clock else { return true };
        clock.borrow().is_some_and(|reading| reading.source == ClockSource::Platform)
            || self.clock_patience_ends().is_some_and(|at| at <= now)
    }

    fn clock_patience_ends(&self) -> Option<Instant> {
        self.health.first_answer().map(|at| at + self.settings.clock_patience)
    }

    async fn take(&mut self, place: usize, from: u64) {
        let Some(run) = self.runs.get_mut(place) else { return };
        let wanted = self.window.size() * if run.chunks_are_small() { 4 } else { 1 };
        let limit = wanted.min(run.room());
        run.note_backlog();
        let taken = self.outbox.take(&run.run().run, limit, &run.in_memory(), from).await;
        match taken {
            Ok(chunks) => {
                self.store.worked(false);
                run.taken(chunks, from, limit);
            }
            Err(error) => {
                run.taken(Vec::new(), 0, limit);
                self.not_recorded(place, &error);
            }
        }
    }

    pub(super) fn start(&mut self, place: usize, step: Step) {
        let Some(run) = self.runs.get_mut(place) else { return };
        run.begun(&step);
        let id = run.run().run.clone();
        let seq = match &step {
            Step::Send(frozen) | Step::Try(frozen) => Some(frozen.seq),
            _ => None,
        };
        let network = step.needs_platform();
        let job = job::carry_out(step, id.clone(), Arc::clone(&self.outbox), Arc::clone(&self.platform));
        self.spawn(job, Some(id), network, seq);
    }

    fn greet(&mut self) {
        let job = job::greet(Arc::clone(&self.platform));
        self.spawn(job, None, true, None);
    }

    fn spawn(
        &mut self,
        job: impl Future<Output = Outcome> + Send + 'static,
        run: Option<RunId>,
        network: bool,
        seq: Option<u64>,
    ) {
        let number = self.next_number;
        self.next_number += 1;
        if network {
            self.health.started(number);
        }
        let handle = self.jobs.spawn(job);
        self.flights.insert(handle.id(), Flight { run, number, began: Instant::now(), network, seq });
    }

    fn in_flight(&self) -> usize {
        self.flights.values().filter(|flight| flight.network).count()
    }

    /// When to look again if nothing happens.
    fn wake(&self) -> Instant {
        let now = Instant::now();
        let health = match self.health.permit(now) {
            Permit::Wait(until) => until,
            _ => None,
        };
        let look = self.looked.map(|at| at + if self.look { LOOK_AT_MOST } else { LOOK_ANYWAY });
        let runs = self.runs.iter().filter_map(|run| run.wake(now));
        let clock = self.settings.clock.as_ref().and_then(|_| self.clock_patience_ends());
        let others = [health, look, clock, self.store.not_before()];
        runs.chain(others.into_iter().flatten().filter(|at| *at > now)).min().unwrap_or(now + LOOK_ANYWAY)
    }

    /// Whether nothing is left to do, as far as the last look into the outbox goes.
    fn is_done(&self) -> bool {
        !self.look && self.jobs.is_empty() && self.left().is_nothing()
    }

    fn left(&self) -> Left {
        let runs = || self.runs.iter().map(RunUpload::run);
        Left {
            queued: runs().map(|run| run.queued).sum(),
            unfinished: runs().filter(|run| run.state == RunState::Closed).map(|run| run.run.clone()).collect(),
        }
    }

    fn publish(&self) {
        let now = Instant::now();
        let snapshot = Status {
            platform: self.health.state().clone(),
            window: self.window.size(),
            in_flight: self.in_flight(),
            runs: self.runs.iter().map(|run| run.status(now)).collect(),
            ..self.totals.clone()
        };
        self.status.send_if_modified(|current| {
            let changed = *current != snapshot;
            *current = snapshot;
            changed
        });
    }
}

/// Waits for the next clock reading; for ever if there is none to come.
async fn reading<T>(clock: &mut Option<watch::Receiver<T>>) {
    if let Some(receiver) = clock {
        if receiver.changed().await.is_ok() {
            return;
        }
        *clock = None;
    }
    std::future::pending().await
}
