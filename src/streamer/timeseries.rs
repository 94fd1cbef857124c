//! The streamer's calls.

use std::mem;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures_util::Stream;
use futures_util::StreamExt as _;
use futures_util::stream;
use secrecy::SecretString;
use tokio::sync::oneshot;

use super::core::{Core, not_done};
use super::runner::Runner;
use super::thread::{self as own_thread, Opened};
use super::{
    Acknowledge, Builder, ClockStatus, Error, Finalized, GrowthInstrument, Left, NewGrowthInstrument, NewStream,
    Pushed, Ran, Resumed, Series, StreamStatus, attempts,
};

/// How long a streamer that is dropped is waited for: as long as a disk takes to write what was accepted last.
const WAIT_FOR_THREAD: Duration = Duration::from_secs(5);

/// Streams data of instruments to the platform. Cheap to clone; clones share everything. See [the module](super).
///
/// The last one that is dropped stops the streamer. What is not sent then is on disk, as after [`close`](Self::close).
#[derive(Debug, Clone)]
pub struct TimeseriesStreamer {
    owner: Arc<Owner>,
}

/// Stops everything with the last of the clones.
#[derive(Debug)]
struct Owner {
    core: Arc<Core>,
    ending: Mutex<Option<Ending>>,
}

#[derive(Debug)]
struct Ending {
    thread: JoinHandle<()>,
    left: oneshot::Receiver<Result<Left, Error>>,
}

impl TimeseriesStreamer {
    /// A streamer with this key of the platform.
    pub fn builder(api_key: impl Into<String>) -> Builder {
        Builder::new(SecretString::from(api_key.into()))
    }

    pub(super) async fn open(builder: Builder) -> Result<Self, Error> {
        let (thread, opened) = own_thread::start(builder)?;
        let Opened { core, left } = opened.await.map_err(|_| Error::Closed)??;
        let ending = Mutex::new(Some(Ending { thread, left }));
        Ok(Self { owner: Arc::new(Owner { core, ending }) })
    }

    fn core(&self) -> &Arc<Core> {
        &self.owner.core
    }

    /// Creates a stream on the platform, with its links, and returns its `data_id`.
    ///
    /// Sample and tags are resolved before anything is created. While the platform does not answer it is tried three times, or
    /// for as long as the builder's `patience`; what it refuses is not tried again.
    pub async fn initialize(&self, stream: NewStream) -> Result<String, Error> {
        let core = Arc::clone(self.core());
        self.core().on_thread(async move { core.initialize(stream).await }).await
    }

    /// Hands over one chunk of one channel: [`push_multi`](Self::push_multi) with a single [`Series`].
    pub async fn push(
        &self,
        data_id: &str,
        chunk_index: u64,
        channel: &str,
        timestamps: &[f64],
        values: &[f64],
        units: Option<&str>,
    ) -> Result<Pushed, Error> {
        self.push_multi(data_id, chunk_index, &[Series { name: channel, timestamps, values, units }]).await
    }

