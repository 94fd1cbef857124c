//! Whether the platform is up, and when it may be asked again. Pure: time comes in from outside.

use std::time::Duration;

use tokio::time::Instant;

use super::PlatformState;
use super::backoff::Backoff;

/// Longest `Retry-After` that is honoured. The platform ends a stream that is silent for two hours; half of that keeps it.
const LONGEST_WISH: Duration = Duration::from_secs(3_600);

/// Whether a request may start now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permit {
    /// As many as the window is wide.
    Window,
    /// This one alone, to see whether the platform is there.
    Probe,
    /// None: not before this instant, or not before the probe has ended.
    Wait(Option<Instant>),
}

/// What is known of the platform. Requests are told apart by their number, which counts up in the order of their start.
#[derive(Debug)]
pub(super) struct Health {
    state: PlatformState,
    backoff: Backoff,
    hold: Duration,
    not_before: Option<Instant>,
    /// The one request that is in flight while the platform is not known to be up.
    probe: Option<u64>,
    /// Failures in a row.
    failures: u32,
    /// What had started before the last failure tells of the same trouble.
    failed_at: u64,
    first_answer: Option<Instant>,
    answers: u64,
}

impl Health {
    pub(super) fn new(backoff: Backoff, hold: Duration) -> Self {
        Self {
            state: PlatformState::Unknown,
            backoff,
            hold,
            not_before: None,
            probe: None,
            failures: 0,
            failed_at: 0,
            first_answer: None,
            answers: 0,
        }
    }

    pub(super) fn state(&self) -> &PlatformState {
        &self.state
    }

    /// When the platform first answered at all.
    pub(super) fn first_answer(&self) -> Option<Instant> {
        self.first_answer
    }

    /// Requests that were answered.
    pub(super) fn answers(&self) -> u64 {
        self.answers
    }

    pub(super) fn permit(&self, now: Instant) -> Permit {
        if let Some(until) = self.not_before.filter(|until| *until > now) {
            return Permit::Wait(Some(until));
        }
        match (&self.state, self.probe) {
            (PlatformState::Up, _) => Permit::Window,
            (_, None) => Permit::Probe,
            (_, Some(_)) => Permit::Wait(None),
        }
    }

    /// A request has started.
    pub(super) fn started(&mut self, number: u64) {
        if self.state != PlatformState::Up && self.probe.is_none() {
            self.probe = Some(number);
        }
    }

    /// A request has ended without an answer that counts: it was cancelled, or the disk failed it.
    pub(super) fn ended(&mut self, number: u64) {
        if self.probe == Some(number) {
            self.probe = None;
        }
    }

    /// The platform has answered a request, be it with a refusal of its content.
    pub(super) fn answered(&mut self, number: u64, now: Instant) {
        self.ended(number);
        self.answers += 1;
        self.first_answer.get_or_insert(now);
        match &self.state {
            PlatformState::Down { since, .. } if self.failures > 1 => {
                let seconds = now.duration_since(*since).as_secs();
                tracing::info!(after_seconds = seconds, "the platform answers again");
            }
            PlatformState::Holding { since, .. } => {
                let seconds = now.duration_since(*since).as_secs();
                tracing::info!(after_seconds = seconds, "the platform accepts the key again");
            }
            _ => {}
        }
        self.state = PlatformState::Up;
        self.failures = 0;
    }

    /// A request failed in a way that passes. `next` is the number that the next request will have.
    pub(super) fn failed(&mut self, number: u64, next: u64, now: Instant, why: &str, wish: Option<Duration>) {
        self.ended(number);
        if let Some(wish) = wish {
            self.wait_until(now + wish.min(LONGEST_WISH));
        }
        if number < self.failed_at {
            return;
        }
        self.failed_at = next;
        self.failures = self.failures.saturating_add(1);
        let pause = self.backoff.pause(self.failures);
        self.wait_until(now + pause);
        let since = match &self.state {
            PlatformState::Down { since, .. } => *since,
            _ => now,
        };
        // The first failure may be a hiccup; a failed probe is an outage.
        if self.failures == 2 {
            tracing::warn!(error = why, "the platform does not answer; chunks wait on disk");
        }
        self.state = PlatformState::Down { since, why: why.to_owned() };
    }

