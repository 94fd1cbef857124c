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

use crate::atomscale;
use crate::atomscale::ApiKey;
use crate::atomscale::Client;
use crate::atomscale::Platform;
use crate::atomscale::clock;
use crate::config::Config;
use crate::config::process_environment;
use crate::delivery::Delivery;
use crate::live::Board;
use crate::live::PlatformLive;
use crate::model::{ClockReading, TimeBase, with_causes};
use crate::runs;
use crate::upload;
use key::WithNewestKey;

const LOOK_FOR_KEY_EVERY: Duration = Duration::from_secs(60);

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
        let (recorded, shown) = watch::channel(None);
        let enabled = uses_clock();
        let clock_settings = clock::Settings { enabled, nudge: Arc::clone(&nudge), ..clock::Settings::default() };
        tokio::spawn(clock::run(clock_settings, self.time, Arc::clone(&platform), measured, self.stop.clone()));
        tokio::spawn(show_clock(shown, Arc::clone(&self.board)));
        let settings = upload::Settings {
            shutdown_grace: self.config.shutdown_grace,
            hold: self.config.platform.hold,
            clock_nudge: nudge,
            ..upload::Settings::default()
        };
        let delivery = Delivery {
            runs: self.runs,
            platform,
            settings,
            readings: enabled.then_some(readings),
            recorded,
            status: self.status,
            finish: self.finish,
        };
        delivery.run().await
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

/// Shows each measurement once it is stored.
async fn show_clock(mut recorded: watch::Receiver<Option<ClockReading>>, board: Arc<Board>) {
    while recorded.changed().await.is_ok() {
        let reading = *recorded.borrow_and_update();
        if let Some(reading) = reading {
            board.set_clock(reading);
        }
    }
}
