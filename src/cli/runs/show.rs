//! `mbe-bridge runs show`: everything that is known of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::account::{Account, Clock, bytes, shown_seconds, stream_word};
use super::list::exit_of;
use super::place::Place;
use crate::cli::print;
use crate::cli::report::{Failure, Outcome};
use crate::cli::status::age;
use crate::cli::table::Table;
use crate::model::{ClockSource, SessionId, Stamp};
use crate::profile::Library;
use crate::runs;
use crate::runs::read::{ChunkState, Fate, RunFile};

/// What is listed one by one; beyond it is counted only.
const MOST_LISTED: usize = 100;

/// Without ticks for longer than this a run has a gap: three ticks of a grid, but no less than a second.
const LEAST_GAP: Duration = Duration::from_secs(1);

/// On a native axis nobody knows how often there should be a tick.
const NATIVE_GAP: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The run, by name, the beginning of it, or the path of its file; the newest if left out
    #[arg(value_name = "RUN")]
    run: Option<String>,
}

impl Arguments {
    pub(super) fn run(self, place: &Place, library: &Library, json: bool) -> Outcome {
        let path = place.file(self.run.as_deref(), library)?;
        let read = || {
            let file = RunFile::open(&path)?;
            Sheet::of(Account::of(&path, &file)?, &file)
        };
        let sheet = read().map_err(|error: runs::Error| {
            Failure::new(exit_of(&error), error).hint("`mbe-bridge runs verify` with the path of the file says more")
        })?;
        if json {
            print(serde_json::json!(sheet));
        } else {
            sheet.show();
        }
        Ok(crate::cli::report::Exit::Well)
    }
}

/// Everything. Times are Unix seconds, as near to reference UTC as is known; durations are seconds.
#[derive(Debug, Serialize)]
struct Sheet {
    #[serde(rename = "run")]
    account: Account,
    synth_source_id: Option<i64>,
    physical_sample: Option<String>,
    project_id: Option<String>,
    tags: Vec<String>,
    points_per_chunk: usize,
    period: Option<f64>,
    sessions: Vec<Session>,
    streams: Vec<Stream>,
    clock_readings: Vec<Reading>,
    channels: Vec<ChannelAccount>,
    chunks_by_state: BTreeMap<&'static str, u64>,
    attempts_failed: u64,
    last_errors: Vec<ChunkWords>,
    refusals: Vec<Refusal>,
    refusals_in_all: usize,
    events: Vec<Event>,
    events_in_all: usize,
    gaps: Vec<Gap>,
    gaps_in_all: usize,
}

