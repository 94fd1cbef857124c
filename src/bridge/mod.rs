//! The bridge: the only room that knows all the others. It builds the stages from a [`Config`], joins them with bounded
//! channels, and starts and stops them in the order that loses nothing.
//!
//! Start: run store, board, flow, links; then the run, as soon as the disk takes it, and what needs the network. Stop: links first, then
//! the flow closes its last ticks, the run is sealed, the uploader drains, and the store closes last.

mod actions;
mod flow;
mod host_clock;
mod links;
mod mirror;
mod platform;
mod reader;
mod recording;
#[cfg(test)]
mod tests;
mod traces;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::acquire::LinkThread;
use crate::config::AlignMode;
use crate::config::Config;
use crate::config::Fill;
use crate::config::process_environment;
use crate::live::Actions;
use crate::live::Board;
use crate::live::Taps;
use crate::model::{Counts, RunId, StreamSpec, TimeBase, with_causes};
use crate::mux;
use crate::runs;
use crate::upload;
use crate::web;
use flow::Flow;
use platform::PlatformTask;
use recording::Recording;
use traces::Traces;

pub use links::budgets;
pub use reader::Reader;
pub use traces::{TraceError, TraceWish};

/// Reports that may wait for the flow. It waits for nothing but the processor, so this is slack for a busy moment.
const WAITING_REPORTS: usize = 4096;

