//! The status as JSON: `GET /api/status`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::live::{LinkState, PlatformLive, PointsLive, RunAccount, Snapshot};
use crate::model::{ClockSource, Counts, Outcome, Quality, RunState, Stamp, StreamState};

/// Everything at one moment. Times are Unix seconds in the session's time base; durations are seconds.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    state: &'static str,
    version: &'static str,
    at: f64,
    started: f64,
    complaints: Vec<String>,
    alarms: Vec<String>,
    links: Vec<Link>,
    instruments: Vec<Instrument>,
    channels: Vec<Channel>,
    run: Run,
    runs: Vec<RunLine>,
    totals: Totals,
    set_aside: Vec<SetAside>,
    disagreements: Vec<String>,
    store: Store,
    platform: Platform,
    clock: Option<Clock>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_clock: Option<HostClock>,
    disk: Disk,
}

#[derive(Debug, Serialize)]
struct Link {
    name: String,
    target: String,
    state: &'static str,
    down_since: Option<f64>,
    why: Option<String>,
}

#[derive(Debug, Serialize)]
struct Instrument {
    name: String,
    link: String,
    profile: String,
    answered_at: Option<f64>,
    failing_since: Option<f64>,
    reason: Option<String>,
    error: Option<String>,
    polls: u64,
    failed: u64,
    missed: u64,
    round_trip: Option<f64>,
    late_by: f64,
    left_out: Vec<LeftOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speech: Option<Speech>,
}

/// What an instrument refuses to give: the channels without a value, and where and why.
#[derive(Debug, Serialize)]
struct LeftOut {
    channels: Vec<String>,
    what: String,
}

