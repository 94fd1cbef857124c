//! The platform's side of the bridge: key, client, reference clock, uploader.
//!
//! A key that can't be read stops nothing but the upload: data is recorded, the lack is said loudly, and the key is looked
//! for again each minute. A key that the platform refuses is read again after each refusal, and a new one is used at once:
//! neither needs a restart. (A variable of the environment can't change while the process runs; a file or credential can.)

mod key;

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use secrecy::SecretString;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::outbox::RunOutbox;
use crate::atomscale;
use crate::atomscale::ApiKey;
use crate::atomscale::Client;
use crate::atomscale::Platform;
use crate::atomscale::clock;
use crate::config::Config;
use crate::config::process_environment;
use crate::live::Board;
use crate::live::PlatformLive;
use crate::model::{ClockReading, TimeBase, with_causes};
use crate::runs;
use crate::upload;
use key::WithNewestKey;

const LOOK_FOR_KEY_EVERY: Duration = Duration::from_secs(60);

/// Pause between attempts to store a measurement of the clock.
const STORE_CLOCK_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct PlatformTask {
    pub(super) config: Arc<Config>,
    pub(super) time: TimeBase,
    pub(super) runs: runs::Handle,
    pub(super) board: Arc<Board>,
    pub(super) status: watch::Sender<upload::Status>,
    /// Has the clock measured at once.
    pub(super) clock_nudge: Arc<Notify>,
    pub(super) finish: CancellationToken,
    pub(super) stop: CancellationToken,
}

/// Whether stamps are the platform's time.
pub(super) fn uses_clock() -> bool {
    let skip = std::env::var("ATOMSCALE_SKIP_CLOCK_SYNC").ok();
    !clock::skipped(skip.as_deref())
}

impl PlatformTask {
    pub(super) async fn run(self) -> upload::Left {
        let Some(platform) = self.finish.run_until_cancelled(self.client()).await else {
            return self.left().await;
        };
        let nudge = Arc::clone(&self.clock_nudge);
        let (measured, readings) = watch::channel(None);
        let (recorded_sender, recorded) = watch::channel(None);
        let enabled = uses_clock();
        let clock_settings = clock::Settings { enabled, nudge: Arc::clone(&nudge), ..clock::Settings::default() };
        tokio::spawn(clock::run(clock_settings, self.time, Arc::clone(&platform), measured, self.stop.clone()));
        tokio::spawn(record_clock(readings, self.runs.clone(), Arc::clone(&self.board), recorded_sender));
        let settings = upload::Settings {
            shutdown_grace: self.config.shutdown_grace,
            hold: self.config.platform.hold,
            clock: enabled.then_some(recorded),
            clock_nudge: nudge,
            ..upload::Settings::default()
        };
        let outbox = Arc::new(RunOutbox(self.runs.clone()));
        upload::run(settings, outbox, platform, self.status, self.finish).await
    }

    /// The client, as soon as there is a key for it.
    async fn client(&self) -> Arc<dyn Platform> {
        let mut told = false;
        loop {
            match self.try_client() {
                Ok(client) => return client,
                Err(why) => {
                    if !told {
                        tracing::error!(why, "nothing can be uploaded; data is recorded and kept");
                        told = true;
                    }
                    let state = PlatformLive { state: "holding", why: Some(why), ..PlatformLive::default() };
                    self.board.set_platform(state);
                }
            }
            tokio::time::sleep(LOOK_FOR_KEY_EVERY).await;
        }
    }

    fn try_client(&self) -> Result<Arc<dyn Platform>, String> {
        let (source, settings) = (Arc::clone(&self.config), Arc::clone(&self.config));
        let read = move || source.platform.api_key.read(&process_environment).map_err(|error| with_causes(&error));
        let connect = move |key: &SecretString| connect(&settings, key);
        Ok(Arc::new(WithNewestKey::new(Box::new(read), Box::new(connect))?))
    }

