//! The account at the end of the demo: for each channel, what was read, recorded, uploaded and stored, and whether each
//! stored value is one that the instrument had given at that time.
//!
//! Four witnesses that do not know each other are held together: the simulators' record of what they said, the board's count
//! of what came in, the run file, and the platform's store.

use std::collections::BTreeMap;
use std::time::Duration;

use super::table::Table;
use crate::live::ChannelLive;
use crate::model::{Counts, Stamp, TimeBase};
use crate::runs;
use crate::runs::read::{ChunkState, RunFile};
use crate::server::StoredChannel;
use crate::sim::Said;

/// The simulator knows when it got the request, the bridge when it sent it; between them lie a few scheduler turns.
const SLACK: Duration = Duration::from_millis(5);

/// Simulators, platform and bridge share one clock, so that a larger correction than this is a wrong one.
const LARGEST_OFFSET_NANOS: i64 = 50_000_000;

/// A share of readings above which being bad or late is no accident. The simulators of the demo have no faults.
const FAULTY_SHARE: f64 = 0.05;

/// Exchanges that may be under way when the polling stops: said by the instrument, not seen by the bridge.
const UNDER_WAY: u64 = 1;

/// What the run file is held against.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    /// What the platform has.
    pub(super) stored: &'a [StoredChannel],
    /// What the instruments gave.
    pub(super) said: &'a [Said],
    /// What the bridge has seen come in.
    pub(super) seen: &'a [ChannelLive],
    /// The session's clock.
    pub(super) time: TimeBase,
    /// The distance of ticks: a sample is moved by at most half of it.
    pub(super) period: Duration,
}

/// A value that an instrument gave, in the bridge's time.
#[derive(Debug, Clone, Copy)]
struct Given {
    from: Stamp,
    to: Stamp,
    value: f64,
}

/// One channel's way from the instrument to the platform.
#[derive(Debug)]
pub(super) struct Line {
    channel: String,
    /// Readings that the instrument gave.
    given: u64,
    /// Readings that the bridge has seen.
    seen: u64,
    counts: Counts,
    uploaded: u64,
    stored: u64,
    /// Stored values that the instrument did not give at that time.
    unexplained: Vec<(f64, f64)>,
}

/// The whole account.
#[derive(Debug)]
pub(super) struct Account {
    lines: Vec<Line>,
    largest_offset_nanos: i64,
}

impl Account {
    /// Draws up the account of a run that has ended.
    pub(super) fn of(file: &RunFile, evidence: &Evidence<'_>) -> Result<Self, runs::Error> {
        let given = given(evidence);
        let info = file.info();
        let (uploaded, largest_offset_nanos) = uploaded(file, info.channels.len())?;
        let counts = file.counts()?;
        let lines = info
            .channels
            .iter()
            .zip(counts)
            .zip(uploaded)
            .map(|((channel, counts), uploaded)| {
                let name = channel.name.as_str();
                let points = evidence.stored.iter().find(|stored| stored.name == name);
                let points = points.map_or(&[][..], |stored| stored.points.as_slice());
                let given = given.get(&(&*channel.instrument, &*channel.source)).map_or(&[][..], Vec::as_slice);
                let margin = (evidence.period / 2 + SLACK).as_secs_f64() + largest_offset_nanos as f64 / 1e9;
                let explained = |unix_seconds: f64, value: f64| {
                    given.iter().any(|given| {
                        same(given.value, value)
                            && unix_seconds >= given.from.as_unix_seconds() - margin
                            && unix_seconds <= given.to.as_unix_seconds() + margin
                    })
                };
                Line {
                    channel: name.to_owned(),
                    given: count(given.len()),
                    seen: evidence
                        .seen
                        .iter()
                        .find(|seen| seen.channel.name == channel.name)
                        .map_or(0, |seen| seen.read),
                    counts,
                    uploaded,
                    stored: count(points.len()),
                    unexplained: points
                        .iter()
                        .map(|point| (point.unix_seconds, point.value))
                        .filter(|(unix_seconds, value)| !explained(*unix_seconds, *value))
                        .collect(),
                }
            })
            .collect();
        Ok(Self { lines, largest_offset_nanos })
    }

