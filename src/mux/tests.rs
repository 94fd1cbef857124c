//! Properties of the aligner, whatever the samples, their order between links, and the moments of draining.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::{Aligned, Aligner, Fill, Mode, Settings};
use crate::model::{ChannelIndex, Counts, Mark, Outcome, Quality, Reason, Sample, Stamp, Tick};

const MS: i64 = 1_000_000;
const START: i64 = 1_790_000_000_000 * MS;

fn stamp(ms: f64) -> Stamp {
    Stamp::from_nanos(START).plus(Duration::from_secs_f64(ms / 1000.0))
}

fn sample(channel: usize, ms: f64, value: f64) -> Sample {
    Sample {
        channel: ChannelIndex(channel),
        at: stamp(ms),
        uncertainty: Duration::from_millis(1),
        outcome: Outcome::good(value),
    }
}

fn bad(channel: usize, ms: f64) -> Sample {
    Sample { outcome: Outcome::Bad(Reason::NO_REPLY), ..sample(channel, ms, 0.0) }
}

fn grid(period_ms: u64, fill: Fill) -> Settings {
    Settings { mode: Mode::Grid { period: Duration::from_millis(period_ms), fill }, lateness: Duration::from_secs(2) }
}

/// A tick: its time in ms and each point as (channel, value, mark).
type Row = (f64, Vec<(usize, f64, Mark)>);

fn rows(ticks: &[Tick]) -> Vec<Row> {
    ticks
        .iter()
        .map(|tick| {
            let points = tick.points.iter().map(|p| (p.channel.0, p.value.get(), p.mark)).collect();
            ((tick.at.as_nanos() - START) as f64 / MS as f64, points)
        })
        .collect()
}

fn all_at_once(settings: Settings, channels: usize, samples: &[Sample]) -> Aligned {
    let mut aligner = Aligner::new(settings, channels, 1);
    for sample in samples {
        aligner.push(sample);
    }
    aligner.finish()
}

#[test]
fn a_sample_goes_to_its_nearest_tick_and_the_nearer_of_two_stays() {
    let aligned = all_at_once(
        grid(100, Fill::None),
        2,
        &[sample(0, 96.0, 1.0), sample(1, 149.0, 2.0), sample(0, 103.0, 3.0), sample(0, 151.0, 4.0)],
    );
    assert_eq!(
        rows(&aligned.ticks),
        [(100.0, vec![(0, 3.0, Mark::Good), (1, 2.0, Mark::Good)]), (200.0, vec![(0, 4.0, Mark::Good)])]
    );
    assert_eq!(aligned.counts[0].decimated, 1);
    assert_eq!(aligned.counts[0].read, 3);
}

#[test]
fn a_failed_reading_leaves_its_place_empty() {
    let aligned = all_at_once(grid(100, Fill::None), 1, &[sample(0, 0.0, 1.0), bad(0, 100.0), sample(0, 200.0, 3.0)]);
    assert_eq!(rows(&aligned.ticks), [(0.0, vec![(0, 1.0, Mark::Good)]), (200.0, vec![(0, 3.0, Mark::Good)])]);
    assert_eq!(aligned.counts[0].bad[&Reason::NO_REPLY], 1);
}

#[test]
fn a_tick_closes_when_every_link_has_moved_past_it() {
    let mut aligner = Aligner::new(grid(100, Fill::None), 2, 2);
    aligner.push(&sample(0, 100.0, 1.0));
    aligner.advance(0, stamp(200.0));
    assert!(aligner.drain(stamp(200.0)).ticks.is_empty(), "link 1 may still bring a sample for 100 ms");
    aligner.push(&sample(1, 110.0, 2.0));
    aligner.advance(1, stamp(149.0));
    assert!(aligner.drain(stamp(200.0)).ticks.is_empty(), "149 ms still belongs to the tick at 100 ms");
    aligner.advance(1, stamp(150.0));
    assert_eq!(rows(&aligner.drain(stamp(200.0)).ticks).len(), 1);
}

