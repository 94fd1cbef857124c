//! Whether anything is lost: what was said while the program lived is on disk, or counted, or was said in the last moments
//! before it was killed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mbe_bridge::model::Stamp;

use super::Judgement;
use super::truth::{Given, Truth, same};
use crate::witness::{Deeds, Life, Witnesses};

/// What is not right of an instrument may show for so long after it: a line that was dirty is left alone for a while.
const AFTER_AN_AILMENT: Duration = Duration::from_millis(2_500);

/// A question that is under way when the links are stopped is dropped with its answer.
const UNDER_WAY: Duration = Duration::from_millis(300);

/// After a question that was given up, and answered too late, the next answer is held back for a second: where the link is
/// stopped meanwhile it is dropped.
const ANSWERS_TO_A_BAD_READING: u64 = 2;

/// A sample is no further from its exchange than this; beyond it is another.
const NEAR: Duration = Duration::from_secs(1);

pub(super) fn check(witnesses: &Witnesses, truth: &Truth<'_>, judgement: &mut Judgement) {
    for (name, given) in &truth.given {
        let samples = truth.samples.get(name).map_or(&[][..], Vec::as_slice);
        let mut free: Vec<bool> = vec![true; samples.len()];
        let mut missing = Vec::new();
        for given in given {
            let near = |at: Stamp| i128::from(at.nanos_since(given.middle)).unsigned_abs() < NEAR.as_nanos();
            let found = samples
                .iter()
                .enumerate()
                .position(|(place, sample)| free[place] && same(given.value, sample.value) && near(sample.at));
            match found {
                Some(place) => free[place] = false,
                None => missing.push(given),
            }
        }
        let unexcused: Vec<&&Given<'_>> =
            missing.iter().filter(|given| !is_excused(&witnesses.deeds, given, judgement)).collect();
        let counted = counted(witnesses, name);
        if unexcused.len() as u64 > counted {
            let at: BTreeSet<_> = unexcused.iter().map(|given| given.middle).collect();
            judgement.complain(
                "lost",
                format!("{name}: {} values were said and are gone, {counted} are counted; {at:?}", unexcused.len()),
            );
        }
    }
}

/// Readings of a channel that became nothing, for reasons that may be those of a value that was said.
fn counted(witnesses: &Witnesses, name: &str) -> u64 {
    let mut counted = 0;
    for run in &witnesses.runs {
        for (channel, counts) in run.info.channels.iter().zip(&run.counts) {
            if channel.name.as_str() == name {
                counted += counts.decimated + counts.late + counts.unrecorded;
                let place = witnesses
                    .said
                    .iter()
                    .position(|line| line.iter().any(|said| *said.instrument == *channel.instrument));
                // An instrument that ails makes bad readings of values that were never said; the others do not.
                let ails = witnesses.deeds.ailments.iter().any(|(line, _)| Some(*line) == place);
                counted += if ails { 0 } else { ANSWERS_TO_A_BAD_READING * counts.bad_total() };
            }
        }
    }
    counted
}

fn is_excused(deeds: &Deeds, given: &Given<'_>, judgement: &mut Judgement) -> bool {
    let (heard, sent) = (given.said.request_received, given.said.reply_sent);
    let ails = deeds.ailments.iter().any(|(line, span)| {
        *line == given.line && span.from <= sent + UNDER_WAY && heard <= span.to + AFTER_AN_AILMENT
    });
    let life = deeds.lives.iter().find(|life| life.begun <= heard && heard <= life.ended);
    let Some(life) = life.filter(|life| !ails && life.told.is_none_or(|told| sent + UNDER_WAY < told)) else {
        judgement.totals.excused += 1;
        return true;
    };
    let excused = safe_until(deeds, life).is_some_and(|safe| safe <= sent);
    judgement.totals.cost_of_kills += u64::from(excused);
    excused
}

/// What was said before this is durable or counted, although the program did not end gently; none if it did.
fn safe_until(deeds: &Deeds, life: &Life) -> Option<Instant> {
    let gentle = life.told.is_some() && matches!(life.code, Some(0 | 1));
    let last = life.killed.or((!gentle).then_some(life.ended))?;
    let mut safe = last - deeds.durable_after;
    // What waited in memory for the disk was lost with the process.
    for span in &deeds.disk {
        if span.overlaps(life.begun, last) && span.to + deeds.durable_after >= safe {
            safe = safe.min(span.from - deeds.durable_after);
        }
    }
    Some(safe)
}
