//! The accounts for monitoring: `GET /metrics`, in Prometheus's text format 0.0.4.
//!
//! Labels are channels, instruments, links and reasons: what the lab's file and its profiles name, and no more. Counters
//! count runs that have ended too, so that they never go backwards while the process lives. Of a run that was gone on with,
//! they include what was counted before: `rate()` and `increase()` do not care where a counter starts.
//!
//! Source of the format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::{Display, Write as _};

use crate::live::{LinkState, PLATFORM_STATES, PointsLive, Snapshot};
use crate::model::{Counts, Stamp};

/// What the answer is called.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn render(snapshot: &Snapshot) -> String {
    let mut page = Page::default();
    bridge(&mut page, snapshot);
    readings(&mut page, snapshot);
    points(&mut page, snapshot);
    upload(&mut page, snapshot);
    field(&mut page, snapshot);
    page.0
}

fn bridge(page: &mut Page, snapshot: &Snapshot) {
    let store = &snapshot.store;
    page.gauge("build_info", "The program; always 1.").with(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.gauge("started_timestamp_seconds", "When the process began.").is(snapshot.started.as_unix_seconds());
    page.gauge("degraded", "1 while `mbe-bridge status` complains of something.")
        .is(u8::from(!snapshot.complaints().is_empty()));
    let paused = store.paused.is_some() || snapshot.obstacle.is_some();
    page.gauge("recording_paused", "1 while the disk takes nothing.").is(u8::from(paused));
    page.counter("commits_total", "Durable commits.").is(store.commits);
    let seconds = |took: Option<std::time::Duration>| took.map(|took| took.as_secs_f64());
    page.gauge("commit_seconds", "Time that the last durable commit took.").is_some(seconds(store.commit_took));
    page.gauge("commit_longest_seconds", "Time that the slowest durable commit took.")
        .is_some(seconds(store.commit_longest));
    page.gauge("set_aside_files", "Run files that could not be read.").is(store.set_aside.len());
    let clock = |nanos: i64| nanos as f64 / 1e9;
    page.gauge("clock_offset_seconds", "Reference UTC minus the session's clock, as last measured.")
        .is_some(snapshot.clock.map(|reading| clock(reading.offset_nanos)));
    page.gauge("clock_uncertainty_seconds", "The most that this can be wrong by.")
        .is_some(snapshot.clock.map(|reading| clock(reading.uncertainty_nanos)));
}

/// Of the runs that this process has recorded.
fn readings(page: &mut Page, snapshot: &Snapshot) {
    let counts: Vec<Counts> = (0..snapshot.channels.len()).map(|channel| counts(snapshot, channel)).collect();
    let waiting = |channel: usize| snapshot.run.waiting.get(channel).copied().unwrap_or_default();
    let each = |family: &mut Family<'_>, number: &dyn Fn(usize, &Counts) -> u64| {
        for (channel, (live, counts)) in snapshot.channels.iter().zip(&counts).enumerate() {
            family.add(&[("channel", live.channel.name.as_str())], number(channel, counts));
        }
    };
    let all = "Readings: recorded + bad + decimated + late + unrecorded + waiting.";
    each(&mut page.counter("readings_total", all), &|channel, counts| counts.settled() + waiting(channel));
    each(&mut page.counter("readings_recorded_total", "Readings on disk."), &|_, counts| counts.recorded);
    let decimated = "Readings that lost their tick to a nearer one.";
    each(&mut page.counter("readings_decimated_total", decimated), &|_, counts| counts.decimated);
    let late = "Readings whose tick was closed before they came.";
    each(&mut page.counter("readings_late_total", late), &|_, counts| counts.late);
    let unrecorded = "Readings that the disk did not take in time.";
    each(&mut page.counter("readings_unrecorded_total", unrecorded), &|_, counts| counts.unrecorded);
    let is_waiting = "Readings that are not accounted for on disk yet.";
    each(&mut page.gauge("readings_waiting", is_waiting), &|channel, _| waiting(channel));
    let filled = "Points made by `fill`; these are no readings.";
    each(&mut page.counter("points_filled_total", filled), &|_, counts| counts.filled);
    let mut bad = page.counter("readings_bad_total", "Readings without a value, by reason.");
    for (live, counts) in snapshot.channels.iter().zip(&counts) {
        for (reason, count) in &counts.bad {
            bad.add(&[("channel", live.channel.name.as_str()), ("reason", reason.as_str())], count);
        }
    }
}

fn counts(snapshot: &Snapshot, channel: usize) -> Counts {
    let mut total = Counts::default();
    let accounts = snapshot.begun.iter().filter_map(|begun| snapshot.store.account(&begun.run));
    accounts.filter_map(|account| account.counts.get(channel)).for_each(|counts| total.add(counts));
    total
}