#[test]
fn a_link_that_does_not_move_is_waited_for_no_longer_than_the_lateness() {
    let mut aligner = Aligner::new(grid(100, Fill::None), 2, 2);
    aligner.push(&sample(0, 100.0, 1.0));
    aligner.advance(0, stamp(5000.0));
    assert!(aligner.drain(stamp(2149.0)).ticks.is_empty());
    assert_eq!(aligner.drain(stamp(2150.0)).ticks.len(), 1);
    aligner.push(&sample(1, 100.0, 2.0));
    assert_eq!(aligner.drain(stamp(2150.0)).counts[1].late, 1);
}

#[test]
fn a_link_that_comes_back_is_not_late_whatever_the_others_have_promised() {
    let mut aligner = Aligner::new(grid(100, Fill::None), 2, 2);
    aligner.advance(0, stamp(60_000.0));
    aligner.advance(1, Stamp::from_nanos(i64::MAX));
    aligner.push(&sample(0, 0.0, 1.0));
    assert_eq!(aligner.drain(stamp(900.0)).ticks.len(), 1);
    aligner.advance(1, stamp(910.0));
    aligner.push(&sample(1, 912.0, 2.0));
    assert_eq!(aligner.finish().counts[1].late, 0);
}

#[test]
fn native_keeps_each_samples_own_time() {
    let settings = Settings { mode: Mode::Native, lateness: Duration::from_secs(2) };
    let aligned = all_at_once(
        settings,
        2,
        &[sample(0, 1.5, 1.0), sample(1, 1.5, 2.0), sample(0, 3.25, 3.0), sample(0, 3.25, 9.0)],
    );
    assert_eq!(
        rows(&aligned.ticks),
        [(1.5, vec![(0, 1.0, Mark::Good), (1, 2.0, Mark::Good)]), (3.25, vec![(0, 3.0, Mark::Good)])]
    );
    assert_eq!(aligned.counts[0].decimated, 1);
}

#[test]
fn hold_repeats_a_sample_up_to_its_age_and_never_across_a_bad_reading() {
    let fill = Fill::Hold { max_age: Duration::from_millis(250) };
    let samples = [
        sample(0, 0.0, 1.0),
        sample(1, 0.0, 10.0),
        sample(0, 100.0, 2.0),
        sample(0, 200.0, 3.0),
        sample(0, 300.0, 4.0),
        sample(1, 400.0, 11.0),
        sample(0, 400.0, 5.0),
        bad(1, 480.0),
        sample(0, 500.0, 6.0),
    ];
    let aligned = all_at_once(grid(100, fill), 2, &samples);
    let of_one: Vec<_> = rows(&aligned.ticks)
        .into_iter()
        .filter_map(|(at, points)| points.into_iter().find(|p| p.0 == 1).map(|p| (at, p.1, p.2)))
        .collect();
    assert_eq!(
        of_one,
        [(0.0, 10.0, Mark::Good), (100.0, 10.0, Mark::Filled), (200.0, 10.0, Mark::Filled), (400.0, 11.0, Mark::Good)]
    );
}

#[test]
fn linear_draws_the_line_between_two_samples_and_waits_for_the_second() {
    let fill = Fill::Linear { max_age: Duration::from_millis(400) };
    let mut aligner = Aligner::new(grid(100, fill), 2, 1);
    for (ms, value) in [(0.0, 0.0), (100.0, 1.0), (200.0, 2.0)] {
        aligner.push(&sample(0, ms, value));
    }
    aligner.push(&sample(1, 0.0, 100.0));
    aligner.advance(0, stamp(260.0));
    let first = aligner.drain(stamp(260.0));
    assert_eq!(rows(&first.ticks), [(0.0, vec![(0, 0.0, Mark::Good), (1, 100.0, Mark::Good)])]);
    assert_eq!(aligner.waiting(), 2);
    aligner.push(&sample(1, 400.0, 500.0));
    aligner.advance(0, stamp(460.0));
    assert_eq!(aligner.drain(stamp(460.0)).ticks.len(), 2, "channel 0 may still come back within its age");
    let second = rows(&aligner.finish().ticks);
    let of_one: Vec<_> = second.iter().flat_map(|(_, points)| points.iter().filter(|p| p.0 == 1)).collect();
    assert_eq!(of_one, [&(1, 400.0, Mark::Filled), &(1, 500.0, Mark::Good)]);
}

