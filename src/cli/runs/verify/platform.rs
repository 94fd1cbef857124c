//! A run file held against what the platform gives back of its streams.
//!
//! A stream is compared as it comes in, some channels at a time: memory holds what these channels have on one stream.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::ExposeSecret as _;
use serde::Serialize;

use super::compare::{Difference, Expected, compare};
use super::failed;
use crate::atomscale::ApiKey;
use crate::atomscale::Client;
use crate::atomscale::PlatformError;
use crate::atomscale::ReadBack as _;
use crate::atomscale::Settings;
use crate::atomscale::StoredSeries;
use crate::cli::report::{Exit, Failure, OrExit as _};
use crate::cli::runs::account::shown;
use crate::config::Config;
use crate::config::process_environment;
use crate::model::{RunState, Stamp, StreamState, Tick};
use crate::runs;
use crate::runs::Axis;
use crate::runs::read::{ChunkHead, Fate, Parted, Placed, RunFile, Stream};

/// What stands for a stream's id where it was lost with a damaged file.
const LOST: &str = "lost";

/// Points that are compared together, unless one channel has more. 2 million take some 100 MiB.
const GROUP: usize = 2_000_000;

/// Chunks read at once.
const PAGE: usize = 256;

/// How far the times of a point may be apart on two streams, where it went to both.
const APART_MS: i64 = 60_000;

const RESEND: &str =
    "the run file has these points: ask Atomscale what became of them on this stream, and keep the file";
const ASK: &str = "ask Atomscale what else writes to this stream; the run file is not changed by it";

/// Reads from the platform of a lab.
pub(super) struct Reader {
    client: Client,
}

/// What was found on the platform.
#[derive(Debug, Default, Serialize)]
pub(super) struct Findings {
    pub(super) streams: usize,
    /// Points that are there as the file has them.
    pub(super) found: u64,
    #[serde(flatten)]
    pub(super) findings: super::Findings,
}

impl Findings {
    pub(super) fn wrong(&self) -> usize {
        self.findings.wrong()
    }
}

impl Reader {
    pub(super) fn new(config: &Config) -> Result<Self, Failure> {
        let platform = &config.platform;
        let key = platform.api_key.read(&process_environment).or_exit(Exit::Usage)?;
        let usual = Settings::new(ApiKey::parse(key.expose_secret()).or_exit(Exit::Usage)?);
        let settings = Settings {
            endpoint: platform.endpoint.clone(),
            stream_path: platform.stream_path.clone().unwrap_or_else(|| usual.stream_path.clone()),
            ..usual
        };
        Ok(Self { client: Client::new(&settings).or_exit(Exit::Usage)? })
    }

    /// Compares every stream of a run.
    pub(super) async fn check(&self, path: &Path) -> Result<Findings, Failure> {
        let file = RunFile::open(path).or_exit(Exit::Disk)?;
        let streams = file.streams().or_exit(Exit::Disk)?;
        drop(file);
        let mut all = Findings::default();
        for stream in streams {
            let data_id = stream.record.data_id.clone();
            if data_id == LOST {
                let number = stream.record.number;
                all.findings.remarks.push(format!("what stream {number} was is lost with a damaged run file"));
                continue;
            }
            let comparing = Comparing::new(path, &stream, std::mem::take(&mut all)).or_exit(Exit::Disk)?;
            let comparing = Arc::new(Mutex::new(comparing));
            let taking = Arc::clone(&comparing);
            let take = move |series| taking.lock().unwrap_or_else(PoisonError::into_inner).take(series);
            let asked = self.client.timeseries(&data_id, take).await;
            let finish = move || {
                let mut comparing = comparing.lock().unwrap_or_else(PoisonError::into_inner);
                match asked {
                    Ok(()) => comparing.finish(),
                    Err(PlatformError::Gone { words, .. }) => comparing.gone(&words),
                    Err(error) => return Err(refused(error)),
                }
                comparing.failure.take().map_or(Ok(()), Err).or_exit(Exit::Disk)?;
                Ok(std::mem::take(&mut comparing.all))
            };
            all = tokio::task::spawn_blocking(finish).await.or_exit(Exit::Degraded)??;
            all.streams += 1;
        }
        Ok(all)
    }
}