#[derive(Debug, Serialize)]
struct Session {
    number: i64,
    program: String,
    boot_id: Option<String>,
    started: f64,
    ended: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Stream {
    number: i64,
    data_id: String,
    state: &'static str,
    why: Option<String>,
    chunks: u64,
    points_confirmed: u64,
}

#[derive(Debug, Serialize)]
struct Reading {
    session: i64,
    at: f64,
    offset: f64,
    uncertainty: f64,
    source: &'static str,
}

/// `read = recorded + bad + decimated + late + unrecorded` and `recorded + filled = uploaded + queued + rejected`.
#[derive(Debug, Serialize)]
struct ChannelAccount {
    name: String,
    unit: Option<String>,
    instrument: String,
    read: u64,
    recorded: u64,
    filled: u64,
    bad: BTreeMap<String, u64>,
    decimated: u64,
    late: u64,
    unrecorded: u64,
    uploaded: u64,
    queued: u64,
    rejected: u64,
}

#[derive(Debug, Serialize)]
struct ChunkWords {
    chunk: u64,
    attempts: u64,
    words: String,
}

#[derive(Debug, Serialize)]
struct Refusal {
    chunk: u64,
    channel: String,
    points: u64,
    words: String,
}

#[derive(Debug, Serialize)]
struct Event {
    at: f64,
    session: i64,
    kind: String,
    text: String,
}

/// A time without a single tick.
#[derive(Debug, Serialize)]
struct Gap {
    from: f64,
    to: f64,
    seconds: f64,
    /// The bridge was not running: one session ended, another began.
    between_sessions: bool,
}

impl Sheet {
    fn of(account: Account, file: &RunFile) -> Result<Self, runs::Error> {
        let (info, clock) = (file.info(), Clock::of(file)?);
        let seconds = |session: SessionId, at: Stamp| clock.utc(session, at).as_unix_seconds();
        let name = |channel: usize| {
            info.channels.get(channel).map_or_else(|| format!("channel {channel}"), |channel| channel.name.to_string())
        };
        let sessions = file.sessions()?.into_iter().map(|session| Session {
            number: session.number.0,
            program: session.program,
            boot_id: session.boot_id,
            started: seconds(session.number, session.started),
            ended: session.ended.map(|ended| seconds(session.number, ended)),
        });
        let readings = file.clock_readings()?.into_iter().map(|(session, reading)| Reading {
            session: session.0,
            at: reading.at.as_unix_seconds(),
            offset: reading.offset_nanos as f64 / 1e9,
            uncertainty: reading.uncertainty_nanos as f64 / 1e9,
            source: match reading.source {
                ClockSource::Platform => "platform",
                ClockSource::Host => "host",
            },
        });
        let channels = info.channels.iter().zip(file.counts()?).zip(file.points()?);
        let channels = channels.map(|((channel, counts), points)| ChannelAccount {
            name: channel.name.to_string(),
            unit: channel.unit.as_deref().map(str::to_owned),
            instrument: channel.instrument.to_string(),
            read: counts.read,
            recorded: counts.recorded,
            filled: counts.filled,
            bad: counts.bad.iter().map(|(reason, count)| (reason.to_string(), *count)).collect(),
            decimated: counts.decimated,
            late: counts.late,
            unrecorded: counts.unrecorded,
            uploaded: points.uploaded,
            queued: points.open + points.queued,
            rejected: points.rejected,
        });
        let events = file.events()?;
        let events_in_all = events.len();
        let events = events.into_iter().skip(events_in_all.saturating_sub(MOST_LISTED)).map(|event| Event {
            at: seconds(event.session, event.at),
            session: event.session.0,
            kind: event.kind,
            text: event.text,
        });
        let refused = file.refusals()?;
        let refusals_in_all = refused.len();
        let mut refusals = Vec::new();
        for refusal in refused.into_iter().take(MOST_LISTED) {
            let head = file.heads(refusal.seq, 1)?.into_iter().find(|head| head.seq == refusal.seq);
            let points = head.and_then(|head| head.points.get(refusal.channel).copied()).unwrap_or_default();
            refusals.push(Refusal { chunk: refusal.seq, channel: name(refusal.channel), points, words: refusal.words });
        }
        let chunks = Chunks::of(file)?;
        let streams = file.streams()?.into_iter().map(|stream| {
            let (chunks, points_confirmed) = chunks.by_stream.get(&stream.record.number).copied().unwrap_or_default();
            Stream {
                number: stream.record.number,
                data_id: stream.record.data_id.clone(),
                state: stream_word(&stream),
                why: stream.why,
                chunks,
                points_confirmed,
            }
        });
        let (gaps, gaps_in_all) = gaps(file, &clock)?;
        Ok(Self {
            synth_source_id: info.spec.synth_source_id,
            physical_sample: info.spec.physical_sample.clone(),
            project_id: info.spec.project_id.clone(),
            tags: info.spec.tags.clone(),
            points_per_chunk: info.spec.points_per_chunk,
            period: info.period.map(|period| period.as_secs_f64()),
            sessions: sessions.collect(),
            streams: streams.collect(),
            clock_readings: readings.collect(),
            channels: channels.collect(),
            chunks_by_state: chunks.by_state,
            attempts_failed: chunks.attempts,
            last_errors: chunks.last_errors,
            refusals,
            refusals_in_all,
            events: events.collect(),
            events_in_all,
            gaps,
            gaps_in_all,
            account,
        })
    }