/// Of all runs that this process has had to do with.
fn points(page: &mut Page, snapshot: &Snapshot) {
    let (mut stored, mut points) = (0, PointsLive::default());
    for account in snapshot.store.all() {
        let counts = account.counts_total();
        stored += counts.recorded + counts.filled;
        points.add(&account.points_total());
    }
    let runs = &snapshot.store.runs;
    page.counter("points_total", "Points on disk, recorded or filled: uploaded + queued + rejected.").is(stored);
    page.counter("points_uploaded_total", "Points that the platform has confirmed.").is(points.uploaded);
    page.gauge("points_queued", "Points that the platform has not confirmed yet.").is(points.queued);
    page.gauge("points_rejected", "Points that the platform refuses; they are kept.").is(points.rejected);
    page.gauge("runs_unfinished", "Runs that are recorded or wait for the platform.").is(runs.len());
    page.gauge("queue_chunks", "Chunks that the platform has not confirmed yet.")
        .is(runs.iter().map(|account| account.queued_chunks).sum::<u64>());
    let oldest = runs.iter().filter_map(|account| account.oldest_queued).min();
    page.gauge("queue_oldest_age_seconds", "How long ago the oldest of them was sealed; 0 if there is none.")
        .is(oldest.map_or(0.0, |at| snapshot.at.since(at).as_secs_f64()));
    let disagreements = "Channels of streams of which the platform counts other points than the run file.";
    page.gauge("disagreements", disagreements).is(snapshot
        .store
        .all()
        .map(|account| account.disagreements.len())
        .sum::<usize>());
}

fn upload(page: &mut Page, snapshot: &Snapshot) {
    let platform = &snapshot.platform;
    page.gauge("platform_up", "1 while the platform takes what it is sent.").is(u8::from(platform.state == "up"));
    let mut states = page.gauge("platform_state", "1 for the state that the platform is in.");
    for state in PLATFORM_STATES {
        states.add(&[("state", state)], u8::from(state == platform.state));
    }
    page.counter("upload_chunks_confirmed_total", "Chunks confirmed since the process began.")
        .is(platform.confirmed_chunks);
    page.counter("upload_points_confirmed_total", "Points in them.").is(platform.confirmed_points);
    page.counter("upload_channels_refused_total", "Channels of chunks that the platform refused.").is(platform.refused);
    page.counter("upload_attempts_failed_total", "Attempts that failed and were or will be made again.")
        .is(platform.failed_attempts);
    page.gauge("upload_last_confirmed_timestamp_seconds", "When a chunk was last confirmed.")
        .is_some(platform.last_confirmed.map(Stamp::as_unix_seconds));
    page.gauge("upload_requests_in_flight", "Requests that wait for their answer.").is(platform.in_flight);
    page.gauge("upload_window", "Most requests that may wait for their answer.").is(platform.window);
}

fn field(page: &mut Page, snapshot: &Snapshot) {
    let mut links = page.gauge("link_up", "1 while the link is open.");
    for link in &snapshot.links {
        links.add(&[("link", &link.name)], u8::from(link.state == LinkState::Open));
    }
    let each = |family: &mut Family<'_>, number: &dyn Fn(&crate::live::InstrumentLive) -> f64| {
        for instrument in &snapshot.instruments {
            family.add(&[("instrument", &instrument.name)], number(instrument));
        }
    };
    each(&mut page.gauge("instrument_failing", "1 while the instrument fails."), &|instrument| {
        f64::from(u8::from(instrument.failing.is_some()))
    });
    each(&mut page.counter("polls_total", "Polls carried out."), &|instrument| instrument.polls as f64);
    let failed = "Polls that failed, in whole or in part, and broken messages.";
    each(&mut page.counter("polls_failed_total", failed), &|instrument| instrument.failed as f64);
    let missed = "Slots for polls that went unused.";
    each(&mut page.counter("polls_missed_total", missed), &|instrument| instrument.missed as f64);
    let late = "How long after its slot the last poll began.";
    each(&mut page.gauge("poll_late_seconds", late), &|instrument| instrument.late_by.as_secs_f64());
}

/// What has been written so far.
#[derive(Debug, Default)]
struct Page(String);

/// A name with its samples.
struct Family<'a> {
    page: &'a mut Page,
    name: String,
}

impl Page {
    fn counter(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, "counter")
    }

    fn gauge(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, "gauge")
    }

    fn family(&mut self, name: &str, help: &str, sort: &str) -> Family<'_> {
        let name = format!("mbe_bridge_{name}");
        self.push(format_args!("# HELP {name} {help}\n# TYPE {name} {sort}\n"));
        Family { page: self, name }
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).unwrap_or_else(|_| unreachable!("a String takes everything"));
    }
}

impl Family<'_> {
    /// The only sample.
    fn is(&mut self, value: impl Display) {
        self.add(&[], value);
    }

    /// The only sample, or none where nothing is known.
    fn is_some(&mut self, value: Option<impl Display>) {
        if let Some(value) = value {
            self.is(value);
        }
    }

    fn with(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.add(labels, value);
    }

    fn add(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let Self { page, name } = self;
        page.push(format_args!("{name}"));
        for (place, (label, text)) in labels.iter().enumerate() {
            let open = if place == 0 { '{' } else { ',' };
            page.push(format_args!("{open}{label}=\"{}\"", escaped(text)));
        }
        page.push(format_args!("{} {value}\n", if labels.is_empty() { "" } else { "}" }));
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