#[test]
fn a_channel_that_has_never_been_good_takes_no_memory() {
    let fill = Fill::Hold { max_age: Duration::from_secs(1) };
    let mut aligner = Aligner::new(grid(100, fill), 1, 1);
    for number in 0..10_000 {
        let ms = f64::from(number) * 100.0;
        aligner.push(&bad(0, ms));
        aligner.advance(0, stamp(ms + 100.0));
        aligner.drain(stamp(ms + 100.0));
    }
    assert!(aligner.remembered() < 10, "{}", aligner.remembered());
}

#[test]
fn a_silence_of_a_year_costs_no_walk_over_its_ticks() {
    let fill = Fill::Hold { max_age: Duration::from_secs(1) };
    let year = 365.0 * 86_400_000.0;
    let started = std::time::Instant::now();
    let aligned = all_at_once(grid(1, fill), 1, &[sample(0, 0.0, 1.0)]);
    assert_eq!(aligned.ticks.len(), 1001);
    let mut aligner = Aligner::new(grid(1, fill), 1, 1);
    aligner.push(&sample(0, 0.0, 1.0));
    assert_eq!(aligner.drain(stamp(year)).ticks.len(), 1001);
    aligner.push(&sample(0, year + 10.0, 2.0));
    aligner.advance(0, stamp(year + 11.0));
    assert_eq!(aligner.drain(stamp(year + 11.0)).ticks.len(), 1);
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// One step of a random day: a reading on some channel after some pause, some links moving on, perhaps a drain.
#[derive(Debug, Clone)]
struct Step {
    channel: usize,
    pause_us: i64,
    lag_us: i64,
    kind: u8,
    drain: bool,
}

const CHANNELS: usize = 4;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..CHANNELS, 0..150_000_i64, 0..400_000_i64, 0..10_u8, any::<bool>())
        .prop_map(|(channel, pause_us, lag_us, kind, drain)| Step { channel, pause_us, lag_us, kind, drain });
    prop::collection::vec(step, 0..200)
}