    fn show(&self) {
        let account = &self.account;
        print(format_args!("run {}: {}", account.run, account.name));
        print(format_args!("  {} ({})", account.path.display(), bytes(account.bytes)));
        print(format_args!(
            "  {}, began {}, {} long",
            account.state,
            shown_seconds(account.began),
            age(account.length)
        ));
        let mut goes_to: Vec<String> =
            self.synth_source_id.map(|id| format!("synth_source_id {id}")).into_iter().collect();
        goes_to.extend(self.physical_sample.as_ref().map(|sample| format!("sample {sample}")));
        goes_to.extend(self.project_id.as_ref().map(|project| format!("project {project}")));
        goes_to.extend((!self.tags.is_empty()).then(|| format!("tags {}", self.tags.join(", "))));
        if !goes_to.is_empty() {
            print(format_args!("  {}", goes_to.join(", ")));
        }
        let states: Vec<String> =
            self.chunks_by_state.iter().map(|(state, count)| format!("{count} {state}")).collect();
        print(format_args!(
            "  {} chunks of up to {} points: {}",
            account.chunks,
            self.points_per_chunk,
            states.join(", ")
        ));
        self.show_sessions();
        self.show_channels();
        self.show_trouble();
    }

    fn show_sessions(&self) {
        print("\nsessions");
        for session in &self.sessions {
            let ended = match session.ended {
                Some(ended) => format!("ended {}", shown_seconds(ended)),
                None if session.number == self.sessions.last().map_or(0, |last| last.number)
                    && self.account.state == "recording" =>
                {
                    "goes on, or died".to_owned()
                }
                None => "died".to_owned(),
            };
            print(format_args!(
                "  {}: {}, began {}, {ended}",
                session.number,
                session.program,
                shown_seconds(session.started)
            ));
        }
        print("\nstreams");
        for stream in &self.streams {
            let why = stream.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            print(format_args!(
                "  {}: {}, {}{why}; {} chunks, {} points confirmed",
                stream.number, stream.data_id, stream.state, stream.chunks, stream.points_confirmed
            ));
        }
        if self.streams.is_empty() {
            print("  none yet: the platform has not been reached");
        }
        print(format_args!("\nclock readings ({})", self.clock_readings.len()));
        for reading in self.clock_readings.iter().rev().take(10).rev() {
            print(format_args!(
                "  session {} at {}: {:+.6} s, uncertain by {:.6} s, against the {}",
                reading.session,
                shown_seconds(reading.at),
                reading.offset,
                reading.uncertainty,
                reading.source
            ));
        }
    }

    fn show_channels(&self) {
        print(
            "\nread = recorded + bad + decimated + late + unrecorded; recorded + filled = uploaded + queued + rejected",
        );
        let headings = [
            "channel",
            "unit",
            ">read",
            ">recorded",
            ">bad",
            ">decimated",
            ">late",
            ">unrecorded",
            ">filled",
            ">uploaded",
            ">queued",
            ">rejected",
        ];
        let mut table = Table::new(&headings);
        for of in &self.channels {
            let bad: u64 = of.bad.values().sum();
            let numbers = [
                of.read,
                of.recorded,
                bad,
                of.decimated,
                of.late,
                of.unrecorded,
                of.filled,
                of.uploaded,
                of.queued,
                of.rejected,
            ];
            let names = [of.name.clone(), of.unit.clone().unwrap_or_default()];
            table.row(names.into_iter().chain(numbers.map(|number| number.to_string())));
        }
        print(table);
        for of in self.channels.iter().filter(|of| !of.bad.is_empty()) {
            let reasons: Vec<String> = of.bad.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            print(format_args!("  {} bad: {}", of.name, reasons.join(", ")));
        }
    }

