//! `fill = "hold"` and `"linear"`: points for ticks where a channel has no sample, for labs that ask for them.
//!
//! A filled point never reaches across a bad reading, and is marked as filled wherever it goes.

use std::collections::VecDeque;
use std::time::Duration;

use super::Fill;
use crate::model::{ChannelIndex, Finite, Mark, Point, Stamp, Tick};

/// What a channel said, and when; no value for a bad reading.
type Said = (Stamp, Option<Finite>);

/// What a tick's missing channel gets.
enum Missing {
    /// Nothing, and nothing will come that could change it.
    Stays,
    /// This value.
    Filled(Finite),
    /// It can't be told yet.
    Unknown,
}

/// The recent past of every channel, and the closed ticks that wait for their neighbours.
#[derive(Debug)]
pub(super) struct History {
    fill: Fill,
    max_age: Duration,
    period: i64,
    said: Vec<VecDeque<Said>>,
    /// Closed ticks with their samples, not yet filled.
    kept: VecDeque<Tick>,
    /// The number of the first tick that has not been handed out.
    next: Option<i64>,
}

impl History {
    pub(super) fn new(fill: Fill, period: i64, channels: usize) -> Self {
        let max_age = match fill {
            Fill::None => Duration::ZERO,
            Fill::Hold { max_age } | Fill::Linear { max_age } => max_age,
        };
        Self { fill, max_age, period, said: vec![VecDeque::new(); channels], kept: VecDeque::new(), next: None }
    }

    pub(super) fn note(&mut self, channel: usize, at: Stamp, value: Option<Finite>) {
        if let Some(said) = self.said.get_mut(channel) {
            said.push_back((at, value));
        }
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.said.iter().map(VecDeque::len).sum()
    }

    pub(super) fn waiting(&self) -> usize {
        self.kept.iter().map(|tick| tick.points.len()).sum()
    }

    /// Takes the ticks that were just closed and returns those below `below` that can be filled, in order. No sample
    /// before `frontier` will come any more.
    pub(super) fn fill(&mut self, closed: Vec<Tick>, below: i64, frontier: Stamp) -> Vec<Tick> {
        self.kept.extend(closed);
        let first = self.kept.front().map(|tick| tick.at.as_nanos().div_euclid(self.period));
        let mut out = Vec::new();
        let Some(mut number) = self.next.or(first) else {
            // Nothing good has come yet, and no tick before the frontier will need what was said before it.
            self.forget_before(frontier);
            return out;
        };
        // Beyond the last sample and its greatest age every tick is empty: after a long silence there is nothing to walk.
        let last_said = self.said.iter().filter_map(|said| said.back()).map(|(at, _)| *at).max();
        let last_kept = self.kept.back().map(|tick| tick.at);
        let reach = last_said.map(|at| at.plus(self.max_age)).max(last_kept);
        while number < below {
            let at = Stamp::from_nanos(number.saturating_mul(self.period));
            if reach.is_none_or(|reach| at > reach) {
                number = below;
                break;
            }
            let mut points = match self.kept.front() {
                Some(tick) if tick.at == at => tick.points.clone(),
                _ => Vec::new(),
            };
            let Some(filled) = self.missing_points(at, &points, frontier) else { break };
            points.extend(filled);
            points.sort_by_key(|point| point.channel);
            if self.kept.front().is_some_and(|tick| tick.at == at) {
                self.kept.pop_front();
            }
            if !points.is_empty() {
                out.push(Tick { at, points });
            }
            number += 1;
            self.forget_before(at);
        }
        self.next = Some(number);
        out
    }

    /// The points that `fill` makes for one tick, or nothing when that can't be told yet.
    fn missing_points(&self, at: Stamp, present: &[Point], frontier: Stamp) -> Option<Vec<Point>> {
        let mut filled = Vec::new();
        for (index, said) in self.said.iter().enumerate() {
            let channel = ChannelIndex(index);
            if present.iter().any(|point| point.channel == channel) {
                continue;
            }
            match self.missing(said, at, frontier) {
                Missing::Stays => {}
                Missing::Filled(value) => filled.push(Point { channel, value, mark: Mark::Filled }),
                Missing::Unknown => return None,
            }
        }
        Some(filled)
    }

    fn missing(&self, said: &VecDeque<Said>, at: Stamp, frontier: Stamp) -> Missing {
        let later = said.partition_point(|(time, _)| *time <= at);
        let Some(&(before_at, Some(before))) = later.checked_sub(1).and_then(|last| said.get(last)) else {
            return Missing::Stays;
        };
        match self.fill {
            Fill::None => Missing::Stays,
            Fill::Hold { .. } if at.since(before_at) <= self.max_age => Missing::Filled(before),
            Fill::Hold { .. } => Missing::Stays,
            Fill::Linear { .. } => match said.get(later) {
                Some(&(after_at, Some(after))) if after_at.since(before_at) <= self.max_age => {
                    let part = at.nanos_since(before_at) as f64 / after_at.nanos_since(before_at) as f64;
                    let value = before.get() + (after.get() - before.get()) * part;
                    Finite::new(value).map_or(Missing::Stays, Missing::Filled)
                }
                Some(_) => Missing::Stays,
                None if frontier > before_at.plus(self.max_age) => Missing::Stays,
                None => Missing::Unknown,
            },
        }
    }

    /// Drops what no later tick can need: all but the last thing said up to `at`.
    fn forget_before(&mut self, at: Stamp) {
        for said in &mut self.said {
            while said.get(1).is_some_and(|(time, _)| *time <= at) {
                said.pop_front();
            }
        }
    }
}