    /// The platform does not accept the key.
    pub(super) fn key_refused(&mut self, number: u64, now: Instant, why: &str) {
        self.ended(number);
        self.first_answer.get_or_insert(now);
        self.not_before = Some(now + self.hold);
        let since = match &self.state {
            PlatformState::Holding { since, .. } => *since,
            _ => {
                tracing::error!(error = why, "the platform does not accept the API key; chunks wait on disk");
                now
            }
        };
        self.state = PlatformState::Holding { since, why: why.to_owned() };
    }

    fn wait_until(&mut self, until: Instant) {
        self.not_before = Some(self.not_before.map_or(until, |earlier| earlier.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn health() -> Health {
        Health::new(Backoff::new(SECOND / 2, SECOND * 30, Some(1)), SECOND * 60)
    }

    #[test]
    fn one_probe_at_a_time_until_the_platform_is_known_to_be_up() {
        let now = Instant::now();
        let mut health = health();
        assert_eq!(health.permit(now), Permit::Probe);
        health.started(0);
        assert_eq!(health.permit(now), Permit::Wait(None));
        health.answered(0, now);
        assert_eq!(health.permit(now), Permit::Window);
        for number in 1..5 {
            health.started(number);
        }
        for number in 1..5 {
            health.failed(number, 5, now, "cut", None);
        }
        // One trouble, one back-off: bounded by the first pause.
        let Permit::Wait(Some(until)) = health.permit(now) else { panic!("{:?}", health.permit(now)) };
        assert!(until <= now + SECOND / 2);
        assert_eq!(health.permit(until), Permit::Probe);
        health.started(5);
        assert_eq!(health.permit(until), Permit::Wait(None));
        health.answered(5, until);
        assert_eq!(health.permit(until), Permit::Window);
    }

    #[test]
    fn pauses_grow_with_failed_probes_and_start_anew_after_an_answer() {
        let mut now = Instant::now();
        let mut health = health();
        let mut longest = Duration::ZERO;
        for number in 0..200 {
            health.started(number);
            health.failed(number, number + 1, now, "cut", None);
            let Permit::Wait(Some(until)) = health.permit(now) else { continue };
            longest = longest.max(until - now);
            now = until;
        }
        assert!(longest > SECOND * 25 && longest <= SECOND * 30, "{longest:?}");
        health.started(200);
        health.answered(200, now);
        health.failed(201, 202, now, "cut", None);
        assert!(matches!(health.permit(now + SECOND / 2), Permit::Probe));
    }

    #[test]
    fn what_the_platform_asks_for_is_granted_even_while_others_are_answered() {
        let now = Instant::now();
        let mut health = health();
        health.answered(0, now);
        health.failed(1, 3, now, "busy", Some(SECOND * 40));
        health.answered(2, now);
        assert_eq!(health.permit(now), Permit::Wait(Some(now + SECOND * 40)));
        health.failed(3, 4, now, "busy", Some(SECOND * 86_400));
        assert_eq!(health.permit(now), Permit::Wait(Some(now + LONGEST_WISH)));
    }

    #[test]
    fn a_refused_key_is_tried_once_a_minute() {
        let now = Instant::now();
        let mut health = health();
        health.started(0);
        health.key_refused(0, now, "no such key");
        assert_eq!(health.permit(now), Permit::Wait(Some(now + SECOND * 60)));
        assert_eq!(health.permit(now + SECOND * 60), Permit::Probe);
        assert_eq!(health.state(), &PlatformState::Holding { since: now, why: "no such key".into() });
    }
}