    fn show_trouble(&self) {
        if self.refusals_in_all > 0 {
            print(format_args!("\nrefused by the platform ({})", self.refusals_in_all));
        }
        for refusal in &self.refusals {
            print(format_args!(
                "  chunk {}, {}: {} points: {}",
                refusal.chunk, refusal.channel, refusal.points, refusal.words
            ));
        }
        say_rest(self.refusals_in_all, self.refusals.len());
        if self.attempts_failed > 0 {
            let last = if self.last_errors.is_empty() { "" } else { "; of chunks that wait, the last said" };
            print(format_args!("\nattempts that failed ({}){last}", self.attempts_failed));
            for error in &self.last_errors {
                print(format_args!("  chunk {} ({} attempts): {}", error.chunk, error.attempts, error.words));
            }
        }
        if self.events_in_all > 0 {
            print(format_args!("\nevents and notes ({})", self.events_in_all));
        }
        for event in &self.events {
            let text: String = event.text.chars().take(300).collect();
            print(format_args!("  {} {}: {text}", shown_seconds(event.at), event.kind));
        }
        say_rest(self.events_in_all, self.events.len());
        if self.gaps_in_all > 0 {
            print(format_args!("\ngaps: times without a tick of any channel ({})", self.gaps_in_all));
        }
        for gap in &self.gaps {
            let why = if gap.between_sessions { ", while no bridge ran" } else { "" };
            print(format_args!(
                "  {} to {}: {}{why}",
                shown_seconds(gap.from),
                shown_seconds(gap.to),
                age(gap.seconds)
            ));
        }
        say_rest(self.gaps_in_all, self.gaps.len());
    }
}

fn say_rest(all: usize, shown: usize) {
    if all > shown {
        print(format_args!("  ... and {} more", all - shown));
    }
}

/// What the rows of all chunks add up to.
#[derive(Debug, Default)]
struct Chunks {
    by_state: BTreeMap<&'static str, u64>,
    /// Chunks, and points confirmed.
    by_stream: BTreeMap<i64, (u64, u64)>,
    attempts: u64,
    last_errors: Vec<ChunkWords>,
}

impl Chunks {
    fn of(file: &RunFile) -> Result<Self, runs::Error> {
        let refusals = file.refusals()?;
        let refused: std::collections::HashSet<(u64, usize)> =
            refusals.iter().map(|refusal| (refusal.seq, refusal.channel)).collect();
        let parted = file.parted()?;
        let mut chunks = Self::default();
        file.each_head(|head| {
            let word = match head.state {
                ChunkState::Sealed => "sealed",
                ChunkState::Frozen => "frozen",
                ChunkState::Confirmed => "confirmed",
                ChunkState::Rejected => "rejected",
            };
            *chunks.by_state.entry(word).or_default() += 1;
            chunks.attempts += head.attempts;
            let elsewhere = parted.iter().filter(|parted| parted.seq == head.seq);
            for (channel, points) in head.points.iter().enumerate().filter(|(_, points)| **points > 0) {
                let apart = (!head.holds(channel)).then(|| elsewhere.clone().find(|of| of.channels.contains(&channel)));
                let stream = apart.flatten().map(|of| of.placed).or(head.placed).map(|placed| placed.stream);
                let confirmed = head.fate(channel, refused.contains(&(head.seq, channel))) == Fate::Uploaded;
                if let Some(stream) = stream {
                    let of_stream = chunks.by_stream.entry(stream).or_default();
                    of_stream.1 += if confirmed { *points } else { 0 };
                }
            }
            if let Some(placed) = head.placed {
                chunks.by_stream.entry(placed.stream).or_default().0 += 1;
            }
            if let Some(words) = head.last_error
                && chunks.last_errors.len() < MOST_LISTED
            {
                chunks.last_errors.push(ChunkWords { chunk: head.seq, attempts: head.attempts, words });
            }
        })?;
        Ok(chunks)
    }
}

/// Times without a tick, the last [`MOST_LISTED`] of them, and how many there are. A body that can't be read makes none.
fn gaps(file: &RunFile, clock: &Clock) -> Result<(Vec<Gap>, usize), runs::Error> {
    let usual = file.info().period.map_or(NATIVE_GAP, |period| (3 * period).max(LEAST_GAP));
    let mut seqs = Vec::new();
    file.each_head(|head| seqs.push((head.seq, head.session, head.first, head.last)))?;
    let (mut found, mut in_all): (std::collections::VecDeque<Gap>, usize) = (std::collections::VecDeque::new(), 0);
    let mut before: Option<(SessionId, Stamp)> = None;
    let mut note = |session: SessionId, at: Stamp| {
        let now = clock.utc(session, at);
        if let Some((of, then)) = before
            && now.since(then) > usual
        {
            in_all += 1;
            found.push_back(Gap {
                from: then.as_unix_seconds(),
                to: now.as_unix_seconds(),
                seconds: now.since(then).as_secs_f64(),
                between_sessions: of != session,
            });
            if found.len() > MOST_LISTED {
                found.pop_front();
            }
        }
        before = Some((session, now));
    };
    for (seq, session, first, last) in seqs {
        match file.ticks(seq) {
            Ok(ticks) => ticks.iter().for_each(|tick| note(session, tick.at)),
            Err(_) => [first, last].into_iter().for_each(|at| note(session, at)),
        }
    }
    for open in file.open_ticks()? {
        open.ticks.iter().for_each(|tick| note(open.session, tick.at));
    }
    Ok((found.into(), in_all))
}