/// What the platform's answer means for the exit code.
fn refused(error: PlatformError) -> Failure {
    let exit = if error.is_transient() { Exit::Unreachable } else { Exit::Refused };
    failed(exit, error)
}

/// One stream while it comes in.
struct Comparing {
    file: RunFile,
    path: PathBuf,
    stream: Stream,
    /// Of the channels of the run, by place.
    names: Vec<String>,
    refused: HashSet<(u64, usize)>,
    parted: Vec<Parted>,
    /// Newer points than this are not in this view of the file yet, if the run goes on.
    newest_ms: Option<i64>,
    group: Vec<(usize, StoredSeries)>,
    seen: HashSet<usize>,
    all: Findings,
    failure: Option<runs::Error>,
}

impl Comparing {
    fn new(path: &Path, stream: &Stream, all: Findings) -> Result<Self, runs::Error> {
        let file = RunFile::open(path)?;
        let info = file.info();
        let refusals = file.refusals()?;
        let mut newest = None;
        file.each_head(|head| newest = head.last_utc.max(newest))?;
        let goes_on = info.state != RunState::Done && stream.record.state == StreamState::Open;
        Ok(Self {
            path: path.to_owned(),
            stream: stream.clone(),
            names: info.channels.iter().map(|channel| channel.name.to_string()).collect(),
            refused: refusals.iter().map(|refusal| (refusal.seq, refusal.channel)).collect(),
            newest_ms: goes_on.then(|| newest.map_or(i64::MIN, milliseconds)),
            parted: file.parted()?,
            group: Vec::new(),
            seen: HashSet::new(),
            all,
            failure: None,
            file,
        })
    }

    fn take(&mut self, series: StoredSeries) {
        let Some(channel) = self.names.iter().position(|name| *name == series.channel) else {
            if !series.points.is_empty() {
                let what = format!(
                    "{} points on stream {}, of a channel that the run does not have",
                    series.points.len(),
                    self.stream.record.data_id
                );
                self.all.findings.add(None, Some(&series.channel), what, ASK);
            }
            return;
        };
        self.seen.insert(channel);
        self.group.push((channel, series));
        if self.group.iter().map(|(_, series)| series.points.len()).sum::<usize>() >= GROUP {
            self.compare_group();
        }
    }

    fn finish(&mut self) {
        let unseen = (0..self.names.len()).filter(|channel| !self.seen.contains(channel));
        let nothing = |channel| (channel, StoredSeries { channel: String::new(), units: None, points: Vec::new() });
        let unseen: Vec<_> = unseen.map(nothing).collect();
        self.group.extend(unseen);
        self.compare_group();
    }

    /// The platform does not have the stream.
    fn gone(&mut self, words: &str) {
        let mut confirmed = 0;
        let number = self.stream.record.number;
        let counted = self.each_point(&|stream| stream == Some(number), &mut |_, point| {
            confirmed += u64::from(point.confirmed);
        });
        self.failure = counted.err();
        let id = &self.stream.record.data_id;
        if confirmed > 0 {
            let what = format!(
                "the platform does not have stream {id}, of which it has confirmed {confirmed} points: {words}"
            );
            self.all.findings.add(None, None, what, RESEND);
        } else {
            self.all.findings.remarks.push(format!("the platform does not have stream {id}, which never got a point"));
        }
    }

    fn compare_group(&mut self) {
        let group = std::mem::take(&mut self.group);
        let mut expected: BTreeMap<usize, Vec<Expected>> =
            group.iter().map(|(channel, _)| (*channel, Vec::new())).collect();
        let number = self.stream.record.number;
        let read = self.each_point(&|stream| stream == Some(number), &mut |channel, point| {
            if let Some(of_channel) = expected.get_mut(&channel) {
                of_channel.push(point);
            }
        });
        if let Err(error) = read {
            self.failure = Some(error);
            return;
        }
        for (channel, series) in group {
            let of_channel = expected.remove(&channel).unwrap_or_default();
            let mut difference = compare(of_channel, series.points);
            if let Some(newest) = self.newest_ms {
                difference.foreign.retain(|(at, _)| *at <= newest);
            }
            if !difference.foreign.is_empty() && self.stream.record.state == StreamState::Ended {
                self.leave_out_those_elsewhere(channel, &mut difference);
            }
            self.tell(channel, &difference);
        }
    }

