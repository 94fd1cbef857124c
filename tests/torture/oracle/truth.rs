//! When things were, by the machine's true clock: what was said, and what the sessions of run files say of their ticks.

use std::collections::BTreeMap;
use std::time::Duration;

use mbe_bridge::model::{SessionId, Stamp, nanos_of};
use mbe_bridge::sim::Said;

use super::Judgement;
use crate::witness::{Deeds, Life, RunOnDisk, Witnesses};

/// A question is on its way to the instrument no longer than this, and an answer to the program; on a busy machine.
const ON_THE_WAY: Duration = Duration::from_millis(500);

/// The session's clock is fixed so soon after the process is spawned.
const CLOCK_IS_FIXED_WITHIN: Duration = Duration::from_secs(20);

/// A value as its instrument gave it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) said: &'a Said,
    /// The place of its line.
    pub(super) line: usize,
    pub(super) value: f64,
    /// The middle between question and answer as the simulator saw them.
    pub(super) middle: Stamp,
    /// The earliest and latest middle that the bridge can have seen: it asks after the answer before and before the
    /// simulator hears it; it has the answer after it is sent, and before the next question is heard.
    pub(super) earliest: Stamp,
    pub(super) latest: Stamp,
}

/// A point of a run file that is a sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// The tick, by the machine's true clock.
    pub(super) at: Stamp,
    pub(super) value: f64,
}

/// What was when.
pub(super) struct Truth<'a> {
    /// By channel of the lab.
    pub(super) given: BTreeMap<String, Vec<Given<'a>>>,
    /// By channel of the lab, all run files together.
    pub(super) samples: BTreeMap<String, Vec<Sample>>,
    /// How far each session's clock was ahead of the truth, in nanoseconds: by place of the run and session.
    pub(super) ahead: BTreeMap<(usize, SessionId), i64>,
}

impl<'a> Truth<'a> {
    pub(super) fn of(witnesses: &'a Witnesses, judgement: &mut Judgement) -> Self {
        let mut truth = Self { given: BTreeMap::new(), samples: BTreeMap::new(), ahead: BTreeMap::new() };
        for (place, run) in witnesses.runs.iter().enumerate() {
            for session in &run.sessions {
                match ahead(&witnesses.deeds, run.info.run.as_str(), session.anchor) {
                    Some(nanos) => drop(truth.ahead.insert((place, session.number), nanos)),
                    None => {
                        judgement.complain("clock", format!("{:?} of {} is of no life", session.number, run.info.run))
                    }
                }
            }
            truth.add_channels(witnesses, run, judgement);
            truth.add_samples(place, run);
        }
        truth
    }

    fn add_channels(&mut self, witnesses: &'a Witnesses, run: &RunOnDisk, judgement: &mut Judgement) {
        for channel in &*run.info.channels {
            let name = channel.name.to_string();
            if self.given.contains_key(&name) {
                continue;
            }
            let given = given(witnesses, &channel.instrument, &channel.source);
            judgement.totals.said += given.len() as u64;
            self.given.insert(name, given);
        }
    }

    fn add_samples(&mut self, place: usize, run: &RunOnDisk) {
        use mbe_bridge::model::Mark;
        for chunk in &run.chunks {
            let Some(ahead) = self.ahead.get(&(place, chunk.session)) else { continue };
            for tick in &chunk.ticks {
                for point in tick.points.iter().filter(|point| point.mark != Mark::Filled) {
                    let name = run.info.channels[point.channel.0].name.to_string();
                    let sample = Sample { at: tick.at.shifted(-ahead), value: point.value.get() };
                    self.samples.entry(name).or_default().push(sample);
                }
            }
        }
    }
}

/// How far the clock of a session of this run was ahead, that said this when it was fixed.
fn ahead(deeds: &Deeds, run: &str, anchor: Stamp) -> Option<i64> {
    let after = |life: &Life| anchor.shifted(-life.clock_nanos).nanos_since(deeds.time.stamp(life.begun));
    let fits = |life: &&Life| {
        let lasted = life.ended.duration_since(life.begun).min(CLOCK_IS_FIXED_WITHIN);
        (-5_000_000..=nanos_of(lasted)).contains(&after(life))
    };
    // A step by less than a life lasts makes two of them fit. Their logs tell them apart, unless they were killed too soon
    // to have one; then the one that had just begun.
    let tells = |life: &Life| life.log.lines().any(|line| line.contains("\"recording\"") && line.contains(run));
    let fitting = deeds.lives.iter().filter(fits);
    fitting.min_by_key(|life| (!tells(life), after(life))).map(|life| life.clock_nanos)
}

/// The intact values of a channel.
fn given<'a>(witnesses: &'a Witnesses, instrument: &str, source: &str) -> Vec<Given<'a>> {
    let time = witnesses.deeds.time;
    let found = witnesses.said.iter().enumerate();
    let Some((place, line)) =
        found.into_iter().find(|(_, line)| line.iter().any(|said| *said.instrument == *instrument))
    else {
        return Vec::new();
    };
    let middle = |from: std::time::Instant, to: std::time::Instant| {
        time.stamp(from).plus(to.saturating_duration_since(from) / 2)
    };
    let of_channel = |said: &&Said| said.intact && *said.channel == *source;
    let given = line.iter().filter(of_channel).filter_map(|said| {
        let (heard, sent) = (said.request_received, said.reply_sent);
        let before = line.iter().map(|other| other.reply_sent).filter(|other| *other < heard).max();
        let after = line.iter().map(|other| other.request_received).filter(|other| *other > heard).min();
        let asked = before.map_or(heard - ON_THE_WAY, |before| before.max(heard - ON_THE_WAY));
        let had = after.map_or(sent + ON_THE_WAY, |after| after.min(sent + ON_THE_WAY)).max(sent);
        Some(Given {
            said,
            line: place,
            value: said.outcome.value()?.get(),
            middle: middle(heard, sent),
            earliest: middle(asked, sent),
            latest: middle(heard, had),
        })
    });
    given.collect()
}

/// What the wire carried is decoded by the same rules on both sides: equal but for a last digit.
pub(super) fn same(one: f64, other: f64) -> bool {
    (one - other).abs() <= one.abs() * 1e-12
}
