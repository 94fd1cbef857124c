//! From the file to the stream.

use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use tokio::sync::mpsc;

use super::progress::Bar;
use super::record::{Held, Record, State};
use super::{Task, failed};
use crate::cli::report::{Exit, Failure, OrExit as _};
use crate::cli::signals::Interrupts;
use crate::cli::{print, say, streams};
use crate::logfile;
use crate::logfile::Batch;
use crate::logfile::Chunks;
use crate::streamer::Acknowledge;
use crate::streamer::Error;
use crate::streamer::NewStream;
use crate::streamer::PlatformStatus;
use crate::streamer::Series;
use crate::streamer::StreamStatus;
use crate::streamer::TimeseriesStreamer;

/// Chunks that share a wait for the disk. The run store takes chunks in order: once the last is on disk, so are the others.
const GROUP: u64 = 32;

/// Chunks that may wait for the platform before more of the file is read: the file keeps the rest as well as the run store.
const MOST_QUEUED: u64 = 1024;

/// How often somebody looks while waiting.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(50);

/// How long the platform is asked for a stream.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of a file.
#[derive(Debug, Serialize)]
pub(super) struct Sent {
    pub(super) data_id: String,
    /// Streams that went on with this one, where the platform had ended it.
    continued_as: Vec<String>,
    /// `finished`, `already` or `interrupted`.
    state: &'static str,
    points: u64,
    uploaded: u64,
    rejected: u64,
    /// Chunks that are on disk and wait for the platform.
    queued_chunks: u64,
    seconds: f64,
    /// What the platform refused, in its words.
    refused: Option<String>,
}

impl Sent {
    /// The file was on the platform before the command began.
    pub(super) fn already(record: &Record) -> Self {
        Self { uploaded: record.uploaded, ..Self::new(record.data_id.clone(), record.points, "already") }
    }

    fn new(data_id: String, points: u64, state: &'static str) -> Self {
        let (continued_as, refused) = (Vec::new(), None);
        Self { data_id, continued_as, state, points, uploaded: 0, rejected: 0, queued_chunks: 0, seconds: 0.0, refused }
    }

    pub(super) fn show(&self) {
        match self.state {
            "already" => {}
            "interrupted" => say(format_args!(
                "stopped: {} of {} points are on the platform, {} chunks wait on disk. Give the same command again within two \
                 hours to go on with stream {}; later the platform has closed it, and the file is sent anew",
                self.uploaded, self.points, self.queued_chunks, self.data_id
            )),
            _ => {
                let refused = self.refused.as_ref();
                let refused = refused.map(|words| format!("; {} points were refused: {words}", self.rejected));
                print(format_args!(
                    "stream {}: {} points are on the platform, after {:.1} s{}",
                    self.data_id,
                    self.uploaded,
                    self.seconds,
                    refused.unwrap_or_default()
                ));
            }
        }
        if !self.continued_as.is_empty() {
            print(format_args!("the platform had ended it; it goes on as {}", self.continued_as.join(", ")));
        }
    }

    pub(super) fn exit(&self) -> Exit {
        if self.state == "interrupted" || self.rejected > 0 { Exit::Degraded } else { Exit::Well }
    }
}

/// Sends a file, or what is left of it.
pub(super) async fn send(task: &Task<'_>, held: &mut Held, key: SecretString) -> Result<Sent, Failure> {
    let began = Instant::now();
    let mut interrupts = Interrupts::listen().or_exit(Exit::Degraded)?;
    let mut builder = TimeseriesStreamer::builder(key.expose_secret())
        .endpoint(&task.place.endpoint)
        .data_dir(&task.data_dir)
        .points_per_chunk(task.points)
        // The times of a file are what they are.
        .clock_sync(false)
        .patience(PATIENCE);
    if let Some(path) = &task.place.stream_path {
        builder = builder.stream_path(path);
    }
    let streamer = builder.open().await.map_err(streamer_failed)?;
    let mut sending = Sending { task, held, streamer: streamer.clone(), data_id: None };
    let ended = tokio::select! {
        biased;
        ended = sending.send() => Some(ended),
        () = interrupts.next() => None,
    };
    let data_id = sending.data_id.clone();
    let status = data_id.as_deref().and_then(|data_id| streamer.status(data_id));
    let points = task.survey.columns.iter().map(|column| column.points).sum();
    let sent = match (ended, data_id) {
        (Some(Ok(sent)), _) => Ok(sent),
        (Some(Err(failure)), _) => Err(failure),
        (None, None) => Err(Failure::new(Exit::Degraded, anyhow::anyhow!("stopped before anything was sent"))),
        (None, Some(data_id)) => Ok(Sent::new(data_id, points, "interrupted")),
    };
    // What was handed over gets to the disk, unless somebody can't wait even for that.
    tokio::select! {
        left = streamer.close() => drop(left.map_err(streamer_failed)?),
        () = interrupts.next() => {}
    }
    let mut sent = sent?;
    if let Some(status) = status {
        sent.uploaded = sent.uploaded.max(status.uploaded_points);
        sent.rejected = sent.rejected.max(status.rejected_points);
        sent.queued_chunks = if sent.state == "interrupted" { status.queued_chunks } else { 0 };
    }
    sent.seconds = began.elapsed().as_secs_f64();
    Ok(sent)
}