    /// What does not add up, in words; empty when all of it does.
    pub(super) fn complaints(&self) -> Vec<String> {
        let mut complaints: Vec<String> = self.lines.iter().flat_map(Line::complaints).collect();
        if self.largest_offset_nanos > LARGEST_OFFSET_NANOS {
            let ms = self.largest_offset_nanos / 1_000_000;
            complaints.push(format!("stamps were corrected by {ms} ms, though everything here shares one clock"));
        }
        complaints
    }

    pub(super) fn table(&self) -> Table {
        let headings =
            ["channel", ">read", ">recorded", ">bad", ">decimated", ">late", ">uploaded", ">stored", ">as given"];
        let mut table = Table::new(&headings);
        for line in &self.lines {
            table.row([
                line.channel.clone(),
                line.seen.to_string(),
                line.counts.recorded.to_string(),
                line.counts.bad_total().to_string(),
                line.counts.decimated.to_string(),
                line.counts.late.to_string(),
                line.uploaded.to_string(),
                line.stored.to_string(),
                line.stored.saturating_sub(count(line.unexplained.len())).to_string(),
            ]);
        }
        table
    }
}

impl Line {
    fn complaints(&self) -> Vec<String> {
        let Self { channel, given, seen, counts, uploaded, stored, unexplained } = self;
        let mut complaints = Vec::new();
        let mut complain = |wrong: bool, text: String| {
            if wrong {
                complaints.push(format!("{channel}: {text}"));
            }
        };
        let missing = given.saturating_sub(*seen);
        complain(
            seen > given || missing > UNDER_WAY,
            format!("the instrument gave {given} readings, the bridge has seen {seen}"),
        );
        complain(*seen != counts.settled(), format!("{seen} readings, {} accounted for", counts.settled()));
        complain(counts.read != counts.settled(), format!("{} counted, {} settled", counts.read, counts.settled()));
        complain(counts.recorded == 0, "nothing was recorded".to_owned());
        let points = counts.recorded + counts.filled;
        complain(
            points != *uploaded || uploaded != stored,
            format!("{points} points recorded, {uploaded} uploaded, {stored} stored"),
        );
        complain(counts.unrecorded > 0, format!("{} samples could not be recorded", counts.unrecorded));
        let faulty = counts.bad_total() + counts.late;
        complain(faulty as f64 > *seen as f64 * FAULTY_SHARE, format!("{faulty} of {seen} readings are bad or late"));
        if let Some((at, value)) = unexplained.first() {
            let some = unexplained.len();
            complain(
                true,
                format!("{some} stored values were not given at their time, the first is {value} at {at:.3}"),
            );
        }
        complaints
    }
}

/// What the instruments gave, by instrument and channel.
fn given<'a>(evidence: &Evidence<'a>) -> BTreeMap<(&'a str, &'a str), Vec<Given>> {
    let mut given: BTreeMap<(&str, &str), Vec<Given>> = BTreeMap::new();
    for said in evidence.said.iter().filter(|said| said.intact) {
        if let Some(value) = said.outcome.value() {
            given.entry((&said.instrument, &said.channel)).or_default().push(Given {
                from: evidence.time.stamp(said.request_received),
                to: evidence.time.stamp(said.reply_sent),
                value: value.get(),
            });
        }
    }
    given
}

/// Points that the platform has confirmed, by channel, and the largest correction of a stamp on the way to it.
fn uploaded(file: &RunFile, channels: usize) -> Result<(Vec<u64>, i64), runs::Error> {
    let refusals = file.refusals()?;
    let mut uploaded = vec![0; channels];
    let mut largest_offset = 0;
    let mut from = 0;
    loop {
        let chunks = file.chunks(from, 64)?;
        let Some(last) = chunks.last() else { return Ok((uploaded, largest_offset)) };
        from = last.seq + 1;
        for chunk in chunks.iter().filter(|chunk| chunk.state == ChunkState::Confirmed) {
            for (channel, (sum, points)) in uploaded.iter_mut().zip(&chunk.points).enumerate() {
                if !refusals.iter().any(|refusal| refusal.seq == chunk.seq && refusal.channel == channel) {
                    *sum += points;
                }
            }
            let offset = chunk.sent.as_ref().map_or(0, |sent| sent.offset_nanos.abs());
            largest_offset = largest_offset.max(offset);
        }
    }
}

/// What the wire carried is decoded by the same rules on both sides, so the numbers are equal but for JSON's last digit.
fn same(given: f64, stored: f64) -> bool {
    (given - stored).abs() <= given.abs() * 1e-12
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