    /// A chunk that landed on a stream while it ended, unheard, is sent again on the next: it is on both.
    fn leave_out_those_elsewhere(&mut self, channel: usize, difference: &mut Difference) {
        let number = self.stream.record.number;
        let mut elsewhere: HashMap<u64, Vec<i64>> = HashMap::new();
        let read = self.each_point(&|stream| stream != Some(number), &mut |of, point| {
            if of == channel {
                elsewhere.entry(point.value.to_bits()).or_default().push(point.at_ms);
            }
        });
        if let Err(error) = read {
            self.failure = Some(error);
            return;
        }
        let before = difference.foreign.len();
        difference.foreign.retain(|(at, value)| {
            let times = value.and_then(|value| elsewhere.get(&value.to_bits()));
            !times.is_some_and(|times| times.iter().any(|time| (time - at).abs() <= APART_MS))
        });
        let also = before - difference.foreign.len();
        if also > 0 {
            let (id, name) = (&self.stream.record.data_id, self.names.get(channel).map_or("", String::as_str));
            self.all.findings.remarks.push(format!(
                "{also} points of {name} are on stream {id} and on a later one: they landed while it ended, and no answer came"
            ));
        }
    }

    fn tell(&mut self, channel: usize, difference: &Difference) {
        self.all.found += difference.found;
        let name = self.names.get(channel).cloned().unwrap_or_default();
        let id = &self.stream.record.data_id;
        let findings = &mut self.all.findings;
        let time = |at_ms: i64| shown(Stamp::from_nanos(at_ms.saturating_mul(1_000_000)));
        let mut by_chunk: BTreeMap<u64, (usize, i64)> = BTreeMap::new();
        for (chunk, at) in &difference.missing {
            by_chunk.entry(*chunk).or_insert((0, *at)).0 += 1;
        }
        for (chunk, (count, at)) in by_chunk {
            let what = format!("{count} confirmed points are not on stream {id}, the first of {}", time(at));
            findings.add(Some(chunk), Some(&name), what, RESEND);
        }
        let mut by_chunk: BTreeMap<u64, (usize, i64, f64, Option<f64>)> = BTreeMap::new();
        for (chunk, at, value, stored) in &difference.other {
            by_chunk.entry(*chunk).or_insert((0, *at, *value, *stored)).0 += 1;
        }
        for (chunk, (count, at, value, stored)) in by_chunk {
            let stored = stored.map_or_else(|| "no value".to_owned(), |stored| stored.to_string());
            let what = format!(
                "{count} points have another value on stream {id}, the first ({}) {stored} instead of {value}",
                time(at)
            );
            findings.add(Some(chunk), Some(&name), what, RESEND);
        }
        if let Some(first) = difference.twice.first() {
            let what =
                format!("{} points are on stream {id} twice, the first of {}", difference.twice.len(), time(*first));
            findings.add(None, Some(&name), what, ASK);
        }
        if let Some((first, value)) = difference.foreign.first() {
            let value = value.map_or_else(|| "no value".to_owned(), |value| value.to_string());
            let what = format!(
                "{} points on stream {id} are not in the file, the first is {value} of {}",
                difference.foreign.len(),
                time(*first)
            );
            findings.add(None, Some(&name), what, ASK);
        }
    }