/// A file on its way.
struct Sending<'a, 'b> {
    task: &'a Task<'b>,
    held: &'a mut Held,
    streamer: TimeseriesStreamer,
    /// Once there is a stream.
    data_id: Option<String>,
}

impl Sending<'_, '_> {
    async fn send(&mut self) -> Result<Sent, Failure> {
        let points = self.task.survey.columns.iter().map(|column| column.points).sum();
        let (data_id, next) = self.stream().await?;
        self.data_id = Some(data_id.clone());
        let before = self.streamer.status(&data_id).map_or(0, |status| status.uploaded_points);
        let mut bar = Bar::sending(points, before);
        let pushed = self.push(&data_id, next, &mut bar).await;
        if let Err(failure) = pushed {
            bar.clear();
            return Err(failure);
        }
        self.held.set(State::Whole, 0)?;
        let finalized = self.streamer.finalize_with(&data_id, |status| bar.look(status));
        let refused = refused_key(&self.streamer, &data_id);
        let finalized = tokio::select! {
            finalized = finalized => finalized,
            words = refused => Err(Error::KeyRefused { words }),
        };
        bar.clear();
        let sent = match finalized {
            Ok(finalized) => Sent {
                uploaded: finalized.uploaded_points,
                continued_as: finalized.continued_as,
                ..Sent::new(data_id, points, "finished")
            },
            Err(Error::PointsRefused { data_id, points: rejected, words, .. }) => {
                Sent { rejected, refused: Some(words), ..Sent::new(data_id, points, "finished") }
            }
            // It ended while nobody looked.
            Err(Error::AlreadyFinalized(_) | Error::NotKept(_)) => {
                let kept = streams::points_of(&self.task.data_dir, &data_id);
                let (uploaded, rejected) = kept.unwrap_or((points, 0));
                Sent { uploaded, rejected, ..Sent::new(data_id, points, "finished") }
            }
            Err(error) => return Err(self.failed(error)),
        };
        self.held.set(State::Finished, sent.uploaded)?;
        Ok(sent)
    }

    /// The stream, and the chunk that is next; none if all of them are with the run store.
    async fn stream(&mut self) -> Result<(String, Option<u64>), Failure> {
        let again = self.task.arguments.again;
        if let Some(record) = self.held.open(again).cloned() {
            match self.streamer.resume(&record.data_id).await {
                Ok(resumed) => {
                    self.held.go_on(&record);
                    let next = if record.state == State::Whole { None } else { Some(resumed.next_chunk_index) };
                    return Ok((record.data_id, next));
                }
                // It was being finalized, or is. Run files are deleted only once the platform has all that is in them.
                Err(Error::AlreadyFinalized(_) | Error::NotKept(_)) if record.state == State::Whole => {
                    self.held.go_on(&record);
                    return Ok((record.data_id, None));
                }
                Err(Error::AlreadyFinalized(_)) => say(format_args!(
                    "stream {} was left for more than two hours and closed with a part of the file; the file is sent anew, \
                     from its first row, as another stream",
                    record.data_id
                )),
                Err(Error::NotKept(_)) => say(format_args!(
                    "nothing of stream {} is kept in `{}` any more, and it has a part of the file; the file is sent anew, \
                     from its first row, as another stream",
                    record.data_id,
                    self.task.data_dir.display()
                )),
                Err(error) => return Err(streamer_failed(error)),
            }
        }
        let arguments = self.task.arguments;
        let mut stream = NewStream::new().name(&self.task.name).tags(arguments.tag.iter().cloned());
        if let Some(sample) = &arguments.sample {
            stream = stream.physical_sample(sample);
        }
        if let Some(id) = arguments.synth_source_id {
            stream = stream.synth_source_id(id);
        }
        if let Some(project) = &arguments.project {
            stream = stream.project_id(project);
        }
        let data_id = self.streamer.initialize(stream).await.map_err(streamer_failed)?;
        self.held.begin(&data_id)?;
        Ok((data_id, Some(0)))
    }

