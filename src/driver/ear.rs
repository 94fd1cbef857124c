//! The ear: what an instrument says unasked, each message with the time of its first byte.
//!
//! Where messages begin is the business of [`Hearing`]. The ear knows when their bytes came, and what a silence means: where
//! a terminator ends each message, a silence says nothing that the next terminator would not say better. A cable that was
//! pulled and plugged in again may have cost the first half of a line, a network may hold the second one back for a
//! second: what comes after is believed from the next terminator on.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::link::Arrival;
use crate::link::WireSettings;
use crate::profile::End;
use crate::profile::Framing;
use crate::profile::Heard;
use crate::profile::Hearing;
use crate::profile::Pattern;

/// A pause that a network makes, or an instrument in the middle of a message, without anything being lost.
const USUAL_PAUSE: Duration = Duration::from_secs(1);

/// Cuts a stream into messages and knows when they began.
#[derive(Debug)]
pub(super) struct Ear {
    framing: Framing,
    patterns: Vec<Pattern>,
    hearing: Hearing,
    /// The place in the whole stream of the first byte that went to `hearing`.
    base: u64,
    /// Bytes of the whole stream so far.
    place: u64,
    /// When bytes came that are not accounted for, each with the place of its first.
    arrivals: VecDeque<(u64, Arrival)>,
    /// Bytes that belonged to no message, before `hearing` began.
    skipped: u64,
    /// When the last bytes came, or when the ear was opened.
    heard: Instant,
    /// The pause before the last bytes.
    last_pause: Duration,
    /// Whether the silence since then was taken note of.
    silent: bool,
}

impl Ear {
    pub(super) fn new(framing: Framing, patterns: Vec<Pattern>) -> Self {
        Self {
            hearing: Hearing::new(framing.clone(), patterns.clone()),
            framing,
            patterns,
            base: 0,
            place: 0,
            arrivals: VecDeque::new(),
            skipped: 0,
            heard: Instant::now(),
            last_pause: Duration::ZERO,
            silent: false,
        }
    }

    /// Takes bytes. After more than `absence` without any, the instrument may have been unplugged.
    pub(super) fn take(&mut self, bytes: &[u8], arrival: Arrival, absence: Duration) {
        let pause = arrival.at.duration_since(self.heard);
        if self.is_of_lines() && pause > absence && pause > self.last_pause * 2 {
            self.begin_anew();
        }
        self.last_pause = pause;
        self.heard = arrival.at;
        self.silent = false;
        self.arrivals.push_back((self.place, arrival));
        self.place += bytes.len() as u64;
        self.hearing.push(bytes);
    }

    /// When a silence means something, if the line goes on to be silent.
    pub(super) fn silent_at(&self, timing_idle: Duration, line: &WireSettings) -> Option<Instant> {
        if self.silent || self.is_of_lines() && !self.hearing.is_waiting() {
            return None;
        }
        let patience = match self.framing.idle() {
            Some(idle) => idle,
            None if self.is_of_lines() || line.char_time.is_zero() => timing_idle.max(USUAL_PAUSE),
            None => timing_idle.max(line.quiet),
        };
        Some(self.heard + patience)
    }

    /// Takes note that the line has been silent until [`Self::silent_at`].
    pub(super) fn note_silence(&mut self) {
        self.silent = true;
        if self.is_of_lines() {
            self.begin_anew();
        } else {
            self.hearing.silence();
        }
    }

    /// The next message or what stood in the place of one.
    pub(super) fn heard(&mut self) -> Option<Heard> {
        self.hearing.heard()
    }

    /// When a message began, and how much earlier that may have been.
    pub(super) fn time_of(&self, at: u64) -> (Instant, Duration) {
        let place = self.base + at;
        let arrival = self.arrivals.iter().rev().find(|(first, _)| *first <= place).or(self.arrivals.front());
        arrival.map_or((self.heard, Duration::ZERO), |(first, arrival)| {
            arrival.time_of(usize::try_from(place.saturating_sub(*first)).unwrap_or(usize::MAX))
        })
    }

    /// When the first byte came of what may still become a message; none if nothing may.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.hearing.is_waiting().then(|| self.time_of(self.hearing.place()).0)
    }

    /// When the last bytes came, or when the ear was opened.
    pub(super) fn last_heard(&self) -> Instant {
        self.heard
    }

    /// Bytes that belonged to no message.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped + self.hearing.skipped()
    }

    /// Forgets when bytes came that are accounted for. Messages have to be taken before.
    pub(super) fn forget(&mut self) {
        let open = self.base + self.hearing.place();
        while self.arrivals.get(1).is_some_and(|(first, _)| *first <= open) {
            self.arrivals.pop_front();
        }
    }

    fn begin_anew(&mut self) {
        let unheard = self.place - self.base - self.hearing.place();
        self.skipped += self.hearing.skipped() + unheard;
        self.base = self.place;
        self.hearing = Hearing::new(self.framing.clone(), self.patterns.clone());
    }

    /// Whether only a terminator tells messages apart.
    fn is_of_lines(&self) -> bool {
        self.framing.start.is_empty() && matches!(self.framing.end, End::Terminator { .. })
    }
}