/// The bridge could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The run store can't be used.
    #[error(transparent)]
    Runs(#[from] runs::Error),
    /// The system gives no thread.
    #[error(transparent)]
    Thread(#[from] crate::acquire::StartError),
    /// A link can't be traced.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

/// A stage has died.
#[derive(Debug, thiserror::Error)]
#[error("the {stage} has ended; what is on disk is safe, and a restart goes on with it")]
pub struct Failed {
    stage: &'static str,
}

/// A running bridge.
#[derive(Debug)]
pub struct Bridge {
    time: TimeBase,
    begun: watch::Receiver<Option<RunId>>,
    begin: JoinHandle<()>,
    board: Arc<Board>,
    address: Option<SocketAddr>,
    store: runs::Store,
    runs: runs::Handle,
    threads: Vec<LinkThread>,
    traces: Traces,
    flow: JoinHandle<()>,
    platform: JoinHandle<upload::Left>,
    stop_links: CancellationToken,
    finish_upload: CancellationToken,
    stop_rest: CancellationToken,
}

/// How a bridge ended.
#[derive(Debug)]
pub struct Summary {
    /// The run that was recorded and its file; none where the disk never took one.
    pub run: Option<(RunId, PathBuf)>,
    /// What became of the readings of each channel.
    pub counts: Vec<Counts>,
    /// Channels of chunks that the platform has refused; they are kept.
    pub refused: usize,
    /// What the platform does not have yet; the next start goes on with it.
    pub left: upload::Left,
}

impl Bridge {
    /// Starts everything. Sampling begins at once; the platform is spoken to when it can be reached.
    pub async fn start(config: Arc<Config>) -> Result<Self, Error> {
        Self::start_traced(config, &[]).await
    }

    /// The same, with traces from the first byte on.
    pub async fn start_traced(config: Arc<Config>, wishes: &[TraceWish]) -> Result<Self, Error> {
        let time = TimeBase::start();
        let traces = Traces::start(&config, time, wishes)?;
        let (store, runs) = open_store(&config).await?;
        tracing::info!(data_dir = %config.data_dir.display(), "runs are kept here");
        let board = Arc::new(links::board(&config, time));
        let (begun_sender, begun) = watch::channel(None);
        let begin = recording::begin(runs.clone(), run_start(&config, time), begun_sender, Arc::clone(&board));
        let begin = tokio::spawn(begin);
        let stop_links = CancellationToken::new();
        let stop_rest = CancellationToken::new();
        let finish_upload = CancellationToken::new();
        let (reports, received) = mpsc::channel(WAITING_REPORTS);
        let recording = Recording { runs: runs.clone(), begun: begun.clone() };
        let flow = Flow::new(&config, time, Arc::clone(&board), recording);
        let flow = tokio::spawn(flow.run(received));
        let threads = links::start(&config, time, traces.taps(), &reports, &stop_links)?;
        drop(reports);

        let actions = Arc::new(actions::RunActions(runs.clone()));
        let web = bind_dashboard(&config, &board, traces.taps(), actions).await;
        let address = web.as_ref().map(web::Web::address);
        if let Some(web) = web {
            tracing::info!(url = %format_args!("http://{}/", web.address()), "dashboard");
            tokio::spawn(web.serve(stop_rest.clone()));
        }

        let clock_nudge = Arc::new(Notify::new());
        let (watched, kept) = (Arc::clone(&board), runs.clone());
        tokio::spawn(host_clock::watch(time, watched, kept, Arc::clone(&clock_nudge), stop_rest.clone()));
        let (upload_status, uploading) = watch::channel(upload::Status::default());
        let platform = PlatformTask {
            config: Arc::clone(&config),
            time,
            runs: runs.clone(),
            board: Arc::clone(&board),
            status: upload_status,
            clock_nudge,
            finish: finish_upload.clone(),
            stop: stop_rest.clone(),
        };
        let platform = tokio::spawn(platform.run());
        tokio::spawn(mirror::run(Arc::clone(&board), time, runs.snapshot(), uploading, stop_rest.clone()));
        Ok(Self {
            time,
            begun,
            begin,
            board,
            address,
            store,
            runs,
            threads,
            traces,
            flow,
            platform,
            stop_links,
            finish_upload,
            stop_rest,
        })
    }

    /// Where everything can be seen.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// The session's clock.
    pub fn time(&self) -> TimeBase {
        self.time
    }

    /// The run that is being recorded, once the disk has taken it.
    pub fn run(&self) -> Option<RunId> {
        self.begun.borrow().clone()
    }

    /// Returns when a stage has died, which no stage does unless there is a defect: the process should end and be started
    /// again, as a restart goes on with the run.
    pub async fn failed(&mut self) -> Failed {
        let mut store = self.runs.snapshot();
        let store_closed = async { while store.changed().await.is_ok() {} };
        tokio::select! {
            _ = &mut self.flow => Failed { stage: "flow" },
            _ = &mut self.platform => Failed { stage: "uploader" },
            () = store_closed => Failed { stage: "run store" },
        }
    }

    /// Where the dashboard listens, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Ends gently: seals the run, sends what can be sent within `shutdown_grace`, finalizes if that was all. What is left
    /// is on disk, and the next start goes on with it.
    pub async fn stop(self) -> Result<Summary, Error> {
        self.stop_links.cancel();
        let (threads, traces) = (self.threads, self.traces);
        let ended = move || {
            threads.into_iter().for_each(LinkThread::join);
            traces.stop();
        };
        let joined = tokio::task::spawn_blocking(ended).await;
        if joined.is_err() || self.flow.await.is_err() {
            tracing::error!("a stage ended in a panic; what it held is lost");
        }
        self.begin.abort();
        // Not the run that was begun, where its file was lost and another took its place.
        let run = self.runs.snapshot().borrow().run.clone().or_else(|| self.begun.borrow().clone());
        let ended = if run.is_some() { self.runs.end_run().await } else { Ok(()) };
        if let Err(error) = &ended {
            tracing::error!(error = %with_causes(error), "the run could not be sealed; the next start does it");
        }
        self.finish_upload.cancel();
        let left = self.platform.await.unwrap_or_else(|_| {
            tracing::error!("the uploader ended in a panic; the next start goes on");
            upload::Left::default()
        });
        let listed = self.runs.snapshot().borrow().listed.clone();
        self.stop_rest.cancel();
        self.store.close().await?;
        ended?;
        let Some(listed) = listed.iter().find(|listed| run.as_ref() == Some(&listed.run)).cloned() else {
            return Ok(Summary { run: None, counts: Vec::new(), refused: 0, left });
        };
        let path = listed.path.clone();
        let read = move || {
            let reader = runs::read::RunFile::open(&path)?;
            Ok((reader.counts()?, reader.refusals()?.len()))
        };
        let (counts, refused) = tokio::task::spawn_blocking(read).await.unwrap_or(Err(runs::Error::Stopped))?;
        Ok(Summary { run: Some((listed.run, listed.path)), counts, refused, left })
    }
}

/// The dashboard, if it is wanted and can be had: data matters more than looking at it.
async fn bind_dashboard(
    config: &Config,
    board: &Arc<Board>,
    taps: &Arc<Taps>,
    actions: Arc<dyn Actions>,
) -> Option<web::Web> {
    let dashboard = config.dashboard.as_ref()?;
    let token = match dashboard.token.as_ref().map(|source| source.read(&process_environment)).transpose() {
        Ok(token) => token,
        Err(error) => {
            tracing::error!(error = %with_causes(&error), "there is no dashboard: its token can't be read");
            return None;
        }
    };
    let settings = web::Settings { listen: dashboard.listen, token };
    match web::Web::bind(settings, Arc::clone(board), Arc::clone(taps), actions).await {
        Ok(web) => Some(web),
        Err(error) => {
            tracing::error!(error = %with_causes(&error), "there is no dashboard; set `listen` in [dashboard] to another address");
            None
        }
    }
}

async fn open_store(config: &Config) -> Result<(runs::Store, runs::Handle), runs::Error> {
    let settings = runs::Settings {
        commit_every: config.storage.commit_every,
        max_span: config.storage.max_span,
        resume_within: config.storage.resume_within,
        keep_runs: config.storage.keep_runs,
        min_free: config.storage.min_free,
        trust_host_clock: !platform::uses_clock(),
        ..runs::Settings::new(&config.data_dir)
    };
    tokio::task::spawn_blocking(move || runs::Store::open(settings)).await.unwrap_or(Err(runs::Error::Stopped))
}

fn run_start(config: &Config, time: TimeBase) -> runs::RunStart {
    let stream = &config.stream;
    let (axis, period) = match config.align.mode {
        AlignMode::Grid { period, .. } => (runs::Axis::Grid, Some(period)),
        AlignMode::Native => (runs::Axis::Native, None),
    };
    runs::RunStart {
        spec: StreamSpec {
            name: stream.name.at(time.zero().wall),
            synth_source_id: stream.synth_source_id,
            physical_sample: stream.physical_sample.clone(),
            project_id: stream.project_id.clone(),
            tags: stream.tags.clone(),
            points_per_chunk: stream.points_per_chunk,
        },
        channels: links::channels(config),
        axis,
        period,
        time,
        config_text: config.text.to_string(),
        resume: true,
    }
}

fn align_settings(config: &Config) -> mux::Settings {
    let mode = match config.align.mode {
        AlignMode::Grid { period, fill } => {
            let fill = match fill {
                Fill::None => mux::Fill::None,
                Fill::Hold { max_age } => mux::Fill::Hold { max_age },
                Fill::Linear { max_age } => mux::Fill::Linear { max_age },
            };
            mux::Mode::Grid { period, fill }
        }
        AlignMode::Native => mux::Mode::Native,
    };
    mux::Settings { mode, lateness: config.align.lateness }
}