    /// Hands over every chunk from `next` on.
    async fn push(&mut self, data_id: &str, next: Option<u64>, bar: &mut Bar) -> Result<(), Failure> {
        let Some(next) = next else { return Ok(()) };
        let chunks = self.task.survey.chunks(self.task.points).map_err(failed)?;
        let (sender, mut batches) = mpsc::channel(usize::try_from(GROUP).unwrap_or(1));
        let reader = tokio::task::spawn_blocking(move || read(chunks, next, &sender));
        let mut of_group = 0;
        let mut waiting: Option<(u64, Batch)> = None;
        loop {
            let following = batches.recv().await;
            let last = following.is_none();
            if let Some((index, batch)) = waiting.take() {
                of_group += 1;
                let durable = last || of_group >= GROUP;
                self.push_one(data_id, index, &batch, durable).await?;
                if durable {
                    of_group = 0;
                    self.wait_for_room(data_id, bar).await?;
                }
            }
            match following {
                Some(batch) => waiting = Some(batch),
                None => break,
            }
        }
        reader.await.or_exit(Exit::Degraded)?.map_err(failed)
    }

    async fn push_one(&self, data_id: &str, index: u64, batch: &Batch, durable: bool) -> Result<(), Failure> {
        let columns = self.task.survey.columns.iter().zip(&batch.values);
        // A column that has nothing in this chunk is left out of it.
        let columns = columns.filter(|(_, values)| values.iter().any(|value| value.is_finite()));
        let series: Vec<Series<'_>> = columns
            .map(|(column, values)| {
                let series = Series::new(&column.name, &batch.times, values);
                column.unit.as_deref().map_or(series, |unit| series.units(unit))
            })
            .collect();
        if !durable {
            match self.streamer.push_with(data_id, index, &series, Acknowledge::Accepted).await {
                // The disk is slower than the file: this one waits for it.
                Err(Error::TooFarBehind { .. }) => {}
                pushed => return pushed.map(drop).map_err(|error| self.failed(error)),
            }
        }
        let pushed = self.streamer.push_with(data_id, index, &series, Acknowledge::Durable).await;
        pushed.map(drop).map_err(|error| self.failed(error))
    }

    /// Waits while much of the file waits for the platform.
    async fn wait_for_room(&self, data_id: &str, bar: &mut Bar) -> Result<(), Failure> {
        loop {
            let Some(status) = self.streamer.status(data_id) else { return Ok(()) };
            bar.look(&status);
            if let Some(words) = key_refused(&status) {
                return Err(self.failed(Error::KeyRefused { words }));
            }
            if status.queued_chunks <= MOST_QUEUED {
                return Ok(());
            }
            tokio::time::sleep(LOOKED_AT_EVERY).await;
        }
    }

    /// An error after which the same command goes on.
    fn failed(&self, error: Error) -> Failure {
        let failure = streamer_failed(error);
        if failure.hint.is_some() {
            return failure;
        }
        failure.hint("what was read so far is on disk; the same command goes on when this is cured")
    }
}

/// Reads a file on a thread of its own, for as long as somebody takes its chunks.
fn read(mut chunks: Chunks, next: u64, to: &mpsc::Sender<(u64, Batch)>) -> Result<(), logfile::Error> {
    for index in 0.. {
        let mut batch = Batch::default();
        if !chunks.next(&mut batch)? {
            break;
        }
        // A chunk without a single value is none.
        let empty = batch.values.iter().flatten().all(|value| !value.is_finite());
        if index >= next && !empty && to.blocking_send((index, batch)).is_err() {
            return Ok(());
        }
    }
    chunks.finish()
}

/// Returns when the platform does not accept the key: nothing changes then unless somebody does something.
async fn refused_key(streamer: &TimeseriesStreamer, data_id: &str) -> String {
    loop {
        if let Some(words) = streamer.status(data_id).as_ref().and_then(key_refused) {
            return words;
        }
        tokio::time::sleep(LOOKED_AT_EVERY).await;
    }
}

fn key_refused(status: &StreamStatus) -> Option<String> {
    match &status.platform {
        PlatformStatus::KeyRefused(words) => Some(words.clone()),
        _ => None,
    }
}

/// An error of the streamer as the command ends with it.
fn streamer_failed(error: Error) -> Failure {
    let exit = match &error {
        Error::KeyRefused { .. } | Error::Held { .. } | Error::PointsRefused { .. } => Exit::Refused,
        Error::Initialize(source) if source.is_transient() => Exit::Unreachable,
        Error::Platform { source, .. } if source.is_transient() => Exit::Unreachable,
        Error::Initialize(_) | Error::Platform { .. } => Exit::Refused,
        Error::Disk { .. } | Error::AcceptedLost { .. } => Exit::Disk,
        Error::InUse { .. } | Error::Thread(_) | Error::NotInTime { .. } | Error::Interrupted => Exit::Degraded,
        _ => Exit::Usage,
    };
    let failure = Failure::new(exit, error);
    match exit {
        Exit::Unreachable => failure.hint("the same command goes on when the platform answers"),
        _ => failure,
    }
}