/// What an instrument says unasked.
#[derive(Debug, Serialize)]
struct Speech {
    messages: u64,
    broken: u64,
    rate: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Channel {
    name: String,
    unit: Option<String>,
    instrument: String,
    at: Option<f64>,
    value: Option<f64>,
    quality: String,
    uncertainty: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<ChannelCounts>,
}

/// What became of the channel's readings in this run.
#[derive(Debug, Serialize)]
struct ChannelCounts {
    read: u64,
    recorded: u64,
    filled: u64,
    bad: BTreeMap<String, u64>,
    decimated: u64,
    late: u64,
    unrecorded: u64,
    waiting: u64,
}

#[derive(Debug, Serialize)]
struct Run {
    id: Option<String>,
    name: String,
    paused: Option<String>,
    read: u64,
    recorded: u64,
    filled: u64,
    bad: u64,
    decimated: u64,
    late: u64,
    unrecorded: u64,
    waiting: u64,
    uploaded: u64,
    queued: u64,
    rejected: u64,
    queued_chunks: u64,
    commit_took: Option<f64>,
}

/// A run that is not done.
#[derive(Debug, Serialize)]
struct RunLine {
    id: String,
    name: String,
    state: &'static str,
    recorded: u64,
    filled: u64,
    uploaded: u64,
    queued: u64,
    rejected: u64,
    sealed_chunks: u64,
    queued_chunks: u64,
    oldest_queued_age: Option<f64>,
    stream: Option<Stream>,
    held: Option<String>,
    disagreements: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Stream {
    number: i64,
    data_id: String,
    state: &'static str,
}

/// All runs that are not done, and those that have become so since the process began.
#[derive(Debug, Serialize)]
struct Totals {
    runs: usize,
    done_runs: usize,
    recorded: u64,
    filled: u64,
    uploaded: u64,
    queued: u64,
    rejected: u64,
    queued_chunks: u64,
    oldest_queued_age: Option<f64>,
}

#[derive(Debug, Serialize)]
struct SetAside {
    path: String,
    why: String,
}

#[derive(Debug, Serialize)]
struct Store {
    paused: Option<String>,
    buffered: u64,
    commits: u64,
    commit_took: Option<f64>,
    commit_longest: Option<f64>,
}

/// Counts are of this process.
#[derive(Debug, Serialize)]
struct Platform {
    state: &'static str,
    since: Option<f64>,
    why: Option<String>,
    data_id: Option<String>,
    window: usize,
    in_flight: usize,
    confirmed_chunks: u64,
    confirmed_points: u64,
    refused: u64,
    failed_attempts: u64,
    last_confirmed: Option<f64>,
    last_failure: Option<Failure>,
}

#[derive(Debug, Serialize)]
struct Failure {
    at: f64,
    words: String,
}

/// The session's clock against reference UTC: what is added to stamps, and how wrong that may be.
#[derive(Debug, Serialize)]
struct Clock {
    offset: f64,
    uncertainty: f64,
    source: &'static str,
}

/// Steps of the host's clock in this session: how many, and the last one.
#[derive(Debug, Serialize)]
struct HostClock {
    steps: u64,
    last_at: f64,
    last_step: f64,
}

/// Bytes on the disk that holds the runs, and the finished runs that were deleted to make space since the start.
#[derive(Debug, Serialize)]
struct Disk {
    free: Option<u64>,
    min_free: u64,
    full: bool,
    low: bool,
    pruned_runs: u64,
    pruned_bytes: u64,
}

impl Status {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let complaints = snapshot.complaints();
        let mut total = Counts::default();
        for counts in &snapshot.run.counts {
            total.add(counts);
        }
        let waiting = snapshot.run.waiting.iter().sum();
        Self {
            state: if complaints.is_empty() { "well" } else { "degraded" },
            version: env!("CARGO_PKG_VERSION"),
            at: snapshot.at.as_unix_seconds(),
            started: snapshot.started.as_unix_seconds(),
            complaints,
            alarms: snapshot.alarms(),
            links: snapshot.links.iter().map(Link::of).collect(),
            instruments: snapshot.instruments.iter().map(|live| Instrument::of(live, snapshot)).collect(),
            channels: snapshot
                .channels
                .iter()
                .enumerate()
                .map(|(index, live)| Channel::of(index, live, snapshot))
                .collect(),
            run: Run {
                id: snapshot.run.run.clone(),
                name: snapshot.run.name.clone(),
                paused: snapshot.run.paused.clone(),
                read: total.settled() + waiting,
                recorded: total.recorded,
                filled: total.filled,
                bad: total.bad_total(),
                decimated: total.decimated,
                late: total.late,
                unrecorded: total.unrecorded,
                waiting,
                uploaded: snapshot.run.uploaded,
                queued: snapshot.run.queued,
                rejected: snapshot.run.rejected,
                queued_chunks: snapshot.run.queued_chunks,
                commit_took: snapshot.store.commit_took.map(|took| took.as_secs_f64()),
            },
            runs: snapshot.store.runs.iter().map(|account| RunLine::of(account, snapshot)).collect(),
            totals: Totals::of(snapshot),
            set_aside: snapshot.store.set_aside.iter().map(SetAside::of).collect(),
            disagreements: snapshot.store.all().flat_map(words_of_disagreements).collect(),
            store: Store {
                paused: snapshot.store.paused.clone(),
                buffered: snapshot.store.buffered,
                commits: snapshot.store.commits,
                commit_took: snapshot.store.commit_took.map(|took| took.as_secs_f64()),
                commit_longest: snapshot.store.commit_longest.map(|took| took.as_secs_f64()),
            },
            platform: Platform::of(&snapshot.platform),
            clock: snapshot.clock.map(|reading| Clock {
                offset: reading.offset_nanos as f64 / 1e9,
                uncertainty: reading.uncertainty_nanos as f64 / 1e9,
                source: match reading.source {
                    ClockSource::Platform => "platform",
                    ClockSource::Host => "host",
                },
            }),
            host_clock: snapshot.clock_steps.map(|steps| HostClock {
                steps: steps.count,
                last_at: steps.last_at.as_unix_seconds(),
                last_step: steps.last_nanos as f64 / 1e9,
            }),
            disk: Disk {
                free: snapshot.run.disk.free,
                min_free: snapshot.run.disk.min_free,
                full: snapshot.run.disk.full,
                low: snapshot.run.disk.low,
                pruned_runs: snapshot.run.disk.pruned.0,
                pruned_bytes: snapshot.run.disk.pruned.1,
            },
        }
    }
}

impl RunLine {
    fn of(account: &RunAccount, snapshot: &Snapshot) -> Self {
        let (counts, points) = (account.counts_total(), account.points_total());
        Self {
            id: account.run.to_string(),
            name: account.name.clone(),
            state: match account.state {
                RunState::Recording => "recording",
                RunState::Closed => "closed",
                RunState::Done => "done",
            },
            recorded: counts.recorded,
            filled: counts.filled,
            uploaded: points.uploaded,
            queued: points.queued,
            rejected: points.rejected,
            sealed_chunks: account.sealed_chunks,
            queued_chunks: account.queued_chunks,
            oldest_queued_age: age(account.oldest_queued, snapshot),
            stream: account.stream.as_ref().map(|stream| Stream {
                number: stream.number,
                data_id: stream.data_id.clone(),
                state: match stream.state {
                    StreamState::Open => "open",
                    StreamState::Ended => "ended",
                    StreamState::Finalized => "finalized",
                },
            }),
            held: snapshot.platform.held.iter().find(|(run, _)| *run == account.run).map(|(_, why)| why.clone()),
            disagreements: words_of_disagreements(account).collect(),
        }
    }
}

impl Totals {
    fn of(snapshot: &Snapshot) -> Self {
        let store = &snapshot.store;
        let (mut counts, mut points) = (Counts::default(), PointsLive::default());
        for account in store.all() {
            counts.add(&account.counts_total());
            points.add(&account.points_total());
        }
        Self {
            runs: store.runs.len(),
            done_runs: store.done.len(),
            recorded: counts.recorded,
            filled: counts.filled,
            uploaded: points.uploaded,
            queued: points.queued,
            rejected: points.rejected,
            queued_chunks: store.runs.iter().map(|account| account.queued_chunks).sum(),
            oldest_queued_age: age(store.runs.iter().filter_map(|account| account.oldest_queued).min(), snapshot),
        }
    }
}

impl SetAside {
    fn of(file: &crate::live::SetAside) -> Self {
        Self { path: file.path.clone(), why: file.why.clone() }
    }
}

impl Platform {
    fn of(live: &PlatformLive) -> Self {
        let failure = |(at, words): &(Stamp, String)| Failure { at: at.as_unix_seconds(), words: words.clone() };
        Self {
            state: live.state,
            since: live.since.map(Stamp::as_unix_seconds),
            why: live.why.clone(),
            data_id: live.data_id.clone(),
            window: live.window,
            in_flight: live.in_flight,
            confirmed_chunks: live.confirmed_chunks,
            confirmed_points: live.confirmed_points,
            refused: live.refused,
            failed_attempts: live.failed_attempts,
            last_confirmed: live.last_confirmed.map(Stamp::as_unix_seconds),
            last_failure: live.last_failure.as_ref().map(failure),
        }
    }
}

/// How long ago that was, in seconds.
fn age(at: Option<Stamp>, snapshot: &Snapshot) -> Option<f64> {
    at.map(|at| snapshot.at.since(at).as_secs_f64())
}

impl Link {
    fn of(live: &crate::live::LinkLive) -> Self {
        let (state, down_since, why) = match &live.state {
            LinkState::Opening => ("opening", None, None),
            LinkState::Open => ("open", None, None),
            LinkState::Down { since, why } => ("down", Some(since.as_unix_seconds()), Some(why.clone())),
        };
        Self { name: live.name.to_string(), target: live.target.clone(), state, down_since, why }
    }
}

impl Instrument {
    fn of(live: &crate::live::InstrumentLive, snapshot: &Snapshot) -> Self {
        Self {
            name: live.name.to_string(),
            link: snapshot.links.get(live.link).map_or_else(String::new, |link| link.name.to_string()),
            profile: live.profile.to_string(),
            answered_at: live.answered_at.map(Stamp::as_unix_seconds),
            failing_since: live.failing.as_ref().map(|failing| failing.since.as_unix_seconds()),
            reason: live.failing.as_ref().map(|failing| failing.reason.to_string()),
            error: live.failing.as_ref().map(|failing| failing.words.clone()),
            polls: live.polls,
            failed: live.failed,
            missed: live.missed,
            round_trip: live.round_trip.map(|round_trip| round_trip.as_secs_f64()),
            late_by: live.late_by.as_secs_f64(),
            left_out: live.left_out.iter().map(|left_out| LeftOut::of(left_out, snapshot)).collect(),
            speech: live.speech.as_ref().map(|speech| Speech {
                messages: speech.messages,
                broken: speech.broken,
                rate: speech.rate,
            }),
        }
    }
}

impl LeftOut {
    fn of(left_out: &crate::live::LeftOut, snapshot: &Snapshot) -> Self {
        let live = left_out.channels.iter().filter_map(|channel| snapshot.channels.get(channel.0));
        Self { channels: live.map(|live| live.channel.name.to_string()).collect(), what: left_out.what.clone() }
    }
}

impl Channel {
    fn of(index: usize, live: &crate::live::ChannelLive, snapshot: &Snapshot) -> Self {
        let counts = snapshot.run.counts.get(index);
        let waiting = snapshot.run.waiting.get(index).copied().unwrap_or_default();
        let (at, value, quality) = match &live.latest {
            None => (None, None, "waiting".to_owned()),
            Some((at, Outcome::Bad(reason))) => (Some(*at), None, format!("bad:{reason}")),
            Some((at, Outcome::Value { value, quality: Quality::Good })) => {
                (Some(*at), Some(*value), "good".to_owned())
            }
            Some((at, Outcome::Value { value, quality: Quality::Uncertain(reason) })) => {
                (Some(*at), Some(*value), format!("uncertain:{reason}"))
            }
        };
        Self {
            name: live.channel.name.to_string(),
            unit: live.channel.unit.as_deref().map(str::to_owned),
            instrument: live.channel.instrument.to_string(),
            at: at.map(Stamp::as_unix_seconds),
            value: value.map(crate::model::Finite::get),
            quality,
            uncertainty: live.uncertainty.as_secs_f64(),
            counts: counts.map(|counts| ChannelCounts::of(counts, waiting)),
        }
    }
}

impl ChannelCounts {
    fn of(counts: &Counts, waiting: u64) -> Self {
        Self {
            read: counts.settled() + waiting,
            recorded: counts.recorded,
            filled: counts.filled,
            bad: counts.bad.iter().map(|(reason, count)| (reason.to_string(), *count)).collect(),
            decimated: counts.decimated,
            late: counts.late,
            unrecorded: counts.unrecorded,
            waiting,
        }
    }
}

fn words_of_disagreements(account: &crate::live::RunAccount) -> impl Iterator<Item = String> {
    account.disagreements.iter().map(|found| found.words.clone())
}
