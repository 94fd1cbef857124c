//! Delivery: the uploader on the run store, with measurements of the clock that are stored before they are used.
//!
//! Whoever keeps runs (the bridge, the streamer for programs) starts one [`Delivery`] for each run store. It says nothing to
//! people itself: what happens is in `status` and `recorded`.

mod clock;
mod outbox;

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::atomscale::Platform;
use crate::model::ClockReading;
use crate::runs;
use crate::upload;

pub use outbox::RunOutbox;

/// What one run store needs to reach the platform.
pub struct Delivery {
    /// The store.
    pub runs: runs::Handle,
    /// Where everything goes.
    pub platform: Arc<dyn Platform>,
    /// How the uploader behaves; `clock` is set here.
    pub settings: upload::Settings,
    /// Measurements of the session's clock; none where stamps keep the host's time.
    pub readings: Option<watch::Receiver<Option<ClockReading>>>,
    /// The newest measurement that is stored.
    pub recorded: watch::Sender<Option<ClockReading>>,
    /// What the uploader is doing.
    pub status: watch::Sender<upload::Status>,
    /// Ends it: what is not sent within `settings.shutdown_grace` is left.
    pub finish: CancellationToken,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Delivery {
    /// Delivers until it is told to finish.
    pub async fn run(self) -> upload::Left {
        let clock = self.readings.is_some().then(|| self.recorded.subscribe());
        let recording =
            self.readings.map(|readings| tokio::spawn(clock::record(readings, self.runs.clone(), self.recorded)));
        let settings = upload::Settings { clock, ..self.settings };
        let left = upload::run(settings, Arc::new(RunOutbox(self.runs)), self.platform, self.status, self.finish).await;
        if let Some(recording) = recording {
            recording.abort();
        }
        left
    }
}