    /// Every point that is on a stream that `wanted` picks; none is of those that were never sent. A chunk whose body can't be
    /// read is left out: the check of the file itself has told of it.
    fn each_point(
        &self,
        wanted: &dyn Fn(Option<i64>) -> bool,
        take: &mut dyn FnMut(usize, Expected),
    ) -> Result<(), runs::Error> {
        let replaced = self.replaced()?;
        let mut from = 0;
        loop {
            let page = self.file.heads(from, PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            from = last.seq + 1;
            for head in &page {
                let places = Places::of(head, &self.parted).without(|channel| replaced.contains(&(head.seq, channel)));
                if !places.streams().any(wanted) {
                    continue;
                }
                let ticks = match self.file.ticks(head.seq) {
                    Ok(ticks) => ticks,
                    Err(error) if error.is_damage() => {
                        tracing::debug!(path = %self.path.display(), chunk = head.seq, "a damaged chunk is not compared");
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                for (placed, channels) in &places.0 {
                    if wanted(placed.map(|placed| placed.stream)) {
                        self.points_at(head, &ticks, *placed, channels, take);
                    }
                }
            }
        }
    }

    /// Channels of chunks in whose slice a program has put something else later.
    fn replaced(&self) -> Result<HashSet<(u64, usize)>, runs::Error> {
        let mut replaced = HashSet::new();
        if self.file.info().axis != Axis::Given {
            return Ok(replaced);
        }
        let mut newest: HashMap<(i64, u64, usize), u64> = HashMap::new();
        let mut from = 0;
        loop {
            let page = self.file.heads(from, PAGE)?;
            let Some(last) = page.last() else { return Ok(replaced) };
            from = last.seq + 1;
            for (head, placed) in page.iter().filter_map(|head| Some((head, head.placed?))) {
                let channels = head.points.iter().enumerate().filter(|(_, points)| **points > 0);
                for (channel, _) in channels {
                    let before = newest.insert((placed.stream, placed.index, channel), head.seq);
                    replaced.extend(before.map(|seq| (seq, channel)));
                }
            }
        }
    }

    fn points_at(
        &self,
        head: &ChunkHead,
        ticks: &[Tick],
        placed: Option<Placed>,
        channels: &[usize],
        take: &mut dyn FnMut(usize, Expected),
    ) {
        let stamps = match placed {
            Some(placed) => placed.stamps(ticks),
            None => ticks.iter().map(|tick| tick.at).collect(),
        };
        for (tick, stamp) in ticks.iter().zip(stamps) {
            for point in tick.points.iter().filter(|point| channels.contains(&point.channel.0)) {
                let channel = point.channel.0;
                let refused = self.refused.contains(&(head.seq, channel));
                let confirmed = head.fate(channel, refused) == Fate::Uploaded;
                let (at_ms, value) = (milliseconds(stamp), point.value.get());
                take(channel, Expected { chunk: head.seq, at_ms, value, confirmed });
            }
        }
    }
}

/// Where the channels of a chunk are: most are where the chunk is; those whose others were sent again on another stream are not.
struct Places(Vec<(Option<Placed>, Vec<usize>)>);

impl Places {
    fn of(head: &ChunkHead, parted: &[Parted]) -> Self {
        let apart: Vec<&Parted> = parted.iter().filter(|parted| parted.seq == head.seq).collect();
        let is_apart = |channel: usize| !head.holds(channel) && apart.iter().any(|of| of.channels.contains(&channel));
        let together = (0..head.points.len()).filter(|channel| !is_apart(*channel)).collect();
        let mut places = vec![(head.placed, together)];
        for of in &apart {
            let channels = of.channels.iter().copied().filter(|channel| is_apart(*channel)).collect();
            places.push((Some(of.placed), channels));
        }
        Self(places)
    }

    fn without(mut self, is_replaced: impl Fn(usize) -> bool) -> Self {
        for (_, channels) in &mut self.0 {
            channels.retain(|channel| !is_replaced(*channel));
        }
        self
    }

    fn streams(&self) -> impl Iterator<Item = Option<i64>> {
        self.0.iter().map(|(placed, _)| placed.map(|placed| placed.stream))
    }
}

/// As the platform gives a stamp back.
fn milliseconds(stamp: Stamp) -> i64 {
    stamp.as_nanos().saturating_add(500_000).div_euclid(1_000_000)
}
