//! Whether each stamp is right: the tick was when the value was said, and what was added to it is what reference UTC is
//! ahead of the session's clock.

use std::time::Duration;

use mbe_bridge::model::{ClockSource, Stamp};

use super::Judgement;
use super::truth::{Given, Sample, Truth, same};
use crate::witness::{RunOnDisk, Witnesses};

const SORT: &str = "stamps";

/// The middle one of all stamps is no further off than this; single ones are, as far as their exchange allows.
const USUALLY_WITHIN: Duration = Duration::from_millis(30);

/// Between the two readings that fix a clock, and between uptimes that are told in hundredths of a second.
const CLOCK_SLACK: i64 = 30_000_000;

/// The least distance of two stamps, in nanoseconds.
const LEAST_GAP: i64 = 1_000;

pub(super) fn check(witnesses: &Witnesses, truth: &Truth<'_>, judgement: &mut Judgement) {
    for (name, samples) in &truth.samples {
        let given = truth.given.get(name).map_or(&[][..], Vec::as_slice);
        were_said(name, samples, given, witnesses.deeds.half_tick, judgement);
    }
    for (place, run) in witnesses.runs.iter().enumerate() {
        offsets(witnesses, truth, place, run, judgement);
    }
}

/// Every sample was said then, and nothing that was said once is there twice.
fn were_said(name: &str, samples: &[Sample], given: &[Given<'_>], half_tick: Duration, judgement: &mut Judgement) {
    let mut taken = vec![false; given.len()];
    let mut beyond: Vec<Duration> = Vec::new();
    let reach = half_tick + Duration::from_millis(1);
    for sample in samples {
        let distance = |given: &Given<'_>| Duration::from_nanos(given.middle.nanos_since(sample.at).unsigned_abs());
        let possible = |given: &Given<'_>| {
            same(given.value, sample.value)
                && given.earliest.minus(reach) <= sample.at
                && sample.at <= given.latest.plus(reach)
        };
        let nearest =
            given.iter().enumerate().filter(|(_, given)| possible(given)).min_by_key(|(_, given)| distance(given));
        let Some((place, nearest)) = nearest else {
            let same = given.iter().find(|given| same(given.value, sample.value));
            let when = same.map(|given| (given.earliest, given.latest));
            judgement.complain(SORT, format!("{name}: {sample:?} was not said then, but {when:?}"));
            continue;
        };
        if std::mem::replace(&mut taken[place], true) {
            judgement.complain("twice", format!("{name}: {sample:?} was said once and is recorded twice"));
        }
        beyond.push(distance(nearest).saturating_sub(half_tick));
    }
    beyond.sort();
    let middle = beyond.get(beyond.len() / 2).copied().unwrap_or_default();
    if middle > USUALLY_WITHIN {
        judgement.complain(SORT, format!("{name}: stamps are usually off by {middle:?}"));
    }
    judgement.totals.worst_stamp = judgement.totals.worst_stamp.max(beyond.last().copied().unwrap_or_default());
}

fn offsets(witnesses: &Witnesses, truth: &Truth<'_>, place: usize, run: &RunOnDisk, judgement: &mut Judgement) {
    let deeds = &witnesses.deeds;
    let readings = witnesses.runs.iter().flat_map(|run| &run.readings).map(|(_, reading)| reading);
    let measured = readings.filter(|reading| reading.source == ClockSource::Platform);
    let bound = measured.map(|reading| reading.uncertainty_nanos).max().unwrap_or(0) + CLOCK_SLACK;
    let mut unclocked = false;
    let mut last: Option<Stamp> = None;
    for chunk in &run.chunks {
        let (Some(sent), Some(ahead)) = (&chunk.sent, truth.ahead.get(&(place, chunk.session))) else { continue };
        let wrong = sent.offset_nanos - (deeds.ahead_nanos - ahead);
        if wrong.abs() > bound {
            // As the machine's clock says, at the beginning of the session or at a later step of it.
            let by_the_host = deeds.clocks.iter().any(|clock| (sent.offset_nanos - (clock - ahead)).abs() <= bound)
                || sent.offset_nanos.abs() <= bound;
            let excused = by_the_host && !deeds.clockless.is_empty();
            if !excused {
                judgement.complain(
                    "clock",
                    format!("{} chunk {} is off by {wrong} ns of {bound} ns", run.info.run, chunk.seq),
                );
            }
            judgement.totals.unclocked += 1;
            unclocked = true;
        }
        for (place, (tick, stamp)) in (1..).zip(chunk.ticks.iter().zip(&sent.stamps)) {
            let pushed = stamp.nanos_since(tick.at.shifted(sent.offset_nanos));
            // Samples that keep their own times may be nearer to each other than the platform can tell.
            if !(0..=LEAST_GAP * place).contains(&pushed) {
                judgement.totals.squeezed += 1;
                // Of two clocks within their bounds one may be behind the other.
                if pushed < 0 || (pushed > 2 * bound && !unclocked) || last.is_none() {
                    let words = format!("{} chunk {}: {stamp:?} was moved by {pushed} ns", run.info.run, chunk.seq);
                    judgement.complain("clock", words);
                }
            }
        }
        last = sent.stamps.last().copied();
    }
}