fn settings() -> impl Strategy<Value = Settings> {
    let age = Duration::from_millis(700);
    let fill = prop_oneof![Just(Fill::None), Just(Fill::Hold { max_age: age }), Just(Fill::Linear { max_age: age })];
    let mode = prop_oneof![
        (1_u64..500, fill).prop_map(|(ms, fill)| Mode::Grid { period: Duration::from_millis(ms), fill }),
        Just(Mode::Native)
    ];
    (mode, 0_u64..1000).prop_map(|(mode, ms)| Settings { mode, lateness: Duration::from_millis(ms) })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Links lag behind by up to 400 ms and the patience may be shorter than that, so that samples do come late.
    #[test]
    fn every_reading_is_accounted_for_and_no_sample_moves_far(settings in settings(), steps in steps()) {
        let mut aligner = Aligner::new(settings, CHANNELS, CHANNELS);
        let mut now = START;
        let mut last_of = [START; CHANNELS];
        let mut given: BTreeMap<(usize, i64), f64> = BTreeMap::new();
        let mut out: Vec<Tick> = Vec::new();
        let mut counts = vec![Counts::default(); CHANNELS];
        let mut read = 0_u64;
        let mut collect = |aligned: Aligned, out: &mut Vec<Tick>| {
            for (channel, (sum, part)) in counts.iter_mut().zip(&aligned.counts).enumerate() {
                let points = aligned.ticks.iter().flat_map(|tick| &tick.points);
                let samples = points.filter(|point| point.channel.0 == channel && point.mark != Mark::Filled).count();
                let settled = samples as u64 + part.bad_total() + part.decimated + part.late;
                assert_eq!(part.read, settled, "what is handed out adds up by itself");
                sum.add(part);
            }
            out.extend(aligned.ticks);
        };
        for (number, step) in steps.iter().enumerate() {
            now += step.pause_us * 1000;
            let at = (now - step.lag_us * 1000).max(last_of[step.channel] + 1);
            last_of[step.channel] = at;
            let value = number as f64;
            let outcome = match step.kind {
                0 => Outcome::Bad(Reason::MALFORMED),
                1 => match Outcome::good(value) {
                    Outcome::Value { value, .. } => {
                        Outcome::Value { value, quality: Quality::Uncertain(Reason::IMPLAUSIBLE) }
                    }
                    other => other,
                },
                _ => Outcome::good(value),
            };
            if outcome.value().is_some() {
                given.insert((step.channel, at), value);
            }
            read += 1;
            aligner.push(&Sample {
                channel: ChannelIndex(step.channel),
                at: Stamp::from_nanos(at),
                uncertainty: Duration::ZERO,
                outcome,
            });
            aligner.advance(step.channel, Stamp::from_nanos(at));
            if step.drain {
                collect(aligner.drain(Stamp::from_nanos(now)), &mut out);
                let drained = out.iter().flat_map(|tick| &tick.points).filter(|point| point.mark != Mark::Filled);
                prop_assert!(drained.count() + aligner.waiting() <= usize::try_from(read).unwrap());
            }
        }
        collect(aligner.finish(), &mut out);

        prop_assert!(out.windows(2).all(|pair| pair[0].at < pair[1].at), "ticks rise");
        let mut recorded = vec![0_u64; CHANNELS];
        let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
        for tick in &out {
            prop_assert!(!tick.points.is_empty());
            prop_assert!(tick.points.windows(2).all(|pair| pair[0].channel < pair[1].channel), "one point a channel");
            for point in tick.points.iter().filter(|point| point.mark != Mark::Filled) {
                recorded[point.channel.0] += 1;
                *seen.entry(point.value.get().to_bits()).or_default() += 1;
                let from = given.iter().find(|((channel, _), value)| {
                    *channel == point.channel.0 && **value == point.value.get()
                });
                let (_, at) = from.expect("a value that was read").0;
                let moved = (tick.at.as_nanos() - at).unsigned_abs();
                match settings.mode {
                    Mode::Native => prop_assert_eq!(moved, 0),
                    Mode::Grid { period, .. } => prop_assert!(u128::from(moved) * 2 <= period.as_nanos()),
                }
            }
        }
        prop_assert!(seen.values().all(|times| *times == 1), "no sample twice");
        prop_assert_eq!(counts.iter().map(|c| c.read).sum::<u64>(), read);
        for (counts, recorded) in counts.iter().zip(recorded) {
            prop_assert_eq!(counts.read, recorded + counts.bad_total() + counts.decimated + counts.late);
        }
    }

    /// With every link on time and watermarks honest, nothing is late whatever the moments of draining.
    #[test]
    fn draining_often_changes_nothing(settings in settings(), steps in steps()) {
        let patient = Settings { lateness: Duration::from_secs(3600), ..settings };
        let run = |drains: bool| {
            let mut aligner = Aligner::new(patient, CHANNELS, 1);
            let mut now = START;
            let mut out = Vec::new();
            for (number, step) in steps.iter().enumerate() {
                now += step.pause_us * 1000 + 1;
                let at = Stamp::from_nanos(now);
                let outcome =
                    if step.kind == 0 { Outcome::Bad(Reason::NO_REPLY) } else { Outcome::good(number as f64) };
                aligner.push(&Sample { channel: ChannelIndex(step.channel), at, uncertainty: Duration::ZERO, outcome });
                aligner.advance(0, at);
                if drains && step.drain {
                    out.extend(aligner.drain(at).ticks);
                }
            }
            out.extend(aligner.finish().ticks);
            out
        };
        prop_assert_eq!(run(true), run(false));
    }
}