    /// Hands over one chunk of several channels, which goes to the platform in one request.
    ///
    /// Returns as the builder's [`acknowledge`](Builder::acknowledge) says: as a rule once the chunk is on disk. It never waits for
    /// the network. The same index and channel again replaces what was pushed before; indexes may come in any order. Values
    /// that are NaN or infinite are missing points and are left out, as are channels without points.
    pub async fn push_multi(&self, data_id: &str, chunk_index: u64, channels: &[Series<'_>]) -> Result<Pushed, Error> {
        self.push_with(data_id, chunk_index, channels, self.core().acknowledge).await
    }

    /// The same, returning as this call says.
    pub async fn push_with(
        &self,
        data_id: &str,
        chunk_index: u64,
        channels: &[Series<'_>],
        acknowledge: Acknowledge,
    ) -> Result<Pushed, Error> {
        let stream = self.core().stream(data_id)?;
        let durable = acknowledge == Acknowledge::Durable;
        let Some(chunk) = stream.chunk(chunk_index, channels, self.core().shift_nanos())? else {
            let (queued_chunks, queued_points) = stream.queued();
            return Ok(Pushed { durable, queued_chunks, queued_points });
        };
        if durable { stream.give(chunk).await } else { stream.accept(chunk) }
    }

    /// Sends all of a channel, chunk by chunk, and returns once the platform has it: timestamps and values, as
    /// [`push`](Self::push) takes them.
    ///
    /// Chunks are numbered from the first that this channel does not have yet, which is 0 on a new stream. What is longer than
    /// `points_per_chunk` becomes several chunks.
    pub async fn run(
        &self,
        data_id: &str,
        channel: &str,
        units: Option<&str>,
        chunks: impl IntoIterator<Item = (Vec<f64>, Vec<f64>)>,
    ) -> Result<Ran, Error> {
        self.run_stream(data_id, channel, units, stream::iter(chunks)).await
    }

    /// The same with chunks that come by and by.
    pub async fn run_stream(
        &self,
        data_id: &str,
        channel: &str,
        units: Option<&str>,
        chunks: impl Stream<Item = (Vec<f64>, Vec<f64>)>,
    ) -> Result<Ran, Error> {
        let stream = self.core().stream(data_id)?;
        let mut runner = Runner::new(self.core(), &stream, channel, units);
        let mut chunks = pin!(chunks);
        while let Some((timestamps, values)) = chunks.next().await {
            self.core().check()?;
            runner.give(&timestamps, &values).await?;
        }
        let ran = runner.ran();
        self.core().wait_for_all(std::slice::from_ref(&stream)).await?;
        Ok(ran)
    }

    /// Waits until the platform has every chunk of a stream, and finalizes it. Works too for a stream that a failed program
    /// left.
    ///
    /// Waits for as long as the platform does not answer. If it has to be waited for until somebody does something (a key that is
    /// refused, a stream that takes nothing) it fails; the stream is then finalized as soon as it can be, by this streamer
    /// or a later one. Whoever stops waiting loses nothing, either.
    pub async fn finalize(&self, data_id: &str) -> Result<Finalized, Error> {
        self.finalize_with(data_id, |_| {}).await
    }

    /// The same, telling about ten times a second how far it is.
    pub async fn finalize_with(&self, data_id: &str, progress: impl FnMut(&StreamStatus)) -> Result<Finalized, Error> {
        let stream = match self.core().stream(data_id) {
            Err(Error::UnknownStream(_)) => {
                let (core, wanted) = (Arc::clone(self.core()), data_id.to_owned());
                let taken_over = self.core().on_thread(async move { core.take_over(wanted).await }).await;
                taken_over.map_err(|error| match error {
                    Error::NotKept(data_id) => Error::UnknownStream(data_id),
                    error => error,
                })?
            }
            found => found?,
        };
        self.core().finalize(stream, progress).await
    }

    /// Waits until the platform has everything that was pushed: of one stream, or of all. Without a timeout it waits for as
    /// long as the platform does not answer.
    pub async fn flush(&self, data_id: Option<&str>, timeout: Option<Duration>) -> Result<(), Error> {
        self.core().flush(data_id, timeout).await
    }

    /// Goes on with a stream that an earlier program left without finalizing it: it crashed, or was closed. Says what was
    /// pushed so far, which is all on disk or on the platform.
    pub async fn resume(&self, data_id: &str) -> Result<Resumed, Error> {
        let (core, data_id) = (Arc::clone(self.core()), data_id.to_owned());
        self.core().on_thread(async move { core.resume(data_id).await }).await
    }

    /// A stream as it is now; none if this streamer does not know it.
    pub fn status(&self, data_id: &str) -> Option<StreamStatus> {
        self.core().check().ok()?;
        self.core().status(data_id)
    }

    /// Every stream that this streamer knows, those that earlier programs left and that it delivers included.
    pub fn streams(&self) -> Vec<StreamStatus> {
        if self.core().check().is_err() { Vec::new() } else { self.core().statuses() }
    }

    /// This computer's clock against the platform's; none before it is measured, or where it is not to be.
    pub fn clock_status(&self) -> Option<ClockStatus> {
        self.core().check().ok()?;
        self.core().clock_status()
    }

    /// The growth instruments that a stream can belong to.
    pub async fn list_growth_instruments(&self) -> Result<Vec<GrowthInstrument>, Error> {
        let core = Arc::clone(self.core());
        let call = async move {
            let listed = attempts::make(core.patience, || core.way.platform.growth_instruments()).await;
            listed.map_err(|error| not_done("could not list the growth instruments", error))
        };
        self.core().on_thread(call).await
    }

    /// Registers a growth instrument and returns its `synth_source_id`.
    pub async fn create_growth_instrument(&self, new: &NewGrowthInstrument) -> Result<i64, Error> {
        let (core, new) = (Arc::clone(self.core()), new.clone());
        let call = async move {
            let created = attempts::make(core.patience, || core.way.platform.create_growth_instrument(&new)).await;
            created.map_err(|error| not_done("could not create the growth instrument", error))
        };
        self.core().on_thread(call).await
    }

    /// Removes a growth instrument.
    pub async fn delete_growth_instrument(&self, synth_source_id: i64) -> Result<(), Error> {
        let core = Arc::clone(self.core());
        let call = async move {
            let call = || core.way.platform.delete_growth_instrument(synth_source_id);
            let deleted = attempts::make(core.patience, call).await;
            deleted.map_err(|error| not_done("could not delete the growth instrument", error))
        };
        self.core().on_thread(call).await
    }

    /// Stops this streamer and its clones. What is not sent is on disk and goes with the next streamer of this endpoint and key;
    /// streams that are not finalized can be [resumed](Self::resume).
    pub async fn close(self) -> Result<Left, Error> {
        self.core().check()?;
        let ending = self.owner.ending.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Ending { thread, left }) = ending else { return Err(Error::Closed) };
        self.core().stop.cancel();
        let left = left.await.map_err(|_| Error::Closed)?;
        // The answer is the last thing that the thread does.
        if thread.join().is_err() {
            tracing::error!("the streamer's thread ended in a panic");
        }
        left
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.core.process != std::process::id() {
            // After a fork nothing of it can be taken apart: its threads are in another process, and so may be who holds its
            // locks.
            mem::forget(Arc::clone(&self.core));
            mem::forget(self.ending.try_lock().map(|mut ending| ending.take()));
            return;
        }
        self.core.stop.cancel();
        let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Ending { thread, left }) = ending {
            drop(left);
            wait_for(thread);
        }
    }
}

/// Waits for a thread, so that what it held is free for the next streamer; but not for ever.
fn wait_for(ending: JoinHandle<()>) {
    if ending.thread().id() == thread::current().id() {
        return;
    }
    let until = Instant::now() + WAIT_FOR_THREAD;
    while !ending.is_finished() {
        if Instant::now() > until {
            tracing::warn!("the streamer is still writing to the disk");
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}