    /// What waits on disk when no uploader has run.
    async fn left(&self) -> upload::Left {
        let runs = self.runs.pending().await.unwrap_or_default();
        upload::Left {
            queued: runs.iter().map(|run| run.queued).sum(),
            unfinished: runs.into_iter().map(|run| run.run).collect(),
        }
    }
}

fn connect(config: &Config, key: &SecretString) -> Result<Arc<dyn Platform>, String> {
    let platform = &config.platform;
    let key = ApiKey::parse(key.expose_secret()).map_err(|error| with_causes(&error))?;
    let usual = atomscale::Settings::new(key);
    let settings = atomscale::Settings {
        endpoint: platform.endpoint.clone(),
        timeout: platform.timeout,
        connect_timeout: usual.connect_timeout.min(platform.timeout),
        clock_timeout: usual.clock_timeout.min(platform.timeout),
        stream_path: platform.stream_path.clone().unwrap_or_else(|| usual.stream_path.clone()),
        ..usual
    };
    Ok(Arc::new(Client::new(&settings).map_err(|error| with_causes(&error))?))
}

/// Hands each measurement to the run store, and on to the board and the uploader once it is stored: chunks are frozen with
/// what the store knows. One that can't be stored is tried again until it is, or a newer one takes its place: the next may
/// be minutes away, and chunks do not wait that long.
async fn record_clock(
    mut readings: watch::Receiver<Option<ClockReading>>,
    runs: runs::Handle,
    board: Arc<Board>,
    recorded: watch::Sender<Option<ClockReading>>,
) {
    let mut failing = false;
    while readings.changed().await.is_ok() {
        loop {
            let Some(reading) = *readings.borrow_and_update() else { break };
            match runs.record_clock(reading).await {
                Ok(()) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("clock measurements are stored again");
                    }
                    board.set_clock(reading);
                    recorded.send_replace(Some(reading));
                    break;
                }
                Err(runs::Error::Stopped) => return,
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        let error = with_causes(&error);
                        tracing::warn!(error, "a clock measurement could not be stored; trying again");
                    }
                    tokio::time::sleep(STORE_CLOCK_AGAIN).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::model::{Channel, ChannelName, ClockSource, Kind, Stamp, StreamSpec};

    #[tokio::test]
    async fn a_measurement_that_could_not_be_stored_is_stored_later() {
        let folder = TempDir::new().unwrap();
        let (store, runs) = runs::Store::open(runs::Settings::new(folder.path())).unwrap();
        let time = TimeBase::start();
        let reading = ClockReading {
            at: Stamp::default(),
            offset_nanos: 5_000_000_000,
            uncertainty_nanos: 1,
            source: ClockSource::Platform,
        };
        let (measured, readings) = watch::channel(None);
        let (sender, mut recorded) = watch::channel(None);
        let board = Arc::new(Board::new(time, Vec::new(), Vec::new(), Vec::new()));
        let task = tokio::spawn(record_clock(readings, runs.clone(), board, sender));
        measured.send_replace(Some(reading));
        // No run takes it yet. The store answers in order, so that it has refused the measurement when it answers this.
        tokio::task::yield_now().await;
        runs.pending().await.unwrap();
        assert_eq!(*recorded.borrow(), None);
        let start = runs::RunStart {
            spec: StreamSpec { points_per_chunk: 10, ..StreamSpec::default() },
            channels: vec![Channel {
                name: ChannelName::parse("a").unwrap(),
                unit: None,
                instrument: "i".into(),
                source: "s".into(),
                kind: Kind::Gauge,
            }],
            axis: runs::Axis::Grid,
            period: None,
            time,
            config_text: String::new(),
            resume: false,
        };
        runs.begin(start).await.unwrap();
        let stored = tokio::time::timeout(Duration::from_secs(20), recorded.wait_for(Option::is_some));
        assert_eq!(*stored.await.unwrap().unwrap(), Some(reading));
        drop(measured);
        task.await.unwrap();
        store.close().await.unwrap();
    }
}
